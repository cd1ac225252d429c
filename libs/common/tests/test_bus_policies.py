"""The decisions of the bus that need no server."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from tidemill.common.bus.connection import Connection, ServerMessage, address_of
from tidemill.common.bus.control import Control
from tidemill.common.bus.decode import Unreadable, parse_event, subject_names
from tidemill.common.bus.headers import headers_of, repeat_headers
from tidemill.common.bus.message import Fetched
from tidemill.common.bus.retry import (
    MAX_DELIVERIES,
    SOON,
    GiveUp,
    TryAgain,
    after_failure,
    ends_its_process,
    repeat_id,
)
from tidemill.common.bus.step import Delivery, Done, Outgoing, Poison, Step, Unavailable
from tidemill.common.bus.supervise import describe
from tidemill.common.bus.topology import STREAMS, Stream, durables, stream_of, subject_pattern
from tidemill.common.bus.transient import is_transient
from tidemill.common.events import EVENTS, DocumentStored, RecordsStored
from tidemill.common.telemetry.metrics import Metrics

SCHEDULE = (timedelta(seconds=2), timedelta(seconds=30), timedelta(minutes=5))


def test_each_pause_of_the_schedule_is_used_once_and_then_it_is_over() -> None:
    verdicts = [after_failure(RuntimeError(), attempt, 1, SCHEDULE) for attempt in (1, 2, 3, 4)]
    assert verdicts == [*(TryAgain(pause) for pause in SCHEDULE), GiveUp("exhausted")]
    assert [verdict.from_table for verdict in verdicts[:3] if isinstance(verdict, TryAgain)] == [False, False, True]


@given(st.integers(1, 1000), st.integers(1, 1000))
def test_poison_is_never_tried_again(attempt: int, deliveries: int) -> None:
    assert after_failure(Poison(), attempt, deliveries, SCHEDULE) == GiveUp("poison")


@given(st.integers(1, 1000), st.integers(1, 10_000))
def test_what_is_missing_is_waited_for_without_end(attempt: int, deliveries: int) -> None:
    verdict = after_failure(Unavailable(), attempt, deliveries, ())
    assert isinstance(verdict, TryAgain)
    assert not verdict.counted
    assert timedelta(seconds=1) < verdict.pause <= SOON


def test_deliveries_count_from_the_last_recorded_outcome() -> None:
    assert not ends_its_process(MAX_DELIVERIES, 0)
    assert ends_its_process(MAX_DELIVERIES + 1, 0)
    assert not ends_its_process(MAX_DELIVERIES + 1, 1)


@given(st.text(min_size=1), st.lists(st.integers(0, 3), max_size=8))
def test_an_event_never_has_an_id_twice(id: str, failures_between: list[int]) -> None:
    """0: it was only held back, its attempts stay what they were."""
    ids, attempt, asked = [id], 1, 0
    for failures in failures_between:
        attempt += failures
        ids.append(repeat_id(ids[-1], asked, attempt))
        asked = attempt
    assert len(set(ids)) == len(ids)


def test_a_late_retry_is_named_for_its_attempt() -> None:
    assert repeat_id("job#0", 0, 2) == "job#0#2"
    assert repeat_id("a", 0, 4) == "a#4"
    assert repeat_id("a#4", 4, 5) == "a#5"


def test_a_repeat_keeps_what_the_event_said_and_is_for_one_consumer() -> None:
    headers = repeat_headers(
        {"traceparent": "t", "Tidemill-Run": "r", "Nats-Msg-Id": "a", "Nats-Expected-Stream": "X"},
        id="a#2",
        origin="a",
        consumer="store",
        attempt=2,
    )
    assert headers == {
        "traceparent": "t",
        "Tidemill-Run": "r",
        "Nats-Msg-Id": "a#2",
        "Tidemill-Id": "a#2",
        "Tidemill-Origin": "a",
        "Tidemill-For": "store",
        "Tidemill-Attempt": "2",
    }


def test_a_fact_carries_the_trace_it_was_given() -> None:
    event = RecordsStored(source="s", sha256="x", run="r1", batch=0)
    assert headers_of(Outgoing("id", event, "00-aa-bb-01"))["traceparent"] == "00-aa-bb-01"
    assert "traceparent" not in headers_of(Outgoing("id", event))


def test_the_place_of_a_fact_is_its_id() -> None:
    delivery = Delivery("e", RecordsStored(source="s", sha256="x", run="r", batch=0), 1)
    assert Done(delivery, None).tell(delivery.event, "stored").id == "e/0/stored"
    versioned = Done(Delivery("e", delivery.event, 1, version="v2"), None, part=3, last=False)
    assert versioned.id == "e/v2/3"
    assert versioned.tell(delivery.event, "stored").id == "e/v2/3/stored"


@pytest.mark.parametrize(
    ("payload", "subject"),
    [
        (b'{"sha256":"x","sizeBytes":"1","name":"n","run":"r","receivedAt":"2026-01-01T00:00:00Z"}', "hi.demo"),
        (
            b'{"source":"other","sha256":"x","sizeBytes":1,"name":"n","run":"r","receivedAt":"2026-01-01T00:00:00Z"}',
            "lo.demo",
        ),
    ],
)
def test_what_the_subject_says_need_not_be_said_again(payload: bytes, subject: str) -> None:
    event = parse_event(DocumentStored, f"tidemill.document.stored.{subject}", payload)
    assert event.source == ("other" if b"other" in payload else "demo")


def test_a_subject_of_another_shape_names_nothing() -> None:
    assert subject_names(DocumentStored, "tidemill.document.stored.demo") == {}


@given(st.binary(max_size=200))
def test_no_payload_does_anything_but_parse_or_say_why(payload: bytes) -> None:
    with pytest.raises(Unreadable):
        parse_event(DocumentStored, "tidemill.document.stored.lo.demo", payload)


def test_an_unreadable_payload_says_where() -> None:
    with pytest.raises(Unreadable, match=r"sizeBytes: .*; name: Field required"):
        parse_event(
            DocumentStored,
            "tidemill.document.stored.lo.demo",
            b'{"sha256":"x","sizeBytes":"many","run":"r","receivedAt":"2026-01-01T00:00:00Z"}',
        )


class FakeState(Exception):
    def __init__(self, sqlstate: str) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize("state", ["08006", "40001", "40P01", "53300", "57P01", "57P03", "57014", "25006"])
def test_errors_of_the_moment_are_waited_out(state: str) -> None:
    assert is_transient(OperationalError("", None, FakeState(state)))


@pytest.mark.parametrize("error", [OSError(), TimeoutError(), PoolTimeout(), InterfaceError("", None, Exception())])
def test_a_lost_connection_is_of_the_moment(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("state", ["23505", "22012", "22P02", "42P01"])
def test_errors_of_the_data_are_not(state: str) -> None:
    assert not is_transient(DBAPIError("", None, FakeState(state)))
    assert not is_transient(ValueError())


def test_an_error_is_described_without_the_statement_and_its_data() -> None:
    error = DBAPIError("INSERT secret", {"x": 1}, Exception("duplicate\x00 key"))
    assert describe(error) == "DBAPIError: duplicate key"
    assert describe(KeyError()) == "KeyError"


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_has_a_stream_that_takes_its_subject(event: Any) -> None:
    prefixes = [subject.removesuffix("*").removesuffix(">") for subject in stream_of(event).subjects]
    assert any(event.subject.startswith(prefix) for prefix in prefixes)


def test_a_consumer_takes_the_whole_pattern_or_one_lane() -> None:
    assert subject_pattern(DocumentStored) == "tidemill.document.stored.*.*"
    assert subject_pattern(DocumentStored, "hi") == "tidemill.document.stored.hi.*"
    plain: Step[Any, Any] = Step(name="store", event=DocumentStored, record=lambda tx, done: None)  # type: ignore[arg-type,return-value]
    laned: Step[Any, Any] = Step(name="c", event=DocumentStored, record=plain.record, lanes=("hi", "lo"))
    assert durables(plain) == {"store": None}
    assert durables(laned) == {"c-hi": "hi", "c-lo": "lo"}


def test_no_two_streams_share_a_subject_and_none_is_without_a_limit() -> None:
    subjects = [subject for stream in STREAMS for subject in stream.subjects]
    assert len(set(subjects)) == len(subjects)
    assert all(stream.max_bytes > 0 for stream in STREAMS)
    assert {stream.name for stream in STREAMS if stream.max_age is None} == {"DEAD"}


def test_streams_keep_repeats_apart_for_longer_than_an_outbox_repeats() -> None:
    config = Stream("X", ("x",), timedelta(days=1), 1).config(replicas=3)
    assert config.duplicate_window == timedelta(hours=1).total_seconds()
    assert config.num_replicas == 3


def message(reply: str, headers: dict[str, str] | None = None) -> Fetched:
    client = SimpleNamespace(_server_info={"server_id": "S"}, is_connected=True)
    return Fetched(ServerMessage(client, "tidemill.x", reply, b"", headers), None)  # type: ignore[arg-type]


def test_a_message_is_read_from_its_reply_subject() -> None:
    plain = message("$JS.ACK.DOCS.store.3.17.20.1700000000000000000.5")
    assert (plain.stream, plain.sequence, plain.deliveries) == ("DOCS", "17", 3)
    assert plain.published_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert plain.id == plain.origin == "DOCS:17:1700000000000000000"
    with_domain = message("$JS.ACK.hub.ACCOUNT.DOCS.store.3.17.20.1700000000000000000.5.token", {"Tidemill-Id": "a"})
    assert (with_domain.stream, with_domain.sequence, with_domain.id) == ("DOCS", "17", "a")


def test_an_attempt_header_of_somebody_else_is_no_number() -> None:
    reply = "$JS.ACK.DOCS.store.1.1.1.1.0"
    assert message(reply, {"Tidemill-Attempt": "4"}).attempt == 4
    assert message(reply, {"Tidemill-Attempt": "-4"}).attempt == 0
    assert message(reply, {"Tidemill-Attempt": "9" * 40}).attempt == 0


def control(**entries: str) -> Control:
    metrics = Metrics("demo")
    made = Control("demo", Connection("nats://unused", "test", metrics), metrics)
    made._entries = {key.replace("__", "."): value for key, value in entries.items()}
    return made


def test_a_stop_is_also_a_reason_not_to_begin() -> None:
    assert control(stop__all="1").paused("x")
    assert control(pause__all="1").stopped("x") is None
    assert control(stop__service__other="1").stopped() is None
    assert control(stop__service__demo="1").stopped() == "stop.service.demo"


def test_what_a_key_says_is_told() -> None:
    assert control(stop__all='{"reason": "fire", "by": "anna"}').stopped() == "stop.all: fire"
    assert control(stop__all='"fire"').stopped() == "stop.all"
    assert control(stop__all="").stopped() == "stop.all"


@pytest.mark.parametrize("value", ["0", "false", "OFF", " no "])
def test_a_key_may_say_that_it_is_off(value: str) -> None:
    assert control(stop__all=value).stopped() is None


@pytest.mark.parametrize(
    ("until", "held"), [("2000-01-01", False), ("2000-01-01T00:00:00Z", False), ("2999-01-01", True), ("soon", True)]
)
def test_a_key_may_end_by_itself(until: str, held: bool) -> None:
    assert bool(control(pause__source__x=f'{{"until": "{until}"}}').paused("x")) == held


def test_sources_that_are_held_are_listed() -> None:
    held = control(stop__source__a="1", pause__source__b="1", stop__source__c="off", stop__all="1", cancel__run__r="1")
    assert held.held_sources() == ["a", "b"]
    assert held.cancelled("r")
    assert held.cancelled("") is None
    assert held.cancelled("s") is None


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("nats://user:secret@bus.example:5222", "bus.example:5222"),
        ("nats://a,tls://token@b:1", "a:4222, b:1"),
        ("localhost", "localhost:4222"),
    ],
)
def test_an_address_is_told_without_its_password(url: str, address: str) -> None:
    assert address_of(url) == address
