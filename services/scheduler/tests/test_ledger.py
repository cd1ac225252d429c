"""The run ledger on a real Postgres, and on the bus."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.client import JetStreamContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing
from tidemill.common.cache import open_cache
from tidemill.common.config import Sources, load_config
from tidemill.common.config.sources import Convert, SourceFile
from tidemill.common.database import open_engine
from tidemill.common.events import (
    DocumentConverted,
    DocumentFailed,
    DocumentGone,
    DocumentStored,
    DocumentUnchanged,
    Event,
    RunFinished,
    RunPlanned,
)
from tidemill.common.service import Context
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.scheduler.ledger import Verdict, end_runs, record_words
from tidemill.scheduler.main import SPEC
from tidemill.scheduler.words import (
    Word,
    word_of_converted,
    word_of_failed,
    word_of_gone,
    word_of_plan,
    word_of_stored,
    word_of_unchanged,
)

pytestmark = pytest.mark.servers

START = datetime(2026, 3, 1, 6, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def plan(run: str, *items: str, closed: bool = True, total: int | None = None, seconds: float = 0) -> RunPlanned:
    return RunPlanned(
        source="paper",
        run=run,
        trigger="file",
        items=items,
        closed=closed,
        total=(len(items) if total is None else total) if closed else 0,
        planned_at=at(seconds),
    )


def stored(run: str, item: str, seconds: float = 1) -> DocumentStored:
    return DocumentStored(
        source="paper", run=run, item=item, sha256=f"sha-{item}", name=item, bytes_received=7, received_at=at(seconds)
    )


def converted(run: str, item: str, outcome: str = "converted", seconds: float = 2) -> DocumentConverted:
    return DocumentConverted.model_validate(
        {
            "source": "paper",
            "run": run,
            "item": item,
            "sha256": f"sha-{item}",
            "name": item,
            "converter": "json",
            "converterVersion": "1",
            "outcome": outcome,
            "records": {"shop.price": {"new": 3, "unchanged": 1}},
            "cpuSeconds": 0.25,
            "convertedAt": at(seconds),
        }
    )


def unchanged(run: str, item: str, seconds: float = 1) -> DocumentUnchanged:
    return DocumentUnchanged(
        source="paper", run=run, item=item, sha256="s", name=item, duplicate_of="x", received_at=at(seconds)
    )


def failed(run: str, item: str, failure: str = "timeout", seconds: float = 3) -> DocumentFailed:
    return DocumentFailed(source="paper", run=run, item=item, failure=failure, requests=2, failed_at=at(seconds))


def gone(run: str, item: str, seconds: float = 3) -> DocumentGone:
    url = f"https://example.org/{item}"
    return DocumentGone(source="paper", run=run, item=item, url=url, reason="unlisted", gone_at=at(seconds))


READERS: dict[type[Event], Callable[..., Word]] = {
    RunPlanned: word_of_plan,
    DocumentStored: lambda event: word_of_stored(event, converts=True),
    DocumentConverted: word_of_converted,
    DocumentUnchanged: word_of_unchanged,
    DocumentFailed: word_of_failed,
    DocumentGone: word_of_gone,
}


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


async def record(engine: AsyncEngine, *events: Event) -> list[RunFinished]:
    """In one group; what it states."""
    async with engine.begin() as tx:
        return facts(await record_words(tx, [READERS[type(event)](event) for event in events]))


def facts(outgoing: Sequence[Outgoing]) -> list[RunFinished]:
    return [one.event for one in outgoing if isinstance(one.event, RunFinished)]


async def rows(engine: AsyncEngine, statement: str, **parameters: Any) -> list[Any]:
    async with engine.connect() as connection:
        return list((await connection.execute(text(statement), parameters)).mappings())


async def test_a_run_is_stated_finished_once_with_all_it_came_to(engine: AsyncEngine) -> None:
    assert await record(engine, plan("r", "a", "b", "c"), stored("r", "a"), unchanged("r", "b")) == []
    [finished] = await record(engine, failed("r", "c"), converted("r", "a"))
    assert await record(engine, failed("r", "c"), stored("r", "a")) == []
    assert (finished.state, finished.reason, finished.trigger) == ("partial", "timeout", "file")
    assert (finished.items, finished.new, finished.unchanged, finished.failed) == (3, 1, 1, 1)
    assert (finished.requests, finished.bytes, finished.cpu_seconds) == (2, 7, 0.25)
    assert (finished.requested_at, finished.finished_at, finished.duration_seconds) == (at(0), at(3), 3.0)
    assert {name: changes.new for name, changes in finished.records.items()} == {"shop.price": 3}
    [run] = await rows(engine, "SELECT state, records FROM scheduler.runs")
    assert (run.state, run.records["shop.price"]["unchanged"]) == ("partial", 1)


async def test_a_run_tells_what_is_gone_and_what_is_there_again(engine: AsyncEngine) -> None:
    again = converted("r", "b").model_copy(update={"reappeared": True})
    [finished] = await record(engine, plan("r", "a", "b"), gone("r", "a"), again)
    assert (finished.state, finished.items, finished.gone, finished.reappeared, finished.new) == (
        "complete",
        2,
        1,
        1,
        0,
    )
    [run] = await rows(engine, "SELECT gone, reappeared, records FROM scheduler.runs")
    assert (run.gone, run.reappeared, run.records["shop.price"]["gone"]) == (1, 1, 0)


async def test_a_replay_that_succeeds_states_the_run_again_as_corrected(engine: AsyncEngine) -> None:
    [first] = await record(engine, plan("r", "a"), failed("r", "a"))
    [again] = await record(engine, converted("r", "a", seconds=500))
    assert [(one.state, one.corrected, one.finished_at) for one in (first, again)] == [
        ("failed", False, at(3)),
        ("complete", True, at(3)),
    ]


async def test_a_run_that_was_ended_from_outside_stays_so_and_counts_what_comes_late(engine: AsyncEngine) -> None:
    await record(engine, plan("r", "a", "b"))
    async with engine.begin() as tx:
        [ended] = facts(await end_runs(tx, [Verdict("r", "timed_out", "time_limit", at(60))]))
        assert await end_runs(tx, [Verdict("r", "cancelled", "asked", at(61))]) == []
    [late] = await record(engine, unchanged("r", "a", seconds=70))
    assert [(one.state, one.reason, one.unchanged, one.corrected) for one in (ended, late)] == [
        ("timed_out", "time_limit", 0, False),
        ("timed_out", "time_limit", 1, True),
    ]


async def test_of_an_unknown_run_there_is_nothing_to_end(engine: AsyncEngine) -> None:
    async with engine.begin() as tx:
        assert await end_runs(tx, [Verdict("nobody", "cancelled", "asked", at(0))]) == []


@pytest.mark.parametrize("seed", range(4))
async def test_any_order_and_grouping_of_events_gives_the_same_tables(engine: AsyncEngine, seed: int) -> None:
    order = random.Random(seed)
    history: list[Event] = []
    for number in range(40):
        run = f"r{number}"
        names = [f"i{item}" for item in range(number % 4)]
        history += [plan(run, *names[:1], closed=False), plan(run, *names[1:], total=len(names))]
        for item in names:
            history += order.choice(
                [
                    [],
                    [unchanged(run, item)],
                    [failed(run, item, order.choice(["timeout", "blocked"]))],
                    [stored(run, item), converted(run, item)],
                    [stored(run, item), converted(run, item, "empty")],
                    [failed(run, item), stored(run, item), converted(run, item, seconds=9)],
                    [gone(run, item)],
                    [stored(run, item), converted(run, item).model_copy(update={"reappeared": True})],
                ]
            )
    tables = []
    for way in range(2):
        if way:
            history += order.sample([event for event in history if not isinstance(event, RunPlanned)], 20)
            order.shuffle(history)
        rest = list(history)
        while rest:
            size = order.randint(1, 60)
            await record(engine, *rest[:size])
            del rest[:size]
        statements = (
            "SELECT * FROM scheduler.run_items ORDER BY run, item",
            "SELECT * FROM scheduler.runs ORDER BY run",
        )
        tables.append([[told(row) for row in await rows(engine, statement)] for statement in statements])
        async with engine.begin() as tx:
            await tx.execute(text("TRUNCATE scheduler.runs, scheduler.run_items"))
    assert tables[1] == tables[0]


def told(row: Any) -> dict[str, Any]:
    """How often an end was stated depends on when it was known."""
    return {name: value for name, value in row.items() if name != "statements"}


async def test_replicas_that_hear_of_the_same_runs_wait_for_one_another(engine: AsyncEngine) -> None:
    runs = [f"r{number}" for number in range(30)]
    groups: list[list[Event]] = [
        [plan(run, "a", "b") for run in runs],
        [unchanged(run, "a") for run in reversed(runs)],
        [failed(run, "b") for run in runs],
    ]
    stated = await asyncio.gather(*(record(engine, *group) for group in groups))
    assert sum(map(len, stated)) == 30
    assert {row["state"] for row in await rows(engine, "SELECT state FROM scheduler.runs")} == {"partial"}


@dataclass
class Keeping:
    """A scheduler at work."""

    engine: AsyncEngine
    js: JetStreamContext
    bus: Bus

    async def publish(self, *events: Event) -> None:
        for event in events:
            id = f"{type(event).__name__}/{json.dumps(event.model_dump(mode='json'))}"
            headers = {"Nats-Msg-Id": id, "Tidemill-Id": id}
            await self.js.publish(event.subject_filled(), event.to_json(), headers=headers)

    async def until(self, statement: str, within: float = 30) -> Any:
        deadline = time.monotonic() + within
        while not (found := await rows(self.engine, statement)):
            assert time.monotonic() < deadline, statement
            await asyncio.sleep(0.05)
        return found[0]


@pytest.fixture
async def keeping(engine: AsyncEngine, database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Keeping]:
    config = load_config(tmp_path, services={"scheduler": SPEC.settings})
    known = {
        "paper": SourceFile(source="paper", convert=Convert.model_validate({"with": "json"})),
        "kept": SourceFile(source="kept"),
    }
    async with AsyncExitStack() as stack:
        telemetry = await stack.enter_async_context(Telemetry.open("scheduler", "0"))
        bus = await stack.enter_async_context(
            Bus.open(
                nats_url, service="scheduler", version="0.1.0", engine=engine, tables=SPEC.tables, telemetry=telemetry
            )
        )
        context = Context(
            config=config,
            settings=config.service("scheduler"),
            sources=Sources(by_name=known),
            bus=bus,
            engine=engine,
            database_url=database_url,
            archive=await stack.enter_async_context(Archive.open(f"file://{tmp_path}/archive")),
            cache=open_cache(None, telemetry.metrics),
            telemetry=telemetry,
            log=get_logger("scheduler"),
        )
        wiring = await stack.enter_async_context(SPEC.open(context))
        running = asyncio.create_task(bus.run(wiring.steps, wiring.commands, wiring.tasks))
        client = await nats.connect(nats_url)
        js = client.jetstream()
        await ready(js)
        yield Keeping(engine, js, bus)
        await bus.stop()
        await running
        await client.close()


async def ready(js: JetStreamContext) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            if {info.name for info in await js.consumers_info("DEAD")}:
                return
        except nats.js.errors.NotFoundError:
            pass
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_the_bus_brings_events_to_the_ledger_and_tells_the_end_once(keeping: Keeping) -> None:
    bucket = await keeping.js.key_value("tidemill-control")
    await bucket.put("pause.source.paper", b"1")
    await keeping.publish(converted("r1", "a"), stored("r1", "a"))
    await keeping.until("SELECT 1 FROM scheduler.runs WHERE state = 'running'")
    await keeping.publish(plan("r1", "a"), plan("r1", "a"), converted("r1", "a"))
    await keeping.until("SELECT 1 FROM scheduler.runs WHERE state = 'complete'")
    await keeping.until("SELECT 1 FROM scheduler.outbox WHERE subject = 'tidemill.run.finished.paper'")
    found = await rows(keeping.engine, "SELECT event_id FROM scheduler.outbox")
    assert [row["event_id"] for row in found] == ["r1/finished/1"]


async def test_what_nothing_converts_is_through_when_it_is_stored(keeping: Keeping) -> None:
    await keeping.publish(
        plan("r2", "a").model_copy(update={"source": "kept"}), stored("r2", "a").model_copy(update={"source": "kept"})
    )
    run = await keeping.until("SELECT source, new FROM scheduler.runs WHERE state = 'complete'")
    assert (run["source"], run["new"]) == ("kept", 1)


def test_a_file_that_is_not_published_is_no_failure() -> None:
    (item,) = word_of_failed(failed("r", "a", "not_published")).items.values()
    assert (item.outcome, item.reason) == ("unchanged", "not_published")
