"""Failures: tried again soon or late, given up, told of, replayed or dropped."""

import base64
import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tidemill.common.bus.client import CommandFailed, request_command
from tidemill.common.bus.retry import MAX_DELIVERIES
from tidemill.common.bus.step import Poison, Unavailable
from tidemill.common.telemetry.metrics import value
from tidemill.common.telemetry.tracing import current_ids

pytestmark = pytest.mark.servers

SOON = timedelta(milliseconds=50)
LATE = timedelta(minutes=2)


class Failing:
    """`work` that fails for a name as often as it is told."""

    def __init__(self, **failures: int) -> None:
        self.left = failures
        self.error: Exception = RuntimeError("no luck")
        self.attempts: list[tuple[str, int]] = []

    async def __call__(self, delivery: Any) -> str:
        name = delivery.event.sha256
        self.attempts.append((delivery.id, delivery.attempt))
        if self.left.get(name, 0) > 0:
            self.left[name] -= 1
            raise self.error
        return str(name)


async def letters(ground: Any) -> list[Any]:
    return await ground.sql("SELECT * FROM demo.dead_letters ORDER BY id")


async def test_a_failure_is_tried_again_soon_and_counted(ground: Any) -> None:
    work = Failing(a=2)
    async with ground.bus(ground.step(work=work, retry=(SOON, SOON, SOON))):
        await ground.publish("a", "b")
        await ground.until_recorded(2)
        await ground.until_settled()
    assert [attempt for attempt in work.attempts if attempt[0] == "a"] == [("a", 1), ("a", 2), ("a", 3)]
    assert await ground.sql("SELECT attempt FROM demo.rows WHERE event_id = 'a'") == [(3,)]
    assert await ground.sql("SELECT * FROM demo.retries") == []
    assert await letters(ground) == []


async def test_a_long_pause_is_spent_in_the_table_and_not_in_the_stream(ground: Any) -> None:
    work = Failing(a=1)
    async with ground.bus(ground.step(work=work, retry=(LATE,))):
        await ground.publish("a")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries WHERE due_at > now() + interval '1 minute'"))
        await ground.until_settled()
        assert await ground.recorded() == []
        await ground.sql("UPDATE demo.retries SET due_at = now()")
        await ground.until_recorded(1)
        await ground.until_settled()
    assert work.attempts == [("a", 1), ("a", 2)]
    assert await ground.sql("SELECT event_id FROM demo.inbox ORDER BY 1") == [("a",), ("a#2",)]
    assert await ground.sql("SELECT * FROM demo.retries") == []
    again = (await ground.facts("DOCUMENTS"))[-1]
    assert again.headers["Tidemill-For"] == "store"
    assert again.headers["Tidemill-Attempt"] == "2"
    # Under the id of the event, not of its repeat.
    assert [fact.headers["Tidemill-Id"] for fact in await ground.facts()] == ["a/0/stored"]


async def test_late_retries_survive_a_restart_of_the_service(ground: Any) -> None:
    work = Failing(a=1)
    step = ground.step(work=work, retry=(LATE,))
    async with ground.bus(step):
        await ground.publish("a")
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries WHERE due_at IS NOT NULL"))
    await ground.sql("UPDATE demo.retries SET due_at = now()")
    async with ground.bus(step):
        await ground.until_recorded(1)
    assert await ground.recorded() == ["a"]


async def test_after_the_last_retry_there_is_a_dead_letter_with_everything(ground: Any) -> None:
    work = Failing(a=99)
    async with ground.bus(ground.step(work=work, retry=(SOON, SOON))):
        await ground.publish("a", headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
        await ground.until(lambda: letters(ground))
        await ground.until_settled()
        (dead,) = await ground.facts("DEAD")
    assert len(work.attempts) == 3
    (letter,) = await letters(ground)
    assert (letter.consumer, letter.event_id, letter.reason, letter.attempts) == ("store", "a", "exhausted", 3)
    assert letter.error == "RuntimeError: no luck"
    assert letter.payload == ground.document("a").to_json()
    assert letter.headers["Tidemill-Id"] == "a"
    told = json.loads(dead.data)
    assert dead.subject == "tidemill.dead.demo"
    assert dead.headers["Tidemill-Id"] == "dead/demo/store/a"
    assert dead.headers["traceparent"].split("-")[1] == "1" * 32
    assert (told["reason"], told["attempts"], told["eventId"]) == ("exhausted", 3, "a")
    assert base64.b64decode(told["payload"]) == letter.payload
    assert told["headers"]["Tidemill-Id"] == "a"
    assert await ground.recorded() == []


async def test_poison_is_given_up_at_once(ground: Any) -> None:
    work = Failing(a=99)
    work.error = Poison("never")
    async with ground.bus(ground.step(work=work)):
        await ground.publish("a", "b")
        await ground.until(lambda: letters(ground))
        await ground.until_recorded(1)
        await ground.until_settled()
    (letter,) = await letters(ground)
    assert (letter.reason, letter.attempts) == ("poison", 1)
    assert await ground.recorded() == ["b"]


@pytest.mark.parametrize(
    ("payload", "says"), [(b"{broken", "not JSON"), (b'{"sizeBytes": "many"}', "sha256"), (b"[1]", "payload")]
)
async def test_what_cannot_be_read_becomes_a_dead_letter(ground: Any, payload: bytes, says: str) -> None:
    async with ground.bus(ground.step()):
        await ground.nc.publish("tidemill.document.stored.lo.demo", payload, headers={"Tidemill-Id": "odd\\x00"})
        await ground.until(lambda: letters(ground))
        await ground.until_settled()
    (letter,) = await letters(ground)
    assert (letter.reason, letter.attempts, letter.source) == ("invalid", 0, "demo")
    assert says in letter.error
    assert letter.payload == payload


async def test_while_something_is_missing_no_attempt_is_counted(ground: Any) -> None:
    work = Failing(a=2)
    work.error = Unavailable("archive away")
    async with ground.bus(ground.step(work=work, retry=())):
        await ground.publish("a")
        await ground.until_recorded(1, within=15)
        await ground.until_settled()
    assert work.attempts == [("a", 1), ("a", 1), ("a", 1)]
    assert await letters(ground) == []
    assert await ground.sql("SELECT * FROM demo.retries") == []


async def test_one_trace_holds_all_attempts(ground: Any) -> None:
    trace = "a" * 32
    async with ground.bus(ground.step(work=Failing(a=2), retry=(SOON, LATE))):
        await ground.publish("a", headers={"traceparent": f"00-{trace}-{'b' * 16}-01"})
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries WHERE due_at IS NOT NULL"))
        await ground.sql("UPDATE demo.retries SET due_at = now()")
        await ground.until_recorded(1)
        await ground.until_settled()
    await ground.telemetry.close()
    works = [span for span in ground.spans.get_finished_spans() if span.name == "store process"]
    assert [span.attributes["tidemill.attempt"] for span in works] == [1, 2, 3]
    assert {f"{span.context.trace_id:032x}" for span in works} == {trace}
    assert [span.attributes["outcome"] for span in works] == ["failed", "failed", "recorded"]


async def test_lines_about_a_failure_say_whose_it_is(ground: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They come from the task of a group, which speaks for many events."""
    caplog.set_level(logging.DEBUG, "tidemill.common.bus.group")
    trace = "a" * 32
    with capture_logs([merge_contextvars, lambda _, __, line: line | {"trace_id": current_ids()[0]}]) as told:
        async with ground.bus(ground.step(work=Failing(a=1, b=9), retry=(SOON,))):
            for name in "ab":
                headers = {"traceparent": f"00-{trace}-{'b' * 16}-01", "Tidemill-Run": f"demo-{name}"}
                await ground.publish(name, headers=headers)
            await ground.until(lambda: letters(ground))
            await ground.until_recorded(1)
            await ground.until_settled()
    of_runs = [line for line in told if "run" in line]
    assert sorted((line["run"], line["event"], line.get("attempt")) for line in of_runs) == [
        ("demo-a", "handled", 2),
        ("demo-a", "will be tried again", 1),
        ("demo-b", "given up", None),
        ("demo-b", "will be tried again", 1),
    ]
    assert {(line["source"], line["trace_id"]) for line in of_runs} == {("demo", trace)}
    assert {line["run"] for line in of_runs if line["event_id"] == "b"} == {"demo-b"}


async def test_a_replay_has_a_new_id_and_reaches_its_consumer_alone(ground: Any) -> None:
    broken, other = Failing(a=1), Failing()
    broken.error = Poison("until somebody repairs it")
    steps = ground.step(work=broken, retry=()), ground.step(name="other", work=other)
    async with ground.bus(*steps):
        await ground.publish("a")
        await ground.until(lambda: letters(ground))
        await ground.until_recorded(1)
        answer = await request_command(ground.nc, "demo", "dead_letters_replay", {"ids": [1]}, id="c1")
        assert answer == {"replayed": 1, "ids": [1]}
        await ground.until_recorded(2)
        assert await request_command(ground.nc, "demo", "dead_letters_replay", {"ids": [1]}, id="c1") == answer
        assert await request_command(ground.nc, "demo", "dead_letters_replay", {"ids": [1]}, id="c2") == {
            "replayed": 0,
            "ids": [],
        }
        await ground.until_settled()
        await ground.until_settled("other")
    assert [id for id, _ in broken.attempts] == ["a", "a"]
    assert [id for id, _ in other.attempts] == ["a"]
    assert await ground.recorded() == ["a", "a"]
    replayed = (await ground.facts("DOCUMENTS"))[-1].headers
    assert replayed["Tidemill-Id"] == replayed["Nats-Msg-Id"] == "a~1"
    assert (replayed["Tidemill-Origin"], replayed["Tidemill-For"]) == ("a", "store")
    (letter,) = await letters(ground)
    assert letter.handled_as == "replayed"


async def test_a_replay_that_fails_late_has_retries_of_its_own(ground: Any) -> None:
    work = Failing(a=4)
    async with ground.bus(ground.step(work=work, retry=(LATE,))):
        for name in ("a", "a~1"):
            await ground.publish(*(["a"] if name == "a" else []))
            await ground.until(lambda: ground.sql("SELECT 1 FROM demo.retries WHERE due_at IS NOT NULL"))
            await ground.sql("UPDATE demo.retries SET due_at = now()")
            await ground.until(lambda: ground.sql("SELECT 1 FROM demo.dead_letters WHERE handled_at IS NULL"))
            await request_command(ground.nc, "demo", "dead_letters_replay", {"all": True})
        await ground.until_recorded(1)
        await ground.until_settled()
    assert work.attempts == [("a", 1), ("a", 2), ("a", 1), ("a", 2), ("a", 1)]
    ids = [row[0] for row in await ground.sql("SELECT event_id FROM demo.inbox WHERE consumer = 'store' ORDER BY 1")]
    assert ids == ["a", "a#2", "a#2~1", "a#2~1#2", "a#2~1#2~2"]


async def test_dead_letters_are_dropped_by_filter_and_leave_the_stream(ground: Any) -> None:
    work = Failing(a=1, b=1, c=1)
    work.error = Poison("no")
    async with ground.bus(ground.step(work=work)):
        await ground.publish("a", "b", source="one")
        await ground.publish("c", source="two")
        await ground.until(lambda: _count(ground, 3))
        await ground.until_settled()
        assert len(await ground.facts("DEAD")) == 3
        answer = await request_command(ground.nc, "demo", "dead_letters_drop", {"source": "one"})
        assert (answer["dropped"], len(answer["ids"])) == (2, 2)
        await ground.until(lambda: _dead_in_stream(ground, 1))
        await ground.until(lambda: ground.sql("SELECT 1 FROM demo.dead_letters WHERE NOT in_stream OFFSET 1"))
        await ground.until(lambda: value("tidemill_dead_letters", service="demo") == 1)
    handled = await ground.sql("SELECT handled_as, in_stream FROM demo.dead_letters ORDER BY event_id")
    assert handled == [("dropped", False), ("dropped", False), (None, True)]


async def _count(ground: Any, count: int) -> bool:
    return len(await letters(ground)) == count


async def _noted_as_removed(ground: Any, count: int) -> bool:
    return len(await ground.sql("SELECT 1 FROM demo.dead_letters WHERE NOT in_stream")) == count


async def _dead_in_stream(ground: Any, count: int) -> bool:
    return (await ground.nc.jetstream().stream_info("DEAD")).state.messages == count


async def test_a_dead_letter_may_be_repaired_before_it_is_replayed(ground: Any) -> None:
    async with ground.bus(ground.step()):
        await ground.nc.publish("tidemill.document.stored.lo.demo", b'{"name": "half"}', headers={"Tidemill-Id": "x"})
        await ground.until(lambda: letters(ground))
        whole = json.loads(ground.document("whole").to_json())
        await request_command(ground.nc, "demo", "dead_letters_replay", {"ids": [1], "payload": whole})
        await ground.until_recorded(1)
    assert await ground.recorded() == ["whole"]


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "say which"),
        ({"ids": "7"}, "list of numbers"),
        ({"ids": [7]}, "no dead letter 7"),
        ({"all": True, "payload": {}}, "exactly one id"),
        ({"everything": True}, "unknown parameter everything"),
    ],
)
async def test_a_command_about_dead_letters_says_what_is_wrong(ground: Any, parameters: Any, says: str) -> None:
    async with ground.bus(ground.step()):
        await ground.until(lambda: _listening(ground))
        with pytest.raises(CommandFailed, match=says):
            await request_command(ground.nc, "demo", "dead_letters_replay", parameters)


async def _listening(ground: Any) -> bool:
    try:
        await request_command(ground.nc, "demo", "dead_letters_drop", {"ids": []})
    except CommandFailed as failed:
        return failed.code != "404" or "dead letter" in str(failed)
    return True


async def test_what_record_refuses_is_a_failure_of_the_one_and_not_of_its_group(ground: Any) -> None:
    async def record(tx: Any, results: Any) -> Any:
        for done in results:
            if done.result == "d07":
                await ground.record(tx, [done])
                await tx.exec_driver_sql("SELECT 1/0")
        return await ground.record(tx, results)

    names = [f"d{number:02}" for number in range(40)]
    await ground.publish(*names)
    async with ground.bus(ground.step(record=record, retry=(SOON,), slots=64)):
        await ground.until_recorded(39)
        await ground.until(lambda: letters(ground))
        await ground.until_settled()
    assert await ground.recorded() == [name for name in names if name != "d07"]
    assert len(await ground.facts()) == 39
    (letter,) = await letters(ground)
    assert (letter.event_id, letter.reason, letter.attempts) == ("d07", "exhausted", 2)
    assert "division by zero" in letter.error


async def test_an_event_too_large_for_the_bus_is_refused_by_name(ground: Any) -> None:
    async def record(tx: Any, results: Any) -> Any:
        return [done.tell(ground.document("x" * 2_000_000), "big") for done in results]

    async with ground.bus(ground.step(record=record)):
        await ground.publish("a")
        await ground.until(lambda: letters(ground))
    (letter,) = await letters(ground)
    assert letter.reason == "poison"
    assert "put the content into the archive" in letter.error


async def test_an_error_with_odd_characters_can_be_recorded(ground: Any) -> None:
    work = Failing(a=1)
    work.error = RuntimeError("nul \x00 and \ud800".encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    async with ground.bus(ground.step(work=work, retry=(SOON,))):
        await ground.publish("a")
        await ground.until_recorded(1)


async def test_a_message_that_seems_to_end_its_process_is_given_up(ground: Any) -> None:
    """Only deliveries without any recorded outcome count."""
    redelivered = value("tidemill_redeliveries_total", service="demo", consumer="store")
    step = ground.step()
    await ground.topology(step)
    await ground.publish("killer", "innocent")
    subscription = await ground.nc.jetstream().pull_subscribe_bind("store", "DOCUMENTS")
    delivered = dict.fromkeys(("killer", "innocent"), 0)
    while min(delivered.values()) < MAX_DELIVERIES:
        for message in await subscription.fetch(2):  # or one: a message that was given back may be a moment late
            delivered[message.headers["Tidemill-Id"]] += 1
            await message.nak()
    await ground.nc.flush()
    await ground.sql(
        "INSERT INTO demo.retries (consumer, event_id, origin_id, source, attempts, deliveries, subject, error) "
        "VALUES ('store', 'innocent', 'innocent', 'demo', 0, 90, 's', 'archive away')"
    )
    async with ground.bus(step):
        await ground.until_recorded(1)
        await ground.until(lambda: letters(ground))
        await ground.until_settled()
    assert await ground.recorded() == ["innocent"]
    (letter,) = await letters(ground)
    assert (letter.event_id, letter.reason) == ("killer", "deliveries")
    assert "does it end its process?" in letter.error
    assert value("tidemill_redeliveries_total", service="demo", consumer="store") == redelivered + 2


async def test_a_large_payload_stays_in_the_table(ground: Any) -> None:
    payload = json.dumps({"name": "x" * 300_000}).encode()
    async with ground.bus(ground.step()):
        await ground.nc.publish("tidemill.document.stored.lo.demo", payload, headers={"Tidemill-Id": "large"})
        await ground.until(lambda: letters(ground))
        await ground.until_settled()
        (dead,) = await ground.facts("DEAD")
    (letter,) = await letters(ground)
    assert letter.payload == payload
    assert "payload" not in json.loads(dead.data) or json.loads(dead.data)["payload"] == ""


async def test_a_record_that_runs_into_the_statement_timeout_fails_and_blocks_nobody(ground: Any) -> None:
    async def record(tx: Any, results: Any) -> Any:
        if any(done.result == "heavy" for done in results):
            await tx.exec_driver_sql("SET LOCAL statement_timeout = 50")
            await tx.exec_driver_sql("SELECT pg_sleep(5)")
        return await ground.record(tx, results)

    await ground.publish("a", "heavy", "b")
    async with ground.bus(ground.step(record=record, retry=())):
        await ground.until_recorded(2)
        await ground.until(lambda: letters(ground))
        await ground.until_settled()
    assert await ground.recorded() == ["a", "b"]
    (letter,) = await letters(ground)
    assert letter.event_id == "heavy"
    assert letter.error.startswith("TooSlow: 1 results of store")


async def test_strange_ids_of_strangers_harm_nobody(ground: Any) -> None:
    async with ground.bus(ground.step()):
        for id in ("nul\x00inside", "x" * 5_000, "it's; DROP TABLE", "Ünïcödé ✓"):
            event = ground.document(id[:10].replace("\x00", ""))
            await ground.nc.publish(event.subject_filled(), event.to_json(), headers={"Tidemill-Id": id})
        await ground.until_recorded(4)
        await ground.until_settled()
    ids = {row[0] for row in await ground.sql("SELECT event_id FROM demo.inbox")}
    assert len(ids) == 4
    assert {"nulinside", "it's; DROP TABLE", "Ünïcödé ✓"} <= ids
    assert len(await ground.facts()) == 4


async def test_nul_in_a_payload_can_be_held_back_and_given_up(ground: Any) -> None:
    work = Failing()
    work.error = Poison("no")
    work.left = {"a": 1}
    event = ground.document("a", source="s\x00")
    async with ground.bus(ground.step(work=work)):
        await ground.nc.publish("tidemill.document.stored.lo.s", event.to_json(), headers={"Tidemill-Id": "a"})
        await ground.until(lambda: letters(ground))
    (letter,) = await letters(ground)
    assert letter.source == "s"
