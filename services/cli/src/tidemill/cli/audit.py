"""`tidemill audit`: who changed what, and whether somebody changed the record of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.reading import database_url
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.scheduler.audit import Head

SHOWN = 50
COLUMNS = (
    Column("row", right=True),
    Column("at", whole=True),
    Column("actor"),
    Column("via"),
    Column("action"),
    Column("target", most=80),
    Column("result", most=120),
)


def register(app: typer.Typer) -> None:
    audit = typer.Typer(help="Who changed what, in a chain that shows tampering.", no_args_is_help=True)
    audit.command("list")(list_rows)
    audit.command()(verify)
    audit.command()(accept)
    app.add_typer(audit, name="audit")


def list_rows(
    actor: Annotated[str, typer.Option(help="By this person or service.")] = "",
    action: Annotated[str, typer.Option(help="Beginning so, for instance config or run.start.")] = "",
    target: Annotated[str, typer.Option(help="On this source, run or version.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Every change, by whatever way it came: command line, bus, file, `nats kv put`."""
    chosen = {"actor": actor, "action": action, "target": target, "limit": limit}
    found = asyncio.run(_rows(database_url(assignments), chosen))
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False, default=str))
    elif found:
        rows = [
            [
                str(row["seq"]),
                f"{row['at']:%Y-%m-%d %H:%M:%S}",
                *(row[name] for name in ("actor", "via", "action", "target", "result")),
            ]
            for row in found
        ]
        print_table(COLUMNS, rows, ("row", "at", "action", "target"))
    else:
        typer.echo("nothing was changed yet")


def verify(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Walk the whole chain, up to the head that NATS keeps. Exit status 1, and the rows, where it was tampered with."""
    url, nats_url = database_url(assignments), addresses(read_config(assignments)).nats_url
    head, kept, wrong = asyncio.run(_verify(url, nats_url))
    if output is Output.JSON:
        document = {"rows": head.seq, "head": str(head), "kept_head": str(kept) if kept else None, "wrong": wrong}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    elif wrong:
        typer.echo("\n".join(wrong))
    elif kept is None:
        typer.echo(f"{head.seq} rows, one chain; NATS keeps no head yet, so rows could be missing at the end")
    else:
        typer.echo(f"{head.seq} rows, one chain, complete")
    if wrong:
        raise typer.Exit(1)


def accept(
    reason: Annotated[str, typer.Option(help="Why rows are missing, for instance after which restore.")],
    assignments: Assignments = None,
) -> None:
    """Go on with a chain that does not lead to the kept head. This leaves a row, too."""
    answer = ask("audit_accept", said(reason=reason), assignments)
    typer.echo(f"accepted, as row {answer['seq']} says")


LIST = """
SELECT seq, at, actor, via, action, target, before, after, result, prev_hash, hash FROM scheduler.audit
WHERE (:actor = '' OR actor = :actor) AND (:action = '' OR starts_with(action, :action))
AND (:target = '' OR target = :target) ORDER BY seq DESC LIMIT :limit
"""


async def _rows(url: str, chosen: dict[str, Any]) -> list[dict[str, Any]]:
    from sqlalchemy import text

    from tidemill.cli.reading import open_store

    async with open_store(url) as connection:
        await _need_table(connection)
        return [dict(row) for row in (await connection.execute(text(LIST), chosen)).mappings()]


async def _verify(url: str, nats_url: str) -> tuple[Head, Head | None, list[str]]:
    """The newest row, the head that NATS keeps, and what is wrong."""
    from tidemill.cli.reading import open_store
    from tidemill.scheduler import audit

    # First what is kept: the chain only grows, so that it must lead there.
    kept = await _kept(nats_url)
    async with open_store(url) as connection:
        await _need_table(connection)
        return await audit.find_head(connection), kept, await audit.verify(connection, kept)


async def _kept(nats_url: str) -> Head | None:
    from nats.js.errors import BucketNotFoundError

    from tidemill.common.bus.client import CommandFailed, open_client
    from tidemill.common.bus.topology import AUDIT_BUCKET
    from tidemill.scheduler.audit_head import find_kept

    try:
        async with open_client(nats_url) as client:
            return (await find_kept(await client.jetstream().key_value(AUDIT_BUCKET)))[0]
    except BucketNotFoundError:
        return None
    except CommandFailed as failed:
        fail(str(failed))


async def _need_table(connection: AsyncConnection) -> None:
    from sqlalchemy import text

    if await connection.scalar(text("SELECT to_regclass('scheduler.audit') IS NULL")):
        fail("the scheduler has no tables yet: run `tidemill migrate`, or start `tidemill up`")
