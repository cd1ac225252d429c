"""The limits of hosts in Redis, shared by all replicas; without Redis nothing is asked."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from tidemill.common.config.secrets import masked
from tidemill.common.http.limits import Change, SharedLimits, Unavailable
from tidemill.common.http.pacing import Host
from tidemill.common.telemetry.metrics import LIMITER_CONNECTED, Metrics

T = TypeVar("T")

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 2.0
"""As for NATS and Postgres: a machine that is busy for a moment has not lost its Redis."""
PAUSE_SECONDS = 0.5
"""After a failure; whoever asks in between does not even try."""
CONNECTIONS = 8
KEEP_MS = 3 * 24 * 3600 * 1000
"""So long the state of a host that nobody asks is kept: a budget lasts a day, a Retry-After at most as long."""

# What a host's state means is known to one place only, `pacing`; Redis swaps states and gives the time.
_READ = """
local time = redis.call('TIME')
return {time[1] .. '.' .. string.format('%06d', time[2]), redis.call('GET', KEYS[1]) or ''}
"""
_SWAP = f"""
local known = redis.call('GET', KEYS[1]) or ''
if known == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', {KEEP_MS})
  return {{}}
end
local time = redis.call('TIME')
return {{time[1] .. '.' .. string.format('%06d', time[2]), known}}
"""


class RedisLimits(SharedLimits):
    """States change by compare and swap: two round trips, and one more for each replica that came in between."""

    def __init__(self, url: str, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(metrics)
        self._connected = metrics.of(LIMITER_CONNECTED)
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
        self._read = self._redis.register_script(_READ)
        self._swap = self._redis.register_script(_SWAP)
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._working: set[asyncio.Task[Any]] = set()
        self._lost = ""
        self._try_again_at = 0.0

    async def change(self, host: str, change: Change[T]) -> tuple[T, float]:
        return await self._whole(self._change(host, change))

    async def peek(self, hosts: Sequence[str]) -> tuple[list[Host], float]:
        return await self._whole(self._peek(hosts))

    async def _whole(self, work: Coroutine[Any, Any, T]) -> T:
        """Work that goes on when its caller is cancelled: a swap that is half told may have happened, and redis-py on
        Python 3.11 sometimes swallows the cancellation (`asyncio.wait_for`)."""
        task = asyncio.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return await asyncio.shield(task)

    async def _change(self, host: str, change: Change[T]) -> tuple[T, float]:
        async with self._changing.setdefault(host, asyncio.Lock()):
            now, known = await self._run(self._read, host)
            while True:
                state = Host.from_json(known)
                answer = change(state, float(now))
                changed = state.to_json()
                meanwhile = [] if changed == known else await self._run(self._swap, host, known, changed)
                if not meanwhile:
                    return answer, float(now)
                now, known = meanwhile

    async def _peek(self, hosts: Sequence[str]) -> tuple[list[Host], float]:
        answers = await asyncio.gather(*(self._run(self._read, host) for host in hosts))
        return [Host.from_json(known) for _, known in answers], max((float(now) for now, _ in answers), default=0.0)

    async def complaint(self) -> str | None:
        try:
            await self.peek([""])
        except Unavailable as error:
            return str(error)
        return None

    async def close(self) -> None:
        await super().close()
        if self._working:
            await asyncio.wait(self._working)
        await self._redis.aclose()

    async def _run(self, script: Any, host: str, *arguments: bytes) -> Any:
        async with self._free:
            if self._lost:
                if self._clock() < self._try_again_at:
                    raise Unavailable(self._lost)
                self._try_again_at = self._clock() + PAUSE_SECONDS
            try:
                answer = await script(keys=[f"tidemill:host:{{{host}}}"], args=arguments)
            except (RedisError, OSError) as error:
                if not self._lost:
                    self._lost = f"Redis at {self._name} is lost, and without it nothing is fetched"
                    log.warning("%s (%s)", self._lost, error)
                self._connected.set(0)
                self._try_again_at = self._clock() + PAUSE_SECONDS
                raise Unavailable(self._lost) from error
            if self._lost:
                log.warning("Redis at %s is back", self._name)
                self._lost = ""
                self._connected.set(1)
            return answer
