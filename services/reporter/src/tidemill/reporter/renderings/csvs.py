"""The report's tables as CSV: a ZIP with a file for each, as each has columns of its own."""

import csv
import io
import re
import zipfile
from collections.abc import Iterator, Sequence

from tidemill.common.spreadsheets import harmless
from tidemill.reporter.renderings.telling import sections, series_table
from tidemill.reporter.report import Report
from tidemill.reporter.table import Table, Value, ValueType

BEGINNING = (1980, 1, 1, 0, 0, 0)
"""Of a ZIP's calendar: the same report is the same file whenever it is made."""
READABLE = 0o100644 << 16


def render_csv(report: Report) -> bytes:
    """Files named for section and table, RFC 4180 in UTF-8, values as in the JSON; formulas get a `'` before them."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, table in named_tables(report):
            entry = zipfile.ZipInfo(f"{name}.csv", BEGINNING)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = READABLE
            entry.create_system = 3
            archive.writestr(entry, csv_of(table))
    return made.getvalue()


def named_tables(report: Report) -> Iterator[tuple[str, Table]]:
    """Every table under a name of its own, as the sections come; the time series last."""
    taken: dict[str, int] = {}
    every = [(one.anchor, table) for one in sections(report) for table in one.tables]
    for section, table in [*every, ("series", series_table(report))]:
        slug = re.sub("[^a-z0-9]+", "-", table.title.lower()).strip("-")[:60]
        name = f"{section}-{slug}" if slug else section
        taken[name] = taken.get(name, 0) + 1
        yield (f"{name}-{taken[name]}" if taken[name] > 1 else name), table


def csv_of(table: Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([harmless(column.name) for column in table.columns])
    types = [column.type for column in table.columns]
    writer.writerows(_row(types, row) for row in table.rows)
    return text.getvalue().encode()


def _row(types: Sequence[ValueType], row: Sequence[Value]) -> list[Value]:
    return [_cell(type, value) for type, value in zip(types, row, strict=True)]


def _cell(type: ValueType, value: Value) -> Value:
    return harmless(value) if type == "text" and isinstance(value, str) else value
