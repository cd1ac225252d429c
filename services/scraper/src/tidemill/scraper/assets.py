"""Scripts that pages of a source share: asked for once in an hour, not once a page."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

FRESH_SECONDS = 3600.0
BYTES = 50_000_000
_AGE = re.compile(r"max-age\s*=\s*(\d{1,9})", re.IGNORECASE)


class Asset(Protocol):
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...


T = TypeVar("T", bound=Asset)


class Assets(Generic[T]):
    """In memory. The latest used are kept, as long as the host says, and an hour where it does not."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, T]] = OrderedDict()
        self._size_bytes = 0
        self._asking: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def get(self, source: str, url: str, ask: Callable[[], Awaitable[T]]) -> T:
        """Asked for by one of those who want it at the same time."""
        key = (source, url)
        async with self._asking.setdefault(key, asyncio.Lock()):
            until, found = self._kept.get(key, (0.0, None))
            if found is not None and self._clock() < until:
                self._kept.move_to_end(key)
                return found
            self._drop(key)
            found = await ask()
            seconds = fresh_for(found.headers.get("cache-control", ""))
            if seconds > 0 and len(found.content) <= BYTES // 10:
                self._kept[key] = (self._clock() + seconds, found)
                self._size_bytes += len(found.content)
            while self._size_bytes > BYTES:
                self._drop(next(iter(self._kept)))
            return found

    def _drop(self, key: tuple[str, str]) -> None:
        if key in self._kept:
            self._size_bytes -= len(self._kept.pop(key)[1].content)


def fresh_for(cache_control: str) -> float:
    """Seconds, by the header of an answer."""
    if "no-store" in cache_control.lower():
        return 0.0
    age = _AGE.search(cache_control)
    # Also what is stale at once (`no-cache`) is kept for a minute: pages of one run are one visit.
    return max(60.0, min(float(age[1]), 24 * FRESH_SECONDS)) if age else FRESH_SECONDS
