"""The report on a day over a million listings, a tenth of which changed that day: seconds, and the memory it takes."""

import asyncio
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.common.servers import PostgresServer

RECORDS = 1_000_000
CHANGED = 100_000
CITIES = 300
MEGABYTES_GOAL = 300.0
DAY = datetime(2026, 3, 3, 6, tzinfo=UTC)

DOCUMENTS = """
INSERT INTO converter.documents (source, sha256, run, converter, converter_version, name, size_bytes, received_at,
    state, outcome)
VALUES ('bench', repeat('a', 64), 'bench-1', 'bench', '1', 'one.json', 1, '2026-03-02T06:00Z', 'finished', 'converted'),
    ('bench', repeat('b', 64), 'bench-2', 'bench', '1', 'two.json', 1, '2026-03-03T06:00Z', 'finished', 'converted')
"""
RUNS = """
INSERT INTO scheduler.runs (run, source, trigger, state, slot, requested_at, finished_at, items, new, changed)
VALUES ('bench-1', 'bench', 'schedule', 'complete', '2026-03-02T06:00Z', '2026-03-02T06:00Z', '2026-03-02T06:09Z',
    1, 1, 0), ('bench-2', 'bench', 'schedule', 'complete', '2026-03-03T06:00Z', '2026-03-03T06:00Z',
    '2026-03-03T06:09Z', 1, 0, 1)
"""
VERSIONS = """
INSERT INTO converter.versions (dataset, id, record, content, document, valid_from, recorded_from, quality, hash, run,
    origin, data, raw)
SELECT :dataset, :first + n, n, :first + n, d.id, d.received_at, d.received_at + interval '5 minutes', 0.8,
    sha256(('v' || :first + n)::bytea), d.run, 'stored', jsonb_build_object('portal', 'bench', 'portal_id', n::text,
    'url', 'https://bench.example/' || n, 'price_kind', 'sale', 'currency', 'EUR',
    'price', 100000 + (n % 50000) * 7919 % 400000 + :more, 'size_m2', 20 + n % 150, 'city', 'City ' || n % :cities), ''
FROM generate_series(1, :count) n, converter.documents d WHERE d.run = :run
"""
RECORDS_ = """
INSERT INTO converter.records (dataset, id, key, version, content, hash, valid_from)
SELECT DISTINCT ON (v.record) v.dataset, v.record, 'bench/' || v.record, v.id, v.id, v.hash, v.valid_from
FROM converter.versions v WHERE v.dataset = :dataset ORDER BY v.record, v.valid_from DESC
"""


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", ignore_cleanup_errors=True) as folder:
        postgres = PostgresServer(Path(folder) / "postgres")
        postgres.start()
        try:
            seconds, report, size = asyncio.run(measure(postgres.url))
        finally:
            postgres.stop()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(report, file=sys.stderr)
    return [
        row("daily report over 1,000,000 records, 100,000 of them changed", seconds, "s", None),
        row("its memory at most", peak, "MB", MEGABYTES_GOAL),
        row("its JSON", size / 1000, "kB", None),
    ]


async def measure(url: str) -> tuple[float, str, int]:
    from tidemill.reporter.catalogue import catalogue
    from tidemill.reporter.gathering import Gathering
    from tidemill.reporter.statements import find_reported
    from tidemill.reporter.telling import tell

    engine = open_engine(url, statement_seconds=None)
    await fill(url, engine)
    datasets = find_reported()
    known = catalogue([one.dataset for one in datasets])
    gathering = Gathering(ZoneInfo("UTC"), datasets, known)
    started = time.monotonic()
    report = tell(await gathering.facts(engine, "day", DAY.date().isoformat()), known)
    seconds = time.monotonic() - started
    (by_source, *_) = [table for table in report.breakdowns if table.title.endswith("by source")]
    assert by_source.rows[0][:4] == ("bench", RECORDS, 0, CHANGED), by_source.rows
    await engine.dispose()
    return seconds, report.summary, len(report.canonical_json())


async def fill(url: str, engine: AsyncEngine) -> None:
    from tidemill.converter.datasets import find_datasets, register_datasets
    from tidemill.converter.main import SPEC as CONVERTER
    from tidemill.reporter.main import SPEC as REPORTER
    from tidemill.scheduler.main import SPEC as SCHEDULER

    specs = [
        SimpleNamespace(name=one.name, metadata=one.metadata, migrations=one.migrations)
        for one in (SCHEDULER, CONVERTER, REPORTER)
    ]
    await migrate(url, specs)
    dataset = (await register_datasets(engine, find_datasets())).id("listings.listing")
    async with engine.begin() as tx:
        await tx.execute(text(DOCUMENTS))
        await tx.execute(text(RUNS))
        for first, count, run, more in ((0, RECORDS, "bench-1", 0), (RECORDS, CHANGED, "bench-2", 5000)):
            said = {"dataset": dataset, "first": first, "count": count, "run": run, "more": more, "cities": CITIES}
            await tx.execute(text(VERSIONS), said)
        await tx.execute(text(RECORDS_), {"dataset": dataset})
    async with engine.connect() as connection:
        outside = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await outside.execute(text("VACUUM ANALYZE"))


def row(name: str, value: float, unit: str, goal: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(value, 2),
        "peer": None,
        "limit": None,
        "unit": unit,
        "goal": None if goal is None else f"≤ {goal:g}",
        "ok": None if goal is None else value <= goal,
        "lower_is_better": True,
    }
