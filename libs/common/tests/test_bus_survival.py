"""What is taken away comes back, and the bus goes on by itself."""

import asyncio
import os
import time
from datetime import timedelta
from typing import Any

import psutil
import pytest
from nats.js.errors import NotFoundError

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.client import CommandFailed
from tidemill.common.bus.step import Outgoing

pytestmark = [pytest.mark.servers, pytest.mark.slow]


async def test_a_deleted_consumer_is_made_again_and_repeats_nothing(ground: Any) -> None:
    js = ground.nc.jetstream()
    async with ground.bus(ground.step()) as bus:
        await ground.publish("a", "b")
        await ground.until_recorded(2)
        await ground.until_settled()
        await js.delete_consumer("DOCUMENTS", "store")
        await ground.publish("c")
        await ground.until_recorded(3)
        await ground.until_settled()
        await ground.until(lambda: not any(bus.health().values()))
    assert await ground.recorded() == ["a", "b", "c"]
    assert len(await ground.facts()) == 3


async def test_a_deleted_stream_is_made_again(ground: Any) -> None:
    js = ground.nc.jetstream()
    async with ground.bus(ground.step(lanes=("hi", "lo"))) as bus:
        await ground.publish("a")
        await ground.until_recorded(1)
        await js.delete_stream("DOCUMENTS")

        async def there() -> bool:
            names = {stream.config.name for stream in await js.streams_info()}
            return "DOCUMENTS" in names

        await ground.until(there)
        await ground.publish("b")
        await ground.until_recorded(2)
        await ground.until(lambda: not any(bus.health().values()))
    assert await ground.recorded() == ["a", "b"]


async def test_a_missing_consumer_costs_no_hot_loop(ground: Any) -> None:
    """The defect that made us write our own pull loop: a silent loop at 70 % of a core."""
    async with ground.bus(ground.step()):
        await ground.until(lambda: _consumer_there(ground))
        for _ in range(3):
            await ground.nc.jetstream().delete_consumer("DOCUMENTS", "store")
            before = time.process_time()
            await asyncio.sleep(1)
            assert time.process_time() - before < 0.5
            await ground.until(lambda: _consumer_there(ground))


async def _consumer_there(ground: Any) -> bool:
    try:
        await ground.pending()
    except NotFoundError:
        return False
    return True


async def test_events_flow_again_after_a_kill_of_nats_server(ground: Any, nats_server: Any) -> None:
    # An ack that the server had not written down is asked for again after this long.
    async with ground.bus(ground.step(ack_wait=timedelta(seconds=2))) as bus:
        await ground.publish("a")
        await ground.until_recorded(1)
        for name in ("b", "c"):
            nats_server.kill()
            await ground.until(lambda: bus.health()["nats"])
            assert not bus.connected
            await ground.start(nats_server)
            await ground.until(lambda: bus.connected and ground.nc.is_connected)
            await ground.publish(name)
            await ground.until_recorded("abc".index(name) + 1)
        await ground.until_settled()
        await ground.until(lambda: not any(bus.health().values()))
    assert await ground.recorded() == ["a", "b", "c"]
    assert len(await ground.facts()) == 3


async def test_a_client_that_was_given_up_is_replaced(ground: Any) -> None:
    """nats-py closes for good on some protocol errors, unlimited reconnects or not."""
    async with ground.bus(ground.step()) as bus:
        await ground.publish("a")
        await ground.until_recorded(1)
        await bus._connection.nc.close()
        await ground.until(lambda: bus.connected)
        await ground.publish("b")
        await ground.until_recorded(2)
        await ground.until_settled()
        await ground.until(lambda: _answers(bus))


async def _answers(bus: Bus) -> bool:
    try:
        return await bus.request("tidemill.ctl.demo.dead_letters_drop", {"all": True}) == {"dropped": 0, "ids": []}
    except CommandFailed:
        return False


async def test_a_bus_may_start_before_nats_and_stop_without_it(ground: Any, nats_server: Any) -> None:
    nats_server.kill()
    async with _opened(ground) as bus:
        running = asyncio.create_task(bus.run([ground.step()]))
        await ground.until(lambda: bus.health()["nats"])
        with pytest.raises(CommandFailed, match="not connected"):
            await bus.request("tidemill.ctl.demo.dead_letters_drop", {})
        await ground.start(nats_server)
        await ground.until(lambda: bus.connected and ground.nc.is_connected)
        await ground.publish("a")
        await ground.until_recorded(1)
        nats_server.kill()
        await ground.until(lambda: not bus.connected)
        started = time.monotonic()
        await bus.stop(timedelta(seconds=2))
        await running
        assert time.monotonic() - started < 20
    await ground.start(nats_server)


def _opened(ground: Any) -> Any:
    return Bus.open(
        ground.url,
        service="demo",
        version="0.1.0",
        engine=ground.engine,
        tables=ground.tables,
        telemetry=ground.telemetry,
    )


async def test_events_flow_again_after_an_immediate_restart_of_postgres(ground: Any, postgres_server: Any) -> None:
    if "DATABASE_URL" in os.environ:
        pytest.skip("the Postgres of DATABASE_URL is not ours to kill")
    async with ground.bus(ground.step(ack_wait=timedelta(seconds=2))) as bus:
        await ground.publish("a")
        await ground.until_recorded(1)
        postgres_server.kill()
        await ground.publish("b", "c")
        await ground.until(lambda: bus.health()["postgres"])
        assert bus.health()["nats"] is None
        # Longer than ack_wait: what is in hand is kept alive, not worked on twice.
        await asyncio.sleep(3)
        await ground.start(postgres_server)
        await ground.until_recorded(3)
        await ground.until_settled()
        await ground.until(lambda: not any(bus.health().values()))
    assert await ground.recorded() == ["a", "b", "c"]
    assert await ground.sql("SELECT * FROM demo.retries") == []
    assert len(await ground.facts()) == 3


async def test_an_outage_while_results_wait_to_be_recorded_counts_nothing(ground: Any, postgres_server: Any) -> None:
    if "DATABASE_URL" in os.environ:
        pytest.skip("the Postgres of DATABASE_URL is not ours to kill")
    taken, go = asyncio.Event(), asyncio.Event()

    async def work(delivery: Any) -> str:
        taken.set()
        await go.wait()
        return str(delivery.event.sha256)

    async with ground.bus(ground.step(work=work, retry=())) as bus:
        await ground.publish("a")
        await taken.wait()
        postgres_server.kill()
        go.set()
        await ground.until(lambda: bus.health()["consumer store"])
        assert "nothing can be recorded" in bus.health()["consumer store"]
        await ground.start(postgres_server)
        await ground.until_recorded(1)
    assert await ground.sql("SELECT * FROM demo.dead_letters") == []


async def test_events_that_nobody_could_publish_are_published_when_nats_is_back(ground: Any, nats_server: Any) -> None:
    async with ground.bus() as bus:
        nats_server.kill()
        await ground.until(lambda: not bus.connected)
        async with bus.transaction() as tx:
            await bus.emit(tx, [Outgoing("e1", ground.document("x"))])
        await ground.start(nats_server)
        await ground.until(lambda: bus.connected and ground.nc.is_connected)

        async def published() -> bool:
            return [fact.headers["Tidemill-Id"] for fact in await ground.facts("DOCUMENTS")] == ["e1"]

        await ground.until(published)


async def test_a_full_stream_keeps_events_in_the_outbox_and_says_so(ground: Any) -> None:
    js = ground.nc.jetstream()
    config = (await js.stream_info("DOCUMENTS")).config
    await js.update_stream(config.evolve(max_msgs=1))
    async with ground.bus() as bus:
        async with bus.transaction() as tx:
            await bus.emit(tx, [Outgoing("e1", ground.document("x")), Outgoing("e2", ground.document("y"))])
        await ground.sql("UPDATE demo.outbox SET created_at = now() - interval '1 minute' WHERE sent_at IS NULL")
        await ground.until(lambda: bus.health()["outbox"])
        assert "maximum messages exceeded" in bus.health()["outbox"]
        await js.update_stream(config)
        await ground.until(lambda: not bus.health()["outbox"])
    assert len(await ground.facts("DOCUMENTS")) == 2


async def test_long_work_keeps_its_message(ground: Any) -> None:
    begun = []

    async def work(delivery: Any) -> str:
        begun.append(delivery.id)
        await asyncio.sleep(4)
        return str(delivery.event.sha256)

    async with ground.bus(ground.step(work=work, ack_wait=timedelta(seconds=1))):
        await ground.publish("a")
        await ground.until_recorded(1)
        await ground.until_settled()
    assert begun == ["a"]


async def test_work_in_hand_is_not_begun_again_after_a_kill_of_nats_server(ground: Any, nats_server: Any) -> None:
    begun = []
    go = asyncio.Event()

    async def work(delivery: Any) -> str:
        begun.append(delivery.id)
        await go.wait()
        return str(delivery.event.sha256)

    async with ground.bus(ground.step(work=work, ack_wait=timedelta(seconds=1))) as bus:
        await ground.publish("a")
        await ground.until(lambda: begun)
        nats_server.kill()
        await ground.start(nats_server)
        await ground.until(lambda: bus.connected)
        await asyncio.sleep(2.5)
        go.set()
        await ground.until_recorded(1)
        await ground.until_settled()
    assert begun == ["a"]


async def test_a_drain_finishes_what_is_in_hand_and_takes_nothing_new(ground: Any) -> None:
    begun = []

    async def work(delivery: Any) -> str:
        begun.append(delivery.id)
        await asyncio.sleep(1)
        return str(delivery.event.sha256)

    names = [f"d{number:02}" for number in range(10)]
    async with ground.bus(ground.step(work=work, slots=4)):
        await ground.publish(*names)
        await ground.until(lambda: len(begun) == 4)
    assert await ground.recorded() == sorted(begun) == names[:4]
    info = await ground.nc.jetstream().consumer_info("DOCUMENTS", "store")
    assert (info.num_ack_pending, info.num_pending) == (0, 6)
    assert len(await ground.facts()) == 4


async def test_a_drain_gives_back_what_takes_too_long(ground: Any) -> None:
    async def work(delivery: Any) -> str:
        await asyncio.sleep(0 if delivery.event.sha256 == "quick" else 60)
        return str(delivery.event.sha256)

    async with ground.bus(ground.step(work=work), within=timedelta(seconds=1)):
        await ground.publish("slow", "quick")
        await ground.until_recorded(1)
    begun: list[str] = []

    async def quick(delivery: Any) -> str:
        begun.append(delivery.id)
        return str(delivery.event.sha256)

    started = time.monotonic()
    async with ground.bus(ground.step(work=quick)):
        await ground.until_recorded(2, within=20)
    assert begun == ["slow"]
    assert time.monotonic() - started < 20  # given back: not after the ack_wait of 30 s
    assert await ground.sql("SELECT * FROM demo.retries") == []


async def test_a_task_that_fails_is_started_again(ground: Any) -> None:
    starts = []

    async def task() -> None:
        starts.append(time.monotonic())
        if len(starts) < 3:
            raise RuntimeError("not yet")
        await asyncio.Event().wait()

    async with ground.bus(tasks=[task]) as bus:
        await ground.until(lambda: len(starts) == 3)
        await ground.until(lambda: not any(bus.health().values()))


@pytest.mark.parametrize("frozen", ["nats", "postgres"])
async def test_a_server_that_hangs_is_named_within_five_seconds(
    ground: Any, nats_server: Any, postgres_server: Any, frozen: str
) -> None:
    if {"NATS_URL", "DATABASE_URL"} & set(os.environ):
        pytest.skip("the servers are not ours to stop")
    server = {"nats": nats_server, "postgres": postgres_server}[frozen]
    async with ground.bus(ground.step(ack_wait=timedelta(seconds=2))) as bus:
        await ground.publish("a")
        await ground.until_recorded(1)
        assert not any(bus.health().values())
        processes = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        for process in processes:
            process.suspend()
        try:
            await ground.until(lambda: bus.health()[frozen], within=10)  # Busy machines are late.
            others = {name: wrong for name, wrong in bus.health().items() if name in ("nats", "postgres")}
            assert [name for name, wrong in others.items() if wrong] == [frozen]
            await asyncio.sleep(6)
        finally:
            for process in processes:
                process.resume()
        await ground.until(lambda: bus.connected and not any(bus.health().values()), within=20)
        await ground.until(lambda: ground.nc.is_connected)
        await ground.publish("b")
        await ground.until_recorded(2, within=20)
        await ground.until_settled()
    assert await ground.recorded() == ["a", "b"]
