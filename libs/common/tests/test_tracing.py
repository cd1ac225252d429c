"""Traces: ids travel, spans leave only when somebody takes them, and nobody waits for a collector."""

import asyncio
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags

from tidemill.common.config import TelemetrySettings
from tidemill.common.config.references import Secret
from tidemill.common.telemetry.metrics import value
from tidemill.common.telemetry.tracing import Telemetry, context_from, current, current_ids, fail, traceparent
from tidemill.common.testing.otlp import OtlpReceiver

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_a_traceparent_comes_back_as_it_went(trace_id: int, span_id: int, flags: int) -> None:
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    assert context_from(traceparent(context)) == context


@given(st.text())
def test_what_is_no_traceparent_is_none(text: str) -> None:
    assert context_from(text) is None


@pytest.mark.parametrize(
    "header",
    [
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        PARENT[:-1],
    ],
)
def test_an_invalid_traceparent_begins_no_trace(header: str) -> None:
    assert context_from(header) is None


def test_a_later_version_of_the_header_is_understood() -> None:
    assert context_from(PARENT.replace("00-", "01-", 1) + "-more") is not None


async def test_without_a_collector_ids_flow_through_logs_and_messages() -> None:
    async with Telemetry.open("tracing-quiet", "1") as telemetry:
        with telemetry.span("outer", parent=PARENT) as outer:
            assert traceparent().split("-")[1] == PARENT.split("-")[1]
            assert current_ids() == (PARENT.split("-")[1], f"{outer.get_span_context().span_id:016x}")
            assert not outer.is_recording()
        assert traceparent() == ""
        assert current_ids() == ("", "")


async def test_services_in_one_process_keep_their_spans_apart() -> None:
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    async with Telemetry.open("one", "1", exporter=first) as one, Telemetry.open("two", "2", exporter=second) as two:
        with one.span("a"), two.span("b"):
            pass
    assert [span.name for span in first.get_finished_spans()] == ["a"]
    (b,) = second.get_finished_spans()
    assert b.resource.attributes["service.name"] == "two"
    assert b.resource.attributes["service.version"] == "2"
    assert b.parent == first.get_finished_spans()[0].context
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider), "the global provider is nobody's"


async def test_parent_links_kind_and_attributes_arrive() -> None:
    with OtlpReceiver() as receiver:
        settings = TelemetrySettings(otlp_endpoint=receiver.url, otlp_headers={"X-Key": Secret("s3cret")})
        async with Telemetry.open("tracing-wire", "1", settings) as telemetry:
            with telemetry.span("record", parent=PARENT, links=[PARENT, "broken"], kind=SpanKind.CONSUMER, size=3):
                pass
        (span,) = receiver.spans
    assert span.service == "tracing-wire"
    assert (span.trace_id, span.parent_id) == ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    assert span.links == ("0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",)
    assert span.kind == "consumer"
    assert span.attributes == {"size": 3}
    assert span.error is None
    assert receiver.headers["x-key"] == "s3cret"


async def test_an_empty_parent_begins_a_new_trace() -> None:
    kept = InMemorySpanExporter()
    async with Telemetry.open("tracing-root", "1", exporter=kept) as telemetry:
        with telemetry.span("outer"), telemetry.span("inner", parent=""):
            pass
    inner, outer = kept.get_finished_spans()
    assert inner.parent is None
    assert inner.context.trace_id != outer.context.trace_id


async def test_an_exception_marks_the_span_and_goes_on() -> None:
    kept = InMemorySpanExporter()
    async with Telemetry.open("tracing-error", "1", exporter=kept) as telemetry:
        with pytest.raises(ValueError, match="no"), telemetry.span("work"):
            raise ValueError("no")
    (span,) = kept.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


async def test_a_span_begun_by_hand_is_current_only_where_asked_and_fails_by_hand() -> None:
    kept = InMemorySpanExporter()
    async with Telemetry.open("tracing-hand", "1", exporter=kept) as telemetry:
        span = telemetry.begin("streamed", part=1)
        with current(span):
            assert traceparent() == traceparent(span)
        assert traceparent() == ""
        assert not kept.get_finished_spans()
        fail(span, ValueError("half"))
        span.end()
        other = telemetry.begin("other")
        fail(other, "given up")
        other.end()
    streamed, given_up = kept.get_finished_spans()
    assert streamed.status.description == "ValueError: half"
    assert given_up.status.description == "given up"
    assert not given_up.events


async def test_all_services_keep_or_drop_the_same_traces() -> None:
    kept = {name: InMemorySpanExporter() for name in ("first", "second")}
    settings = TelemetrySettings(sample_ratio=0.5)
    headers: list[str] = []
    async with Telemetry.open("first", "1", settings, exporter=kept["first"]) as first:
        for _ in range(200):
            with first.span("a", parent=""):
                headers.append(traceparent())
    async with Telemetry.open("second", "1", settings, exporter=kept["second"]) as second:
        for header in headers:
            with second.span("b", parent=header):
                pass
    traces = {name: {span.context.trace_id for span in spans.get_finished_spans()} for name, spans in kept.items()}
    assert traces["first"] == traces["second"]
    assert 40 < len(traces["first"]) < 160


async def test_a_dead_collector_costs_no_time_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with OtlpReceiver() as receiver:
        nobody = receiver.url
    before = value("tidemill_spans_dropped_total", service="tracing-dead")
    telemetry = Telemetry.open(
        "tracing-dead", "1", TelemetrySettings(otlp_endpoint=nobody), export_every=timedelta(milliseconds=50)
    )
    began = time.perf_counter()
    for _ in range(5000):
        with telemetry.span("work", parent=PARENT):
            pass
    assert time.perf_counter() - began < 20, "the work does not wait"
    await asyncio.sleep(0.3)
    with telemetry.span("later"):
        pass
    await telemetry.close()
    assert value("tidemill_spans_dropped_total", service="tracing-dead") > before
    assert [record.message.partition(";")[0] for record in caplog.records] == [
        f"The trace collector at {nobody} does not take spans"
    ]


async def test_a_collector_that_hangs_does_not_hold_the_end_up() -> None:
    with OtlpReceiver() as receiver:
        receiver.delay_seconds = 30
        telemetry = Telemetry.open("tracing-slow", "1", TelemetrySettings(otlp_endpoint=receiver.url))
        with telemetry.span("work"):
            pass
        began = time.perf_counter()
        await telemetry.close()
        assert time.perf_counter() - began < 20


async def test_spans_flow_again_when_the_collector_is_back(caplog: pytest.LogCaptureFixture) -> None:
    with OtlpReceiver() as receiver:
        receiver.status = 400
        settings = TelemetrySettings(otlp_endpoint=receiver.url)
        telemetry = Telemetry.open(
            "tracing-back", "1", settings, export_every=timedelta(milliseconds=50), pause=timedelta(seconds=0.2)
        )
        with telemetry.span("lost"):
            pass
        await asyncio.sleep(0.2)
        receiver.status = 200
        await asyncio.sleep(0.3)
        with telemetry.span("kept"):
            pass
        await asyncio.to_thread(receiver.wait_for, lambda spans: any(span.name == "kept" for span in spans))
        await telemetry.close()
    assert receiver.named("lost") == []
    assert any("takes spans again" in record.message for record in caplog.records)


def test_a_receiver_names_what_came_instead() -> None:
    with OtlpReceiver() as receiver, pytest.raises(TimeoutError, match=r"\[\]"):
        receiver.wait_for(bool, timeout=0.1)
