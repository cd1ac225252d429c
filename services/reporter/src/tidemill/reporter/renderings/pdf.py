"""The report on paper: set by Typst from data, with charts as vector graphics and fonts that Typst has within it."""

import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import orjson

from tidemill.reporter.renderings.charts import changes_chart, line_chart
from tidemill.reporter.renderings.figures import NUMERIC, counted, figure
from tidemill.reporter.renderings.palette import PAPER
from tidemill.reporter.renderings.svg import svg
from tidemill.reporter.renderings.telling import (
    VERDICTS,
    anomalies,
    drawable,
    edition,
    find_series,
    head,
    name_of,
    notes_on_trust,
    sections,
    sums,
    title,
    told,
)
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.report import Report, Series
from tidemill.reporter.table import Table

ROWS = 60
"""Of a table; who wants them all takes a form that can be searched."""
CHARTS = 18
CELL_LETTERS = 400
PAGE_POINTS, INSET_POINTS = 499, 8
LETTER_POINTS = 3.5
"""Of the size in which wide tables are set."""
SHORT = 20
LONG_WORD = re.compile(r"\S{22,}")
BREAK = "\u200b"
FONT = "Libertinus Serif"


def render_pdf(report: Report) -> bytes:
    import typst

    compiler = typst.Compiler(_template(), ignore_system_fonts=True)
    given = {"report": orjson.dumps(_told(report)).decode()}
    made = compiler.compile(format="pdf", sys_inputs=given, timestamp=0)
    assert isinstance(made, bytes)
    return made


def _told(report: Report) -> dict[str, Any]:
    """All that the template sets: texts that are ready, and pictures."""
    trust = report.trust
    return {
        "kind": "Daily report" if report.kind == "day" else "Report on a run",
        "title": _broken(title(report)),
        "edition": edition(report),
        "complete": report.complete,
        "verdict": trust.verdict,
        "verdict_said": VERDICTS[trust.verdict],
        "summary": _broken(report.summary),
        "notes": [_broken(note) for note in notes_on_trust(report)],
        "missing": [[_broken(gap.source), _broken(gap.why)] for gap in report.missing],
        "sums": [{"title": one.title, "figure": one.figure, "bad": one.bad} for one in sums(report)],
        "anomalies": _anomalies(report),
        "changes": _changes(report),
        "sections": [
            {"title": one.title, "anchor": one.anchor, "tables": [_table(table, report.zone) for table in one.tables]}
            for one in sections(report)
            if one.anchor not in {"stands-out", "missing"}
        ],
        "charts": _charts(report),
        "id": _broken(report.id),
        "number": report.edition,
        "zone": report.zone,
        "made_from": _broken(report.made_from[:16]),
    }


def _anomalies(report: Report) -> list[dict[str, Any]]:
    shown = [(one, find_series(report, one)) for one in anomalies(report)]
    return [
        {
            "severity": one.severity,
            "name": _broken(name_of(one)),
            "value": figure(one.value, one.type, one.unit),
            "said": _broken(told(one)),
            "chart": _picture(series, 380, 120) if series and drawable(series) and number < CHARTS else "",
        }
        for number, (one, series) in enumerate(shown)
    ]


def _charts(report: Report) -> list[dict[str, str]]:
    in_anomalies = [find_series(report, one) for one in report.anomalies]
    rest = [one for one in report.series if drawable(one) and one not in in_anomalies]
    return [{"name": _broken(name_of(one)), "svg": _picture(one, 350, 120)} for one in rest[:CHARTS]]


def _changes(report: Report) -> str:
    spec = changes_chart(report.changes, PAPER, width=700)
    return _drawn(svg(spec)) if spec else ""


def _picture(series: Series, width: int, height: int) -> str:
    return _drawn(svg(line_chart(series, PAPER, width=width, height=height)))


def _drawn(picture: str) -> str:
    """vl-convert measures with a font that it brings along, Typst sets with one of its own, which is narrower."""
    return picture.replace(PAPER.font, FONT)


def _table(table: Table, zone: str) -> dict[str, Any]:
    shown = [
        [
            _broken(shortened(figure(value, c.type, "", zone), CELL_LETTERS))
            for value, c in zip(row, table.columns, strict=True)
        ]
        for row in table.rows[:ROWS]
    ]
    heads = [_broken(head(column)) for column in table.columns]
    left = len(table.rows) - len(shown)
    return {
        "title": _broken(table.title),
        "note": _broken(table.note),
        "heads": heads,
        "numeric": [column.type in NUMERIC for column in table.columns],
        "widths": _widths(heads, shown),
        "rows": shown,
        "left": f"{counted(left, 'more row')}: see the other forms of this report." if left else "",
    }


def _cell(shown: str) -> str:
    return _broken(shortened(shown, CELL_LETTERS))


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """How the page is shared among columns: by the letters of what stands in them, with heads on three lines. Where
    that is too much, long texts share what short columns leave."""
    wanted = [
        max(*map(len, head.split() or " "), -(-len(head) // 3), *map(len, cells)) + 2
        for head, *cells in zip(heads, *rows, strict=True)
    ]
    room = int((PAGE_POINTS - INSET_POINTS * len(wanted)) / LETTER_POINTS)
    if sum(wanted) <= room:
        return wanted
    long = [min(letters, 60) if letters > SHORT else 0 for letters in wanted]
    left = max(room - sum(letters for letters in wanted if letters <= SHORT), SHORT * sum(map(bool, long)))
    return [round(left * share / sum(long)) if share else letters for letters, share in zip(wanted, long, strict=True)]


def _broken(text: str) -> str:
    """Made visible, with places where a word that no column holds may be broken, and none before a percent sign."""
    return LONG_WORD.sub(_with_breaks, visible(text)).replace(" %", "\u00a0%")


def _with_breaks(word: re.Match[str]) -> str:
    return BREAK.join(word[0][at : at + 8] for at in range(0, len(word[0]), 8))


def _template() -> bytes:
    return (resources.files("tidemill.reporter.renderings") / "templates" / "report.typ").read_bytes()
