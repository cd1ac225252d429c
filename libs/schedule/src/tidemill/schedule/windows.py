"""Hours of the day in which slots may lie, and days on which they are skipped."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from tidemill.schedule.errors import InvalidSchedule

_HOURS = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """From the first minute up to, and without, the last; over midnight where the last is the smaller."""

    first: int
    """Minutes after midnight."""
    last: int

    @classmethod
    def parse(cls, text: str) -> "Hours":
        """`06:00-22:00`, `22:00-06:00`, `18:00-24:00`. Raises InvalidSchedule."""
        found = _HOURS.fullmatch(text.strip())
        if found is None:
            raise InvalidSchedule("allowed", f"{text} is no span of hours; write it as 06:00-22:00")
        hour, minute, last_hour, last_minute = map(int, found.groups())
        first, last = hour * 60 + minute, last_hour * 60 + last_minute
        if minute > 59 or last_minute > 59 or first >= _DAY_MINUTES or last > _DAY_MINUTES:
            raise InvalidSchedule("allowed", f"{text}: a day goes from 00:00 to 24:00")
        if first == last:
            raise InvalidSchedule("allowed", f"{text} is empty; the last minute does not belong to it")
        return cls(first, last)

    def hold(self, shown: time) -> bool:
        minute = shown.hour * 60 + shown.minute
        if self.first < self.last:
            return self.first <= minute < self.last
        return minute >= self.first or minute < self.last

    def __str__(self) -> str:
        return "-".join(f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (self.first, self.last))


def next_opening(hours: Sequence[Hours], shown: datetime) -> datetime:
    """When, on the same clock, the next of these spans begins."""
    today = datetime.combine(shown.date(), time())
    openings = (today + timedelta(days=days, minutes=span.first) for span in hours for days in (0, 1))
    return min(opening for opening in openings if opening > shown)


@dataclass(frozen=True, slots=True)
class Days:
    """From the first day to the last, both of them included."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> "Days":
        """`2026-12-24`, `2026-12-24..2026-12-26`. Raises InvalidSchedule."""
        first, dots, last = text.strip().partition("..")
        try:
            days = cls(date.fromisoformat(first), date.fromisoformat(last if dots else first))
        except ValueError as error:
            raise InvalidSchedule(
                "blackout", f"{text} is no day and no span of days; write 2026-12-24 or 2026-12-24..2026-12-26"
            ) from error
        if days.last < days.first:
            raise InvalidSchedule("blackout", f"{text} ends before it begins; turn the two days round")
        return days

    def hold(self, shown: date) -> bool:
        return self.first <= shown <= self.last

    def __str__(self) -> str:
        return f"{self.first}" if self.first == self.last else f"{self.first}..{self.last}"
