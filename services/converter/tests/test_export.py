"""A dataset leaves as a file, typed, harmless to spreadsheets, as it is or as it was."""

import csv
import io
import json
import resource
import tempfile
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel

from tidemill.converter.datasets import register_datasets
from tidemill.converter.export import Format, ParquetWriter, export_rows
from tidemill.converter.reading import Contradiction, Rows, Selection, read_rows
from tidemill.converter.views import Column
from tidemill.plugin import Dataset, Record

from .store_kit import START, Store, day, price


class Thing(BaseModel):
    text: str
    amount: float | None = None
    count: int = 0
    yes: bool = False
    at: AwareDatetime | None = None
    parts: list[int] = []


THING = Dataset("kinds.thing", Thing)


async def export(store: Store, dataset: Dataset, format: Format, **wanted: Any) -> bytes:
    out = io.BytesIO()
    async with store.engine.connect() as connection:
        rows = read_rows(connection, dataset, store.datasets.id(dataset.name), Selection(**wanted))
        await export_rows(rows, format, out)
    return out.getvalue()


async def prices(store: Store, **wanted: Any) -> dict[str, int]:
    lines = (await export(store, store.datasets["shop.price"], Format.JSONL, **wanted)).splitlines()
    return {row["key"]: row["price"] for row in map(json.loads, lines)}


@pytest.fixture
async def things(store: Store) -> Store:
    store.datasets = await register_datasets(store.engine, [THING])
    data = [
        {"text": "=HYPERLINK(1)", "amount": 1.5, "count": 3, "yes": True, "at": "2025-06-01T12:00:00+02:00"},
        {"text": 'Ő, "quoted"\nline', "parts": [1, 2]},
        {"text": "", "amount": -2, "count": 2**60, "at": "0001-01-01T00:00:00Z"},
    ]
    await store.put([Record("kinds.thing", f"k{n}", values) for n, values in enumerate(data)], day(1))
    return store


@pytest.mark.servers
async def test_csv_is_typed_and_no_text_is_a_formula(things: Store) -> None:
    rows = list(csv.DictReader(io.StringIO((await export(things, THING, Format.CSV)).decode())))
    assert [row["text"] for row in rows] == ["'=HYPERLINK(1)", 'Ő, "quoted"\nline', ""]
    assert [(row["amount"], row["yes"], row["parts"]) for row in rows] == [
        ("1.5", "true", "[]"),
        ("", "false", "[1,2]"),
        ("-2.0", "false", "[]"),
    ]
    assert rows[0]["at"] == "2025-06-01T10:00:00Z"
    assert rows[0]["valid_from"] == "2025-06-02T12:00:00Z"


@pytest.mark.servers
async def test_json_is_one_list_and_json_lines_the_same_objects(things: Store) -> None:
    objects = json.loads(await export(things, THING, Format.JSON))
    lines = [json.loads(line) for line in (await export(things, THING, Format.JSONL)).splitlines()]
    assert objects == lines
    assert objects[1]["text"] == 'Ő, "quoted"\nline'
    assert (objects[0]["amount"], objects[1]["amount"], objects[1]["parts"]) == (1.5, None, [1, 2])
    assert objects[2]["count"] == 2**60
    assert json.loads(await export(things, THING, Format.JSON, key="nobody")) == []


@pytest.mark.servers
async def test_parquet_has_types(things: Store) -> None:
    frame = pl.read_parquet(io.BytesIO(await export(things, THING, Format.PARQUET)))
    assert frame.schema["amount"] == pl.Float64
    assert frame.schema["at"] == pl.Datetime("us", "UTC")
    assert frame["text"].to_list()[0] == "=HYPERLINK(1)"
    assert frame["at"].to_list()[0] == datetime(2025, 6, 1, 10, tzinfo=UTC)
    assert frame["parts"].to_list() == ["[]", "[1,2]", "[]"]


@pytest.mark.servers
async def test_xlsx_holds_numbers_times_and_texts_that_never_are_formulas(things: Store) -> None:
    content = await export(things, THING, Format.XLSX)
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert "=HYPERLINK(1)" in sheet
    assert "<v>1.5</v>" in sheet
    assert ">1152921504606846976<" in sheet
    assert "0001-01-01T00:00:00" in sheet


@pytest.mark.servers
async def test_an_empty_dataset_is_a_file_with_columns_only(things: Store) -> None:
    wanted = {"since": datetime(2999, 1, 1, tzinfo=UTC)}
    assert (await export(things, THING, Format.CSV, **wanted)).startswith(b"key,text,amount")
    assert await export(things, THING, Format.JSON, **wanted) == b"[]\n"
    assert pl.read_parquet(io.BytesIO(await export(things, THING, Format.PARQUET, **wanted))).height == 0
    assert zipfile.is_zipfile(io.BytesIO(await export(things, THING, Format.XLSX, **wanted)))


@pytest.mark.servers
async def test_as_of_is_what_was_true_then_by_what_is_known_now(store: Store) -> None:
    await store.put([price("a", 1), price("b", 1)], day(1))
    await store.put([price("a", 3), price("c", 3)], day(3))
    await store.put([price("a", 2)], day(2))
    assert await prices(store, as_of=day(0)) == {}
    assert await prices(store, as_of=day(1)) == {"a": 1, "b": 1}
    assert await prices(store, as_of=day(2.5)) == {"a": 2, "b": 1}
    assert await prices(store, as_of=day(9)) == await prices(store) == {"a": 3, "b": 1, "c": 3}


@pytest.mark.servers
async def test_known_at_is_what_we_had_recorded_then_right_or_wrong(store: Store) -> None:
    async def now() -> datetime:
        return (await store.rows("SELECT clock_timestamp() AS now"))[0]["now"]

    await store.put([price("a", 1)], day(1))
    before = await now()
    await store.put([price("a", 9)], day(1), received=day(2))
    await store.put([price("a", 5), price("b", 5)], day(0.5))
    assert await prices(store, known_at=before) == {"a": 1}
    assert await prices(store) == {"a": 9, "b": 5}
    assert await prices(store, as_of=day(0.7), known_at=before) == {}
    assert await prices(store, as_of=day(0.7)) == {"a": 5, "b": 5}
    assert await prices(store, since=before) == {"a": 9, "b": 5}
    assert await prices(store, since=await now()) == {}
    with pytest.raises(Contradiction):
        await prices(store, history=True, as_of=START)


@pytest.mark.servers
async def test_history_key_and_limit_select(store: Store) -> None:
    children = [price("x", 5, parent=("shop.price", "a")), price("y", 6, parent=("shop.price", "b"))]
    await store.put([price("a", 1), price("b", 1), *children], day(1))
    await store.put([price("a", 2)], day(2))
    lines = (await export(store, store.datasets["shop.price"], Format.JSONL, history=True, key="a")).splitlines()
    rows = [json.loads(line) for line in lines]
    assert [(row["key"], row["price"], row["valid_to"] is None) for row in rows] == [
        ("a", 1, False),
        ("a", 2, True),
        ("a/x", 5, True),
    ]
    assert await prices(store, limit=2) == {"a": 2, "a/x": 5}


TEXT = [Column("text", "text", "")]


async def exported(format: Format, values: list[Any], columns: list[Column] = TEXT) -> bytes:
    async def batches() -> Any:
        yield [(value,) for value in values]

    out = io.BytesIO()
    await export_rows(Rows(columns, batches()), format, out)
    return out.getvalue()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))))
async def test_csv_gives_back_any_text_and_begins_none_as_a_formula(texts: list[str]) -> None:
    content = (await exported(Format.CSV, texts)).decode()
    cells = [row[0] if row else "" for row in csv.reader(io.StringIO(content, newline=""))][1:]
    assert [cell.removeprefix("'") if cell != text else cell for cell, text in zip(cells, texts, strict=True)] == texts
    assert not any(cell[:1] in set("=+-@\t\r\n＝＋－＠") - {""} for cell in cells if cell)


async def test_a_text_longer_than_a_cell_is_cut() -> None:
    content = await exported(Format.XLSX, ["x" * 40_000])
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert "x" * 32_767 + "<" in book.read("xl/worksheets/sheet1.xml").decode()


async def test_what_stops_the_parquet_writer_stops_the_export() -> None:
    class Full(io.RawIOBase):
        def writable(self) -> bool:
            return True

        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    writer = ParquetWriter(TEXT, Full())
    with pytest.raises(Exception, match="No space left"):
        for _ in range(500):
            writer.write([("text" * 100,)] * 1000)
        writer.close()


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.parametrize("format", Format)
async def test_memory_does_not_grow_with_the_rows(format: Format) -> None:
    columns = [Column("key", "text", ""), *(Column(f"n{number}", "numeric", "") for number in range(5))]

    async def batches(count: int) -> Any:
        for number in range(count):
            yield [(f"key {number} {row}", number / 7, 2.0, 3.0, 4.0, 5.0) for row in range(1000)]

    async def peak(count: int) -> int:
        with tempfile.TemporaryDirectory() as folder, (Path(folder) / "out").open("wb") as out:
            await export_rows(Rows(columns, batches(count)), format, out)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    # A row of a workbook takes ten times as long to write, and five times the memory where it is kept.
    few, many = await peak(20), await peak(120 if format is Format.XLSX else 320)
    assert many - few < 40, f"{few} MB, then {many} MB"
