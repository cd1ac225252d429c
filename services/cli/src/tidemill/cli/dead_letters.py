"""`tidemill dead-letters`: what services gave up; look at it, have it done again, close it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli.asking import said
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config
from tidemill.cli.tables import Column, print_table

SHOWN = 50
REASONS = ("invalid", "poison", "exhausted", "deliveries")

Letter = Annotated[str, typer.Argument(metavar="LETTER", help="As the list shows it, for instance converter:17.")]
Letters = Annotated[list[str] | None, typer.Argument(metavar="LETTER…", help="As the list shows them: converter:17.")]
Service = Annotated[str, typer.Option(help="Of this service.")]
Consumer = Annotated[str, typer.Option(help="Of this consumer.")]
Source = Annotated[str, typer.Option(help="Of this source.")]
Reason = Annotated[str, typer.Option(help=f"Given up for this reason: {', '.join(REASONS)}.")]
All = Annotated[bool, typer.Option("--all", help="All that wait.")]

SCHEMAS = "SELECT schemaname FROM pg_tables WHERE tablename = 'dead_letters' ORDER BY 1"
COLUMNS = """
id, consumer, event_id, source, subject, reason, error, attempts, died_at, handled_at, handled_as, headers::text,
payload
"""


def register(app: typer.Typer) -> None:
    letters = typer.Typer(help="Events that services gave up.", no_args_is_help=True)
    letters.command("list")(list_letters)
    letters.command()(show)
    letters.command()(replay)
    letters.command()(drop)
    app.add_typer(letters, name="dead-letters")


def list_letters(
    service: Service = "",
    consumer: Consumer = "",
    source: Source = "",
    reason: Reason = "",
    handled: Annotated[bool, typer.Option("--handled", help="Also those replayed or dropped.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """What waits for a person."""
    chosen = _chosen(service=service, consumer=consumer, source=source, reason=reason)
    found = asyncio.run(_find(database_url(assignments), chosen, handled=handled, limit=limit))
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif found:
        _print_table(found)
    else:
        typer.echo("no dead letters")


def show(letter: Letter, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Everything about one: error, headers, payload."""
    service, number = _parse(letter)
    found = asyncio.run(_find(database_url(assignments), {"service": service, "id": number}, handled=True, limit=1))
    if not found:
        fail(f"there is no dead letter {letter}; see `tidemill dead-letters list --handled`")
    (one,) = found
    if output is Output.JSON:
        typer.echo(json.dumps(one, indent=2, ensure_ascii=False))
        return
    width = max(map(len, one))
    for name, value in one.items():
        text = json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict) else str(value)
        typer.echo(f"{name:<{width}}  {text.replace(chr(10), chr(10) + ' ' * (width + 2))}")


def replay(
    letters: Letters = None,
    service: Service = "",
    consumer: Consumer = "",
    source: Source = "",
    reason: Reason = "",
    all_: All = False,
    payload: Annotated[
        Path | None, typer.Option(help="A JSON file that replaces the payload of the one letter.", exists=True)
    ] = None,
    assignments: Assignments = None,
) -> None:
    """Hand dead letters to their consumers again: those named, or all that fit."""
    edited: dict[str, Any] = {}
    if payload is not None:
        try:
            edited = {"payload": json.loads(payload.read_text())}
        except ValueError as error:
            fail(f"{payload} is not JSON: {error}")
    chosen = _chosen(service=service, consumer=consumer, source=source, reason=reason)
    _command("dead_letters_replay", "replayed", letters or [], chosen, all_, edited, assignments)


def drop(
    letters: Letters = None,
    service: Service = "",
    consumer: Consumer = "",
    source: Source = "",
    reason: Reason = "",
    all_: All = False,
    assignments: Assignments = None,
) -> None:
    """Close dead letters without doing them: those named, or all that fit."""
    chosen = _chosen(service=service, consumer=consumer, source=source, reason=reason)
    _command("dead_letters_drop", "dropped", letters or [], chosen, all_, {}, assignments)


def _command(
    verb: str,
    done: str,
    letters: Sequence[str],
    chosen: Mapping[str, Any],
    all_: bool,
    extra: Mapping[str, Any],
    assignments: list[str] | None,
) -> None:
    """One command per service concerned."""
    if bool(letters) == bool(chosen or all_):
        fail("name the letters (converter:17), or say which by --consumer, --source, --reason, --service or --all")
    by_service: dict[str, dict[str, Any]] = {}
    named = [_parse(letter) for letter in letters]
    for service, number in named:
        by_service.setdefault(service, {"ids": []})["ids"].append(number)
    if not letters:
        criteria = {name: value for name, value in chosen.items() if name != "service"} or {"all": True}
        waiting = asyncio.run(_find(database_url(assignments), chosen, handled=False, limit=None))
        if not waiting:
            wanted = ", ".join(f"{name} {value}" for name, value in chosen.items())
            typer.echo(f"no dead letter waits{f' with {wanted}' if wanted else ''}: nothing to do")
            return
        by_service = {letter["letter"].partition(":")[0]: criteria for letter in waiting}
    taken = asyncio.run(
        _ask(verb, {name: {**said(), **which, **extra} for name, which in by_service.items()}, assignments)
    )
    before = [f"{service}:{number}" for service, number in named if f"{service}:{number}" not in taken]
    typer.echo(f"{len(taken)} {done}" + (f"; handled before: {', '.join(before)}" if before else ""))


async def _ask(verb: str, by_service: Mapping[str, Mapping[str, Any]], assignments: list[str] | None) -> set[str]:
    """The letters that were handled."""
    from tidemill.common.bus.client import CommandFailed, open_client, request_command

    taken: set[str] = set()
    try:
        async with open_client(addresses(read_config(assignments)).nats_url) as client:
            for service, parameters in by_service.items():
                answer = await request_command(client, service, verb, parameters)
                taken |= {f"{service}:{id}" for id in answer["ids"]}
    except CommandFailed as failed:
        fail(str(failed))
    return taken


async def _find(url: str, chosen: Mapping[str, Any], *, handled: bool, limit: int | None) -> list[dict[str, Any]]:
    """The newest first, over all services."""
    from sqlalchemy import text

    conditions = [f"{name} = :{name}" for name in chosen if name != "service"]
    if not handled:
        conditions.append("handled_at IS NULL")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    found = []
    async with open_store(url) as connection:
        services = list(await connection.scalars(text(SCHEMAS)))
        if (service := chosen.get("service")) and service not in services:
            fail(f"no service {service} has tables here; there are {', '.join(services) or 'none'}")
        for name in [service] if service else services:
            statement = f'SELECT {COLUMNS} FROM "{name}".dead_letters {where} ORDER BY died_at DESC LIMIT :limit'
            rows = await connection.execute(text(statement), {**chosen, "limit": limit})
            found += [(row.died_at, _document(name, row)) for row in rows]
    found.sort(key=lambda each: each[0], reverse=True)
    return [document for _, document in found[:limit]]


def _document(service: str, row: Any) -> dict[str, Any]:
    return {
        "letter": f"{service}:{row.id}",
        "consumer": row.consumer,
        "event_id": row.event_id,
        "source": row.source,
        "subject": row.subject,
        "reason": row.reason,
        "error": row.error,
        "attempts": row.attempts,
        "died_at": row.died_at.isoformat(timespec="seconds"),
        "handled_at": row.handled_at.isoformat(timespec="seconds") if row.handled_at else None,
        "handled_as": row.handled_as,
        "headers": json.loads(row.headers),
        "payload": _payload(row.payload),
    }


def _payload(payload: bytes) -> Any:
    """As what it is: JSON, else text, else base64."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(payload).decode()}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _chosen(**criteria: str) -> dict[str, Any]:
    if (reason := criteria["reason"]) and reason not in REASONS:
        fail(f"there is no reason {reason!r}; there are {', '.join(REASONS)}")
    return {name: value for name, value in criteria.items() if value}


def _parse(letter: str) -> tuple[str, int]:
    service, colon, number = letter.rpartition(":")
    if not colon or not service or not number.isdigit():
        fail(f"{letter!r} is no dead letter: they are named like converter:17, see `tidemill dead-letters list`")
    return service, int(number)


def _print_table(found: Sequence[Mapping[str, Any]]) -> None:
    """A line each, and below it the error."""
    names = ("letter", "died_at", "consumer", "source", "reason", "attempts", "handled_as")
    shown = [name for name in names if name != "handled_as" or any(letter[name] for letter in found)]
    columns = [Column(name.replace("_", " "), whole=name == "letter", right=name == "attempts") for name in shown]
    rows = [["" if letter[name] is None else str(letter[name]) for name in shown] for letter in found]
    important = ("letter", "source", "reason", "died at", "handled as")
    print_table(columns, rows, important, notes=[letter["error"].partition("\n")[0] for letter in found])
