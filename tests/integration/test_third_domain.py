"""A third domain runs through all services unchanged: a package outside of the workspace, found by its entry points."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.integration.test_docs import install
from tests.integration.test_strangers import asked, run_to_its_end
from tests.system import System, running
from tidemill.common.testing.site import Site, site_in_a_thread

pytestmark = [pytest.mark.servers, pytest.mark.slow]

PACKAGE = Path(__file__).parent / "third_domain"
REPLICAS = ("scheduler", "scraper", "downloader", "watcher", "converter", "reporter")


def table(*lines: str) -> bytes:
    return ("<!doctype html><html><body><pre>" + "\n".join(lines) + "</pre></body></html>").encode()


def sources_of(site: Site) -> list[dict[str, Any]]:
    polite = {"rate": "50/s", "allow_private": [site.host]}
    convert = {"with": "tide-table"}
    return [
        {
            "source": "tide-pages",
            "scrape": {
                "search": {"url": site.url("/stations"), "link": {"css": "a", "attribute": "href"}},
                "gone": {"after": 1, "probe": True},
            },
            "extract": {"fields": {"level": {"from": {"python": "newest_level"}, "required": True}}},
            "politeness": polite,
            "convert": convert,
        },
        {
            "source": "tide-file",
            "download": {"url": site.url("/levels.txt"), "expect": "any"},
            "politeness": polite,
            "convert": convert,
        },
        {"source": "tide-folder", "watch": {"folder": "inbox", "stable_for": "100ms"}, "convert": convert},
    ]


@dataclass(frozen=True)
class Tides:
    system: System
    site: Site
    pages: dict[str, Any]
    """The first run of each source that has runs."""
    file: dict[str, Any]


@pytest.fixture(scope="module")
def tides() -> Iterator[Tides]:
    """All of it is in: tests of this module may run apart, on other workers."""
    with TemporaryDirectory() as folder, site_in_a_thread() as site:
        installed = Path(folder)
        install(PACKAGE, installed)
        path = os.pathsep.join((folder, str(PACKAGE / "src")))
        site.put("/stations", b'<a href="/station/ESB">Esbjerg</a><a href="/station/RIB">Ribe</a>')
        site.put("/station/ESB", table("ESB;2026-07-21T05:00Z;112", "ESB;2026-07-21T06:00Z;118"))
        site.put("/station/RIB", table("RIB;2026-07-21T06:00Z;95", "RIB;2026-07-21T07:00Z;-"))
        site.put("/levels.txt", b"HUS;2026-07-21T06:00Z;201\n")
        with running(REPLICAS, sources=sources_of(site), PYTHONPATH=path) as system:
            deadline = time.monotonic() + 60
            while "status" not in asked(system, "status", {}):
                assert time.monotonic() < deadline
                time.sleep(0.2)
            pages, file = run_to_its_end(system, "tide-pages"), run_to_its_end(system, "tide-file")
            (system.inbox / "cux.txt").write_bytes(b"CUX;2026-07-21T06:00Z;310\n")
            deadline = time.monotonic() + 30
            while len(levels(system)) < 5:
                assert time.monotonic() < deadline, (pages, file, levels(system))
                time.sleep(0.2)
            yield Tides(system, site, pages, file)


def levels(system: System) -> dict[str, int]:
    """By key, as the typed view shows what holds now."""
    return dict(system.query("SELECT key, level_cm FROM tides.reading"))  # type: ignore[arg-type]


def test_pages_files_and_folders_end_in_one_dataset(tides: Tides) -> None:
    system, pages, file = tides.system, tides.pages, tides.file
    assert (pages["state"], pages["new"], file["state"], file["new"]) == ("complete", 2, "complete", 1), (pages, file)
    assert levels(system) == {
        "ESB/2026-07-21T05:00Z": 112,
        "ESB/2026-07-21T06:00Z": 118,
        "RIB/2026-07-21T06:00Z": 95,
        "HUS/2026-07-21T06:00Z": 201,
        "CUX/2026-07-21T06:00Z": 310,
    }
    assert system.query("SELECT reason, raw FROM converter.rejected") == [("no_level", "RIB;2026-07-21T07:00Z;-")]


def test_what_the_domain_wants_reported_stands_in_the_report(tides: Tides) -> None:
    system = tides.system
    day = datetime.now(UTC).date().isoformat()
    answer = asked(system, "build", {"about": day}, service="reporter")
    assert answer.get("kind") == "day", answer
    deadline = time.monotonic() + 60
    while not (rows := system.query("SELECT content FROM reporter.reports WHERE subject = :day", day=day)):
        assert time.monotonic() < deadline, system.query("SELECT * FROM reporter.due")
        time.sleep(0.2)
    tables = {table["title"]: table for table in json.loads(rows[0][0])["breakdowns"]}  # type: ignore[arg-type]
    by_station = tables["Water levels by station"]
    columns = [column["name"] for column in by_station["columns"]]
    told = {row[0]: dict(zip(columns, row, strict=True)) for row in by_station["rows"]}
    assert {station: row["records"] for station, row in told.items()} == {"ESB": 2, "RIB": 1, "HUS": 1, "CUX": 1}
    assert told["ESB"]["level"] == 115 and told["CUX"]["level"] == 310


def test_a_page_that_leaves_takes_its_records_with_it(tides: Tides) -> None:
    system, site = tides.system, tides.site
    site.put("/stations", b'<a href="/station/ESB">Esbjerg</a>')
    del site.files["/station/RIB"]
    run = run_to_its_end(system, "tide-pages")
    assert (run["state"], run["gone"], run["failed"]) == ("complete", 1, 0)
    deadline = time.monotonic() + 30
    while any(key.startswith("RIB") for key in levels(system)):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (gone,) = system.query("SELECT bool_or(gone) FROM tides.reading_history WHERE key LIKE 'RIB%'")
    assert gone[0] is True
