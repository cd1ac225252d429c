"""Rules that ship, fired by scheduler, downloader and converter at work on sites and files that are no use."""

import json
from collections.abc import AsyncIterator
from io import BytesIO

import nats
import pytest
import pytest_asyncio
from reportlab.pdfgen.canvas import Canvas

from tidemill.common.testing.fixtures import Databases
from tidemill.common.testing.site import Site, open_site

from .works import Works, open_works

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.unmeasured,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SETTINGS = """
converter: {workers: 1}
channels: {chat: {slack: {url: "http://127.0.0.1:1/${env:HOME}"}}}
alerter:
  routes: [{to: [chat]}]
  rules: {host_blocked: {above: 0}}
"""
JSON = {"with": "json", "options": {"key": "id"}}
PDF = {"with": "szerencsemix"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def works(migrated_databases: Databases) -> AsyncIterator[Works]:
    async with open_works(migrated_databases, SETTINGS) as works, open_site() as ruin:
        site = works.site
        publish(site, "issues", missing=4)
        publish(site, "ruins", missing=12)
        for name, content in {"letter": letter(), "broken": b"%PDF-1.7\n" + b"rubbish " * 1000}.items():
            site.put(f"/{name}.pdf", content)
            works.source(name, download={"url": site.url(f"/{name}.pdf")}, convert=PDF)
        site.put("/prices.json", json.dumps([{"id": n, "price": 5 * (n > 100)} for n in range(150)]).encode())
        cheap = {"check": "range", "name": "cheap", "field": "price", "least": 1, "severity": "block"}
        many = {"check": "count", "name": "many", "least": 100}
        works.source("prices", download=at(site, "prices"), convert=JSON, checks=[cheap, many])
        works.source("rationed", download=at(site, "prices"), politeness={"daily_budget": 1}, run={"overlap": "allow"})
        works.source(
            "weekly", download={**at(site, "weekly"), "window": {"from": "00:00", "until": "00:01"}}, convert=JSON
        )
        ruin.statuses["/down.json"] = [503] * 50
        works.source("down", site=ruin, download=at(ruin, "down"), run={"overlap": "allow"})
        for name in ("issues", "ruins"):
            index = {"url": site.url(f"/{name}/"), "links": "*.json", "newest": False}
            works.source(name, download={"index": index}, convert=JSON)
        await works.start("scheduler", "downloader", "converter")
        yield works


def publish(site: Site, name: str, *, missing: int) -> None:
    """Twelve files, of which some are not there."""
    names = [f"{number:02}.json" for number in range(1, 13)]
    site.put(f"/{name}/", "".join(f'<a href="{each}">{each}</a>' for each in names).encode())
    for each in names[missing:]:
        site.put(f"/{name}/{each}", b'[{"id": 1}]')


def at(site: Site, name: str) -> dict[str, str]:
    return {"url": site.url(f"/{name}.json"), "expect": "json"}


def letter() -> bytes:
    page = BytesIO()
    canvas = Canvas(page)
    for line in range(40):
        canvas.drawString(72, 800 - 15 * line, f"Line {line} of a letter that is no betting offer at all")
    canvas.save()
    return page.getvalue()


async def test_a_run_that_does_not_get_everything_is_told_with_the_share_that_failed(works: Works) -> None:
    await works.run("issues")
    assert "is partial" in await works.fires("run_partial", source="issues")
    assert await works.fires("error_rate", source="issues") == "issues: 0.333 of the items of the last day failed"
    publish(works.site, "issues", missing=0)
    await works.run("issues")
    await works.is_over("run_partial", source="issues")


async def test_a_run_that_gets_nothing_is_told_and_hides_the_files_it_did_not_get(works: Works) -> None:
    await works.run("ruins")
    assert "12 of 12 items failed" in await works.fires("run_failed", source="ruins")
    assert "12 documents could not be had" in await works.fires("documents_failing", source="ruins")
    ((hidden,),) = await works.station.sql("SELECT hidden FROM alerter.alerts WHERE rule = 'documents_failing'")
    assert hidden.startswith("inhibited by run_failed-")


async def test_a_host_that_answers_with_errors_is_no_longer_asked(works: Works) -> None:
    for _ in range(6):
        await works.until_asked("scheduler", "run", source="down")
    assert "is not asked since" in await works.fires("host_blocked", source="down", reason="breaker_open")


async def test_a_budget_that_is_spent_is_told(works: Works) -> None:
    for _ in range(3):
        await works.until_asked("scheduler", "run", source="rationed")
    assert await works.fires("budget_spent", source="rationed")


@pytest.mark.parametrize(("source", "rule"), [("letter", "layout_unrecognised"), ("broken", "conversion_broken")])
async def test_what_comes_and_cannot_be_used_is_told(works: Works, source: str, rule: str) -> None:
    await works.run(source)
    assert f"{source}: 1 documents" in await works.fires(rule, source=source)


async def test_records_that_checks_hold_are_told_when_they_are_many(works: Works) -> None:
    await works.run("prices")
    assert await works.fires("quarantine_full", source="prices") == "prices: 101 records wait in quarantine"
    assert await works.fires("check_failed", source="prices", check="many") == "prices does not pass its check many"


async def test_a_file_that_does_not_come_in_its_window_is_told(works: Works) -> None:
    assert await works.fires("publication_late") == "weekly: the new file is late"
    works.site.put("/weekly.json", b'[{"id": 1}]')
    await works.run("weekly")
    await works.is_over("publication_late")


async def test_a_message_that_nobody_understands_is_a_dead_letter_and_told(works: Works) -> None:
    client = await nats.connect(works.addresses.nats_url)
    await client.jetstream().publish("tidemill.job.download.prices", b"{this is no JSON")
    await client.close()
    assert "gave up 1 events" in await works.fires("dead_letters")
