"""What records and runs are judged to be, by the checks of a source file."""

from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.checks import Past, RunFacts, Times, blocking, judge_record, judge_run, number_of, usual_count
from tidemill.common.config.checks import Check

MONDAY = datetime(2026, 11, 30, 5, tzinfo=UTC)
TIMES = Times(now=MONDAY, received=MONDAY - timedelta(hours=1), document_time=MONDAY - timedelta(days=1))

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
NUMBERS = st.floats(-1e9, 1e9)


def said(data: dict[str, Any], quality: float = 1.0, /, **check: Any) -> str:
    """What is wrong with the record; empty where nothing is."""
    return "; ".join(one.message for one in judge_record([Check(**check)], "shop.price", data, quality, TIMES))


@pytest.mark.parametrize(
    ("check", "data", "message"),
    [
        ({"check": "required", "field": "price"}, {}, "price is missing"),
        ({"check": "required", "field": "price"}, {"price": ""}, "price is missing"),
        ({"check": "required", "field": "price"}, {"price": 0}, ""),
        ({"check": "range", "field": "price", "least": 10}, {"price": 9.5}, "price is 9.5, less than 10"),
        ({"check": "range", "field": "price", "most": 10}, {"price": "10.01"}, "price is 10.01, more than 10"),
        ({"check": "range", "field": "price", "most": 10}, {"price": "cheap"}, 'price is "cheap", which is no number'),
        ({"check": "range", "field": "price", "most": 10}, {}, ""),
        ({"check": "range", "field": "odds", "least": 1}, {"odds": {"home": 0.5}}, "odds.home is 0.5, less than 1"),
        ({"check": "range", "field": "odds.home", "least": 1}, {"odds": {"home": 2}}, ""),
        ({"check": "range", "field": "odds", "least": 1}, {"odds": [2, 0.5]}, "odds[1] is 0.5, less than 1"),
        (
            {"check": "pattern", "field": "code", "pattern": r"\d{5}"},
            {"code": "0123"},
            r'code is "0123", which does not fit',
        ),
        ({"check": "pattern", "field": "code", "pattern": r"\d{5}"}, {"code": "01234"}, ""),
        (
            {"check": "one_of", "field": "kind", "values": ("a", 3.0)},
            {"kind": "b"},
            'kind is "b", and not one of "a", 3',
        ),
        ({"check": "one_of", "field": "kind", "values": ("a", 3.0)}, {"kind": 3}, ""),
        ({"check": "one_of", "field": "kind", "values": (1.0,)}, {"kind": True}, "kind is true, and not one of 1"),
        (
            {"check": "compare", "field": "kickoff", "op": ">=", "to": "document_time"},
            {"kickoff": "2026-11-28T17:00:00Z"},
            'kickoff is "2026-11-28T17:00:00Z", and not >= document_time (2026-11-29T05:00:00Z)',
        ),
        ({"check": "compare", "field": "day", "op": "<=", "to": "now"}, {"day": "2026-11-30"}, ""),
        ({"check": "compare", "field": "day", "op": "<", "to": "now"}, {"day": "2026-11-30"}, "and not < now"),
        (
            {"check": "compare", "field": "debt_free", "op": ">=", "to": "price"},
            {"debt_free": 1, "price": 2},
            "price (2)",
        ),
        ({"check": "compare", "field": "debt_free", "op": ">=", "to": "price"}, {"debt_free": 1}, ""),
        ({"check": "compare", "field": "a", "op": "==", "to": "b"}, {"a": "x", "b": "x"}, ""),
        ({"check": "compare", "field": "a", "op": ">", "to": 0}, {"a": [1]}, "which cannot be compared with 0"),
        (
            {"check": "ratio", "fields": ("price", "size_m2"), "least": 400},
            {"price": 1000, "size_m2": 50},
            "price / size_m2 (1000 / 50) is 20, less than 400",
        ),
        ({"check": "ratio", "fields": ("price", "size_m2"), "least": 4}, {"price": 1, "size_m2": 0}, "size_m2 is 0"),
        (
            {"check": "sum_of_inverse", "field": "odds", "least": 1, "most": 1.25},
            {"odds": [1.5, 3.0, 4.0]},
            "",
        ),
        (
            {"check": "sum_of_inverse", "field": "odds", "most": 1.25},
            {"odds": {"home": 1.2, "away": 1.2}},
            "the sum of 1 / odds is 1.6667, more than 1.25",
        ),
        ({"check": "sum_of_inverse", "field": "odds", "most": 2}, {"odds": [0]}, "only of positive numbers"),
    ],
)
def test_a_message_names_field_value_and_bound(check: dict[str, Any], data: dict[str, Any], message: str) -> None:
    found = said(data, **check)
    assert message in found
    assert bool(message) == bool(found)


def test_the_quality_is_that_of_the_record() -> None:
    assert said({}, 0.31, check="quality", least=0.5) == "quality is 0.31, less than 0.5"
    assert said({}, 0.5, check="quality", least=0.5) == ""


def test_a_check_may_be_of_one_dataset_and_of_some_records() -> None:
    check: dict[str, Any] = {
        "check": "range",
        "field": "price",
        "least": 1000,
        "when": {"kind": "sale"},
        "dataset": "shop.price",
    }
    assert said({"price": 9, "kind": "sale"}, **check)
    assert not said({"price": 9, "kind": "rent"}, **check)
    assert not judge_record([Check(**check)], "shop.other", {"price": 9, "kind": "sale"}, 1, TIMES)


def test_a_pattern_that_takes_for_ever_is_given_up() -> None:
    check: dict[str, Any] = {"check": "pattern", "field": "text", "pattern": "(a|a)+(a|a)+(a|a)+(a|a)+b"}
    assert "takes too long" in said({"text": "a" * 5000}, **check)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_number_passes_a_range_exactly_where_it_lies_within(value: float, one: float, other: float) -> None:
    least, most = sorted((one, other))
    assert (said({"a": value}, check="range", field="a", least=least, most=most) == "") == (least <= value <= most)


@given(st.lists(st.floats(1.01, 1000), min_size=1, max_size=6), st.floats(0.1, 3))
def test_an_overround_is_the_sum_of_the_inverses_in_any_form(odds: list[float], most: float) -> None:
    wrong = sum(1 / one for one in odds) > most
    named = {f"o{place}": one for place, one in enumerate(odds)}
    for form in (odds, named, [str(one) for one in odds]):
        assert bool(said({"odds": form}, check="sum_of_inverse", field="odds", most=most)) == wrong


@given(st.dictionaries(st.sampled_from("ab"), JSON))
def test_whatever_a_record_says_it_is_judged_and_the_same_each_time(data: dict[str, Any]) -> None:
    checks = [
        Check(check="required", field="a"),
        Check(check="range", field="a", least=0),
        Check(check="pattern", field="a", pattern="x+"),
        Check(check="one_of", field="a", values=(1.0, "x")),
        Check(check="compare", field="a", op="<", to="b"),
        Check(check="compare", field="a", op=">", to="now", name="ahead"),
        Check(check="ratio", fields=("a", "b"), most=1),
        Check(check="sum_of_inverse", field="a", most=1),
    ]
    found = judge_record(checks, "x", data, 1, TIMES)
    assert found == judge_record(checks, "x", data, 1, TIMES)
    names = [check.called for check in checks]
    assert [names.index(one.check) for one in found] == sorted(names.index(one.check) for one in found)
    assert all(one.message for one in found)


@given(JSON)
def test_numbers_are_finite_and_no_booleans(value: Any) -> None:
    number = number_of(value)
    assert number is None or (abs(number) < float("inf") and not isinstance(value, bool))


def weeks(*counts: int, days: int = 7) -> list[Past]:
    """Earlier runs, the latest first, each that many days before the next."""
    return [Past(MONDAY - timedelta(days=days * (n + 1)), count) for n, count in enumerate(counts)]


def judged(history: list[Past], count: int, **check: Any) -> tuple[bool, str]:
    (one,) = judge_run([Check(check="count", **check)], RunFacts(at=MONDAY, count=count, history=history))
    return one.passed, one.message


def test_a_count_is_held_against_earlier_runs_of_the_same_weekday() -> None:
    sundays = [Past(MONDAY - timedelta(days=1 + 7 * n), 10) for n in range(5)]
    assert judged([*weeks(100, 90, 110), *sundays], 75) == (True, "75 found, usual are 100 (3 earlier Mondays)")
    passed, message = judged([*weeks(100, 90, 110), *sundays], 65)
    assert (passed, message) == (
        False,
        "65 found, usual are 100 (3 earlier Mondays): 35 % fewer, more than 30 %",
    )
    assert judged(weeks(100), 65, drop_at_most=0.5)[0]


def test_without_a_run_of_this_weekday_all_earlier_ones_count() -> None:
    assert judged(weeks(10, 12, 11, days=1), 3)[1].startswith("3 found, usual are 11 (3 earlier runs): ")


def test_nothing_found_is_legitimate_only_where_the_file_says_so() -> None:
    assert judged([], 0) == (False, "0 found; no earlier run says what is usual")
    assert judged(weeks(10), 0)[0] is False
    assert judged(weeks(10), 0, zero_allowed=True) == (True, "0 found, which happens here")
    assert judged([], 4, least=5) == (False, "4 found, less than 5")
    assert judged([], 5, least=5)[0]


@given(st.lists(st.integers(0, 1000), max_size=30), st.integers(0, 1000), st.floats(0, 1))
def test_a_count_never_fails_when_it_is_the_usual_one_or_more(counts: list[int], count: int, drop: float) -> None:
    history = weeks(*counts, days=1)
    usual, _ = usual_count(history, MONDAY)
    passed, _ = judged(history, count, drop_at_most=drop)
    if usual is None:
        assert passed == (count > 0)
    else:
        assert passed == (count >= usual * (1 - drop))
        mondays = counts[6::7][:8]
        assert usual == median(mondays or counts[:8])


def test_later_runs_say_nothing_of_an_earlier_one() -> None:
    assert usual_count([Past(MONDAY, 5), Past(MONDAY + timedelta(days=7), 9)], MONDAY) == (None, "")


@pytest.mark.parametrize(
    ("check", "facts", "passed", "message"),
    [
        (
            {"check": "failures", "most": 0.1},
            {"tried": 20, "failed": 3},
            False,
            "3 of 20 failed (15 %), more than 10 %",
        ),
        ({"check": "failures", "most": 0.1}, {"tried": 0}, True, "nothing was tried"),
        (
            {"check": "coverage", "field": "price", "least": 0.9},
            {"coverage": {"price": (8, 10)}},
            False,
            "8 of 10 have price (80 %), less than 90 %",
        ),
        ({"check": "coverage", "field": "price", "least": 0.9}, {"coverage": {}}, True, "nothing came"),
        ({"check": "footprint", "least": 0.8}, {"points": 10, "placed": 9}, True, "9 of 10 points stand inside"),
        ({"check": "mean_quality", "least": 0.5}, {"quality": 0.4}, False, "the mean quality is 0.4, less than 0.5"),
        (
            {"check": "unique", "fields": ("street", "size")},
            {"shared": {"unique_street_size": (2, ["a", "b"])}},
            False,
            "2 records are not alone with their street, size: a, b",
        ),
    ],
)
def test_a_run_is_judged_by_what_is_known_of_it(
    check: dict[str, Any], facts: dict[str, Any], passed: bool, message: str
) -> None:
    (one,) = judge_run([Check(**check)], RunFacts(at=MONDAY, **facts))
    assert (one.passed, one.message[: len(message)]) == (passed, message)
    assert judge_run([Check(**check)], RunFacts(at=MONDAY)) == []


def test_only_a_failed_check_of_severity_block_holds_something() -> None:
    checks = [
        Check(check="count", least=10),
        Check(check="failures", most=0.1, severity="block"),
        Check(check="coverage", field="price", least=0.5, severity="block"),
    ]
    facts = RunFacts(at=MONDAY, count=1, tried=10, failed=9, coverage={"price": (9, 10)})
    results = judge_run(checks, facts)
    assert [one.passed for one in results] == [False, False, True]
    assert blocking(results) == "failures: 9 of 10 failed (90 %), more than 10 %"
    assert blocking(judge_run(checks[:1], facts)) is None
