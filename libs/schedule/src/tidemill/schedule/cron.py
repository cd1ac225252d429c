"""Cron expressions of five fields, or six with seconds first, on the clock of a time zone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tidemill.schedule.errors import InvalidSchedule
from tidemill.schedule.zones import instant, wall

FIELDS = {
    "second": "0 to 59",
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of month": "1 to 31, L for the last",
    "month": "1 to 12 or JAN to DEC",
    "day of week": "0 (Sunday) to 7 or SUN to SAT, 5L for the last Friday, 5#2 for the second",
}
EVERY_HOUR = frozenset(range(24))
ANY_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - the clock of no zone
DAY = timedelta(days=1, hours=1)
"""Longer than a clock was ever put forward (Samoa, by a whole day)."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression.

    One that names its hours runs at those hours of each day: once when the clock shows an hour twice, and later by
    the hour that the clock leaves out. One for every hour follows time as it passes: 25 times on a day of 25 hours.
    """

    expression: str
    _matcher: CronSim = field(compare=False, repr=False)

    @classmethod
    def parse(cls, expression: str) -> "Cron":
        """Raises InvalidSchedule, naming the field that is wrong."""
        fields = expression.split()
        if len(fields) not in (5, 6):
            raise InvalidSchedule(
                "cron",
                f"`{expression}` has {len(fields)} fields; write 5 (minute hour day month weekday), or 6 with the "
                "second first",
            )
        try:
            return cls(" ".join(fields), CronSim(expression, ANY_DAY))
        except CronSimError as error:
            raise InvalidSchedule("cron", _complaint(expression, fields)) from error

    @property
    def every_hour(self) -> bool:
        return self._matcher.hours >= EVERY_HOUR

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """The first time after the moment, in UTC; None when there is none within 50 years."""
        return (self._after_by_time if self.every_hour else self._after_by_wall)(moment, zone)

    def _after_by_time(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        # As if the clock were never changed; which holds where it is not, within the day.
        offset = _offset(moment, zone)
        shown = next(self._from(moment.astimezone(UTC).replace(tzinfo=None) + offset), None)
        if shown is None:
            return None
        found = (shown - offset).replace(tzinfo=UTC)
        if found - moment <= DAY and _offset(found, zone) == offset:
            return found
        slow = next(self._from(moment.astimezone(zone)), None)
        return None if slow is None else slow.astimezone(UTC)

    def _after_by_wall(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        # What was skipped before the moment may come after it, so start at the earlier of the clocks around.
        start = min(wall(moment, zone), moment.astimezone(UTC).replace(tzinfo=None) + _offset(moment - DAY, zone))
        best: datetime | None = None
        for shown in self._from(start):
            if best is not None and shown > wall(best, zone):
                break
            found = instant(shown, zone)
            if found <= moment:
                continue
            if best is None or found < best:
                best = found
            if wall(best, zone) <= shown:  # Else it was shifted, and may be passed by what the clock shows afterwards.
                break
        return best

    def _from(self, start: datetime) -> Iterator[datetime]:
        matcher = CronSim.__new__(CronSim)
        matcher.__dict__.update(self._matcher.__dict__)  # What it has parsed; `copy` takes five times as long.
        matcher.dt = start.replace(microsecond=0)
        return matcher

    def __str__(self) -> str:
        return f"cron {self.expression}"


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


def _complaint(expression: str, fields: list[str]) -> str:
    names = list(FIELDS)[-len(fields) :]
    for place, (name, text) in enumerate(zip(names, fields, strict=True)):
        alone = ["*"] * len(fields)
        alone[place] = text
        try:
            CronSim(" ".join(alone), ANY_DAY)
        except CronSimError:
            return f"`{expression}`: {text} is no {name}; write {FIELDS[name]}, `*`, or lists, ranges and steps of them"
    return f"`{expression}`: none of these months has such a day; it would never run"
