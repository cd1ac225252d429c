"""Headings of the offer: a day, or a sport with its league."""

import re
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from tidemill.football.dates import parse_day_heading
from tidemill.football.spelling import clean, fold

FOOTBALL = "labdarugas"
_CONTINUED = re.compile(r"\s*[-(]?\s*folyt(?:atás|\.)\s*\)?\s*$", re.IGNORECASE)
_PAGE_REFERENCE = re.compile(r"[\s►▶→»:]*\d+(?:\s?,\s?\d+)*\.?\s?oldal\.?\s*$")
_LEAGUE = re.compile(r"^((?:\d|[^\W\d_])[^,:()?+]{1,40}),\s+(\S.*)$")
_SPORTS = frozenset(
    map(
        fold,
        (
            *("Labdarúgás", "Tenisz", "Kosárlabda", "MMA", "Rögbi", "Asztalitenisz", "Snooker", "Ökölvívás", "Darts"),
            *("Aussie Rules", "Baseball", "Röplabda", "Krikett", "Vízilabda", "Kézilabda", "Amerikai foci", "Kerékpár"),
            *("Jégkorong", "Tollaslabda", "3x3 Kosárlabda", "Futsal", "Kajak-kenu", "Gyeplabda", "Forma-1"),
            "Virtuális Labdarúgás",
        ),
    )
)
"""Sports seen in print: a help where a heading looks like something else. What is football is decided by name."""


@dataclass(frozen=True, slots=True)
class DayHeading:
    day: date


@dataclass(frozen=True, slots=True)
class LeagueHeading:
    sport: str
    league: str

    @property
    def is_football(self) -> bool:
        return fold(self.sport) == FOOTBALL


@lru_cache(maxsize=1024)
def parse_heading(text: str) -> DayHeading | LeagueHeading | None:
    """What a line announces, if anything. Page references and icons are left out."""
    day = parse_day_heading(text)
    if day:
        return DayHeading(day)
    line = _CONTINUED.sub("", without_page_reference(text))
    found = _LEAGUE.match(line)
    if not found or line.count("(") != line.count(")") or line[0].islower() or fold(line).startswith("szuper odds"):
        return None
    return LeagueHeading(found[1].strip(), found[2].strip(" :►"))


def without_page_reference(text: str) -> str:
    return _PAGE_REFERENCE.sub("", clean(text))


def names_a_sport(text: str) -> bool:
    """Whether a line begins with a sport that was seen in print."""
    return fold(text.partition(",")[0]) in _SPORTS
