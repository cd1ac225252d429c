"""`tidemill teams`: what printed names stand for, aliases, names in review."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import actor, ask
from tidemill.cli.files import until_the_reader_leaves
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from tidemill.plugin import Resolution

VOCABULARY = "football.team"
COPIED = ("raw", "league")
"""Columns that other commands want as they are."""
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

    bad: list[str] = []
    pairs = list(_pairs(bad))
    with until_the_reader_leaves():
        for one in resolve_all(pairs):
            _print_resolved(one)
    if bad:
        for sentence in bad:
            typer.echo(f"tidemill: {sentence}", err=True)
        raise typer.Exit(1)


def _print_resolved(one: Resolution) -> None:
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
    if not answer["changed"]:
        _tell_unmet(name, league, assignments)


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
    _print(rows, output, ("raw", "league", "team", "name", "kind", "author", "added_at"))


def review_list(output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Names that wait, with the teams they may stand for."""
    rows = _fetch(
        "SELECT raw, scope AS league, entity AS team, reason, candidates FROM converter.names"
        " WHERE vocabulary = :vocabulary AND method = 'review' ORDER BY id",
        assignments,
    )
    notes = [
        "like " + "; ".join(f"{one['entity']} ({one['name']}, {one['score']:.2f})" for one in row["candidates"])
        for row in rows
    ]
    _print(rows, output, ("raw", "league", "team", "reason"), notes)


def review_accept(name: Name, league: InLeague, team: Team, assignments: Assignments = None) -> None:
    """The name stands for this one of its candidates."""
    _tell_settled(_command("review_accept", {"raw": name, "scope": league, "entity": team}, assignments))


def review_reject(name: Name, league: InLeague, assignments: Assignments = None) -> None:
    """The name stands for none of its candidates: it is a team of its own."""
    said = _fetch(
        "SELECT entity, name, author, added_at FROM converter.aliases"
        " WHERE vocabulary = :vocabulary AND raw = :raw AND scope = :league",
        assignments,
        raw=name,
        league=league,
    )
    for one in said:
        fail(
            f"{name!r} in {league!r} is settled already: it is {one['name']} ({one['entity']}), as {one['author']} "
            f"said on {one['added_at']:%Y-%m-%d}; take that back first with `tidemill teams alias remove`"
        )
    _tell_settled(_command("review_reject", {"raw": name, "scope": league}, assignments))


def _pairs(bad: list[str]) -> Iterator[tuple[str, str]]:
    """Of the lines that can be read; what is wrong with the others."""
    for number, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
            raw, league = asked["raw"], asked.get("league") or ""
        except (ValueError, TypeError, KeyError, AttributeError):
            bad.append(f'line {number} is not {{"raw": …, "league": …}}: {line.strip()[:80]}')
            continue
        if isinstance(raw, str) and isinstance(league, str):
            yield raw, league
        else:
            bad.append(f"line {number}: raw and league are texts: {line.strip()[:80]}")


def _command(verb: str, parameters: Mapping[str, str], assignments: list[str] | None) -> dict[str, Any]:
    said = {"vocabulary": VOCABULARY, "author": actor(), "via": "cli", **parameters}
    return ask(verb, said, assignments, service="converter", seconds=ANSWER_SECONDS)


def _fetch(statement: str, assignments: list[str] | None, **values: str) -> list[dict[str, Any]]:
    url = database_url(assignments)

    async def fetch() -> list[dict[str, Any]]:
        from sqlalchemy import text

        async with open_store(url) as connection:
            rows = await connection.execute(text(statement), {"vocabulary": VOCABULARY, **values})
            return [row._asdict() for row in rows]

    return asyncio.run(fetch())


def _print(rows: list[dict[str, Any]], output: Output, names: Sequence[str], notes: Sequence[str] = ()) -> None:
    if output is Output.JSON:
        print(json.dumps(rows, ensure_ascii=False, indent=1, default=str))
        return
    if not rows:
        print("none")
        return
    columns = [Column(name, whole=name in COPIED) for name in names]
    left_out = print_table(columns, [[_cell(row[name]) for name in names] for row in rows], COPIED, notes=notes)
    if left_out:
        print(f"\nno room for: {', '.join(left_out)}; all of it: -o json")


def _cell(value: Any) -> str:
    return f"{value:%Y-%m-%d}" if isinstance(value, datetime) else str(value)


def _tell_unmet(name: str, league: str, assignments: list[str] | None) -> None:
    """Where the alias applies to nothing that is stored, it may be misspelt: tell what there is."""
    import difflib

    met = _fetch(
        "SELECT DISTINCT raw, scope FROM converter.names WHERE vocabulary = :vocabulary ORDER BY 1, 2", assignments
    )
    leagues = [one["scope"] for one in met if one["raw"] == name]
    if league in leagues or (leagues and not league):
        return
    where = f" in {league}" if league else ""
    print(f"  nothing stored has this name{where} yet: it holds for what comes")
    names = difflib.get_close_matches(name, sorted({one["raw"] for one in met}), n=3)
    if leagues:
        print(f"  {name} was met in {'; '.join(leagues)}")
    elif names:
        print(f"  names like it: {'; '.join(names)}")


def _tell_settled(answer: Mapping[str, Any]) -> None:
    where = f" in {answer['scope']}" if answer["scope"] else ""
    print(f"{answer['raw']}{where} is {answer['name']} ({answer['entity']}, {answer['kind']})")
    _tell_changed(answer)


def _tell_changed(answer: Mapping[str, Any]) -> None:
    for one in answer["changed"]:
        print(f"  changed: {one['raw']} in {one['scope']}: {one['was']} → {one['entity']}")
