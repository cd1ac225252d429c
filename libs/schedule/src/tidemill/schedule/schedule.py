"""A schedule of a source, and the slots it has."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Literal
from zoneinfo import ZoneInfo

from tidemill.schedule.cron import Cron
from tidemill.schedule.interval import Every, Once
from tidemill.schedule.windows import Days, Hours, next_opening
from tidemill.schedule.zones import instant, wall

TICK = timedelta(microseconds=1)
OPENINGS = 3000
"""Allowed spans that are tried before a schedule counts as one that never runs: over eight years of days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What becomes of slots whose time passed while nobody could fire them."""

    policy: Literal["none", "latest", "all"] = "latest"
    within: timedelta = timedelta(hours=24)
    """Older ones are skipped whatever the policy."""
    most: int = 10
    """Of `all`: the newest so many are fired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a source is due. A slot is a nominal time in UTC; the stagger is no part of it."""

    timing: Cron | Every | Once
    zone: ZoneInfo
    jitter: timedelta = timedelta(0)
    allowed: tuple[Hours, ...] = ()
    """Slots outside these hours do not exist."""
    blackout: tuple[Days, ...] = ()
    """Slots on these days exist and are skipped, so that everybody sees why nothing ran."""
    missed: Missed = Missed()

    @property
    def name(self) -> str:
        """Its timing in words, unique within a source: `cron 0 6 * * 2,5 Europe/Budapest`."""
        return str(self.timing) if isinstance(self.timing, Every) else f"{self.timing} {self.zone.key}"

    def next_slot(self, after: datetime) -> datetime | None:
        """The first slot after a moment; None when there is none."""
        for _ in range(OPENINGS):
            slot = self.timing.after(after, self.zone)
            if slot is None or not self.allowed:
                return slot
            shown = wall(slot, self.zone)
            if any(hours.hold(shown.time()) for hours in self.allowed):
                return slot
            # At least as far as the slot: on a clock that was put back, an opening may have passed.
            after = max(instant(next_opening(self.allowed, shown), self.zone) - TICK, slot)
        return None

    def blacked_out(self, slot: datetime) -> Days | None:
        """The days that forbid this slot."""
        if not self.blackout:
            return None
        shown = wall(slot, self.zone).date()
        return next((days for days in self.blackout if days.hold(shown)), None)

    def stagger(self, source: str) -> timedelta:
        """How much later than its slot a run begins: less than `jitter`, always the same for this schedule, different
        for others, so that not all of them begin at six o'clock sharp."""
        digest = hashlib.sha256(f"{source}\0{self.name}".encode()).digest()
        return self.jitter * int.from_bytes(digest[:4]) // 2**32

    def slots(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """After the one, up to and with the other."""
        slot = self.next_slot(after)
        while slot is not None and slot <= until:
            yield slot
            slot = self.next_slot(slot)


def next_slots(schedule: Schedule, now: datetime, count: int = 5) -> list[datetime]:
    """The next times it will run. Fewer when there are no more of them within eight years."""
    runs = (slot for slot in schedule.slots(now, _years_after(now)) if schedule.blacked_out(slot) is None)
    return list(islice(runs, count))


def expected_slots(schedule: Schedule, after: datetime, until: datetime) -> list[datetime]:
    """The slots for which a run has to be there, for whoever watches that there is one."""
    return [slot for slot in schedule.slots(after, until) if schedule.blacked_out(slot) is None]


def _years_after(now: datetime) -> datetime:
    return now + timedelta(days=8 * 365)
