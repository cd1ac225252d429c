"""Bytes by their SHA-256: put once, kept compressed where it helps, verified whenever they are read."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, ParamSpec, Self, TypeVar
from uuid import uuid4

from prometheus_client import Counter

from tidemill.common.archive.errors import ArchiveUnavailable, ChangedWhileReading, CorruptArchive, NotArchived
from tidemill.common.archive.packing import SLICE, Packer, Unpacker, packed_size
from tidemill.common.archive.store import Entry, Incoming, ObjectArchive, key, open_store
from tidemill.common.config.references import resolved
from tidemill.common.telemetry.metrics import ARCHIVE_BYTES, ARCHIVE_PUTS, Metrics

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4


@dataclass(frozen=True, slots=True)
class Stored:
    """Content that is in the archive now."""

    sha256: str
    size_bytes: int
    stored_bytes: int
    """What it takes there, after compression."""
    existed: bool
    """It was there before. A duplicate is decided in the database, not by this: after a crash the first copy is its own
    duplicate."""


@dataclass(frozen=True, slots=True)
class Described:
    """What `stat` knows without reading the content."""

    entry: Entry
    size_bytes: int | None
    """None for compressed content that came as a stream."""


class Archive:
    """Content-addressed storage. Memory is constant whatever the size; hashing and compression run in threads, a slice
    of a few milliseconds at a time, so that the event loop and a cancellation never wait long."""

    def __init__(self, store: ObjectArchive, metrics: Metrics) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="archive")
        self._new = metrics.of(ARCHIVE_PUTS, outcome="new")
        self._repeated = metrics.of(ARCHIVE_PUTS, outcome="known")
        self._failed = metrics.of(ARCHIVE_PUTS, outcome="failed")
        self._written = metrics.of(ARCHIVE_BYTES, direction="written")
        self._read = metrics.of(ARCHIVE_BYTES, direction="read")

    @classmethod
    def open(cls, url: str, metrics: Metrics | None = None, *, make: bool = True) -> Self:
        """`file:///folder`, `s3://bucket/prefix[?endpoint=…&region=…]`, `gs://…`, `az://…`, `memory:///`.

        A folder is made where it is missing, if `make`. Raises ValueError for a URL that cannot work and
        ArchiveUnavailable where the folder cannot be used.
        """
        return cls(open_store(resolved(url), make=make), metrics or Metrics("archive"))

    @property
    def name(self) -> str:
        """Where it is, for people; without credentials."""
        return self._store.name

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def put_file(self, path: Path) -> Stored:
        """Store a file's content; storing it twice is harmless and makes it young again.

        Raises ChangedWhileReading where somebody still writes it, OSError where the file itself cannot be read, and
        ArchiveUnavailable where the archive cannot take it now.
        """
        with self._counting():
            stored = await self._in_thread(self._put_small, path)
            if stored:
                return stored
            with await self._in_thread(path.open, "rb", 0) as file:
                # Hashed first: of known content, which is most of what comes twice, nothing is compressed or written.
                hasher = hashlib.sha256()
                while await self._in_thread(_hash_slice, file, hasher):
                    pass
                size_bytes = file.tell()
                known = await self._in_thread(self._known, hasher.hexdigest(), size_bytes)
                if known:
                    return known
                file.seek(0)
                with _Packing(self._store, size_bytes) as packing:
                    while await self._in_thread(packing.feed_from, file, size_bytes):
                        pass
                    grown = await self._in_thread(file.read, 1)
                    if grown or packing.packer.sha256 != hasher.hexdigest():
                        raise ChangedWhileReading(f"{path} is still being written")
                    return await self._in_thread(self._keep, packing)

    async def put(self, chunks: AsyncIterable[bytes]) -> Stored:
        """Store a stream's content; storing it twice is harmless and makes it young again. Nothing is stored when the
        stream breaks off with an error."""
        with self._counting():
            slices = _slices(chunks)
            first, second = await anext(slices, b""), await anext(slices, b"")
            if not second:
                return await self._in_thread(self._put_whole, first)
            with _Packing(self._store, None) as packing:
                await self._in_thread(packing.packer.feed, first)
                await self._in_thread(packing.packer.feed, second)
                async for piece in slices:
                    await self._in_thread(packing.packer.feed, piece)
                return await self._in_thread(self._keep, packing)

    async def put_bytes(self, content: bytes) -> Stored:
        """Store content that is in memory; storing it twice is harmless and makes it young again."""
        if len(content) > SLICE:
            return await self.put(_once(content))
        with self._counting():
            return await self._in_thread(self._put_whole, content)

    async def read(self, sha256: str) -> AsyncGenerator[bytes, None]:
        """The content in slices of at most 1 MiB. The last one comes only after the whole was verified: whoever came to
        the end has the content, and everybody else gets NotArchived, CorruptArchive or ArchiveUnavailable."""
        reader = await self._in_thread(_Reader, self._store, sha256, self._read)
        try:
            while piece := await self._in_thread(reader.read):
                yield piece
        finally:
            reader.close()

    async def fetch_to(self, sha256: str, path: Path) -> int:
        """Write the content to a file, which appears when it is complete and verified; return its size."""
        part = path.with_name(f".{path.name}.{uuid4().hex}.part")
        copying = _Copying(self._store, sha256, self._read, part)
        try:
            while await self._in_thread(copying.go_on):
                pass
            part.replace(path)
            return copying.size_bytes
        except OSError as error:
            raise ArchiveUnavailable(f"cannot write {path}: {error}") from error
        finally:
            copying.close()
            part.unlink(missing_ok=True)

    async def stat(self, sha256: str) -> Described:
        """Raises NotArchived."""
        return await self._in_thread(self._describe, sha256)

    async def verify(self, sha256: str) -> int:
        """Read the content and throw it away; its size. Raises what `read` raises."""
        return sum([len(piece) async for piece in self.read(sha256)])

    async def delete(self, sha256: str) -> bool:
        """Whether there was something to delete."""
        return await self._in_thread(self._delete, sha256)

    async def list(self) -> AsyncGenerator[Entry, None]:
        """Everything stored, in no order, with constant memory."""
        blocks = self._store.list()
        while (block := await self._in_thread(next, blocks, None)) is not None:
            for entry in block:
                yield entry

    async def complaint(self) -> str | None:
        """For readiness: None, or what is wrong."""
        return await self._in_thread(self._store.complaint)

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        running = asyncio.get_running_loop().run_in_executor(self._threads, partial(function, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            # A slice is short, and what it works on is about to be closed.
            await asyncio.wait([running])
            raise

    @contextmanager
    def _counting(self) -> Iterator[None]:
        try:
            yield
        except ArchiveUnavailable:
            self._failed.inc()
            raise

    def _known(self, sha256: str, size_bytes: int) -> Stored | None:
        """Content that is there and was made young again."""
        entry = self._store.find(sha256)
        if entry is None or not entry.plausible(size_bytes) or not self._store.refresh(entry):
            return None
        self._repeated.inc()
        return Stored(sha256, size_bytes, entry.stored_bytes, existed=True)

    def _put_small(self, path: Path) -> Stored | None:
        """A file of one slice in one turn; None for a larger one."""
        with path.open("rb") as file:
            content = file.read(SLICE + 1)
        return None if len(content) > SLICE else self._put_whole(content)

    def _put_whole(self, content: bytes) -> Stored:
        known = self._known(hashlib.sha256(content).hexdigest(), len(content))
        if known:
            return known
        with _Packing(self._store, len(content)) as packing:
            packing.packer.feed(content)
            packing.packer.finish()
            return self._add(packing)

    def _keep(self, packing: "_Packing") -> Stored:
        """What was not known before its end."""
        packer = packing.packer
        packer.finish()
        return self._known(packer.sha256, packer.size_bytes) or self._add(packing)

    def _add(self, packing: "_Packing") -> Stored:
        packer = packing.packer
        self._store.store(packing.place.incoming, key(packer.sha256, compressed=packer.compressed))
        self._new.inc()
        self._written.inc(packer.stored_bytes)
        return Stored(packer.sha256, packer.size_bytes, packer.stored_bytes, existed=False)

    def _describe(self, sha256: str) -> Described:
        entry = self._store.find(sha256)
        if entry is None:
            raise NotArchived(sha256)
        if not entry.compressed:
            return Described(entry, entry.stored_bytes)
        with closing(self._store.open(entry)) as file:
            return Described(entry, packed_size(file.read(64)))

    def _delete(self, sha256: str) -> bool:
        entry = self._store.find(sha256)
        if entry:
            self._store.delete(entry)
        return entry is not None


class _Place:
    """Where content goes on its way in, made in the thread that writes first: whoever is cancelled meanwhile still
    holds it, and discards it."""

    def __init__(self, store: ObjectArchive) -> None:
        self._store = store
        self._incoming: Incoming | None = None

    @property
    def incoming(self) -> Incoming:
        if self._incoming is None:
            self._incoming = self._store.incoming()
        return self._incoming

    def write(self, piece: bytes) -> None:
        self.incoming.write(piece)

    def discard(self) -> None:
        if self._incoming is not None:
            self._incoming.discard()


class _Packing:
    """A packer and the place it writes to, which is gone afterwards unless it was stored."""

    def __init__(self, store: ObjectArchive, size_bytes: int | None) -> None:
        # The packer knows its place alone: in a ring with it, a megabyte would wait for the search for garbage.
        self.place = _Place(store)
        self.packer = Packer(self.place.write, size_bytes)

    def feed_from(self, file: IO[bytes], size_bytes: int) -> int:
        """One slice, but nothing behind the size that was announced: the compressor would refuse it."""
        piece = file.read(min(SLICE, size_bytes - self.packer.size_bytes))
        self.packer.feed(piece)
        return len(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.place.discard()


class _Reader:
    """Stored content, slice by slice, with failures by their names."""

    def __init__(self, store: ObjectArchive, sha256: str, counted: Counter) -> None:
        entry = store.find(sha256)
        if entry is None:
            raise NotArchived(sha256)
        self._entry = entry
        self.size_bytes = 0
        try:
            self._stored = store.open(entry)
        except LookupError as error:
            raise NotArchived(sha256) from error
        self._unpacker = Unpacker(self._stored, sha256, compressed=entry.compressed)
        counted.inc(entry.stored_bytes)

    def read(self) -> bytes:
        try:
            piece = self._unpacker.read()
        except ValueError as error:
            raise CorruptArchive(self._entry.sha256, self._entry.key, str(error)) from error
        except OSError as error:
            raise ArchiveUnavailable(f"cannot read {self._entry.key}: {error}") from error
        self.size_bytes += len(piece)
        return piece

    @property
    def more(self) -> bool:
        """Behind the slice that was read last; the whole is verified where there is nothing."""
        return self._unpacker.more

    def close(self) -> None:
        self._stored.close()


class _Copying:
    """Stored content on its way to a file; most content is there after one slice, and one turn in a thread."""

    def __init__(self, store: ObjectArchive, sha256: str, counted: Counter, path: Path) -> None:
        self._open = partial(_Reader, store, sha256, counted)
        self._path = path
        self._reader: _Reader | None = None
        self._file: IO[bytes] | None = None
        self.size_bytes = 0

    def go_on(self) -> bool:
        """Copy a slice; whether there are more."""
        if self._reader is None:
            self._reader = self._open()
        if self._file is None:
            self._file = self._path.open("xb", 0)
        self.size_bytes += self._file.write(self._reader.read())
        return self._reader.more

    def close(self) -> None:
        for each in (self._reader, self._file):
            if each is not None:
                each.close()


def _hash_slice(file: IO[bytes], hasher: "hashlib._Hash") -> int:
    piece = file.read(SLICE)
    hasher.update(piece)
    return len(piece)


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _slices(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of one slice, so that neither tiny chunks nor huge ones cost the loop."""
    gathered = bytearray()
    async for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            room = SLICE - len(gathered)
            gathered += rest[:room]
            rest = rest[room:]
            if len(gathered) == SLICE:
                yield bytes(gathered)
                gathered.clear()
    if gathered:
        yield bytes(gathered)
