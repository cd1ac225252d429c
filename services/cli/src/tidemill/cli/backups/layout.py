"""How backups lie in their folder: one folder for each, and the archive's contents beside them, shared by all.

<folder>/contents/ab/cd/<sha256>[.zst][.age]   written once, whatever the number of backups
<folder>/20260301T020000Z/manifest.json        written last: without it there is no backup
                          contents.zst         which contents belong to it
                          postgres.dump.zst    configuration.json    streams/<NAME>.tar.s2
"""

import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import zstandard
from pydantic import BaseModel, ConfigDict, ValidationError

from tidemill.cli.backups.errors import BackupDamaged, BackupFailed
from tidemill.cli.backups.sealed import Kept, Seal
from tidemill.common.archive.store import key
from tidemill.common.servers import FolderInUse, FolderLock

MANIFEST = "manifest.json"
INDEX = "contents.zst"
DUMP = "postgres.dump.zst"
CONFIGURATION = "configuration.json"
STREAMS = "streams"
NAME = "%Y%m%dT%H%M%SZ"
FORMAT = 1


class Stream(BaseModel):
    """A stream as the server describes it."""

    config: dict[str, Any]
    state: dict[str, Any]

    @property
    def messages(self) -> int:
        return int(self.state.get("messages", 0))


class Contents(BaseModel):
    """Of the archive."""

    count: int
    bytes: int
    new: int
    """Written by this backup; the others were there."""
    new_bytes: int


class Manifest(BaseModel):
    """What a backup consists of, and what must be there when it was put back."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    tidemill: str
    name: str
    began_at: datetime
    streams_at: datetime
    """Before the first stream was copied."""
    snapshot_at: datetime
    """Of the database: what was committed later is not in it."""
    finished_at: datetime
    recipients: list[str]
    files: dict[str, Kept]
    tables: dict[str, int]
    """Rows at the snapshot, by schema and table."""
    postgres: str
    """Version of the server."""
    streams: dict[str, Stream]
    contents: Contents
    problems: list[str]
    """What of the source is damaged, and therefore not in the backup."""

    @property
    def suffix(self) -> str:
        return ".age" if self.recipients else ""

    @property
    def seconds(self) -> float:
        return (self.finished_at - self.began_at).total_seconds()


@dataclass(frozen=True, slots=True)
class Indexed:
    """One content in a backup."""

    sha256: str
    compressed: bool
    kept: Kept

    def path(self, suffix: str) -> str:
        return f"{key(self.sha256, compressed=self.compressed)}{suffix}"


class Folder:
    """Where backups are kept."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.contents = self.path / "contents"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """For whoever writes. Raises BackupFailed."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = FolderLock(self.path)
            lock.take()
        except FolderInUse as taken:
            raise BackupFailed(f"{taken.holder} makes a backup in {self.path} already") from None
        except OSError as error:
            raise BackupFailed(f"cannot write to {self.path}: {error.strerror}") from None
        try:
            yield
        finally:
            lock.release()

    def names(self) -> list[str]:
        """Of the complete backups, the oldest first."""
        return sorted(found.parent.name for found in self.path.glob(f"*/{MANIFEST}") if _is_name(found.parent.name))

    def manifest(self, name: str = "") -> Manifest:
        """Of this backup, or of the newest one. Raises BackupDamaged where there is none."""
        names = self.names()
        if not names or (name and name not in names):
            there = f"there are {', '.join(names[-5:])}" if names else "there is none"
            raise BackupDamaged(f"no {'such ' if name else ''}backup in {self.path}: {there}")
        chosen = name or names[-1]
        try:
            manifest = Manifest.model_validate_json((self.path / chosen / MANIFEST).read_bytes())
        except (OSError, ValidationError) as error:
            raise BackupDamaged(f"the manifest of {chosen} cannot be read: {error}") from None
        if manifest.format != FORMAT:
            raise BackupDamaged(f"{chosen} was written by Tidemill {manifest.tidemill}, which writes backups otherwise")
        return manifest

    def index(self, name: str) -> Iterator[Indexed]:
        """The contents of a backup. Raises BackupDamaged."""
        path = self.path / name / INDEX
        try:
            with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed) as plain:
                for line in io.TextIOWrapper(plain, encoding="ascii"):
                    sha256, form, size, digest = line.split()
                    yield Indexed(sha256, form == "zstd", Kept(bytes=int(size), sha256=digest))
        except (OSError, ValueError, zstandard.ZstdError) as error:
            raise BackupDamaged(f"{path} cannot be read: {error}") from None

    def write_index(self, folder: Path, index: Mapping[str, Indexed]) -> Kept:
        draft = io.BytesIO()
        with zstandard.ZstdCompressor().stream_writer(draft, closefd=False) as packed:
            for one in index.values():
                form = "zstd" if one.compressed else "plain"
                packed.write(f"{one.sha256} {form} {one.kept.bytes} {one.kept.sha256}\n".encode())
        draft.seek(0)
        return Seal().write(draft, folder / INDEX)

    def complete(self, draft: Path, manifest: Manifest) -> None:
        """The disk has everything before there is a manifest, and the manifest before anybody is told."""
        os.sync()
        (draft / MANIFEST).write_text(manifest.model_dump_json(indent=1))
        (draft / MANIFEST).chmod(0o600)
        draft.replace(self.path / manifest.name)
        os.sync()

    def prune(self, keep: timedelta, now: datetime) -> list[str]:
        """Remove backups that are older, never the newest good one, and contents that no other has. Raises
        BackupDamaged, BackupFailed."""
        with self.locked():  # A backup that is being made has contents that nothing lists yet.
            return self._prune(keep, now)

    def _prune(self, keep: timedelta, now: datetime) -> list[str]:
        manifests = {name: self.manifest(name) for name in self.names()}
        good = [name for name, manifest in manifests.items() if not manifest.problems]
        old = [
            name
            for name, manifest in manifests.items()
            if now - manifest.began_at > keep and name not in good[-1:] and name != max(manifests)
        ]
        for name in old:
            # The manifest first: half a backup must not look like one.
            (self.path / name / MANIFEST).unlink()
            shutil.rmtree(self.path / name)
        if old:
            self._drop_unlisted()
        return old

    def _drop_unlisted(self) -> None:
        listed = {
            one.path(manifest.suffix)
            for manifest in map(self.manifest, self.names())
            for one in self.index(manifest.name)
        }
        for path in self.contents.glob("*/*/*"):
            if str(path.relative_to(self.contents)) not in listed:
                path.unlink()


def name_of(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime(NAME)


def _is_name(name: str) -> bool:
    try:
        datetime.strptime(name, NAME).replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
