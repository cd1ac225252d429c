"""A hundred thousand known targets of which one in a hundred changed: how long a run takes to decide, and with what."""

import asyncio
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import text

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.config.sources import SourceFile
from tidemill.common.database import open_engine
from tidemill.common.events import RunRequested
from tidemill.common.migrations import migrate
from tidemill.common.servers import NatsServer, PostgresServer
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.scraper import store
from tidemill.scraper.main import SPEC
from tidemill.scraper.phases import Phases

TARGETS = 100_000
CHANGED = 1_000
PAGE = 100
"""Entries of a search page."""
SECONDS_GOAL, MEGABYTES_GOAL = 5.0, 150.0
SOURCE = SourceFile.model_validate(
    {
        "source": "bench",
        "scrape": {"search": {"url": "https://portal.example/", "link": {"css": "a", "attribute": "href"}}},
        "extract": {"fields": {"title": {"from": {"css": "h1"}, "required": True}}},
    }
)
RUN = text("""
    INSERT INTO scraper.runs (run, source, trigger, phase, partial, priority, requested_at)
    VALUES (:run, 'bench', 'schedule', 'search', false, 10, now())
""")
SEARCH = text("""
    INSERT INTO scraper.searches (run, search, item, labels, position, pages, seen, stop, complete)
    VALUES (:run, 0, 'search', '{"city": "Helsinki"}', '{}', 1, 0, 'last_page', true)
""")
VISITED = text("""
    UPDATE scraper.targets SET sha256 = repeat('a', 64), content_hash = repeat('b', 64), rules = 'c', etag = 'd',
        checked_hint = hint, checked_at = now(), changed_at = now()
""")
SIZE = "SELECT pg_total_relation_size(CAST(:table AS text)::regclass)"
BARE = text("INSERT INTO bare SELECT id, source, item FROM scraper.targets")


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", ignore_cleanup_errors=True) as folder:
        nats = NatsServer(Path(folder) / "nats")
        postgres = PostgresServer(Path(folder) / "postgres")
        nats.start()
        postgres.start()
        try:
            measured = asyncio.run(measure(nats.url, postgres.url))
        finally:
            nats.stop()
            postgres.stop()
    seconds, cpu, grown, memory, entries, bare, target_bytes, decision_bytes = measured
    name = f"planning {TARGETS:,} known targets, {CHANGED:,} changed"
    return [
        row(name, seconds, bare, SECONDS_GOAL, "s"),
        row("CPU of the process for it", cpu, None, None, "s"),
        row("memory of the process, at its highest", memory, None, MEGABYTES_GOAL, "MB"),
        row("of that, by which planning grew it", grown, None, None, "MB"),
        row(f"entries of search pages recorded, {PAGE} a page", entries, None, None, "/s", lower_is_better=False),
        row("Postgres for each known target", target_bytes, None, None, "B"),
        row("Postgres for each decision of a run", decision_bytes, None, None, "B"),
    ]


def row(
    name: str, ours: float, limit: float | None, goal: float | None, unit: str, *, lower_is_better: bool = True
) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "peer": None,
        "limit": limit,
        "unit": unit,
        "goal": None if goal is None else f"≤ {goal:g} {unit}",
        "ok": None if goal is None else ours <= goal,
        "lower_is_better": lower_is_better,
    }


class Allowed:
    """A host whose robots.txt allows everything."""

    async def page(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError

    async def allowed(self, source: SourceFile, url: str, usage: object) -> bool:
        return True


async def measure(nats_url: str, database_url: str) -> tuple[float, ...]:
    await migrate(database_url, [SPEC])
    engine = open_engine(database_url)
    async with (
        Telemetry.open("scraper", SPEC.version) as telemetry,
        Bus.open(
            nats_url, service="scraper", version=SPEC.version, engine=engine, tables=SPEC.tables, telemetry=telemetry
        ) as bus,
    ):
        running = asyncio.create_task(bus.run())
        while not (bus.connected and bus.control.known):  # noqa: ASYNC110 there is nothing to wait on
            await asyncio.sleep(0.1)
        phases = Phases(
            bus, engine, lambda name, version: SOURCE, Allowed(), telemetry.metrics, lambda: datetime.now(UTC)
        )
        moving = asyncio.create_task(phases.run())
        await closed(bus, engine, "before", await see(engine, "before", 0))
        async with engine.begin() as tx:
            await tx.execute(text("UPDATE scraper.jobs SET state = 'done', outcome = 'new'"))
            await tx.execute(VISITED)
            await tx.execute(text("CREATE TABLE bare (target bigint PRIMARY KEY, source text, item text)"))
        async with engine.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await autocommit.execute(text("VACUUM FULL scraper.targets"))  # What was put in for the measurement goes.
            await autocommit.execute(text("VACUUM ANALYZE scraper.targets"))
            target_bytes = await connection.scalar(text(SIZE), {"table": "scraper.targets"}) / TARGETS
        began = time.monotonic()
        async with engine.begin() as tx:
            await tx.execute(BARE)
        bare = time.monotonic() - began
        entries = await see(engine, "after", CHANGED)
        before, cpu = peak(), cpu_seconds()
        seconds = await closed(bus, engine, "after", entries)
        cpu, memory = cpu_seconds() - cpu, peak()
        async with engine.connect() as connection:
            counted = await connection.execute(
                text("SELECT decision, count(*) FROM scraper.decisions WHERE run = 'after' GROUP BY 1")
            )
            assert dict(tuple(each) for each in counted) == {"fresh": TARGETS - CHANGED, "hint": CHANGED}
            decisions = await connection.scalar(text("SELECT count(*) FROM scraper.decisions"))
            decision_bytes = await connection.scalar(text(SIZE), {"table": "scraper.decisions"}) / decisions
        moving.cancel()
        await bus.stop()
        await running
    await engine.dispose()
    return seconds, cpu, memory - before, memory, entries, bare, float(target_bytes), float(decision_bytes)


async def see(engine: Any, run: str, changed: int) -> float:
    """All targets listed in a run, so many with another hint; entries a second."""
    async with engine.begin() as tx:
        await tx.execute(text("UPDATE scraper.runs SET phase = 'closed'"))
        await tx.execute(RUN, {"run": run})
        await tx.execute(SEARCH, {"run": run})
        await tx.execute(
            text("""
                INSERT INTO scraper.jobs (run, item, source, kind, decision, url, host, state, priority, place, due_at)
                VALUES (:run, 'search', 'bench', 'search', '', '', '', 'handed', 10, 0, now())
            """),
            {"run": run},
        )
    began = time.monotonic()
    for start in range(0, TARGETS, PAGE):
        async with engine.begin() as tx:
            await list_page(tx, run, range(start, start + PAGE), changed)
    return TARGETS / (time.monotonic() - began)


async def list_page(tx: Tx, run: str, numbers: range, changed: int) -> None:
    entries = [
        {
            "source": "bench",
            "run": run,
            "search": 0,
            "item": f"{number:08}~0123456789ab",
            "identity": f"https://portal.example/homes/{number:08}",
            "url": f"https://portal.example/homes/{number:08}?from=list",
            "host": "portal.example",
            "name": f"{number:08}",
            "key": "",
            "hint": f"{run if number < changed else ''}{number:016}",
            "carried": {},
            "at": datetime.now(UTC).isoformat(),
        }
        for number in numbers
    ]
    await store.see_targets(tx, entries)


async def closed(bus: Bus, engine: Any, run: str, _: float) -> float:
    """Seconds from the end of the last search until all that is to be asked for is in the queue. The service is at
    work, as it is while it searches: it states an event."""
    event = RunRequested(source="bench", run=run, trigger="manual", requested_at=datetime.now(UTC))
    began = time.monotonic()
    async with bus.transaction() as tx:
        await tx.execute(text("UPDATE scraper.jobs SET state = 'done' WHERE run = :run"), {"run": run})
        await bus.emit(tx, [Outgoing(run, event)])
    while True:
        async with engine.connect() as connection:
            phase = (
                await connection.execute(text("SELECT phase FROM scraper.runs WHERE run = :run"), {"run": run})
            ).scalar()
        if phase not in ("search", "plan"):
            return time.monotonic() - began
        await asyncio.sleep(0.05)


def cpu_seconds() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system


def peak() -> float:
    """Megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
