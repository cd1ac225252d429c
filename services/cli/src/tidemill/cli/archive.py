"""`tidemill archive`: the bytes of documents, as they are kept."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.files import until_the_reader_leaves
from tidemill.cli.running import Assignments, Output, OutputOption, fail, read_config

if TYPE_CHECKING:
    from tidemill.common.archive import Archive, Entry

Sha256 = Annotated[
    str, typer.Argument(metavar="SHA256", help="Of the content, as `records` and `archive list` show it.")
]


def register(app: typer.Typer) -> None:
    archive = typer.Typer(help="The bytes of documents, as they are kept.", no_args_is_help=True)
    archive.command("list")(list_)
    archive.command()(show)
    archive.command()(cat)
    archive.command()(verify)
    archive.command()(stat)
    app.add_typer(archive, name="archive")


def list_(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Everything in the archive, a line each; with -o json one object a line."""

    async def work(archive: Archive) -> None:
        async for entry in archive.list():
            if output is Output.JSON:
                print(json.dumps(_described(entry)))
            else:
                print(f"{entry.sha256}  {entry.stored_bytes:>12}  {entry.stored_at:%Y-%m-%d %H:%M}  {_form(entry)}")

    _run(work, assignments)


def show(sha256: Sha256, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """One content: where it is, how large, since when; reads none of it."""

    async def work(archive: Archive) -> None:
        found = await archive.stat(sha256)
        _print(_described(found.entry) | {"size_bytes": found.size_bytes, "archive": archive.name}, output)

    _run(work, assignments)


def cat(
    sha256: Sha256,
    out: Annotated[Path | None, typer.Option("--out", help="File to write to; without it standard output.")] = None,
    assignments: Assignments = None,
) -> None:
    """The content itself, verified while it is read; a file appears only when all of it was right."""

    async def work(archive: Archive) -> None:
        if out:
            await archive.fetch_to(sha256, out)
            return
        async with aclosing(archive.read(sha256)) as pieces:
            async for piece in pieces:
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()

    _run(work, assignments)


def verify(
    sha256: Annotated[list[str] | None, typer.Argument(metavar="[SHA256]...", help="Only these.")] = None,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Read contents and compare them with their hash; all of them, unless some are named. Exit status 1 when one is
    damaged or missing."""

    async def work(archive: Archive) -> None:
        from tidemill.common.archive import CorruptArchive, NotArchived

        good = size_bytes = 0
        bad: dict[str, str] = {}
        async for name in _named(sha256) if sha256 else _all(archive):
            try:
                size_bytes += await archive.verify(name)
                good += 1
            except (CorruptArchive, NotArchived) as error:
                bad[name] = str(error)
                print(error, file=sys.stderr)
        _print({"good": good, "bad": len(bad), "size_bytes": size_bytes} | ({"errors": bad} if bad else {}), output)
        if bad:
            raise typer.Exit(1)

    _run(work, assignments)


def stat(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """How much the archive holds."""

    async def work(archive: Archive) -> None:
        contents = compressed = stored_bytes = 0
        youngest = oldest = None
        async for entry in archive.list():
            contents += 1
            compressed += entry.compressed
            stored_bytes += entry.stored_bytes
            oldest = min(oldest or entry.stored_at, entry.stored_at)
            youngest = max(youngest or entry.stored_at, entry.stored_at)
        totals = {
            "archive": archive.name,
            "contents": contents,
            "compressed": compressed,
            "stored_bytes": stored_bytes,
            "oldest": oldest and oldest.isoformat(),
            "youngest": youngest and youngest.isoformat(),
            "problem": await archive.complaint(),
        }
        _print(totals, output)

    _run(work, assignments)


def _run(work: Callable[[Archive], Awaitable[None]], assignments: list[str] | None) -> None:
    from tidemill.common.archive import Archive, ArchiveUnavailable, CorruptArchive, NotArchived
    from tidemill.common.service import archive_url

    url = archive_url(read_config(assignments))

    async def run() -> None:
        async with Archive.open(url, make=False) as archive:
            await work(archive)

    try:
        with until_the_reader_leaves():
            asyncio.run(run())
    except (ArchiveUnavailable, CorruptArchive, NotArchived, ValueError) as error:
        fail(str(error))


async def _named(names: list[str]) -> AsyncIterator[str]:
    for name in names:
        yield name


async def _all(archive: Archive) -> AsyncIterator[str]:
    async for entry in archive.list():
        yield entry.sha256


def _form(entry: Entry) -> str:
    return "zstd" if entry.compressed else "as it is"


def _described(entry: Entry) -> dict[str, Any]:
    return {
        "sha256": entry.sha256,
        "key": entry.key,
        "stored_bytes": entry.stored_bytes,
        "compressed": entry.compressed,
        "stored_at": entry.stored_at.isoformat(),
    }


def _print(facts: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(facts))
        return
    for name, fact in facts.items():
        if fact is not None and not isinstance(fact, dict):
            print(f"{name.replace('_', ' '):<14}{fact}")
