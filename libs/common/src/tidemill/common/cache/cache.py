"""What a cache promises, whichever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from tidemill.common.config.references import resolved
from tidemill.common.telemetry.metrics import CACHE_REQUESTS, Metrics


@dataclass(frozen=True, slots=True)
class Found:
    """Values of the keys that were there, and the version of the namespace at that moment."""

    values: Mapping[str, bytes]
    version: str
    """To be handed to `set_many` with what is worked out for the missing keys; empty while there is no cache."""


class Cache(Protocol):
    """Bytes by namespace and key, for a while. Losing all of it is always right, so nothing here raises when the cache
    is away: a look-up finds nothing and a store is dropped.

    A namespace is a few words with dots. What follows an `@` (`names.football.team@41`) is the caller's own version of
    the truth behind the values: with it an answer from an older truth can never be found, even when a `bump` was lost.
    """

    async def get_many(self, namespace: str, keys: Sequence[str]) -> Found: ...

    async def set_many(self, namespace: str, values: Mapping[str, bytes], *, ttl: timedelta, version: str) -> None:
        """Keep values for `ttl`; dropped when the namespace was bumped since `version` was read, because they may have
        been worked out from what is no longer true."""

    async def bump(self, namespace: str) -> None:
        """Forget everything in the namespace, in all replicas at once."""

    async def complaint(self) -> str | None:
        """What is wrong with the cache, if anything. No reason to be unready: work goes on without it."""

    async def close(self) -> None: ...


def count(metrics: Metrics, namespace: str, hits: int, asked: int) -> None:
    """Count a look-up under the namespace without the caller's version, so that the label stays one of few."""
    name = namespace.partition("@")[0]
    metrics.of(CACHE_REQUESTS, namespace=name, result="hit").inc(hits)
    metrics.of(CACHE_REQUESTS, namespace=name, result="miss").inc(asked - hits)


def open_cache(redis_url: str | None, metrics: Metrics) -> Cache:
    """Redis where there is one (required for replicas), else this process's memory."""
    if redis_url:
        from tidemill.common.cache.redis import RedisCache

        return RedisCache(resolved(redis_url), metrics)
    from tidemill.common.cache.process import InProcessCache

    return InProcessCache(metrics)
