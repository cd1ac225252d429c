"""`tidemill config apply`, `history`, `diff`, `rollback`: numbered versions of the configuration."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.reading import database_url
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.common.config.versions import Version

LARGEST_BYTES = 900_000
"""NATS takes messages of a megabyte."""
PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.25
SHOWN = 20

Number = Annotated[int, typer.Argument(min=1, help="Of a version, as `tidemill config history` lists them.")]
Wait = Annotated[bool, typer.Option(help="Wait until every replica has said what it makes of it.")]
Why = Annotated[str, typer.Option(help="Why, for the history.")]


def register(config: typer.Typer) -> None:
    config.command()(apply)
    config.command()(history)
    config.command()(diff)
    config.command()(rollback)


def apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with tidemill.yaml and sources/.")] = Path(),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    comment: Why = "",
    wait: Wait = True,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Make the files of a folder the active configuration, wherever the services run. They are judged first; services
    go on with what they have while anything is wrong."""
    content = content_of(folder)
    if sum(len(name.encode()) + len(text.encode()) for name, text in content.items()) > LARGEST_BYTES:
        fail(f"the files of {folder} are larger than {LARGEST_BYTES:,} bytes together, which no message can carry")
    answer = ask("config_apply", {**said(comment=comment, dry_run=dry_run), "files": content}, assignments)
    tell(answer, wait=wait and not dry_run, output=output, assignments=assignments)


def rollback(
    version: Number,
    comment: Why = "",
    wait: Wait = True,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Make the content of an older version the active one, as a new version."""
    answer = ask("config_rollback", said(comment=comment, version=version), assignments)
    tell(answer, wait=wait, output=output, assignments=assignments)


def history(
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """The versions that were active, and what was refused."""
    found = asyncio.run(_history(database_url(assignments), limit))
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False, default=str))
        return
    if not found:
        typer.echo("no configuration was applied yet: services work by the files of their folders")
        return
    columns = [
        Column("version", right=True),
        Column("state"),
        Column("at"),
        Column("by"),
        Column("via"),
        Column("about"),
    ]
    rows = [
        [
            str(row["version"] or "-"),
            row["state"],
            f"{row['at']:%Y-%m-%d %H:%M:%S}",
            row["author"],
            row["via"],
            row["comment"],
        ]
        for row in found
    ]
    refused = [number for number, row in enumerate(found) if row["state"] == "refused"]
    print_table(columns, rows, alarming=refused)


def diff(
    older: Number,
    newer: Annotated[int, typer.Argument(min=0, help="Of the other version; the active one without it.")] = 0,
    assignments: Assignments = None,
) -> None:
    """What is written otherwise in two versions, as `diff -u` shows it."""
    from difflib import unified_diff

    before, after = asyncio.run(_two(database_url(assignments), older, newer))
    same = True
    for name in sorted({*before.content, *after.content}):
        lines = unified_diff(
            before.content.get(name, "").splitlines(),
            after.content.get(name, "").splitlines(),
            f"{name} (version {before.version})",
            f"{name} (version {after.version})",
            lineterm="",
        )
        for line in lines:
            same = False
            typer.echo(shown_line(line))
    if same:
        typer.echo(f"versions {before.version} and {after.version} hold the same")


def show_version(number: int, output: Output, assignments: Sequence[str] | None) -> None:
    """The files of a version; the active one for 0."""
    found = asyncio.run(_find(database_url(assignments), number))
    if output is Output.JSON:
        document = {
            "version": found.version,
            "created_at": found.created_at.isoformat(),
            "author": found.author,
            "via": found.via,
            "comment": found.comment,
            "sha256": found.sha256,
            "files": {name: _shown(text) for name, text in found.content.items()},
        }
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    typer.echo(f"# version {found.version}, {found.created_at:%Y-%m-%d %H:%M:%S}, by {found.author} via {found.via}")
    for name, text in sorted(found.content.items()):
        typer.echo(f"\n# {name}\n{_shown(text)}".rstrip("\n"))


def show_versions(output: Output, assignments: Sequence[str] | None) -> None:
    """Which version is active, which every replica works by, and what was refused last."""
    state = asyncio.run(find_state(database_url(assignments)))
    if output is Output.JSON:
        typer.echo(json.dumps(state, indent=2, ensure_ascii=False, default=str))
        return
    typer.echo("\n".join(sentences(state)))
    if state["replicas"]:
        columns = [Column("service"), Column("replica"), Column("runs version", right=True), Column("says", most=200)]
        rows = [[row["service"], row["instance"], str(row["running"]), says(row)] for row in state["replicas"]]
        print_table(columns, rows, alarming=[n for n, row in enumerate(state["replicas"]) if row["problem"]])


async def find_state(url: str) -> dict[str, Any]:
    """The active version, the replicas that live, and the last refusal if nothing valid came after it."""
    from sqlalchemy import text

    from tidemill.common.config.versions import ABSENT, active_version, living

    async with _reading(url) as connection:
        state: dict[str, Any] = {"active": await active_version(connection), "replicas": [], "refused": None}
        if await connection.scalar(text(f"SELECT {ABSENT}")):
            return state
        state["replicas"] = await living(connection)
        last = (await connection.execute(text(LAST_REFUSED))).mappings().first()
        state["refused"] = dict(last) if last else None
        return state


def sentences(state: dict[str, Any]) -> list[str]:
    """For `tidemill status`, too."""
    active, replicas, refused = state["active"], state["replicas"], state["refused"]
    if not active:
        lines = ["configuration: the files of each folder; no version was applied yet"]
    else:
        taken = sum(row["running"] == active and not row["problem"] for row in replicas)
        lines = [f"configuration: version {active}, taken by {taken} of {len(replicas)} replicas"]
    if refused:
        lines.append(f"refused at {refused['at']:%Y-%m-%d %H:%M:%S} ({refused['author']} via {refused['via']}):")
        lines += [f"  {problem}" for problem in refused["problems"]]
    return lines


def says(row: dict[str, Any]) -> str:
    """What a replica says to the active version, for people."""
    problem = f"version {row['version']}: {row['problem']}" if row["running"] != row["version"] else row["problem"]
    restart = f"waits for a restart: {', '.join(row['restart'])}" if row["restart"] else ""
    return "; ".join(filter(None, (problem, restart))) or "taken"


def content_of(folder: Path) -> dict[str, str]:
    """The files as they would be published; what cannot be read ends the command."""
    from tidemill.common.config import ConfigError, load_config
    from tidemill.common.config.content import read_content

    if not folder.is_dir():
        fail(f"{folder} is no folder")
    try:
        try:
            sources_dir = load_config(folder, services={}).common.sources_dir
        except ConfigError:
            sources_dir = folder / "sources"  # What is wrong is for the scheduler to tell.
        return read_content(folder, sources_dir)
    except ConfigError as error:
        fail(str(error))


def tell(answer: dict[str, Any], *, wait: bool, output: Output, assignments: Sequence[str] | None) -> None:
    """What became of an offer; a refusal, and a replica that cannot take it, end the command with status 1."""
    replicas = wait_for_replicas(answer["version"], assignments) if wait and answer["state"] == "applied" else []
    if output is Output.JSON:
        typer.echo(json.dumps({**answer, "replicas": replicas}, indent=2, ensure_ascii=False, default=str))
    else:
        for name, what in answer["changes"].items():
            typer.echo(f"  {what:<8} {name}")
        if answer["problems"]:
            fail("\n".join(["refused; the services work on with what they have:", *answer["problems"]]))
        typer.echo(_outcome(answer))
        for row in replicas:
            typer.echo(f"  {row['service']} {row['instance']}: {says(row)}")
    if answer["problems"] or any(row["problem"] for row in replicas):
        raise typer.Exit(1)


def wait_for_replicas(version: int, assignments: Sequence[str] | None) -> list[dict[str, Any]]:
    """What each says to this version, or to a newer one; those that say nothing in time are left as they are."""
    return asyncio.run(_answered(database_url(assignments), version))


def shown_line(line: str) -> str:
    """As it was written where it names its secrets, and masked where it holds one after all."""
    from tidemill.common.config.references import without_references
    from tidemill.common.config.secrets import masked

    plain = without_references(line)
    return line if masked(plain) == plain else masked(line)


LAST_REFUSED = """
SELECT refused_at AS at, author, via, problems FROM config.refusals WHERE settled_at IS NULL ORDER BY id DESC LIMIT 1
"""

HISTORY = """
SELECT version, 'applied' AS state, created_at AS at, author, via, comment FROM config.versions
UNION ALL
SELECT NULL, 'refused', refused_at, author, via, array_to_string(problems, '; ') FROM config.refusals
ORDER BY at DESC, version DESC NULLS LAST LIMIT :limit
"""


@asynccontextmanager
async def _reading(url: str) -> AsyncIterator[AsyncConnection]:
    from sqlalchemy.exc import DBAPIError

    from tidemill.common.database import open_engine

    engine = open_engine(url, pool=1, application="tidemill-cli")
    try:
        async with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        fail(f"the database says: {error.orig}")
    except OSError as error:
        fail(f"no database: {error}; is `tidemill up` running, DATABASE_URL right?")
    finally:
        await engine.dispose()


async def _history(url: str, limit: int) -> list[dict[str, Any]]:
    from sqlalchemy import text

    from tidemill.common.config.versions import ABSENT

    async with _reading(url) as connection:
        if await connection.scalar(text(f"SELECT {ABSENT}")):
            return []
        found = (await connection.execute(text(HISTORY), {"limit": limit})).mappings().all()
    active = max((row["version"] for row in found if row["version"]), default=0)
    return [{**row, "state": "active" if row["version"] == active and active else row["state"]} for row in found]


async def _two(url: str, older: int, newer: int) -> tuple[Version, Version]:
    async with _reading(url) as connection:
        return await _get(connection, older), await _get(connection, newer)


async def _find(url: str, number: int) -> Version:
    async with _reading(url) as connection:
        return await _get(connection, number)


async def _get(connection: AsyncConnection, number: int) -> Version:
    from tidemill.common.config.versions import find_version

    found = await find_version(connection, number or None)
    if found is None:
        fail(
            f"there is no version {number}; `tidemill config history` lists them"
            if number
            else "there is no version yet"
        )
    return found


async def _answered(url: str, version: int) -> list[dict[str, Any]]:
    from tidemill.common.config.versions import living

    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        async with _reading(url) as connection:
            found = await living(connection)
        if found and all(row["version"] >= version for row in found):
            return found
        if time.monotonic() > deadline:
            return [row if row["version"] >= version else {**row, "problem": "said nothing yet"} for row in found]
        await asyncio.sleep(LOOK_SECONDS)


def _shown(text: str) -> str:
    return "\n".join(map(shown_line, text.splitlines()))


def _outcome(answer: dict[str, Any]) -> str:
    match answer["state"]:
        case "applied":
            return f"version {answer['version']} is the active configuration"
        case "unchanged":
            return f"nothing changed; version {answer['version']} stays" if answer["version"] else "nothing to apply"
    return f"would become version {answer['version'] + 1}"
