"""A dataset in a file, in constant memory: csv, json, jsonl, parquet, xlsx."""

import csv
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any, BinaryIO, Protocol

import orjson

from tidemill.common.spreadsheets import (
    CELL_LETTERS,
    EXACT_INTEGER,
    FORMULA,
    SHEET_ROWS,
    harmless,
    in_excels_calendar,
)
from tidemill.converter.reading import BATCH_ROWS, Row, Rows
from tidemill.converter.views import Column


class Format(StrEnum):
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


class Writer(Protocol):
    """Writes batch after batch; what it was given to write to is whole after `close`."""

    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None: ...


async def export_rows(rows: Rows, format: Format, out: BinaryIO) -> int:
    """Write all rows, and return how many there were."""
    writer = WRITERS[format](rows.columns, out)
    count = 0
    async with aclosing(rows.batches) as batches:
        async for batch in batches:
            writer.write(batch)
            count += len(batch)
    writer.close()
    return count


class CsvWriter:
    """As RFC 4180 has it, in UTF-8. A text that a spreadsheet would take for a formula gets a `'` before it."""

    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        self._out = out
        self._csv = csv.writer(_Utf8(out))
        self._csv.writerow([column.name for column in columns])

    def write(self, rows: Sequence[Row]) -> None:
        self._csv.writerows([_csv_cell(value) for value in row] for row in rows)

    def close(self) -> None:
        self._out.flush()


class _Utf8:
    """A text file for `csv.writer`; unlike a TextIOWrapper it does not close what it writes to when it goes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, text: str) -> int:
        return self._out.write(text.encode())


class JsonLinesWriter:
    """One object a line."""

    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        self._names = [column.name for column in columns]
        self._out = out

    def write(self, rows: Sequence[Row]) -> None:
        self._out.write(b"".join(self._lines(rows)))

    def close(self) -> None:
        self._out.flush()

    def _lines(self, rows: Sequence[Row]) -> Iterator[bytes]:
        for row in rows:
            yield _json(dict(zip(self._names, row, strict=True))) + b"\n"


class JsonWriter(JsonLinesWriter):
    """One list of objects, one object a line."""

    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        super().__init__(columns, out)
        self._before = b"["

    def _lines(self, rows: Sequence[Row]) -> Iterator[bytes]:
        for line in super()._lines(rows):
            yield self._before + b"\n" + line[:-1]
            self._before = b","

    def close(self) -> None:
        self._out.write((b"[" if self._before == b"[" else b"\n") + b"]\n")
        super().close()


class ParquetWriter:
    """Row groups leave as they fill: polars reads our batches in a thread of its own while the cursor goes on."""

    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        import polars as pl
        from polars.io.plugins import register_io_source

        kinds: dict[str, Any] = {
            "numeric": pl.Float64,
            "double precision": pl.Float64,
            "real": pl.Float32,
            "bigint": pl.Int64,
            "integer": pl.Int32,
            "boolean": pl.Boolean,
            "timestamptz": pl.Datetime("us", "UTC"),
            "date": pl.Date,
            "time": pl.Time,
            "real[]": pl.List(pl.Float32),
        }
        self._columns = columns
        self._schema = {column.name: kinds.get(column.type, pl.String()) for column in columns}
        self._frames: queue.Queue[Any] = queue.Queue(maxsize=2)
        self._failure: BaseException | None = None
        source = register_io_source(lambda *_: self._handed_over(), schema=self._schema)

        def sink() -> None:
            try:
                source.sink_parquet(out, row_group_size=64 * BATCH_ROWS, engine="streaming")
            except BaseException as failure:  # noqa: BLE001 - Raised again by the thread that writes.
                self._failure = failure

        self._thread = threading.Thread(target=sink, name="parquet", daemon=True)
        self._thread.start()

    def write(self, rows: Sequence[Row]) -> None:
        import polars as pl

        values = {
            column.name: [_parquet_value(value, column.type) for value in cells]
            for column, cells in zip(self._columns, zip(*rows, strict=True), strict=True)
        }
        self._hand_over(pl.DataFrame(values, schema=self._schema))

    def close(self) -> None:
        self._hand_over(None)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def _handed_over(self) -> Iterator[Any]:
        while (frame := self._frames.get()) is not None:
            yield frame

    def _hand_over(self, frame: Any) -> None:
        handed_over = False
        while self._thread.is_alive() and not handed_over:
            with suppress(queue.Full):
                self._frames.put(frame, timeout=0.1)
                handed_over = True
        if self._failure is not None:
            raise self._failure


class XlsxWriter:
    """Typed cells, row after row to disk. Texts are written as texts and marked so, and never become formulas. Times
    are UTC; a further sheet begins where one is full."""

    def __init__(self, columns: Sequence[Column], out: BinaryIO) -> None:
        import xlsxwriter

        self._book = xlsxwriter.Workbook(out, {"constant_memory": True, "default_date_format": "yyyy-mm-dd"})
        self._columns = columns
        self._head = self._book.add_format({"bold": True})
        self._plain_text = self._book.add_format({"quote_prefix": True})
        self._times = {
            datetime: self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            date: self._book.add_format({"num_format": "yyyy-mm-dd"}),
            time: self._book.add_format({"num_format": "hh:mm:ss"}),
        }
        self._sheets = 0
        self._begin_sheet()

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            if self._row == SHEET_ROWS:
                self._begin_sheet()
            for number, value in enumerate(row):
                if value is not None:
                    self._write_cell(number, value)
            self._row += 1

    def close(self) -> None:
        self._book.close()

    def _begin_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._book.add_worksheet(f"rows {self._sheets}")
        self._sheet.freeze_panes(1, 1)
        for number, column in enumerate(self._columns):
            self._sheet.write_string(0, number, column.name, self._head)
        self._row = 1

    def _write_cell(self, number: int, value: Any) -> None:
        if isinstance(value, datetime) and in_excels_calendar(value):
            value = value.astimezone(UTC).replace(tzinfo=None)
        if isinstance(value, bool):
            self._sheet.write_boolean(self._row, number, value)
        elif isinstance(value, int | float | Decimal) and -EXACT_INTEGER <= value <= EXACT_INTEGER:
            self._sheet.write_number(self._row, number, float(value))
        elif isinstance(value, time) or (isinstance(value, date) and in_excels_calendar(value)):
            self._sheet.write_datetime(self._row, number, value, self._times[type(value)])
        else:
            text = _text(value)[:CELL_LETTERS]
            self._sheet.write_string(self._row, number, text, self._plain_text if text.startswith(FORMULA) else None)


WRITERS: Mapping[Format, Callable[[Sequence[Column], BinaryIO], Writer]] = {
    Format.CSV: CsvWriter,
    Format.JSON: JsonWriter,
    Format.JSONL: JsonLinesWriter,
    Format.PARQUET: ParquetWriter,
    Format.XLSX: XlsxWriter,
}


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, Decimal)) or value is None:
        return value
    return _text(value)


def _parquet_value(value: Any, kind: str) -> Any:
    if value is None or kind == "real[]":
        return value
    if kind == "numeric":
        return float(value)
    return _text(value) if kind == "jsonb" else value


def _text(value: Any) -> str:
    """Times as ISO 8601 in UTC, what is nested as JSON."""
    if isinstance(value, str):
        return value
    text = _json(value).decode()
    return text[1:-1] if isinstance(value, (date, time)) else text


def _json(value: Any) -> bytes:
    return orjson.dumps(value, default=_number, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"{type(value).__name__} is no value of a column")
