"""`tidemill governance report`, held against the log of a site."""

import asyncio
import csv
import io
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tidemill.cli.main import app
from tidemill.common.config.politeness import Politeness
from tidemill.common.database import open_engine
from tidemill.common.http import Entry, FetchFailure
from tidemill.common.http.ledger import RequestLedger
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.common.testing.hostile import polite_client
from tidemill.common.testing.site import Site, open_site
from tidemill.downloader.tables import metadata, requests

pytestmark = pytest.mark.servers

DOWNLOADER = SimpleNamespace(name="downloader", metadata=metadata, migrations="tidemill.downloader.migrations")
SOURCE = """
source: paper
download: {url: "http://127.0.0.1:1/a.pdf"}
politeness: {rate: 30/m, daily_budget: 20}
licence: {name: ODbL 1.0, url: "https://example.org/terms", attribution: "© the paper"}
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "paper.yaml").write_text(SOURCE)
    return tmp_path


async def ask_for_everything(ledger: RequestLedger, site: Site) -> None:
    """New, unchanged, missing, forbidden, and a host that wants to be left alone for a second."""
    site.put("/robots.txt", b"User-agent: *\nDisallow: /private/\n")
    for name in ("/a", "/b", "/private/c"):
        site.put(name, name.encode() * 100)
    site.statuses["/busy"] = [503]
    site.headers["Retry-After"] = "1"
    politeness = Politeness(rate="100/s", allow_private=(site.host,))
    entries: list[Entry] = []
    async with polite_client(entries) as client:
        for path in ("/a", "/b", "/a", "/missing", "/private/c", "/busy"):
            known = {"If-None-Match": site.files["/a"].etag or ""} if path == "/a" and site.counts()["/a"] else {}
            size = len(site.files["/a"].content) if known else 0
            with suppress(FetchFailure):
                async with client.open(
                    site.url(path), source="paper", politeness=politeness, headers=known, known_bytes=size
                ) as answer:
                    await answer.read()
    for entry in entries:
        ledger.note(entry)


@pytest.fixture
async def site(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asked, and its ledger written."""
    url = new_database(DOWNLOADER)
    engine = open_engine(url)
    async with open_site() as site:
        ledger = RequestLedger(engine, requests)
        await ask_for_everything(ledger, site)
        await ledger.write()
        await engine.dispose()
        monkeypatch.setenv("DATABASE_URL", url)
        yield site


async def report(*words: str) -> Result:
    result = await asyncio.to_thread(CliRunner().invoke, app, ["governance", "report", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


async def test_the_report_equals_the_access_log_of_the_site(site: Site) -> None:
    (row,) = json.loads((await report("-o", "json")).output)
    assert (row["source"], row["host"]) == ("paper", site.host)
    assert row["requests"] == len(site.asked)
    assert row["bytes"] == sum(asked.sent for asked in site.asked)
    assert row["not_modified"] == sum(asked.status == 304 for asked in site.asked) == 1
    assert row["bytes_saved"] == len(site.files["/a"].content)
    assert row["robots_denials"] == 1
    assert not any(asked.path.startswith("/private/") for asked in site.asked)
    assert row["retry_after_obeyed"] == 1
    assert row["budget_used"] == len(site.asked) / 20
    assert (row["rate"], row["licence"], row["attribution"]) == ("30/m", "ODbL 1.0", "© the paper")


async def test_people_see_totals_and_terms(site: Site) -> None:
    shown = (await report()).output
    assert f"{len(site.asked)} requests, " in shown
    assert "paper: ODbL 1.0, https://example.org/terms, © the paper" in shown
    assert f"{100 * len(site.asked) / 20:.3g} % of 20" in shown


async def test_a_table_for_other_programs(site: Site) -> None:
    (row,) = csv.DictReader(io.StringIO((await report("-o", "csv")).stdout))
    assert (row["requests"], row["attribution"]) == (str(len(site.asked)), "© the paper")


async def test_days_and_sources_may_be_chosen(site: Site) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    assert (await report("--since", tomorrow, "-o", "json")).output == "[]\n"
    assert "nothing was asked of anybody" in (await report("--until", "2020-01-01")).output
    other = await report("--source", "other")
    assert "there is no source file other.yaml" in other.stderr
    assert (await report("--since", "yesterday")).exit_code == 2


async def test_what_is_wrong_with_the_sources_does_not_hide_the_ledger(site: Site, project: Path) -> None:
    (project / "sources" / "paper.yaml").write_text("source: paper\nwach: {}\n")
    result = await report("-o", "json")
    assert "unknown key" in result.stderr
    (row,) = json.loads(result.stdout)
    assert (row["requests"], row["rate"]) == (len(site.asked), None)
