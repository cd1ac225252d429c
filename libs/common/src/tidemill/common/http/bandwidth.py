"""How fast a body is read, and how fast it came."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

OVER_SECONDS = 10.0
EVERY_SECONDS = 0.5


class Bandwidth:
    """A cap in bytes a second; for several downloads together when they share it."""

    def __init__(
        self,
        bytes_per_second: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bytes_per_second = bytes_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = 0.0

    async def take(self, size_bytes: int) -> None:
        """Wait until so many bytes more are within the cap."""
        now = self._clock()
        self._free_at = max(self._free_at, now) + size_bytes / self._bytes_per_second
        if self._free_at > now:
            await self._sleep(self._free_at - now)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is."""

    received: int
    """Bytes on disk, with those of earlier attempts."""
    total: int | None
    bytes_per_second: float
    """Over the last ten seconds."""
    eta: timedelta | None


class Meter:
    """Turns what comes into progress that is worth telling."""

    def __init__(self, begun_with: int, total: int | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._samples = deque([(clock(), begun_with)])
        self._told_at = clock()

    def due(self, received: int) -> Progress | None:
        """Progress, when the last is old enough."""
        return self.progress(received) if self._clock() - self._told_at >= EVERY_SECONDS else None

    def progress(self, received: int) -> Progress:
        now = self._told_at = self._clock()
        self._samples.append((now, received))
        while len(self._samples) > 2 and self._samples[1][0] <= now - OVER_SECONDS:
            self._samples.popleft()
        began, had = self._samples[0]
        rate = (received - had) / (now - began) if now > began else 0.0
        left = None if self._total is None or rate <= 0 else timedelta(seconds=(self._total - received) / rate)
        return Progress(received, self._total, rate, left)
