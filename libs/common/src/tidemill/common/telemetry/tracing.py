"""Traces: a provider per service, ids that travel as `traceparent`, spans that leave only if a collector is named."""

import asyncio
import logging
import re
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.util.types import AttributeValue

from tidemill.common.config.references import resolved
from tidemill.common.config.secrets import masked
from tidemill.common.telemetry.metrics import SPANS_DROPPED, Metrics

if TYPE_CHECKING:
    from tidemill.common.config import TelemetrySettings

log = logging.getLogger(__name__)

Parent = str | SpanContext | None
"""A traceparent, a span context, or None for the span that is current. The empty string begins a new trace."""

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")

PAUSE = timedelta(seconds=10)
"""After a failed export spans are dropped for so long, so that a dead collector costs next to nothing."""
EXPORT_SECONDS = 2.0
"""For one export, its retries included."""
CLOSE_SECONDS = 2.0
QUEUE = 4096


def context_from(traceparent: str) -> SpanContext | None:
    """The remote span that a W3C `traceparent` names; None for anything else: no header is worth a failure."""
    match = _TRACEPARENT.fullmatch(traceparent)
    if match is None or match[1] == "ff":
        return None
    context = SpanContext(
        int(match[2], 16), int(match[3], 16), is_remote=True, trace_flags=TraceFlags(int(match[4], 16))
    )
    return context if context.is_valid else None


def remote(traceparent: str) -> Span:
    """The span that a W3C `traceparent` names, for what only needs its ids; an invalid one for anything else."""
    return NonRecordingSpan(context_from(traceparent) or INVALID_SPAN_CONTEXT)


def traceparent(span: Span | SpanContext | None = None) -> str:
    """The W3C header of a span, by default the current one; empty when there is none."""
    if span is None:
        span = trace.get_current_span()
    context = span if isinstance(span, SpanContext) else span.get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def current_ids() -> tuple[str, str]:
    """Trace id and span id of the current span in hex; both empty when there is none."""
    context = trace.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else ("", "")


@contextmanager
def current(span: Span) -> Iterator[Span]:
    """Make a span the current one without ending it, for work that is spread over callbacks and generators."""
    with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
        yield span


class _PatientExporter(SpanExporter):
    """Says once that the collector is away, drops instead of retrying, and says once that it is back."""

    def __init__(self, exporter: SpanExporter, endpoint: str, metrics: Metrics, pause: timedelta) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._dropped = metrics.of(SPANS_DROPPED)
        self._pause = pause.total_seconds()
        self._away_until: float | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._away_until is not None and time.monotonic() < self._away_until:
            self._dropped.inc(len(spans))
            return SpanExportResult.FAILURE
        outcome = self._exporter.export(spans)
        if outcome is SpanExportResult.SUCCESS:
            if self._away_until is not None:
                log.warning("The trace collector at %s takes spans again", self._endpoint)
            self._away_until = None
        else:
            if self._away_until is None:
                log.warning(
                    "The trace collector at %s does not take spans; they are dropped until it does", self._endpoint
                )
            self._away_until = time.monotonic() + self._pause
            self._dropped.inc(len(spans))
        return outcome

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return True


def _open_exporter(settings: "TelemetrySettings", endpoint: str, metrics: Metrics, pause: timedelta) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    url = resolved(endpoint).rstrip("/")
    if not url.endswith("/v1/traces"):
        url += "/v1/traces"
    # Its own log has a line per failed batch and retry; ours has one per loss.
    logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)
    # "Queue full" comes for every dropped span.
    logging.getLogger("opentelemetry.sdk._shared_internal").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter(
        endpoint=url,
        timeout=EXPORT_SECONDS,
        headers={name: value.fetch() for name, value in settings.otlp_headers.items()},
    )
    return _PatientExporter(exporter, masked(endpoint), metrics, pause)


class Telemetry:
    """The telemetry of one service in this process: its metrics and its tracer.

    Without a collector spans only carry ids, for logs and messages, and cost next to nothing.
    """

    def __init__(self, service: str, version: str, metrics: Metrics, provider: TracerProvider) -> None:
        self.service = service
        self.version = version
        self.metrics = metrics
        self._provider = provider
        self._tracer = provider.get_tracer("tidemill", version)

    @classmethod
    def open(
        cls,
        service: str,
        version: str,
        settings: "TelemetrySettings | None" = None,
        *,
        exporter: SpanExporter | None = None,
        pause: timedelta = PAUSE,
        export_every: timedelta = timedelta(seconds=1),
    ) -> Self:
        """Open a tracer provider of its own (never the global one: services share a process). `exporter` takes the
        place of the configured collector."""
        metrics = Metrics(service)
        if exporter is None and settings and settings.otlp_endpoint:
            exporter = _open_exporter(settings, settings.otlp_endpoint, metrics, pause)
        # By the trace id and not by the parent's flag, so that all services agree, exporting or not.
        sampler = TraceIdRatioBased(settings.sample_ratio if settings else 1.0) if exporter else ALWAYS_OFF
        provider = TracerProvider(
            sampler=sampler,
            shutdown_on_exit=False,
            resource=Resource.create(
                {
                    "service.namespace": "tidemill",
                    "service.name": service,
                    "service.version": version,
                    "service.instance.id": str(uuid4()),
                }
            ),
        )
        if exporter:
            provider.add_span_processor(
                BatchSpanProcessor(
                    exporter, max_queue_size=QUEUE, schedule_delay_millis=export_every / timedelta(milliseconds=1)
                )
            )
        return cls(service, version, metrics, provider)

    def begin(
        self,
        name: str,
        *,
        parent: Parent = None,
        links: Iterable[str | SpanContext] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        **attributes: AttributeValue,
    ) -> Span:
        """Start a span without making it current; the caller ends it (`fail` first where it failed)."""
        return self._tracer.start_span(
            name,
            context=_parent_context(parent),
            kind=kind,
            attributes=attributes,
            links=[Link(context) for link in links if (context := _span_context(link))],
        )

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: Parent = None,
        links: Iterable[str | SpanContext] = (),
        kind: SpanKind = SpanKind.INTERNAL,
        **attributes: AttributeValue,
    ) -> Iterator[Span]:
        """A span around a block, current inside it; an exception marks it as failed and goes on."""
        span = self.begin(name, parent=parent, links=links, kind=kind, **attributes)
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except Exception as error:
                fail(span, error)
                raise

    async def close(self) -> None:
        """Send what is left, for `CLOSE_SECONDS` at most."""
        flushed = asyncio.Event()
        loop = asyncio.get_running_loop()

        def flush() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # The loop did not wait and is gone.
                loop.call_soon_threadsafe(flushed.set)

        # A thread that nobody joins: the interpreter waits for those of an executor, and a collector may hang.
        threading.Thread(target=flush, name="last spans", daemon=True).start()
        try:
            await asyncio.wait_for(flushed.wait(), CLOSE_SECONDS)
        except TimeoutError:
            log.warning("The last spans of %s were not taken in time", self.service)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()


def fail(span: Span, error: BaseException | str) -> None:
    """Mark a span as failed; what its error says leaves this process without secrets."""
    if not span.is_recording():
        return
    if isinstance(error, BaseException):
        stack = "".join(traceback.format_exception(error))
        said = {"exception.message": masked(str(error)), "exception.stacktrace": masked(stack)}
        span.record_exception(error, attributes=said)
        error = f"{type(error).__name__}: {error}"
    span.set_status(Status(StatusCode.ERROR, masked(error)))


def _span_context(link: str | SpanContext) -> SpanContext | None:
    return context_from(link) if isinstance(link, str) else link


def _parent_context(parent: Parent) -> Context | None:
    if parent is None:
        return None
    context = _span_context(parent)
    return trace.set_span_in_context(NonRecordingSpan(context), Context()) if context else Context()
