"""The report as tables: XLSX with typed cells, CSV in a ZIP."""

import csv
import io
import re
import zipfile
from datetime import date, datetime, timedelta
from xml.etree import ElementTree

from tidemill.reporter.renderings.csvs import named_tables, render_csv
from tidemill.reporter.renderings.xlsx import render_xlsx
from tidemill.reporter.report import ColumnOf, Table

from .rendering_kit import HOSTILE, SAVED, empty, hostile, long, sample

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - Excel's times have no zone.


class Book:
    """A workbook as its XML has it."""

    def __init__(self, content: bytes) -> None:
        self.zip = zipfile.ZipFile(io.BytesIO(content))
        self.strings = ["".join(si.itertext()) for si in self.xml("xl/sharedStrings.xml")]
        styles = self.xml("xl/styles.xml")
        self.codes = {int(f.get("numFmtId", 0)): f.get("formatCode", "") for f in styles.iter(f"{MAIN}numFmt")}
        self.styles = list(styles.find(f"{MAIN}cellXfs") or [])
        self.names = [sheet.get("name", "") for sheet in self.xml("xl/workbook.xml").iter(f"{MAIN}sheet")]

    def xml(self, name: str) -> ElementTree.Element:
        return ElementTree.fromstring(self.zip.read(name))

    def sheet(self, name: str) -> ElementTree.Element:
        return self.xml(f"xl/worksheets/sheet{self.names.index(name) + 1}.xml")

    def cells(self, name: str) -> dict[str, tuple[object, str]]:
        """By reference: the value, and the format of numbers or `quoted`."""
        return {cell.get("r", ""): self._cell(cell) for cell in self.sheet(name).iter(f"{MAIN}c")}

    def _cell(self, cell: ElementTree.Element) -> tuple[object, str]:
        value = cell.findtext(f"{MAIN}v") or ""
        style = self.styles[int(cell.get("s", 0))]
        if cell.get("t") == "s":
            return self.strings[int(value)], "quoted" if style.get("quotePrefix") else ""
        number = int(style.get("numFmtId", 0))
        return float(value), self.codes.get(number, str(number))


def test_cells_are_of_the_types_of_their_columns() -> None:
    book = Book(render_xlsx(sample()))
    cities = book.cells("Listings by city")
    assert cities["A3"] == ("Helsinki", "")
    assert cities["B3"] == (3400.0, "#,##0")
    assert cities["E3"] == (6420.5, "#,##0.00")
    assert cities["G3"] == (0.968, "0.0%")
    issues = book.cells("Issues of the paper")
    day, shown = issues["B2"]
    assert isinstance(day, float)
    assert (EPOCH + timedelta(days=day), shown) == (datetime(2026, 11, 27), "yyyy-mm-dd")  # noqa: DTZ001
    received, shown = issues["C2"]
    assert isinstance(received, float)
    assert (EPOCH + timedelta(minutes=round(received * 1440)), shown) == (
        datetime(2026, 11, 27, 14, 5),  # noqa: DTZ001
        "yyyy-mm-dd hh:mm",
    )
    assert "C3" not in issues
    duration, shown = book.cells("Cost by source")["B2"]
    assert isinstance(duration, float)
    assert (round(duration * 86_400, 3), shown) == (2210.4, "[h]:mm:ss")


def test_heads_stay_in_sight_and_can_be_filtered() -> None:
    book = Book(render_xlsx(sample()))
    for name in book.names[1:]:
        sheet = book.sheet(name)
        pane = sheet.find(f".//{MAIN}pane")
        assert pane is not None, name
        assert pane.get("state") == "frozen"
        assert sheet.find(f"{MAIN}autoFilter") is not None, name


def test_excel_draws_the_series_and_the_changes() -> None:
    book = Book(render_xlsx(sample()))
    charts = [book.zip.read(name).decode() for name in book.zip.namelist() if name.startswith("xl/charts/chart")]
    assert len(charts) == len(sample().series) + 1
    assert all("<c:numCache>" in chart for chart in charts)
    assert any("Median price, Vantaa, EUR/m²" in chart for chart in charts)


def test_no_text_becomes_a_formula() -> None:
    book = Book(render_xlsx(hostile()))
    for name in book.names:
        assert not list(book.sheet(name).iter(f"{MAIN}f")), name
    quoted = [value for name in book.names for value, shape in book.cells(name).values() if shape == "quoted"]
    assert {HOSTILE[3], HOSTILE[4], HOSTILE[5], HOSTILE[6], HOSTILE[7], HOSTILE[8]} <= set(quoted)
    assert not book.zip.read("xl/worksheets/sheet1.xml").count(b"<hyperlink")


def test_what_excel_cannot_hold_is_text() -> None:
    columns = (ColumnOf(name="n", title="n", type="integer"), ColumnOf(name="d", title="d", type="date"))
    table = Table.model_validate({"title": "Odd", "columns": columns, "rows": [(2**60, date(1850, 1, 1))]})
    cells = Book(render_xlsx(empty().model_copy(update={"breakdowns": (table,)}))).cells("Odd")
    assert (cells["A2"][0], cells["B2"][0]) == (str(2**60), "1850-01-01")


def test_an_empty_report_is_a_workbook_of_one_sheet() -> None:
    book = Book(render_xlsx(empty()))
    assert book.names == ["Report"]
    assert book.cells("Report")["B2"][0] == "No source was due."


def test_a_workbook_of_ten_thousand_rows_has_them_all() -> None:
    assert Book(render_xlsx(long())).cells("A long table")["A10001"][0] == "Row number 9999"


def unzipped(content: bytes) -> dict[str, str]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    return {name: archive.read(name).decode() for name in archive.namelist()}


def test_the_csv_files_of_the_sample_are_as_they_were() -> None:
    made = unzipped(render_csv(sample()))
    saved = {file.name: file.read_bytes().decode() for file in (SAVED / "csv").iterdir()}
    assert made == saved, "renew it: python services/reporter/tests/sample_report.py"


def test_a_csv_file_holds_values_and_not_figures() -> None:
    rows = list(csv.DictReader(io.StringIO(unzipped(render_csv(sample()))["breakdowns-listings-by-city.csv"])))
    assert rows[0]["price"] == "6420.5"
    assert rows[0]["inside"] == "0.968"


def test_no_csv_cell_begins_a_formula() -> None:
    for content in unzipped(render_csv(hostile())).values():
        for row in csv.reader(io.StringIO(content)):
            assert not [cell for cell in row if re.match(r"[=+@\t\r＝＋－＠]|-\D", cell)]


def test_tables_of_one_title_are_files_of_their_own() -> None:
    names = [name for name, _ in named_tables(hostile())]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)
