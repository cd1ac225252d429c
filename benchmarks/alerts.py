"""The alerter with 1,000 rules and nothing to tell: its share of a CPU; and one round after 10,000 failures."""

import asyncio
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import text

from benchmarks._rest import rested_memory
from tidemill.alerter.facts import save_signals
from tidemill.alerter.main import SPEC
from tidemill.alerter.signals import Signal
from tidemill.common.config import Sources, load_config
from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.common.servers import Addresses, NatsServer, PostgresServer
from tidemill.common.service import Service, find_services

RULES = 1_000
SECONDS = 60.0
SOURCES = 100
HOURS = 7 * 24
FAILURES = 10_000


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as place:
        folder = Path(place)
        folder.chmod(0o755)
        with NatsServer(folder / "nats") as nats, PostgresServer(folder / "postgres") as postgres:
            rows = asyncio.run(measure(folder, nats.url, postgres.url))
    return [*rows, rested_memory()]


def written() -> str:
    """Half of the rules are about events, half about measured values; none holds."""
    rules: dict[str, Any] = {}
    for number in range(RULES // 2):
        source = f"source-{number % SOURCES}"
        rules[f"events_{number}"] = {
            "event": "RunFinished",
            "where": {"source": [source], "state": ["failed"]},
            "clears": {"where": {"state": ["complete"]}},
            "by": ["source"],
            "within": "7d",
            "at_least": 1000 + number,
            "summary": "{source} fails",
        }
        rules[f"values_{number}"] = {
            "measure": "queue_length",
            "where": {"consumer": [f"consumer-{number}"]},
            "above": 1_000_000,
            "for": "5m",
            "summary": "{value} wait",
        }
    return yaml.safe_dump({"alerter": {"rules": rules}})


def past(now: datetime) -> list[Signal]:
    """A run of each source each hour of a week."""
    return [
        Signal(
            event="RunFinished",
            labels={"source": f"source-{n}", "state": "complete", "reason": "", "trigger": "schedule", "news": "no"},
            at=now - timedelta(hours=hour, seconds=n),
        )
        for hour in range(HOURS)
        for n in range(SOURCES)
    ]


async def measure(folder: Path, nats_url: str, database_url: str) -> list[dict[str, Any]]:
    await migrate(database_url, find_services())
    engine = open_engine(database_url)
    async with engine.begin() as tx:
        await save_signals(tx, past(datetime.now(UTC)))
        await tx.execute(text("UPDATE alerter.signals SET noted_at = at"))  # They came over a week, not just now.
    (folder / "tidemill.yaml").write_text(written())
    config = load_config(folder, services={"alerter": SPEC.settings}, environ={})
    service = Service(SPEC, config, Sources(), Addresses(nats_url, database_url))
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    while not service.health.started:  # noqa: ASYNC110 - a service sets a flag, no event
        await asyncio.sleep(0.1)
    await asyncio.sleep(20)  # The first round reads what is known.
    begun, cpu = time.monotonic(), time.process_time()
    await asyncio.sleep(SECONDS)
    share = (time.process_time() - cpu) / (time.monotonic() - begun)
    seconds = await tell_a_flood(engine)
    stop.set()
    await running
    await engine.dispose()
    return [
        {
            "name": f"alerter, {RULES} rules, idle",
            "ours": 100 * share,
            "unit": "% of a CPU",
            "goal": "<= 1",
            "ok": share <= 0.01,
            "lower_is_better": True,
        },
        {
            "name": f"{FAILURES:,} failures of one cause to one alert",
            "ours": seconds,
            "unit": "s",
            "goal": "<= 30",
            "ok": seconds <= 30,
            "lower_is_better": True,
        },
    ]


async def tell_a_flood(engine: Any) -> float:
    """From the facts in the table to the alert in its table; one round is waited for."""
    begun, now = time.monotonic(), datetime.now(UTC)
    labels = {"source": "source-1", "failure": "http"}
    async with engine.begin() as tx:
        await save_signals(tx, [Signal(event="DocumentFailed", labels=labels, at=now) for _ in range(FAILURES)])
    query = text("SELECT count FROM alerter.alerts WHERE rule = 'documents_failing'")
    while True:
        async with engine.connect() as connection:
            if await connection.scalar(query) == FAILURES:
                return time.monotonic() - begun
        await asyncio.sleep(0.1)
