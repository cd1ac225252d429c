"""`tidemill retention`: what is older than it is kept, and removing it now instead of at night."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, program, read_config
from tidemill.cli.tables import Column, print_table

NOBODY = "404"
ANSWER_SECONDS = 120.0
"""A preview reads whole tables."""

At = Annotated[str, typer.Option("--at", metavar="TIME", help="As if it were this moment.")]


def register(app: typer.Typer) -> None:
    retention = typer.Typer(help="What goes after its time.", no_args_is_help=True)
    retention.command()(preview)
    retention.command()(run)
    app.add_typer(retention, name="retention")


def preview(at: At = "", output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Show what would be removed, by service and layer; removes nothing."""
    told = _preview(at, assignments)
    if output is Output.JSON:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
        return
    _print(told)
    if any(_going(one) for service in told for one in service["layers"].values()):
        typer.echo(f"\nIt goes at night (retention.at), or now: {program()} retention run")


def run(
    yes: Annotated[bool, typer.Option("--yes", help="Without asking.")] = False, assignments: Assignments = None
) -> None:
    """Show what is too old, and remove exactly that."""
    told = _preview("", assignments)
    _print(told)
    if not any(_going(one) for service in told for one in service["layers"].values()):
        typer.echo("\nnothing is too old")
        return
    if not yes and not typer.confirm("\nRemove this?"):
        raise typer.Exit(1)
    _remove(told, assignments)


def _preview(at: str, assignments: list[str] | None) -> list[dict[str, Any]]:
    """Of the services that run; the others are named."""
    from tidemill.common.bus.client import CommandFailed, open_client, request_command
    from tidemill.common.service import service_names

    url = addresses(read_config(assignments)).nats_url
    which = {"at": at} if at else {}

    async def ask_each() -> list[dict[str, Any]]:
        told = []
        async with open_client(url) as client:
            for service in service_names():
                try:
                    told.append(
                        await request_command(client, service, "retention_preview", which, timeout=ANSWER_SECONDS)
                    )
                except CommandFailed as failed:
                    if failed.code != NOBODY:
                        raise
                    typer.echo(f"{service} does not run, so nothing is known of its tables", err=True)
        return told

    try:
        return asyncio.run(ask_each())
    except CommandFailed as failed:
        fail(str(failed))


def _remove(told: list[dict[str, Any]], assignments: list[str] | None) -> None:
    for service in told:
        for name, layer in service["layers"].items():
            removed = 0
            which = said(layer=name, before=layer.get("before", ""))
            while _going(layer):
                count = _ask(service["service"], "retention_remove", which, assignments)["removed"]
                removed += count
                if not count:
                    break
            if removed:
                typer.echo(f"removed {removed} of {service['service']} {name}")


def _ask(service: str, verb: str, which: Mapping[str, Any], assignments: list[str] | None) -> dict[str, Any]:
    return ask(verb, which, assignments, service=service, seconds=ANSWER_SECONDS)


def _going(layer: Mapping[str, Any]) -> int:
    return int(layer.get("items", 0))


def _print(told: list[dict[str, Any]]) -> None:
    columns = [
        Column("service"),
        Column("layer"),
        Column("kept"),
        Column("too old", right=True),
        Column("bytes", right=True),
        Column("oldest"),
        Column("for instance", most=60),
    ]
    rows = [
        [
            service["service"],
            name,
            layer["kept"],
            str(_going(layer)),
            str(layer.get("bytes", 0)),
            (layer.get("oldest") or "")[:10],
            ", ".join(layer.get("examples", ())),
        ]
        for service in told
        for name, layer in service["layers"].items()
    ]
    print_table(columns, rows, ("layer", "too old", "kept", "service"))
