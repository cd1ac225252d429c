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

    if down is not None:
        return [await migrations.downgrade(url, specs[0], down)]
    changes = await migrations.migrate(url, specs)
    if any(spec.name == "converter" for spec in specs):
        await make_views(url)
    return changes


async def make_views(url: str) -> None:
    """Partitions and typed views of the installed datasets: here under the role that may, which a service's may not.
    Where it may, the converter makes them when it starts."""
    from tidemill.common.database import open_engine
    from tidemill.converter.datasets import find_datasets, register_datasets

    engine = open_engine(url, pool=1, application="tidemill-migrate", statement_seconds=None)
    try:
        for sentence in (await register_datasets(engine, find_datasets())).stale_views:
            typer.echo(f"tidemill: {sentence}", err=True)
    finally:
        await engine.dispose()
