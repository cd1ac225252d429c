"""One function for all forms: the same bytes everywhere; and the process in which it runs for a service."""

import subprocess
import sys
from datetime import timedelta

import pytest

from tidemill.reporter.forms import Form, file_name
from tidemill.reporter.render import render
from tidemill.reporter.render_apart import RenderingFailed, RenderLimits, render_apart
from tidemill.reporter.report import Report

from .rendering_kit import SAVED, rendered_elsewhere, sample

QUICK = [Form.JSON, Form.CSV, Form.XLSX]
HEAVY = [form for form in Form if form not in QUICK]
EACH = [*QUICK, *(pytest.param(form, marks=pytest.mark.slow) for form in HEAVY)]


@pytest.mark.parametrize("form", EACH)
def test_the_same_report_is_the_same_bytes_in_every_process(form: Form) -> None:
    made = render(sample(), form)
    assert made
    assert render(sample(), form) == made
    assert rendered_elsewhere(form, seed="7", zone="Pacific/Auckland") == made


def test_the_json_form_is_the_report() -> None:
    assert Report.from_json(render(sample(), Form.JSON)) == sample()


async def test_a_process_apart_gives_the_same() -> None:
    content = (SAVED / "report.json").read_bytes()
    assert await render_apart(content, Form.CSV) == render(sample(), Form.CSV)


async def test_a_process_apart_says_what_is_wrong_with_a_report() -> None:
    with pytest.raises(
        RenderingFailed, match=r"No csv could be made: what was given is no report: kind: Field required"
    ):
        await render_apart(b"{}", Form.CSV)


async def test_a_rendering_that_takes_too_long_is_given_up() -> None:
    with pytest.raises(RenderingFailed, match=r"The csv took longer than 0\.01 s\."):
        await render_apart(b"{}", Form.CSV, limits=RenderLimits(time=timedelta(seconds=0.01)))


@pytest.mark.slow
async def test_a_rendering_that_needs_too_much_memory_is_given_up() -> None:
    content = (SAVED / "report.json").read_bytes()
    with pytest.raises(RenderingFailed, match="70 MB"):
        await render_apart(content, Form.HTML, limits=RenderLimits(memory_bytes=70_000_000))


def test_nothing_heavy_is_imported_before_a_form_asks_for_it() -> None:
    code = (
        "import sys, tidemill.reporter.render, tidemill.reporter.render_apart;"
        "print([m for m in ('vl_convert', 'typst', 'xlsxwriter', 'altair', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("report_id", "edition", "form", "name"),
    [
        ("day-2026-11-28", 1, Form.HTML, "tidemill-day-2026-11-28.html"),
        ("day-2026-11-28", 2, Form.CSV, "tidemill-day-2026-11-28-edition-2.zip"),
        ("run-a/../b@2026", 1, Form.MAIL, "tidemill-run-a-..-b-2026.eml"),
    ],
)
def test_a_file_is_named_for_its_report(report_id: str, edition: int, form: Form, name: str) -> None:
    assert file_name(report_id, edition, form) == name
