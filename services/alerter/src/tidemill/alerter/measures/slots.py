"""Slots that are due and that nobody decided on: true also while every scheduler is dead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from tidemill.alerter.measures.declared import Sample
from tidemill.common.bus.step import Tx
from tidemill.common.config.sources import SourceFile
from tidemill.schedule import Schedule, newest_slots

GRACE = timedelta(minutes=2)
"""So late a scheduler may be."""
LOOKED_AT = timedelta(days=7)
SHOWN = 1000
"""Slots of one schedule that are counted."""
PRESENT = text("SELECT to_regclass('scheduler.slots') IS NOT NULL")
DECIDED = text("SELECT source, schedule, decided_until FROM scheduler.schedules WHERE ended_at IS NULL")
SLOTS = text("SELECT source, slot FROM scheduler.slots WHERE source = ANY(:sources) AND slot >= :since")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """What of a source nobody decided on."""

    source: str
    slots: tuple[datetime, ...]


class Expectations:
    """The schedules of the configuration, and since when each is known here."""

    def __init__(self, sources: Mapping[str, SourceFile], since: datetime) -> None:
        self._since = since
        self._plans: dict[tuple[str, str], Schedule] = {}
        self._first: dict[tuple[str, str], datetime] = {}
        self.take(sources, since)

    def take(self, sources: Mapping[str, SourceFile], now: datetime) -> None:
        """Another configuration is the active one."""
        plans = {
            (name, plan.name): plan
            for name, source in sources.items()
            for entry in source.schedules
            for plan in (entry.plan(),)
        }
        # A schedule that was not known begins now: an edit never makes the past due.
        self._first = {key: self._first.get(key, now) for key in plans}
        self._plans = plans

    async def gather(self, tx: Tx, now: datetime, held: Callable[[str], str | None]) -> list[Sample]:
        """What is missing of each source that nobody holds."""
        if not self._plans or not await tx.scalar(PRESENT):
            return []
        decided = {(row.source, row.schedule): row.decided_until for row in await tx.execute(DECIDED)}
        due = {key: list(self._due(key, decided, now)) for key in self._plans if not held(key[0])}
        due = {key: slots for key, slots in due.items() if slots}
        if not due:
            return []
        sources = sorted({source for source, _ in due})
        since = min(slot for slots in due.values() for slot in slots)
        rows = await tx.execute(SLOTS, {"sources": sources, "since": since})
        there = {(row.source, row.slot) for row in rows}
        return [_sample(missing) for missing in _missing(due, there)]

    def _due(
        self, key: tuple[str, str], decided: Mapping[tuple[str, str], datetime], now: datetime
    ) -> Iterator[datetime]:
        """After what the scheduler decided on last, or since the schedule is known."""
        plan = self._plans[key]
        after = max(decided.get(key, self._first[key]), now - LOOKED_AT)
        until = now - GRACE - plan.stagger(key[0])
        if until > after:
            yield from (slot for slot in newest_slots(plan, after, until, SHOWN) if not plan.blacked_out(slot))


def _missing(due: Mapping[tuple[str, str], Sequence[datetime]], there: set[tuple[str, datetime]]) -> Iterator[Missing]:
    found: dict[str, set[datetime]] = {}
    for (source, _), slots in due.items():
        found.setdefault(source, set()).update(slot for slot in slots if (source, slot) not in there)
    for source, missing in found.items():
        if missing:
            yield Missing(source=source, slots=tuple(sorted(missing)))


def _sample(missing: Missing) -> Sample:
    first, last = missing.slots[0], missing.slots[-1]
    until = f" to {last:%Y-%m-%d %H:%M}" if last != first else ""
    return Sample(
        measure="slots_missing",
        labels={"source": missing.source},
        value=float(len(missing.slots)),
        says=f"slot {first:%Y-%m-%d %H:%M}{until} UTC",
    )
