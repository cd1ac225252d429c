"""Where stored bytes lie: any object store through obstore, and a folder, which also survives a power loss.

Everything here blocks and is called from threads.
"""

import fcntl
import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from uuid import uuid4

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, ObjectStore, from_url

from tidemill.common.archive.errors import ArchiveUnavailable
from tidemill.common.archive.packing import SLICE

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig  # Typed dictionaries without a counterpart at run time.

REFRESH_AFTER = timedelta(days=1)
"""Object stores cannot touch: known content is written again when it is older. Orphans go after seven days."""
LOW_DISK_BYTES = 32 << 20
INCOMING = ".incoming"
ABANDONED_SECONDS = 60

_KEY = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/(\1\2[0-9a-f]{60})(\.zst)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """One content as it is stored."""

    sha256: str
    compressed: bool
    stored_bytes: int
    stored_at: datetime
    """When it was last put."""

    @property
    def key(self) -> str:
        return key(self.sha256, compressed=self.compressed)

    def plausible(self, size_bytes: int) -> bool:
        """Whether it can be content of this size: a power loss may leave an empty file on disks that lie."""
        return 0 < self.stored_bytes < size_bytes if self.compressed else self.stored_bytes == size_bytes


def key(sha256: str, *, compressed: bool) -> str:
    """`ab/cd/<sha256>[.zst]`. Raises ValueError for what is no SHA-256 in lower-case hex: keys become paths."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256 in lower-case hex: {sha256!r}")
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}{'.zst' if compressed else ''}"


def _first_line(error: Exception) -> str:
    # obstore appends pages of debug output.
    return str(error).split("\n", 1)[0] or type(error).__name__


@contextmanager
def _reported(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, BaseError) as error:
        raise ArchiveUnavailable(f"{what}: {_first_line(error)}") from error


class Incoming:
    """Content on its way in: a file without a name where that will do, else one that is removed by `discard`."""

    def __init__(self, file: IO[bytes], where: str, path: Path = Path()) -> None:
        self.file = file
        self.path = path
        self._where = where

    def write(self, piece: bytes) -> None:
        with _reported(f"cannot write to {self._where}"):
            self.file.write(piece)

    def discard(self) -> None:
        """Leave nothing behind; harmless after it was stored."""
        with suppress(OSError):  # A full disk refuses to flush what is thrown away anyway.
            self.file.close()
        if self.path.name:
            with suppress(OSError):
                self.path.unlink()


class ObjectArchive:
    """Any object store. An upload becomes visible when it is complete, so that atomicity is the store's own."""

    def __init__(self, store: ObjectStore, name: str) -> None:
        self._store = store
        self.name = name
        """For messages, without credentials."""

    def find(self, sha256: str) -> Entry | None:
        for compressed in (True, False):
            with _reported(f"cannot look into {self.name}"):
                try:
                    meta = obstore.head(self._store, key(sha256, compressed=compressed))
                except FileNotFoundError:
                    continue
                return Entry(sha256, compressed, meta["size"], meta["last_modified"])
        return None

    def refresh(self, entry: Entry) -> bool:
        """Make known content young again; False where it has to be written again for that."""
        return datetime.now(UTC) - entry.stored_at < REFRESH_AFTER

    def incoming(self) -> "Incoming":
        """A place for content whose name is not known before its end."""
        where = tempfile.gettempdir()
        with _reported(f"cannot write to {where}"):
            return Incoming(tempfile.TemporaryFile(), where)

    def store(self, incoming: "Incoming", name: str) -> None:
        with _reported(f"cannot write to {self.name}"):
            incoming.file.seek(0)
            obstore.put(self._store, name, incoming.file, chunk_size=8 << 20, max_concurrency=3)

    def open(self, entry: Entry) -> IO[bytes]:
        """Raises LookupError when it is gone."""
        return io.BufferedReader(_Stream(self._store, entry.key, self.name), SLICE)

    def delete(self, entry: Entry) -> None:
        with _reported(f"cannot delete from {self.name}"), suppress(FileNotFoundError):
            obstore.delete(self._store, entry.key)

    def list(self) -> Iterator[list[Entry]]:
        """All entries, in blocks; strange files are left out."""
        with _reported(f"cannot list {self.name}"):
            for block in obstore.list(self._store, chunk_size=1000):
                yield [
                    Entry(match[3], bool(match[4]), meta["size"], meta["last_modified"])
                    for meta in block
                    if (match := _KEY.fullmatch(meta["path"]))
                ]

    def complaint(self) -> str | None:
        """What is wrong with the store, if anything."""
        try:
            with _reported(f"cannot list {self.name}"):
                next(iter(obstore.list(self._store, "00/00", chunk_size=1)), None)
        except ArchiveUnavailable as error:
            return str(error)
        return None


class _Stream(io.RawIOBase):
    """An object's bytes as a file."""

    def __init__(self, store: ObjectStore, name: str, where: str) -> None:
        self._where = where
        self._left = memoryview(b"")
        with _reported(f"cannot read from {where}"):
            try:
                self._chunks = iter(obstore.get(store, name).stream(SLICE))
            except FileNotFoundError as error:
                raise LookupError(name) from error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # BufferedReader always gives a view.
        while not self._left:
            with _reported(f"cannot read from {self._where}"):
                chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


class FolderArchive(ObjectArchive):
    """A folder. obstore lists and deletes; finding, reading and writing are ours: obstore does not sync to disk before
    the rename, and costs 35 times the CPU on small files."""

    def __init__(self, root: Path, *, make: bool = True) -> None:
        self._root = root
        self._incoming = root / INCOMING
        if not make and not self._incoming.is_dir():
            raise ArchiveUnavailable(f"there is no archive in {root}")
        with _reported(f"cannot use the archive folder {root}"):
            self._incoming.mkdir(parents=True, exist_ok=True)
            self._sweep()
        super().__init__(LocalStore(prefix=root), str(root))

    def _sweep(self) -> None:
        """Remove what a killed process left. Whoever writes holds a lock on its file, which the kernel lets go."""
        for path in self._incoming.iterdir():
            with suppress(OSError), path.open("rb") as file:
                if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    def _missing(self) -> ArchiveUnavailable | None:
        # Made once, at the start: when it is gone, so is the mount, and its mount point must not be written to.
        return None if self._incoming.is_dir() else ArchiveUnavailable(f"{self._root} is missing; is it mounted?")

    def find(self, sha256: str) -> Entry | None:
        for compressed in (True, False):
            with _reported(f"cannot look into {self._root}"):
                try:
                    status = (self._root / key(sha256, compressed=compressed)).stat()
                except FileNotFoundError:
                    continue
                return Entry(sha256, compressed, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
        if missing := self._missing():
            raise missing
        return None

    def refresh(self, entry: Entry) -> bool:
        with _reported(f"cannot touch {entry.key} in {self._root}"):
            try:
                os.utime(self._root / entry.key)
            except FileNotFoundError:
                return False
            return True

    def incoming(self) -> "Incoming":
        if missing := self._missing():
            raise missing
        path = self._incoming / uuid4().hex
        with _reported(f"cannot write to {self._root}"):
            file = path.open("xb")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return Incoming(file, str(self._root), path)

    def store(self, incoming: "Incoming", name: str) -> None:
        target = self._root / name
        with _reported(f"cannot write to {self._root}"):
            incoming.file.flush()
            os.fsync(incoming.file.fileno())
            made = [folder for folder in (target.parent, target.parent.parent) if not folder.is_dir()]
            if made:
                target.parent.mkdir(parents=True, exist_ok=True)
            incoming.path.replace(target)
            incoming.path = Path()  # Nothing is left of it there.
            for folder in (target.parent, *(folder.parent for folder in made)):
                _sync_folder(folder)

    def open(self, entry: Entry) -> IO[bytes]:
        with _reported(f"cannot read from {self._root}"):
            try:
                return (self._root / entry.key).open("rb", buffering=0)
            except FileNotFoundError as error:
                raise LookupError(entry.key) from error

    def complaint(self) -> str | None:
        if missing := self._missing():
            return str(missing)
        if not os.access(self._incoming, os.W_OK):
            return f"{self._root} may not be written"
        free = shutil.disk_usage(self._root).free
        return f"{self._root} has {free >> 20} MB left" if free < LOW_DISK_BYTES else None


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_store(url: str, *, make: bool = True) -> ObjectArchive:
    """The store that a URL names: `file:///folder`, `memory:///`, `s3://bucket/prefix`, `gs://…`, `az://…`.

    An S3-compatible server: `s3://bucket/prefix?endpoint=http://host:9000&region=eu-central-1`. Credentials come from
    the environment (`AWS_ACCESS_KEY_ID`, … or the machine's own role), never from the URL. Raises ValueError where the
    URL cannot work.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise ValueError(f"a folder archive is file:///absolute/path, not {url!r}")
        return FolderArchive(Path(unquote(parts.path)), make=make)
    if parts.scheme == "memory":
        return ObjectArchive(MemoryStore(), url)
    if "@" in parts.netloc:
        raise ValueError("an archive URL holds no credentials; they come from the environment (AWS_ACCESS_KEY_ID, …)")
    if parts.scheme not in ("s3", "gs", "az"):
        raise ValueError(f"an archive URL begins with file, s3, gs, az or memory, not {parts.scheme!r}")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    if unknown := set(options) - {"endpoint", "region"}:
        raise ValueError(f"an archive URL knows endpoint and region, not {', '.join(sorted(unknown))}")
    client: ClientConfig = {
        "connect_timeout": timedelta(seconds=5),
        "read_timeout": timedelta(seconds=30),
        "timeout": timedelta(minutes=10),
    }
    if options.get("endpoint", "").startswith("http://"):
        client["allow_http"] = True
    retry: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
    plain = urlunsplit(parts._replace(query=""))
    try:
        return ObjectArchive(from_url(plain, client_options=client, retry_config=retry, **options), plain)
    except BaseError as error:
        raise ValueError(f"the archive {plain} cannot be opened: {_first_line(error)}") from error
