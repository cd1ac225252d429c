"""What reports say of the betting offer: coverage by league, how sure names are, what bookmakers keep."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.football.split import cap_markets, is_main
from tidemill.plugin import Breakdown, Counted, Figure, Movement, Reporting, Tally

RESULT = "key = 'match_result' AND period = 'FT'"
"""Of the whole match: every match has it."""
OVERROUND = f"""
CASE WHEN {RESULT} AND length(cols) = 3
THEN (SELECT sum(1 / price.odd::numeric) - 1 FROM jsonb_each_text(odds) AS price (name, odd)) END
"""
"""The sum of the inverse odds of all three outcomes, less 1: what a bookmaker keeps of fair odds."""

CAP = 10
"""Additional markets that an export keeps of a match unless told otherwise."""
CAPPED = {
    "matches": "Matches",
    "capped": "With more markets than that",
    "rows": "Rows of odds",
    "kept": "Rows kept",
    "left_out": "Rows left out",
}


def count_capped(match: Mapping[str, Any], markets: Sequence[Mapping[str, Any]]) -> Counted:
    """By league: what `tidemill export football.match --max-additional 10` keeps of a match, by its own function."""
    left_out = len(_capped(markets)["excluded_markets"])
    counts = {
        "matches": 1,
        "capped": int(left_out > 0),
        "rows": len(markets),
        "kept": len(markets) - left_out,
        "left_out": left_out,
    }
    return {str(match["league"]): counts}


def count_left_out(match: Mapping[str, Any], markets: Sequence[Mapping[str, Any]]) -> Counted:
    """By kind of additional market."""
    left_out = [one["key"] for one in _capped(markets)["excluded_markets"]]
    found: dict[str, dict[str, int]] = {}
    for market in markets:
        if not is_main(market):
            found.setdefault(market["key"], {"rows": 0, "left_out": 0})["rows"] += 1
    for key in left_out:
        found[key]["left_out"] += 1
    return found


def _capped(markets: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return cap_markets({"markets": [{**one, "market_text": one["text"]} for one in markets]}, CAP)


MATCHES = Reporting(
    tallies=(
        Tally(
            "capped",
            f"Capped at {CAP} additional markets, by league",
            "League",
            CAPPED,
            "football.market",
            count_capped,
        ),
        Tally(
            "left_out",
            f"Capped at {CAP} additional markets, by market",
            "Market",
            {"rows": "Rows of odds", "left_out": "Rows left out"},
            "football.market",
            count_left_out,
        ),
    ),
    breakdowns=(
        Breakdown("league", "League", "league"),
        Breakdown("issue", "Issue", "document_name"),
    ),
    figures=(
        Figure("undated", "Without a day", "date IS NULL", "share"),
        Figure(
            "name_confidence",
            "Confidence of team names",
            "(home_team_confidence + away_team_confidence) / 2",
            "mean",
            measured=True,
        ),
        Figure(
            "names_to_review",
            "With a name to review",
            "home_team_method = 'review' OR away_team_method = 'review'",
            "share",
        ),
        Figure("teams", "Home teams", "home_team_id", "distinct"),
    ),
)

MARKETS = Reporting(
    breakdowns=(
        Breakdown("league", "League", "league", parent="football.match"),
        Breakdown("market", "Market", "key"),
    ),
    figures=(
        Figure("matches", "Matches", "parent", "distinct"),
        Figure("markets_per_match", "Rows of odds per match", "parent", "per", measured=True),
        Figure("kinds", "Kinds of market", "key", "distinct"),
        Figure("unknown_kind", "Of unknown kind", "key = 'other'", "share"),
        Figure("overround", "Overround of the match result", OVERROUND.strip(), "mean", measured=True),
    ),
    movements=(
        Movement("home_odds", "Odds of the home side", f"CASE WHEN {RESULT} THEN (odds ->> 'home')::numeric END"),
        Movement("draw_odds", "Odds of the draw", f"CASE WHEN {RESULT} THEN (odds ->> 'draw')::numeric END"),
        Movement("away_odds", "Odds of the away side", f"CASE WHEN {RESULT} THEN (odds ->> 'away')::numeric END"),
    ),
)

OUTRIGHTS = Reporting(
    breakdowns=(Breakdown("title", "Bet", "title"),),
    figures=(Figure("bets", "Bets", "title", "distinct"),),
    movements=(Movement("odds", "Odds", "odds"),),
)
