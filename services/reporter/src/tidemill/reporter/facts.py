"""Everything that a report is told from: gathered in one snapshot of the database, in a transaction that only reads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.telemetry.logs import get_logger
from tidemill.plugin import Counted, Tally
from tidemill.reporter.inputs import Inputs
from tidemill.reporter.measured import Measured
from tidemill.reporter.measuring import exists
from tidemill.reporter.statements import Reported, changes_by, changes_sql, families_sql, figures_sql, names_sql

log = get_logger(__name__)

Row = Mapping[str, Any]

NAMES = 2000
"""Printed names in one table at most, the least sure first."""
SERIES_DAYS = 35

RUN_IDS = text("""
SELECT run FROM scheduler.runs WHERE coalesce(slot, requested_at) >= :start AND coalesce(slot, requested_at) < :end
    AND finished_at IS NOT NULL ORDER BY run
""")
OF_SOURCES = text("""
SELECT source, count(*) AS runs, count(*) FILTER (WHERE trigger = 'schedule') AS scheduled,
    array_agg(DISTINCT state) AS states, sum(items)::bigint AS items, sum(new)::bigint AS new,
    sum(changed)::bigint AS changed, sum(unchanged)::bigint AS unchanged, sum(gone)::bigint AS gone,
    sum(reappeared)::bigint AS reappeared, sum(skipped)::bigint AS skipped, sum(failed)::bigint AS failed,
    sum(requests)::bigint AS requests, sum(bytes)::bigint AS bytes,
    round(sum(extract(epoch FROM finished_at - requested_at)), 3)::float8 AS duration_seconds,
    round(max(extract(epoch FROM finished_at - requested_at)), 3)::float8 AS longest_seconds,
    round(sum(cpu_seconds::numeric), 3)::float8 AS cpu_seconds, max(peak_memory_bytes) AS peak_memory_bytes,
    min(requested_at) AS begun_at, count(*) FILTER (WHERE state = 'complete') AS complete
FROM scheduler.runs WHERE run = ANY(:runs) GROUP BY source ORDER BY source
""")
FAILED_ITEMS = text("""
SELECT r.source, i.reason AS failure, count(*) AS count,
    min(left(concat_ws(': ', coalesce(nullif(i.name, ''), i.item), nullif(i.detail, '')), 300)) AS example
FROM scheduler.run_items i JOIN scheduler.runs r ON r.run = i.run
WHERE i.run = ANY(:runs) AND i.outcome = 'failed' GROUP BY r.source, i.reason ORDER BY r.source, count(*) DESC, i.reason
""")
FAILED_RUNS = text("""
SELECT source, coalesce(nullif(reason, ''), state) AS failure, count(*) AS count, min(run) AS example
FROM scheduler.runs WHERE run = ANY(:runs) AND state NOT IN ('complete', 'partial') AND failed = 0
GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2
""")
# A document that was converted again is counted as it counts now.
OWN = """
WITH RECURSIVE own AS (
    SELECT id, superseded_by FROM converter.documents WHERE run = ANY(:runs)
    UNION SELECT n.id, n.superseded_by FROM converter.documents n JOIN own o ON n.id = o.superseded_by
)"""
STORED = text(f"""
{OWN}
SELECT d.source, sum(b.new + b.changed + b.unchanged + b.history)::bigint AS records FROM converter.batches b
JOIN converter.documents d ON d.id = b.document WHERE d.id IN (SELECT id FROM own WHERE superseded_by IS NULL)
GROUP BY d.source ORDER BY d.source
""")
REJECTED = text(f"""
{OWN}
SELECT d.source, r.reason, count(*) AS count, min(left(r.raw, 100)) AS example
FROM converter.rejected r JOIN converter.documents d ON d.id = r.document
WHERE d.id IN (SELECT id FROM own WHERE superseded_by IS NULL)
GROUP BY d.source, r.reason ORDER BY d.source, count(*) DESC, r.reason
""")
READ = text(f"""
{OWN}
SELECT d.source, k.kind, sum(k.rows)::bigint AS rows FROM converter.documents d
CROSS JOIN jsonb_array_elements(d.accounting) page
CROSS JOIN LATERAL (
    SELECT ' seen' AS kind, (page ->> 'seen')::bigint AS rows
    UNION ALL SELECT ' accepted', (page ->> 'accepted')::bigint
    UNION ALL SELECT ' rejected', (page ->> 'rejected')::bigint
    UNION ALL SELECT i.key, i.value::text::bigint FROM jsonb_each(page -> 'ignored') i
) k WHERE d.id IN (SELECT id FROM own WHERE superseded_by IS NULL)
GROUP BY d.source, k.kind HAVING sum(k.rows) > 0 ORDER BY d.source, k.kind
""")
HELD = text("""
SELECT source, count(*) FILTER (WHERE run = ANY(:runs)) AS new,
    count(*) FILTER (WHERE state = 'held' OR settled_at > :until) AS held
FROM converter.quarantine WHERE held_at <= :until OR run = ANY(:runs) GROUP BY source ORDER BY source
""")
CONVERTERS = text(f"""
{OWN}
SELECT d.converter, d.converter_version AS version, sum(b.new + b.changed + b.unchanged + b.history)::bigint AS records
FROM converter.batches b JOIN converter.documents d ON d.id = b.document
WHERE d.id IN (SELECT id FROM own WHERE superseded_by IS NULL) AND d.converter <> 'gone' GROUP BY 1, 2 ORDER BY 1, 2
""")
NEWEST = text("""
SELECT source, max(received_at) AS newest FROM converter.documents
WHERE converter <> 'gone' AND run NOT LIKE 'reconvert-%' AND (received_at <= :until OR run = ANY(:runs))
    AND (:source = '' OR source = :source) GROUP BY source ORDER BY source
""")
CHECKS = """
SELECT source, name, severity, count(*) AS runs, max(message) AS message FROM {schema}.check_results
WHERE run = ANY(:runs) AND NOT passed GROUP BY source, name, severity
"""
RECORD_CHECKS = text(f"""
{OWN}
SELECT d.source, c.name, c.severity, sum(c.failed)::bigint AS records, max(c.examples::text) AS message
FROM converter.record_checks c JOIN converter.documents d ON d.id = c.document
WHERE d.id IN (SELECT id FROM own WHERE superseded_by IS NULL) AND c.failed > 0 GROUP BY 1, 2, 3 ORDER BY 1, 2
""")
LEDGERS = text("SELECT schemaname FROM pg_tables WHERE tablename = 'requests' ORDER BY 1")
ASKED = """
SELECT source, host, sum(requests)::bigint AS requests, sum(bytes)::bigint AS bytes,
    sum(not_modified)::bigint AS not_modified, sum(bytes_saved)::bigint AS bytes_saved,
    sum(robots_denials)::bigint AS robots_denials, sum(retry_after_obeyed)::bigint AS retry_after_obeyed
FROM ({ledgers}) l WHERE day = :day GROUP BY source, host ORDER BY source, host
"""
# By the jobs of a run. An index page is asked for before a downloader has any: it counts in the ledger alone.
ASKED_OF_RUN = """
SELECT source, host, sum(requests)::bigint AS requests, sum(bytes)::bigint AS bytes,
    sum(not_modified)::bigint AS not_modified, sum(robots_denials)::bigint AS robots_denials
FROM ({jobs}) j GROUP BY source, host ORDER BY source, host
"""
JOBS = """
SELECT j.source, j.host, j.requests, j.bytes_received AS bytes, {not_modified} AS not_modified,
    (i.reason IS NOT DISTINCT FROM 'robots')::int AS robots_denials
FROM {schema}.jobs j LEFT JOIN scheduler.run_items i ON i.run = j.run AND i.item = j.item WHERE j.run = :subject
"""
NOT_MODIFIED = "(SELECT count(*) FROM scraper.pages p WHERE p.run = j.run AND p.item = j.item AND p.status = 304)"
FORBIDDEN = """
SELECT d.source, t.host, 0, 0, 0, 1 FROM scraper.decisions d JOIN scraper.targets t ON t.id = d.target
WHERE d.run = :subject AND d.decision = 'robots'
"""
UNUSUAL = text("""
SELECT source, name, labels, value, expected, low, high, score, basis, severity, subject FROM reporter.measures
WHERE kind = 'run' AND severity <> '' AND day = :day AND (:run = '' OR subject = :run)
ORDER BY source, name, labels, subject
""")
OF_RUN = text("""
SELECT source, name, value, labels, expected, low, high, score, basis, severity FROM reporter.measures
WHERE kind = 'run' AND subject = :run ORDER BY source, name, labels
""")
# A value of a run that was unusual makes the day's point one that was.
SERIES = text("""
SELECT m.source, m.name, m.labels, m.day, m.value, m.low, m.high, m.severity <> '' OR EXISTS (
    SELECT FROM reporter.measures r WHERE r.kind = 'run' AND r.day = m.day AND r.source = m.source
        AND r.name = m.name AND r.labels = m.labels AND r.severity <> '') AS anomalous
FROM reporter.measures m
WHERE m.kind = 'day' AND m.day >= :since AND m.day < :day AND (:source = '' OR m.source = :source)
ORDER BY m.source, m.name, m.labels, m.day
""")


@dataclass(frozen=True, slots=True)
class About:
    """What a report is about, and which runs are its own."""

    kind: str
    subject: str
    day: date
    zone: ZoneInfo
    until: datetime
    """What was received later does not count, unless one of the runs brought it."""
    runs: Sequence[str]
    source: str = ""
    """Of a report on a run."""
    as_of: datetime | None = None
    """Of a day that is not over: now."""

    @property
    def asked(self) -> dict[str, Any]:
        return {"until": self.until, "runs": list(self.runs), "day": self.day, "source": self.source}


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFacts:
    reported: Reported
    figures: Sequence[Row]
    changes: Sequence[Row]
    tallies: Mapping[str, Counted] = field(default_factory=dict)
    """By name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Rows as the queries above say them."""

    about: About
    inputs: Inputs
    sources: Sequence[Row]
    errors: Sequence[Row] = ()
    stored: Mapping[str, int] = field(default_factory=dict)
    read: Sequence[Row] = ()
    """Rows of documents by source and kind: seen, accepted, rejected (after a blank), or why they were ignored."""
    rejected: Sequence[Row] = ()
    held: Sequence[Row] = ()
    converters: Sequence[Row] = ()
    newest: Sequence[Row] = ()
    checks: Sequence[Row] = ()
    record_checks: Sequence[Row] = ()
    asked: Sequence[Row] = ()
    unusual: Sequence[Row] = ()
    series: Sequence[Row] = ()
    datasets: Sequence[DatasetFacts] = ()
    names: Mapping[tuple[str, str], Sequence[Row]] = field(default_factory=dict)
    """By dataset and field."""
    measured: Sequence[Measured] = ()
    """Of the day, held against its past; of a report on a run, of the run."""
    stale_after: timedelta = timedelta(days=8)
    exempt: Collection[str] = ()


async def fetch_run_ids(connection: AsyncConnection, start: datetime, end: datetime) -> list[str]:
    return list((await connection.scalars(RUN_IDS, {"start": start, "end": end})).all())


async def fetch_rows(connection: AsyncConnection, query: Any, about: About, **more: Any) -> list[Row]:
    return [dict(row) for row in (await connection.execute(query, {**about.asked, **more})).mappings()]


async def fetch_store(connection: AsyncConnection, about: About) -> dict[str, Any]:
    """What the converter's own tables say; nothing where they are not there yet."""
    if not await exists(connection, "converter.quarantine"):
        return {}
    found: dict[str, Any] = {
        "read": await fetch_rows(connection, READ, about),
        "rejected": await fetch_rows(connection, REJECTED, about),
        "held": await fetch_rows(connection, HELD, about),
        "converters": await fetch_rows(connection, CONVERTERS, about),
        "newest": await fetch_rows(connection, NEWEST, about),
        "record_checks": await fetch_rows(connection, RECORD_CHECKS, about),
    }
    found["stored"] = {row["source"]: row["records"] for row in await fetch_rows(connection, STORED, about)}
    return found


async def fetch_checks(connection: AsyncConnection, about: About) -> list[Row]:
    """Of every service that judges runs."""
    schemas = [name for name in ("scraper", "converter") if await exists(connection, f"{name}.check_results")]
    if not schemas:
        return []
    several = " UNION ALL ".join(CHECKS.format(schema=schema) for schema in schemas)
    return await fetch_rows(connection, text(f"{several} ORDER BY 1, 2"), about)


async def fetch_asked(connection: AsyncConnection, about: About) -> list[Row]:
    """Requests of the day, by source and host; of a run, whom the ledgers do not know, those of its jobs."""
    if about.kind == "run":
        return await _fetch_asked_by(connection, about)
    schemas = (await connection.scalars(LEDGERS)).all()
    if not schemas:
        return []
    columns = "source, host, day, requests, bytes, not_modified, bytes_saved, robots_denials, retry_after_obeyed"
    ledgers = " UNION ALL ".join(f'SELECT {columns} FROM "{schema}".requests' for schema in schemas)
    return await fetch_rows(connection, text(ASKED.format(ledgers=ledgers)), about)


async def _fetch_asked_by(connection: AsyncConnection, run: About) -> list[Row]:
    jobs = []
    if await exists(connection, "downloader.jobs"):
        jobs.append(JOBS.format(schema="downloader", not_modified="NULL::bigint"))
    if await exists(connection, "scraper.jobs"):
        jobs += [JOBS.format(schema="scraper", not_modified=NOT_MODIFIED), FORBIDDEN]
    if not jobs:
        return []
    query = text(ASKED_OF_RUN.format(jobs=" UNION ALL ".join(jobs)))
    return await fetch_rows(connection, query, run, subject=run.subject)


async def fetch_errors(connection: AsyncConnection, about: About) -> list[Row]:
    items = await fetch_rows(connection, FAILED_ITEMS, about)
    return items + await fetch_rows(connection, FAILED_RUNS, about)


async def fetch_dataset(connection: AsyncConnection, about: About, reported: Reported, since: datetime) -> DatasetFacts:
    by = figures_by(reported)
    figures = await fetch_rows(connection, text(figures_sql(reported, of_source=bool(about.source), by=by)), about)
    changes = await fetch_rows(connection, text(changes_sql(reported)), about, since=since)
    tallies = {tally.name: await fetch_tally(connection, about, reported, tally, since) for tally in reported.tallies}
    return DatasetFacts(reported=reported, figures=figures, changes=changes, tallies=tallies)


async def fetch_tally(
    connection: AsyncConnection, about: About, reported: Reported, tally: Tally, since: datetime
) -> Counted:
    """Family by family: however many there are, one is in memory."""
    found: dict[str, dict[str, int]] = {}
    query = text(families_sql(reported.dataset, reported.known[tally.children]))
    async with connection.stream(query, {**about.asked, "since": since}) as rows:
        async for row in rows:
            for group, counts in tally.count(orjson.loads(row.record), orjson.loads(row.children)).items():
                known = found.setdefault(group, dict.fromkeys(tally.columns, 0))
                for name, count in counts.items():
                    known[name] += count
    return found


def figures_by(reported: Reported) -> list[tuple[str, ...]]:
    """The groupings of the figures: those of the changes, and those that are measured."""
    measured = [("source", "g0")] if reported.breakdowns else []
    return [*changes_by(reported), *measured]


async def fetch_datasets(
    connection: AsyncConnection, about: About, several: Sequence[Reported], since: datetime
) -> tuple[list[DatasetFacts], dict[tuple[str, str], list[Row]]]:
    """Of every dataset that is in the store. One of which Postgres refuses a hint is left out, and logged."""
    found: list[DatasetFacts] = []
    names: dict[tuple[str, str], list[Row]] = {}
    for reported in several:
        domain, thing = reported.name.split(".")
        if not await exists(connection, f'"{domain}"."{thing}_history"'):
            continue
        try:
            async with connection.begin_nested():
                one = await fetch_dataset(connection, about, reported, since)
                told = {
                    (reported.name, name): await fetch_rows(
                        connection, text(names_sql(reported.dataset, name)), about, since=since, most=NAMES + 1
                    )
                    for name in reported.dataset.names
                }
        except DBAPIError as error:
            if error.connection_invalidated:
                raise
            log.error("a dataset cannot be reported on", dataset=reported.name, error=str(error.orig))
            continue
        found.append(one)
        names |= told
    return found, names
