"""What football wants reported is made of what its views have."""

import pytest

from tidemill.football.datasets import MARKET, MATCH, OUTRIGHT
from tidemill.plugin import Dataset
from tidemill.plugin.report_conformance import assert_reports, find_report_breaches


@pytest.mark.parametrize("dataset", [MATCH, MARKET, OUTRIGHT], ids=lambda dataset: dataset.name)
def test_reports_of_football_conform(dataset: Dataset) -> None:
    assert dataset.report.figures
    assert_reports(dataset)


def test_the_league_of_a_market_is_its_matchs() -> None:
    league = MARKET.report.breakdowns[0]
    assert league.parent == MATCH.name
    assert find_report_breaches(MARKET) == []
