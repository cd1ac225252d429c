"""Rules that ship, fired by scheduler, scraper, converter and reporter at work on a portal that changes its pages."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from tidemill.common.testing.fixtures import Databases
from tidemill.common.testing.receivers import open_mailbox
from tidemill.common.testing.site import Site

from .works import Works, open_works

pytestmark = [
    pytest.mark.servers,
    pytest.mark.slow,
    pytest.mark.unmeasured,
    pytest.mark.timeout(240),
    pytest.mark.asyncio(loop_scope="module"),
]

SETTINGS = """
converter: {{workers: 1}}
channels:
  office:
    mail: {{host: localhost, port: {port}, security: none, from: tidemill@example.org, to: [anna@example.org]}}
    give_up_after: 1s
reporter: {{send: [{{report: run, to: [office]}}]}}
alerter: {{routes: [{{to: [office], match: [severity=critical]}}]}}
"""
HOMES = 24
EXTRACT = {
    "fields": {
        "portal_id": {"from": {"css": "article", "attribute": "data-id"}, "required": True},
        "title": {"from": {"css": "h1"}, "required": True},
        "price": {"from": {"css": ".price"}, "type": "money"},
        "size_m2": {"from": {"css": ".size"}, "type": "area"},
        "rooms": {"from": {"css": ".rooms"}, "type": "integer"},
        "city": {"from": {"css": ".city"}},
    }
}
SEEDED = """
INSERT INTO reporter.measures (kind, subject, source, name, labels, value, day, clock, scheduled)
SELECT kind, subject || '/' || ago, source, name, labels, value, day - ago, clock, scheduled
FROM reporter.measures CROSS JOIN generate_series(1, 56) AS ago WHERE kind = 'run' AND source = 'homes'
"""
"""Eight weeks of days like this one, as the reporter wrote it itself."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def works(migrated_databases: Databases) -> AsyncIterator[Works]:
    async with open_mailbox() as box, open_works(migrated_databases, SETTINGS.format(port=box.port)) as works:
        box.answers = ["550 5.1.1 there is no Anna here"] * 100
        publish(works.site, HOMES, "<b class=price>250 000 €</b><i class=size>70 m²</i><i class=rooms>3</i>")
        works.site.files.pop("/homes/0")
        write(works)
        await works.start("scheduler", "scraper", "converter", "reporter")
        await let_run(works)
        yield works


def write(works: Works, **says: Any) -> None:
    """The source file."""
    search = {
        "url": works.site.url("/homes?page={page}"),
        "items": {"css": "article"},
        "link": {"css": "a", "attribute": "href"},
        "hint": [{"css": "time"}],
        "paging": {"first": 1},
    }
    convert = {"with": "listings", "options": {"portal": "test", "country": "FI", "price_kind": "sale"}}
    scrape = {"search": search, "retry": {"give_up_after": 1}}
    works.source("homes", scrape=scrape, extract=EXTRACT, convert=convert, **says)


async def let_run(works: Works) -> None:
    """Have the schedule ask for a run in a moment. One that is past when the scheduler hears of it is never due."""
    known = """
        SELECT 1 FROM scheduler.schedules WHERE next_slot = :moment AND ended_at IS NULL
        UNION ALL SELECT 1 FROM scheduler.slots WHERE slot = :moment
    """
    for seconds in (3, 10, 30):
        moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
        write(works, schedule={"at": f"{moment:%Y-%m-%dT%H:%M:%S}"})
        await works.apply()
        if await works.station.sql(known, moment=moment):
            return
    raise AssertionError("every moment had passed")


def publish(site: Site, homes: int, facts: str) -> None:
    """The portal, as it shows itself from now on."""
    changed = f"<time>{len(site.asked)}</time>"
    entries = "".join(f'<article><a href="/homes/{n}">Home {n}</a>{changed}</article>' for n in range(homes))
    site.put("/homes?page=1", f"<!doctype html><title>Homes</title>{entries}".encode())
    for n in range(homes):
        page = f"<article data-id={n}><h1>Home {n}</h1>{facts}<p class=city>Espoo</p></article>"
        site.put(f"/homes/{n}", f"<!doctype html><title>Home {n}</title>{page}".encode())


MEASURED = "SELECT 1 FROM reporter.measures WHERE kind = 'run' AND name = 'items'"


async def test_pages_that_are_given_up_are_told(works: Works) -> None:
    assert await works.fires("target_given_up", source="homes") == "homes: 1 pages were given up"


async def test_what_a_portal_changes_is_told(works: Works) -> None:
    await works.until(lambda: works.station.sql(MEASURED))
    await works.station.sql(SEEDED)
    await works.station.look()
    assert not {"anomaly", "quality_drop"} & (await works.station.states()).keys()
    publish(works.site, 4, "")  # Prices, sizes and rooms are no longer where they were, and most homes are not listed.
    await let_run(works)
    assert await works.fires("anomaly", source="homes", measure="items") == "homes: items is unusual"
    for measure in ("quality", "priced"):
        said = await works.fires("quality_drop", source="homes", measure=f"listings.listing.{measure}")
        assert said == f"homes: listings.listing.{measure} has dropped"


async def test_a_report_that_nobody_takes_is_told(works: Works) -> None:
    assert await works.fires("report_not_delivered", channel="office") == "channel office gave up 1 reports"
