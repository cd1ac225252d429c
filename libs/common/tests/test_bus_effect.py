"""An event is recorded once, and what follows from it is stated once."""

import asyncio
from typing import Any

import pytest

from tidemill.common.bus.step import Outgoing
from tidemill.common.telemetry.metrics import value

pytestmark = pytest.mark.servers


async def test_an_event_is_recorded_and_its_fact_published(ground: Any) -> None:
    async with ground.bus(ground.step()):
        await ground.publish("a", "b")
        await ground.until_recorded(2)
        await ground.until_settled()
    assert await ground.recorded() == ["a", "b"]
    facts = await ground.facts()
    assert sorted(fact.headers["Tidemill-Id"] for fact in facts) == ["a/0/stored", "b/0/stored"]
    assert facts[0].headers["Nats-Msg-Id"] == facts[0].headers["Tidemill-Id"]
    assert facts[0].headers["Tidemill-Run"] == "run-1"
    assert facts[0].headers["Tidemill-Schema"] == "1"


async def test_a_message_that_comes_again_is_recorded_once(ground: Any) -> None:
    suppressed = value("tidemill_duplicates_suppressed_total", service="demo", layer="inbox")
    async with ground.bus(ground.step()):
        await ground.publish("a")
        await ground.until_settled()
        # Another Nats-Msg-Id: as if the stream's window had passed.
        await ground.publish("a", headers={"Nats-Msg-Id": "again"})
        await ground.publish("b")
        await ground.until_recorded(2)
        await ground.until_settled()
    assert await ground.recorded() == ["a", "b"]
    assert len(await ground.facts()) == 2
    assert value("tidemill_duplicates_suppressed_total", service="demo", layer="inbox") == suppressed + 1


async def test_the_same_event_twice_in_one_group_is_recorded_once(ground: Any) -> None:
    for number in range(20):
        await ground.publish("a", headers={"Nats-Msg-Id": f"copy {number}"})
    async with ground.bus(ground.step()):
        await ground.until_recorded(1)
        await ground.until_settled()
    assert await ground.recorded() == ["a"]


async def test_a_message_without_id_is_known_by_its_place_in_the_stream(ground: Any) -> None:
    event = ground.document("by hand")
    async with ground.bus(ground.step()):
        await ground.nc.publish(event.subject_filled(), event.to_json())
        await ground.until_recorded(1)
        await ground.until_settled()
    ((id,),) = await ground.sql("SELECT event_id FROM demo.inbox")
    stream, sequence, timestamp = id.split(":")
    assert (stream, sequence) == ("DOCUMENTS", "1")
    assert int(timestamp) > 0


async def test_a_message_for_another_consumer_is_left_alone(ground: Any) -> None:
    async with ground.bus(ground.step()):
        await ground.publish("a", headers={"Tidemill-For": "somebody else"})
        await ground.publish("b", headers={"Tidemill-For": "store"})
        await ground.until_recorded(1)
        await ground.until_settled()
    assert await ground.recorded() == ["b"]
    assert await ground.sql("SELECT event_id FROM demo.inbox") == [("b",)]


async def test_several_replicas_share_the_work(ground: Any) -> None:
    names = [f"d{number:03}" for number in range(300)]
    async with ground.bus(ground.step()), ground.bus(ground.step()):
        await ground.publish(*names)
        await ground.until_recorded(300)
        await ground.until_settled()
    assert await ground.recorded() == names
    assert len(await ground.facts()) == 300


async def test_events_of_a_transaction_are_published_right_after_its_commit(ground: Any) -> None:
    async with ground.bus() as bus:
        async with bus.transaction() as tx:
            await bus.emit(tx, [Outgoing("e1", ground.document("x"))])
            assert not await ground.facts("DOCUMENTS")
        assert [fact.headers["Tidemill-Id"] for fact in await ground.facts("DOCUMENTS")] == ["e1"]


async def test_events_of_a_transaction_that_fails_are_not_published(ground: Any) -> None:
    async with ground.bus() as bus:
        with pytest.raises(RuntimeError):
            async with bus.transaction() as tx:
                await bus.emit(tx, [Outgoing("e1", ground.document("x"))])
                raise RuntimeError
        await asyncio.sleep(0.2)
        assert not await ground.facts("DOCUMENTS")
    assert await ground.sql("SELECT * FROM demo.outbox") == []


async def test_one_trace_goes_through_work_record_and_the_facts(ground: Any) -> None:
    with ground.telemetry.span("file seen", parent="") as root:
        trace = f"{root.get_span_context().trace_id:032x}"
        parent = f"00-{trace}-{root.get_span_context().span_id:016x}-01"
    async with ground.bus(ground.step()):
        await ground.publish("a", headers={"traceparent": parent})
        await ground.until_settled()
        (fact,) = await ground.facts()
    await ground.telemetry.close()
    spans = {span.name: span for span in ground.spans.get_finished_spans()}
    work, record = spans["store process"], spans["store record"]
    assert f"{work.context.trace_id:032x}" == f"{record.context.trace_id:032x}" == trace
    assert work.parent.span_id == root.get_span_context().span_id
    assert record.parent.span_id == work.context.span_id
    assert work.attributes["messaging.system"] == "nats"
    assert work.attributes["messaging.message.id"] == "a"
    assert work.attributes["tidemill.attempt"] == 1
    assert work.attributes["outcome"] == "recorded"
    assert fact.headers["traceparent"] == f"00-{trace}-{work.context.span_id:016x}-01"


async def test_progress_is_heard_and_not_kept(ground: Any) -> None:
    heard = await ground.nc.subscribe("tidemill.progress.demo.*")
    await ground.nc.flush()
    async with ground.bus() as bus:
        await bus.progress("field", {"done": 3, "total": 7})
        message = await heard.next_msg(1)
    assert message.subject == "tidemill.progress.demo.field"
    assert message.data == b'{"done": 3, "total": 7}'


async def test_events_of_a_transaction_that_is_not_ours_are_published_all_the_same(ground: Any) -> None:
    async with ground.bus() as bus:
        async with ground.engine.begin() as tx:
            await bus.emit(tx, [Outgoing("e1", ground.document("x"))])

        async def published() -> bool:
            return len(await ground.facts("DOCUMENTS")) == 1

        await ground.until(published)
