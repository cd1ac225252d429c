"""Power loss of the NATS host: its streams come back older than they were, and are repaired from the outboxes."""

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.bus.step import Outgoing

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ACK_WAIT = timedelta(seconds=2)


async def copy_store(server: Any, folder: Path) -> Path:
    """As a disk would have it: what the server has written so far."""
    await asyncio.sleep(0.5)
    return Path(await asyncio.to_thread(shutil.copytree, server.store, folder / "older"))


async def put_in_place(ground: Any, server: Any, older: Path) -> None:
    server.kill()
    shutil.rmtree(server.store)
    shutil.copytree(older, server.store)
    await ground.start(server)


async def emit(ground: Any, bus: Any, *names: str) -> None:
    async with bus.transaction() as tx:
        await bus.emit(tx, [Outgoing(name, ground.document(name)) for name in names])


async def test_a_stream_that_came_back_older_is_repaired(ground: Any, nats_server: Any, tmp_path: Path) -> None:
    names = [f"d{number:02}" for number in range(60)]
    async with ground.bus(ground.step(ack_wait=ACK_WAIT)) as bus:
        await emit(ground, bus, *names[:30])
        await ground.until_recorded(30)
        await ground.until_settled()
        older = await copy_store(nats_server, tmp_path)
        await emit(ground, bus, *names[30:])
        await ground.until_recorded(60)
        await ground.until_settled()
        replaced_at = datetime.now(UTC)
        await put_in_place(ground, nats_server, older)
        await ground.until(lambda: _has(ground, DOCUMENTS=60, RECORDS=60))
        assert await _stored_at(ground, "DOCUMENTS", 1) < replaced_at < await _stored_at(ground, "DOCUMENTS", 60)
        await ground.until_settled()
        await ground.until(lambda: not any(bus.health().values()))
    # Every document and every fact is in its stream once, and nothing was recorded again.
    assert sorted(fact.headers["Tidemill-Id"] for fact in await ground.facts("DOCUMENTS")) == names
    assert sorted(fact.headers["Tidemill-Id"] for fact in await ground.facts()) == [f"{n}/0/stored" for n in names]
    assert await ground.recorded() == names


async def test_what_was_confirmed_is_published_again_before_anything_is_cleaned(
    ground: Any, nats_server: Any, tmp_path: Path
) -> None:
    older = await copy_store(nats_server, tmp_path)
    async with ground.bus() as bus:
        await emit(ground, bus, "a")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.outbox WHERE sent_at IS NOT NULL"))
    # The service is down for a day; meanwhile the store is lost.
    await ground.sql("UPDATE demo.outbox SET sent_at = now() - interval '1 day'")
    await put_in_place(ground, nats_server, older)
    await ground.until(lambda: ground.nc.is_connected)
    assert await _messages(ground, "DOCUMENTS") == 0
    async with ground.bus():
        await ground.until(lambda: _has(ground, DOCUMENTS=1))


async def _messages(ground: Any, stream: str) -> int:
    return int((await ground.nc.jetstream().stream_info(stream)).state.messages)


async def _stored_at(ground: Any, stream: str, sequence: int) -> datetime:
    answer = await ground.nc.request(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps({"seq": sequence}).encode())
    return datetime.fromisoformat(json.loads(answer.data)["message"]["time"])


async def _has(ground: Any, **streams: int) -> bool:
    return ground.nc.is_connected and [await _messages(ground, name) for name in streams] == list(streams.values())


async def test_a_late_ack_does_not_swallow_a_new_message(ground: Any, nats_server: Any, tmp_path: Path) -> None:
    """The server takes the ack of a delivery of before for that of the new message with the same number: whoever has
    the new one in hand may die, and it never comes again."""
    begun: list[str] = []
    go, patience = asyncio.Event(), asyncio.Event()

    async def work(delivery: Any) -> str:
        begun.append(delivery.id)
        await (go if delivery.id == "old" else patience).wait()
        return str(delivery.event.sha256)

    step = ground.step(work=work, ack_wait=ACK_WAIT, slots=2)
    async with ground.bus(step, within=timedelta(seconds=0.5)) as bus:
        older = await copy_store(nats_server, tmp_path)
        await ground.publish("old")
        await ground.until(lambda: begun == ["old"])
        await put_in_place(ground, nats_server, older)
        await ground.until(lambda: bus.connected and ground.nc.is_connected)
        await ground.publish("new")  # takes the sequence number that "old" had
        await ground.until(lambda: begun == ["old", "new"])
        go.set()
        await ground.until_recorded(1)
        await ground.until(lambda: _facts_are(ground, 1))
    patience.set()
    async with ground.bus(step):
        await ground.until_recorded(2)
    assert await ground.recorded() == ["new", "old"]


async def _facts_are(ground: Any, count: int) -> bool:
    return len(await ground.facts()) == count


async def test_an_ack_that_was_not_sent_before_the_disconnect_is_not_sent_after_it(
    ground: Any, nats_server: Any
) -> None:
    async with ground.bus(ground.step()) as bus:
        nc = bus._connection.nc
        nats_server.kill()
        await ground.until(lambda: not nc.is_connected)
        nc._pending.append(b"PUB $JS.ACK.late 0\r\n\r\n")
        await nc._disconnected_cb()
        assert nc._pending == []
        await ground.start(nats_server)


async def test_a_row_goes_when_its_server_had_time_to_write_it_down(ground: Any) -> None:
    async with ground.bus() as bus:
        await emit(ground, bus, "a", "b")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.outbox WHERE sent_at IS NOT NULL"))
        ((server_id,),) = await ground.sql("SELECT DISTINCT server_id FROM demo.outbox")
        assert server_id == bus._connection.server_id
        await ground.sql("UPDATE demo.outbox SET sent_at = now() - interval '14 minutes' WHERE event_id = 'a'")
        await ground.sql("UPDATE demo.outbox SET sent_at = now() - interval '16 minutes' WHERE event_id = 'b'")
        await bus._outbox.clean(server_id)
    assert await ground.sql("SELECT event_id FROM demo.outbox") == [("a",)]


async def test_what_only_a_vanished_server_confirmed_is_published_again_in_the_end(ground: Any) -> None:
    """In a cluster: the replica that spoke to that server is gone, the others never reconnected."""
    async with ground.bus() as bus:
        await emit(ground, bus, "a")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.outbox WHERE sent_at IS NOT NULL"))
        await ground.sql("UPDATE demo.outbox SET server_id = 'gone', sent_at = now() - interval '21 minutes'")
        await bus._outbox.clean(bus._connection.server_id)
        await ground.until(
            lambda: ground.sql("SELECT 1 FROM demo.outbox WHERE server_id <> 'gone' AND sent_at IS NOT NULL")
        )
