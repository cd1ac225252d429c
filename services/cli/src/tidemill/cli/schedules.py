"""`tidemill schedules`: when sources run next, and what waits for what."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask
from tidemill.cli.running import Assignments, Output, OutputOption
from tidemill.cli.tables import Column, print_table


def register(app: typer.Typer) -> None:
    app.command("schedules")(schedules)


def schedules(
    source: Annotated[str, typer.Argument(metavar="[SOURCE]", help="This one alone, with its next five times.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Say when sources run next, and what waits for what."""
    answer = ask("schedules", {"source": source}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    if answer["schedules"]:
        _print(answer["schedules"], shown=5 if source else 1)
    else:
        typer.echo("no schedules")
    for run in answer["waiting"]:
        typer.echo(f"{run['run']} waits: {run['waits_for']}")


def _print(found: list[dict[str, Any]], shown: int) -> None:
    columns = [
        Column("source", whole=True),
        Column("schedule"),
        Column("next", most=200),
        Column("last slot"),
        Column("what became of it"),
        Column("held by"),
    ]
    rows = [
        [
            each["source"],
            each["schedule"],
            "  ".join(each["next"][:shown]) or "never again",
            (each["last"] or {}).get("slot") or "",
            (each["last"] or {}).get("outcome") or "",
            each["held_by"],
        ]
        for each in found
    ]
    print_table(columns, rows, ("source", "next", "held by", "schedule"))
