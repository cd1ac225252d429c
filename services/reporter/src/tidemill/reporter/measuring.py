"""Measures a run that ended, by read-only SQL: what the ledger counted, and what its source's records say then."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.events import RunFinished
from tidemill.common.telemetry.logs import get_logger
from tidemill.reporter.anomalies import WINDOW, Past
from tidemill.reporter.catalogue import OF_RUNS, QUALITY, Measure
from tidemill.reporter.days import clock_of, day_of
from tidemill.reporter.measured import Key, Measured, canonical, judged
from tidemill.reporter.statements import Reported, figures_sql, grouped

log = get_logger(__name__)

GROUPS = 40
"""Of the first breakdown: so many of the greatest have time series."""
LEAST_RECORDS = 10
"""A group of fewer says nothing that lasts."""
OFTEN = 24
"""A source with more scheduled runs a day is judged by the day."""
STATES = ("complete", "partial")
"""Of runs that are the past of others; what is blocked or failed says nothing of the source."""

OF_LEDGER = """
SELECT items, new, changed, unchanged, gone, reappeared, skipped, failed, requests, bytes, cpu_seconds,
    peak_memory_bytes, state, extract(epoch FROM finished_at - requested_at)::float8 AS duration_seconds
FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL
"""
OF_STORE = """
SELECT
    (SELECT coalesce(sum(b.new + b.changed + b.unchanged + b.history), 0) FROM converter.batches b
        JOIN converter.documents d ON d.id = b.document
        WHERE d.run = :run AND d.superseded_by IS NULL)::float8 AS records,
    (SELECT count(*) FROM converter.rejected r JOIN converter.documents d ON d.id = r.document
        WHERE d.run = :run AND d.superseded_by IS NULL)::float8 AS rejected,
    (SELECT count(*) FROM converter.quarantine q WHERE q.run = :run)::float8 AS quarantined
"""
RUNS_OF_DAY = text("""
SELECT count(DISTINCT subject) FROM reporter.measures
WHERE source = :source AND kind = 'run' AND day = :day AND scheduled
""")
# Of each earlier day the run whose time of day is nearest.
PAST = text("""
SELECT DISTINCT ON (source, name, labels, day) source, name, labels, day, value FROM reporter.measures
WHERE source = :source AND kind = :kind AND day < :day AND day >= :since AND scheduled
ORDER BY source, name, labels, day, abs(clock - :clock), subject
""")
BEFORE = text("""
SELECT name, value, labels FROM reporter.measures WHERE kind = 'run' AND source = :source AND starts_with(name, :of)
    AND subject = (SELECT subject FROM reporter.measures WHERE kind = 'run' AND source = :source AND subject <> :run
        AND starts_with(name, :of) AND (day, clock) <= (:day, :clock) ORDER BY day DESC, clock DESC, subject LIMIT 1)
ORDER BY name, labels
""")


@dataclass(frozen=True, slots=True)
class RunMeasures:
    """All of a run, as it is kept."""

    run: str
    source: str
    day: date
    clock: int
    scheduled: bool
    measured: Sequence[Measured] = field(default_factory=tuple)


async def exists(connection: AsyncConnection, table: str) -> bool:
    """Services bring their tables one by one."""
    return bool(await connection.scalar(text("SELECT to_regclass(:table) IS NOT NULL"), {"table": table}))


async def measure_run(
    connection: AsyncConnection,
    event: RunFinished,
    zone: ZoneInfo,
    datasets: Sequence[Reported],
    known: Mapping[str, Measure],
) -> RunMeasures:
    """In a transaction of the caller's that only reads."""
    at = event.slot or event.requested_at
    counts = await _counts(connection, event)
    state = counts.pop("state")
    run = RunMeasures(
        run=event.run,
        source=event.source,
        day=day_of(at, zone),
        clock=clock_of(at, zone),
        scheduled=event.trigger == "schedule" and state in STATES,
    )
    measured = [
        Measured(run.source, one.name, float(counts[one.name])) for one in OF_RUNS if counts.get(one.name) is not None
    ]
    if event.trigger == "schedule":
        for reported in datasets:
            if reported.name in event.records:
                measured += await _levels(connection, event, run, reported)
        if await connection.scalar(RUNS_OF_DAY, {"source": run.source, "day": run.day}) < OFTEN:
            past = await fetch_past(connection, run.source, "run", run.day, run.clock)
            measured = judged(measured, past, known, run.day)
    return RunMeasures(run.run, run.source, run.day, run.clock, run.scheduled, measured)


async def fetch_past(
    connection: AsyncConnection, source: str, kind: str, day: date, clock: int = 0
) -> dict[Key, list[Past]]:
    found: dict[Key, list[Past]] = {}
    asked = {"source": source, "kind": kind, "day": day, "since": day - WINDOW, "clock": clock}
    for row in await connection.execute(PAST, asked):
        found.setdefault((row.source, row.name, row.labels), []).append(Past(row.day, row.value))
    return found


async def _counts(connection: AsyncConnection, event: RunFinished) -> dict[str, Any]:
    """As the ledger has them now: what was stated may be older than the row, never newer."""
    row = None
    if await exists(connection, "scheduler.runs"):
        row = (await connection.execute(text(OF_LEDGER), {"run": event.run})).mappings().first()
    counts: dict[str, Any] = dict(row) if row else event.model_dump(include={"state", *(one.name for one in OF_RUNS)})
    if await exists(connection, "converter.documents"):
        counts |= (await connection.execute(text(OF_STORE), {"run": event.run})).mappings().one()
    return counts


async def _levels(
    connection: AsyncConnection, event: RunFinished, run: RunMeasures, reported: Reported
) -> list[Measured]:
    """What the records of a dataset say after the run; a run that changed none of them leaves all as it was."""
    changes = event.records[reported.name]
    if not event.corrected and not changes.new + changes.changed + changes.gone + changes.history:
        asked = {"source": run.source, "of": f"{reported.name}.", "run": run.run, "day": run.day, "clock": run.clock}
        before = [Measured(run.source, *row) for row in await connection.execute(BEFORE, asked)]
        if before:
            return before
    return await measure_levels(connection, reported, run.source, run.run, event.finished_at)


async def measure_levels(
    connection: AsyncConnection, reported: Reported, source: str, run: str, until: datetime
) -> list[Measured]:
    by = levels_by(reported)
    query = text(figures_sql(reported, of_source=True, by=by))
    try:
        async with connection.begin_nested():
            found = await connection.execute(query, {"source": source, "until": until, "runs": [run]})
            rows = [dict(row) for row in found.mappings()]
    except DBAPIError as error:
        log.warning("a dataset cannot be measured", dataset=reported.name, error=str(error.orig).partition("\n")[0])
        return []
    return list(levels(reported, rows, by))


def levels_by(reported: Reported) -> list[tuple[str, ...]]:
    """The groupings that levels are measured of."""
    return [("source",), ("source", "g0")] if reported.breakdowns else [("source",)]


def levels(reported: Reported, rows: Sequence[Mapping[str, Any]], by: Sequence[Sequence[str]]) -> Iterator[Measured]:
    """Of the rows by source, and by source and first breakdown; the greatest groups of it."""
    breakdowns = reported.breakdowns
    whole = [row for row in rows if row["grouped"] == grouped(by, ("source",))]
    for row in whole:
        yield from _of_group(reported, row, "{}")
    groups = [row for row in rows if breakdowns and row["grouped"] == grouped(by, ("source", "g0"))]
    large = [row for row in groups if row["records"] >= LEAST_RECORDS and row["g0"]]
    for row in sorted(large, key=lambda row: (-row["records"], row["g0"]))[:GROUPS]:
        yield from _of_group(reported, row, canonical({breakdowns[0].name: row["g0"]}))


def _of_group(reported: Reported, row: Mapping[str, Any], labels: str) -> Iterator[Measured]:
    yield Measured(row["source"], f"{reported.name}.records", float(row["records"]), labels)
    if row["quality"] is not None:
        yield Measured(row["source"], f"{reported.name}.{QUALITY.name}", row["quality"], labels)
    for n, figure in enumerate(reported.figures):
        if figure.measured and row[f"v{n}"] is not None:
            yield Measured(row["source"], f"{reported.name}.{figure.name}", row[f"v{n}"], labels)
