"""Fires slots when they are due, beside any number of replicas: no leader, the rows decide."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.activity import woken
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import SLOT_LATENESS_SECONDS, SLOTS, Metrics
from tidemill.schedule import ON_TIME
from tidemill.scheduler import schedules
from tidemill.scheduler.admission import Admission, RunRequest
from tidemill.scheduler.policy import Decision
from tidemill.scheduler.slots import Slot, drop_slots, record_slots

BATCH = 256
"""Schedules decided in one transaction."""
LOOK_AGAIN = 5.0
"""Another replica may have applied schedules and died, and a pause may have ended by itself."""
BUSY = 0.02
"""While another replica has what is due."""

log = get_logger(__name__)


def utc_now() -> datetime:
    return datetime.now(UTC)


class Firing:
    """The loop of one replica."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        admission: Admission,
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._bus = bus
        self._looking = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._admission = admission
        self._metrics = metrics
        self._now = now
        self._awake = asyncio.Event()
        bus.control.on_change(self.wake)

    def wake(self) -> None:
        """Something may be due earlier than it was."""
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._awake.clear()
            if await self._allowed():
                await self.note_held()
                seconds = await self._until_due()
                if seconds > 0:
                    await self._wait(min(seconds, LOOK_AGAIN))
                elif not await self.fire_due():
                    await self._wait(BUSY)

    async def note_held(self) -> None:
        """Have due slots of held sources say what holds them."""
        if held := self._bus.control.held_sources():
            async with self._bus.transaction() as tx:
                for source in held:
                    await schedules.note_held(tx, self._now(), self._bus.control.paused(source) or "", source)

    async def fire_due(self) -> int:
        """Decide on what is due and not held; how many schedules that were."""
        now = self._now()
        held = self._bus.control.held_sources()
        async with self._bus.transaction() as tx:
            due = await schedules.take_due(tx, now, held, BATCH)
            if not due:
                return 0
            decided = [(row, row.decide(now)) for row in due]
            slots, events = await self._record(tx, [slot for _, slots in decided for slot in slots])
            await schedules.advance(tx, decided)
            await self._bus.emit(tx, events)
            committed = slots
        self._tell(committed)
        return len(due)

    async def _record(self, tx: Tx, slots: Sequence[Slot]) -> tuple[list[tuple[Slot, str]], list[Outgoing]]:
        """The new slots, each with the reason why it is skipped after all; and what is to be told."""
        new = await record_slots(tx, slots)
        answered = await self._admission.request(
            tx,
            [
                RunRequest(
                    run=slot.run,
                    source=slot.source,
                    trigger="schedule",
                    slot=slot.slot,
                    queued=slot.queued,
                    actor="scheduler",
                )
                for slot in new
                if not slot.skip
            ],
        )
        dropped = [(slot, each) for slot in new if (each := _dropped(answered.decisions, slot)) is not None]
        await drop_slots(tx, [(slot, each.reason, each.detail) for slot, each in dropped])
        reasons = {(slot.source, slot.slot): each.reason for slot, each in dropped}
        outcomes = [(slot, slot.skip or reasons.get((slot.source, slot.slot), "")) for slot in new]
        return outcomes, [*answered.events, *(slot.skipped(reason) for slot, reason in outcomes if reason)]

    def _tell(self, outcomes: Sequence[tuple[Slot, str]]) -> None:
        for slot, reason in outcomes:
            self._metrics.of(SLOTS, source=slot.source, outcome=reason or "fired").inc()
            if reason:
                log.warning("slot skipped", source=slot.source, slot=f"{slot.slot:%Y-%m-%dT%H:%M:%SZ}", reason=reason)
            elif (late := self._now() - slot.due_at) <= ON_TIME:
                self._metrics.of(SLOT_LATENESS_SECONDS).observe(max(0.0, late.total_seconds()))

    async def _allowed(self) -> bool:
        """Whether anything may be fired at all; else look again when that may have changed."""
        why = "the control bucket is not read yet" if not self._bus.control.known else self._bus.control.paused()
        if why is None:
            return True
        if self._bus.control.known:
            async with self._bus.transaction() as tx:
                await schedules.note_held(tx, self._now(), why)
        await self._wait(LOOK_AGAIN)
        return False

    async def _until_due(self) -> float:
        """Seconds."""
        async with self._looking.connect() as connection:
            due = await schedules.find_next_due(connection, self._bus.control.held_sources())
        return LOOK_AGAIN if due is None else (due - self._now()).total_seconds()

    async def _wait(self, seconds: float) -> None:
        await woken(self._awake, seconds)


def _dropped(decisions: Mapping[str, Decision], slot: Slot) -> Decision | None:
    decision = None if slot.skip else decisions.get(slot.run)
    return decision if decision is not None and decision.what == "drop" else None
