"""`tidemill documents`: what came, and what became of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.files import until_the_reader_leaves
from tidemill.cli.reading import database_url, moment, open_store
from tidemill.cli.records import Form
from tidemill.cli.running import Assignments, fail
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

SHOWN = 50
"""Documents in a table, unless --limit says otherwise."""
SHORT_SHA256 = 12

NOT_REFUSED = ("converted", "incomplete", "converting", "stored", "duplicate", "failed", "gone")
"""Every other outcome says why nothing was taken from a document."""
OUTCOME_HELP = (
    "converted, incomplete, refused (for whatever reason), failed (a dead letter), duplicate, stored (not converted "
    "yet), gone (a page that is not there any more), or a reason as the list shows it"
)

CONVERTED = """
SELECT received_at, source, name, coalesce(outcome, 'converting') AS outcome, reason, sha256, size_bytes, path, run,
    converter, converter_version, begun_at, id AS document
FROM converter.documents WHERE superseded_by IS NULL AND state <> 'staged'
"""
TAKEN = """
SELECT f.seen_at, source, regexp_replace(f.path, '^.*/', ''), f.outcome,
    CASE f.outcome WHEN 'duplicate' THEN 'the same bytes as ' || d.name ELSE '' END, sha256, NULL, f.path, f.run,
    NULL, NULL, f.seen_at, NULL
FROM watcher.files f JOIN watcher.documents d USING (source, sha256)
WHERE f.outcome = 'duplicate' OR NOT EXISTS (SELECT 1 FROM converter.documents c WHERE c.run = f.run)
"""
REFUSED = """
SELECT refused_at, source, regexp_replace(path, '^.*/', ''), reason, detail, NULL, NULL, path, run,
    NULL, NULL, refused_at, NULL
FROM watcher.refusals
"""
CAME = """
SELECT received_at, source, name, CASE WHEN letter IS NULL THEN outcome ELSE 'failed' END AS outcome,
    CASE WHEN letter IS NULL THEN reason ELSE 'dead letter ' || letter || ': ' || split_part(error, E'\\n', 1) END
    AS reason, sha256, size_bytes, path, run, converter, converter_version, begun_at, document
FROM ({branches}) came LEFT JOIN LATERAL (
    SELECT 'converter:' || id AS letter, error FROM converter.dead_letters
    WHERE came.outcome IN ('stored', 'converting') AND handled_at IS NULL AND headers ->> 'Tidemill-Run' = came.run
    LIMIT 1
) dead ON true
"""
LISTED = """
SELECT received_at, source, name, outcome, reason, CASE WHEN document IS NOT NULL THEN (
    SELECT coalesce(sum(new + changed + unchanged + history + gone), 0)::bigint
    FROM converter.batches b WHERE b.document = page.document
) END AS records, CASE WHEN document IS NOT NULL THEN (
    SELECT count(*) FROM converter.rejected r WHERE r.document = page.document
) END AS rejected, sha256, size_bytes, path, run, converter, converter_version
FROM (SELECT * FROM ({came}) came WHERE {chosen} {order} LIMIT :limit) page {order}
"""
ORDER = "ORDER BY received_at DESC, begun_at DESC, path"


def register(app: typer.Typer) -> None:
    app.command("documents")(documents)


def documents(
    source: Annotated[str, typer.Option(help="Of this source.")] = "",
    outcome: Annotated[str, typer.Option(help=f"With this outcome: {OUTCOME_HELP}.")] = "",
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only those that came then or later; UTC without a zone."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help=f"At most so many; a table has {SHOWN} otherwise.")] = None,
    form: Annotated[Form, typer.Option("-o", "--output", help="table for people, json or jsonl for programs.")] = (
        Form.TABLE
    ),
    assignments: Assignments = None,
) -> None:
    """List documents, the newest first, with what became of each: converted, refused and why, still waiting."""
    if limit is None and form is Form.TABLE:
        limit = SHOWN
    with until_the_reader_leaves():
        asyncio.run(_show(database_url(assignments), source, outcome, since, limit, form))


async def _show(url: str, source: str, outcome: str, since: datetime | None, limit: int | None, form: Form) -> None:
    async with open_store(url) as connection:
        found = _find(connection, source, outcome, since, limit)
        if form is Form.TABLE:
            _print_table([each async for each in found], outcome, limit)
        elif form is Form.JSON:
            typer.echo(json.dumps([_plain(each) async for each in found], indent=1, ensure_ascii=False))
        else:
            async for each in found:
                typer.echo(json.dumps(_plain(each), ensure_ascii=False))


async def _find(
    connection: AsyncConnection, source: str, outcome: str, since: datetime | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    from sqlalchemy import bindparam, text

    watched = await connection.scalar(text("SELECT to_regclass('watcher.refusals') IS NOT NULL"))
    branches = "UNION ALL".join([CONVERTED, *([TAKEN, REFUSED] if watched else [])])
    conditions = {
        "source = :source": source,
        "received_at >= :since": since,
        "outcome NOT IN :not_refused" if outcome == "refused" else "outcome = :outcome": outcome,
    }
    chosen = [condition for condition, given in conditions.items() if given]
    came = CAME.format(branches=branches)
    query = text(LISTED.format(came=came, chosen=" AND ".join(chosen) or "true", order=ORDER))
    given: dict[str, Any] = {"source": source, "since": since, "outcome": outcome, "limit": limit}
    if outcome == "refused":
        query = query.bindparams(bindparam("not_refused", NOT_REFUSED, expanding=True))
    used = {name: value for name, value in given.items() if f":{name}" in query.text}
    async for row in (await connection.stream(query, used)).mappings():
        yield dict(row)


def _plain(found: Mapping[str, Any]) -> dict[str, Any]:
    return {**found, "received_at": found["received_at"].astimezone(UTC).isoformat()}


def _print_table(found: Sequence[Mapping[str, Any]], outcome: str, limit: int | None) -> None:
    """A line each; below it why, where it was not simply converted."""
    if not found:
        _check(outcome)
        typer.echo("no documents")
        return
    columns = [
        Column("received (UTC)", whole=True),
        Column("source"),
        Column("name", most=60),
        Column("outcome"),
        Column("records", right=True),
        Column("rejected", right=True),
        Column("sha256", whole=True),
    ]
    rows = [
        [
            f"{each['received_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            each["source"],
            each["name"],
            each["outcome"],
            _count(each["records"]),
            _count(each["rejected"]),
            (each["sha256"] or "")[:SHORT_SHA256],
        ]
        for each in found
    ]
    rejected = ("rejected",) if any(each["rejected"] for each in found) else ()
    important = ("received (UTC)", "name", "outcome", "records", *rejected, "sha256", "source")
    print_table(columns, rows, important, notes=[each["reason"] for each in found])
    outcomes = Counter(each["outcome"] for each in found)
    told = ", ".join(f"{count} {name}" for name, count in outcomes.most_common())
    more = f" (at most {limit}; --limit shows more)" if len(found) == limit else ""
    typer.echo(f"\n{len(found)} document{'' if len(found) == 1 else 's'}{more}: {told}")


def _check(outcome: str) -> None:
    """An outcome that no document can have is a slip of the pen."""
    from tidemill.plugin import Outcome

    known = dict.fromkeys(["refused", *NOT_REFUSED, *Outcome])
    if outcome and outcome not in known:
        fail(f"no document has the outcome {outcome!r}; outcomes are {', '.join(known)}")


def _count(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
