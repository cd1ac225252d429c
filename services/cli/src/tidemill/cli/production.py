"""`tidemill doctor --production`: asks what runs for what `readiness` judges."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.cli import readiness as judged
from tidemill.cli.findings import Finding, failed
from tidemill.cli.running import services_named

if TYPE_CHECKING:
    from nats.aio.client import Client
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.common.config import Config
    from tidemill.common.config.content import Content
    from tidemill.common.servers import Addresses
    from tidemill.common.surroundings import Kind

HEARD = """
SELECT DISTINCT channel FROM alerter.deliveries WHERE state = 'delivered' AND ended_at > now() - interval '90 days'
"""
BACKUPS = "SELECT began_at, good, scheduled, folder FROM scheduler.backups"
SUPERUSERS = """
SELECT DISTINCT application_name || ' as ' || a.usename FROM pg_stat_activity a JOIN pg_roles r ON r.rolname = a.usename
WHERE r.rolsuper AND a.datname = current_database() AND application_name LIKE 'tidemill-%'
    AND application_name NOT IN ('tidemill-cli', 'tidemill-doctor')
ORDER BY 1
"""
SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(:names)"
DURABLE = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums")
ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
WRONG_PASSWORD = "no service has this one"  # noqa: S105 - it has to be refused
REFUSED = ("28P01", "28000")
"""What Postgres answers to a wrong password, and to one whom pg_hba.conf does not know."""
ANYBODY_READS = 0o004
GATHER_AT_MOST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Bus:
    streams: Sequence[judged.KeptStream]
    replicas: Sequence[judged.Replica]
    now: datetime | None
    """By the clock of the server; None without a stream that would tell."""
    seen_at: datetime
    encrypted: bool


@dataclass(frozen=True, slots=True)
class Database:
    backups: Sequence[judged.Backup]
    heard: set[str]
    superusers: Sequence[str]
    settings: Mapping[str, str]
    encrypted: bool


async def readiness(config: Config, kind: Kind) -> list[Finding]:
    """What runs is judged by the configuration that is active there, else by the files of the working folder."""
    from tidemill.common.bus.client import CommandFailed
    from tidemill.common.servers import Addresses, NothingRuns

    try:
        at = Addresses.find(config.common)
    except NothingRuns as nothing:
        return [failed("production", str(nothing), "start it: what runs is judged")]
    try:
        bus = await look_at_bus(at.nats_url)
        content, database, state = await look_at_database(at.database_url)
        anonymous = await takes_anybody(at.nats_url)
        open_to_all = await takes_any_password(at.database_url)
    except (CommandFailed, OSError, TimeoutError) as error:
        return [failed("production", str(error) or type(error).__name__, "see the checks above")]
    active = active_config(config, content)
    return [
        *of_bus(bus, at, anonymous),
        judged.configuration(state),
        *of_database(database, at, open_to_all),
        *of_configuration(active, database, bus),
        *of_this_machine(config, content, kind),
    ]


def active_config(config: Config, content: Content | None) -> Config:
    from tidemill.common.config import load_config

    models = {spec.name: spec.settings for spec in services_named()}
    return load_config(config.folder, services=models, cli=config.given, environ=config.environ, content=content)


def of_bus(bus: Bus, at: Addresses, anonymous: bool) -> Iterator[Finding]:
    from tidemill.common.bus.topology import STREAMS

    hosts = len({each.host for each in bus.replicas})
    yield judged.streams(bus.streams, [stream.name for stream in STREAMS], hosts)
    yield from judged.replicas(bus.replicas, [spec.name for spec in services_named()], hosts)
    yield judged.bus_login(anonymous)
    remedy = "give NATS a certificate, and tls://…?tls_ca=/file as its address (`tidemill nats-config --tls`)"
    yield judged.encrypted("nats", local(hosts_of_nats(at.nats_url)), bus.encrypted, remedy)
    if bus.now:
        yield judged.clock("nats", bus.now, bus.seen_at)


def of_database(found: Database, at: Addresses, open_to_all: bool) -> Iterator[Finding]:
    remedy = "ssl = on in postgresql.conf, hostssl in pg_hba.conf, and ?ssl=verify-full in DATABASE_URL"
    yield judged.encrypted("postgres", local(hosts_of_postgres(at.database_url)), found.encrypted, remedy)
    yield from judged.database_login(open_to_all, found.superusers)
    yield judged.durability(found.settings)


def of_configuration(active: Config, database: Database, bus: Bus) -> Iterator[Finding]:
    common, hosts = active.common, len({each.host for each in bus.replicas})
    yield judged.paced(bus.replicas, common.redis_url)
    yield judged.shared_archive(common.archive_url, hosts)
    folder = common.backup.folder
    apart = disks_differ(active.folder / folder, common.data_dir) if folder else None
    yield from judged.backups(database.backups, datetime.now(UTC), apart, bool(common.backup.recipients))
    yield judged.retention(common.retention)
    yield from judged.alerts(active.service("alerter"), common.channels, database.heard)


def of_this_machine(config: Config, content: Content | None, kind: Kind) -> Iterator[Finding]:
    yield judged.plain_secrets(plain_secrets(config, content))
    if kind == "machine":  # Elsewhere they are mounted for this process alone.
        yield judged.open_files_of_secrets(sorted(readable_by_all(config, content)))
    data = config.common.data_dir
    from tidemill.common.servers.child import nearest

    usage = shutil.disk_usage(nearest(data.absolute()))
    yield judged.disk(usage.free / usage.total, str(data))


async def look_at_bus(url: str) -> Bus:
    from tidemill.common.bus.client import open_client

    async with open_client(url) as client:
        kept, now = await kept_streams(client)
        seen_at = datetime.now(UTC)
        answers = [each async for each in told(client)]
        tls = bool(client.connected_url and client.connected_url.scheme in ("tls", "wss"))
        tls = tls or bool(client._server_info.get("tls_required"))
    replicas = [
        judged.Replica(each["name"], each["version"], each.get("metadata", {}).get("instance", each["id"]))
        for each in answers
    ]
    return Bus(kept, replicas, now, seen_at, tls)


async def kept_streams(client: Client) -> tuple[list[judged.KeptStream], datetime | None]:
    """And the server's clock, which stands in what it says of a stream."""
    import json

    now = None
    kept = []
    for info in await client.jetstream().streams_info():
        name, cluster = str(info.config.name), info.cluster
        peers = (cluster.replicas if cluster else None) or []
        behind = [str(peer.name) for peer in peers if peer.offline or peer.current is False]
        clustered = bool(cluster and cluster.name)
        kept.append(judged.KeptStream(name, info.config.num_replicas or 1, clustered, behind))
    if kept:
        answer = await client.request(f"$JS.API.STREAM.INFO.{kept[0].name}", timeout=2)
        if ts := json.loads(answer.data).get("ts"):
            now = datetime.fromisoformat(f"{ts[:26].rstrip('Z')}+00:00")
    return kept, now


async def told(client: Client) -> AsyncIterator[dict[str, Any]]:
    """What every replica says of itself, until nobody has spoken for a while."""
    from tidemill.cli.status import GATHER_SECONDS
    from tidemill.common.bus.client import answers

    clock = asyncio.get_running_loop().time
    begun = spoken = clock()

    def within() -> float:
        return min(GATHER_AT_MOST_SECONDS, spoken - begun + 2 * GATHER_SECONDS)

    async for each in answers(client, "$SRV.INFO", within):
        spoken = clock()
        yield each


async def takes_anybody(url: str) -> bool:
    """Whether the server lets one in who gives no name and no password."""
    from urllib.parse import urlsplit, urlunsplit

    from tidemill.common.bus.client import CommandFailed, open_client
    from tidemill.common.config.references import resolved

    parts = [urlsplit(each if "//" in each else f"nats://{each}") for each in resolved(url).split(",")]
    bare = ",".join(urlunsplit(part._replace(netloc=part.netloc.rpartition("@")[2])) for part in parts)
    try:
        async with open_client(bare):
            return True
    except CommandFailed:
        return False


async def look_at_database(url: str) -> tuple[Content | None, Database, dict[str, Any]]:
    from sqlalchemy import text

    from tidemill.cli.config_versions import find_state
    from tidemill.common.config.versions import find_version

    state = await find_state(url)
    async with reading(url) as connection:
        version = await find_version(connection)
        made = [judged.Backup(*row) for row in await rows(connection, "scheduler.backups", BACKUPS)]
        heard = {str(row[0]) for row in await rows(connection, "alerter.deliveries", HEARD)}
        superusers = list((await connection.scalars(text(SUPERUSERS))).all())
        settings = {row[0]: row[1] for row in await connection.execute(text(SETTINGS), {"names": list(DURABLE)})}
        tls = bool(await connection.scalar(text(ENCRYPTED)))
    return version.content if version else None, Database(made, heard, superusers, settings, tls), state


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[AsyncConnection]:
    from tidemill.common.database import open_engine

    engine = open_engine(url, pool=1, application="tidemill-doctor")
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


async def rows(connection: AsyncConnection, table: str, query: str) -> Sequence[Any]:
    """None where the table is not there yet."""
    from sqlalchemy import text

    there = await connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table})
    return (await connection.execute(text(query))).all() if there else ()


async def takes_any_password(url: str) -> bool:
    """A socket is guarded by its folder, not by passwords."""
    import asyncpg
    from sqlalchemy.engine import make_url

    from tidemill.common.config.references import resolved

    if any(host.startswith("/") for host in hosts_of_postgres(url)):
        return False
    wrong = make_url(resolved(url)).set(password=WRONG_PASSWORD).render_as_string(hide_password=False)
    try:
        connection = await asyncpg.connect(wrong, timeout=5)
    except asyncpg.PostgresError as refused:
        if refused.sqlstate in REFUSED:
            return False
        raise OSError(str(refused)) from refused
    await connection.close()
    return True


def hosts_of_nats(url: str) -> list[str]:
    from urllib.parse import urlsplit

    parts = [urlsplit(each.strip() if "//" in each else f"nats://{each.strip()}") for each in url.split(",")]
    return [part.hostname or "" for part in parts]


def hosts_of_postgres(url: str) -> list[str]:
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    given = parsed.query.get("host", parsed.host or "")
    return [given] if isinstance(given, str) else list(given)


def local(hosts: Sequence[str]) -> bool:
    """Whether what goes there stays on this machine: a socket, or the loopback address."""
    return all(host.startswith("/") or host == "localhost" or loopback(host) for host in hosts)


def loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def disks_differ(one: Path, other: Path) -> bool | None:
    from tidemill.common.servers.child import nearest

    try:
        return nearest(one.absolute()).stat().st_dev != nearest(other.absolute()).stat().st_dev
    except OSError:
        return None


def plain_secrets(config: Config, content: Content | None) -> list[str]:
    """Where the files of this folder, or the active version, hold a secret that they should name."""
    from tidemill.common.config.load import settings_files, settings_model
    from tidemill.common.config.secret_places import written_out
    from tidemill.common.config.sources import SourceFile, source_files

    whole = settings_model({spec.name: spec.settings for spec in services_named()})
    found: dict[str, None] = {}
    for each in (None, content):
        settings = settings_files(config.folder, each).read("tidemill.yaml", config.environment)
        sources = source_files(config.common.sources_dir, each)
        problems = [*written_out(whole, settings)]
        for name in sources:
            problems += written_out(SourceFile, sources.read(name, config.environment))
        found |= {f"{problem.key} in {problem.origin}": None for problem in problems}
    return list(found)


def readable_by_all(config: Config, content: Content | None) -> set[str]:
    """Files that `${file:…}` names and every user of this machine may read."""
    files = [*config.folder.glob("tidemill*.yaml"), *config.common.sources_dir.glob("*.yaml")]
    texts = [*(content or {}).values(), *(file.read_text(encoding="utf-8") for file in files)]
    common = config.common
    texts += [url for url in (common.nats_url, common.database_url, common.redis_url, common.archive_url) if url]
    named = [Path(match.strip()) for text in texts for match in re.findall(r"\$\{file:([^{}]+)\}", text)]
    return {str(path) for path in named if path.is_file() and path.stat().st_mode & ANYBODY_READS}
