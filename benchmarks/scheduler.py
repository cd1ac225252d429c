"""Ten thousand schedules: how late their slots are committed, and what it costs to wait for them."""

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from sqlalchemy import text

from tidemill.common.bus.bus import Bus
from tidemill.common.config.sources import SourceFile
from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.common.servers import NatsServer, PostgresServer
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.scheduler.admission import Admission
from tidemill.scheduler.firing import Firing, utc_now
from tidemill.scheduler.limits import Limits
from tidemill.scheduler.main import SPEC
from tidemill.scheduler.schedules import apply_schedules

SCHEDULES = 10_000
MINUTE = 60
IDLE_SECONDS = 20
LATE_GOAL_MS = 150.0
IDLE_GOAL = 1.0
EACH_MINUTE = {"cron": "0 * * * * *", "jitter": f"{MINUTE}s"}
"""The stagger spreads them evenly over the minute."""

# What Postgres itself says of the commit, for rows of the whole minute.
COMMITTED = text("""
SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin) - due_at)::float8 * 1000 FROM scheduler.slots
WHERE outcome = 'fired' AND due_at > :applied_at
""")


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", ignore_cleanup_errors=True) as folder:
        nats = NatsServer(Path(folder) / "nats")
        postgres = PostgresServer(Path(folder) / "postgres", settings={"track_commit_timestamp": "on"})
        nats.start()
        postgres.start()
        try:
            late, cpu, applied, idle = asyncio.run(measure(Path(folder), nats.url, postgres.url))
        finally:
            nats.stop()
            postgres.stop()
    peer, peer_cpu = asyncio.run(measure_apscheduler())
    limit = asyncio.run(measure_timers())
    rows = [
        row(
            f"{SCHEDULES:,} schedules, late to commit, {name}", at(late, share), at(peer, share), at(limit, share), goal
        )
        for name, share, goal in (("median", 0.5, None), ("99th percentile", 0.99, LATE_GOAL_MS))
    ]
    rows.append(row("CPU of the process per slot fired", cpu, peer_cpu, None, None))
    applying = row(f"{SCHEDULES:,} schedules applied", applied, None, None, None, unit="s")
    return [*rows, applying, row("idle CPU of the process", idle, None, None, IDLE_GOAL, unit="% of a core")]


def at(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100)[round(100 * share) - 1]


def row(
    name: str, ours: float, peer: float | None, limit: float | None, goal: float | None, unit: str = "ms"
) -> dict[str, Any]:
    return {
        "name": name,
        "ours": ours,
        "peer": peer,
        "limit": limit,
        "unit": unit,
        "goal": None if goal is None else f"≤ {goal:g} {unit}",
        "ok": None if goal is None else ours <= goal,
        "lower_is_better": True,
    }


async def measure(folder: Path, nats_url: str, database_url: str) -> tuple[list[float], float, float, float]:
    """Milliseconds late of each slot, milliseconds of CPU per slot, seconds to apply the schedules, and percent of a
    core while nothing is due."""
    await migrate(database_url, [SPEC])
    engine = open_engine(database_url)
    async with scheduler(folder, nats_url, engine) as bus:
        wanted = sources()
        while not (bus.connected and bus.control.known):  # noqa: ASYNC110 there is nothing to wait on
            await asyncio.sleep(0.1)
        await asyncio.sleep(5)
        begun = time.monotonic()
        async with bus.transaction() as tx:
            await apply_schedules(tx, wanted, 0, utc_now())
        applied, applied_at = time.monotonic() - begun, utc_now()
        fired, cpu = 0, cpu_seconds()
        while fired < SCHEDULES:
            await asyncio.sleep(1)
            async with engine.connect() as connection:
                fired = (
                    await connection.execute(text("SELECT count(DISTINCT source) FROM scheduler.slots"))
                ).scalar() or 0
        cpu = cpu_seconds() - cpu
        async with engine.connect() as connection:
            late = [each[0] for each in await connection.execute(COMMITTED, {"applied_at": applied_at})]
        await rest(bus)
        idle = await watch_idle()
    await engine.dispose()
    return late, 1000 * cpu / len(late), applied, idle


def sources() -> dict[str, SourceFile]:
    return {
        f"bench-{number}": SourceFile.model_validate(
            {"source": f"bench-{number}", "schedule": EACH_MINUTE, "run": {"overlap": "allow"}}
        )
        for number in range(SCHEDULES)
    }


async def rest(bus: Bus) -> None:
    """The same number of schedules, next due in a year."""
    year = datetime.now(UTC).year + 1
    later = {
        name: source.model_copy(
            update={
                "schedule": SourceFile.model_validate(
                    {"source": name, "schedule": {"at": f"{year}-12-31T00:00"}}
                ).schedule
            }
        )
        for name, source in sources().items()
    }
    async with bus.transaction() as tx:
        await apply_schedules(tx, later, 1, utc_now())
        await tx.execute(text("UPDATE scheduler.runs SET state = 'complete', finished_at = now()"))
    await asyncio.sleep(5)


def cpu_seconds() -> float:
    return sum(psutil.Process().cpu_times()[:2])


async def watch_idle() -> float:
    before, begun = cpu_seconds(), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    return 100 * (cpu_seconds() - before) / (time.monotonic() - begun)


@asynccontextmanager
async def scheduler(folder: Path, nats_url: str, engine: Any) -> AsyncIterator[Bus]:
    async with (
        Telemetry.open("scheduler", "0.1.0") as telemetry,
        Bus.open(
            nats_url, service="scheduler", version="0.1.0", engine=engine, tables=SPEC.tables, telemetry=telemetry
        ) as bus,
    ):
        admission = Admission(control=bus.control, groups={}, data_dir=folder, disk_reserve=1, now=utc_now)
        firing = Firing(bus, engine, admission, telemetry.metrics)
        limits = Limits(bus, engine, admission, telemetry.metrics)
        running = asyncio.create_task(bus.run(tasks=(firing.run, limits.run)))
        yield bus
        await bus.stop()
        await running


async def measure_apscheduler() -> tuple[list[float], float]:
    """Milliseconds late of each call, and of CPU per call; jobs in memory, nothing stored, nothing published."""
    late: list[float] = []
    peer = AsyncIOScheduler(timezone="UTC")

    async def job(due: float) -> None:
        late.append(1000 * (time.time() - due))

    first = datetime.now(UTC) + timedelta(seconds=15)
    for number in range(SCHEDULES):
        due = first + timedelta(seconds=number * MINUTE / SCHEDULES)
        peer.add_job(job, "interval", seconds=3600, start_date=due, args=[due.timestamp()], misfire_grace_time=MINUTE)
    peer.start()
    await asyncio.sleep((first - datetime.now(UTC)).total_seconds())
    cpu = cpu_seconds()
    await asyncio.sleep(MINUTE + 2)
    cpu = cpu_seconds() - cpu
    peer.shutdown(wait=False)
    return late, 1000 * cpu / len(late)


async def measure_timers() -> list[float]:
    """Milliseconds late of as many bare timers of the event loop, within ten seconds."""
    late: list[float] = []
    loop = asyncio.get_running_loop()
    chance = random.Random(1)

    def note(due: float) -> None:
        late.append(1000 * (loop.time() - due))

    for _ in range(SCHEDULES):
        due = loop.time() + 1 + chance.uniform(0, 10)
        loop.call_at(due, note, due)
    await asyncio.sleep(12)
    return late
