"""Long work in parts: in order, each recorded once, resumed where it was."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tidemill.common.bus.step import Poison

pytestmark = pytest.mark.servers


class Parts:
    """Yields `count` parts of an event, and remembers what was asked of it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.started_at: list[int] = []
        self.made: list[int] = []
        self.fail_at: int | None = None
        self.closed = 0
        self.gate: asyncio.Event | None = None
        self.gate_at = 0

    async def __call__(self, delivery: Any) -> AsyncIterator[str]:
        self.started_at.append(delivery.parts_done)
        try:
            for number in range(delivery.parts_done, self.count):
                if number == self.fail_at:
                    raise RuntimeError("half way")
                if self.gate is not None and number == self.gate_at:
                    await self.gate.wait()
                self.made.append(number)
                yield delivery.event.sha256
        finally:
            self.closed += 1


async def parts_of(ground: Any) -> list[int]:
    return [row[0] for row in await ground.sql("SELECT part FROM demo.rows")]


async def test_parts_are_recorded_in_order_each_with_its_facts(ground: Any) -> None:
    async with ground.bus(ground.step(streamed=Parts(20))):
        await ground.publish("big")
        await ground.until_settled()
        await ground.until_recorded(20)
    assert await parts_of(ground) == list(range(20))
    assert [fact.headers["Tidemill-Id"] for fact in await ground.facts()] == [f"big/-/{n}/stored" for n in range(20)]
    inbox = {row[0] for row in await ground.sql("SELECT event_id FROM demo.inbox")}
    assert inbox == {"big", *(f"big/-/{number}" for number in range(19))}


async def test_a_stream_of_one_part_is_an_event_like_any_other(ground: Any) -> None:
    async with ground.bus(ground.step(streamed=Parts(1))):
        await ground.publish("small")
        await ground.until_recorded(1)
        await ground.until_settled()
    assert await ground.sql("SELECT event_id FROM demo.inbox") == [("small",)]


async def test_a_stream_without_parts_is_handled_and_states_nothing(ground: Any) -> None:
    async with ground.bus(ground.step(streamed=Parts(0))):
        await ground.publish("none")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.inbox"))
        await ground.until_settled()
    assert await ground.recorded() == []


async def test_a_failure_half_way_keeps_the_parts_and_goes_on_there(ground: Any) -> None:
    parts = Parts(10)
    parts.fail_at = 6
    async with ground.bus(ground.step(streamed=parts, retry=(timedelta(seconds=0.1),) * 9)):
        await ground.publish("big")
        await ground.until(lambda: len(parts.started_at) >= 2)
        parts.fail_at = None
        await ground.until_recorded(10)
        await ground.until_settled()
    assert await parts_of(ground) == list(range(10))
    assert parts.started_at[0] == 0
    # Part 5 was made but not yet handed over when part 6 failed: only what is recorded is done.
    assert parts.started_at[1] == 5
    assert len(await ground.facts()) == 10


async def test_a_late_retry_goes_on_where_the_event_was(ground: Any) -> None:
    parts = Parts(10)
    parts.fail_at = 6
    async with ground.bus(ground.step(streamed=parts, retry=(timedelta(minutes=5),))):
        await ground.publish("big")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries WHERE due_at IS NOT NULL"))
        parts.fail_at = None
        await ground.sql("UPDATE demo.retries SET due_at = now()")
        await ground.until_recorded(10)
        await ground.until_settled()
    assert parts.started_at == [0, 5]
    assert await parts_of(ground) == list(range(10))
    assert len({fact.headers["Tidemill-Id"] for fact in await ground.facts()}) == 10


async def test_parts_of_another_version_do_not_count(ground: Any) -> None:
    parts = Parts(4)
    parts.fail_at = 3
    step = ground.step(streamed=parts, retry=(timedelta(seconds=0.1),) * 99, version=lambda _: "v1")
    async with ground.bus(step):
        await ground.publish("big")
        await ground.until(lambda: len(parts.started_at) >= 2)
    parts.fail_at = None
    before = len(parts.started_at)
    async with ground.bus(replace(step, version=lambda _: "v2")):
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.inbox WHERE event_id = 'big'"))
        await ground.until_settled()
    assert parts.started_at[before] == 0
    ids = {fact.headers["Tidemill-Id"] for fact in await ground.facts()}
    assert ids == {"big/v1/0/stored", "big/v1/1/stored", *(f"big/v2/{number}/stored" for number in range(4))}


async def test_parts_wait_for_postgres_and_not_in_memory(ground: Any) -> None:
    release = asyncio.Event()

    async def record(tx: Any, results: Any) -> Any:
        await release.wait()
        return await ground.record(tx, results)

    parts = Parts(100)
    async with ground.bus(ground.step(streamed=parts, record=record)):
        await ground.publish("big")
        await ground.until(lambda: parts.made)
        await asyncio.sleep(0.3)
        assert len(parts.made) <= 3
        release.set()
        await ground.until_recorded(100)
    assert await parts_of(ground) == list(range(100))


async def test_a_part_that_record_refuses_fails_the_event_and_closes_its_stream(ground: Any) -> None:
    async def record(tx: Any, results: Any) -> Any:
        if any(done.part == 2 for done in results):
            raise Poison("part 2 is rotten")
        return await ground.record(tx, results)

    parts = Parts(6)
    async with ground.bus(ground.step(streamed=parts, record=record)):
        await ground.publish("big", "other")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.dead_letters OFFSET 1"))
        await ground.until_settled()
    assert sorted(await parts_of(ground)) == [0, 0, 1, 1]
    assert parts.closed == 2


async def test_a_drain_gives_a_long_stream_back_and_the_next_process_goes_on(ground: Any) -> None:
    parts = Parts(10)
    parts.gate, parts.gate_at = asyncio.Event(), 7
    async with ground.bus(ground.step(streamed=parts), within=timedelta(seconds=1)):
        await ground.publish("big")
        await ground.until_recorded(6)
    assert parts.closed == 1
    parts.gate.set()
    async with ground.bus(ground.step(streamed=parts)):
        await ground.until_recorded(10)
        await ground.until_settled()
    assert parts.started_at == [0, 6]
    assert await parts_of(ground) == list(range(10))
