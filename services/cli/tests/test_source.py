"""`tidemill source`: from a site that nobody described to a source whose rules can be tried and judged."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner, Result

from tidemill.cli import source
from tidemill.common.config import load_sources
from tidemill.common.testing.site import Site, site_in_a_thread

HOME = """<html lang="de-CH"><head><title>Wohnung</title></head><body><h1>Helle Wohnung</h1>
<table><tr><td>Kaufpreis:</td><td>CHF 1’250’000.–</td></tr><tr><td>Zimmer:</td><td>4½</td></tr>
<tr><td>Wohnfläche:</td><td>118.5 m²</td></tr><tr><td>Besuche:</td><td>1'204</td></tr></table></body></html>"""
SEARCH = """<html><body><p>2 Objekte</p><ul>
<li><a href="/objekt/4711">A</a> <b>CHF 1</b></li><li><a href="/objekt/4712?utm_source=x">B</a> <b>CHF 2</b></li></ul>
<a href="/ueber-uns">wir</a><a rel="next" href="/suche?seite=2">weiter</a></body></html>"""
PORTAL = """
source: portal
title: A portal
schedule: {cron: "0 5 * * *"}
scrape:
  search:
    url: https://portal.example/suche
    items: {css: li}
    link: {css: a, attribute: href}
    hint: [{css: b}]
    found: {css: p, match: "[0-9]+"}
    paging: {next: {css: "a[rel=next]", attribute: href}}
extract:
  locale: de-CH
  fields:
    price: {from: {label: Kaufpreis}, type: money, required: true}
    rooms: {from: {label: Zimmer}, type: rooms}
    size: {from: {label: Wohnfläche}, type: area}
    plot: {from: {label: Grundstück}, type: area}
    visits: {from: {label: Besuche}, type: integer, volatile: true}
politeness: {contact: me@portal.example}
licence: {name: terms of use}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "home.html").write_text(HOME, encoding="utf-8")
    (tmp_path / "search.html").write_text(SEARCH, encoding="utf-8")
    return tmp_path


@pytest.fixture
def portal(folder: Path) -> Path:
    (folder / "sources").mkdir()
    (folder / "sources/portal.yaml").write_text(PORTAL, encoding="utf-8")
    return folder / "sources/portal.yaml"


def run(*words: str, typed: str | None = None) -> Result:
    app = typer.Typer()
    source.register(app)
    app.command("other")(lambda: None)  # With one command alone, typer would leave its name out.
    return CliRunner().invoke(app, ["source", *words], input=typed)


def test_a_saved_page_shows_value_rule_and_raw_text_of_each_field_without_network(portal: Path) -> None:
    result = run("test", "portal", "--page", "home.html", "--url", "https://portal.example/objekt/4711", "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert (found["state"], found["ok"], found["coverage"]) == ("ok", True, 0.8)
    fields = {one["field"]: one for one in found["fields"]}
    assert fields["price"]["value"] == {"amount": "1250000", "currency": "CHF"}
    assert (fields["price"]["rule"], fields["price"]["raw"]) == ("label: Kaufpreis", "CHF 1’250’000.–")
    assert fields["plot"] == {
        "field": "plot",
        "type": "area",
        "required": False,
        "value": None,
        "rule": None,
        "raw": None,
        "problems": [],
    }


def test_a_page_without_a_required_field_is_no_success_and_says_which(portal: Path, folder: Path) -> None:
    (folder / "home.html").write_text(HOME.replace("Kaufpreis", "Wert"), encoding="utf-8")
    result = run("test", "portal", "--page", "home.html")
    assert result.exit_code == 1
    assert "required_missing: price" in result.stdout


def test_a_page_that_came_with_404_is_gone(portal: Path) -> None:
    result = run("test", "portal", "--page", "home.html", "--status", "404")
    assert result.exit_code == 1
    assert "state: gone" in result.stdout


def test_a_saved_search_page_shows_entries_with_their_identity_and_where_it_goes_on(portal: Path) -> None:
    url = "https://portal.example/suche"
    result = run("test", "portal", "--search", "--page", "search.html", "--url", url, "-o", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["found"] == 2
    assert [entry["identity"] for entry in found["entries"]] == [
        "https://portal.example/objekt/4711",
        "https://portal.example/objekt/4712",
    ]
    assert all(entry["hint"] for entry in found["entries"])
    assert found["next"] == "https://portal.example/suche?seite=2"
    table = run("test", "portal", "--search", "--page", "search.html", "--url", url).stdout
    assert "2 entries of 2 that the site counts" in table
    assert "/objekt/4711" in table
    refused = run("test", "portal", "--search", "--page", "search.html", "--url", url, "--status", "429")
    assert refused.exit_code == 1
    assert "the site answered 429" in refused.stdout


def test_what_cannot_be_tried_is_told(portal: Path, folder: Path) -> None:
    assert "there is no source 'portl'; there are: portal" in run("test", "portl", "--page", "home.html").stderr
    assert "cannot be read" in run("test", "portal", "--page", "away.html").stderr
    (folder / "sources/kept.yaml").write_text("source: kept\nwatch: {folder: inbox/kept}\n")
    assert "reads no pages" in run("test", "kept", "--page", "home.html").stderr


def test_an_interview_with_two_saved_pages_writes_a_source_that_works(folder: Path) -> None:
    answers = ["https://portal.example/suche", "", "de-CH", "", "rooms", "price", "Portal", "", "rent"]
    result = run(
        *("new", "portal", "--search-page", "search.html", "--page", "home.html"), typed="\n".join(answers) + "\n"
    )
    assert result.exit_code == 0, result.output
    file = folder / "sources/portal.yaml"
    written = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert written["scrape"]["search"]["link"] == {"css": 'a[href*="/objekt/"]', "attribute": "href"}
    assert written["extract"]["fields"]["price"] == {"from": {"label": "Kaufpreis"}, "type": "money", "required": True}
    assert written["extract"]["fields"]["besuche"]["volatile"] is True
    assert "rooms" not in written["extract"]["fields"]
    assert written["convert"] == {"with": "listings", "options": {"price_kind": "rent"}}
    assert load_sources(folder / "sources")["portal"].title == "Portal"
    assert "is there already" in run("new", "portal").stderr


def test_an_interview_refuses_names_and_addresses_that_cannot_be(folder: Path) -> None:
    assert "is no name" in run("new", "Portal X", "--yes").stderr
    assert "Give it on the command line" in run("new", "portal", "--yes").stderr
    assert "is no address on the web" in run("new", "portal", "--search", "ftp://x", "--yes").stderr
    klingon = run("new", "portal", "--search", "https://portal.example/", "--locale", "klingon", "--yes")
    assert "numbers are written in klingon" in klingon.stderr
    assert "nobody answers: Address of a page" in run("new", "portal", typed="").stderr
    (folder / "shell.html").write_text("<html><script src=app.js></script><div id=root></div></html>")
    refused = run("new", "portal", "--search", "https://portal.example/", "--search-page", "shell.html", "--yes")
    assert "filled by JavaScript" in refused.stderr
    assert not (folder / "sources").exists()


def test_lint_names_what_breaks_asks_too_much_or_cannot_tell_what_is_gone(portal: Path) -> None:
    assert [one["key"] for one in json.loads(run("lint", "-o", "json").stdout)] == ["convert"]
    worse = (
        PORTAL.replace('    found: {css: p, match: "[0-9]+"}\n', "")
        .replace("    hint: [{css: b}]\n", "")
        .replace("locale: de-CH\n", "locale: auto\n")
        .replace(", required: true", "")
        .replace(", volatile: true", "")
        .replace("contact: me@portal.example", "rate: 10/s, obey_robots: false")
    )
    portal.write_text(worse, encoding="utf-8")
    result = run("lint", "portal", "-o", "json")
    assert result.exit_code == 1
    keys = {one["key"] for one in json.loads(result.stdout)}
    assert keys >= {
        "scrape.search.found",
        "scrape.search.nothing",
        "scrape.search.hint",
        "extract.fields",
        "extract.fields.price",
        "extract.fields.visits",
        "politeness.contact",
        "politeness.rate",
        "politeness.obey_robots",
    }


def test_list_and_show_say_what_there_is(portal: Path) -> None:
    (row,) = json.loads(run("list", "-o", "json").stdout)
    assert (row["source"], row["comes by"], row["from"]) == ("portal", "scrape", "https://portal.example/suche")
    assert "portal" in run("list").stdout
    shown = run("show", "portal").stdout
    assert str(portal) in shown
    assert yaml.safe_load(shown)["scrape"]["stale_after"] == "1d"
    assert json.loads(run("show", "portal", "-o", "json").stdout)["source"] == "portal"
    assert "no source" in run("show", "nothing").stderr


@pytest.fixture
def live(folder: Path) -> Iterator[Site]:
    """The portal as a site on this machine, whose pages become listings."""
    with site_in_a_thread() as site:
        site.put("/suche", SEARCH.replace("?utm_source=x", "").encode())
        site.put("/objekt/4711", HOME.encode())
        text = PORTAL.replace("https://portal.example", f"http://{site.host}")
        text = text.replace("contact: me@portal.example", f"rate: 50/s, allow_private: ['{site.host}']")
        for name, field in (("size:", "size_m2:"), ("plot:", "plot_m2:")):
            text = text.replace(f"    {name}", f"    {field}")
        (folder / "sources").mkdir()
        (folder / "sources/portal.yaml").write_text(
            text + "convert: {with: listings, options: {country: LI, price_kind: sale}}\n", encoding="utf-8"
        )
        yield site


def test_without_a_page_it_asks_for_the_search_and_its_first_entry_and_shows_the_record(live: Site) -> None:
    result = run("test", "portal", "-o", "json")
    assert result.exit_code == 0, result.output
    search, page = json.loads(result.stdout)
    assert (search["kind"], len(search["entries"]), page["kind"]) == ("search", 2, "page")
    (record,) = page["records"]
    assert (record["key"], record["data"]["price"], record["data"]["rooms"]) == ("portal/4711", 1250000.0, 4.5)
    assert live.counts() == {"/suche": 1, "/objekt/4711": 1}
    table = run("test", "portal").stdout
    assert "becomes listings.listing portal/4711" in table
    assert "2 entries of 2 that the site counts" in table


def test_a_page_that_the_site_does_not_have_is_gone_and_one_that_robots_forbid_is_not_asked_for(live: Site) -> None:
    away = run("test", "portal", "--url", live.url("/objekt/1"))
    assert (away.exit_code, "state: gone" in away.stdout) == (1, True)
    live.put("/robots.txt", b"User-agent: *\nDisallow: /objekt/\n")
    live.asked.clear()
    forbidden = run("test", "portal", "--url", live.url("/objekt/4711"))
    assert (forbidden.exit_code, "robots" in forbidden.stderr) == (1, True)
    assert [asked.path for asked in live.asked] == ["/robots.txt"]


def test_what_the_converter_refuses_or_rejects_is_shown(live: Site) -> None:
    live.put("/objekt/4711", HOME.replace("4½", "vier").encode())
    shown = run("test", "portal", "--url", live.url("/objekt/4711"))
    assert "! rooms:" in shown.stdout
    live.put("/objekt/4711", HOME.replace("Kaufpreis", "Wert").encode())
    refused = run("test", "portal", "--url", live.url("/objekt/4711"))
    assert "the converter refuses it" in refused.stdout


def test_an_interview_can_look_at_a_live_site(live: Site, folder: Path) -> None:
    result = run("new", "other", "--search", live.url("/suche"), "--locale", "de-CH", "--yes")
    assert result.exit_code == 0, result.output
    written = yaml.safe_load((folder / "sources/other.yaml").read_text(encoding="utf-8"))
    assert written["politeness"]["allow_private"] == [live.host]
    assert set(written["extract"]["fields"]) >= {"price", "rooms", "size_m2"}
    assert "is no address" in run("new", "third", "--search", "nowhere", "--yes").stderr
