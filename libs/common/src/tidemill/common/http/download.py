"""A file to disk: whole, current, of the right kind, resumed where it broke off."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar

from tidemill.common.config.downloading import Kind
from tidemill.common.config.politeness import Politeness
from tidemill.common.http.answer import Answer, Patience, Sizes, Usage
from tidemill.common.http.bandwidth import Bandwidth, Meter, Progress
from tidemill.common.http.client import PoliteClient
from tidemill.common.http.errors import (
    BadStatus,
    ChecksumMismatch,
    FetchFailure,
    NetworkFailure,
    NotWhatItShouldBe,
    TooLarge,
    Truncated,
)
from tidemill.common.http.headers import sha256_of
from tidemill.common.http.kinds import HEAD_BYTES, kind_of, mismatch
from tidemill.common.http.partfile import BLOCK_BYTES, PartFile, find_part, forget
from tidemill.common.http.resume import (
    WHOLE,
    Append,
    Ask,
    AskWhole,
    Complete,
    Part,
    Senseless,
    StartOver,
    Unchanged,
    Validators,
    how_to_ask,
    judge,
)

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger(__name__)

ROUNDS = 20
"""Answers that one download may take. Some servers give only so much of a range at once."""
PATIENCE = Patience(total=timedelta(hours=6))


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A whole file, checked and safe on disk."""

    path: Path
    size_bytes: int
    sha256: str
    etag: str | None
    last_modified: str | None
    media_type: str
    """As the server calls it."""
    url: str
    """After redirects."""
    resumed_from: int
    """Bytes that earlier attempts had brought."""


@dataclass(frozen=True, slots=True)
class NotModified:
    """The file that is known is still current."""

    url: str


async def download(
    client: PoliteClient,
    url: str,
    path: Path,
    *,
    source: str,
    politeness: Politeness,
    known: Validators | None = None,
    known_bytes: int = 0,
    expect: Kind = "auto",
    checksum: str | None = None,
    min_size: int = 1,
    max_size: int = 200_000_000,
    bandwidth: Bandwidth | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    patience: Patience = PATIENCE,
    wait: timedelta = timedelta(seconds=30),
    usage: Usage | None = None,
) -> Downloaded | NotModified:
    """Bring a file to `path`, in a folder that exists; the caller moves it on, and calls `forget(path)`.

    `known` are the validators of the version that the caller has, of `known_bytes`; `checksum` is a SHA-256 in hex.
    What is on disk after FetchFailure, Held, a kill or a cancellation is taken up by the next call with the same path
    and URL. OSError means the disk.
    """
    bringing = _Bringing(url, path, kind_of(url, expect), checksum, min_size, max_size, bandwidth, on_progress)
    bringing.part = await _in_thread(find_part, path)
    bringing.ask = how_to_ask(url, bringing.part, known)
    for _ in range(ROUNDS):
        async with client.open(
            url,
            source=source,
            politeness=politeness,
            headers=bringing.ask.headers,
            sizes=Sizes(received=max_size, decoded=max_size),
            patience=patience,
            identity=True,
            wait=wait,
            known_bytes=bringing.part.size if bringing.ask.kind == "confirm" and bringing.part else known_bytes,
            usage=usage,
        ) as answer:
            done = await bringing.take(answer)
        if done is not None:
            return done
    raise NetworkFailure(f"{ROUNDS} answers were not enough for the whole of it")


@dataclass(slots=True)
class _Bringing:
    """One download: what is wanted, what is there, and what is asked next."""

    url: str
    path: Path
    kind: Kind
    checksum: str | None
    min_size: int
    max_size: int
    bandwidth: Bandwidth | None
    on_progress: Callable[[Progress], None] | None
    part: Part | None = None
    ask: Ask = WHOLE
    resumed_from: int = 0

    async def take(self, answer: Answer) -> Downloaded | NotModified | None:
        """What came of it; None when there is more to ask."""
        match judge(self.ask, self.part, answer.status, answer.headers):
            case Unchanged():
                return NotModified(answer.url)
            case Complete():
                assert self.part is not None
                self.resumed_from = self.part.size
                return await self._write(answer, self.part, body=False)
            case Append(total):
                assert self.part is not None
                self.resumed_from = self.resumed_from or self.part.size
                return await self._write(answer, replace(self.part, total=total))
            case StartOver(total, resumable):
                self.resumed_from = 0
                etag = answer.etag if resumable else None
                return await self._write(answer, Part(self.url, 0, total, etag, answer.last_modified))
            case AskWhole(reason):
                log.info("%s is asked for from the beginning: %s", answer.url, reason)
                await self._start_over()
                return None
            case Senseless(reason):
                raise BadStatus(answer.status, f"{answer.url} {reason}")

    async def _start_over(self) -> None:
        self.part, self.ask = None, WHOLE
        await _in_thread(forget, self.path)

    async def _write(self, answer: Answer, part: Part, *, body: bool = True) -> Downloaded | None:
        if part.total is not None and part.total > self.max_size:
            raise TooLarge(f"{part.total} bytes are announced, and {self.max_size} allowed")
        file = await _in_thread(PartFile, self.path, part)
        try:
            if body:
                await self._receive(answer, file, part)
            if part.total is not None and file.size < part.total:
                self._ask_for_more(part, file.size)
                return None
            self._check(answer, part, file)
            await _in_thread(file.checkpoint)
        except (NotWhatItShouldBe, ChecksumMismatch, TooLarge):
            await self._start_over()
            raise
        finally:
            await _in_thread(file.close)
        return Downloaded(
            self.path,
            file.size,
            file.sha256,
            answer.etag or part.etag,
            answer.last_modified or part.last_modified,
            answer.media_type,
            answer.url,
            self.resumed_from,
        )

    async def _receive(self, answer: Answer, file: PartFile, part: Part) -> None:
        """The body into the file. However it ends, what came is safe, and known to be."""
        meter = Meter(file.size, part.total)
        waiting = bytearray()
        judged = False

        async def write() -> None:
            block = bytes(waiting)
            waiting.clear()  # First: it is written also when we are cancelled meanwhile.
            await _in_thread(file.write, block)

        try:
            async for chunk in answer.chunks():
                waiting += chunk
                if file.size + len(waiting) > self.max_size:
                    raise TooLarge(f"more than the {self.max_size} bytes came that are allowed")
                if len(waiting) >= BLOCK_BYTES or not judged:
                    await write()
                    judged = judged or len(file.head) >= HEAD_BYTES
                    if judged and (wrong := mismatch(self.kind, file.head)):
                        raise NotWhatItShouldBe(f"{answer.url}: {wrong}")
                self._tell(meter.due(file.size + len(waiting)))
                if self.bandwidth is not None:
                    await self.bandwidth.take(len(chunk))
            await write()
        except (FetchFailure, asyncio.CancelledError):
            await _in_thread(file.save, bytes(waiting))
            raise
        self._tell(meter.progress(file.size))

    def _tell(self, progress: Progress | None) -> None:
        if progress is not None and self.on_progress is not None:
            self.on_progress(progress)

    def _ask_for_more(self, part: Part, size: int) -> None:
        if size == part.size:
            raise Truncated("a range without bytes came")
        self.part = replace(part, size=size)
        self.ask = how_to_ask(self.url, self.part)

    def _check(self, answer: Answer, part: Part, file: PartFile) -> None:
        if wrong := mismatch(self.kind, file.head):
            raise NotWhatItShouldBe(f"{answer.url}: {wrong}")
        if part.total is not None and file.size > part.total:
            raise NotWhatItShouldBe(f"{answer.url}: {file.size} bytes came, and {part.total} were announced")
        if file.size < self.min_size:
            raise NotWhatItShouldBe(f"{answer.url}: {file.size} bytes, and {self.min_size} is the least")
        told = None if answer.encodings else sha256_of(answer.headers.get("repr-digest"), answer.headers.get("digest"))
        for expected, by in ((self.checksum, "its publisher"), (told, "its server")):
            if expected is not None and expected.lower() != file.sha256:
                raise ChecksumMismatch(f"{answer.url}: SHA-256 is {file.sha256}, and by {by} {expected}")


async def _in_thread(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """In a thread that is waited for even when cancelled: nobody closes a file that is being written."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **named))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        working.exception()  # Taken note of; the cancellation is what counts.
        raise
