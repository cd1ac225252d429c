"""A cache in this process's memory: the least recently used go first."""

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from tidemill.common.cache.cache import Found, count
from tidemill.common.telemetry.metrics import Metrics

OVERHEAD_BYTES = 250
"""Of an entry, besides its key and value: tuple, two strings' heads, dictionary slots."""


class InProcessCache:
    """Right for one process. Bounded by bytes, keys and overhead included."""

    def __init__(
        self, metrics: Metrics, *, max_bytes: int = 32 << 20, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], tuple[float, bytes]] = OrderedDict()
        self.size_bytes = 0
        self._versions: Counter[str] = Counter()

    async def get_many(self, namespace: str, keys: Sequence[str]) -> Found:
        now = self._clock()
        values: dict[str, bytes] = {}
        for key in keys:
            entry = self._entries.get((namespace, key))
            if entry is None:
                continue
            if entry[0] <= now:
                self._drop((namespace, key))
                continue
            self._entries.move_to_end((namespace, key))
            values[key] = entry[1]
        count(self._metrics, namespace, len(values), len(keys))
        return Found(values, str(self._versions[namespace]))

    async def set_many(self, namespace: str, values: Mapping[str, bytes], *, ttl: timedelta, version: str) -> None:
        if version != str(self._versions[namespace]):
            return
        until = self._clock() + ttl.total_seconds()
        for key, value in values.items():
            self._drop((namespace, key))
            self._entries[namespace, key] = (until, value)
            self.size_bytes += len(key) + len(value) + OVERHEAD_BYTES
        while self.size_bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    async def bump(self, namespace: str) -> None:
        self._versions[namespace] += 1
        for place in [place for place in self._entries if place[0] == namespace]:
            self._drop(place)

    async def complaint(self) -> str | None:
        return None

    async def close(self) -> None:
        self._entries.clear()
        self.size_bytes = 0

    def _drop(self, place: tuple[str, str]) -> None:
        entry = self._entries.pop(place, None)
        if entry:
            self.size_bytes -= len(place[1]) + len(entry[1]) + OVERHEAD_BYTES
