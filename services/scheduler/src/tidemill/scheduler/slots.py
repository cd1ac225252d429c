"""What was decided on each slot: one row per source and slot, whichever replica and however many schedules."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.events import SlotSkipped
from tidemill.scheduler.policy import slot_event, slot_run

# A slot that one schedule skips and another one fires is fired; what is fired stays so.
RECORD = """
INSERT INTO scheduler.slots AS known (source, slot, schedule, outcome, reason, detail, run, until, due_at, decided_at)
SELECT source, slot, schedule, CASE WHEN reason = '' THEN 'fired' ELSE 'skipped' END, reason, detail, run, until,
       due_at, decided_at
FROM unnest($1::text[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::timestamptz[])
    AS decided(source, slot, schedule, reason, detail, run, until, due_at, decided_at)
ORDER BY source, slot
ON CONFLICT (source, slot) DO UPDATE SET schedule = excluded.schedule, outcome = 'fired', reason = '', detail = '',
    run = excluded.run, until = NULL, due_at = excluded.due_at, decided_at = excluded.decided_at
WHERE known.outcome = 'skipped' AND excluded.outcome = 'fired' AND known.schedule <> excluded.schedule
RETURNING source, slot
"""
DROP = text("""
UPDATE scheduler.slots SET outcome = 'skipped', reason = :reason, detail = :detail, run = NULL
WHERE source = :source AND slot = :slot
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A slot with what was decided."""

    source: str
    slot: datetime
    schedule: str
    due_at: datetime
    decided_at: datetime
    skip: str = ""
    """Why it is skipped, as a slug; empty when it fires."""
    detail: str = ""
    until: datetime | None = None
    """Of many skipped slots in one: the last."""
    queued: bool = False
    """One of several that are fired at once."""

    @property
    def run(self) -> str:
        return slot_run(self.source, self.slot)

    def skipped(self, reason: str) -> Outgoing:
        event = SlotSkipped(source=self.source, slot=self.slot, schedule=self.schedule, reason=reason)
        return Outgoing(f"{slot_event(self.source, self.slot)}/skipped", event)


async def record_slots(tx: Tx, slots: Iterable[Slot]) -> list[Slot]:
    """Write the decisions; those that were new, in the order of time."""
    first: dict[tuple[str, datetime], Slot] = {}
    for slot in slots:
        known = first.get((slot.source, slot.slot))
        if known is None or (known.skip and not slot.skip):
            first[slot.source, slot.slot] = slot
    if not first:
        return []
    columns = zip(
        *(
            (
                slot.source,
                slot.slot,
                slot.schedule,
                slot.skip,
                slot.detail,
                None if slot.skip else slot.run,
                slot.until,
                slot.due_at,
                slot.decided_at,
            )
            for slot in first.values()
        ),
        strict=True,
    )
    written = await tx.exec_driver_sql(RECORD, tuple(map(list, columns)))
    new = {(row.source, row.slot) for row in written}
    return sorted((slot for key, slot in first.items() if key in new), key=lambda slot: (slot.slot, slot.source))


async def drop_slots(tx: Tx, dropped: Sequence[tuple[Slot, str, str]]) -> None:
    """Note that slots are not run after all: reason and detail of each."""
    for slot, reason, detail in dropped:
        await tx.execute(DROP, {"source": slot.source, "slot": slot.slot, "reason": reason, "detail": detail})
