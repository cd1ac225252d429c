"""What is unusual, and what is not."""

import random
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.anomalies import FALSE_ALARMS_GOAL, RECALL_GOAL, SORTS, Score, measure
from tidemill.reporter.anomalies import BAND, Kind, Past, from_scale, judge, to_scale

MONDAY = date(2025, 6, 16)
KINDS = st.sampled_from(["count", "share", "level"])


def daily(*values: float, until: date = MONDAY) -> list[Past]:
    """The last of them is of the day before."""
    return [Past(until - timedelta(days=len(values) - number), value) for number, value in enumerate(values)]


def weekly(busy: float, quiet: float, weeks: int = 8) -> list[Past]:
    """Much from Monday to Friday, little at weekends."""
    return daily(*([busy] * 5 + [quiet] * 2) * weeks)


def test_a_monday_is_held_against_mondays() -> None:
    history = weekly(1000, 100)
    assert judge("count", history, MONDAY, 990).severity is None  # type: ignore[union-attr]
    low = judge("count", history, MONDAY, 100)
    assert low is not None and low.severity == "critical" and low.score < 0
    assert (round(low.expected), low.basis) == (1000, "8 earlier Mondays")
    sunday = judge("count", history, MONDAY + timedelta(days=6), 100)
    assert sunday is not None and sunday.severity is None


def test_a_day_without_anything_is_fine_where_that_happens() -> None:
    twice_a_week = daily(*[0, 300, 0, 0, 310, 0, 0] * 8)
    assert judge("count", twice_a_week, MONDAY, 0).severity is None  # type: ignore[union-attr]
    tuesday = judge("count", twice_a_week, MONDAY + timedelta(days=1), 0)
    assert tuesday is not None and tuesday.severity == "critical"
    now_and_then = daily(*[200, 210, 0, 190, 205, 195, 0, 200] * 7)
    assert judge("count", now_and_then, MONDAY, 0).severity is None  # type: ignore[union-attr]
    assert judge("count", now_and_then, MONDAY, 60).severity is not None  # type: ignore[union-attr]


def test_growth_is_no_anomaly() -> None:
    growing = daily(*[1000 * 1.01**day for day in range(84)])
    judged = judge("count", growing, MONDAY, 1000 * 1.01**84)
    assert judged is not None and judged.severity is None
    assert judged.expected == pytest.approx(1000 * 1.01**84, rel=0.03)


def test_a_source_that_is_too_young_is_not_judged() -> None:
    assert judge("count", daily(*[10] * 9), MONDAY, 1000) is None
    young = judge("count", daily(*[10] * 10), MONDAY, 1000)
    assert young is not None and young.basis == "10 earlier days" and young.severity is not None


def test_what_is_older_than_the_window_or_not_earlier_does_not_count() -> None:
    assert judge("level", [Past(MONDAY - timedelta(days=100 + n), 5) for n in range(50)], MONDAY, 9) is None
    assert judge("level", [Past(MONDAY + timedelta(days=n), 5) for n in range(50)], MONDAY, 9) is None


def test_differences_that_nobody_would_mind_are_no_anomalies() -> None:
    assert judge("count", daily(*[3.0] * 60), MONDAY, 7).severity is None  # type: ignore[union-attr]
    assert judge("share", daily(*[1.0] * 60), MONDAY, 0.985).severity is None  # type: ignore[union-attr]
    assert judge("level", daily(*[2.0] * 60), MONDAY, 6.0, least=5.0).severity is None  # type: ignore[union-attr]
    assert judge("level", daily(*[2.0] * 60), MONDAY, 6.0).severity == "critical"  # type: ignore[union-attr]


def test_the_first_weekends_of_a_young_source_are_no_anomalies() -> None:
    history = daily(*([1000] * 5 + [100] * 2) * 2)
    for day in range(7):
        judged = judge("count", history, MONDAY + timedelta(days=day), 100 if day > 4 else 1000)
        assert judged is not None and judged.severity is None
    assert judge("count", history, MONDAY, 0).severity is not None  # type: ignore[union-attr]


def test_one_bad_week_in_the_past_does_not_make_the_next_one_usual() -> None:
    history = daily(*[0 if 70 <= day < 77 else 1000 + day % 5 for day in range(84)])
    judged = judge("count", history, MONDAY, 300)
    assert judged is not None and judged.severity == "critical"


@given(KINDS, st.lists(st.floats(0, 1), min_size=15, max_size=90), st.floats(0, 1), st.randoms())
def test_the_order_of_the_past_is_all_the_same(
    kind: Kind, values: list[float], value: float, chance: random.Random
) -> None:
    history = daily(*values)
    judged = judge(kind, history, MONDAY, value)
    chance.shuffle(history)
    assert judge(kind, history, MONDAY, value) == judged


@given(KINDS, st.lists(st.floats(0, 1e6), min_size=15, max_size=90), st.floats(0, 1e6))
def test_what_is_within_the_band_is_usual_and_what_is_expected_lies_in_it(
    kind: Kind, values: list[float], value: float
) -> None:
    if kind == "share":
        values, value = [one / 1e6 for one in values], value / 1e6
    judged = judge(kind, daily(*values), MONDAY, value)
    assert judged is not None
    assert judged.low <= max(judged.expected, 0.0)
    if judged.low <= value <= judged.high:
        assert judged.severity is None
    if judged.severity is not None:
        assert abs(judged.score) >= BAND


@given(st.floats(1, 1e6), st.integers(20, 90))
def test_what_was_always_so_is_never_an_anomaly(value: float, days: int) -> None:
    for kind in ("count", "level"):
        judged = judge(kind, daily(*[value] * days), MONDAY, value)  # type: ignore[arg-type]
        assert judged is not None and judged.severity is None
        assert judged.expected == pytest.approx(value, rel=1e-6)


@given(st.lists(st.floats(50, 150), min_size=60, max_size=84), st.lists(st.floats(0, 1e9), max_size=6))
def test_a_few_wild_days_do_not_hide_an_outage(values: list[float], wild: list[float]) -> None:
    for number, one in enumerate(wild):
        values[number * 9] = one
    judged = judge("level", daily(*values), MONDAY, 1e6)
    assert judged is not None and judged.severity == "critical"


@given(KINDS, st.floats(0, 1e9))
def test_a_scale_and_back_is_where_one_came_from(kind: Kind, value: float) -> None:
    assert from_scale(kind, to_scale(kind, value)) == pytest.approx(value, rel=1e-6, abs=1e-6)


def test_known_anomalies_are_found_and_quiet_days_left_in_peace() -> None:
    total = Score()
    for sort in SORTS.values():
        total = total.plus(measure(sort, range(100, 101)))
    assert total.recall >= RECALL_GOAL
    assert total.false_alarms <= FALSE_ALARMS_GOAL
    assert total.quiet > 1000
