"""What football records hold."""

import datetime as dt
from collections.abc import Mapping
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from tidemill.football.reporting import MARKETS, MATCHES, OUTRIGHTS
from tidemill.plugin import Dataset, NameField

MATCH_NAME = "football.match"
MARKET_NAME = "football.market"
OUTRIGHT_NAME = "football.outright"

ONE_FIXTURE = dt.timedelta(days=21)
"""Serials are used again for other events weeks later; a kick-off that moves, moves by less."""

Odds = Annotated[float, Field(ge=1.0)]


class Match(BaseModel):
    """A fixture as announced. Names are as printed."""

    model_config = ConfigDict(frozen=True)

    date: dt.date | None
    """Local date of the kick-off; None where the print names no day."""
    time: str
    """Local time of the kick-off, HH:MM."""
    kickoff: AwareDatetime | None
    league: str
    home: str
    away: str
    venue: str | None
    """Country of the ground, where it is neither side's."""
    serial: str
    """Number of the main row, under which bets are taken."""


class Market(BaseModel):
    """One printed row of odds for a match."""

    model_config = ConfigDict(frozen=True)

    key: str
    period: str
    side: str | None
    line: float | None
    param: str | None
    outcome: str | None
    """As printed, where each outcome has a row of its own."""
    text: str
    """The market as printed; empty for the match result."""
    serial: str
    mark: str | None
    """The `M.k.` cell."""
    kim: str | None
    """Number of the outcome, where each has a row of its own."""
    cols: str
    """The columns (of H, D, V) that hold a price."""
    odds: Mapping[str, Odds]
    """Price by outcome, in the order of `cols`."""


class Outright(BaseModel):
    """The price of one outcome of a long-term bet."""

    model_config = ConfigDict(frozen=True)

    title: str
    serial: str
    outcome: str
    kim: str
    odds: Odds


def same_fixture(known: Match, new: Match) -> bool:
    """Whether two announcements under one serial and pair of names mean one fixture."""
    if known.kickoff is None or new.kickoff is None:
        return True
    return abs(known.kickoff - new.kickoff) <= ONE_FIXTURE


MATCH = Dataset(
    MATCH_NAME,
    Match,
    title="Football matches of the betting offer",
    same_fact=same_fixture,
    names={
        "home_team": NameField("football.team", raw="home", scope="league"),
        "away_team": NameField("football.team", raw="away", scope="league"),
    },
    summary=("home_team_name", "away_team_name", "date", "time", "league"),
    report=MATCHES,
)
MARKET = Dataset(
    MARKET_NAME,
    Market,
    title="Odds of football matches, one record per printed row",
    summary=("odds", "parent", "key", "line", "period"),
    report=MARKETS,
)
OUTRIGHT = Dataset(
    OUTRIGHT_NAME,
    Outright,
    title="Odds of long-term football bets, one record per outcome",
    summary=("title", "outcome", "odds"),
    report=OUTRIGHTS,
)
