"""Who plays whom, when: the identity of a match, and the keys of its markets."""

import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from tidemill.football.markets import OTHER, Market
from tidemill.football.rows import Price
from tidemill.football.spelling import clean, fold

_VENUE = re.compile(r"\s*\(Helyszín:\s*(?P<venue>[^()]+)\)\s*$", re.IGNORECASE)
_MARK = re.compile(r"\s*\([^()]*\)\s*$")
_DASH = re.compile(r"\s+-\s+")


@dataclass(frozen=True, slots=True)
class Event:
    """The two sides, from the event cell."""

    home: str
    away: str
    venue: str | None
    identity: tuple[str, str]
    """Folded names without the country marks, which only main rows print."""


def _unmarked(name: str) -> str:
    return fold(_MARK.sub("", name))


@lru_cache(maxsize=1024)
def parse_event(text: str) -> Event | None:
    """`Hazai - Vendég (Helyszín: Ország)`; None for anything without exactly one spaced dash."""
    printed = clean(text)
    venue = _VENUE.search(printed)
    names = _DASH.split(printed[: venue.start()] if venue else printed)
    if len(names) != 2 or not all(any(c.isalnum() for c in name) for name in names):
        return None
    home, away = names[0].strip(), names[1].strip()
    return Event(home, away, venue["venue"].strip() if venue else None, (_unmarked(home), _unmarked(away)))


@dataclass(frozen=True, slots=True)
class Appointment:
    """What tells fixtures of one issue apart: the same pair may meet twice in a week."""

    identity: tuple[str, str]
    day: date | None
    time: str


Prices = tuple[Price, ...]


@dataclass(slots=True)
class Fixture:
    """A match whose rows are being read."""

    key: str
    event: Event
    league: str = ""
    rows: dict[str, tuple[str, Prices]] = field(default_factory=dict)
    """Serial and prices of each market row so far, by its key."""

    def has_serial(self, serial: str) -> bool:
        return any(known == serial for known, _ in self.rows.values())

    def add_row(self, market: Market, text: str, serial: str, kim: str, prices: Prices) -> str | Prices:
        """The key of a market row within the match; or the prices of the row that it repeats.

        Which bet it is makes the key; the serial only where a match offers the same bet twice.
        """
        key = _market_key(market, text, kim)
        if key in self.rows and self.rows[key][0] != serial:
            key = f"{key}@{serial}"
        if key in self.rows:
            return self.rows[key][1]
        self.rows[key] = (serial, prices)
        return key


def _market_key(market: Market, text: str, kim: str) -> str:
    param = text if market.key == OTHER else market.param or ""
    outcome = fold(market.outcome or "") or (f"kim {kim}" if kim else "")
    line = "" if market.line is None else f"{market.line:g}"
    parts = (market.key, market.period, market.side or "", fold(param), line, outcome)
    return "/".join(part for part in parts if part)
