"""What of a report's tables a mail holds: clients cut long messages off, and nobody reads them in the morning."""

from dataclasses import dataclass

from tidemill.reporter.renderings.telling import moved, sections
from tidemill.reporter.report import Report
from tidemill.reporter.table import Table

SECTIONS = ("changed", "breakdowns", "quality")
ROWS = 15
"""Of a table."""
CELLS = 600
"""Of all tables, with their heads: with its markup a cell is about 110 bytes, and Gmail shows 102 kB."""
LISTED = 20
"""Of anomalies, of failures and of corrections."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    tables: tuple[Table, ...]
    left_out: tuple[str, ...]
    """Titles of those that had no room."""


def excerpt(report: Report) -> Excerpt:
    """What changed always, then as many tables as there is room for, the small ones rather than the large ones; in the
    order of the report."""
    every = [table for one in sections(report) if one.anchor in SECTIONS for table in one.tables] + list(moved(report))
    room = CELLS
    chosen: set[int] = set()
    for place, table in sorted(enumerate(every), key=lambda one: (one[1].title != "What changed", _cells(one[1]))):
        if not chosen or _cells(table) <= room:
            chosen.add(place)
            room -= _cells(table)
    told = tuple(table for place, table in enumerate(every) if place in chosen)
    return Excerpt(told, tuple(table.title for place, table in enumerate(every) if place not in chosen))


def _cells(table: Table) -> int:
    return len(table.columns) * (min(len(table.rows), ROWS) + 1)
