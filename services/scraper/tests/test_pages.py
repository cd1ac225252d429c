"""Pages that are not what was asked for."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytestmark = pytest.mark.servers

SOLD = b"<!doctype html><title>Home</title><p>This home has been sold.</p>"


async def open_portal(mill: Any, *ids: str, **scrape: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", *ids)
    mill.source(**scrape)
    await mill.start()


async def test_what_robots_txt_forbids_is_never_asked_for(mill: Any) -> None:
    mill.site.put("/robots.txt", b"User-agent: *\nDisallow: /homes/b\n")
    await open_portal(mill, "a", "b", "c")
    told = await mill.done()
    assert told.kinds == {"stored": 2}
    assert told.plan["skipped"] == {"robots": 1}
    assert not any(path.startswith("/homes/b") for path in mill.site.counts())
    await mill.noted("sum(robots_denials) = 1")


async def test_what_is_listed_and_not_there_has_failed_and_is_not_gone(mill: Any) -> None:
    await open_portal(mill, *"abcd")
    await mill.done()
    mill.portal.change("a", price=1)
    mill.portal.change("b", price=1)
    mill.site.put(mill.portal.path("a"), SOLD)
    del mill.site.files[mill.portal.path("b")]
    told = await mill.done("run-2")
    assert told.failures() == {"a": "removed", "b": "not_found"}
    rows = await mill.sql("SELECT name, state FROM scraper.targets WHERE failures > 0 ORDER BY name")
    assert [tuple(row) for row in rows] == [("a", "failing"), ("b", "failing")]


async def test_missing_pages_say_in_three_ways_that_they_are_gone(mill: Any) -> None:
    await open_portal(mill, *"abcd")
    await mill.done()
    paths = {id: mill.portal.path(id) for id in "abcd"}
    mill.portal.remove(*"abcd")
    mill.portal.add("Espoo", "e")
    mill.site.put(paths["a"], SOLD)
    mill.site.statuses[paths["b"]] = [301]
    mill.site.headers["Location"] = "/search/Espoo?page=1"
    mill.site.statuses[paths["c"]] = [410]
    told = await mill.done("run-2")
    assert {event["name"]: event["reason"] for event in told.of("document.gone")} == {
        "a": "removed",
        "b": "redirected",
        "c": "removed",
        "d": "not_found",
    }
    assert told.plan["total"] == 5


async def test_a_full_run_reads_again_what_did_not_change_without_its_bytes_sent(mill: Any) -> None:
    await open_portal(mill, "a", "b")
    await mill.done()
    told = await mill.done("run-2", params={"full": "true"})
    assert told.kinds == {"unchanged": 2}
    pages = "SELECT status, state, fields FROM scraper.pages WHERE run = :run AND kind = 'target' ORDER BY item"
    rows = [tuple(row) for row in await mill.sql(pages, run="run-2")]
    assert [(status, state) for status, state, _ in rows] == [(304, "ok"), (304, "ok")]
    assert all("price" in fields for _, _, fields in rows)


async def test_rules_that_find_nothing_any_more_fail_though_the_site_says_not_modified(mill: Any) -> None:
    await open_portal(mill, "a")
    await mill.done()
    mill.portal.more_fields["price"] = {"from": {"css": ".prize"}, "type": "money", "required": True}
    mill.source(stale_after="1ms")
    mill.stop.set()
    await asyncio.gather(*mill.running)
    mill.stop = asyncio.Event()
    mill.running.clear()
    await mill.start()
    told = await mill.done("run-2")
    assert told.failures() == {"a": "layout"}
    (row,) = await mill.sql("SELECT status, state FROM scraper.pages WHERE run = 'run-2' AND kind = 'target' LIMIT 1")
    assert tuple(row) == (304, "incomplete")


async def test_an_address_that_leads_to_another_page_we_follow_is_its_duplicate(mill: Any) -> None:
    await open_portal(mill, "a", "b")
    mill.site.statuses[mill.portal.path("b")] = [301]
    mill.site.headers["Location"] = mill.portal.path("a")
    told = await mill.done()
    assert told.kinds == {"stored": 1, "unchanged": 1}
    (duplicate,) = told.of("document.unchanged")
    assert (duplicate["name"], duplicate["duplicateOf"].split("~")[0]) == ("b", "a")
    assert (await mill.done("run-2")).plan["skipped"] == {"duplicate": 1, "fresh": 1}


async def test_a_passing_failure_is_tried_again_and_told_to_nobody(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", "a", "b")
    mill.site.statuses[mill.portal.path("a")] = [503]
    mill.source()
    await mill.start()
    told = await mill.done()
    assert told.kinds == {"stored": 2}
    (stored,) = [event for event in told.of("document.stored") if event["name"] == "a"]
    assert stored["requests"] == 2
    rows = await mill.sql("SELECT status, state FROM scraper.pages WHERE item LIKE 'a~%' ORDER BY id")
    assert [tuple(row) for row in rows] == [(503, "error"), (200, "ok")]


async def test_a_page_that_is_too_large_has_failed(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", "a")
    mill.site.put(mill.portal.path("a"), b"<h1>" + b"x" * 20_000)
    mill.source(max_size="10KB")
    await mill.start()
    assert (await mill.done()).failures() == {"a": "too_large"}


async def test_a_stop_ends_what_is_under_way_and_it_goes_on_after_it(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", *"abcdefgh")
    mill.source(politeness="rate: 4/s")
    await mill.start()
    await mill.run(deadline=datetime.now(UTC) + timedelta(seconds=12))

    async def begun() -> bool:
        return any(path.startswith("/homes") for path in mill.site.counts())

    await mill.until(begun)
    await mill.control("stop.source.homes")
    await asyncio.sleep(1.2)
    asked = len(mill.site.asked)
    await asyncio.sleep(8)
    assert len(mill.site.asked) == asked
    await mill.control("stop.source.homes", None)
    told = await mill.end()
    assert told.kinds == {"stored": 8}
    # What was under way when the stop came is asked for again.
    assert sum(mill.site.counts().values()) <= 2 + 8 + 1


async def test_a_cancelled_run_asks_no_more(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", *"abcdefgh")
    mill.source(politeness="rate: 2/s")
    await mill.start()
    await mill.run()

    async def begun() -> bool:
        return any(path.startswith("/homes") for path in mill.site.counts())

    await mill.until(begun)
    await mill.control("cancel.run.run-1")

    async def ended() -> bool:
        (row,) = await mill.sql("SELECT outcome FROM scraper.runs")
        return row.outcome == "cancelled"

    await mill.until(ended)
    await asyncio.sleep(1)
    asked = len(mill.site.asked)
    await asyncio.sleep(1.5)
    assert len(mill.site.asked) == asked
    assert await mill.sql("SELECT DISTINCT state FROM scraper.jobs") == [("done",)]


async def test_what_a_spent_budget_keeps_from_a_run_is_told_before_it_times_out(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", *"abcd")
    # robots.txt, the search page, and two of four.
    mill.source(politeness="rate: 100/s, daily_budget: 4")
    await mill.start()
    told = await mill.done(deadline=datetime.now(UTC) + timedelta(seconds=15))
    assert told.kinds == {"stored": 2, "failed": 2}
    assert set(told.failures().values()) == {"budget_spent"}
    (held,) = told.of("run.held")
    assert (held["reason"], held["host"]) == ("budget_spent", mill.site.host)
    assert len(mill.site.asked) == 4
    assert told.plan["total"] == 4


async def test_where_robots_txt_cannot_be_read_nothing_is_asked(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", "a")
    mill.site.statuses["/robots.txt"] = [503] * 9
    mill.source()
    await mill.start()
    told = await mill.done(deadline=datetime.now(UTC) + timedelta(seconds=8))
    assert told.failures() == {"search": "robots_unreachable"}
    assert mill.site.counts() == {}
