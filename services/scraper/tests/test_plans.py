"""What a plan waits for, and what it does not believe."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill.common.testing.site import Site, open_site

pytestmark = pytest.mark.servers


@pytest.fixture
async def elsewhere(mill: Any) -> AsyncIterator[Site]:
    """Another host, to which the entries of the portal lead, and which does not say what may be asked."""
    async with open_site() as site:
        site.statuses["/robots.txt"] = [503] * 20
        site.put("/homes/a", b"<h1>Home a</h1><p class=price>7 EUR</p>")
        entry = f'<article><a href="{site.url("/homes/a")}">a</a><b class=price>7</b></article>'
        mill.portal.cities = ("Espoo",)
        mill.site.put("/search/Espoo?page=1", f"<p class=found>1 homes</p>{entry}".encode())
        mill.allowed = (site.host,)
        mill.source()
        await mill.start()
        yield site


async def phase(mill: Any) -> str:
    rows = await mill.sql("SELECT phase FROM scraper.runs")
    return rows[0][0] if rows else ""


async def test_a_plan_waits_for_a_host_that_does_not_say_what_may_be_asked(mill: Any, elsewhere: Site) -> None:
    await mill.run()

    async def held() -> bool:
        return bool(await mill.told("run.held"))

    await mill.until(held)
    (event,) = await mill.told("run.held")
    assert (event["reason"], event["host"]) == ("robots_unreachable", elsewhere.host)
    await asyncio.sleep(1)
    assert await phase(mill) == "plan"
    assert elsewhere.counts() == {}


async def test_a_plan_does_not_wait_longer_than_its_run(mill: Any, elsewhere: Site) -> None:
    told = await mill.done(deadline=datetime.now(UTC) + timedelta(seconds=9))
    assert told.failures() == {"a": "robots_unreachable"}
    assert elsewhere.counts() == {}


async def test_a_search_that_lists_the_same_again_has_not_seen_all(mill: Any) -> None:
    mill.portal.cities = ("Espoo",)
    mill.portal.add("Espoo", *"abcdefghij")
    first = mill.site.files["/search/Espoo?page=1"].content
    head, *entries = first.split(b"<article>")
    last = entries.pop().partition(b"<a rel=next")[0]
    mill.site.put("/search/Espoo?page=2", b"<article>".join([head, last, *reversed(entries)]))
    mill.source()
    await mill.start()
    told = await mill.done()
    assert told.kinds == {"stored": 5, "failed": 1}
    assert told.failures() == {"search Espoo": "result_cap"}
    (failed,) = told.of("document.failed")
    assert failed["detail"] == "saw 5 of 10"
