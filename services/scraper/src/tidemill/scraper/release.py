"""Hands out what is due: in order of priority, to each host only what it may start soon."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.config.politeness import Politeness
from tidemill.common.events import DocumentFailed
from tidemill.common.http.pacing import room_at_host
from tidemill.common.telemetry.metrics import JOBS_HANDED_OUT, Metrics
from tidemill.scraper import policy, store

EVERY = 0.5
IDLE = 5.0
BEFORE_DEADLINE = timedelta(seconds=IDLE + 5)
"""So long before a run times out, what waits for a held host is given up: in time for the run to say why, even where
nothing happened and the next look is IDLE away."""

PolitenessOf = Callable[[str], Politeness]
"""How a source asks its hosts."""


class Release:
    """The loop of one replica; of several, one hands out at a time."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        politeness_of: PolitenessOf,
        metrics: Metrics,
        now: Callable[[], datetime],
    ) -> None:
        self._bus = bus
        self._handed_out = metrics.of(JOBS_HANDED_OUT)
        self._engine = engine
        self._now = now
        self._politeness_of = politeness_of

    async def run(self) -> None:
        """Until cancelled. Nothing is handed out before it is known what is stopped."""
        while True:
            runs = await store.find_open_runs(self._engine) if self._bus.control.known else []
            if not runs:
                self._handed_out.set(0)
            else:
                async with self._bus.transaction() as tx:
                    if await store.lock_release(tx):
                        blocked = await self._drop(tx, runs)
                        await self._bus.emit(tx, [*blocked, *await self._hand_out(tx)])
            await self._bus.rest(EVERY, IDLE)

    async def _drop(self, tx: Tx, runs: Sequence[str]) -> list[Outgoing]:
        """What cancelled and timed-out runs had left; what a held host kept from them is told. Their clocks stand while
        they are stopped."""
        control = self._bus.control
        stopped = [source for source in control.held_sources() if control.stopped(source)]
        await store.freeze(tx, stopped, everything=bool(control.stopped()))
        blocked = await store.take_blocked(tx, BEFORE_DEADLINE)
        await store.end_runs(tx, [run for run in runs if control.cancelled(run)])
        return [_blocked(job, self._now()) for job in blocked]

    async def _hand_out(self, tx: Tx) -> list[Outgoing]:
        control = self._bus.control
        if control.paused():
            return []
        await store.take_back_lost(tx)
        handed = await store.count_handed(tx)
        outgoing: list[Outgoing] = []
        for source, host in await store.find_due(tx, control.held_sources()):
            room = room_at_host(self._politeness_of(source), policy.MOST_AT_A_HOST) - handed.get(host, 0)
            if room > 0:
                jobs = await store.hand_out(tx, source, host, room)
                handed[host] = handed.get(host, 0) + len(jobs)
                outgoing += [Outgoing(store.due_id(job.due, job.handed), job.due) for job in jobs]
        self._handed_out.set(sum(handed.values()))
        return outgoing


def _blocked(job: store.Dropped, now: datetime) -> Outgoing:
    failed = DocumentFailed(
        source=job.source,
        run=job.run,
        item=job.item,
        name=job.name,
        url=job.url,
        failure=job.reason,
        detail=f"{job.host} could not be asked before the run timed out",
        attempts=job.attempts,
        requests=job.requests,
        bytes_received=job.bytes_received,
        failed_at=now,
    )
    return Outgoing(f"{job.run}/{job.item}/blocked", failed)
