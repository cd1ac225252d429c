"""Searches that go wrong, and runs that were asked for otherwise."""

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.servers


async def open_portal(mill: Any, **scrape: Any) -> None:
    mill.portal.add("Helsinki", *"abcdefg")
    mill.portal.add("Espoo", "x", "y")
    mill.source(**scrape)
    await mill.start()


async def test_a_run_that_finds_nothing_to_search_fails_with_the_reason(mill: Any) -> None:
    mill.source()
    await mill.start()
    told = await mill.done()
    assert told.failures() == {"search": "not_found"}
    assert (told.plan["items"], told.plan["total"]) == (["search"], 1)
    (failed,) = told.of("document.failed")
    assert failed["url"] == mill.site.url("/search/Helsinki?page=1")
    mill.portal.add("Espoo", "x")
    told = await mill.done("run-2", trigger="retry", only_items=("search",))
    assert told.kinds == {"stored": 1}


async def test_one_search_that_fails_leaves_the_others_and_nothing_is_gone(mill: Any) -> None:
    await open_portal(mill)
    await mill.done()
    mill.portal.remove("a", "x")
    del mill.site.files["/search/Espoo?page=1"]
    mill.portal.homes["z"] = mill.portal.homes["b"].__class__("z", 5, "Helsinki")
    mill.portal.publish()
    del mill.site.files["/search/Espoo?page=1"]
    told = await mill.done("run-2")
    assert told.failures() == {"search Espoo": "not_found"}
    assert told.kinds == {"stored": 1, "failed": 1}
    assert told.plan["total"] == 2
    (item,) = [event["item"] for event in told.of("document.failed")]
    mill.portal.publish()
    told = await mill.done("run-3", trigger="retry", only_items=(item,))
    assert await mill.decisions("run-3") == {"fresh": 1, "left_out": 9}
    assert told.kinds == {}
    told = await mill.done("run-4")
    assert told.names("gone") == ["a", "x"]


async def test_a_portal_that_shows_less_than_it_counts_is_a_problem_of_the_run(mill: Any) -> None:
    await open_portal(mill)
    await mill.done()
    mill.portal.remove("b")
    page = mill.site.files["/search/Espoo?page=1"].content.replace(b"2 homes", b"99 homes")
    mill.site.put("/search/Espoo?page=1", page)
    told = await mill.done("run-2")
    assert told.failures() == {"search Espoo": "result_cap"}
    assert told.kinds == {"failed": 1}
    (failed,) = told.of("document.failed")
    assert failed["detail"] == "saw 2 of 99"


async def test_a_mood_of_a_search_page_passes(mill: Any) -> None:
    mill.portal.add("Helsinki", *"abcdefg")
    mill.site.statuses["/search/Helsinki?page=2"] = [503]
    mill.portal.add("Espoo", "x")
    wall = b"<!doctype html><title>Just a moment...</title><script src='/cdn-cgi/challenge-platform/h/b/x.js'></script>"
    espoo = mill.site.files["/search/Espoo?page=1"]
    mill.site.put("/search/Espoo?page=1", wall)
    mill.source()
    await mill.start()
    await mill.run()

    async def walled() -> bool:
        return bool(await mill.sql("SELECT 1 FROM scraper.pages WHERE state = 'blocked'"))

    await mill.until(walled)
    mill.site.files["/search/Espoo?page=1"] = espoo
    told = await mill.end()
    assert told.kinds == {"stored": 8}


async def test_an_empty_page_after_which_more_is_counted_is_asked_for_again(mill: Any) -> None:
    mill.portal.add("Helsinki", *"abcdefg")
    mill.portal.add("Espoo", "x")
    second = mill.site.files["/search/Helsinki?page=2"]
    mill.site.put("/search/Helsinki?page=2", b"<!doctype html><title>Helsinki</title><p>Nothing right now.</p>")
    mill.source()
    await mill.start()
    await mill.run()

    async def empty() -> bool:
        return bool(await mill.sql("SELECT 1 FROM scraper.pages WHERE detail = 'no entries after 5 of 7'"))

    await mill.until(empty)
    mill.site.files["/search/Helsinki?page=2"] = second
    told = await mill.end()
    assert told.kinds == {"stored": 8}


async def test_where_pages_are_counted_a_missing_one_is_the_end(mill: Any) -> None:
    mill.portal.add("Helsinki", *"abcde")
    mill.portal.add("Espoo", "x")
    mill.source(search={"found": None})
    await mill.start()
    told = await mill.done()
    assert told.kinds == {"stored": 6}
    assert {asked.path for asked in mill.site.asked if asked.status == 404} == {
        "/robots.txt",
        "/search/Helsinki?page=2",
        "/search/Espoo?page=2",
    }


@pytest.mark.parametrize(
    ("params", "stored"), [({"limit": "3"}, 3), ({"city": "Espoo"}, 2), ({"limit": "1", "city": "Helsinki"}, 1)]
)
async def test_runs_of_a_part(mill: Any, params: dict[str, str], stored: int) -> None:
    await open_portal(mill)
    told = await mill.done(params=params)
    assert told.kinds == {"stored": stored}
    if "city" in params:
        assert not any(path.startswith("/search") and params["city"] not in path for path in mill.site.counts())
    told = await mill.done("run-2")
    assert told.kinds == {"stored": 9 - stored}


async def test_a_parameter_that_means_nothing_fails_the_run(mill: Any) -> None:
    await open_portal(mill)
    await mill.run(params={"town": "Espoo"})

    async def failed() -> bool:
        return bool(await mill.told("document.failed"))

    await mill.until(failed)
    (event,) = await mill.told("document.failed")
    assert (event["item"], event["failure"]) == ("search", "params")
    assert "limit, full, city" in event["detail"]
    assert mill.site.asked == []


async def test_a_full_run_transfers_nothing_where_nothing_changed(mill: Any) -> None:
    await open_portal(mill)
    await mill.done()
    before = len(mill.site.asked)
    told = await mill.done("run-2", params={"full": "true"})
    assert told.kinds == {"unchanged": 9}
    assert {asked.status for asked in mill.site.asked[before:]} == {304}
    assert await mill.decisions("run-2") == {"stale": 9}
    assert all(event.get("bytesReceived", "0") == "0" for event in told.events)
    await mill.noted("sum(bytes_saved) > 1000")


async def test_new_rules_alone_change_no_page(mill: Any) -> None:
    stop = asyncio.Event()
    mill.portal.add("Helsinki", "a", "b")
    mill.portal.add("Espoo", "x")
    mill.source()
    await mill.start(stop=stop)
    await mill.done()
    stop.set()
    await mill.running[0]
    for file in mill.site.files.values():
        file.etag = ""
    mill.portal.more_fields = {"heading": {"from": {"css": "title"}}}
    mill.portal.change("b", price=7)
    mill.source()
    await mill.start()
    told = await mill.done("run-2", params={"full": "true"})
    assert told.names("unchanged") == ["a", "x"]
    assert told.names("stored") == ["b"]


async def test_a_source_that_scrapes_no_more_ends_its_run(mill: Any) -> None:
    mill.source()
    await mill.start()
    await mill.sql(
        "INSERT INTO scraper.runs (run, source, trigger, phase, partial, priority, requested_at)"
        " VALUES ('run-1', 'other', 'manual', 'search', false, 0, now())"
    )
    told = await mill.end()
    assert told.failures() == {"search": "config"}
