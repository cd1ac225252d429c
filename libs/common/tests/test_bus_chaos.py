"""Processes are killed where it hurts and at random: nothing is lost, nothing is doubled."""

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats.errors
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tidemill.common.bus.step import Outgoing
from tidemill.common.events import RunPlanned

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.chaos]

WORKER = Path(__file__).parent / "bus_worker.py"
PARTS = 5
SECONDS = float(os.environ.get("TIDEMILL_CHAOS_SECONDS", "10"))


class Workers:
    def __init__(self, ground: Any, log: Path) -> None:
        self._ground = ground
        self._log = log.open("ab")
        self.alive: list[subprocess.Popen[bytes]] = []

    def start(self, **environment: str) -> "subprocess.Popen[bytes]":
        worker = subprocess.Popen(
            [sys.executable, WORKER, self._ground.url, self._ground.database_url],
            env={**os.environ, **environment},
            stdout=self._log,
            stderr=self._log,
        )
        self.alive.append(worker)
        return worker

    def end(self) -> None:
        for worker in self.alive:
            worker.terminate()
        for worker in self.alive:
            try:
                worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
        self._log.close()


@pytest.fixture
def workers(ground: Any, tmp_path: Path) -> Iterator[Workers]:
    made = Workers(ground, tmp_path / "workers.log")
    yield made
    made.end()
    print((tmp_path / "workers.log").read_text()[-5_000:])


def planned(run: str) -> RunPlanned:
    return RunPlanned(source="demo", run=run, trigger="test", planned_at=datetime(2026, 1, 1, tzinfo=UTC))


async def publish_runs(ground: Any, *ids: str) -> None:
    js = ground.nc.jetstream()
    for id in ids:
        event = planned(id)
        headers = {"Nats-Msg-Id": id, "Tidemill-Id": id}
        await js.publish(event.subject_filled(), event.to_json(), headers=headers)


async def all_through(ground: Any, documents: list[str], runs: list[str], within: float) -> None:
    """Everything recorded, published and acknowledged."""

    async def through() -> bool:
        if not ground.nc.is_connected:
            return False
        # Late retries wait a minute; we do not.
        await ground.sql("UPDATE demo.retries SET due_at = now() WHERE due_at > now()")
        rows = await ground.sql("SELECT count(*) FROM demo.rows")
        if rows[0][0] < len(documents) + PARTS * len(runs):
            return False
        unsent = await ground.sql("SELECT count(*) FROM demo.outbox WHERE sent_at IS NULL")
        return not unsent[0][0] and not await ground.pending() and not await ground.pending("parts", "RUNS")

    async def patiently() -> bool:
        try:
            return await through()
        except (nats.errors.Error, OSError, SQLAlchemyError):
            return False

    await ground.until(patiently, within=within)


async def check(ground: Any, documents: list[str], runs: list[str]) -> None:
    """Each once: rows, facts; and nobody innocent is dead."""
    expected = Counter([(name, 0) for name in documents] + [(run, part) for run in runs for part in range(PARTS)])
    rows = Counter(tuple(row) for row in await ground.sql("SELECT event_id, part FROM demo.rows"))
    assert rows - expected == Counter(), "doubled rows"
    assert expected - rows == Counter(), "lost rows"
    facts = Counter(fact.headers["Tidemill-Id"] for fact in await ground.facts())
    stated = Counter([f"{name}/0/stored" for name in documents])
    stated += Counter([f"{run}/-/{part}/stored" for run in runs for part in range(PARTS)])
    assert facts - stated == Counter(), "doubled facts"
    assert stated - facts == Counter(), "lost facts"
    assert await ground.sql("SELECT * FROM demo.dead_letters") == []
    assert await ground.sql("SELECT event_id FROM demo.outbox GROUP BY 1 HAVING count(*) > 1") == []


@pytest.mark.parametrize(
    "point",
    [
        "before commit:2",
        "after commit:2",
        "after publish:2",
        "before ack:10",
        *(
            pytest.param(point, marks=pytest.mark.long)
            for point in (
                "after fetch:2",
                "after look-up:2",
                "after inbox insert:2",
                "mid publish:20",
                "before mark:2",
                "after mark:2",
                "mid ack:10",
                "after retry saved:1",
            )
        ),
    ],
)
async def test_a_kill_at_a_point_that_matters_changes_nothing(ground: Any, workers: Workers, point: str) -> None:
    documents = [f"d{number:03}" for number in range(80)]
    runs = [f"r{number}" for number in range(4)]
    victim = workers.start(KILL_AT=point)
    await ground.publish(*documents[:40])
    await publish_runs(ground, *runs)
    await ground.publish(*documents[40:])
    await ground.until(lambda: victim.poll() is not None, within=20)
    assert victim.returncode == -signal.SIGKILL
    workers.start()
    await all_through(ground, documents, runs, within=30)
    await check(ground, documents, runs)


async def test_a_kill_while_a_late_retry_is_handed_out_changes_nothing(ground: Any, workers: Workers) -> None:
    workers.start(KILL_AT="after retry due:1")
    await ground.sql(
        "INSERT INTO demo.retries (consumer, event_id, origin_id, source, attempts, deliveries, due_at, subject, "
        "payload, headers, error) VALUES ('store', 'd1', 'd1', 'demo', 1, 1, now(), "
        "'tidemill.document.stored.lo.demo', :payload, CAST(:headers AS jsonb), 'x')",
        payload=ground.document("d1").to_json(),
        headers='{"Tidemill-Id": "d1"}',
    )
    await ground.until(lambda: workers.alive[0].poll() is not None, within=20)
    assert workers.alive[0].returncode == -signal.SIGKILL
    workers.start()
    await ground.until_recorded(1, within=20)
    await ground.until_settled(within=20)
    assert await ground.recorded() == ["d1"]


async def test_kills_at_random_and_an_older_store_lose_nothing_and_double_nothing(
    ground: Any, workers: Workers, nats_server: Any, postgres_server: Any, tmp_path: Path
) -> None:
    if {"NATS_URL", "DATABASE_URL"} & set(os.environ):
        pytest.skip("the servers are not ours to kill")
    dice = random.Random(int(os.environ.get("TIDEMILL_CHAOS_SEED", "1")))
    kills: Counter[str] = Counter()
    documents: list[str] = []
    runs: list[str] = []
    started = time.monotonic()

    def enough() -> bool:
        """A slow machine takes longer for the same."""
        return time.monotonic() > started + SECONDS and kills["older store"] > 0 and kills.total() >= SECONDS / 2

    async def produce(bus: Any) -> None:
        """As a service does that no message drives: in a transaction, again until it is committed."""
        while not enough():
            batch = [f"d{len(documents) + number:05}" for number in range(40)]
            run = f"r{len(runs):04}"
            events = [Outgoing(name, ground.document(name)) for name in batch] + [Outgoing(run, planned(run))]
            with suppress(SQLAlchemyError, OSError):
                async with bus.transaction() as tx:
                    if not await already_emitted(tx, run):
                        await bus.emit(tx, events)
                documents.extend(batch)
                runs.append(run)
            await asyncio.sleep(0.05)

    for _ in range(2):
        workers.start(KILL_CHANCE="0.0004")
    async with ground.bus() as bus:
        producing = asyncio.create_task(produce(bus))
        older: Path | None = None
        while not enough():
            passed = (time.monotonic() - started) / SECONDS
            await asyncio.sleep(dice.uniform(0.4, 1.0))
            for worker in list(workers.alive):
                if worker.poll() is not None:
                    kills["worker, at a point"] += 1
                elif dice.random() < 0.25:
                    worker.kill()
                    worker.wait()
                    kills["worker"] += 1
                else:
                    continue
                workers.alive.remove(worker)
                workers.start(KILL_CHANCE="0.0004")
            if older is None and passed > 0.3:
                older = Path(await asyncio.to_thread(shutil.copytree, nats_server.store, tmp_path / "older"))
            if dice.random() < 0.3 or (older and passed > 0.6 and not kills["older store"]):
                nats_server.kill()
                kills["nats-server"] += 1
                if older and passed > 0.6 and not kills["older store"]:
                    shutil.rmtree(nats_server.store)
                    shutil.copytree(older, nats_server.store)
                    kills["older store"] += 1
                await asyncio.sleep(dice.uniform(0, 0.8))
                await ground.start(nats_server)
            if dice.random() < 0.2:
                postgres_server.kill()
                kills["Postgres"] += 1
                await asyncio.sleep(dice.uniform(0, 0.8))
                await ground.start(postgres_server)
        await producing
        for worker in workers.alive:
            worker.kill()
            worker.wait()
        workers.alive.clear()
        workers.start()
        workers.start()
        await all_through(ground, documents, runs, within=60)
        await check(ground, documents, runs)
    print(f"{len(documents)} documents, {len(runs)} runs, kills: {dict(kills)}")
    assert kills["older store"] == 1


async def already_emitted(tx: Any, run: str) -> bool:
    """Whether the transaction before was committed after all, though its connection broke."""
    return bool(await tx.scalar(text("SELECT 1 FROM demo.outbox WHERE event_id = :run"), {"run": run}))
