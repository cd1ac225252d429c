"""robots.txt, as RFC 9309 says: who may ask for what, and how often."""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from weakref import WeakValueDictionary

from protego import Protego

from tidemill.common.cache import Cache
from tidemill.common.http.errors import (
    BadStatus,
    FetchFailure,
    Held,
    NetworkFailure,
    PrivateAddress,
    TimedOut,
)

Decision = Literal["allowed", "disallowed", "unreachable", "ignored"]

SIZE_BYTES = 500 << 10
"""More is not read; the rules up to there hold."""
FRESH = timedelta(hours=24)
KEPT = timedelta(days=7)
"""A copy is used for so long when the host does not give a fresh one."""
UNREACHABLE = timedelta(minutes=5)
"""So long nothing is asked of a host that has not said what may be asked, before it is asked for that again."""
REDIRECTS = 5
NAMESPACE = "http.robots"
IN_MEMORY = 500


@dataclass(frozen=True, slots=True)
class Rules:
    """What one origin's robots.txt says."""

    read_at: float
    parsed: Protego

    @classmethod
    async def parse(cls, text: str, read_at: float) -> "Rules":
        """In a thread: half a megabyte of rules takes 200 ms."""
        return cls(read_at, await asyncio.to_thread(Protego.parse, text))

    def allows(self, url: str, agent: str) -> bool:
        """`agent` is the bare name that robots.txt is searched for, for instance `Tidemill`."""
        return self.parsed.can_fetch(url, agent)

    def crawl_delay(self, agent: str) -> float | None:
        """Seconds between two requests."""
        delay = self.parsed.crawl_delay(agent)
        return delay if delay is not None and delay > 0 else None


Fetch = Callable[[], Awaitable[str]]
"""The text of an origin's robots.txt; raises FetchFailure or Held."""


class Robots:
    """The rules of origins (`https://example.org`): asked for once a day, by one request however many wait for them."""

    def __init__(self, cache: Cache, *, clock: Callable[[], float] = time.time) -> None:
        self._cache = cache
        self._clock = clock
        self._known: OrderedDict[str, Rules] = OrderedDict()
        self._unreachable: dict[str, tuple[float, str]] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def rules(self, origin: str, fetch: Fetch) -> Rules:
        """Raises Held while the origin does not say, and what `fetch` raises when asking is not possible at all."""
        async with self._asking.setdefault(origin, asyncio.Lock()):
            rules = self._known.get(origin) or await self._from_cache(origin)
            if rules is None or self._age(rules) > FRESH:
                rules = await self._ask(origin, fetch, rules)
            self._remember(origin, rules)
            return rules

    async def _ask(self, origin: str, fetch: Fetch, stale: Rules | None) -> Rules:
        until, detail = self._unreachable.get(origin, (0.0, ""))
        if self._clock() >= until:
            self._unreachable.pop(origin, None)
            try:
                return await self._keep(origin, await fetch())
            except PrivateAddress:
                raise
            except FetchFailure as failure:
                if not _unreachable(failure):  # There is none: everything is allowed.
                    return await self._keep(origin, "")
                until, detail = self._clock() + UNREACHABLE.total_seconds(), failure.detail
                self._unreachable[origin] = (until, detail)
        if stale is not None and self._age(stale) < KEPT:
            return stale
        raise Held(
            origin.partition("://")[2],
            "robots_unreachable",
            f"{origin}/robots.txt cannot be read, so nothing may be asked: {detail}",
            until=datetime.fromtimestamp(until, UTC),
        )

    def _age(self, rules: Rules) -> timedelta:
        return timedelta(seconds=self._clock() - rules.read_at)

    def _remember(self, origin: str, rules: Rules) -> None:
        self._known[origin] = rules
        self._known.move_to_end(origin)
        while len(self._known) > IN_MEMORY:
            self._known.popitem(last=False)

    async def _from_cache(self, origin: str) -> Rules | None:
        found = (await self._cache.get_many(NAMESPACE, [origin])).values.get(origin)
        if found is None:
            return None
        kept = json.loads(found)
        return await Rules.parse(kept["text"], kept["read_at"])

    async def _keep(self, origin: str, text: str) -> Rules:
        now = self._clock()
        version = (await self._cache.get_many(NAMESPACE, [])).version
        value = json.dumps({"text": text, "read_at": now}).encode()
        await self._cache.set_many(NAMESPACE, {origin: value}, ttl=KEPT, version=version)
        return await Rules.parse(text, now)


def _unreachable(failure: FetchFailure) -> bool:
    """Whether a failure leaves open what the rules are. "Too many requests" is no answer to the question, though RFC
    9309 counts it with 404."""
    if isinstance(failure, BadStatus):
        return failure.status >= 500 or failure.status == 429
    return isinstance(failure, NetworkFailure | TimedOut)
