"""The report as a page: what it says, that only our scripts run, and that a browser draws it without a network."""

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tidemill.reporter.renderings.charts import line_chart
from tidemill.reporter.renderings.html import render_html, vega_bundle
from tidemill.reporter.renderings.palette import PAGE
from tidemill.reporter.renderings.sparkline import sparkline

from .rendering_kit import HOSTILE, SAVED, empty, hostile, long, sample

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """Its elements, attributes and texts outside of scripts."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(content: bytes) -> Page:
    return Page(content)


def test_the_sample_is_told_as_it_was() -> None:
    expected = "renew it: python services/reporter/tests/sample_report.py"
    assert render_html(sample(), "/* vega */").decode() == (SAVED / "report.html").read_text(encoding="utf-8"), expected


def test_the_sentence_stands_first_and_the_red_before_the_rest() -> None:
    text = render_html(sample(), "").decode()
    marks = ["Do not trust the listings", 'id="trust-box"', 'id="stands-out"', 'anomaly critical"', 'anomaly warning"']
    places = [text.index(mark) for mark in [*marks, 'id="changed"', 'id="errors"']]
    assert places == sorted(places)


def test_texts_of_strangers_stay_texts() -> None:
    content = render_html(hostile(), "")
    seen = page(content)
    assert seen.tags.count("script") == 3
    assert not {"img", "iframe", "object", "link"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on")]
    shown = "".join(seen.text)
    assert HOSTILE[0] in shown
    assert "{{ 7 * 7 }}" in shown
    assert not re.search("[\x00-\x08\x0e-\x1f\u202e]", content.decode())


def test_the_charts_data_ends_no_script() -> None:
    text = render_html(hostile(), "").decode()
    specs = text.split('id="charts">')[1].split("</script>")[0]
    assert "<" not in specs
    assert "</script><img" in json.dumps(json.loads(specs)).replace("\\", "") or json.loads(specs)


def test_only_our_scripts_may_run_and_nothing_may_be_loaded() -> None:
    text = render_html(sample(), "").decode()
    policy = text.split('Content-Security-Policy" content="')[1].split('"')[0].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'")
    assert policy.count("'sha256-") == 2
    assert "unsafe-eval" not in policy
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", text)


def test_an_empty_report_is_a_page_too() -> None:
    text = render_html(empty(), "").decode()
    assert "No source was due." in text
    assert "Everything that was expected is there." in text
    assert "<table" not in text


def test_ten_thousand_rows_are_there() -> None:
    text = render_html(long(), "").decode()
    assert text.count("<tr>") == 10_001


def test_of_many_series_what_stands_out_is_drawn_and_some_of_the_rest() -> None:
    day = sample()
    many = tuple(day.series[-1].model_copy(update={"name": f"measure-{number}"}) for number in range(200))
    text = render_html(day.model_copy(update={"series": (*many, *day.series)}), "").decode()
    assert text.count('class="chart"') == len(day.anomalies) + 60 + 1
    assert text.count('<svg class="spark"') == 209


def test_a_first_day_has_figures_and_no_empty_charts() -> None:
    first = sample().series[0]
    only = first.model_copy(update={"points": first.points[-1:]})
    text = render_html(sample().model_copy(update={"series": (only,)}), "").decode()
    assert text.count('class="chart"') == 1
    assert 'class="spark-bad"' in text


def test_a_value_without_neighbours_is_a_dot() -> None:
    first = sample().series[1]
    gaps = [p if n % 2 else p.model_copy(update={"value": None}) for n, p in enumerate(first.points)]
    alone = first.model_copy(update={"points": tuple(gaps)})
    assert line_chart(alone, PAGE)["layer"][1]["mark"]["point"]
    assert not line_chart(first, PAGE)["layer"][1]["mark"]["point"]
    assert sparkline(alone).count("spark-alone") == 14


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """With a resolver that finds no host, not even this machine."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.mark.slow
def test_a_browser_without_a_network_draws_sorts_and_shows(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(render_html(sample(), vega_bundle()))
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(file.as_uri())
    tab.wait_for_selector("html.drawn")
    assert tab.locator(".chart svg").count() == len(sample().series) + 1
    assert (said, asked) == ([], [file.as_uri()])

    failed = tab.locator("#changed th button", has_text="Failed")
    failed.click()
    first = tab.locator("#changed tbody th").first
    assert (first.inner_text(), tab.locator("#changed [aria-sort]").get_attribute("aria-sort")) == (
        *("oikotie-tampere", "descending"),
    )
    failed.click()
    assert first.inner_text() == "oikotie-espoo"

    chart = tab.locator("#stands-out .chart").nth(1)
    chart.hover(position={"x": 250, "y": 60})
    chart.hover(position={"x": 253, "y": 60})
    tab.wait_for_selector("#vg-tooltip-element.visible")
    assert re.search(r"2026-11-\d\d\s+Value\s+4,\d{3}.* EUR/m²", tab.locator("#vg-tooltip-element").inner_text())


@pytest.mark.slow
def test_charts_that_are_folded_away_are_drawn_when_they_are_asked_for(browser: Browser, tmp_path: Path) -> None:
    day = sample()
    many = tuple(day.series[-1].model_copy(update={"name": f"measure-{number}"}) for number in range(20))
    file = tmp_path / "report.html"
    file.write_bytes(render_html(day.model_copy(update={"series": many}), vega_bundle()))
    tab = browser.new_page()
    tab.goto(file.as_uri())
    tab.wait_for_selector("html.drawn")
    assert tab.locator("details .chart.drawn").count() == 0
    tab.locator("summary").click()
    expect(tab.locator("details .chart.drawn")).to_have_count(8)
    assert tab.locator("details .chart svg").first.bounding_box()["width"] > 200  # type: ignore[index]


@pytest.mark.slow
def test_charts_are_dark_where_the_reader_is_and_light_on_paper(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(render_html(sample(), vega_bundle()))
    tab = browser.new_page(color_scheme="dark")
    tab.goto(file.as_uri())
    tab.wait_for_selector("html.drawn")
    colour = "getComputedStyle(document.querySelector('#stands-out .chart .mark-line path')).stroke"
    assert tab.evaluate(colour) == "rgb(98, 196, 211)"
    tab.emulate_media(media="print")
    assert tab.evaluate(colour) == "rgb(11, 107, 122)"


@pytest.mark.slow
def test_a_browser_runs_nothing_that_a_text_brought(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    smuggled = b"<script>document.title = 'x'</script><img src=http://evil.example onerror=\"document.title='x'\">"
    file.write_bytes(render_html(hostile(), vega_bundle()).replace(b"<footer>", smuggled + b"<footer>"))
    tab = browser.new_page()
    said: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(file.as_uri())
    tab.wait_for_selector("html.drawn")
    assert tab.title().endswith("– Tidemill")
    assert len([text for text in said if "Content Security Policy" in text]) >= 2


@pytest.mark.slow
def test_long_tables_are_folded_and_can_be_searched(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(render_html(long(1_000), vega_bundle()))
    tab = browser.new_page()
    tab.goto(file.as_uri())
    rows = tab.locator("tbody tr:visible")
    assert rows.count() == 25
    tab.fill(".find", "number 999")
    assert rows.count() == 1
    tab.fill(".find", "")
    tab.locator(".all").click()
    assert rows.count() == 1_000
