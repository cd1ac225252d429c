"""`tidemill export`: a dataset to a file."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from tidemill.cli.reading import DatasetName, database_url, find_dataset, moment, open_store
from tidemill.cli.running import Assignments, fail

if TYPE_CHECKING:
    from tidemill.converter.reading import Selection


class Form(StrEnum):
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


ANY_ZONE = "2025-06-17 or 2025-06-17T19:00+02:00; UTC without a zone."


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    dataset: DatasetName,
    as_of: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help=f"What was true then, by what is known now. {ANY_ZONE}"),
    ] = None,
    known_at: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="TIME", help="What was recorded by then, right or wrong; with --as-of both."
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only what was recorded at this time or later."),
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="All versions, not only the current ones.")] = False,
    form: Annotated[
        Form | None, typer.Option("-o", "--output", help="Without it as --out ends, else csv.", show_default=False)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write; without it standard output.")] = None,
    assignments: Assignments = None,
) -> None:
    """Write the records of a dataset, in memory that does not grow with them."""
    from tidemill.converter.reading import Contradiction, Selection

    form = form or _form_of(out)
    if out is None and form in (Form.PARQUET, Form.XLSX):
        fail(f"{form.value} is not for a terminal: add --out FILE.{form.value}")
    wanted = Selection(history=history, as_of=as_of, known_at=known_at, since=since)
    try:
        count = asyncio.run(_export(database_url(assignments), dataset, wanted, form, out))
    except Contradiction as error:
        fail(str(error))
    except OSError as error:
        fail(f"{out or 'standard output'}: {error.strerror or error}")
    if out is not None:
        typer.echo(f"{count:,} rows in {out}")


def _form_of(out: Path | None) -> Form:
    if out is None:
        return Form.CSV
    suffix = out.suffix.removeprefix(".").lower()
    if suffix not in list(Form):
        endings = ", ".join(f".{form}" for form in Form)
        fail(f"{out}: of which form? Name it with -o, or end the file's name with one of {endings}")
    return Form(suffix)


async def _export(url: str, name: str, wanted: Selection, form: Form, out: Path | None) -> int:
    from tidemill.converter.export import Format, export_rows
    from tidemill.converter.reading import read_rows

    async with open_store(url) as connection:
        known = await find_dataset(connection, name)
        rows = read_rows(connection, known[name], known.id(name), wanted)
        with _opened(out) as file:
            return await export_rows(rows, Format(form.value), file)


@contextmanager
def _opened(out: Path | None) -> Iterator[BinaryIO]:
    """A file appears only when all of it is written."""
    if out is None:
        yield sys.stdout.buffer
        return
    draft = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
