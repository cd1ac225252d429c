"""The rounds: measure, judge, tell. Whichever replica comes first makes each; no leader."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.alerter import standing
from tidemill.alerter.alerts import State
from tidemill.alerter.conditions import Facts
from tidemill.alerter.facts import Changes, SignalKey, find_signals
from tidemill.alerter.look import Looked, look
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.policy import Policy
from tidemill.alerter.signals import Signal
from tidemill.alerter.tell import events_of
from tidemill.alerter.words import message_of
from tidemill.common.bus.activity import to_the_second
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Tx
from tidemill.common.channels import Deliveries, To
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import ALERT_ROUND_SECONDS, ALERTS, NOTIFICATIONS, Metrics

OVERLAP = timedelta(seconds=90)
"""A transaction that noted a signal may have taken so long to commit."""
TIDY_EVERY = timedelta(minutes=10)
KEPT = timedelta(days=7)
LAST = text("SELECT at FROM alerter.rounds WHERE name = 'look'")
NOT_MINE = 3
"""Rounds in a row that others made."""
LATE = 6
"""Rounds that may fail in a row until the sign of life outwards stays away."""
READ_AT = text("SELECT clock_timestamp()")
CLAIM = text("""
INSERT INTO alerter.rounds AS known (name, at) VALUES ('look', :now)
ON CONFLICT (name) DO UPDATE SET at = excluded.at WHERE known.at <= :before OR known.at > :now
RETURNING 1
""")

log = get_logger(__name__)

Gather = Callable[[], Awaitable[Sequence[Sample]]]


def utc_now() -> datetime:
    return datetime.now(UTC)


class Rounds:
    """Those that one replica makes."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        deliveries: Deliveries,
        gather: Gather,
        policy: Policy,
        metrics: Metrics,
        *,
        every: timedelta,
        now: Callable[[], datetime] = utc_now,
        show: Callable[[], None] = lambda: None,
        hide: Callable[[], None] = lambda: None,
    ) -> None:
        """`show` what was gathered, or `hide` it because another replica gathers."""
        self._bus = bus
        self._engine = engine
        self._deliveries = deliveries
        self._gather = gather
        self._policy = policy
        self._metrics = metrics
        self._every = every
        self._now = now
        self._show = show
        self._hide = hide
        self._signals: dict[SignalKey, Signal] = {}
        self._facts = Facts()
        self._tidied = now()
        self._noted: datetime | None = None
        self._changes = Changes()
        longest = (rule.within for rule in policy.rules.values() if rule.event)
        self._back = max(longest, default=timedelta(0))

    async def run(self) -> None:
        """Until cancelled."""
        mine_at = self._now()
        while True:
            if await self._is_mine():
                await self.round()
                mine_at = self._now()
                self._show()
            elif self._now() - mine_at > NOT_MINE * self._every:
                self._hide()
            await asyncio.sleep(to_the_second(self._every.total_seconds()))

    async def what_is_wrong(self) -> str | None:
        """Why nobody outside should believe that alerts are watched; None when all is well."""
        health = self._bus.health()
        for part in ("postgres", "nats"):
            if health[part]:
                return health[part]
        async with self._engine.connect() as connection:
            last = await connection.scalar(LAST)
        late = self._now() - last if last else None
        return None if late is not None and late < LATE * self._every else "nobody has held the rules against the facts"

    async def _is_mine(self) -> bool:
        now = self._now()
        # A little early, so that a loop that wakes on time is not put off by a whole turn.
        early = self._every * 0.9
        async with self._engine.begin() as tx:
            return await tx.scalar(CLAIM, {"now": now, "before": now - early}) is not None

    async def round(self) -> Looked:
        """One look, and what follows from it, in one transaction."""
        begun = time.perf_counter()
        samples = await self._gather()
        now = self._now()
        async with self._bus.transaction() as tx:
            await tx.execute(standing.LOCK)
            fresh = await self._read(tx, now)
            looked = look(
                self._policy,
                self._facts.measured(samples),
                await standing.find_alerts(tx),
                await standing.find_groups(tx),
                await standing.find_silences(tx, now),
                now,
                fresh=fresh,
            )
            await self._changes.save(tx, samples, now)
            await self._keep(tx, looked, now)
        if any(decision.tells for decision in looked.decisions):
            self._deliveries.wake()
        self._tell(looked, time.perf_counter() - begun)
        return looked

    async def _read(self, tx: Tx, now: datetime) -> frozenset[str] | None:
        """Take what was noted since the last round; events of which there is something new, None for all."""
        first = self._noted is None
        # By the clock of Postgres: it is what rows are noted by.
        read_at = await tx.scalar(READ_AT)
        found = await find_signals(tx, now - self._back, self._noted and self._noted - OVERLAP)
        fresh = {key[0] for key, signal in found.items() if self._signals.get(key) != signal}
        self._noted = read_at
        if fresh or now - self._tidied >= TIDY_EVERY:
            after = now - self._back
            self._signals = {key: each for key, each in (self._signals | found).items() if each.at >= after}
            self._facts = Facts.counted(self._signals)
            self._tidied = now
        return None if first else frozenset(fresh)

    async def _keep(self, tx: Tx, looked: Looked, now: datetime) -> None:
        await standing.save_alerts(tx, looked.changed)
        await standing.drop_alerts(tx, looked.dropped)
        for decision in looked.regrouped:
            await standing.save_group(tx, decision.group, decision.reason)
            if decision.tells and decision.to:
                message = message_of(decision, looked.standings, now)
                await self._deliveries.enqueue(tx, message, [To(name) for name in decision.to])
        if looked.changes:
            await tx.execute(standing.FORGET_ALERTS, {"before": now - KEPT})
            await tx.execute(standing.FORGET_GROUPS, {"before": now - KEPT})
        await self._bus.emit(tx, events_of(looked.changes, now))

    def _tell(self, looked: Looked, seconds: float) -> None:
        self._metrics.of(ALERT_ROUND_SECONDS).observe(seconds)
        for decision in looked.decisions:
            self._metrics.of(NOTIFICATIONS, reason=decision.reason).inc()
        states = Counter(each.alert.state for each in looked.standings.values())
        for state in State:
            self._metrics.of(ALERTS, state=state).set(states[state])
        for change in looked.changes:
            alert = change.standing.alert
            log.info(
                "alert",
                alert=alert.id,
                rule=alert.rule,
                state=alert.state.value,
                summary=change.standing.words.summary,
                hidden=change.standing.hidden,
                run=alert.seen.run,
            )
