"""`tidemill governance`: what was asked of other people's hosts, and under which terms."""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, fail, read_config
from tidemill.cli.tables import Column, print_table
from tidemill.common.spreadsheets import harmless

if TYPE_CHECKING:
    from tidemill.common.config.sources import SourceFile

DAYS = 30
LEDGERS = "SELECT schemaname FROM pg_tables WHERE tablename = 'requests' ORDER BY 1"
COUNTS = ("requests", "bytes", "not_modified", "bytes_saved", "robots_denials", "retry_after_obeyed")
REPORT = """
SELECT source, host, day, {sums} FROM ({ledgers}) l
WHERE day >= :since AND day <= :until AND (:source = '' OR source = :source)
GROUP BY source, host, day ORDER BY source, host, day
"""


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no day: write 2026-11-30") from None


Day = Annotated[date | None, typer.Option(parser=day, metavar="DAY", help="As 2026-11-30.")]


def register(app: typer.Typer) -> None:
    governance = typer.Typer(help="What was asked of other people's hosts.", no_args_is_help=True)
    governance.command()(report)
    governance.callback()(_group)
    app.add_typer(governance, name="governance")


def _group() -> None:
    """What stands before a command: a group of one stays a group."""


def report(
    source: Annotated[str, typer.Option(help="Of this source.")] = "",
    since: Day = None,
    until: Day = None,
    form: Annotated[
        Form, typer.Option("-o", "--output", help="table for people, json or csv for programs.")
    ] = Form.TABLE,
    assignments: Assignments = None,
) -> None:
    """Requests by source, host and day: how many, how much was spared, what robots.txt forbade, which Retry-After was
    obeyed, how much of the budget went, and the terms under which the data is had. Without --since, of 30 days."""
    last = until or date.max
    first = since or (min(last, datetime.now(UTC).date()) - timedelta(days=DAYS))
    sources = _sources(assignments)
    if source and source not in sources:
        typer.echo(f"tidemill: there is no source file {source}.yaml; the ledger may still know it", err=True)
    url = database_url(assignments)
    rows = asyncio.run(_fetch(url, {"source": source, "since": first, "until": last}))
    found = [_row(row, sources.get(row["source"])) for row in rows]
    if form is Form.JSON:
        typer.echo(json.dumps(found, ensure_ascii=False, indent=1))
    elif form is Form.CSV:
        _write_csv(found)
    else:
        _print(found, sources)


async def _fetch(url: str, chosen: Mapping[str, Any]) -> list[dict[str, Any]]:
    from sqlalchemy import text

    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in COUNTS)
    async with open_store(url) as connection:
        schemas = (await connection.scalars(text(LEDGERS))).all()
        if not schemas:
            fail("no service keeps a ledger of requests yet: run `tidemill migrate`, or start `tidemill up`")
        columns = ", ".join(("source", "host", "day", *COUNTS))
        ledgers = " UNION ALL ".join(f'SELECT {columns} FROM "{schema}".requests' for schema in schemas)
        query = text(REPORT.format(sums=sums, ledgers=ledgers))
        return [dict(row) for row in (await connection.execute(query, chosen)).mappings()]


def _sources(assignments: Sequence[str] | None) -> Mapping[str, SourceFile]:
    """Those of the folder. What is wrong with it does not keep the ledger from being read."""
    from tidemill.common.config import ConfigError, load_sources

    config = read_config(assignments).common
    try:
        return load_sources(config.sources_dir, config.data_dir)
    except ConfigError as error:
        typer.echo(f"tidemill: terms and rates are left out, because of the source files:\n{error}", err=True)
        return {}


def _row(row: Mapping[str, Any], source: SourceFile | None) -> dict[str, Any]:
    """Counts, and what the source file says today."""
    found: dict[str, Any] = {**row, "day": row["day"].isoformat()}
    budget = source.politeness.daily_budget if source else None
    found["daily_budget"] = budget
    found["budget_used"] = round(row["requests"] / budget, 4) if budget else None
    found["rate"] = source.politeness.rate if source else None
    found["robots_obeyed"] = source.politeness.obey_robots if source else None
    found["licence"] = source.licence.name if source else ""
    found["licence_url"] = source.licence.url if source else ""
    found["attribution"] = source.licence.attribution if source else ""
    return found


def _write_csv(found: Sequence[Mapping[str, Any]]) -> None:
    empty = _row({"source": "", "host": "", "day": date.min, **dict.fromkeys(COUNTS, 0)}, None)
    writer = csv.DictWriter(sys.stdout, list(empty), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _harmless(value) for name, value in row.items()} for row in found)


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula is quoted."""
    return harmless(value) if isinstance(value, str) else value


def _print(found: Sequence[Mapping[str, Any]], sources: Mapping[str, SourceFile]) -> None:
    if not found:
        typer.echo("nothing was asked of anybody in this time")
        return
    columns = [
        Column("day", whole=True),
        Column("source"),
        Column("host", most=60),
        Column("requests", right=True),
        Column("bytes", right=True),
        Column("304", right=True),
        Column("bytes saved", right=True),
        Column("robots denied", right=True),
        Column("Retry-After", right=True),
        Column("budget", right=True),
        Column("rate", right=True),
    ]
    rows = [
        [
            row["day"],
            row["source"],
            row["host"],
            *(f"{row[name]:,}" for name in COUNTS),
            "" if row["budget_used"] is None else f"{100 * row['budget_used']:.3g} % of {row['daily_budget']:,}",
            row["rate"] or "",
        ]
        for row in found
    ]
    important = ("day", "source", "host", "requests", "bytes", "304", "robots denied", "Retry-After", "budget")
    print_table(columns, rows, important)
    totals = {name: sum(row[name] for row in found) for name in COUNTS}
    typer.echo(
        f"\n{totals['requests']:,} requests, {totals['bytes']:,} bytes; {totals['not_modified']:,} times nothing had"
        f" changed, which saved {totals['bytes_saved']:,} bytes; robots.txt forbade {totals['robots_denials']:,};"
        f" Retry-After was obeyed {totals['retry_after_obeyed']:,} times"
    )
    for name in dict.fromkeys(row["source"] for row in found):
        typer.echo(f"{name}: {_terms(sources.get(name))}")


def _terms(source: SourceFile | None) -> str:
    if source is None:
        return "there is no source file any more"
    said = [source.licence.name, source.licence.url, source.licence.attribution]
    if not source.politeness.obey_robots:
        said.append("robots.txt is not asked (politeness.obey_robots)")
    return ", ".join(filter(None, said)) or "no terms are noted; write licence in its source file"
