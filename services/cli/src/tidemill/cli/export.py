"""`tidemill export`: a dataset to a file."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.files import CannotWrite, until_the_reader_leaves, written_whole
from tidemill.cli.named import TAKES_NAMED, read_named
from tidemill.cli.reading import DatasetName, database_url, find_dataset, moment, open_store
from tidemill.cli.running import Assignments, fail

if TYPE_CHECKING:
    from tidemill.converter.reading import Selection


MATCH = "football.match"


class Form(StrEnum):
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


BINARY = (Form.PARQUET, Form.XLSX)
ANY_ZONE = "2025-06-17 or 2025-06-17T19:00+02:00; UTC without a zone."


def register(app: typer.Typer) -> None:
    app.command("export", context_settings=TAKES_NAMED)(export)


def export(
    context: typer.Context,
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
    out: Annotated[
        Path | None,
        typer.Option(help="File to write; without it standard output, which for parquet and xlsx is no terminal."),
    ] = None,
    split_days: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="football.match with its odds, also in a file for each day in this folder, beside the merged one.",
        ),
    ] = None,
    max_additional: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="football.match with its odds, at most so many additional markets each."),
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Write the records of a dataset, in memory that does not grow with them. `--city Helsinki`: only those with this
    value, by whatever fields there are; several hold together."""
    from tidemill.converter.reading import Contradiction, Selection, UnknownField

    offer = split_days is not None or max_additional is not None
    form = form or (Form.JSON if offer and out is None else _form_of(out))
    if offer and (dataset != MATCH or form is not Form.JSON or history or since):
        fail(f"--split-days and --max-additional are for {MATCH} as json, without --history and --since")
    if split_days is not None and out is None:
        out = split_days / "merged.json"
    if out is None and form in BINARY and sys.stdout.isatty():
        fail(f"{form.value} is not for a terminal: add --out FILE.{form.value}, or > FILE.{form.value}")
    fields = read_named(context.args)
    if offer and fields:
        fail(f"--split-days and --max-additional are for all of {MATCH}, without --{next(iter(fields))}")
    wanted = Selection(history=history, as_of=as_of, known_at=known_at, since=since, fields=fields)
    try:
        with until_the_reader_leaves():
            if offer:
                asyncio.run(_export_offer(database_url(assignments), wanted, out, split_days, max_additional))
                return
            count = asyncio.run(_export(database_url(assignments), dataset, wanted, form, out))
            if out is not None:
                typer.echo(f"{count:,} rows in {out}", err=not out.is_file())
    except (CannotWrite, Contradiction, UnknownField) as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write {error.filename or 'standard output'}: {error.strerror or error}")


def _form_of(out: Path | None) -> Form:
    if out is None:
        return Form.CSV
    if out.is_dir():
        fail(f"{out} is a folder: name a file in it")
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
        with written_whole(out, binary=form in BINARY) as file:
            return await export_rows(rows, Format(form.value), file)


async def _export_offer(
    url: str, wanted: Selection, out: Path | None, days: Path | None, max_additional: int | None
) -> None:
    from tidemill.cli.offer import MARKET, export_offer

    async with open_store(url) as connection:
        await find_dataset(connection, MARKET)
        known = await find_dataset(connection, MATCH)
        matches, written = await export_offer(
            connection, known, wanted, out=out, days=days, max_additional=max_additional
        )
    where = [f"{matches:,} matches in {out}"] if out else []
    where += [f"{written:,} days in {days}"] if days else []
    typer.echo(", ".join(where) or f"{matches:,} matches", err=out is None)
