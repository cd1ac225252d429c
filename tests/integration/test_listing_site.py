"""The demo's property portal: its rules give what the site itself says, day after day; it misbehaves as promised."""

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import yaml

from tidemill.common.config import load_sources
from tidemill.extract import (
    Coordinates,
    Money,
    Page,
    PageRules,
    Record,
    SearchRules,
    UrlRules,
    advance,
    begin,
    canonical,
    extract,
    judge,
    starts,
)
from tidemill.listings.address import listing_fields, parse_address
from tidemill.listings.converter import ListingsConverter
from tidemill.plugin import Document
from tidemill.plugin import Record as Converted

SITE = Path(__file__).parents[2] / "examples" / "listing-site"
CHROMIUM = shutil.which("chromium")
NOW = datetime(2026, 3, 4, tzinfo=UTC)
PARTS = ("street", "number", "stair", "flat")
OF_SOURCE = {"listings-demo": ("helsinki", "vaduz", "bindlach"), "listings-demo-api": ("schaan",)}


class Served:
    """The site as a child process, at day 0 of its seed."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        command = [sys.executable, str(SITE / "serve.py"), "--port", "0", "--folder", str(folder), *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split(" ")[0].rstrip("/")
        self.folder = folder

    def get(self, path: str, **headers: str) -> tuple[int, Message, bytes]:
        url = path if path.startswith("http") else self.url + path
        ask = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
        try:
            with urllib.request.urlopen(ask, timeout=20) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read()

    def attempt(self, path: str) -> str:
        """What came, of a site that may misbehave; a time to wait is told as the log has it."""
        asked = time.time()
        try:
            _, headers, body = self.get(path)
        except (OSError, HTTPException):
            return ""
        if told := headers.get("Retry-After"):
            wait = float(told) if told.isdigit() else parsedate_to_datetime(told).timestamp() - asked
            assert 1.5 < wait < 3.5
        return body.decode()

    def post(self, path: str, **wanted: Any) -> dict[str, Any]:
        ask = urllib.request.Request(self.url + path, data=json.dumps(wanted).encode())
        with urllib.request.urlopen(ask) as answer:
            return dict(json.load(answer))

    def truth(self, query: str = "") -> dict[str, Any]:
        return dict(json.loads(self.get(f"/_/truth{query}")[2])["cities"])

    def page(self, path: str) -> Page:
        status, headers, body = self.get(path)
        url = path if path.startswith("http") else self.url + path
        return Page.of_bytes(body, url=url, status=status, headers=dict(headers.items()))

    def log(self) -> list[dict[str, Any]]:
        """In the order in which requests came; a line is written when its answer is sent."""
        entries = [json.loads(line) for line in (self.folder / "access.jsonl").read_text().splitlines()]
        return sorted(entries, key=lambda entry: entry["t"])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "site")
    yield served
    served.process.terminate()
    served.process.wait(10)


class Rules:
    """Of a source file of the demo, for a site on this port."""

    def __init__(self, source: str, url: str) -> None:
        text = (SITE / f"{source}.yaml").read_text(encoding="utf-8")
        written = yaml.safe_load(text.replace("http://127.0.0.1:8766", url))
        self.search = SearchRules.model_validate_json(json.dumps(written["scrape"]["search"]), strict=True)
        self.urls = UrlRules.model_validate_json(json.dumps(written["scrape"].get("urls", {})), strict=True)
        self.page = PageRules.model_validate_json(json.dumps(written["extract"]), strict=True)


def found(site: Served, rules: Rules) -> dict[str, dict[str, tuple[str, str]]]:
    """By city: key to address and hint of each entry, those in `/private/` aside; every search is complete."""
    cities: dict[str, dict[str, tuple[str, str]]] = {}
    for start in starts(rules.search):
        position = begin(rules.search, start)
        entries: dict[str, tuple[str, str]] = {}
        while True:
            step = advance(rules.search, position, site.page(position.url))
            assert not step.problems
            entries |= {link.key: (link.url, link.hint) for link in step.links if "/private/" not in link.url}
            position = step.position
            if step.stop:
                break
        assert step.complete
        cities[dict(start.values)["city"].lower()] = entries
    return cities


def facts(record: Record) -> dict[str, Any]:
    """The record as the site tells its truth."""
    told: dict[str, Any] = {}
    for name, value in record.values.items():
        match value:
            case Money():
                told[name] = float(value.amount)
                told.setdefault("currency", value.currency)
            case Coordinates():
                told |= {"latitude": value.lat, "longitude": value.lon}
            case Decimal():
                told[name] = float(value)
            case _:
                told[name] = value if isinstance(value, (str, int)) else str(value)
    told.pop("views", None)
    return told


def stated(listing: dict[str, Any]) -> dict[str, Any]:
    """By the fields of the rules, which leave the address as it is printed."""
    return {name: value for name, value in listing.items() if value is not None and name not in ("url", *PARTS)}


@pytest.mark.parametrize("source", OF_SOURCE)
def test_every_field_of_every_home_is_the_sites_own_truth_over_three_days(site: Served, source: str) -> None:
    rules = Rules(source, site.url)
    seen: dict[str, dict[str, tuple[str, str]]] = {name: {} for name in OF_SOURCE[source]}
    ever: dict[str, set[str]] = {name: set() for name in OF_SOURCE[source]}
    hashes: dict[str, dict[str, str]] = {name: {} for name in OF_SOURCE[source]}
    for day in range(3):
        assert site.post("/_/day", day=day)["day"] == day
        truth, now = site.truth(), found(site, rules)
        assert now.keys() == set(OF_SOURCE[source])
        for city, entries in now.items():
            expected, before = truth[city], seen[city]
            assert entries.keys() == expected["listings"].keys()
            assert sorted(entries.keys() - ever[city]) == expected["new"]
            assert sorted(before.keys() - entries.keys()) == expected["gone"]
            assert sorted(entries.keys() & ever[city] - before.keys()) == expected["reappeared"]
            changed = sorted(key for key in entries.keys() & before.keys() if entries[key][1] != before[key][1])
            assert changed == expected["changed"]
            for key, (url, _) in entries.items():
                page = site.page(url)
                record = extract(page, rules.page)
                assert judge(page, rules.page, record).ok
                told, listing = facts(record), expected["listings"][key]
                assert urljoin(site.url, told.pop("url", url)) == listing["url"]
                assert told == stated(listing), url
                assert canonical(url, rules.urls) == canonical(expected["listings"][key]["url"])
                is_same = record.content_hash == hashes[city].get(key)
                assert is_same == (key in expected["unchanged"]) or key in expected["reappeared"]
                hashes[city][key] = record.content_hash
            for key in expected["gone"]:
                page = site.page(before[key][0])
                assert judge(page, rules.page, extract(page, rules.page)).state == "gone"
            seen[city] = entries
            ever[city] |= entries.keys()
    assert all(truth[city]["reappeared"] and truth[city]["gone"] for city in OF_SOURCE[source])


@pytest.mark.parametrize("source", OF_SOURCE)
def test_the_record_of_every_home_has_what_the_site_tells_of_it(site: Served, source: str, tmp_path: Path) -> None:
    text = (SITE / f"{source}.yaml").read_text(encoding="utf-8")
    (tmp_path / f"{source}.yaml").write_text(text, encoding="utf-8")
    options, converter = load_sources(tmp_path)[source].convert_options, ListingsConverter()
    assert converter.options_error(options) is None
    site.post("/_/day", day=2)
    for city in OF_SOURCE[source]:
        for key, listing in site.truth()[city]["listings"].items():
            _, headers, body = site.get(listing["url"])
            context = {"content-type": headers["Content-Type"]}
            document = Document(BytesIO(body), "", len(body), key, NOW, source, listing["url"], context)
            (record,) = (item for item in converter.convert(document, options) if isinstance(item, Converted))
            assert record.key == f"nest-and-key/{key}"
            said = {name: value for name, value in listing.items() if value is not None and name != "description"}
            told = {name: value for name, value in record.data.items() if name in listing}
            assert told | {"published": told["published"][:10]} == said
            assert (record.quality or 0) > 0.5


def test_printed_addresses_have_the_parts_that_the_site_tells(site: Served) -> None:
    site.post("/_/day", day=9)
    for city in site.truth().values():
        for listing in city["listings"].values():
            found = listing_fields(parse_address(listing["address"], listing["country"]))
            assert found == {name: value for name in found if (value := listing[name])}
            assert {name for name in PARTS if listing[name]} <= found.keys()


def rendered(url: str, profile: Path) -> Page:
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
               "--virtual-time-budget=3000", "--dump-dom", url]  # fmt: skip
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return Page.of_bytes(done.stdout, url=url, headers={"Content-Type": "text/html; charset=utf-8"})


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_a_browser_sees_the_homes_that_only_javascript_fills(site: Served, tmp_path: Path) -> None:
    rules = Rules("listings-demo-app", site.url)
    expected = site.truth()["krems"]
    (start,) = starts(rules.search)
    first = advance(rules.search, begin(rules.search, start), rendered(f"{site.url}/app/", tmp_path))
    assert (first.position.found, len(first.links)) == (len(expected["listings"]) + len(expected["private"]), 12)
    assert first.position.url == f"{site.url}/app/?page=2"
    last = advance(rules.search, first.position, rendered(f"{site.url}/app/?page=4", tmp_path))
    assert last.stop
    homes = [link for link in first.links if link.key in expected["listings"]][:4]
    for link in homes:
        page = rendered(link.url, tmp_path)
        record = extract(page, rules.page)
        assert judge(page, rules.page, record).ok
        assert facts(record) == stated(expected["listings"][link.key])
    shell = site.page(homes[0].url)
    assert judge(shell, rules.page, extract(shell, rules.page)).state == "shell"
    missing = rendered(f"{site.url}/app/objekt/K1", tmp_path)
    assert judge(missing, rules.page, extract(missing, rules.page)).state == "gone"


def test_a_page_that_says_the_same_is_not_sent_again_though_its_counter_and_token_differ(site: Served) -> None:
    truth = site.truth()
    for city in ("helsinki", "vaduz", "bindlach", "schaan"):
        url = next(iter(truth[city]["listings"].values()))["url"]
        _, first, body = site.get(url)
        assert site.get(url)[2] != body
        for known in ({"If_None_Match": first["ETag"]}, {"If_Modified_Since": first["Last-Modified"]}):
            status, again, nothing = site.get(url, **known)
            assert (status, nothing, again["ETag"]) == (304, b"", first["ETag"])
    site.post("/_/day")
    changed = site.truth()["helsinki"]
    url = changed["listings"][changed["changed"][0]]["url"]
    old = truth["helsinki"]["listings"][changed["changed"][0]]
    status, headers, _ = site.get(url, If_Modified_Since="Mon, 02 Mar 2026 06:00:00 GMT")
    assert (status, headers["Last-Modified"]) == (200, "Tue, 03 Mar 2026 06:00:00 GMT")
    assert old != changed["listings"][changed["changed"][0]]


def test_truth_is_relative_to_the_days_on_which_somebody_looked(site: Served) -> None:
    assert site.post("/_/day", advance=3)["day"] == 3
    daily, once = site.truth()["vaduz"], site.truth("?seen=0")["vaduz"]
    first = site.truth("?day=0")["vaduz"]
    assert set(once["new"]) == once["listings"].keys() - first["listings"].keys()
    assert once["reappeared"] == []
    assert set(once["gone"]) == first["listings"].keys() - once["listings"].keys()
    assert daily["reappeared"] and not set(daily["reappeared"]) & set(daily["new"])
    assert site.get("/_/truth?day=2&seen=2")[0] == 400


def test_the_same_seed_gives_the_same_homes_after_a_restart_on_the_same_day(site: Served) -> None:
    site.post("/_/day", day=2)
    before = {city: each["unchanged"] for city, each in site.truth().items()}
    site.process.terminate()
    site.process.wait(10)
    again, other = Served(site.folder), Served(site.folder.with_name("other"), "--seed", "5")
    try:
        assert {city: each["unchanged"] for city, each in again.truth().items()} == before
        assert json.loads(other.get("/_/day")[2])["day"] == 0
        assert other.truth()["vaduz"]["listings"] != again.truth("?day=0")["vaduz"]["listings"]
    finally:
        for served in (again, other):
            served.process.terminate()
            served.process.wait(10)


def test_the_day_goes_on_from_a_terminal_in_the_folder_of_the_demo(site: Served) -> None:
    def run(*arguments: str) -> dict[str, Any]:
        command = [sys.executable, str(SITE / "serve.py"), "--folder", str(site.folder), *arguments]
        return dict(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))

    assert run("--advance")["day"] == 1
    assert run("--advance", "2")["day"] == 3
    assert run("--truth", "1")["day"] == 1
    assert run("--truth")["cities"]["helsinki"] == site.truth()["helsinki"]


def test_robots_asks_programs_to_leave_private_homes_alone_though_searches_link_them(site: Served) -> None:
    site.post("/_/crawl-delay", seconds=2)
    assert site.get("/robots.txt")[2].decode().splitlines()[1:] == [
        "Disallow: /admin/", "Disallow: /private/", "Disallow: /_/", "Crawl-delay: 2"
    ]  # fmt: skip
    keys = site.truth()["helsinki"]["private"]
    listed = b"".join(site.get(f"/search/helsinki?page={page}")[2] for page in range(1, 6))
    assert all(f"/private/helsinki/{key}?".encode() in listed for key in keys)
    assert site.get(f"/private/helsinki/{keys[0]}")[0] == 200


@pytest.mark.slow
def test_every_fault_comes_and_the_third_attempt_at_an_address_is_answered(site: Served) -> None:
    site.post("/_/faults", mode="harsh", hang=0.2)
    cities = site.truth()
    for city in ("helsinki", "vaduz", "bindlach", "schaan"):
        for listing in cities[city]["listings"].values():
            pages = [site.attempt(listing["url"]) for _ in range(3)]
            assert listing["portal_id"] in pages[-1]
    for page in range(1, 80):
        answers = [site.attempt(f"/search/vaduz?page={page}") for _ in range(3)]
        assert 'class="count"' in answers[-1]
    faults = {entry.get("fault", "") for entry in site.log()}
    assert faults == {"", *"too-many too-many-date unavailable error truncated hang slow wall empty".split()}
    site.post("/_/faults", mode="none")
    assert 'class="count"' in site.attempt("/search/vaduz")


def test_a_page_may_fail_for_good_and_searches_may_lose_homes_whose_pages_are_there(site: Served) -> None:
    rules, truth = Rules("listings-demo", site.url), site.truth()["helsinki"]["listings"]
    broken = next(iter(truth.values()))["url"].removeprefix(site.url)
    site.post("/_/faults", mode="none", always=[broken])
    assert [site.get(f"{broken}?pos={attempt}")[0] for attempt in range(4)] == [500] * 4
    site.post("/_/faults", mode="none")
    assert site.get(broken)[0] == 200
    whole = found(site, rules)["helsinki"]
    site.post("/_/listed", share=0.5)
    half = found(site, rules)["helsinki"]
    assert half.keys() < whole.keys()
    assert 40 <= len(half) <= 43
    assert all(site.get(whole[key][0])[0] == 200 for key in whole.keys() - half.keys())


def test_the_log_has_every_request_with_what_was_sent(site: Served) -> None:
    _, headers, body = site.get("/search/vaduz?page=2", User_Agent="Somebody/1")
    site.get("/nowhere")
    site.get("/_/day")
    deadline = time.monotonic() + 5
    while len(entries := site.log()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [(each["method"], each["path"], each["status"], each["bytes"]) for each in entries] == [
        ("GET", "/search/vaduz?page=2", 200, len(body)), ("GET", "/nowhere", 404, entries[1]["bytes"])
    ]  # fmt: skip
    assert entries[0]["agent"] == "Somebody/1"
    assert int(headers["Content-Length"]) == len(body)


def test_every_page_names_openstreetmap(site: Served) -> None:
    truth = site.truth()
    cities = ("helsinki", "vaduz", "bindlach", "schaan")
    details = [next(iter(truth[city]["listings"].values()))["url"] for city in cities]
    for path in ("/", "/search/helsinki", "/api/schaan/listings", "/app/data.json?at=/app/", *details):
        assert "© <a href" in site.get(path)[2].decode().replace('\\"', '"'), path
    size = sum(file.stat().st_size for file in (SITE / "osm").iterdir())
    assert size < 2_000_000
