"""What the tests of renderings share: the sample report, an empty one, and one full of texts that mean harm."""

import os
import subprocess
import sys
from datetime import date
from pathlib import Path

from tidemill.reporter.report import (
    AnomalyShown,
    ColumnOf,
    ErrorClass,
    Missing,
    Point,
    Report,
    Series,
    SourceChanges,
    Table,
    Trust,
)

SAVED = Path(__file__).parent / "reports" / "day"
DAY = date(2026, 11, 28)
HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    '=HYPERLINK("http://evil.example","x")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(A1:A9)",
    "-2+3",
    "＝1+1",
    "\tcell",
    "bell\x07 escape\x1b[31m del\x7f",
    "right\u202eotl\u202c left",
    "Ferencváros 🏟️ 👩‍👩‍👧 مرحبا 東京",
    '{{ 7 * 7 }} {% raw %} #import "x.typ" $x^2$ *bold* `code` \\',
    "line one\nline two\r\nline three",
    "https://example.org/" + "very-long-path/" * 12,
    "A" * 400,
)


def sample() -> Report:
    return Report.from_json((SAVED / "report.json").read_bytes())


def empty() -> Report:
    return Report(
        kind="day",
        subject=DAY.isoformat(),
        day=DAY,
        zone="Europe/Budapest",
        made_from="0",
        summary="No source was due.",
        complete=True,
        trust=Trust(verdict="trusted"),
    )


def hostile() -> Report:
    """Each of the texts wherever a text can stand."""
    table = Table.model_validate(
        {
            "title": HOSTILE[0],
            "note": HOSTILE[1],
            "columns": [
                ColumnOf(name=HOSTILE[3], title=HOSTILE[2]),
                ColumnOf(name="n", title="n", type="integer", unit="<b>"),
            ],
            "rows": [(text, number) for number, text in enumerate(HOSTILE)],
        }
    )
    labels = {"name": HOSTILE[1]}
    return Report(
        kind="run",
        subject='run/../"<x>@2026',
        day=DAY,
        zone="UTC",
        made_from=HOSTILE[0],
        summary=HOSTILE[0] + HOSTILE[12],
        complete=False,
        missing=tuple(Missing(source=text, why=text) for text in HOSTILE),
        changes=tuple(SourceChanges(source=text, runs=1, state=text, new=1) for text in HOSTILE),
        breakdowns=(table, table),
        errors=tuple(ErrorClass(source=t, failure=t, count=1, remedy=t, example=t) for t in HOSTILE),
        trust=Trust(verdict="doubtful", reasons=HOSTILE),
        anomalies=(
            AnomalyShown(
                measure="m",
                title=HOSTILE[0],
                labels=labels,
                severity="warning",
                unit=HOSTILE[2],
                value=3,
                expected=1,
                low=0,
                high=2,
                score=4,
                sentence=HOSTILE[10],
            ),
        ),
        series=(Series(name="m", title=HOSTILE[0], labels=labels, points=(Point(day=DAY, value=3, anomalous=True),)),),
    )


def long(rows: int = 10_000) -> Report:
    columns = "name:Name:text;count:Count:integer;share:Share:percent;price:Price:money"
    made = [
        ColumnOf.model_validate(dict(zip(("name", "title", "type"), c.split(":"), strict=True)))
        for c in columns.split(";")
    ]
    values = [(f"Row number {number}", number, number / rows, number * 1.5) for number in range(rows)]
    table = Table.model_validate({"title": "A long table", "columns": made, "rows": values})
    return empty().model_copy(update={"breakdowns": (table,)})


def rendered_elsewhere(form: str, seed: str, zone: str) -> bytes:
    """The sample in a process with another hash seed, zone and locale."""
    code = (
        "import sys; from tidemill.reporter.render import render; from tidemill.reporter.forms import Form;"
        "from tidemill.reporter.report import Report;"
        f"sys.stdout.buffer.write(render(Report.from_json(sys.stdin.buffer.read()), Form({str(form)!r})))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "LANG": "hu_HU.UTF-8", "LC_ALL": "C.UTF-8"}
    content = (SAVED / "report.json").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=True, env=environment, timeout=120
    )
    return done.stdout
