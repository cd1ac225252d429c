"""`tidemill teams`: what printed names stand for, aliases, names in review."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping
from getpass import getuser
from typing import Annotated, Any

import typer

from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config

VOCABULARY = "football.team"
ANSWER_SECONDS = 120.0
"""An edit resolves every stored name again before it answers."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="As printed.")]
League = Annotated[str, typer.Option("--league", help="As printed, where the name stands for this team only there.")]
InLeague = Annotated[str, typer.Argument(metavar="LEAGUE", help="As printed; `teams review list` shows it.")]
Team = Annotated[str, typer.Argument(metavar="TEAM", help="Its id, or a name that is known to stand for it.")]


def register(app: typer.Typer) -> None:
    teams = typer.Typer(help="What printed names of teams stand for.", no_args_is_help=True)
    teams.command()(resolve)
    alias = typer.Typer(help="Names that a person has settled.", no_args_is_help=True)
    alias.command("add")(alias_add)
    alias.command("remove")(alias_remove)
    alias.command("list")(alias_list)
    review = typer.Typer(help="Names like those of several teams, for a person to settle.", no_args_is_help=True)
    review.command("list")(review_list)
    review.command("accept")(review_accept)
    review.command("reject")(review_reject)
    teams.add_typer(alias, name="alias")
    teams.add_typer(review, name="review")
    app.add_typer(teams, name="teams")


def resolve() -> None:
    """Resolve names from standard input, {"raw": …, "league": …} a line, to standard output; needs no server."""
    from tidemill.football.teams import resolve_all

    for one in resolve_all(_pairs()):
        candidates = [
            {"team": near.entity, "name": near.name, "score": near.score, "refused_by": near.refused_by}
            for near in one.candidates
        ]
        answer = {
            "raw": one.raw,
            "league": one.scope,
            "team": one.entity,
            "name": one.name,
            "kind": one.kind,
            "confidence": one.confidence,
            "method": one.method,
            "candidates": candidates,
        }
        print(json.dumps(answer, ensure_ascii=False))


def alias_add(name: Name, team: Team, league: League = "", assignments: Assignments = None) -> None:
    """Say what a name stands for: from now on, and in everything stored."""
    answer = _command("alias_add", {"raw": name, "scope": league, "entity": team}, assignments)
    _tell_settled(answer)


def alias_remove(name: Name, league: League = "", assignments: Assignments = None) -> None:
    """Take back what was said about a name."""
    answer = _command("alias_remove", {"raw": name, "scope": league}, assignments)
    if not answer["removed"]:
        fail(f"nobody said what {name!r} stands for{f' in {league!r}' if league else ''}; see `teams alias list`")
    print(f"{name} is as if nothing had been said")
    _tell_changed(answer)


def alias_list(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """What persons said."""
    rows = _fetch(
        "SELECT raw, scope AS league, entity AS team, name, kind, author, added_at FROM converter.aliases"
        " WHERE vocabulary = :vocabulary ORDER BY raw, scope",
        assignments,
    )
    _print(rows, output)


def review_list(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Names that wait, with the teams they may stand for."""
    rows = _fetch(
        "SELECT raw, scope AS league, entity AS team, reason, candidates FROM converter.names"
        " WHERE vocabulary = :vocabulary AND method = 'review' ORDER BY id",
        assignments,
    )
    if output is Output.TABLE:
        for row in rows:
            row["candidates"] = "\n".join(
                f"{one['entity']} ({one['name']}, {one['score']:.2f})" for one in row["candidates"]
            )
    _print(rows, output)


def review_accept(name: Name, league: InLeague, team: Team, assignments: Assignments = None) -> None:
    """The name stands for this one of its candidates."""
    _tell_settled(_command("review_accept", {"raw": name, "scope": league, "entity": team}, assignments))


def review_reject(name: Name, league: InLeague, assignments: Assignments = None) -> None:
    """The name stands for none of its candidates: it is a team of its own."""
    _tell_settled(_command("review_reject", {"raw": name, "scope": league}, assignments))


def _pairs() -> Iterator[tuple[str, str]]:
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
            raw, league = asked["raw"], asked.get("league") or ""
        except (ValueError, TypeError, KeyError, AttributeError):
            fail(f'line {number} is not {{"raw": …, "league": …}}: {line.strip()[:80]}')
        if not isinstance(raw, str) or not isinstance(league, str):
            fail(f"line {number}: raw and league are texts: {line.strip()[:80]}")
        yield raw, league


def _command(verb: str, parameters: Mapping[str, str], assignments: list[str] | None) -> dict[str, Any]:
    from tidemill.common.bus.client import CommandFailed, open_client, request_command

    at = addresses(read_config(assignments))
    said = {"vocabulary": VOCABULARY, "author": getuser(), **parameters}

    async def ask() -> dict[str, Any]:
        async with open_client(at.nats_url) as client:
            return await request_command(client, "converter", verb, said, timeout=ANSWER_SECONDS)

    try:
        return asyncio.run(ask())
    except CommandFailed as failed:
        fail(str(failed))


def _fetch(statement: str, assignments: list[str] | None) -> list[dict[str, Any]]:
    url = database_url(assignments)

    async def fetch() -> list[dict[str, Any]]:
        from sqlalchemy import text

        async with open_store(url) as connection:
            rows = await connection.execute(text(statement), {"vocabulary": VOCABULARY})
            return [row._asdict() for row in rows]

    return asyncio.run(fetch())


def _print(rows: list[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        print(json.dumps(rows, ensure_ascii=False, indent=1, default=str))
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        print("none")
        return
    table = Table(*rows[0], show_lines=True)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def _tell_settled(answer: Mapping[str, Any]) -> None:
    where = f" in {answer['scope']}" if answer["scope"] else ""
    print(f"{answer['raw']}{where} is {answer['name']} ({answer['entity']}, {answer['kind']})")
    _tell_changed(answer)


def _tell_changed(answer: Mapping[str, Any]) -> None:
    for one in answer["changed"]:
        print(f"  changed: {one['raw']} in {one['scope']}: {one['was']} → {one['entity']}")
