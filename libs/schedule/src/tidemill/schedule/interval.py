"""Every so often, and once."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from tidemill.schedule.errors import InvalidSchedule
from tidemill.schedule.zones import instant

ANCHOR = datetime(1970, 1, 5, tzinfo=UTC)
"""A Monday: intervals are counted from here, so that they are the same on every replica and after every restart."""
LEAST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Every:
    """Elapsed time, whatever clocks do: `1d` is 24 hours, at midnight UTC."""

    period: timedelta

    def __post_init__(self) -> None:
        if self.period < LEAST or self.period % LEAST:
            raise InvalidSchedule("every", "must be whole seconds, at least 1s")

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        return ANCHOR + ((moment - ANCHOR) // self.period + 1) * self.period

    def __str__(self) -> str:
        seconds = int(self.period.total_seconds())
        for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
            if seconds % size == 0:
                return f"every {seconds // size}{unit}"
        return f"every {seconds}s"


@dataclass(frozen=True, slots=True)
class Once:
    """At one time of the zone's clock."""

    wall: datetime

    @classmethod
    def parse(cls, text: str) -> "Once":
        """Raises InvalidSchedule."""
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise InvalidSchedule("at", f"{text} is no date and time; write it as 2026-12-01T06:00") from error
        if moment.tzinfo is not None:
            raise InvalidSchedule("at", f"{text} has an offset; write the time of the clock, and the place as `zone`")
        if len(text) <= len("2026-12-01"):
            raise InvalidSchedule("at", f"{text} has no time; write it as {text}T06:00")
        return cls(moment.replace(microsecond=0))

    def after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        due = instant(self.wall, zone)
        return due if due > moment else None

    def __str__(self) -> str:
        return f"at {self.wall.isoformat(timespec='minutes' if self.wall.second == 0 else 'seconds')}"
