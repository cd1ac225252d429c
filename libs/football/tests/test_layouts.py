"""The same issue in many layouts gives the same matches: nothing hangs on one way to set a page."""

from dataclasses import replace
from typing import Any

import pytest
from conversions import convert, rows
from generate import make_paper
from paper import WIDTHS, Paper, Style, bind, lay_out, print_paper
from pdf_writer import Page

from tidemill.plugin import Accounting, Outcome

WIDE = Style(page=(808, 1134), size=7)
TWO = Style(page=(808, 1134), columns=2, size=5.5)
TIGHT = replace(TWO, ruled=False, padding=0.3)
SHORT = ("time", "serial", "event", "market", "kim", "H", "D", "V")

STYLES = {
    "one wide ruled table": WIDE,
    "without rules": replace(WIDE, ruled=False),
    "a head over two lines": replace(WIDE, head="split"),
    "no head at all": replace(WIDE, head="none"),
    "two columns": TWO,
    "two columns without rules": replace(TWO, ruled=False),
    "three columns on A3": Style(page=(842, 1191), columns=3, size=4.6, gutter=8),
    "four columns on a landscape page": Style(page=(1684, 1191), columns=4, size=6),
    "a head on the first column alone": replace(TWO, head="first"),
    "no head on two columns": replace(TWO, head="none"),
    "a narrow gutter": replace(TWO, gutter=4, ruled=False),
    "cells flush with the bottom": replace(TWO, wraps="bottom"),
    "cells in the middle": replace(TWO, wraps="middle"),
    "wrapped cells without space between rows, top": TIGHT,
    "wrapped cells without space between rows, middle": replace(TIGHT, wraps="middle"),
    "wrapped cells without space between rows, bottom": replace(TIGHT, wraps="bottom"),
    "narrow texts": Style(page=(500, 1000), size=5.5, widths={**WIDTHS, "event": 30, "market": 34}),
    "Times in three columns": Style(page=(900, 1300), columns=3, size=5, fonts=("Times-Roman", "Times-Bold")),
    "Courier": Style(page=(1000, 800), size=6, fonts=("Courier", "Courier-Bold")),
    "tiny type": Style(page=(420, 595), columns=2, size=2.6, margin=10, gutter=5, padding=1),
    "huge type": Style(page=(2400, 3400), columns=2, size=18, margin=60, gutter=40, padding=6),
    "the market before the event": replace(TWO, order=("time", "serial", "mark", "market", "event", *SHORT[4:])),
    "outcomes in the order V D H": replace(WIDE, order=(*SHORT[:5], "V", "D", "H")),
    "outcomes in the order H V D": replace(TWO, order=(*SHORT[:5], "H", "V", "D")),
    "prices first": replace(TWO, order=("H", "D", "V", "kim", "time", "serial", "event", "market")),
    "the serial before the time": replace(TWO, order=("serial", "time", *SHORT[2:])),
    "the serial last": replace(TWO, order=("time", *SHORT[2:], "serial")),
    "the event last": replace(TWO, order=("time", "serial", "H", "D", "V", "kim", "market", "event"), headings="left"),
    "the outcome number last": replace(TWO, order=(*SHORT[:4], "H", "D", "V", "kim")),
    "prices centred": replace(TWO, prices="centre"),
    "prices flush left": replace(TWO, prices="left"),
    "texts centred": replace(WIDE, texts="centre"),
    "texts flush right": replace(TWO, texts="right", wraps="middle"),
    "dashes for missing prices": replace(TWO, empty="–"),
    "crosses for missing prices": replace(TWO, empty="x", ruled=False),
    "headings at the left": replace(TWO, headings="left"),
    "headings centred": replace(TWO, headings="centre", ruled=False),
    "headings over two lines": replace(TWO, page=(700, 1134), narrow_headings=True),
    "headings over two lines, cells in the middle": replace(
        TWO, page=(700, 1134), narrow_headings=True, wraps="middle"
    ),
    "headings over two lines, tight": replace(TIGHT, page=(700, 1134), narrow_headings=True, wraps="bottom"),
    "a title close above rows without a head": replace(TIGHT, size=7, columns=1, head="none", wraps="bottom"),
    "the day over all columns": replace(TWO, day_over_all=True),
    "no folio": replace(TWO, folio=False),
    "en dashes": replace(TWO, dash="–"),
    "no-break spaces": replace(TWO, blank="\xa0"),
    "ligatures": replace(TWO, ligatures=True),
    "no glyphs for spaces": replace(TWO, spaceless=True),
    "letter by letter": replace(TWO, pieces=1),
    "runs of three letters in any order": replace(TWO, pieces=3, shuffled=True),
    "everything at once": replace(TIGHT, pieces=2, shuffled=True, spaceless=True, dash="–", ligatures=True),
    "shown turned": replace(TWO, rotate=90),
    "shown upside down": replace(TWO, rotate=180),
    "drawn and shown turned": replace(TWO, turned=1, rotate=90),
    "drawn upside down": replace(TWO, turned=2, rotate=180, corner=(20, 30)),
    "drawn turned the other way, off the origin": replace(TWO, turned=3, corner=(33, -250), shuffled=True, pieces=4),
    "off the origin": replace(TWO, corner=(-100, 250)),
}

pytestmark = pytest.mark.unmeasured


@pytest.fixture(scope="module")
def paper(truth: dict[str, Any]) -> Paper:
    return make_paper(truth)


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_an_issue_says_the_same_in_any_layout(style: Style, paper: Paper, truth: dict[str, Any]) -> None:
    conversion = convert(print_paper(paper, style))
    assert conversion.outcome is Outcome.CONVERTED, conversion.reason
    assert conversion.document["rejected"] == []
    assert rows(conversion.document) == rows(truth)
    assert all(item.balanced() for item in conversion.items if isinstance(item, Accounting))


@pytest.mark.parametrize(
    "names",
    [
        ("two columns", "one wide ruled table"),
        ("one wide ruled table", "three columns on A3"),
        ("no head at all", "no head on two columns"),
        ("outcomes in the order V D H", "prices first"),
        ("cells in the middle", "wrapped cells without space between rows, bottom"),
    ],
    ids=" then ".join,
)
def test_the_layout_may_change_within_an_issue(names: tuple[str, str], paper: Paper, truth: dict[str, Any]) -> None:
    first, second = (replace(STYLES[name], offer_only=True, folio=False) for name in names)
    half = len(paper.items) // 2
    pages = lay_out(replace(paper, items=paper.items[:half]), first)
    pages += lay_out(replace(paper, items=paper.items[half:], boxes=[]), second)
    conversion = convert(bind(pages, first))
    assert conversion.document["rejected"] == []
    assert rows(conversion.document) == rows(truth)


def spread(left: Page, right: Page) -> Page:
    """Two pages beside one another on one sheet."""
    wide, high = left.size
    moved = [
        [f"q 1 0 0 1 {wide} 0 cm ".encode() + part + b" Q" for part in parts] for parts in (right.shapes, right.runs)
    ]
    return Page((2 * wide, high), shapes=[*left.shapes, *moved[0]], runs=[*left.runs, *moved[1]])


@pytest.mark.parametrize("name", ["one wide ruled table", "two columns"])
def test_pages_may_be_printed_in_pairs(name: str, paper: Paper, truth: dict[str, Any]) -> None:
    style = replace(STYLES[name], page=(680, 500), offer_only=True)
    pages = lay_out(paper, style)
    pairs = [spread(left, right) for left, right in zip(pages[::2], pages[1::2], strict=False)]
    conversion = convert(bind([*pairs, *pages[2 * len(pairs) :]], style))
    assert conversion.outcome is Outcome.CONVERTED, conversion.reason
    assert conversion.document["rejected"] == []
    assert rows(conversion.document) == rows(truth)
