"""`tidemill migrate`: brings the database to what the installed services need."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config, services_named

if TYPE_CHECKING:
    from tidemill.common.migrations import Change
    from tidemill.common.service import ServiceSpec


def register(app: typer.Typer) -> None:
    app.command("migrate")(migrate)


def migrate(
    service: Annotated[list[str] | None, typer.Option(help="Only this service; may be given more than once.")] = None,
    down: Annotated[
        str | None,
        typer.Option(metavar="REV", help="Go back to this revision of one service; `base` removes all of its data."),
    ] = None,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Bring the tables of every service up to date. Harmless when they are; several may run it at once."""
    from tidemill.common.migrations import UnknownRevision

    specs = services_named(service or ())
    try:
        if down is not None and len(specs) != 1:
            fail("--down goes with one service: add --service NAME")
        changes = asyncio.run(change(addresses(read_config(assignments)).database_url, specs, down))
    except (UnknownRevision, OSError) as error:
        fail(str(error))
    if output is Output.JSON:
        typer.echo(json.dumps([asdict(change) for change in changes], indent=2))
        return
    for done in changes:
        moved = f"{done.before or 'nothing'} → {done.after or 'nothing'}"
        typer.echo(f"{done.service}: {moved if done.before != done.after else f'is at {done.after}'}")


async def change(url: str, specs: list[ServiceSpec], down: str | None) -> list[Change]:
    from tidemill.common import migrations

    if down is None:
        return await migrations.migrate(url, specs)
    return [await migrations.downgrade(url, specs[0], down)]
