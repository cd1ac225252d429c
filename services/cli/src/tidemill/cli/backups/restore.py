"""A backup, put into an empty place: archive, streams, and last the database, all of it or nothing."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from tidemill.cli.backups import postgres, streams
from tidemill.cli.backups.check import Identities, damaged_files, missing_parts
from tidemill.cli.backups.contents import THREADS, put_back
from tidemill.cli.backups.errors import BackupDamaged, BackupFailed, PlaceNotEmpty
from tidemill.cli.backups.layout import CONFIGURATION, DUMP, Folder, Indexed, Manifest
from tidemill.cli.backups.sealed import unseal
from tidemill.cli.backups.take import Say, stream_file
from tidemill.common.archive.store import ObjectArchive, open_store
from tidemill.common.bus.client import open_client
from tidemill.common.config.references import resolved
from tidemill.common.config.settings import CommonSettings
from tidemill.common.database import open_engine
from tidemill.common.servers import ChildServer, FolderInUse, FolderLock, NatsServer, PostgresServer
from tidemill.common.servers.addresses import FILE
from tidemill.common.servers.nats import WELL_KNOWN_PORT

DRAFT = ".restoring"
AT_ONCE = 1000


@dataclass
class Restored:
    """What was put back, and what could not be."""

    manifest: Manifest
    contents: int = 0
    published_again: int = 0
    """Events that streams and consumers may know already."""
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a restore goes."""

    nats_url: str
    database_url: str
    archive: ObjectArchive


def read_configuration(folder: Folder, manifest: Manifest, identities: Identities) -> dict[str, str]:
    """The files by their names. Raises BackupDamaged."""
    plain = BytesIO()
    unseal(folder.path / manifest.name / f"{CONFIGURATION}{manifest.suffix}", plain, identities())
    content: dict[str, str] = json.loads(plain.getvalue())
    return content


def different_files(folder: Path, content: Mapping[str, str]) -> list[str]:
    """Files of the configuration that are here with other words in them."""
    there = {name: folder / name for name in content if (folder / name).exists()}
    return [name for name, path in there.items() if path.read_text(encoding="utf-8-sig") != content[name]]


def write_configuration(folder: Path, content: Mapping[str, str]) -> None:
    for name, words in content.items():
        if not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(words, encoding="utf-8")


@asynccontextmanager
async def open_place(settings: CommonSettings) -> AsyncIterator[Place]:
    """Servers that are configured, else new ones, whose files take their place under `data_dir` at the end, if nothing
    fails: half a restore is never taken for a whole one. Raises PlaceNotEmpty."""
    data = settings.data_dir
    for name, configured in (
        ("nats", settings.nats_url),
        ("postgres", settings.database_url),
        ("archive", settings.archive_url),
    ):
        if not configured and _has_something(data / name):
            raise PlaceNotEmpty(f"{data / name} is not empty: restore into another folder, or remove it first")
    lock = FolderLock(data / FILE.parent)
    try:
        lock.take()
    except FolderInUse as taken:
        raise PlaceNotEmpty(f"{taken.holder} works with the data of {data}: end it first") from None
    draft = data / DRAFT
    try:
        await asyncio.to_thread(_remove, draft)
        draft.mkdir()
        nats = None if settings.nats_url else NatsServer(draft / "nats", prefer=WELL_KNOWN_PORT)
        database = None if settings.database_url else PostgresServer(draft / "postgres")
        url = settings.archive_url or f"file://{quote(str(draft / 'archive'))}"
        async with AsyncExitStack() as stack:
            for server in (nats, database):
                if server:
                    await _start(server)
                    stack.push_async_callback(asyncio.to_thread, server.stop)
            yield Place(
                settings.nats_url or (nats.url if nats else ""),
                settings.database_url or (database.url if database else ""),
                open_store(resolved(str(url))),
            )
        for made in sorted(draft.iterdir()):  # The database is the last by its name, too.
            with suppress(OSError):
                (data / made.name).rmdir()
            made.replace(data / made.name)
    finally:
        await asyncio.to_thread(_remove, draft)
        lock.release()


async def restore_into(place: Place, folder: Folder, manifest: Manifest, identities: Identities, say: Say) -> Restored:
    """Raises PlaceNotEmpty, BackupDamaged, BackupFailed."""
    await _expect_empty(place)
    wrong = [*missing_parts(manifest), *await asyncio.to_thread(lambda: list(damaged_files(folder, manifest)))]
    if wrong:
        raise BackupDamaged("\n".join(wrong))
    done = Restored(manifest)
    await asyncio.to_thread(_put_contents_back, place.archive, folder, identities, done)
    say(f"{done.contents:,} contents of the archive")
    await _put_streams_back(place.nats_url, folder, manifest, identities)
    say(streams.in_words(list(manifest.streams.values())))
    dump = folder.path / manifest.name / f"{DUMP}{manifest.suffix}"
    await asyncio.to_thread(postgres.restore, place.database_url, dump, identities)
    await _settle(place.database_url, done)
    say(f"{len(manifest.tables)} tables with {sum(manifest.tables.values()):,} rows")
    return done


async def _expect_empty(place: Place) -> None:
    there = await postgres.occupant(place.database_url)
    if there:
        raise PlaceNotEmpty(f"the database is not empty: it has {there}")
    async with open_client(place.nats_url) as nc:
        found = await streams.present(nc, streams.stream_names())
    if found:
        raise PlaceNotEmpty(
            f"NATS has streams already ({', '.join(found)}): end the services, then `nats stream rm` each"
        )
    if await asyncio.to_thread(lambda: any(place.archive.list())):
        raise PlaceNotEmpty(f"the archive {place.archive.name} is not empty")


def _put_contents_back(store: ObjectArchive, folder: Folder, identities: Identities, done: Restored) -> None:
    manifest = done.manifest

    def put(one: Indexed) -> str | None:
        try:
            put_back(folder.contents, one, manifest.suffix, store, identities)
        except BackupDamaged as damage:
            return str(damage)
        return None

    with ThreadPoolExecutor(THREADS, thread_name_prefix="restore") as threads:
        for block in _blocks(folder.index(manifest.name)):
            for why in threads.map(put, block):
                if why is None:
                    done.contents += 1
                else:
                    done.damaged.append(why)


def _blocks(index: Iterator[Indexed]) -> Iterator[list[Indexed]]:
    block: list[Indexed] = []
    for one in index:
        block.append(one)
        if len(block) == AT_ONCE:
            yield block
            block = []
    yield block


async def _put_streams_back(nats_url: str, folder: Folder, manifest: Manifest, identities: Identities) -> None:
    async with open_client(nats_url) as nc:
        for name, stream in manifest.streams.items():
            with tempfile.TemporaryFile() as file:
                path = folder.path / manifest.name / f"{stream_file(name)}{manifest.suffix}"
                await asyncio.to_thread(unseal, path, file, identities())
                file.seek(0)
                await streams.put_back(nc, stream, file)
        found = await streams.present(nc, manifest.streams)
    for name, stream in manifest.streams.items():
        if name not in found or found[name].state["last_seq"] != stream.state["last_seq"]:
            raise BackupFailed(f"stream {name} is not as it was: {found.get(name)} instead of {stream}")


async def _settle(database_url: str, done: Restored) -> None:
    """Count what is there, then make it fit to streams that are a little older."""
    engine = open_engine(database_url, pool=1, application="tidemill-restore", statement_seconds=None)
    try:
        async with engine.begin() as tx:
            counted = await postgres.count_rows(tx)
            if counted != done.manifest.tables:
                other = sorted(set(counted.items()) ^ set(done.manifest.tables.items()))
                raise BackupFailed(f"the database is not as it was: {other[:5]}")
            done.published_again = await postgres.forget_confirmations(tx)
    finally:
        await engine.dispose()


async def _start(server: ChildServer) -> None:
    await asyncio.to_thread(server.prepare)
    server.spawn()  # From this thread, with which it ends.
    await asyncio.to_thread(server.wait)


def _has_something(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
