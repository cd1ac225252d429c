"""Limits on the clock: runs that did not begin in time or take too long; what waits; sources that keep failing."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta

import nats.errors
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.activity import woken
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Tx
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import RUNS_WAITING, Metrics
from tidemill.scheduler import audit, control_mirror
from tidemill.scheduler.admission import Admission
from tidemill.scheduler.firing import utc_now
from tidemill.scheduler.ledger import Verdict, end_runs
from tidemill.scheduler.ledger_steps import tell

LOOK_EVERY = 2.0
IDLE = 5.0
"""While no run is open."""
MOST = 500
"""Runs that are ended in one transaction."""
DROPPED_WITHIN = timedelta(hours=1)
"""Runs that ended earlier had their jobs dropped, or there are none any more."""
LEASE = timedelta(days=7)
"""Of runs that nobody asked for, and that so have no time limit: files that came by themselves."""
ACTOR = "scheduler"

ONE_AT_A_TIME = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tidemill.limits', 0))")
LATE = text("""
SELECT run, CASE WHEN state = 'waiting' THEN 'waited_for_' || reason ELSE 'not_started' END AS why, 'failed' AS state
FROM scheduler.runs
WHERE finished_at IS NULL AND frozen_at IS NULL AND state IN ('waiting', 'requested') AND start_by < :now
UNION ALL
SELECT run, 'time_limit', 'timed_out' FROM scheduler.runs
WHERE finished_at IS NULL AND frozen_at IS NULL AND released_at IS NOT NULL
    AND CASE WHEN statements = 0 THEN deadline_at ELSE last_at + time_limit END < :now
    AND NOT (state = 'requested' AND start_by < :now)
UNION ALL
SELECT run, 'no_progress', 'timed_out' FROM scheduler.runs
WHERE finished_at IS NULL AND frozen_at IS NULL AND released_at IS NULL AND state <> 'waiting'
    AND last_at < CAST(:now AS timestamptz) - CAST(:lease AS interval)
LIMIT :most
""")
OPEN_SOURCES = text("SELECT DISTINCT source FROM scheduler.runs WHERE finished_at IS NULL")
FREEZE = text("""
UPDATE scheduler.runs SET frozen_at = :now
WHERE finished_at IS NULL AND frozen_at IS NULL AND source = ANY(:sources)
    AND (planned_at IS NULL OR released_at IS NULL OR source = ANY(:stopped))
""")
THAW = text("""
UPDATE scheduler.runs SET frozen_at = NULL, start_by = start_by + (CAST(:now AS timestamptz) - frozen_at),
       deadline_at = deadline_at + (CAST(:now AS timestamptz) - frozen_at), last_at = GREATEST(last_at, :now)
WHERE frozen_at IS NOT NULL AND finished_at IS NULL AND NOT source = ANY(:sources)
""")
WAITING = text("""
SELECT source, reason, count(*) AS runs FROM scheduler.runs WHERE state = 'waiting' GROUP BY source, reason
""")
UNDROPPED = text("""
SELECT run, ended_by FROM scheduler.runs
WHERE ended_by <> '' AND finished_at > :since AND released_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM scheduler.control WHERE key = 'cancel.run.' || run)
LIMIT :most
""")
ANYTHING = text("""
SELECT EXISTS (SELECT FROM scheduler.runs WHERE finished_at IS NULL)
    OR EXISTS (SELECT FROM scheduler.runs WHERE ended_by <> '' AND finished_at > :since)
    OR EXISTS (SELECT FROM scheduler.sources WHERE failures > 0)
""")
FAILING = text("""
SELECT source, failures FROM scheduler.sources
WHERE ended_at IS NULL AND failures > 0 AND failures >= CAST(run->>'pause_after_failures' AS integer)
ORDER BY source FOR UPDATE
""")
FORGIVE = text("UPDATE scheduler.sources SET failures = 0 WHERE source = ANY(:sources)")

log = get_logger(__name__)


class Limits:
    """The loop that looks at the clock; of several replicas one does at a time."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        admission: Admission,
        metrics: Metrics,
        *,
        lease: timedelta = LEASE,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bus = bus
        self._looking = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._control = bus.control
        self._admission = admission
        self._metrics = metrics
        self._lease = lease
        self._now = now
        self._awake = asyncio.Event()
        bus.control.on_change(self._awake.set)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._awake.clear()
            if not self._control.known:
                await woken(self._awake, LOOK_EVERY)
            elif await self._anything():
                await self.look()
                await woken(self._awake, LOOK_EVERY)
            else:
                await self._bus.rest(LOOK_EVERY, IDLE)

    async def look(self) -> None:
        """Freeze and thaw, end what is late, let begin what may, and have what was ended dropped."""
        async with self._bus.transaction() as tx:
            if not (await tx.execute(ONE_AT_A_TIME)).scalar():
                return
            await self._freeze(tx)
            await self._end_late(tx)
        async with self._bus.transaction() as tx:
            await self._release(tx)
        try:
            async with self._bus.transaction() as tx:
                await self._set_keys(tx)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.warning("the control bucket cannot be set now", error=repr(error))

    async def _anything(self) -> bool:
        """Whether there is something that a limit could be about: mostly there is not."""
        async with self._looking.connect() as connection:
            found = await connection.execute(ANYTHING, {"since": self._now() - DROPPED_WITHIN})
        return bool(found.scalar())

    async def _freeze(self, tx: Tx) -> None:
        """An emergency stop holds all clocks, a pause those of runs that nobody has taken up, or asked for."""
        stopped, held = [], []
        if any(not key.startswith("cancel.") for key in self._control.entries):
            sources = list(await tx.scalars(OPEN_SOURCES))
            stopped = [source for source in sources if self._holds("stop") or self._control.stopped(source)]
            held = [source for source in sources if self._holds("pause") or self._control.paused(source)] + stopped
        if held:
            await tx.execute(FREEZE, {"now": self._now(), "sources": held, "stopped": stopped})
        await tx.execute(THAW, {"now": self._now(), "sources": held})

    def _holds(self, verb: str) -> bool:
        """Whether everything is held, or a service that runs may be waiting for."""
        keys = [key for key in self._control.entries if key.startswith(f"{verb}.service.")]
        return any(self._control.reason(key) for key in keys)

    async def _end_late(self, tx: Tx) -> None:
        now = self._now()
        asked = {"now": now, "lease": self._lease, "most": MOST}
        late = [Verdict(row.run, row.state, row.why, now) for row in await tx.execute(LATE, asked)]
        if late:
            events = await end_runs(tx, late)
            await self._bus.emit(tx, events)
            tell(events, self._metrics)

    async def _release(self, tx: Tx) -> None:
        waiting: dict[str, int] = {}
        sources: list[str] = []
        for row in await tx.execute(WAITING):
            waiting[row.reason] = waiting.get(row.reason, 0) + row.runs
            sources.append(row.source)
        for reason in ("overlap", "held", "disk", "backfill", "group"):
            self._metrics.of(RUNS_WAITING, reason=reason).set(waiting.get(reason, 0))
        if sources:
            await self._bus.emit(tx, await self._admission.release(tx, sources))

    async def _set_keys(self, tx: Tx) -> None:
        """Have the jobs of runs that were ended dropped, and sources paused that failed too often."""
        undropped = list(await tx.execute(UNDROPPED, {"since": self._now() - DROPPED_WITHIN, "most": MOST}))
        failing = list(await tx.execute(FAILING))
        if not undropped and not failing:
            return
        await control_mirror.lock(tx)
        for row in undropped:
            await self._set(tx, f"cancel.run.{row.run}", {"reason": row.ended_by, "actor": ACTOR})
        for row in failing:
            key = f"pause.source.{row.source}"
            told = {"reason": f"{row.failures} failed runs in a row", "actor": ACTOR}
            await self._set(tx, key, told)
            log.error("source paused", source=row.source, reason=told["reason"])
        await tx.execute(FORGIVE, {"sources": [row.source for row in failing]})
        for row in failing:
            await audit.record(
                tx,
                actor=ACTOR,
                via=ACTOR,
                action="control.pause",
                target=f"pause.source.{row.source}",
                after={"reason": f"{row.failures} failed runs in a row"},
            )

    async def _set(self, tx: Tx, key: str, told: dict[str, str]) -> None:
        value = json.dumps(told)
        await self._control.put(key, value)
        await control_mirror.save_key(tx, key, value, ACTOR)
