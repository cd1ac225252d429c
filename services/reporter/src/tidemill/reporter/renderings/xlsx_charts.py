"""Charts that Excel draws, from the cells of the sheet they stand on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tidemill.reporter.renderings.palette import PAPER
from tidemill.reporter.renderings.telling import name_of
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.report import Series
from tidemill.reporter.table import Table, ValueType

SHOWN: Mapping[ValueType, str] = {
    "integer": "#,##0",
    "decimal": "#,##0.###",
    "percent": "0.0%",
    "money": "#,##0.00",
    "date": "yyyy-mm-dd",
    "time": "yyyy-mm-dd hh:mm",
    "duration": "[h]:mm:ss",
    "bytes": "#,##0",
}
KINDS = (("new", PAPER.new), ("changed", PAPER.changed), ("gone", PAPER.gone), ("failed", PAPER.bad))
DASHES = {"line": {"color": PAPER.gone, "width": 1.0, "dash_type": "dash"}}
DOTS = {"type": "circle", "size": 7, "fill": {"color": PAPER.bad}, "border": {"color": PAPER.bad}}
DRAWN = (
    (3, "value", {"line": {"color": PAPER.line, "width": 2.0}}),
    (4, "expected from", DASHES),
    (5, "expected to", DASHES),
    (6, "anomalous", {"line": {"none": True}, "marker": DOTS}),
)
"""Columns of the sheet with the series, and how each is drawn."""
DAY_COLUMN = 2


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of a sheet: of a table its head and its last row, of a series its first and its last point."""

    sheet: str
    first: int
    last: int

    def column(self, place: int, skip: int = 0) -> list[str | int]:
        return [self.sheet, self.first + skip, place, self.last, place]


def add_changes_chart(book: Any, sheet: Any, block: Block, table: Table) -> None:
    """Under the table, what each source brought."""
    chart = book.add_chart({"type": "bar", "subtype": "stacked"})
    heads = [column.name for column in table.columns]
    for kind, colour in KINDS:
        place = heads.index(kind)
        chart.add_series(
            {
                "name": [block.sheet, block.first, place],
                "categories": block.column(0, skip=1),
                "values": block.column(place, skip=1),
                "fill": {"color": colour},
                "gap": 60,
            }
        )
    chart.set_title({"name": "What changed", "overlay": False})
    chart.set_y_axis({"reverse": True})
    chart.set_legend({"position": "top"})
    sheet.insert_chart(block.last + 2, 0, chart, {"x_scale": 1.6, "y_scale": max(1.0, len(table.rows) / 12)})


def series_chart(book: Any, block: Block, series: Series) -> Any:
    """The measure, its band as dashed lines, and red marks where it left it."""
    chart = book.add_chart({"type": "line"})
    for place, label, shape in DRAWN:
        days, values = block.column(DAY_COLUMN), block.column(place)
        chart.add_series({"name": label, "categories": days, "values": values, **shape})
    name = f"{name_of(series)}, {series.unit}" if series.unit else name_of(series)
    rule = {"visible": True, "line": {"color": PAPER.rule}}
    chart.set_title({"name": shortened(visible(name), 120), "overlay": False, "name_font": {"size": 11}})
    chart.set_x_axis({"date_axis": True, "num_format": "d mmm", "major_unit": 7, "major_unit_type": "days"})
    chart.set_y_axis({"num_format": SHOWN.get(series.type, "General"), "major_gridlines": rule})
    chart.set_legend({"none": True})
    chart.show_blanks_as("gap")
    return chart
