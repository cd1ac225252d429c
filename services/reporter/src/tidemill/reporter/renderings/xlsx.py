"""The report as a workbook: typed cells, a sheet for each table, and charts that Excel draws."""

import io
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tidemill.common.spreadsheets import CELL_LETTERS, EXACT_INTEGER, FORMULA, SHEET_ROWS, in_excels_calendar
from tidemill.reporter.renderings.palette import PAPER
from tidemill.reporter.renderings.sheets import sheet_names
from tidemill.reporter.renderings.telling import VERDICTS, Sum, drawable, edition, notes_on_trust, sections, sums, title
from tidemill.reporter.renderings.xlsx_charts import SHOWN, Block, add_changes_chart, series_chart
from tidemill.reporter.report import Report, Series
from tidemill.reporter.table import ColumnOf, Table, Value, ValueType

CREATED = datetime(2000, 1, 1)  # noqa: DTZ001 - xlsxwriter wants none. The same report is the same file whenever made.
SECONDS_A_DAY = 86_400
"""A duration is a part of a day to Excel, which so can sum and show it."""
CHARTS = 40
WIDEST = 60


def render_xlsx(report: Report) -> bytes:
    import xlsxwriter

    made = io.BytesIO()
    book = xlsxwriter.Workbook(made, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    book.set_properties({"title": title(report), "author": "Tidemill", "created": CREATED})
    _Book(book, report).write()
    book.close()
    return made.getvalue()


def _counted(one: Sum) -> tuple[str, str | int]:
    unit = ", bytes" if one.title.startswith("saved") else ""
    return f"{one.title.capitalize()}{unit}", one.figure if one.value is None else one.value


class _Book:
    """One report on its way into one workbook."""

    def __init__(self, book: Any, report: Report) -> None:
        self._book = book
        self._report = report
        self._zone = ZoneInfo(report.zone)
        self._formats = {type: book.add_format({"num_format": shown}) for type, shown in SHOWN.items()}
        self._counts = book.add_format({"num_format": SHOWN["integer"], "align": "left"})
        self._wrapped = book.add_format({"text_wrap": True, "valign": "top"})
        self._quoted = book.add_format({"text_wrap": True, "valign": "top", "quote_prefix": True})
        self._bold = book.add_format({"bold": True, "valign": "top"})
        self._large = book.add_format({"bold": True, "font_size": 16})
        self._note = book.add_format({"italic": True, "font_color": PAPER.muted})
        self._head = book.add_format(
            {"bold": True, "font_color": "#FFFFFF", "bg_color": PAPER.line, "text_wrap": True, "valign": "top"}
        )

    def write(self) -> None:
        tables = [table for section in sections(self._report) for table in section.tables]
        names = sheet_names(["Report", *(table.title for table in tables), "Time series"])
        self._write_front(names[0])
        for name, table in zip(names[1:], tables, strict=False):
            self._write_table(name, table)
        if any(series.points for series in self._report.series):
            self._write_series(names[-1])

    def _write_front(self, name: str) -> None:
        report, sheet = self._report, self._book.add_worksheet(name)
        sheet.set_column(0, 0, 26)
        sheet.set_column(1, 1, 100)
        sheet.hide_gridlines(2)
        self._write_text(sheet, 0, 0, title(report), self._large)
        facts: list[tuple[str, str | int]] = [
            ("", report.summary),
            ("Trust", VERDICTS[report.trust.verdict]),
            *(("", note) for note in notes_on_trust(report)),
            ("Inputs", "complete" if report.complete else "incomplete"),
            *(("Missing", f"{gap.source}: {gap.why}") for gap in report.missing),
            *(_counted(one) for one in sums(report)),
            ("Edition", edition(report) or "first"),
            ("Report", report.id),
            ("Counted from", report.made_from),
            ("Days and times of", report.zone),
        ]
        for row, (label, said) in enumerate(facts, 1):
            sheet.write_string(row, 0, label, self._bold)
            if isinstance(said, int):
                sheet.write_number(row, 1, said, self._counts)
            else:
                self._write_text(sheet, row, 1, said)

    def _write_table(self, name: str, table: Table) -> None:
        sheet = self._book.add_worksheet(name)
        first = 1 if table.note else 0
        if table.note:
            self._write_text(sheet, 0, 0, table.note, self._note)
        self._write_head(sheet, first, table.columns)
        rows = table.rows[: SHEET_ROWS - first - 1]
        for number, row in enumerate(rows, first + 1):
            for place, (column, value) in enumerate(zip(table.columns, row, strict=True)):
                self._write_cell(sheet, number, place, column, value)
        sheet.freeze_panes(first + 1, 1)
        sheet.autofilter(first, 0, first + len(rows), len(table.columns) - 1)
        self._set_widths(sheet, table)
        if table.title == "What changed":
            add_changes_chart(self._book, sheet, Block(name, first, first + len(rows)), table)

    def _write_head(self, sheet: Any, row: int, columns: tuple[ColumnOf, ...]) -> None:
        for place, column in enumerate(columns):
            unit = "h:mm:ss" if column.type == "duration" else column.unit
            self._write_text(sheet, row, place, f"{column.title}, {unit}" if unit else column.title, self._head)

    def _write_cell(self, sheet: Any, row: int, place: int, column: ColumnOf, value: Value) -> None:
        shape = self._formats.get(column.type)
        if value is None:
            return
        if isinstance(value, (int, float)):
            if abs(value) > EXACT_INTEGER:
                sheet.write_string(row, place, str(value))
            else:
                sheet.write_number(row, place, value / SECONDS_A_DAY if column.type == "duration" else value, shape)
        elif column.type in {"date", "time"} and (when := self._moment(column.type, value)) is not None:
            sheet.write_datetime(row, place, when, shape)
        else:
            self._write_text(sheet, row, place, value)

    def _moment(self, type: ValueType, value: str) -> date | None:
        """As Excel takes it, times in the report's zone; None before its calendar begins."""
        if type == "date":
            day = date.fromisoformat(value)
        else:
            day = datetime.fromisoformat(value).astimezone(self._zone).replace(tzinfo=None)
        return day if in_excels_calendar(day) else None

    def _write_text(self, sheet: Any, row: int, place: int, text: str, shape: Any = None) -> None:
        """As a text, whatever it looks like; one that would be a formula is marked as text for good."""
        kept = text[:CELL_LETTERS]
        sheet.write_string(row, place, kept, self._quoted if kept.startswith(FORMULA) else shape or self._wrapped)

    def _set_widths(self, sheet: Any, table: Table) -> None:
        for place, column in enumerate(table.columns):
            longest = max((len(value) for row in table.rows[:200] if isinstance(value := row[place], str)), default=0)
            sheet.set_column(place, place, min(WIDEST, max(12, len(column.title) + 4, longest + 2)))

    def _write_series(self, name: str) -> None:
        """All points under each other, and beside them a chart of each series."""
        sheet = self._book.add_worksheet(name)
        heads = ("Measure", "Of", "Day", "Value", "Expected from", "Expected to", "Anomalous")
        for place, head in enumerate(heads):
            sheet.write_string(0, place, head, self._head)
        sheet.set_column(0, 1, 24)
        sheet.set_column(2, 6, 13)
        sheet.freeze_panes(1, 2)
        row = 1
        for number, series in enumerate(self._report.series):
            last = self._write_points(sheet, row, series)
            if drawable(series) and number < CHARTS:
                sheet.insert_chart(1 + 16 * number, 8, series_chart(self._book, Block(name, row, last), series))
            row = last + 1
        sheet.autofilter(0, 0, row - 1, len(heads) - 1)

    def _write_points(self, sheet: Any, row: int, series: Series) -> int:
        """Return the last row that was written."""
        value = ColumnOf(name="value", title="Value", type=series.type)
        day = ColumnOf(name="day", title="Day", type="date")
        labels = ", ".join(series.labels[key] for key in sorted(series.labels))
        for point in series.points:
            self._write_text(sheet, row, 0, series.title or series.name)
            self._write_text(sheet, row, 1, labels)
            self._write_cell(sheet, row, 2, day, point.day.isoformat())
            anomalous = point.value if point.anomalous else None
            for place, number in enumerate((point.value, point.low, point.high, anomalous), 3):
                self._write_cell(sheet, row, place, value, number)
            row += 1
        return row - 1
