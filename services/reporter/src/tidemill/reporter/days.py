"""Pure: the days of a zone, and which moments belong to them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


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


def clock_of(moment: datetime, zone: ZoneInfo) -> int:
    """Seconds since midnight, as the clock shows them."""
    shown = moment.astimezone(zone)
    return shown.hour * 3600 + shown.minute * 60 + shown.second


def days_between(first: date, last: date) -> Iterator[date]:
    """Both included."""
    while first <= last:
        yield first
        first += timedelta(days=1)
