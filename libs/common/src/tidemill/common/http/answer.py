"""What came of a request: its head, and its body within limits."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from tidemill.common.http.decoding import open_decoder
from tidemill.common.http.errors import FetchFailure, NetworkFailure, TimedOut, TooLarge, Truncated
from tidemill.common.http.headers import parse_encodings, parse_etag, parse_length, parse_media_type
from tidemill.common.http.robots import Decision
from tidemill.common.http.wire import Raw

Purpose = Literal["page", "redirect", "robots"]

SHORT_BYTES = 16 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much may come."""

    received: int = 20_000_000
    """Bytes of the body as they are sent."""
    decoded: int = 50_000_000
    """Bytes of the body when its coding is undone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited, for one request."""

    connect: timedelta = timedelta(seconds=10)
    answer: timedelta = timedelta(seconds=30)
    """From the request to the head of the answer."""
    silence: timedelta = timedelta(seconds=30)
    """Between two pieces of the body."""
    total: timedelta = timedelta(minutes=10)
    """From the request to the end of the body."""
    slowest_per_second: int = 500
    """A body that brings fewer bytes a second than this, over `slow_for`, is given up."""
    slow_for: timedelta = timedelta(seconds=30)


SIZES = Sizes()
PATIENCE = Patience()


@dataclass(slots=True)
class Usage:
    """What was spent on something, redirects, robots.txt and failures included. Filled while it happens."""

    requests: int = 0
    bytes_received: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line for the ledger of good conduct: one request, or a decision of robots.txt without one."""

    source: str
    host: str
    at: datetime
    day: date
    """In the zone of the source's politeness: the day of its budget."""
    url: str
    """Without passwords."""
    purpose: Purpose
    """`page` is what was asked for itself, whatever it is."""
    requests: int = 1
    status: int | None = None
    bytes_received: int = 0
    bytes_saved: int = 0
    """Not sent again, thanks to a 304."""
    seconds: float = 0.0
    retry_after: datetime | None = None
    """The host wants to be left alone until then."""
    robots: Decision | None = None
    failure: str | None = None
    """The slug of what went wrong."""


class Answer:
    """An answer whose body has not been read yet."""

    def __init__(self, url: str, raw: Raw, *, sizes: Sizes, patience: Patience, usage: Usage, sent_at: float) -> None:
        self.url = url
        """After redirects; without passwords, for people."""
        self.address = url
        """The same as it was asked for, also what is masked in `url`; without user and password."""
        self.redirects: tuple[str, ...] = ()
        """What was asked before, in order."""
        self.status = raw.status
        self.headers = raw.headers
        self.bytes_received = 0
        """Of the body, as sent."""
        self.failure: FetchFailure | None = None
        """What went wrong with the body."""
        self._raw = raw
        self._sizes = sizes
        self._patience = patience
        self._usage = usage
        self._deadline = sent_at + patience.total.total_seconds()
        self._waited = 0.0
        self._waited_for = 0
        self._ended = False

    @property
    def media_type(self) -> str:
        """In lower case, without parameters; empty where none is told."""
        return parse_media_type(self.headers.get("content-type"))

    @property
    def encodings(self) -> list[str]:
        """Codings of the body, which `chunks` undoes."""
        return parse_encodings(self.headers.get("content-encoding"))

    @property
    def etag(self) -> str | None:
        return parse_etag(self.headers.get("etag"))

    @property
    def last_modified(self) -> str | None:
        return self.headers.get("last-modified")

    @property
    def length(self) -> int | None:
        """Bytes of the body as it is sent, where that is told beforehand."""
        return None if "transfer-encoding" in self.headers else parse_length(self.headers.get("content-length"))

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, decoded, once. Raises TooLarge (before the first piece where the size is told), Truncated,
        TimedOut and NotWhatItShouldBe."""
        try:
            if (self.length or 0) > self._sizes.received:
                raise TooLarge(f"{self.length} bytes are announced, and {self._sizes.received} allowed")
            decoder = open_decoder(self.encodings)
            decoded = 0
            while (piece := await self._next_piece()) is not None:
                if self.bytes_received > self._sizes.received:
                    raise TooLarge(f"more than the {self._sizes.received} bytes came that are allowed")
                for part in decoder.feed(piece):
                    decoded += len(part)
                    if decoded > self._sizes.decoded:
                        raise TooLarge(f"decoded it is more than the {self._sizes.decoded} bytes that are allowed")
                    yield part
            decoder.end()
        except FetchFailure as failure:
            self.failure = failure
            raise

    async def read(self) -> bytes:
        """The whole body, decoded, in memory. Raises as `chunks` does."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def _next_piece(self) -> bytes | None:
        began = time.monotonic()
        left = min(self._patience.silence.total_seconds(), self._deadline - began)
        try:
            async with asyncio.timeout(left):
                piece = await self._raw.next_piece()
        except TimeoutError:
            if time.monotonic() >= self._deadline:
                raise TimedOut(f"not complete within {self._patience.total.total_seconds():g} s") from None
            raise TimedOut(f"silence of {left:g} s in the middle of the body") from None
        except NetworkFailure as error:
            raise Truncated(error.detail) from error
        if piece is None:
            self._ended = True
            return None
        self._notice_slowness(time.monotonic() - began, len(piece))
        self.bytes_received += len(piece)
        self._usage.bytes_received += len(piece)
        return piece

    def _notice_slowness(self, seconds: float, size_bytes: int) -> None:
        """Only waiting counts, not what the reader does with what came."""
        self._waited += seconds
        self._waited_for += size_bytes
        if self._waited < self._patience.slow_for.total_seconds():
            return
        rate = self._waited_for / self._waited
        if rate < self._patience.slowest_per_second:
            raise TimedOut(f"{rate:.0f} bytes a second, and {self._patience.slowest_per_second} is the least")
        self._waited, self._waited_for = 0.0, 0

    async def close(self, *, at_once: bool = False) -> None:
        """Reads a short rest, so that the connection can be used again. Harmless when repeated."""
        short = self.status in (204, 304) or (self.length is not None and self.length <= SHORT_BYTES)
        try:
            if short and self.failure is None and not at_once:
                async with asyncio.timeout(1):
                    while not self._ended:
                        await self._next_piece()
        except (FetchFailure, TimeoutError):
            pass  # Nobody wanted it.
        finally:
            await self._raw.close()


Ledger = Callable[[Entry], None]
