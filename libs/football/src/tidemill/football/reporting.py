"""What reports say of the betting offer: coverage by league, how sure names are, what bookmakers keep."""

from tidemill.plugin import Breakdown, Figure, Movement, Reporting

RESULT = "key = 'match_result' AND period = 'FT'"
"""Of the whole match: every match has it."""
OVERROUND = f"""
CASE WHEN {RESULT} AND length(cols) = 3
THEN (SELECT sum(1 / price.odd::numeric) - 1 FROM jsonb_each_text(odds) AS price (name, odd)) END
"""
"""The sum of the inverse odds of all three outcomes, less 1: what a bookmaker keeps of fair odds."""

MATCHES = Reporting(
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
