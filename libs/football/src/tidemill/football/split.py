"""What an export may do to matches, and the store never does: a file a day, and a cap on additional markets."""

from collections.abc import Mapping, Sequence
from typing import Any

UNDATED = "undated"

PRIORITY = (
    "total_goals",
    "double_chance",
    "btts",
    "handicap_3way",
    "draw_no_bet",
    "match_result",
    "result_and_total_goals",
    "result_and_btts",
    "btts_and_total_goals",
    "halftime_fulltime",
    "goals_band",
    "team_total_goals",
    "to_qualify",
    "total_corners",
    "corners_handicap_2way",
    "most_corners",
    "corners_range",
    "total_cards",
    "most_cards",
    "first_minutes_result",
    "player_to_score_if_starting",
)
"""Keys of markets, those that most readers look for first; the others follow in the order of print."""
PERIODS = ("FT", "1H", "2H")
USUAL_GOALS = 2.5


def day_of(match: Mapping[str, Any]) -> str:
    """Name of the file that a match belongs in: its local day, or `undated`."""
    return str(match["date"]) if match.get("date") else UNDATED


def cap_markets(match: Mapping[str, Any], most: int) -> dict[str, Any]:
    """A match with its result market and at most so many additional ones; the others listed as `excluded_markets`.

    A market is what has one serial: all of its rows stay, or none. Rows keep the order of print.
    """
    markets: Sequence[Mapping[str, Any]] = match["markets"]
    first: dict[str, tuple[int, int, float, int]] = {}
    for place, market in enumerate(markets):
        if not is_main(market):
            first.setdefault(market["serial"], _priority(market, place))
    kept = set(sorted(first, key=first.__getitem__)[:most])
    return {
        **match,
        "markets": [market for market in markets if is_main(market) or market["serial"] in kept],
        "excluded_markets": [
            {name: market[name] for name in ("key", "period", "side", "market_text", "serial", "kim")}
            for market in markets
            if not is_main(market) and market["serial"] not in kept
        ],
    }


def is_main(market: Mapping[str, Any]) -> bool:
    """The result of the whole match: every match has it, and no cap counts it."""
    return bool(market["key"] == "match_result" and market["period"] == "FT")


def _priority(market: Mapping[str, Any], place: int) -> tuple[int, int, float, int]:
    """Smaller is sooner: the whole match before its halves, the market, the usual line before unusual ones."""
    key, period, line = market["key"], market["period"], market["line"]
    return (
        PERIODS.index(period) if period in PERIODS else len(PERIODS),
        PRIORITY.index(key) if key in PRIORITY else len(PRIORITY),
        abs(line - USUAL_GOALS) if line is not None else 0.0,
        place,
    )
