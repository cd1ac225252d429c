"""The audit chain: whatever is done to its rows is found, and named."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import nats
import pytest
from nats.js.kv import KeyValue
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.client import CommandFailed, request_command
from tidemill.common.bus.step import Delivery, Done
from tidemill.common.bus.topology import AUDIT_BUCKET
from tidemill.common.database import open_engine
from tidemill.common.events import CommandDone
from tidemill.common.telemetry.metrics import value
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.scheduler import audit
from tidemill.scheduler.audit import EMPTY, Head
from tidemill.scheduler.audit_head import HeadKeeper, find_kept
from tidemill.scheduler.audit_step import audit_step
from tidemill.scheduler.main import SPEC

pytestmark = pytest.mark.servers


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_url, pool=10)
    yield engine
    await engine.dispose()


async def record(engine: AsyncEngine, *targets: str) -> Head:
    head = EMPTY
    for target in targets:
        async with engine.begin() as tx:
            head = await audit.record(
                tx,
                actor="Ágnes",
                via="cli",
                action="source.pause",
                target=target,
                before={"paused": False, "share": 1e-7, "big": 10**20},
                after={"paused": True, "why": 'a "quote"\n'},
            )
    return head


async def wrong(engine: AsyncEngine, kept: Head | None = None) -> list[str]:
    async with engine.connect() as connection:
        return await audit.verify(connection, kept)


async def change(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as tx:
        await tx.execute(text(statement))


async def test_what_commands_of_other_services_changed_is_in_the_chain(engine: AsyncEngine) -> None:
    done = CommandDone(
        service="converter",
        action="reconvert.accept",
        target="reconversion 3",
        before='{"state": "staging"}',
        actor="anna",
        via="cli",
        done_at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    step = audit_step()
    async with engine.begin() as tx:
        await step.record(tx, [Done(Delivery("c1", done, attempt=1), None)])
        (row,) = [row async for row in audit.rows(tx)]
    assert (row.actor, row.via, row.action, row.target) == ("anna", "cli", "reconvert.accept", "reconversion 3")
    assert (row.at, row.before, row.after) == (done.done_at, done.before, None)
    assert await wrong(engine) == []


async def test_an_untouched_chain_is_whole(engine: AsyncEngine) -> None:
    assert await wrong(engine) == []
    head = await record(engine, "a", "b", "c")
    assert await wrong(engine, head) == []
    assert Head.parse(str(head)) == head


@pytest.mark.parametrize(
    "assignment",
    [
        "actor = 'Béla'",
        "via = 'bus'",
        "action = 'source.resume'",
        "target = 'other'",
        "result = 'refused'",
        "at = at + interval '1 microsecond'",
        "before = NULL",
        'before = \'{"paused": false, "share": 1e-7, "big": 1e20}\'',
        "after = '{}'",
    ],
)
async def test_a_changed_row_is_named(engine: AsyncEngine, assignment: str) -> None:
    await record(engine, "a", "b", "c")
    await change(engine, f"UPDATE scheduler.audit SET {assignment} WHERE seq = 2")
    (found,) = await wrong(engine)
    assert found.startswith("row 2 was changed (")


async def test_a_removed_row_is_named(engine: AsyncEngine) -> None:
    await record(engine, "a", "b", "c", "d", "e")
    await change(engine, "DELETE FROM scheduler.audit WHERE seq = 2")
    assert await wrong(engine) == ["row 2 is missing before row 3"]
    await change(engine, "DELETE FROM scheduler.audit WHERE seq = 3")
    assert await wrong(engine) == ["rows 2 to 3 are missing before row 4"]


async def test_a_first_row_that_is_gone_is_named(engine: AsyncEngine) -> None:
    await record(engine, "a", "b")
    await change(engine, "DELETE FROM scheduler.audit WHERE seq = 1")
    assert await wrong(engine) == ["row 1 is missing before row 2"]


async def test_rows_that_changed_places_are_named(engine: AsyncEngine) -> None:
    await record(engine, "a", "b", "c", "d")
    await change(engine, "UPDATE scheduler.audit SET seq = CASE seq WHEN 2 THEN -3 ELSE -2 END WHERE seq IN (2, 3)")
    await change(engine, "UPDATE scheduler.audit SET seq = -seq WHERE seq < 0")
    found = await wrong(engine)
    assert any("row 2 was changed" in sentence for sentence in found)
    assert any("row 3 was changed" in sentence for sentence in found)


async def test_a_gap_that_was_closed_is_named(engine: AsyncEngine) -> None:
    await record(engine, "a", "b", "c")
    await change(engine, "DELETE FROM scheduler.audit WHERE seq = 2")
    await change(engine, "UPDATE scheduler.audit SET seq = 2 WHERE seq = 3")
    assert "row 2 does not follow row 1: one of the two was changed or moved" in await wrong(engine)


async def test_missing_newest_rows_and_a_chain_written_anew_are_found_by_the_kept_head(engine: AsyncEngine) -> None:
    head = await record(engine, "a", "b", "c", "d")
    await change(engine, "DELETE FROM scheduler.audit WHERE seq > 2")
    assert await wrong(engine) == []
    assert await wrong(engine, head) == ["rows 3 to 4 are missing at the end: the kept head is row 4"]
    await record(engine, "x", "y", "z")
    assert await wrong(engine, head) == [
        "row 4 is another one than the one that was kept as head: the chain was written anew"
    ]


async def test_many_at_once_make_one_chain(engine: AsyncEngine) -> None:
    await asyncio.gather(*(record(engine, *(f"{worker}-{n}" for n in range(5))) for worker in range(8)))
    async with engine.connect() as connection:
        assert await audit.find_head(connection) != EMPTY
        assert len([row async for row in audit.rows(connection)]) == 40
    assert await wrong(engine) == []


async def test_a_change_that_is_rolled_back_leaves_no_row(engine: AsyncEngine) -> None:
    with pytest.raises(RuntimeError, match="no"):
        async with engine.begin() as tx:
            await audit.record(tx, actor="me", via="cli", action="x", target="y")
            raise RuntimeError("no")
    head = await record(engine, "a")
    assert head.seq == 1


@pytest.fixture
async def keeping(engine: AsyncEngine, nats_url: str) -> AsyncIterator[KeyValue]:
    """A scheduler's bus that keeps the head."""
    telemetry = Telemetry.open("scheduler", "0.1.0")
    async with Bus.open(
        nats_url, service="scheduler", version="0.1.0", engine=engine, tables=SPEC.tables, telemetry=telemetry
    ) as bus:
        keeper = HeadKeeper(bus, engine, telemetry.metrics)
        running = asyncio.create_task(bus.run(commands=keeper.commands(), tasks=[keeper.run]))
        client = await nats.connect(nats_url)
        async with asyncio.timeout(15):
            while True:
                try:
                    yield await client.jetstream().key_value(AUDIT_BUCKET)
                    break
                except nats.js.errors.BucketNotFoundError:
                    await asyncio.sleep(0.05)
        await client.close()
        await bus.stop()
        await running


async def becomes_kept(bucket: KeyValue, head: Head) -> None:
    async with asyncio.timeout(20):
        while (await find_kept(bucket))[0] != head:
            await asyncio.sleep(0.05)


def broken() -> float:
    return value("tidemill_audit_broken", service="scheduler")


async def test_the_head_is_kept_and_never_moved_to_another_chain(
    engine: AsyncEngine, keeping: KeyValue, nats_url: str
) -> None:
    head = await record(engine, "a", "b", "c")
    await becomes_kept(keeping, head)
    client = await nats.connect(nats_url)
    with pytest.raises(CommandFailed, match="nothing to accept"):
        await request_command(client, "scheduler", "audit_accept", {"reason": "no"})
    await change(engine, "DELETE FROM scheduler.audit WHERE seq > 1")
    await record(engine, "x", "y", "z")
    async with asyncio.timeout(20):
        while not broken():
            await asyncio.sleep(0.05)
    assert (await find_kept(keeping))[0] == head
    with pytest.raises(CommandFailed, match="reason is missing"):
        await request_command(client, "scheduler", "audit_accept")
    answer = await request_command(
        client, "scheduler", "audit_accept", {"reason": "restored from Monday", "actor": "me"}
    )
    await client.close()
    assert answer == {"seq": 5}
    async with asyncio.timeout(20):
        while broken():
            await asyncio.sleep(0.05)
    async with engine.connect() as connection:
        now = await audit.find_head(connection)
    await becomes_kept(keeping, now)
    assert await wrong(engine, now) == []
