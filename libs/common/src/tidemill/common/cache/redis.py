"""A cache in Redis, shared by all replicas; without Redis everything is a miss."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tidemill.common.cache.cache import Found, count
from tidemill.common.config.secrets import masked
from tidemill.common.telemetry.metrics import CACHE_CONNECTED, Metrics

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0
"""As for the limits: a machine that is busy for a moment has not lost its Redis."""
PAUSES = (0.5, 1.0, 2.0, 5.0)
"""Between attempts while Redis is lost. A look-up in between does not even try."""
CONNECTIONS = 8
BATCH = 500
"""Keys in one script: Redis does nothing else meanwhile."""
VERSION_MS = 7 * 24 * 3600 * 1000
"""So long the version of a namespace that nobody writes to is kept."""

# The version is a random word and not a number: were it a number and lost (flushed, evicted), counting would begin
# again and old values would come back to life.
_GET = f"""
local version = redis.call('GET', KEYS[1])
if not version then
  version = ARGV[1]
  redis.call('SET', KEYS[1], version, 'PX', {VERSION_MS})
end
local found = {{version}}
for i = 2, #ARGV do found[i] = redis.call('GET', KEYS[1] .. ':' .. version .. ':' .. ARGV[i]) end
return found
"""
_SET = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], math.max({VERSION_MS}, ARGV[2]))
for i = 3, #ARGV, 2 do
  redis.call('SET', KEYS[1] .. ':' .. ARGV[1] .. ':' .. ARGV[i], ARGV[i + 1], 'PX', ARGV[2])
end
return 1
"""


class RedisCache:
    """One round trip for a look-up, whatever the number of keys up to `BATCH`."""

    def __init__(self, url: str, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._connected = metrics.of(CACHE_CONNECTED)
        self._connected.set(1)
        self._clock = clock
        self._name = masked(url)
        # Any: redis-py's signatures are unions of its blocking and its asyncio answers.
        self._redis: Any = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS,
        )
        self._free = asyncio.Semaphore(CONNECTIONS)
        self._get = self._redis.register_script(_GET)
        self._set = self._redis.register_script(_SET)
        self._failures = 0
        self._try_again_at = 0.0
        self._bumps_due: set[str] = set()
        self._asking: set[asyncio.Task[Any]] = set()

    async def get_many(self, namespace: str, keys: Sequence[str]) -> Found:
        values: dict[str, bytes] = {}
        version = ""
        for start in range(0, max(1, len(keys)), BATCH):
            batch = keys[start : start + BATCH]
            answer = await self._ask(partial(self._get, keys=[_home(namespace)], args=[uuid4().hex, *batch]))
            if answer is None:
                break
            version = version or answer[0].decode()
            values.update((key, value) for key, value in zip(batch, answer[1:], strict=True) if value is not None)
        count(self._metrics, namespace, len(values), len(keys))
        return Found(values, version)

    async def set_many(self, namespace: str, values: Mapping[str, bytes], *, ttl: timedelta, version: str) -> None:
        milliseconds = int(ttl.total_seconds() * 1000)
        if not version or milliseconds <= 0:
            return
        pairs = list(values.items())
        for start in range(0, len(pairs), BATCH):
            batch = [part for pair in pairs[start : start + BATCH] for part in pair]
            await self._ask(partial(self._set, keys=[_home(namespace)], args=[version, milliseconds, *batch]))

    async def bump(self, namespace: str) -> None:
        """While Redis is lost the bump is due, and comes before anything else when it is back."""
        self._bumps_due.add(namespace)
        await self._ask(self._redis.ping)

    async def complaint(self) -> str | None:
        return f"Redis at {self._name} is lost; work goes on without the cache" if self._failures else None

    async def close(self) -> None:
        if self._asking:
            await asyncio.wait(self._asking)
        await self._redis.aclose()

    async def _ask(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, or None while Redis is lost. In a task of its own: on Python 3.11 redis-py swallows a
        cancellation that comes while it sends, and whoever asks could not be stopped."""
        task = asyncio.create_task(self._answer(question))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)
        return await asyncio.shield(task)

    async def _answer(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """While Redis is lost only one in a while tries."""
        async with self._free:
            if self._failures:
                if self._clock() < self._try_again_at:
                    return None
                self._pause()
            try:
                while self._bumps_due:
                    namespace = next(iter(self._bumps_due))
                    await self._redis.set(_home(namespace), uuid4().hex, px=VERSION_MS)
                    self._bumps_due.discard(namespace)
                answer = await question()
            except (RedisError, OSError) as error:
                if not self._failures:
                    log.warning("Redis at %s is lost (%s); work goes on without the cache", self._name, error)
                self._failures += 1
                self._connected.set(0)
                self._pause()
                return None
            if self._failures:
                log.warning("Redis at %s is back", self._name)
                self._failures = 0
                self._connected.set(1)
            return answer

    def _pause(self) -> None:
        self._try_again_at = self._clock() + PAUSES[min(self._failures, len(PAUSES)) - 1]


def _home(namespace: str) -> str:
    """Where the version is; the braces keep a namespace on one node of a cluster."""
    return f"tidemill:cache:{{{namespace}}}"
