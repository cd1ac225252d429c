"""`tidemill records`: look at what is stored."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.files import until_the_reader_leaves
from tidemill.cli.named import TAKES_NAMED, read_named
from tidemill.cli.reading import DatasetName, database_url, find_dataset, open_store
from tidemill.cli.running import Assignments, fail
from tidemill.cli.tables import Column, are_numbers, cell, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.converter.datasets import Datasets
    from tidemill.converter.reading import Rows, Selection
    from tidemill.plugin import Dataset

SHOWN = 50
"""Rows in a table, unless --limit says otherwise."""
KEYS = ("record_key", "parent", "key")
TIMES = ("valid_from", "valid_to", "record_valid_from", "record_valid_to")


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


def register(app: typer.Typer) -> None:
    app.command("records", context_settings=TAKES_NAMED)(records)


def records(
    context: typer.Context,
    dataset: DatasetName,
    key: Annotated[str | None, typer.Option(help="Only this record, and those that stand under it.")] = None,
    match: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only records in whose key, print or names this is.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="All versions, not only the current ones.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help=f"At most so many; a table has {SHOWN} otherwise.")] = None,
    form: Annotated[Form, typer.Option("-o", "--output", help="table for people, json or jsonl for programs.")] = (
        Form.TABLE
    ),
    assignments: Assignments = None,
) -> None:
    """Show the records of a dataset; `export` writes them to files. `--city Helsinki`: only those with this value, by
    whatever fields there are; several hold together. With --history: all versions of those that have, or had, it; with
    --history and --match: how the values of what matches, and of all that stands under it, moved."""
    from tidemill.converter.reading import Selection, UnknownField

    if limit is None and form is Form.TABLE:
        limit = SHOWN
    fields = read_named(context.args)
    with until_the_reader_leaves():
        wanted = Selection(key=key, match=match, history=history, limit=limit, fields=fields)
        try:
            asyncio.run(_show(database_url(assignments), dataset, wanted, form))
        except UnknownField as error:
            fail(str(error))


async def _show(url: str, name: str, wanted: Selection, form: Form) -> None:
    from tidemill.converter.export import Format, export_rows
    from tidemill.converter.reading import read_rows

    async with open_store(url) as connection:
        known = await find_dataset(connection, name)
        if form is Form.TABLE and wanted.history and wanted.match:
            await _show_paths(connection, known, name, wanted)
            return
        rows = read_rows(connection, known[name], known.id(name), wanted)
        if form is Form.TABLE:
            await _print_table(known[name], rows, wanted)
        else:
            await export_rows(rows, Format(form.value), sys.stdout.buffer)


async def _show_paths(connection: AsyncConnection, known: Datasets, name: str, wanted: Selection) -> None:
    from tidemill.cli.paths import print_paths
    from tidemill.converter.reading import read_rows

    rows = read_rows(connection, known[name], known.id(name), replace(wanted, history=False))
    key = next(place for place, column in enumerate(rows.columns) if column.sql == "r.key")
    keys = [row[key] async for batch in rows.batches for row in batch]
    await print_paths(connection, known, name, keys)
    typer.echo(f"\n{len(keys)} record{'' if len(keys) == 1 else 's'} with {wanted.match!r}; times in UTC, from when on")


async def _print_table(dataset: Dataset, rows: Rows, wanted: Selection) -> None:
    """Fields, names, key, and since when; where it all comes from is for programs."""
    found = [
        _unfolded(dict(zip((column.name for column in rows.columns), row, strict=True)), dataset.model.model_fields)
        async for batch in rows.batches
        for row in batch
    ]
    gone = "record_gone" if "gone" in dataset.model.model_fields else "gone"
    for row in found if wanted.history else ():
        row[gone] = gone if row.get(gone) else None
    names = [*_columns(dataset, found), gone]
    filled = [name for name in names if any(row.get(name) is not None for row in found)]
    columns = [Column(name, right=are_numbers(row.get(name) for row in found)) for name in filled]
    left_out: Sequence[str] = ()
    if found:
        since = ("valid_from", "record_valid_from", gone) if wanted.history else ()
        important = [*since, *(dataset.summary or [name for name in filled if name not in (*KEYS, *TIMES)])]
        typer.echo(f"{dataset.title or dataset.name}\n")
        left_out = print_table(columns, [[cell(row.get(name)) for name in filled] for row in found], important)
        typer.echo()
    more = f" (at most {wanted.limit}; --limit shows more)" if len(found) == wanted.limit else ""
    thing = "version" if wanted.history else "record"
    typer.echo(f"{len(found)} {thing}{'' if len(found) == 1 else 's'}{more}")
    if left_out:
        typer.echo(f"no room for: {', '.join(left_out)}")
    if found:
        typer.echo(f"{_in_utc(found, set(filled) - set(left_out))}all of each, with where it comes from: -o jsonl")


def _unfolded(row: dict[str, Any], fields: Collection[str]) -> dict[str, Any]:
    """With a column for each thing that a record holds beyond its model."""
    if "data" in fields or not isinstance(data := row.get("data"), dict):
        return row
    return {**{name: value for name, value in data.items() if name not in row}, **row, "data": None}


def _columns(dataset: Dataset, found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Key, fields, what stands for printed names, times; of all columns those for people."""
    names = [f"{name}_name" for name in dataset.names]
    beyond = dict.fromkeys(name for row in found for name in takewhile(lambda name: name not in KEYS, row))
    fields = [*dataset.model.model_fields, *beyond]
    return list(dict.fromkeys([*KEYS, *fields, *names, *TIMES]))


def _in_utc(found: Sequence[Mapping[str, Any]], shown: Collection[str]) -> str:
    """Beside them may be local times, as printed."""
    times = dict.fromkeys(name for row in found for name in row if name in shown and isinstance(row[name], datetime))
    return f"{', '.join(times)} in UTC; " if times else ""
