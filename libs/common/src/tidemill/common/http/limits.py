"""Leave to ask a host: one rate and one budget for a host, whoever asks."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

from tidemill.common.config.politeness import Politeness
from tidemill.common.config.references import resolved
from tidemill.common.http.errors import Held
from tidemill.common.http.pacing import LEASE_SECONDS, Host, NotNow, Outcome, Terms, terms_of
from tidemill.common.telemetry.metrics import HTTP_HELD, HTTP_WAIT_SECONDS, Metrics

T = TypeVar("T")
Change = Callable[[Host, float], T]
"""What is to be done to a host's state, at a moment of the state's own clock."""

LATE_SECONDS = 0.1
"""A request that leaves later than this after it was admitted asks again, so that no two of them meet; a quarter of the
interval where that is less."""
FINEST_SECONDS = 0.005
"""No way to a host keeps shorter distances."""
ASK_AGAIN = 3
"""Times. Where the states are kept so far away that this does not help, the rate is as exact as the way is short."""

RENEW_EVERY = timedelta(seconds=LEASE_SECONDS / 4)

OWED = 100
"""Outcomes kept for a host while nobody can be told; of more the last ones tell enough."""

_WORDS = {
    "budget_spent": "its requests of the day are spent",
    "breaker_open": "it failed several times in a row",
    "not_before": "it asked for patience",
    "rate": "the next request is not due yet",
    "busy": "as many requests as allowed are under way",
}


class Permit(Protocol):
    """Leave for one request. Whoever holds it must finish it."""

    async def start(self) -> None:
        """To be awaited right before the request is sent: waits a little more if time went by since, or if another is
        about to send. Raises Held."""

    async def sent(self) -> None:
        """To be awaited right after it was sent."""

    async def finish(self, outcome: Outcome) -> None:
        """Give the place back. Harmless when repeated, and when nobody can be told."""


class HostLimits(Protocol):
    """One rate, one number of requests under way, one breaker and one memory of what it said, for each host."""

    async def acquire(self, host: str, terms: Terms, *, wait: timedelta) -> Permit:
        """Leave to ask a host now; waits for it at most so long, and not at all for a breaker or a new day. Raises Held
        with the reason and when it ends."""

    async def startable(
        self, hosts: Iterable[str], source: str, politeness: Politeness, *, within: timedelta = timedelta(0)
    ) -> Mapping[str, int]:
        """How many requests could begin now, or within a time, as things stand. All 0 when nobody can tell."""

    async def restore(self, host: str, source: str, day: str, requests: int, not_before: datetime | None) -> None:
        """Requests of a day (`2026-11-22`) and a Retry-After that a ledger remembers: limits may have forgotten them.
        The stricter of both holds. Does nothing while nobody can tell."""

    async def complaint(self) -> str | None:
        """What is wrong with the limits, if anything: then nothing is asked."""

    async def close(self) -> None: ...


class Unavailable(Exception):
    """The states cannot be read or written; callers of HostLimits see Held."""


@dataclass(eq=False)
class _Line:
    """Those of this process who want to ask the same host: the first asks for all."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    freed: asyncio.Event = field(default_factory=asyncio.Event)
    """A place was given back in this process."""


class SharedLimits(ABC):
    """HostLimits, but for where the states are kept."""

    def __init__(self, metrics: Metrics, renew_every: timedelta = RENEW_EVERY) -> None:
        self._metrics = metrics
        self._renew_every = renew_every
        self._lines: WeakValueDictionary[str, _Line] = WeakValueDictionary()
        self._open: dict[str, str] = {}
        """Lease to host."""
        self._owed: dict[str, list[Change[None]]] = {}
        """What became of requests while nobody could be told."""
        self._heart: asyncio.Task[None] | None = None

    @abstractmethod
    async def change(self, host: str, change: Change[T]) -> tuple[T, float]:
        """Change a state as if nobody else were there; the answer, and the moment. Raises Unavailable."""

    @abstractmethod
    async def peek(self, hosts: Sequence[str]) -> tuple[list[Host], float]:
        """The states, and the moment. Raises Unavailable."""

    @abstractmethod
    async def complaint(self) -> str | None: ...

    async def acquire(self, host: str, terms: Terms, *, wait: timedelta) -> Permit:
        began = time.monotonic()
        lease = uuid4().hex[:16]
        line = self._lines.setdefault(host, _Line())
        try:
            async with asyncio.timeout(wait.total_seconds()):
                await line.turn.acquire()
        except TimeoutError:
            raise self._held(host, NotNow("rate", time.time()), "others of this process wait for it") from None
        try:
            left = wait - timedelta(seconds=time.monotonic() - began)
            self._open[lease] = host
            asked_at = await self._ask(host, left, lambda state, now: state.admit(terms, lease, now), line)
        except Held as held:
            if held.reason == "limiter_unavailable":  # It may have been admitted all the same, and so below.
                await self.finish(host, lease, Outcome("unknown"))
            self._open.pop(lease, None)
            raise
        except asyncio.CancelledError:
            await asyncio.shield(self.finish(host, lease, Outcome("unknown")))
            raise
        finally:
            line.turn.release()
        self._metrics.of(HTTP_WAIT_SECONDS).observe(time.monotonic() - began)
        if self._heart is None or self._heart.done():
            self._heart = asyncio.create_task(self._renew())
        return _Permit(self, host, terms, lease, wait, asked_at)

    async def begin_again(self, host: str, terms: Terms, lease: str, wait: timedelta) -> float:
        """Begin a late request anew; when that was asked for, by the monotonic clock. Raises Held."""
        return await self._ask(host, wait, lambda state, now: state.begin_again(terms, lease, now))

    async def finish(self, host: str, lease: str, outcome: Outcome) -> None:
        if self._open.pop(lease, None) is None:
            return
        await self.tell(host, lambda state, now: state.finish(lease, outcome, now))
        if line := self._lines.get(host):
            line.freed.set()

    async def tell(self, host: str, change: Change[None]) -> None:
        """Change a state now, or as soon as that is possible."""
        try:
            await self._settle(host, change)
        except Unavailable:
            self._owed[host] = [*self._owed.get(host, []), change][-OWED:]

    async def startable(
        self, hosts: Iterable[str], source: str, politeness: Politeness, *, within: timedelta = timedelta(0)
    ) -> Mapping[str, int]:
        names = list(dict.fromkeys(hosts))
        terms = terms_of(source, politeness)
        try:
            states, now = await self.peek(names)
        except Unavailable:
            return dict.fromkeys(names, 0)
        seconds = within.total_seconds()
        return {name: state.startable(terms, now, seconds) for name, state in zip(names, states, strict=True)}

    async def restore(self, host: str, source: str, day: str, requests: int, not_before: datetime | None) -> None:
        moment = not_before.timestamp() if not_before else 0.0
        with suppress(Unavailable):
            await self.change(host, lambda state, _: state.restore(source, day, requests, moment))

    async def close(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
            await asyncio.wait([self._heart])

    async def _ask(
        self, host: str, wait: timedelta, question: Change[NotNow | None], line: _Line | None = None
    ) -> float:
        """Put a question until nothing is in the way; when it was last put, by the monotonic clock."""
        deadline = time.monotonic() + wait.total_seconds()
        while True:
            if line:
                line.freed.clear()
            asked_at = time.monotonic()
            try:
                answer, now = await self._settle(host, question)
            except Unavailable as error:
                raise self._held(host, None, str(error)) from None
            if answer is None:
                return asked_at
            pause = answer.until - now
            if answer.reason in ("breaker_open", "budget_spent") or time.monotonic() + pause > deadline:
                raise self._held(host, answer, _WORDS[answer.reason])
            if line and answer.reason == "busy":
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await line.freed.wait()
            else:
                await asyncio.sleep(pause)

    async def _settle(self, host: str, change: Change[T]) -> tuple[T, float]:
        """Change a state after all that is owed to it."""
        owed = self._owed.pop(host, [])

        def changes(state: Host, now: float) -> T:
            for each in owed:
                each(state, now)
            return change(state, now)

        try:
            return await self.change(host, changes)
        except Unavailable:
            self._owed[host] = owed + self._owed.get(host, [])
            raise

    def _held(self, host: str, answer: NotNow | None, detail: str) -> Held:
        reason = answer.reason if answer else "limiter_unavailable"
        self._metrics.of(HTTP_HELD, reason=reason).inc()
        until = datetime.fromtimestamp(answer.until, UTC) if answer else None
        return Held(host, reason, f"{host} is not asked: {detail}", until=until)

    async def _renew(self) -> None:
        """Keep the places of requests that take long."""
        while self._open:
            await asyncio.sleep(self._renew_every.total_seconds())
            for lease, host in list(self._open.items()):
                with suppress(Unavailable):
                    await self._settle(host, _renewal(lease))


def _renewal(lease: str) -> Change[None]:
    return lambda state, now: state.renew(lease, now)


class _Permit:
    def __init__(
        self, limits: SharedLimits, host: str, terms: Terms, lease: str, wait: timedelta, asked_at: float
    ) -> None:
        self._limits = limits
        self._host = host
        self._terms = terms
        self._lease = lease
        self._wait = wait
        self._asked_at = asked_at

    def _late(self) -> bool:
        return time.monotonic() - self._asked_at > max(FINEST_SECONDS, min(LATE_SECONDS, self._terms.interval / 4))

    async def start(self) -> None:
        certain = not self._terms.exact
        for _ in range(ASK_AGAIN):
            if certain and not self._late():
                return
            self._asked_at = await self._limits.begin_again(self._host, self._terms, self._lease, self._wait)
            certain = True

    async def sent(self) -> None:
        seconds = time.monotonic() - self._asked_at
        if self._terms.exact or self._late():
            await self._limits.tell(self._host, lambda state, now: state.left(self._lease, seconds, now))

    async def finish(self, outcome: Outcome) -> None:
        await asyncio.shield(self._limits.finish(self._host, self._lease, outcome))


class InProcessLimits(SharedLimits):
    """Right for one process."""

    def __init__(
        self, metrics: Metrics, *, clock: Callable[[], float] = time.time, renew_every: timedelta = RENEW_EVERY
    ) -> None:
        super().__init__(metrics, renew_every)
        self._clock = clock
        self._hosts: dict[str, Host] = {}

    async def change(self, host: str, change: Change[T]) -> tuple[T, float]:
        now = self._clock()
        return change(self._hosts.setdefault(host, Host()), now), now

    async def peek(self, hosts: Sequence[str]) -> tuple[list[Host], float]:
        return [self._hosts.get(host) or Host() for host in hosts], self._clock()

    async def complaint(self) -> str | None:
        return None


def open_limits(redis_url: str | None, metrics: Metrics, folder: Path | None = None) -> HostLimits:
    """In Redis where there is one (required for replicas on several machines); else in files of `folder`, for all
    processes of this machine; else in this process's memory. To be closed."""
    if redis_url:
        from tidemill.common.http.redis_limits import RedisLimits

        return RedisLimits(resolved(redis_url), metrics)
    if folder is not None:
        from tidemill.common.http.machine_limits import MachineLimits

        return MachineLimits(folder, metrics)
    return InProcessLimits(metrics)
