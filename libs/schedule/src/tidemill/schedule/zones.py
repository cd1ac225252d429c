"""Clock on the wall to instant, by one rule: what the clock shows twice is taken once, at the first time; what it skips
shifts by as much as the clock is put forward."""

import difflib
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from tidemill.schedule.errors import InvalidSchedule


@cache
def find_zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name. Raises InvalidSchedule, with the nearest name there is."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = difflib.get_close_matches(name, available_timezones(), n=1, cutoff=0.6)
        meant = near[0] if near else "Europe/Budapest"
        raise InvalidSchedule("zone", f"{name} is no IANA time zone; write one such as {meant}") from error


def instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """When the clock of the zone shows this naive time.

    Of two times the first (2:30 of an hour that comes again); of a skipped one, the time it would have been had the
    clock gone on: 2:30 becomes 3:30 where the clock goes from 2 to 3, and a skipped day becomes the next one.
    """
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)


def wall(moment: datetime, zone: ZoneInfo) -> datetime:
    """What the clock of the zone shows, naive."""
    return moment.astimezone(zone).replace(tzinfo=None)
