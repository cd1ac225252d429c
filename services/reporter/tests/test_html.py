"""The report as a page: what it says, that only our scripts run, and that a browser draws it without a network."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tidemill.reporter.renderings.html import render_html, vega_bundle

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


def test_ten_thousand_rows_are_there_and_folded() -> None:
    text = render_html(long(), "").decode()
    assert text.count("<tr>") == 10_001
    assert 'class="sorted folded"' in text


def test_of_many_series_what_stands_out_is_drawn_and_some_of_the_rest() -> None:
    day = sample()
    many = tuple(day.series[-1].model_copy(update={"name": f"measure-{number}"}) for number in range(200))
    text = render_html(day.model_copy(update={"series": (*many, *day.series)}), "").decode()
    assert text.count('class="chart"') == len(day.anomalies) + 60 + 1
    assert text.count('<svg class="spark"') == 209


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_without_a_network_draws_every_chart(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(render_html(sample(), vega_bundle()))
    done = browse(file, "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}")
    assert done.stdout.count(' drawn" data-chart') == len(sample().series) + 1
    assert done.stdout.count("<svg") >= 2 * len(sample().series) + 1
    assert done.stdout.count('title="Sort by this column"') > 50
    assert "CONSOLE" not in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_runs_nothing_that_a_text_brought(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    smuggled = (
        b"<script>document.title = 'smuggled'</script><img src=http://evil.example/x onerror=\"document.title='x'\">"
    )
    file.write_bytes(render_html(hostile(), vega_bundle()).replace(b"<footer>", smuggled + b"<footer>"))
    done = browse(file, "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}")
    assert "Tidemill</title>" in done.stdout
    assert "violates the following Content Security Policy" in done.stderr


def browse(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """With a resolver that finds no host, not even this machine."""
    assert CHROMIUM is not None
    offline = "--host-resolver-rules=MAP * ~NOTFOUND"
    quiet = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        "--virtual-time-budget=20000",
    )
    command = [CHROMIUM, *quiet, offline, *arguments, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
