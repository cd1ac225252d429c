"""`tidemill records`: look at what is stored."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.files import until_the_reader_leaves
from tidemill.cli.reading import DatasetName, database_url, find_dataset, open_store
from tidemill.cli.running import Assignments

if TYPE_CHECKING:
    from tidemill.converter.reading import Rows, Selection
    from tidemill.plugin import Dataset

SHOWN = 50
"""Rows in a table, unless --limit says otherwise."""
CELL_LETTERS = 40


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def register(app: typer.Typer) -> None:
    app.command("records")(records)


def records(
    dataset: DatasetName,
    key: Annotated[str | None, typer.Option(help="Only this record, and those that stand under it.")] = None,
    history: Annotated[bool, typer.Option("--history", help="All versions, not only the current ones.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help=f"At most so many; a table has {SHOWN} otherwise.")] = None,
    form: Annotated[Form, typer.Option("-o", "--output", help="table for people, json or jsonl for programs.")] = (
        Form.TABLE
    ),
    assignments: Assignments = None,
) -> None:
    """Show the records of a dataset; `export` writes them to files."""
    from tidemill.converter.reading import Selection

    if limit is None and form is Form.TABLE:
        limit = SHOWN
    with until_the_reader_leaves():
        asyncio.run(_show(database_url(assignments), dataset, Selection(key=key, history=history, limit=limit), form))


async def _show(url: str, name: str, wanted: Selection, form: Form) -> None:
    from tidemill.converter.export import Format, export_rows
    from tidemill.converter.reading import read_rows

    async with open_store(url) as connection:
        known = await find_dataset(connection, name)
        rows = read_rows(connection, known[name], known.id(name), wanted)
        if form is Form.TABLE:
            await _print_table(known[name], rows, wanted)
        else:
            await export_rows(rows, Format(form.value), sys.stdout.buffer)


async def _print_table(dataset: Dataset, rows: Rows, wanted: Selection) -> None:
    """Key, fields, and since when; where it all comes from is for programs."""
    from rich.console import Console
    from rich.table import Table

    times = {"valid_from", "valid_to", "record_valid_from", "record_valid_to"}
    fields = {"key", "record_key", *dataset.model.model_fields}
    shown = [n for n, column in enumerate(rows.columns) if column.name in fields or column.name in times]
    found: list[Sequence[Any]] = [row async for batch in rows.batches for row in batch]
    filled = [n for n in shown if any(row[n] is not None for row in found)] or shown
    table = Table(*(rows.columns[n].name for n in filled), title=dataset.title or dataset.name)
    for row in found:
        table.add_row(*(_cell(row[n]) for n in filled))
    console = Console()
    console.print(table)
    more = f" (at most {wanted.limit}; --limit shows more)" if len(found) == wanted.limit else ""
    console.print(f"{len(found)} {'versions' if wanted.history else 'records'}{more}", highlight=False)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    text = str(value)
    return text if len(text) <= CELL_LETTERS else f"{text[: CELL_LETTERS - 1]}…"
