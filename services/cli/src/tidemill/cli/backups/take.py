"""One backup: archive, streams, database, and the archive again.

The order is what makes it whole. Contents are in the archive before a row names them: the second look at the archive
has all that the database speaks of, the first one what may go meanwhile. Streams are copied before the database: what
they lack is in an outbox, which keeps what was sent for a while, and what they deliver again is in an inbox.
"""

import asyncio
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO

from tidemill.cli.backups import postgres
from tidemill.cli.backups.contents import Copied, copy_contents
from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
from tidemill.cli.backups.layout import (
    CONFIGURATION,
    DUMP,
    INDEX,
    STREAMS,
    Contents,
    Folder,
    Indexed,
    Manifest,
    Stream,
    name_of,
)
from tidemill.cli.backups.sealed import Kept, Seal
from tidemill.cli.backups.streams import in_words, present, stream_names, take_snapshot
from tidemill.common.archive.store import open_store
from tidemill.common.bus.client import open_client
from tidemill.common.bus.outbox import KEEP
from tidemill.common.config import Config
from tidemill.common.config.content import read_content
from tidemill.common.config.references import resolved
from tidemill.common.servers import Addresses
from tidemill.common.service import archive_url

MARGIN = timedelta(minutes=2)
"""Before outboxes forget what the streams were sent since they were copied."""
DRAFT = ".draft"

Say = Callable[[str], None]


async def take_backup(config: Config, addresses: Addresses, folder: Folder, seal: Seal, say: Say) -> Manifest:
    """Raises BackupFailed, ConfigError, ArchiveUnavailable, CommandFailed."""
    with folder.locked():
        draft = folder.path / DRAFT
        shutil.rmtree(draft, ignore_errors=True)  # Of one that was killed.
        (draft / STREAMS).mkdir(parents=True)
        folder.contents.mkdir(exist_ok=True)
        try:
            return await _Taking(config, addresses, folder, seal, say, draft).run()
        finally:
            shutil.rmtree(draft, ignore_errors=True)


class _Taking:
    def __init__(self, config: Config, addresses: Addresses, folder: Folder, seal: Seal, say: Say, draft: Path) -> None:
        self._config = config
        self._addresses = addresses
        self._folder = folder
        self._seal = seal
        self._say = say
        self._draft = draft
        self._files: dict[str, Kept] = {}
        self._copied = Copied()

    async def run(self) -> Manifest:
        began_at = datetime.now(UTC)
        if (self._folder.path / name_of(began_at)).exists():  # A name is a second.
            await asyncio.sleep(1)
            began_at = datetime.now(UTC)
        name = name_of(began_at)
        content = read_content(self._config.folder, self._config.common.sources_dir)
        await self._keep(CONFIGURATION, io.BytesIO(json.dumps(content).encode()))
        archive = open_store(resolved(archive_url(self._config)), make=False)
        known = await asyncio.to_thread(known_contents, self._folder, self._seal)
        copy = partial(copy_contents, archive, self._folder.contents, known, self._seal, self._copied)
        await asyncio.to_thread(copy)
        streams_at = datetime.now(UTC)
        streams = await self._copy_streams()
        self._say(in_words(list(streams.values())))
        async with postgres.open_snapshot(self._addresses.database_url) as snapshot:
            if datetime.now(UTC) - streams_at > KEEP - MARGIN:
                raise BackupFailed(
                    f"copying the streams took longer than {(KEEP - MARGIN).seconds // 60} minutes: what was sent "
                    "meanwhile may be missing; copy to a faster disk"
                )
            target = self._draft / f"{DUMP}{self._seal.suffix}"
            dumping = asyncio.to_thread(postgres.dump, self._addresses.database_url, snapshot.id, self._seal, target)
            self._files[target.name], tables = await asyncio.gather(dumping, postgres.count_rows(snapshot.connection))
        self._say(f"{len(tables)} tables with {sum(tables.values()):,} rows")
        await asyncio.to_thread(copy)
        copied = self._copied
        self._say(f"{len(copied.index):,} contents of the archive, {copied.new:,} of them new")
        self._files[INDEX] = await asyncio.to_thread(self._folder.write_index, self._draft, copied.index)
        manifest = Manifest(
            tidemill=version("tidemill-cli"),
            name=name,
            began_at=began_at,
            streams_at=streams_at,
            snapshot_at=snapshot.at,
            finished_at=datetime.now(UTC),
            recipients=list(self._seal.recipients),
            files=self._files,
            tables=tables,
            postgres=snapshot.version,
            streams=streams,
            contents=Contents(count=len(copied.index), bytes=copied.bytes, new=copied.new, new_bytes=copied.new_bytes),
            problems=sorted(copied.damaged.values()),
        )
        await asyncio.to_thread(self._folder.complete, self._draft, manifest)
        return manifest

    async def _copy_streams(self) -> Mapping[str, Stream]:
        found: dict[str, Stream] = {}
        async with open_client(self._addresses.nats_url) as nc:
            for name in await present(nc, stream_names()):
                with tempfile.TemporaryFile(dir=self._draft) as file:
                    found[name] = await take_snapshot(nc, name, file)
                    file.seek(0)
                    await self._keep(stream_file(name), file)
        return found

    async def _keep(self, name: str, file: IO[bytes]) -> None:
        target = self._draft / f"{name}{self._seal.suffix}"
        kept = await asyncio.to_thread(self._seal.write, file, target)
        self._files[f"{name}{self._seal.suffix}"] = kept


def stream_file(name: str) -> str:
    return f"{STREAMS}/{name}.tar.s2"


def known_contents(folder: Folder, seal: Seal) -> dict[str, Indexed]:
    """What the newest backup with the same readers has: those are not read again."""
    for name in reversed(folder.names()):
        try:
            if _same_readers(folder.manifest(name).recipients, seal.recipients):
                return {one.sha256: one for one in folder.index(name)}
        except BackupDamaged:
            continue
    return {}


def _same_readers(before: Sequence[str], now: Sequence[str]) -> bool:
    return sorted(before) == sorted(now)
