"""The offer's dates: day headings, day letters of rows, issue dates."""

import re
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tidemill.football.spelling import fold

BUDAPEST = ZoneInfo("Europe/Budapest")

WEEKDAYS = {"H": 0, "K": 1, "Sze": 2, "Cs": 3, "P": 4, "Szo": 5, "V": 6}
"""The day letter of a row, to Python's weekday."""

_MONTHS = (
    "januar", "februar", "marcius", "aprilis", "majus", "junius",
    "julius", "augusztus", "szeptember", "oktober", "november", "december",
)  # fmt: skip
_DATE = re.compile(rf"(\d{{4}})\s?\.?\s?({'|'.join(_MONTHS)})\s?(\d{{1,2}})(?!\d)")
_DAY_HEAD = re.compile(rf"^\W*(hetfo|kedd|szerda|csutortok|pentek|szombat|vasarnap)\b\W*{_DATE.pattern}")
_ISSUE = re.compile(r"evfolyam\W*(\d{1,3})\s?\.\s?szam")


def find_date(text: str) -> date | None:
    """The first date in words: `2025. július 18.`"""
    found = _DATE.search(fold(text))
    return _date(*found.groups()) if found else None


def parse_day_heading(text: str) -> date | None:
    """`Péntek (2025. június 27.)`; None for any other line. The weekday's name is not checked against the date."""
    found = _DAY_HEAD.search(fold(text))
    return _date(*found.groups()[1:]) if found else None


def parse_issue_number(text: str) -> int | None:
    """`XXIV. évfolyam 51. szám`"""
    found = _ISSUE.search(fold(text))
    return int(found[1]) if found else None


def _date(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), _MONTHS.index(month) + 1, int(day))
    except ValueError:
        return None


def match_day(heading: date, letter: str) -> date:
    """The first day of that letter on or after the heading's: `Szo 02:00` under Friday is Saturday."""
    if not letter:
        return heading
    return heading + timedelta(days=(WEEKDAYS[letter] - heading.weekday()) % 7)


def kickoff(day: date, printed: str) -> datetime:
    """The moment of a printed time in Budapest, in UTC. `24:00` is the end of the day.

    Raises ValueError for a time that no clock shows.
    """
    hour, minute = map(int, printed.split(":"))
    if hour == 24 and minute == 0:
        day, hour = day + timedelta(days=1), 0
    local = datetime.combine(day, time(hour, minute), BUDAPEST)
    return local.astimezone(ZoneInfo("UTC"))
