"""Matches and their markets as records."""

from datetime import UTC, date, datetime
from typing import Any

from tidemill.football.datasets import MARKET_NAME, MATCH_NAME
from tidemill.football.dates import kickoff
from tidemill.football.fixtures import Fixture
from tidemill.football.markets import OTHER, Market
from tidemill.football.rows import Row
from tidemill.plugin import Position, Record


def match_record(fixture: Fixture, row: Row, day: date | None, league: str, position: Position) -> Record:
    event = fixture.event
    data: dict[str, Any] = {
        "date": day.isoformat() if day else None,
        "time": row.time.rjust(5, "0"),
        "kickoff": _utc(kickoff(day, row.time)) if day else None,
        "league": league,
        "home": event.home,
        "away": event.away,
        "venue": event.venue,
        "serial": row.serial,
    }
    return Record(MATCH_NAME, fixture.key, data, position, raw=row.raw, quality=1.0 if day else 0.5)


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def market_record(fixture: Fixture, key: str, market: Market, text: str, row: Row, position: Position) -> Record:
    odds = {market.outcome_in(price.column, row.kim): price.value for price in row.prices}
    if len(odds) < len(row.prices):
        odds = {price.column: price.value for price in row.prices}
    data: dict[str, Any] = {
        "key": market.key,
        "period": market.period,
        "side": market.side,
        "line": market.line,
        "param": market.param,
        "outcome": market.outcome,
        "text": text,
        "serial": row.serial,
        "mark": row.mark or None,
        "kim": row.kim or None,
        "cols": "".join(price.column for price in row.prices),
        "odds": odds,
    }
    return Record(
        MARKET_NAME,
        key,
        data,
        position,
        parent=(MATCH_NAME, fixture.key),
        raw=row.raw,
        quality=0.5 if market.key == OTHER else 1.0,
    )
