"""`tidemill status`: what runs, whether it can work, and what waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from tidemill.cli.config_versions import find_state, says, sentences
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from tidemill.common.config.versions import Sign
    from tidemill.common.servers import Addresses

LATE_SECONDS = 3.0
"""Longer, for those that gave a sign of life: on a busy machine an answer takes its time."""
GATHER_SECONDS = 0.5
"""Services answer an inquiry in a few milliseconds, on other continents in 200; nobody knows how many there are."""


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs a service."""

    service: str
    version: str
    id: str
    ready: bool | None
    """None: it is too old to tell."""
    wrong: dict[str, str]
    instance: str = ""
    """What it is called in acknowledgements of the configuration."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one consumer of a stream has before it."""

    stream: str
    consumer: str
    pending: int
    in_hand: int
    redelivered: int


@dataclass(frozen=True, slots=True)
class Stream:
    name: str
    messages: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """What one service's schema holds back."""

    schema: str
    outbox: int
    outbox_oldest_seconds: float
    retries: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class Came:
    """What became of a source's documents, each by its last conversion."""

    source: str
    documents: int
    converted: int
    incomplete: int
    refused: int
    """By the watcher, or by the converter for what is wrong with them."""
    latest: str
    """When the last of them came, UTC."""


@dataclass(frozen=True, slots=True)
class Held:
    """A key of the control bucket that stops, pauses or cancels something."""

    key: str
    reason: str
    waiting: int
    """Events that wait for its end, aside from those in the streams."""


@dataclass(frozen=True, slots=True)
class Backup:
    """The last good one, where there is one, and what came after it."""

    began_at: str
    """UTC; empty: none was good."""
    where: str
    problem: str
    """Of the last attempt, where that failed."""


@dataclass(frozen=True, slots=True)
class Status:
    services: Sequence[Running]
    sources: Sequence[Came]
    streams: Sequence[Stream]
    consumers: Sequence[Waiting]
    stores: Sequence[Store]
    control: Sequence[str]
    """Keys of the control bucket: what is stopped or paused."""
    held: Sequence[Held]
    """The same with reasons; without keys whose time has passed."""
    configuration: dict[str, Any]
    """The active version, what each replica says to it, and what was refused since."""
    backup: Backup | None = None
    """None: nobody has tried to make one."""


def register(app: typer.Typer) -> None:
    app.command("status")(status)


def status(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Show services with their readiness, streams, what waits, dead letters, the last backup. Exit status 1 if a
    service cannot work."""
    from tidemill.common.bus.client import CommandFailed

    at = addresses(read_config(assignments))
    try:
        found = asyncio.run(look(at))
    except (CommandFailed, OSError) as error:
        fail(str(error))
    if output is Output.JSON:
        typer.echo(json.dumps(asdict(found), indent=2, ensure_ascii=False, default=str))
    else:
        show(found)
    if not found.services or any(service.ready is False for service in found.services):
        raise typer.Exit(1)


async def look(at: Addresses) -> Status:
    from tidemill.common.bus.client import open_client

    database = await look_into(at.database_url)
    known = await find_signs(at.database_url)
    async with open_client(at.nats_url) as client:
        services = await running(client, at.health_url, {each.instance for each in known})
        services += [_lost_replica(each) for each in lost(known, {each.instance for each in services})]
        streams, consumers = await waiting(client.jetstream())
        held = await controls(client.jetstream(), database.waiting)
    keys = [each.key for each in held]
    configuration = await find_state(at.database_url)
    return Status(
        services, database.sources, streams, consumers, database.stores, keys, held, configuration, database.backup
    )


def lost(known: Sequence[Sign], answering: Set[str]) -> list[Sign]:
    """Replicas that are silent and did not take leave, less as many as began in their place: after the last sign of
    life, which is given at the latest for a replica that begins meanwhile."""
    found: list[Sign] = []
    for service in sorted({each.service for each in known}):
        ours = [each for each in known if each.service == service]
        silent = sorted((each for each in ours if each.instance not in answering), key=lambda each: each.seen_at)
        begun = sorted(each.began_at for each in ours if each.instance in answering)
        for each in silent:
            successor = next((at for at in begun if at > each.seen_at), None)
            if successor is None:
                found.append(each)
            else:
                begun.remove(successor)
    return found


def _lost_replica(sign: Sign) -> Running:
    why = f"does not answer: killed, frozen or cut off; last sign of life {sign.seen_at.astimezone(UTC):%H:%M:%S} UTC"
    return Running(sign.service, "", sign.instance, False, {"lost": why}, sign.instance)


async def find_signs(url: str) -> list[Sign]:
    from tidemill.common.config.versions import signs
    from tidemill.common.database import open_engine

    engine = open_engine(url, pool=1, application="tidemill-status")
    try:
        async with engine.connect() as connection:
            return await signs(connection)
    finally:
        await engine.dispose()


async def running(client: Client, health_url: str, expected: Set[str] = frozenset()) -> list[Running]:
    """Those that answer; it is waited longer for those that are `expected`."""
    from tidemill.common.bus.client import answers

    told_by: list[dict[str, Any]] = []
    missing = set(expected)
    readiness = await read_health(health_url) if health_url else {}
    async for answer in answers(client, "$SRV.INFO", lambda: LATE_SECONDS if missing else GATHER_SECONDS):
        told_by.append(answer)
        missing.discard(_instance(answer))
    found = []
    for answer in sorted(told_by, key=lambda answer: (answer["name"], answer["id"])):
        told = readiness.get(answer["name"], {})
        said = (answer.get("metadata") or {}).get("wrong")
        wrong = told.get("wrong", {}) if told else json.loads(said or "{}")
        ready = told["status"] == "ok" if told else None if said is None else not wrong
        found.append(Running(answer["name"], answer["version"], answer["id"], ready, wrong, _instance(answer)))
    return found


def _instance(answer: Mapping[str, Any]) -> str:
    return str((answer.get("metadata") or {}).get("instance", ""))


async def read_health(url: str) -> dict[str, Any]:
    """Service to what its readiness says."""
    from tidemill.common.http import HTTPError, open_client

    async with open_client() as client:
        try:
            answer: dict[str, Any] = (await client.get(f"{url}/readyz")).json()
        except (HTTPError, ValueError):
            return {}
    return dict(answer["services"])


async def waiting(js: JetStreamContext) -> tuple[list[Stream], list[Waiting]]:
    streams, consumers = [], []
    for stream in sorted(await js.streams_info(), key=lambda stream: str(stream.config.name)):
        name = str(stream.config.name)
        streams.append(Stream(name, stream.state.messages, stream.state.bytes))
        if stream.state.consumer_count:
            consumers += [
                Waiting(name, each.name, each.num_pending or 0, each.num_ack_pending or 0, each.num_redelivered or 0)
                for each in await js.consumers_info(name)
                if each.config.durable_name
            ]
    return streams, consumers


SCHEMAS = "SELECT schemaname FROM pg_tables WHERE tablename = 'dead_letters' ORDER BY 1"

HELD_BACK = """
SELECT (SELECT count(*) FROM "{0}".outbox WHERE sent_at IS NULL),
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
        FROM "{0}".outbox WHERE sent_at IS NULL),
       (SELECT count(*) FROM "{0}".retries),
       (SELECT count(*) FROM "{0}".dead_letters WHERE handled_at IS NULL)
"""


WAITING = 'SELECT source, count(*) FROM "{0}".retries WHERE due_at IS NOT NULL GROUP BY 1'

TABLES = "SELECT to_regclass('converter.documents') IS NOT NULL, to_regclass('watcher.refusals') IS NOT NULL"
CONVERSIONS = """
(SELECT DISTINCT ON (source, sha256) source, coalesce(outcome, '') AS outcome, received_at AS at
 FROM converter.documents WHERE state <> 'staged' AND sha256 <> '' ORDER BY source, sha256, id DESC)
"""
REFUSALS = "(SELECT source, reason, refused_at FROM watcher.refusals)"
SOURCES = """
SELECT source, count(*), count(*) FILTER (WHERE outcome = 'converted'),
    count(*) FILTER (WHERE outcome = 'incomplete'),
    count(*) FILTER (WHERE outcome NOT IN ('converted', 'incomplete', '')), max(at)
FROM ({0}) documents (source, outcome, at) GROUP BY 1 ORDER BY 1
"""

BACKUPS_TABLE = "SELECT to_regclass('scheduler.backups') IS NOT NULL"
BACKUP = """
WITH good AS (SELECT * FROM scheduler.backups WHERE good ORDER BY began_at DESC LIMIT 1)
SELECT good.began_at, good.folder, good.name, last.problem
FROM (SELECT * FROM scheduler.backups ORDER BY began_at DESC LIMIT 1) last LEFT JOIN good ON true
"""


@dataclass(frozen=True, slots=True)
class Database:
    stores: Sequence[Store]
    sources: Sequence[Came]
    waiting: Mapping[tuple[str, str], int]
    """Events in the tables of retries, by service and source."""
    backup: Backup | None


async def look_into(url: str) -> Database:
    import asyncpg

    from tidemill.common.config.references import resolved

    try:
        connection = await asyncpg.connect(resolved(url), timeout=5)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        fail(f"Postgres does not answer: {error}; `tidemill doctor` says more")
    try:
        schemas = [row[0] for row in await connection.fetch(SCHEMAS)]
        stores = [Store(schema, *await connection.fetchrow(HELD_BACK.format(schema))) for schema in schemas]
        waits = {
            (schema, source): count
            for schema in schemas
            for source, count in await connection.fetch(WAITING.format(schema))
        }
        there = zip((CONVERSIONS, REFUSALS), await connection.fetchrow(TABLES), strict=True)
        parts = [part for part, is_there in there if is_there]
        rows = await connection.fetch(SOURCES.format(" UNION ALL ".join(parts))) if parts else []
        sources = [
            Came(source, documents, converted, incomplete, refused, at.astimezone(UTC).isoformat(timespec="seconds"))
            for source, documents, converted, incomplete, refused, at in rows
        ]
        told = await connection.fetchrow(BACKUP) if await connection.fetchval(BACKUPS_TABLE) else None
        return Database(stores, sources, waits, _backup(*told) if told else None)
    finally:
        await connection.close()


def _backup(began_at: datetime | None, folder: str | None, name: str | None, problem: str) -> Backup:
    if began_at is None:
        return Backup("", "", problem)
    return Backup(began_at.astimezone(UTC).isoformat(timespec="seconds"), f"{folder}/{name}", problem)


async def controls(js: JetStreamContext, waits: Mapping[tuple[str, str], int]) -> list[Held]:
    from tidemill.common.bus.control import read_bucket, read_entry

    bucket = await read_bucket(js)
    held = []
    for key, value in sorted(bucket.entries.items()) if bucket else []:
        if said := read_entry(key, value):
            reason = said.removeprefix(key).removeprefix(": ")
            held.append(Held(key, reason, sum(count for of, count in waits.items() if concerns(key, *of))))
    return held


def concerns(key: str, service: str, source: str) -> bool:
    """Whether events of a source wait in a service because of this key."""
    _, of, *name = key.split(".", 2)
    return of == "all" or name == [{"service": service, "source": source}.get(of)]


def show_configuration(state: dict[str, Any]) -> None:
    """Once there are versions: which one is active, and which replicas are not of one mind with it."""
    if not state["active"] and not state["refused"]:
        return
    typer.echo("\n" + "\n".join(sentences(state)))
    for row in state["replicas"]:
        if row["problem"] or row["restart"]:
            typer.echo(f"  {row['service']} {row['instance']}: {says(row)}")


def show_backup(backup: Backup) -> None:
    good = f"last good backup: {backup.began_at[:16].replace('T', ' ')} UTC, {backup.where}"
    typer.echo(f"\n{good if backup.began_at else 'no backup was good yet'}")
    if backup.problem:
        typer.secho(f"  the last attempt failed: {backup.problem}", fg="yellow")


def show(found: Status) -> None:
    if found.services:
        _print(
            ("service", "version", "process", "state"),
            [(each.service, each.version, each.id, _state(each)) for each in found.services],
            [each.ready is False for each in found.services],
            whole=("state",),
        )
    else:
        typer.echo("No service answers on NATS: start `tidemill up`.")
    _print(
        ("source", "documents", "converted", "incomplete", "refused", "latest (UTC)"),
        [
            (
                each.source,
                each.documents,
                each.converted,
                each.incomplete,
                each.refused,
                each.latest[:16].replace("T", " "),
            )
            for each in found.sources
        ],
        [each.refused > 0 for each in found.sources],
    )
    _print(
        ("stream", "messages", "MB"),
        [(each.name, each.messages, f"{each.size_bytes / 1e6:,.1f}") for each in found.streams],
    )
    _print(
        ("consumer", "of", "waiting", "in hand", "again"),
        [(each.consumer, each.stream, each.pending, each.in_hand, each.redelivered) for each in found.consumers],
    )
    _print(
        ("schema", "outbox", "oldest", "retries", "dead letters"),
        [
            (each.schema, each.outbox, f"{each.outbox_oldest_seconds:.0f} s", each.retries, each.dead_letters)
            for each in found.stores
        ],
        [each.dead_letters > 0 for each in found.stores],
    )
    show_configuration(found.configuration)
    if found.backup is not None:
        show_backup(found.backup)
    if any(each.refused for each in found.sources):
        typer.echo("\nWhat was refused, and why: `tidemill documents --outcome refused`")
    if any(each.dead_letters for each in found.stores):
        typer.echo("\nWhat was given up: `tidemill dead-letters list`")
    for held in found.held:
        typer.secho(f"\nheld by control: {held.key}", fg="yellow", nl=False)
        typer.echo(f"{f' ({held.reason})' if held.reason else ''} · {held.waiting:,} waiting")


def _state(service: Running) -> str:
    if "lost" in service.wrong:
        return f"lost: {service.wrong['lost']}"
    wrong = "; ".join(f"{name}: {problem}" for name, problem in service.wrong.items())
    return {None: "runs", True: "ready", False: f"not ready {wrong}"}[service.ready]


def _print(
    names: Sequence[str],
    rows: Sequence[Sequence[str | int]],
    alarming: Sequence[bool] = (),
    *,
    whole: Sequence[str] = (),
) -> None:
    """A table and what separates it from the one before; numbers to the right, and nothing where nothing is."""
    if not rows:
        return
    if "service" not in names:
        typer.echo()
    columns = [
        Column(name, whole=name in whole, right=not isinstance(cell, str) or name in ("MB", "oldest"))
        for name, cell in zip(names, rows[0], strict=True)
    ]
    cells = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    print_table(columns, cells, alarming=[n for n, alarms in enumerate(alarming) if alarms])
