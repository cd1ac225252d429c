"""Stop and pause by the control bucket: within a second, over restarts, without counting an attempt."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from tidemill.common.telemetry.metrics import value

pytestmark = pytest.mark.servers

WITHIN_A_SECOND = 5.0
"""On a machine that has much else to do."""


class Slow:
    def __init__(self) -> None:
        self.begun: list[str] = []
        self.cancelled: list[str] = []
        self.seconds = 60.0

    async def __call__(self, delivery: Any) -> str:
        self.begun.append(delivery.id)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled.append(delivery.id)
            raise
        return str(delivery.event.sha256)


async def bucket(ground: Any) -> Any:
    return await ground.nc.jetstream().key_value("tidemill-control")


@pytest.mark.parametrize("key", ["stop.all", "stop.service.demo", "stop.source.demo"])
async def test_a_stop_cancels_what_is_at_work_within_a_second_and_counts_nothing(ground: Any, key: str) -> None:
    work = Slow()
    control = await bucket(ground)
    async with ground.bus(ground.step(work=work, retry=())) as bus:
        await ground.publish("a", "b")
        await ground.until(lambda: len(work.begun) == 2)
        await control.put(key, b"fire in the engine room")
        await ground.until(lambda: len(work.cancelled) == 2, within=WITHIN_A_SECOND)
        assert bus.control.stopped("demo") == f"{key}: fire in the engine room"
        await asyncio.sleep(0.5)
        assert len(work.begun) == 2
        work.seconds = 0
        await control.delete(key)
        await ground.until_recorded(2)
        await ground.until_settled()
    assert await ground.recorded() == ["a", "b"]
    assert await ground.sql("SELECT DISTINCT attempt FROM demo.rows") == [(1,)]
    assert await ground.sql("SELECT * FROM demo.dead_letters") == []


async def test_a_key_that_is_mistyped_is_told_with_the_valid_forms(ground: Any) -> None:
    control = await bucket(ground)
    await control.put("stop.source.elsewhere", b"1")
    with capture_logs() as told:
        async with ground.bus(ground.step(work=Slow())) as bus:
            await ground.until(lambda: bus.control.known)
            await control.put("stop.soruce.demo", b"1")
            await control.put("stop.sources", b"1")
            await ground.until(lambda: sum("not known" in line["event"] for line in told) == 2)
            assert bus.control.stopped("demo") is None
    mistyped = [line for line in told if "not known" in line["event"]]
    assert {line["key"] for line in mistyped} == {"stop.soruce.demo", "stop.sources"}
    assert all("stop.source.NAME" in line["valid"] for line in mistyped)


@pytest.mark.parametrize("key", ["pause.all", "pause.service.demo", "pause.source.demo"])
async def test_a_pause_stops_new_work_only(ground: Any, key: str) -> None:
    work = Slow()
    work.seconds = 1
    control = await bucket(ground)
    async with ground.bus(ground.step(work=work)) as bus:
        await ground.publish("a")
        await ground.until(lambda: work.begun == ["a"])
        await control.put(key, b"")
        await ground.until(lambda: bus.control.paused("demo"))
        assert bus.control.stopped("demo") is None
        await ground.publish("b")
        await ground.until_recorded(1)
        await asyncio.sleep(0.5)
        assert work.begun == ["a"]
        await control.delete(key)
        await ground.until_recorded(2)
    assert work.cancelled == []


async def test_a_stopped_source_does_not_stand_in_the_way_of_others(ground: Any) -> None:
    control = await bucket(ground)
    await control.put("stop.source.blocked", json.dumps({"reason": "site asked us to", "by": "anna"}).encode())
    async with ground.bus(ground.step(slots=2)) as bus:
        await ground.publish(*(f"x{number:02}" for number in range(50)), source="blocked")
        await ground.publish("free")
        await ground.until_recorded(1)
        assert await ground.recorded() == ["free"]
        assert bus.control.stopped("blocked") == "stop.source.blocked: site asked us to"
        await ground.until(lambda: value("tidemill_retries_waiting", service="demo"))
        assert bus.control.stopped() is None
        # They wait in the table, not in the ack window of the consumer.
        await ground.until_settled()
        await asyncio.sleep(1.5)
        assert await ground.recorded() == ["free"]
        await control.delete("stop.source.blocked")
        await ground.until_recorded(51)
        await ground.until_settled()
    assert len(await ground.facts()) == 51
    assert await ground.sql("SELECT DISTINCT attempt FROM demo.rows") == [(1,)]
    assert await ground.sql("SELECT * FROM demo.retries") == []


async def test_a_source_may_be_stopped_again_and_again(ground: Any) -> None:
    control = await bucket(ground)
    async with ground.bus(ground.step()) as bus:
        for _ in range(3):
            await control.put("stop.source.demo", b"1")
            await ground.until(lambda: bus.control.stopped("demo"))
            if not await ground.sql("SELECT 1 FROM demo.inbox"):
                await ground.publish("a")
            await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries WHERE due_at IS NOT NULL"))
            # Let go for as long as it takes to hand the event out, and stop again before it comes.
            bus.control._entries.pop("stop.source.demo")
            await bus._pulse.release()
            bus.control._entries["stop.source.demo"] = "1"
            await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries"))
        await control.delete("stop.source.demo")
        await ground.until_recorded(1)
        await ground.until_settled()
    assert await ground.recorded() == ["a"]
    ids = [row[0] for row in await ground.sql("SELECT event_id FROM demo.inbox ORDER BY length(event_id)")]
    assert ids == ["a", "a#1", "a#1#1", "a#1#1#1", "a#1#1#1#1"]


async def test_a_stop_outlives_a_restart_of_the_service(ground: Any) -> None:
    work = Slow()
    work.seconds = 0
    control = await bucket(ground)
    await control.put("stop.all", b"1")
    await ground.publish("a")
    async with ground.bus(ground.step(work=work)) as bus:
        assert bus.control.stopped()
        await asyncio.sleep(1)
        assert work.begun == []
        assert not any(bus.health().values())
        await control.delete("stop.all")
        await ground.until_recorded(1)


async def test_a_pause_ends_by_itself(ground: Any) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1.5)
    await (await bucket(ground)).put("pause.all", json.dumps({"until": until.isoformat()}).encode())
    async with ground.bus(ground.step()):
        await ground.publish("a")
        await ground.until_recorded(1)
        assert datetime.now(UTC) >= until


async def test_events_of_a_cancelled_run_are_dropped(ground: Any) -> None:
    work = Slow()
    control = await bucket(ground)
    async with ground.bus(ground.step(work=work)):
        await ground.publish("a", run="wrong", headers={"Tidemill-Run": "wrong"})
        await ground.publish("b", run="right")
        await ground.until(lambda: len(work.begun) == 2)
        await control.put("cancel.run.wrong", b"1")
        await ground.until(lambda: work.cancelled == ["a"], within=WITHIN_A_SECOND)
        await ground.publish("c", run="wrong")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.inbox OFFSET 1"))
        assert await ground.sql("SELECT event_id FROM demo.inbox ORDER BY 1") == [("a",), ("c",)]
        assert sorted(work.begun) == ["a", "b"]
        await control.put("stop.all", b"1")  # so that the drain need not wait for b
        await ground.until(lambda: work.cancelled == ["a", "b"])
    assert await ground.recorded() == []


async def test_bookkeeping_goes_on_whatever_is_held(ground: Any) -> None:
    control = await bucket(ground)
    for key in ("stop.all", "pause.source.demo", "cancel.run.run-1"):
        await control.put(key, b"1")
    async with ground.bus(ground.step(bookkeeping=True)) as bus:
        await ground.publish("a")
        await ground.until_recorded(1)
        assert bus.control.stopped("demo")


async def test_a_key_is_put_and_removed_for_everybody(ground: Any) -> None:
    async with ground.bus() as bus, ground.bus(service="other") as other:
        await bus.control.put("pause.source.demo", '{"reason": "the site asked us"}')
        await ground.until(lambda: other.control.paused("demo"))
        assert other.control.paused("demo") == "pause.source.demo: the site asked us"
        before = await bus.control.bucket()
        await bus.control.remove("pause.source.demo")
        await ground.until(lambda: not other.control.paused("demo"))
        after = await bus.control.bucket()
    assert (list(before.entries), dict(after.entries)) == (["pause.source.demo"], {})
    assert (before.created, before.last_sequence + 1) == (after.created, after.last_sequence)


async def test_tasks_ask_whether_they_may_work(ground: Any) -> None:
    control = await bucket(ground)
    ticks: list[float] = []
    opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def task() -> None:
        bus = await opened
        while True:
            await bus.control.wait_until_allowed("demo")
            ticks.append(time.monotonic())
            await asyncio.sleep(0.05)

    await control.put("pause.source.demo", b"1")
    async with ground.bus(tasks=[task]) as bus:
        opened.set_result(bus)
        await asyncio.sleep(0.5)
        assert ticks == []
        await control.delete("pause.source.demo")
        await ground.until(lambda: ticks)
        await control.put("stop.source.demo", b"1")
        await ground.until(lambda: bus.control.stopped("demo"))
        count = len(ticks)
        await asyncio.sleep(0.4)
        assert len(ticks) <= count + 1


@pytest.mark.slow
async def test_control_is_obeyed_after_a_kill_of_nats_server(ground: Any, nats_server: Any) -> None:
    async with ground.bus(ground.step()) as bus:
        nats_server.kill()
        await ground.until(lambda: not bus.connected)
        await ground.start(nats_server)
        await ground.until(lambda: bus.connected and ground.nc.is_connected)
        control = await bucket(ground)
        await control.put("stop.all", b"1")
        await ground.until(bus.control.stopped)
        assert value("tidemill_control_state", service="demo", state="stop") == 1
        # Set while nobody could hear it.
        nats_server.kill()
        await ground.start(nats_server)
        await ground.until(lambda: ground.nc.is_connected)
        await control.delete("stop.all")
        await ground.until(lambda: not bus.control.stopped())
        assert value("tidemill_control_state", service="demo", state="stop") == 0


async def test_a_word_for_off_is_as_good_as_deleting(ground: Any) -> None:
    control = await bucket(ground)
    async with ground.bus() as bus:
        await control.put("stop.all", b"on")
        await ground.until(bus.control.stopped)
        assert value("tidemill_control_held", service="demo", key="stop.all") == 1
        await control.put("stop.all", b"off")
        await ground.until(lambda: not bus.control.stopped())
        assert value("tidemill_control_held", service="demo", key="stop.all") == 0
