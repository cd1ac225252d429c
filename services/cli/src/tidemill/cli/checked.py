"""What checks said of a run, for `tidemill runs show`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from tidemill.cli.running import copyable
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TABLES = "SELECT to_regclass('{schema}.check_results') IS NOT NULL"
RESULTS = """
SELECT name, severity, passed, message, value, judged_at FROM {schema}.check_results WHERE run = :run ORDER BY name
"""
RECORDS = """
SELECT c.name, min(c.severity) AS severity, sum(c.failed)::bigint AS failed,
    (array_agg(c.examples -> 0 ->> 'message' ORDER BY c.document, c.part))[1] AS example
FROM converter.record_checks c JOIN converter.documents d ON d.id = c.document
WHERE d.run = :run AND d.superseded_by IS NULL AND d.state <> 'staged' GROUP BY c.name ORDER BY c.name
"""
HELD = """
SELECT count(*) FROM converter.quarantine q JOIN converter.documents d ON d.id = q.document
WHERE q.run = :run AND q.state = 'held' AND d.superseded_by IS NULL
"""
QUALITY = """
SELECT s.name, count(*) AS records, avg(coalesce(e.quality, v.quality))::float8 AS mean
FROM converter.documents d JOIN converter.versions v ON v.document = d.id
JOIN converter.datasets s ON s.id = v.dataset
LEFT JOIN LATERAL (
    SELECT avg((e.data ->> 'quality')::real) AS quality FROM converter.enriched e
    WHERE e.dataset = v.dataset AND e.content = v.content
) e ON true
WHERE d.run = :run AND d.sha256 <> '' AND d.superseded_by IS NULL AND d.state <> 'staged' GROUP BY s.name ORDER BY 1
"""


async def find_checked(connection: AsyncConnection, run: str) -> dict[str, Any]:
    """Checks of the run, checks of its records, how many of these wait in quarantine, and how good they are."""
    from sqlalchemy import text

    found: dict[str, Any] = {"checks": [], "record_checks": [], "quarantined": 0, "quality": {}}
    said = {"run": run}
    for schema in ("scraper", "converter"):
        if await connection.scalar(text(TABLES.format(schema=schema))):
            rows = await connection.execute(text(RESULTS.format(schema=schema)), said)
            found["checks"] += [_plain(dict(row)) for row in rows.mappings()]
    if await connection.scalar(text(TABLES.format(schema="converter"))):
        rows = await connection.execute(text(RECORDS), said)
        found["record_checks"] = [dict(row) for row in rows.mappings()]
        found["quarantined"] = await connection.scalar(text(HELD), said)
        rows = await connection.execute(text(QUALITY), said)
        found["quality"] = {row.name: {"records": row.records, "mean": round(row.mean, 4)} for row in rows}
    return found


def print_checked(checked: Mapping[str, Any], run: str) -> None:
    for dataset, quality in checked["quality"].items():
        typer.echo(f"quality of {dataset}: {quality['mean']:.2f} over {quality['records']:,} records")
    runs = [
        [one["name"], one["severity"], "passed" if one["passed"] else "failed", one["message"]]
        for one in checked["checks"]
    ]
    records = [
        [one["name"], one["severity"], f"{one['failed']:,} records", f"for instance: {one['example']}"]
        for one in checked["record_checks"]
    ]
    if runs or records:
        typer.echo("")
        columns = [Column("check"), Column("severity"), Column("result"), Column("", most=120)]
        rows = [*runs, *records]
        print_table(
            columns, rows, ("check", "result", ""), alarming=[n for n, row in enumerate(rows) if row[2] == "failed"]
        )
    if checked["quarantined"]:
        typer.echo(copyable(f"\n{checked['quarantined']:,} in quarantine: `tidemill quarantine list --run {run}`"))


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.astimezone(UTC).isoformat() if isinstance(value, datetime) else value for name, value in row.items()
    }
