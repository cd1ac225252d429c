"""Runs over some days, from the request to what became of each page."""

from typing import Any

import pytest

pytestmark = pytest.mark.servers


async def first_day(mill: Any) -> None:
    mill.portal.add("Helsinki", *"abcdefg")
    mill.portal.add("Espoo", "x", "y")
    mill.source()
    await mill.start()


async def test_what_is_listed_is_fetched_kept_and_told(mill: Any) -> None:
    await first_day(mill)
    told = await mill.done()
    assert told.kinds == {"stored": 9}
    assert told.names("stored") == [*"abcdefg", "x", "y"]
    plan = told.plan
    assert (len(plan["items"]), plan["total"], plan["skipped"]) == (9, 9, {})
    assert sorted(plan["items"]) == sorted(event["item"] for event in told.of("document"))
    assert plan["requests"] == 4  # robots.txt, and three search pages
    assert await mill.decisions() == {"new": 9}
    (a,) = [event for event in told.of("document") if event["name"] == "a"]
    assert (a["context"], a["path"]) == ({"city": "Helsinki"}, mill.site.url("/homes/a?from=Helsinki"))


async def test_the_next_days_ask_for_what_has_a_reason(mill: Any) -> None:
    await first_day(mill)
    await mill.done()
    before = len(mill.site.asked)
    told = await mill.done("run-2")
    assert (told.kinds, told.plan["skipped"]) == ({}, {"fresh": 9})
    assert len(mill.site.asked) == before + 3
    mill.portal.change("a", price=90_000)
    mill.portal.change("b", views=7)
    mill.portal.remove("c", "x")
    mill.portal.add("Espoo", "z")
    told = await mill.done("run-3")
    assert told.kinds == {"stored": 2, "gone": 2}
    assert told.names("stored") == ["a", "z"]
    assert told.names("gone") == ["c", "x"]
    assert await mill.decisions("run-3") == {"new": 1, "hint": 1, "missing": 2, "fresh": 6}
    mill.portal.add("Helsinki", "c")
    told = await mill.done("run-4")
    assert told.kinds == {"stored": 1, "reappeared": 1}
    assert await mill.decisions("run-4") == {"reappeared": 1, "gone": 1, "fresh": 8}
