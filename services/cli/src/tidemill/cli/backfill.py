"""`tidemill backfill`: runs for slots of the past, shown first, so many at a time; `backfills` looks after them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

BackfillId = Annotated[str, typer.Argument(metavar="BACKFILL", help="Its id, as `tidemill backfills list` shows it.")]


def register(app: typer.Typer) -> None:
    app.command("backfill")(begin)
    backfills = typer.Typer(help="How far backfills are.", no_args_is_help=True)
    backfills.command("list")(list_backfills)
    backfills.command()(show)
    backfills.command()(cancel)
    app.add_typer(backfills, name="backfills")


def begin(
    source: Annotated[str, typer.Argument(help="A source with a schedule.")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="2026-01-01, or a time: 2026-01-01T06:00.")],
    until: Annotated[str, typer.Option(metavar="DAY", help="The last one, included.")],
    preview: Annotated[bool, typer.Option("--preview", help="Say what would be run, and begin nothing.")] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Runs under way at the same time.")] = 1,
    only: Annotated[
        str, typer.Option(help="all slots, those without a complete run (missing), or whose runs failed (failed).")
    ] = "all",
    param: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="What these runs do otherwise, as often as needed.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Begin runs for slots of the past."""
    asked = said(source=source, until=until, preview=preview, only=only, params=_params(param), reason=reason)
    answer = ask("backfill", {**asked, "from": first, "concurrency": concurrency}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    typer.echo(
        f"{answer['slots']} slots, {answer['complete']} complete, {answer['failed']} failed; "
        f"to run: {answer['to_run']}, {answer['concurrency']} at a time"
    )
    for slot in answer.get("shown", ()):
        typer.echo(f"  {slot}")
    if len(answer.get("shown", ())) < answer["to_run"] and preview:
        typer.echo(f"  … {answer['last']}")
    if not preview:
        typer.echo(f"begun: `tidemill backfills show {answer['backfill']}` says how far it is")


def list_backfills(
    source: Annotated[str, typer.Option(help="Of this source.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """List backfills, the newest first."""
    found = ask("backfill-status", {"source": source}, assignments)["backfills"]
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        _print(found)
    else:
        typer.echo("no backfills")


def show(backfill: BackfillId, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """How far one backfill is, and what failed."""
    answer = ask("backfill-status", {"backfill": backfill}, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
        return
    _print(answer["backfills"])
    for run in answer["failed"]:
        typer.secho(f"{run['run']} is {run['state']} ({run['reason']})", fg="red")


def cancel(
    backfill: BackfillId,
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """End all of its runs that have not ended."""
    answer = ask("backfill-cancel", said(backfill=backfill, reason=reason), assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{backfill} is cancelled: {answer['cancelled']} runs")


def _params(given: list[str] | None) -> dict[str, str]:
    pairs = [each.partition("=") for each in given or ()]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        fail(f"--param {wrong[0]} has no value; write --param {wrong[0]}=57")
    return {name: value for name, _, value in pairs}


def _print(backfills: list[dict[str, Any]]) -> None:
    columns = [
        Column("backfill", whole=True),
        Column("state"),
        Column("first slot"),
        Column("last slot"),
        *(Column(name, right=True) for name in ("slots", "complete", "failed", "under way", "waiting", "at a time")),
        Column("asked by"),
    ]
    rows = [
        [
            each["backfill"],
            each["state"],
            each["first"],
            each["last"],
            *(str(each[name]) for name in ("slots", "complete", "failed", "under_way", "waiting", "concurrency")),
            each["actor"],
        ]
        for each in backfills
    ]
    print_table(columns, rows, ("backfill", "state", "slots", "complete", "failed", "waiting"))
