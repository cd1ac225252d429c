"""The source file for Oikotie, tried on a replica of its API and pages: it gives what the replica itself says."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemill.common.config import SourceFile, load_sources
from tidemill.extract import (
    Coordinates,
    Link,
    Money,
    Page,
    Record,
    SearchRules,
    Stop,
    advance,
    begin,
    extract,
    find_text,
    judge,
    starts,
)

ROOT = Path(__file__).parents[2]
REPLICA = ROOT / "examples" / "oikotie-replica" / "serve.py"
REAL = "https://asunnot.oikotie.fi"


class Replica:
    def __init__(self, url: str) -> None:
        self.url = url
        self.tokens: dict[str, str] = {}
        self.renewed = 0

    def get(self, path: str) -> tuple[int, Page]:
        url = path if path.startswith("http") else self.url + path
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=self.tokens)) as answer:
                body, status, headers = answer.read(), answer.status, answer.headers
        except urllib.error.HTTPError as refused:
            body, status, headers = refused.read(), refused.code, refused.headers
        return status, Page.of_bytes(body, url=url, status=status, headers=dict(headers.items()))

    def get_with_tokens(self, url: str, source: SourceFile) -> Page:
        """As the scraper does: tokens are read once, and again when they hold no more."""
        assert source.scrape and source.scrape.session
        session = source.scrape.session
        status, page = self.get(url)
        if status in session.renew_on:
            _, shell = self.get(session.url)
            values = {name: find_text(rule, shell) for name, rule in session.values.items()}
            assert all(values.values())
            self.tokens = {name: text.format(**values) for name, text in session.headers.items()}
            self.renewed += 1
            _, page = self.get(url)
        return page

    def post(self, path: str) -> None:
        urllib.request.urlopen(urllib.request.Request(self.url + path, method="POST")).close()

    def truth(self) -> dict[str, dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/_/truth") as answer:
            return dict(json.load(answer))


@pytest.fixture
def replica() -> Iterator[Replica]:
    command = [sys.executable, str(REPLICA), "--port", "0", "--uses", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Replica(process.stdout.readline().split("/myytavat")[0])
        process.terminate()


@pytest.fixture
def source(replica: Replica, tmp_path: Path) -> SourceFile:
    """The shipped file, for the replica's address and homes to let, too."""
    text = (ROOT / "sources" / "oikotie.yaml").read_text(encoding="utf-8").replace(REAL, replica.url)
    assert 'kind: {sale: "100"}' in text
    (tmp_path / "oikotie.yaml").write_text(text.replace('{sale: "100"}', '{sale: "100", rent: "101"}'), "utf-8")
    return load_sources(tmp_path)["oikotie"]


def searched(replica: Replica, source: SourceFile) -> dict[str, tuple[Link, dict[str, str]]]:
    """All entries of all searches, with what each was searched for."""
    assert source.scrape
    search: SearchRules = source.scrape.search
    entries: dict[str, tuple[Link, dict[str, str]]] = {}
    for start in starts(search):
        position = begin(search, start)
        while True:
            step = advance(search, position, replica.get_with_tokens(position.url, source))
            assert step.problems == ()
            entries |= {link.key: (link, dict(start.values)) for link in step.links}
            position = step.position
            if step.stop:
                break
        assert step.complete
    return entries


def read(replica: Replica, source: SourceFile, link: Link) -> tuple[Page, Record]:
    assert source.extract
    _, page = replica.get(link.url)
    page = Page.of_bytes(page.source.encode(), url=page.url, status=page.status, context=link.carried)
    return page, extract(page, source.extract)


def facts(record: Record) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in record.values.items():
        match value:
            case Money():
                told |= {name: float(value.amount), "currency": value.currency}
            case Coordinates():
                told |= {"latitude": value.lat, "longitude": value.lon}
            case Decimal():
                told[name] = float(value)
            case _:
                told[name] = value if isinstance(value, (str, int)) else str(value)
    return told


def test_every_field_of_every_home_is_the_replicas_own_truth(replica: Replica, source: SourceFile) -> None:
    assert source.extract
    truth, entries = replica.truth(), searched(replica, source)
    assert entries.keys() == truth.keys()
    assert replica.renewed > 1
    for key, (link, searched_for) in entries.items():
        expected = {name: value for name, value in truth[key].items() if value is not None}
        expected["description"] = expected["description"].replace("\n", " ")
        page, record = read(replica, source, link)
        assert judge(page, source.extract, record).ok
        assert facts(record) == expected
        assert not record.problems
        assert searched_for == {"kind": expected["price_kind"], "city": expected["city"]}


def test_a_changed_price_changes_the_hint_and_nothing_else_does(replica: Replica, source: SourceFile) -> None:
    before, old = searched(replica, source), replica.truth()
    replica.post("/_/day/4")
    after, new = searched(replica, source), replica.truth()
    changed = {key for key in old.keys() & new.keys() if old[key] != new[key]}
    assert changed
    assert {key for key in before.keys() & after.keys() if before[key][0].hint != after[key][0].hint} == changed


def test_pages_of_homes_that_left_are_gone_whatever_else_they_say(replica: Replica, source: SourceFile) -> None:
    assert source.extract
    before = searched(replica, source)
    replica.post("/_/day/20")
    left = before.keys() - searched(replica, source).keys()
    ways = set()
    for key in left:
        page, record = read(replica, source, before[key][0])
        assert page.status == 200
        assert judge(page, source.extract, record).state == "gone"
        ways.add("Kohde on poistunut" in page.text)
    assert ways == {True, False}


def test_tokens_that_hold_no_more_are_read_again_once(replica: Replica, source: SourceFile) -> None:
    assert source.scrape
    (first, *_) = starts(source.scrape.search)
    url = begin(source.scrape.search, first).url
    assert replica.get(url)[0] == 403
    replica.get_with_tokens(url, source)
    replica.post("/_/expire")
    assert replica.get(url)[0] == 401
    assert len(advance(source.scrape.search, begin(source.scrape.search, first),
                       replica.get_with_tokens(url, source)).links) == 24  # fmt: skip
    assert replica.renewed == 2


def test_the_shell_that_a_plain_search_page_is_counts_as_no_answer(replica: Replica, source: SourceFile) -> None:
    assert source.scrape
    (first, *_) = starts(source.scrape.search)
    shell = replica.get("/myytavat-asunnot")[1]
    step = advance(source.scrape.search, begin(source.scrape.search, first), shell)
    assert (step.stop, step.complete) == (Stop.NO_ENTRIES, False)


def test_it_does_not_ask_the_real_site_by_itself() -> None:
    text = (ROOT / "sources" / "oikotie.yaml").read_text(encoding="utf-8")
    assert "schedule" not in yaml.safe_load(text)
    source = load_sources(ROOT / "sources")["oikotie"]
    assert source.schedules == ()
    assert (source.politeness.rate, source.politeness.concurrency) == ("1/s", 1)
    assert yaml.safe_load(text.replace("# schedule:", "schedule:"))["schedule"]["zone"] == "Europe/Helsinki"
