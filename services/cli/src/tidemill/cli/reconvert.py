"""`tidemill reconvert`: documents once more from the archive, with the difference before it counts."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import actor, ask
from tidemill.cli.reading import database_url, moment, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail, program
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from tidemill.converter.candidates import Example

LOOK_EVERY = 0.3
CHANGES = ("added", "changed", "removed", "unchanged")
EXAMPLES = 3
"""Of each kind and dataset, in a table."""
DOCUMENTS = """
    SELECT r.document, r.candidate, r.state, r.reason, r.counts, d.source, d.name, d.sha256,
        d.converter_version AS version, c.converter_version AS newer
    FROM converter.reconverted r JOIN converter.documents d ON d.id = r.document
    LEFT JOIN converter.documents c ON c.id = r.candidate
    WHERE r.reconversion = :id ORDER BY d.received_at, r.document
"""
LIST = """
    SELECT n.id, n.state, n.begun_at, n.author, count(r.document) AS documents, n.selection
    FROM converter.reconversions n LEFT JOIN converter.reconverted r ON r.reconversion = n.id
    GROUP BY n.id ORDER BY n.id DESC LIMIT 20
"""


def register(app: typer.Typer) -> None:
    app.command("reconvert")(reconvert)


def reconvert(
    source: Annotated[str, typer.Option(help="Documents of this source.")] = "",
    dataset: Annotated[str, typer.Option(help="Documents that state something of this dataset.")] = "",
    since: Annotated[str, typer.Option(metavar="TIME", help="Documents received then or later.")] = "",
    document: Annotated[str, typer.Option(metavar="SHA256", help="This document; its beginning is enough.")] = "",
    number: Annotated[int, typer.Option("--id", metavar="N", help="A reconversion that was begun before.")] = 0,
    accept: Annotated[bool, typer.Option("--accept", help="Put the new records in place of the present ones.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Forget it.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, then forget it.")] = False,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Convert documents once more, from the archive, and show what would be added, changed and removed. Nothing counts
    before it is accepted. Without any option: what was begun lately."""
    selection = {"source": source, "dataset": dataset, "document": document}
    selection["since"] = moment(since).isoformat() if since else ""
    chosen = any(selection.values())
    if (number and chosen) or (accept + discard + dry_run > 1):
        fail("say either --id or which documents, and one of --accept, --discard, --dry-run")
    if not number and not chosen:
        if accept or discard:
            fail("say which: --id N, or documents by --source, --dataset, --since, --document")
        _list(output, assignments)
        return
    if not number:
        number = int(_command("reconvert", selection, assignments)["reconversion"])
    if discard:
        _command("reconvert_discard", {"reconversion": number}, assignments)
        typer.echo(f"reconversion {number} is forgotten")
        return
    rows = asyncio.run(_wait(number, "due", "converted", assignments))
    if accept:
        _show(number, rows, output, assignments, final=False)
        _command("reconvert_accept", {"reconversion": number}, assignments)
        _tell_accepted(number, asyncio.run(_wait(number, "accepting", "put in place", assignments)), output)
        return
    _show(number, rows, output, assignments, final=not dry_run)
    if dry_run:
        _command("reconvert_discard", {"reconversion": number}, assignments)


def _list(output: Output, assignments: list[str] | None) -> None:
    rows = asyncio.run(_fetch(LIST, {}, assignments))
    if output is Output.JSON:
        typer.echo(json.dumps(rows, default=str, indent=1))
        return
    if not rows:
        typer.echo("no reconversion yet: say which documents, for instance --source szerencsemix")
        return
    columns = [Column("id", whole=True, right=True), Column("state"), Column("begun"), Column("documents", right=True)]
    cells = [
        [str(row["id"]), row["state"], f"{row['begun_at']:%Y-%m-%d %H:%M}", str(row["documents"]), _said(row)]
        for row in rows
    ]
    print_table([*columns, Column("of")], cells)


def _said(row: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in row["selection"].items() if value)


async def _wait(number: int, while_: str, verb: str, assignments: list[str] | None) -> list[dict[str, Any]]:
    """The documents, when none of them is in this state any more; a bar on the terminal meanwhile."""
    from rich.console import Console
    from rich.progress import Progress
    from sqlalchemy import text

    async with open_store(database_url(assignments)) as connection:
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(verb, total=None)
            while True:
                rows = [row._asdict() for row in await connection.execute(text(DOCUMENTS), {"id": number})]
                if not rows:
                    fail(f"there is no reconversion {number}")
                left = sum(row["state"] == while_ for row in rows)
                bar.update(task, total=len(rows), completed=len(rows) - left)
                if not left:
                    return rows
                await connection.rollback()
                await asyncio.sleep(LOOK_EVERY)


def _show(
    number: int, rows: Sequence[Mapping[str, Any]], output: Output, assignments: list[str] | None, *, final: bool
) -> None:
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for dataset, changes in row["counts"].items():
            counts.setdefault(dataset, Counter()).update(changes)
    examples = asyncio.run(_examples(rows, assignments))
    if output is Output.JSON:
        said = {
            "id": number,
            "documents": [
                {name: row[name] for name in ("source", "name", "sha256", "state", "reason", "version", "newer")}
                for row in rows
            ],
            "records": {name: {change: count[change] for change in CHANGES} for name, count in sorted(counts.items())},
            "examples": [
                {"dataset": one.dataset, "change": one.change, "key": one.key, "old": one.old, "new": one.new}
                for one in examples
            ],
        }
        typer.echo(json.dumps(said, ensure_ascii=False, indent=1, default=str))
        return
    states = Counter(row["state"] for row in rows)
    versions = sorted({f"{row['version']} → {row['newer']}" for row in rows if row["newer"]})
    typer.echo(
        f"reconversion {number}: {len(rows)} documents, {', '.join(f'{n} {state}' for state, n in states.items())}"
        f"{'; version ' + ', '.join(versions[:3]) if versions else ''}\n"
    )
    columns = [Column("dataset"), *(Column(change, right=True) for change in CHANGES)]
    print_table(columns, [[name, *(str(count[c]) for c in CHANGES)] for name, count in sorted(counts.items())])
    for one in examples:
        typer.echo(f"\n{one.change} {one.dataset} {one.key}")
        for line in _difference(one):
            typer.echo(f"  {line}")
    for row in rows:
        if row["reason"]:
            typer.echo(f"\n{row['state']} {row['source']} {row['name']}: {row['reason']}")
    if final:
        typer.echo(
            f"\nNothing has changed yet: `{program()} reconvert --id {number} --accept` puts it in place, "
            "--discard forgets it."
        )


def _difference(one: Example) -> list[str]:
    old, new = one.old or {}, one.new or {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if one.change == "changed":
        return [f"{name}: {_short(old.get(name))} → {_short(new.get(name))}" for name in names]
    return [f"{name}: {_short((old or new)[name])}" for name in names]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:59] + "…"


def _tell_accepted(number: int, rows: Sequence[Mapping[str, Any]], output: Output) -> None:
    states = Counter(row["state"] for row in rows)
    typer.echo(
        f"reconversion {number}: {', '.join(f'{n} {state}' for state, n in states.items())}",
        err=output is Output.JSON,
    )
    for row in rows:
        if row["state"] == "moved":
            typer.echo(f"{row['source']} {row['name']} stays as it is: {row['reason']}; convert it again", err=True)
    if states["moved"]:
        raise typer.Exit(1)


async def _examples(rows: Sequence[Mapping[str, Any]], assignments: list[str] | None) -> list[Example]:
    from tidemill.converter.candidates import find_examples

    found: dict[tuple[str, str], list[Example]] = {}
    async with open_store(database_url(assignments)) as connection:
        for row in rows:
            if row["state"] != "staged":
                continue
            for one in await find_examples(connection, row["document"], row["candidate"], EXAMPLES):
                kind = found.setdefault((one.dataset, one.change), [])
                if len(kind) < EXAMPLES:
                    kind.append(one)
    return [one for kind in sorted(found) for one in found[kind]]


async def _fetch(statement: str, parameters: Mapping[str, Any], assignments: list[str] | None) -> list[dict[str, Any]]:
    from sqlalchemy import text

    async with open_store(database_url(assignments)) as connection:
        return [row._asdict() for row in await connection.execute(text(statement), parameters)]


def _command(verb: str, parameters: Mapping[str, Any], assignments: list[str] | None) -> dict[str, Any]:
    return ask(verb, {"author": actor(), "via": "cli", **parameters}, assignments, service="converter")
