"""`tidemill why`: why there is no data of a source on a day."""

from __future__ import annotations

import json
import textwrap
from typing import Annotated

import typer

from tidemill.cli.asking import ask
from tidemill.cli.running import Assignments, Output, OutputOption, copyable
from tidemill.cli.tables import NOTE_LETTERS, width_here


def register(app: typer.Typer) -> None:
    app.command("why")(why)


def why(
    source: Annotated[str, typer.Argument(help="The source.")],
    date: Annotated[str, typer.Argument(metavar="[DATE]", help="2026-03-01, today or yesterday.")] = "today",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Say why there is no data of a source on a day, the main cause first. Exit status 1 unless there is data."""
    answer = ask("why", {"source": source, "date": date}, assignments)
    answers = answer["answers"]
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        width = min(width_here(), NOTE_LETTERS)
        for each in answers:
            typer.secho(each["why"], bold=True)
            for line in textwrap.wrap(each["says"], width - 2):
                typer.echo(f"  {line}")
            if each["hint"]:
                typer.echo(copyable(f"  next: `{each['hint']}`"))
    if answers[0]["why"] != "data":
        raise typer.Exit(1)
