"""What football wants reported is made of what its views have."""

from typing import Any

import pytest

from tidemill.football.datasets import MARKET, MATCH, OUTRIGHT
from tidemill.football.reporting import CAP, count_capped, count_left_out
from tidemill.football.split import cap_markets
from tidemill.plugin import Dataset
from tidemill.plugin.report_conformance import assert_reports, find_report_breaches


@pytest.mark.parametrize("dataset", [MATCH, MARKET, OUTRIGHT], ids=lambda dataset: dataset.name)
def test_reports_of_football_conform(dataset: Dataset) -> None:
    assert dataset.report.figures
    assert_reports(dataset)


def market(serial: str, key: str, line: float | None = None) -> dict[str, Any]:
    return {"serial": serial, "key": key, "period": "FT", "line": line, "side": None, "kim": None, "text": key}


def test_what_an_export_leaves_out_is_counted_by_its_own_function() -> None:
    markets = [market("1", "match_result"), *(market(str(n), "total_goals", n + 0.5) for n in range(2, 14))]
    markets += [market("13", "total_goals", 13.5), market("99", "own_goal")]
    match = {"league": "Cseh"}
    (counts,) = count_capped(match, markets).values()
    capped = cap_markets({"markets": [{**one, "market_text": ""} for one in markets]}, CAP)
    assert counts["left_out"] == len(capped["excluded_markets"]) == 4  # Two serials of goals, one of them of two rows.
    assert counts["kept"] == len(capped["markets"]) and counts["capped"] == counts["matches"] == 1
    assert count_left_out(match, markets) == {
        "total_goals": {"rows": 13, "left_out": 3},
        "own_goal": {"rows": 1, "left_out": 1},
    }
    assert count_capped(match, []) == {"Cseh": dict.fromkeys(counts, 0) | {"matches": 1}}


def test_the_league_of_a_market_is_its_matchs() -> None:
    league = MARKET.report.breakdowns[0]
    assert league.parent == MATCH.name
    assert find_report_breaches(MARKET) == []
