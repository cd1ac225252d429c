"""`tidemill quarantine`: what checks hold back, and letting it go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, copyable, fail
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SHOWN = 50
STATES = ("held", "released", "dropped", "all")
ANSWER_SECONDS = 60.0
CONVERTER = "converter"

RECORDS = """
SELECT q.id, q.held_at, q.source, q.dataset, q.key, q.checks, q.reason, q.state, q.run, d.name AS document, d.sha256,
    q.page, q.item, q.settled_at, q.settled_by, q.data
FROM converter.quarantine q JOIN converter.documents d ON d.id = q.document
WHERE d.superseded_by IS NULL AND d.state <> 'staged' AND (:state = 'all' OR q.state = :state)
    AND (:source = '' OR q.source = :source) AND (:run = '' OR q.run = :run)
    AND (:check = '' OR :check = ANY(q.checks))
ORDER BY q.id DESC LIMIT :limit
"""
REFUSED = """
SELECT received_at, source, name, outcome, reason, sha256, run FROM converter.documents
WHERE state = 'finished' AND superseded_by IS NULL AND sha256 <> '' AND outcome NOT IN ('converted', 'incomplete')
    AND (:source = '' OR source = :source) AND (:run = '' OR run = :run)
ORDER BY received_at DESC, id DESC LIMIT :limit
"""
# A later run that looked everywhere, and was not held, has settled it.
GONE = """
SELECT r.run, r.source, r.held AS reason, r.planned_at AS held_at, r.released_at, r.released_by,
    (SELECT count(*) FROM scraper.decisions d WHERE d.run = r.run AND d.decision = 'held') AS targets,
    ARRAY(
        SELECT t.url FROM scraper.decisions d JOIN scraper.targets t ON t.id = d.target
        WHERE d.run = r.run AND d.decision = 'held' ORDER BY d.target LIMIT 3
    ) AS examples
FROM scraper.runs r
WHERE r.held IS NOT NULL AND (:source = '' OR r.source = :source) AND (:run = '' OR r.run = :run)
    AND (:state = 'all' OR (r.released_at IS NULL) = (:state = 'held'))
    AND (:state = 'all' OR NOT EXISTS (
        SELECT 1 FROM scraper.runs later WHERE later.source = r.source AND later.requested_at > r.requested_at
            AND later.phase = 'closed' AND later.outcome = 'complete' AND NOT later.partial AND later.held IS NULL
    ))
ORDER BY r.requested_at DESC LIMIT :limit
"""
HAS_SCRAPER = "SELECT to_regclass('scraper.check_results') IS NOT NULL"
SHOW = """
SELECT q.*, d.name, d.sha256, d.path, d.received_at, d.superseded_by IS NOT NULL AS superseded
FROM converter.quarantine q JOIN converter.documents d ON d.id = q.document WHERE q.id = :id
"""

GONE_PREFIX = "gone:"
Numbers = Annotated[
    list[str] | None,
    typer.Argument(metavar="NUMBER…", help="As the list shows them; gone:RUN is what that run would say is gone."),
]
Source = Annotated[str, typer.Option(help="Of this source.")]
Check = Annotated[str, typer.Option(help="That this check holds.")]
Run = Annotated[str, typer.Option(help="Of this run.")]
All = Annotated[bool, typer.Option("--all", help="All that are held.")]


def register(app: typer.Typer) -> None:
    held = typer.Typer(help="What checks hold back.", no_args_is_help=True)
    held.command("list")(list_held)
    held.command()(show)
    held.command()(release)
    held.command()(drop)
    app.add_typer(held, name="quarantine")


def list_held(
    source: Source = "",
    check: Check = "",
    run: Run = "",
    state: Annotated[str, typer.Option(help=f"One of {', '.join(STATES)}.")] = "held",
    limit: Annotated[int, typer.Option(min=1, help="At most so many of a kind, the newest first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Records that checks hold, with the reason below each; what runs would say is gone, and may not; and documents of
    which nothing could be taken."""
    if state not in STATES:
        fail(f"{state!r} is no state; valid: {', '.join(STATES)}")
    chosen = {"source": source, "check": check, "run": run, "state": state, "limit": limit}
    found = asyncio.run(_find(database_url(assignments), chosen))
    if output is Output.JSON:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1, default=_plain))
        return
    _print_records(found["records"], state, limit)
    _print_gone(found["gone"])
    _print_refused(found["documents"])


def show(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As the list shows it.")],
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Everything about one record: data, text, place, document, what it did not pass."""
    one = asyncio.run(_get(database_url(assignments), number))
    if one is None:
        fail(f"there is no record {number} in quarantine; see `tidemill quarantine list --state all`")
    if output is Output.JSON:
        typer.echo(json.dumps(one, ensure_ascii=False, indent=1, default=_plain))
        return
    width = max(map(len, one))
    for name, value in one.items():
        if value not in (None, "", []):
            typer.echo(f"{name:<{width}}  {_said(value)}")


def release(
    numbers: Numbers = None,
    source: Source = "",
    check: Check = "",
    run: Run = "",
    all_: All = False,
    force: Annotated[bool, typer.Option("--force", help="Also those that checks still hold.")] = False,
    assignments: Assignments = None,
) -> None:
    """Judge held records by the checks of today, and state those that pass from their documents. With gone:RUN: let the
    next run say that what this one missed is gone, if it does not see it either."""
    for name in [number for number in numbers or () if number.startswith(GONE_PREFIX)]:
        _release_gone(name.removeprefix(GONE_PREFIX), assignments)
    rest = [number for number in numbers or () if not number.startswith(GONE_PREFIX)]
    if numbers and not rest:
        return
    chosen = _chosen(rest, source, check, run, all_)
    released = held = 0
    for answer in _each("quarantine_release", {**chosen, "force": force}, assignments):
        released, held = released + answer["released"], held + answer["held"]
        for one in answer["kept"]:
            typer.echo(f"{one['id']} {one['key']} is still held: {one['reason']}", err=True)
    typer.echo(f"released {released}, still held {held}")
    if held and not released:
        raise typer.Exit(1)


def drop(
    numbers: Numbers = None,
    source: Source = "",
    check: Check = "",
    run: Run = "",
    all_: All = False,
    assignments: Assignments = None,
) -> None:
    """Give held records up. They stay to be looked at (`list --state dropped`), and are never stated."""
    if any(number.startswith(GONE_PREFIX) for number in numbers or ()):
        fail("what a run may not say is gone needs no dropping: the next run that checks trust settles it")
    chosen = _chosen(numbers, source, check, run, all_)
    dropped = sum(answer["dropped"] for answer in _each("quarantine_drop", chosen, assignments))
    typer.echo(f"dropped {dropped}")


def _release_gone(run: str, assignments: list[str] | None) -> None:
    answer = ask("gone_release", said(run=run), assignments, service="scraper")
    typer.echo(
        f"{answer['targets']} pages of {answer['source']} that {run} missed are gone with the next run, if it does not"
        f" see them either: {copyable('`tidemill run ' + answer['source'] + '`')}"
    )


def _chosen(numbers: list[str] | None, source: str, check: str, run: str, all_: bool) -> dict[str, Any]:
    wrong = [number for number in numbers or () if not number.isdecimal()]
    if wrong:
        fail(f"{wrong[0]!r} is no number of a record in quarantine, and not gone:RUN either")
    chosen = {
        "ids": [int(number) for number in numbers or ()],
        "source": source,
        "check": check,
        "run": run,
        "all": all_,
    }
    if not any(chosen.values()):
        fail("say which: numbers, --source, --check, --run, or --all")
    return chosen


def _each(verb: str, parameters: Mapping[str, Any], assignments: list[str] | None) -> Iterable[dict[str, Any]]:
    """A command takes some hundred; it is said again until nothing is left."""
    after: list[int] | None = []
    while after is not None:
        answer = ask(verb, said(**parameters, after=after), assignments, service=CONVERTER, seconds=ANSWER_SECONDS)
        yield answer
        after = answer["after"]


async def _find(url: str, chosen: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    async with open_store(url) as connection:
        records = await _rows(connection, RECORDS, chosen)
        wanted = chosen["state"] in ("held", "all") and not chosen["check"]
        return {
            "records": records,
            "gone": await _find_gone(connection, chosen) if not chosen["check"] else [],
            "documents": await _rows(connection, REFUSED, chosen) if wanted else [],
        }


async def _find_gone(connection: AsyncConnection, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What runs would say is gone, and checks keep them from saying."""
    from sqlalchemy import text

    if chosen["state"] == "dropped" or not await connection.scalar(text(HAS_SCRAPER)):
        return []
    return await _rows(connection, GONE, chosen)


async def _get(url: str, number: int) -> dict[str, Any] | None:
    async with open_store(url) as connection:
        rows = await _rows(connection, SHOW, {"id": number})
    return rows[0] if rows else None


async def _rows(connection: AsyncConnection, statement: str, said: Mapping[str, Any]) -> list[dict[str, Any]]:
    from sqlalchemy import text

    query = text(statement)
    known = {name: value for name, value in said.items() if f":{name}" in statement}
    return [_readable(dict(row)) for row in (await connection.execute(query, known)).mappings()]


def _readable(row: Mapping[str, Any]) -> dict[str, Any]:
    """With the data as JSON, not as a text of it."""
    return {name: json.loads(value) if name == "data" else value for name, value in row.items()}


def _print_records(found: Sequence[Mapping[str, Any]], state: str, limit: int) -> None:
    if not found:
        typer.echo("no record is held" if state == "held" else "no such record")
        return
    columns = [
        Column("number", right=True, whole=True),
        Column("held (UTC)", whole=True),
        Column("source"),
        Column("dataset"),
        Column("key", most=60),
        Column("check"),
        Column("state"),
        Column("document"),
    ]
    rows = [
        [
            str(one["id"]),
            f"{one['held_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            one["source"],
            one["dataset"],
            one["key"],
            ", ".join(one["checks"]),
            one["state"],
            one["document"],
        ]
        for one in found
    ]
    important = ("number", "key", "check", "source", "held (UTC)", "state")
    print_table(columns, rows, important, notes=[one["reason"] for one in found])
    more = f" (at most {limit}; --limit shows more)" if len(found) == limit else ""
    typer.echo(f"\n{len(found)} record{'' if len(found) == 1 else 's'}{more}")
    if any(one["state"] == "held" for one in found):
        typer.echo(copyable("when the cause is mended: `tidemill quarantine release --all`"))


def _print_gone(found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        return
    columns = [
        Column("number", whole=True, most=80),
        Column("held (UTC)", whole=True),
        Column("source"),
        Column("pages", right=True),
        Column("released by"),
    ]
    rows = [
        [
            f"{GONE_PREFIX}{one['run']}",
            f"{one['held_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            one["source"],
            f"{one['targets']:,}",
            one["released_by"] or "",
        ]
        for one in found
    ]
    typer.echo("\npages that runs missed, and may not say are gone")
    print_table(columns, rows, ("number", "pages", "source"), notes=[one["reason"] for one in found])
    if any(one["released_at"] is None for one in found):
        typer.echo(
            copyable("\nif they are gone: `tidemill quarantine release gone:RUN`; else the next good run settles it")
        )


def _print_refused(found: Sequence[Mapping[str, Any]]) -> None:
    if not found:
        return
    columns = [
        Column("received (UTC)", whole=True),
        Column("source"),
        Column("document", most=60),
        Column("outcome"),
        Column("sha256", whole=True),
    ]
    rows = [
        [
            f"{one['received_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            one["source"],
            one["name"],
            one["outcome"],
            one["sha256"][:12],
        ]
        for one in found
    ]
    typer.echo("\ndocuments of which nothing was taken")
    important = ("document", "outcome", "sha256", "received (UTC)", "source")
    print_table(columns, rows, important, notes=[one["reason"] for one in found])
    typer.echo(copyable("\nwhen the cause is mended: `tidemill reconvert --document SHA256`"))


def _said(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _plain(value: Any) -> Any:
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)
