"""A run that its checks do not trust says nothing is gone, until somebody says so or a later run sees it."""

import json
from datetime import timedelta
from typing import Any

import pytest

from tidemill.common.bus.client import CommandFailed, open_client, request_command
from tidemill.scraper.policy import LEFT

from .conftest import AT

pytestmark = pytest.mark.servers

DAYS = 7


async def some_days(mill: Any, *checks: dict[str, Any], days: int = 1) -> None:
    """Ten homes, seen on as many days."""
    mill.portal.add("Helsinki", *"abcdefgh")
    mill.portal.add("Espoo", "x", "y")
    mill.source()
    path = mill.folder / "sources" / "homes.yaml"
    path.write_text(path.read_text() + f"checks: {json.dumps(checks)}\n")
    await mill.start()
    for day in range(days):
        await mill.done(f"day-{day}", requested_at=AT + timedelta(days=day))


async def day(mill: Any, number: int) -> Any:
    return await mill.done(f"day-{number}", requested_at=AT + timedelta(days=number))


async def results(mill: Any, run: str) -> dict[str, tuple[bool, str]]:
    rows = await mill.sql("SELECT name, passed, message FROM scraper.check_results WHERE run = :run", run=run)
    return {row.name: (row.passed, row.message) for row in rows}


async def release(mill: Any, run: str) -> dict[str, Any]:
    async with open_client(mill.addresses.nats_url) as client:
        return await request_command(client, "scraper", "gone_release", {"run": run, "actor": "me"})


COUNT = {"check": "count", "drop_at_most": 0.3, "severity": "block"}


async def test_a_drop_that_nobody_expects_holds_what_would_be_gone_and_stores_the_rest(mill: Any) -> None:
    await some_days(mill, COUNT, days=2)
    mill.portal.remove("a", "b", "c", "d", "x")
    mill.portal.change("e", price=1)
    told = await day(mill, 2)
    assert told.kinds == {"stored": 1}
    assert told.plan["skipped"] == {"fresh": 4, "held": 5}
    assert set(told.plan["skipped"]) <= set(LEFT)
    assert await results(mill, "day-2") == {
        "count": (False, "5 found, usual are 10 (2 earlier runs): 50 % fewer, more than 30 %")
    }
    (row,) = await mill.sql("SELECT held FROM scraper.runs WHERE run = 'day-2'")
    assert row.held.startswith("count: 5 found, usual are 10")
    misses = await mill.sql("SELECT sum(misses) FROM scraper.targets")
    assert misses[0][0] == 0


async def test_what_was_released_is_gone_with_the_next_run_and_nobody_is_asked_twice(mill: Any) -> None:
    await some_days(mill, COUNT, days=2)
    mill.portal.remove("a", "b", "c", "d", "x")
    await day(mill, 2)
    answer = await release(mill, "day-2")
    assert (answer["source"], answer["targets"]) == ("homes", 5)
    mill.portal.remove("e")
    told = await day(mill, 3)
    assert told.names("gone") == ["a", "b", "c", "d", "x"]
    # The next one was not there to be released: the count is still half of the usual.
    assert told.plan["skipped"]["held"] == 1
    (held,) = await mill.sql(
        "SELECT t.name FROM scraper.decisions d JOIN scraper.targets t ON t.id = d.target"
        " WHERE d.run = 'day-3' AND d.decision = 'held'"
    )
    assert held.name == "e"


async def test_what_was_released_and_is_there_again_is_not_gone(mill: Any) -> None:
    await some_days(mill, COUNT, days=2)
    mill.portal.remove("a", "b", "c", "d", "x")
    await day(mill, 2)
    await release(mill, "day-2")
    mill.portal.add("Helsinki", "a")
    await day(mill, 3)
    mill.portal.remove("a", "e", "f")
    told = await day(mill, 4)
    assert told.names("gone") == []
    assert told.plan["skipped"]["held"] == 3


async def test_a_later_good_run_settles_it_by_itself(mill: Any) -> None:
    await some_days(mill, COUNT, days=2)
    removed = {id: mill.portal.homes[id] for id in "abcd"}
    mill.portal.remove(*removed)
    assert (await day(mill, 2)).plan["skipped"]["held"] == 4
    mill.portal.homes.update({id: removed[id] for id in "abc"})
    mill.portal.publish()
    told = await day(mill, 3)
    assert told.names("gone") == ["d"]
    with pytest.raises(CommandFailed, match="that is settled: run day-3 has looked since"):
        await release(mill, "day-2")
    with pytest.raises(CommandFailed, match="no check holds back what run day-1 would say"):
        await release(mill, "day-1")


async def test_a_warning_is_kept_and_holds_nothing(mill: Any) -> None:
    await some_days(mill, {**COUNT, "severity": "warn"}, days=2)
    mill.portal.remove("a", "b", "c", "d", "x")
    told = await day(mill, 2)
    assert len(told.names("gone")) == 5
    assert (await results(mill, "day-2"))["count"][0] is False


async def test_failures_and_coverage_are_judged_from_the_pages_of_the_run(mill: Any) -> None:
    failures = {"check": "failures", "most": 0.1, "severity": "block"}
    coverage = {"check": "coverage", "field": "city", "least": 0.9}
    mill.portal.add("Helsinki", "a", "b", "c")
    mill.site.put("/homes/a?from=Helsinki", b"<h1>no price</h1>")
    mill.portal.publish = lambda: None
    mill.site.put("/homes/b?from=Helsinki", "<h1>b</h1><p class=price>5 €</p>".encode())
    mill.portal.cities = ("Helsinki",)
    mill.source()
    path = mill.folder / "sources" / "homes.yaml"
    path.write_text(path.read_text() + f"checks: {json.dumps([failures, coverage])}\n")
    await mill.start()
    await mill.done("day-0", within=100)
    assert await results(mill, "day-0") == {
        "failures": (False, "1 of 3 failed (33.3 %), more than 10 %"),
        "coverage_city": (False, "1 of 3 have city (33.3 %), less than 90 %"),
    }


async def test_a_run_that_looked_at_one_city_is_not_counted(mill: Any) -> None:
    await some_days(mill, COUNT, days=2)
    told = await mill.done("one", requested_at=AT + timedelta(days=3), params={"city": "Espoo"})
    assert told.plan["skipped"]["left_out"] == 8
    assert await results(mill, "one") == {}
