"""Pure: the days of a zone, and which moments belong to them; what of it is still news."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS_BACK = timedelta(days=31)
"""Older days are reported, and reported again, when somebody asks."""
NEWS = timedelta(days=2)
"""What was unusual earlier is no event: a reporter that is new, or was away, reads months of runs."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Day:
    """From midnight to midnight on the clock of a zone: 23 to 25 hours."""

    day: date
    zone: ZoneInfo

    @property
    def start(self) -> datetime:
        return datetime.combine(self.day, time(), self.zone).astimezone(UTC)

    @property
    def end(self) -> datetime:
        return datetime.combine(self.day + timedelta(days=1), time(), self.zone).astimezone(UTC)


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    return moment.astimezone(zone).date()


def meant_day(said: str, today: date) -> date | None:
    """`today`, `yesterday`, or a day by ISO 8601; None for what is none."""
    known = {"today": today, "yesterday": today - timedelta(days=1)}
    if said in known:
        return known[said]
    try:
        return date.fromisoformat(said)
    except ValueError:
        return None


def clock_of(moment: datetime, zone: ZoneInfo) -> int:
    """Seconds since midnight, as the clock shows them."""
    shown = moment.astimezone(zone)
    return shown.hour * 3600 + shown.minute * 60 + shown.second


def days_between(first: date, last: date) -> Iterator[date]:
    """Both included."""
    while first <= last:
        yield first
        first += timedelta(days=1)
