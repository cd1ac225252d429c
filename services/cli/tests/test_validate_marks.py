"""The marks of a source's gate: which are missed, and what they name."""

from typing import Any

import pytest

from tidemill.cli.validate_marks import Found, judge
from tidemill.common.config.sources import SourceFile

SOURCE = SourceFile.model_validate(
    {
        "source": "portal",
        "scrape": {"search": {"url": "https://portal.example/", "link": {"css": "a", "attribute": "href"}}},
        "extract": {
            "fields": {
                "price": {"from": {"css": ".price"}, "type": "money", "required": True},
                "rooms": {"from": {"css": ".rooms"}, "type": "rooms"},
            }
        },
        "politeness": {"rate": "5/s"},
        "convert": {"with": "listings"},
    }
)
COUNTS = {"items": 10, "new": 10, "changed": 0, "reappeared": 0, "unchanged": 0, "gone": 0, "failed": 0}
WELL: dict[str, Any] = {
    "source": SOURCE,
    "limit": 10,
    "state": "complete",
    "reason": "",
    "counts": COUNTS,
    "asked": 10,
    "without_outcome": 0,
    "failures": {},
    "known": 200,
    "decided": 200,
    "left_to_ask": 200,
    "held": "",
    "pages": [("ok", "", ("price", "rooms"))] * 10,
    "unconverted": 0,
    "doubled": 0,
    "rejected": "",
    "matched": 190,
    "checked": 200,
    "most_in_ten_seconds": 51,
    "most_bytes": 90_000_000,
    "killed": 0,
    "kills_wanted": 0,
}


def missed(**other: Any) -> dict[str, str]:
    """Names of the marks that are missed, with what was found."""
    return {mark.name: mark.found for mark in judge(Found(**{**WELL, **other})) if mark.passed is False}


def test_a_run_that_is_as_it_should_be_misses_none() -> None:
    assert missed() == {}
    assert all(mark.passed for mark in judge(Found(**WELL)))


@pytest.mark.parametrize(
    ("other", "name", "said"),
    [
        ({"state": "failed", "reason": "layout"}, "run", "failed (layout)"),
        ({"asked": 6}, "pages", "6 asked for"),
        ({"failures": {"timeout": 1}}, "pages", "1 timeout failed"),
        ({"without_outcome": 1}, "counted once", "10 outcomes of 10 items"),
        ({"decided": 199}, "counted once", "199 decisions of 200 targets"),
        ({"counts": {**COUNTS, "new": 9}}, "counted once", "9 outcomes of 10 items"),
        ({"pages": [("incomplete", "required_missing: price", ())] * 3}, "required fields", "price is missing on 3"),
        ({"pages": []}, "required fields", "no page was read"),
        ({"pages": [("ok", "", ("price",))] * 60}, "fields", "never: rooms"),
        ({"unconverted": 2, "rejected": "invalid: price"}, "records", "2 without (invalid: price)"),
        ({"doubled": 1}, "doubled", "1"),
        ({"matched": 100}, "footprints", "50.0% of 200"),
        ({"most_in_ten_seconds": 70}, "politeness", "70 in the busiest 10 s"),
        ({"most_bytes": 250_000_000}, "memory", "250 MB"),
        ({"kills_wanted": 1}, "killed scraper", "0 killed"),
        ({"limit": None, "held": "count: 3 of 200"}, "checks", "count: 3 of 200"),
    ],
)
def test_each_mark_is_missed_for_its_own_reason(other: dict[str, Any], name: str, said: str) -> None:
    assert said in missed(**other)[name]


def test_what_cannot_be_judged_is_no_mark_that_is_missed() -> None:
    assert missed(checked=0, matched=0) == {}
    assert missed(pages=[("ok", "", ("price",))] * 10) == {}  # With few pages a rare field is no mistake.
    kept = SOURCE.model_copy(update={"convert": None})
    assert missed(source=kept, unconverted=10) == {}


def test_a_few_failed_pages_of_many_are_no_failure() -> None:
    counts = {**COUNTS, "items": 100, "new": 98, "failed": 2}
    many = {"asked": 100, "limit": 100, "counts": counts, "failures": {"timeout": 2}}
    assert missed(state="partial", reason="timeout", **many) == {}


def test_less_than_was_asked_for_is_enough_when_there_is_no_more() -> None:
    assert missed(limit=100, left_to_ask=10) == {}
