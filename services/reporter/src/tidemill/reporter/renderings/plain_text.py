"""The report as plain text, for a terminal of 78 columns."""

import textwrap
from collections.abc import Iterator, Sequence

from tidemill.reporter.renderings.excerpt import LISTED, ROWS, excerpt
from tidemill.reporter.renderings.figures import NUMERIC, counted, figure
from tidemill.reporter.renderings.telling import (
    VERDICTS,
    anomalies,
    corrected,
    edition,
    head,
    name_of,
    notes_on_trust,
    sums,
    title,
    told,
)
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.renderings.wide import padded, width
from tidemill.reporter.report import Report
from tidemill.reporter.table import Table

COLUMNS = 78
GAP = "  "
NARROWEST = 8
FIRST = 28
"""Of the first column, which says what a row is about, at most."""


def plain_text(report: Report, link: str = "") -> str:
    """The sentence first, then what a person must know, then the tables, none wider than 78 columns."""
    lines = [*_wrapped(visible(title(report))), ""]
    lines += [*_wrapped(visible(report.summary)), "", _standing(report), ""]
    for note in notes_on_trust(report):
        lines += _wrapped(visible(note), "- ")
    for gap in report.missing:
        lines += _wrapped(visible(f"Missing: {gap.source}, {gap.why}"), "- ")
    lines += ["", ", ".join(f"{one.title} {one.figure}" for one in sums(report)[:5])]
    lines += [*_told_anomalies(report), *_told_corrections(report), *_told_errors(report)]
    chosen = excerpt(report)
    for table in chosen.tables:
        lines += [*_heading(visible(table.title)), *_table(table, report.zone)]
    if chosen.left_out:
        lines += ["", *_wrapped(visible(f"Only in the whole report: {'; '.join(chosen.left_out)}."))]
    lines += ["", "-- ", *_end(report, link)]
    return "\n".join(line.rstrip() for line in _without_double_blanks(lines)) + "\n"


def _standing(report: Report) -> str:
    whole = "complete" if report.complete else "incomplete"
    return ", ".join(filter(None, (f"{VERDICTS[report.trust.verdict]}: {whole}", edition(report))))


def _told_anomalies(report: Report) -> Iterator[str]:
    if report.anomalies:
        yield from _heading("What stands out")
    for one in anomalies(report)[:LISTED]:
        said = f"{name_of(one)}: {figure(one.value, one.type, one.unit)}. {told(one)}"
        yield from _wrapped(visible(said), f"[{one.severity}] ", hang=4)
    yield from _more(len(report.anomalies))


def _told_corrections(report: Report) -> Iterator[str]:
    if report.corrections:
        yield from _heading("What was corrected")
    for one in report.corrections[:LISTED]:
        before, after = corrected(one)
        why = f" ({one.why})" if one.why else ""
        yield from _wrapped(visible(f"{one.where}, {one.name}: {before} is now {after}{why}"), "- ")
    yield from _more(len(report.corrections))


def _told_errors(report: Report) -> Iterator[str]:
    if report.errors:
        yield from _heading("What failed, and what to do")
    for one in report.errors[:LISTED]:
        yield from _wrapped(visible(f"{one.source}, {one.failure}, {one.count:,} times: {one.remedy}"), "- ")
        if one.example:
            yield from _wrapped(visible(one.example), "  e.g. ")
    yield from _more(len(report.errors))


def _more(count: int) -> Iterator[str]:
    if count > LISTED:
        yield f"… and {count - LISTED:,} more"


def _end(report: Report, link: str) -> Iterator[str]:
    if link:
        yield f"The whole report: {link}"
    yield from _wrapped(visible(f"{report.id}, edition {report.edition}. Days and times are those of {report.zone}."))


def _heading(text: str) -> list[str]:
    kept = shortened(text, COLUMNS)
    return ["", kept, "-" * width(kept)]


def _wrapped(text: str, before: str = "", hang: int | None = None) -> list[str]:
    """Wide characters count twice, so a line of them is wrapped as if it were shorter."""
    wide = max(1, width(text)) / max(1, len(text))
    after = " " * (len(before) if hang is None else hang)
    columns = max(20, int(COLUMNS / wide))
    return textwrap.wrap(text, columns, initial_indent=before, subsequent_indent=after, break_on_hyphens=False) or [
        before
    ]


def _table(table: Table, zone: str) -> Iterator[str]:
    """Columns from the left as far as they fit; what does not fit is named under the table."""
    numeric = [column.type in NUMERIC for column in table.columns]
    heads = [head(column) for column in table.columns]
    rows = [
        [figure(value, column.type, "", zone) for value, column in zip(row, table.columns, strict=True)]
        for row in table.rows[:ROWS]
    ]
    widths = _fitting(heads, rows)
    for row in (*_head_lines(heads, widths), *rows):
        cells = zip(row, widths, numeric, strict=False)
        yield GAP.join(padded(cell, room, right=right) for cell, room, right in cells)
    if len(table.rows) > ROWS:
        yield f"… and {counted(len(table.rows) - ROWS, 'more row')}"
    if len(widths) < len(heads):
        yield from _wrapped(f"Left out here: {'; '.join(heads[len(widths) :])}.")


def _fitting(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Room for each column's cells, and for its head on three lines or so."""
    words = [max(width(text) // 3, *map(width, text.split() or " ")) for text in heads]
    wanted = [max(word, *map(width, cells)) for word, cells in zip(words, zip(*rows, strict=True), strict=True)]
    wanted[0] = max(NARROWEST, min(wanted[0], FIRST))
    fitting: list[int] = []
    for room in wanted:
        left = COLUMNS - sum(fitting) - len(GAP) * len(fitting)
        if min(room, 24) > left:
            break
        fitting.append(min(room, left))
    return fitting


def _head_lines(heads: Sequence[str], widths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """Heads over as many lines as they need, standing on the first row."""
    wrapped = [textwrap.wrap(text, room) for text, room in zip(heads, widths, strict=False)]
    lines = max(map(len, wrapped))
    return zip(*([""] * (lines - len(own)) + own for own in wrapped), strict=True)


def _without_double_blanks(lines: Sequence[str]) -> Iterator[str]:
    before = "x"
    for line in lines:
        if line or before:
            yield line
        before = line
