"""A file a day, and a cap on additional markets."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tidemill.football.split import cap_markets, day_of, is_main


def market(serial: str, key: str = "total_goals", **more: Any) -> dict[str, Any]:
    plain = {"period": "FT", "side": None, "line": None, "market_text": key, "kim": None}
    return {"serial": serial, "key": key, **plain, **more}


MAIN = market("1", "match_result")


def match(*markets: dict[str, Any]) -> dict[str, Any]:
    return {"date": "2025-06-20", "markets": [MAIN, *markets]}


def serials(markets: list[dict[str, Any]]) -> list[str]:
    return [market["serial"] for market in markets]


def test_a_match_belongs_to_its_own_day_or_to_none() -> None:
    assert day_of({"date": "2025-06-20"}) == "2025-06-20"
    assert day_of({"date": None}) == "undated"


def test_the_result_is_never_capped() -> None:
    capped = cap_markets(match(market("2"), market("3")), 0)
    assert capped["markets"] == [MAIN]
    assert serials(capped["excluded_markets"]) == ["2", "3"]


def test_the_more_wanted_markets_stay_in_the_order_of_print() -> None:
    goals = [market("2", line=4.5), market("3", line=2.5), market("4", "own_goal"), market("5", "double_chance")]
    halves = market("6", "match_result", period="1H")
    capped = cap_markets(match(halves, *goals), 3)
    assert serials(capped["markets"]) == ["1", "2", "3", "5"]
    assert serials(capped["excluded_markets"]) == ["6", "4"]


def test_the_rows_of_one_market_stay_together() -> None:
    rows = [market("2", "goals_band", kim=f"0{number}") for number in range(1, 5)]
    assert len(cap_markets(match(*rows), 1)["markets"]) == 5
    assert len(cap_markets(match(*rows, market("3")), 1)["excluded_markets"]) == 4


MARKETS = st.lists(
    st.builds(market, st.sampled_from("23456789"), st.sampled_from(["btts", "other", "to_qualify"])), max_size=20
)


@given(MARKETS, st.integers(0, 12))
def test_a_cap_loses_nothing_and_keeps_as_much_as_it_may(markets: list[dict[str, Any]], most: int) -> None:
    whole = match(*markets)
    capped = cap_markets(whole, most)
    kept, left_out = serials(capped["markets"]), serials(capped["excluded_markets"])
    assert sorted(kept + left_out) == sorted(serials(whole["markets"]))
    additional = {one["serial"] for one in capped["markets"] if not is_main(one)}
    assert len(additional) == min(most, len(set(serials(markets))))
    assert not additional & set(left_out)
