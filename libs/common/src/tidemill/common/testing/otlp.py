"""A small real OTLP/HTTP collector that keeps the spans it is sent, for tests that look at traces."""

import gzip
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True, slots=True)
class SpanSeen:
    """One span as it came over the wire; ids in hex."""

    service: str
    name: str
    kind: str
    """internal, server, client, producer, consumer."""
    trace_id: str
    span_id: str
    parent_id: str
    """Empty for the root of a trace."""
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    """Trace id and span id of each, with a dash between."""
    error: str | None
    """What went wrong, for a span that failed."""
    started_at_ns: int
    ended_at_ns: int


class OtlpReceiver:
    """Listens on a free port of loopback. `status` and `delay_seconds` make it a bad collector."""

    def __init__(self, port: int = 0) -> None:
        self.status = 200
        self.delay_seconds = 0.0
        self.requests = 0
        self.headers: Mapping[str, str] = {}
        """Of the last request."""
        self._spans: list[SpanSeen] = []
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="otlp", daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        """For `TIDEMILL_TELEMETRY__OTLP_ENDPOINT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[SpanSeen]:
        """Everything so far, in order of arrival."""
        with self._changed:
            return list(self._spans)

    def named(self, name: str) -> list[SpanSeen]:
        return [span for span in self.spans if span.name == name]

    def trace(self, trace_id: str) -> list[SpanSeen]:
        """The spans of one trace in order of their start."""
        return sorted((span for span in self.spans if span.trace_id == trace_id), key=lambda span: span.started_at_ns)

    def wait_for(self, enough: Callable[[list[SpanSeen]], bool], timeout: float = 10.0) -> list[SpanSeen]:
        """The spans as soon as they are `enough`; blocks, so from asyncio in a thread. Raises TimeoutError with the
        names of what came instead."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while not enough(list(self._spans)):
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    raise TimeoutError(f"only these spans came: {sorted({span.name for span in self._spans})}")
            return list(self._spans)

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        seen = [
            _span(span, str(_attributes(resource.resource.attributes).get("service.name", "")))
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._changed:
            self._spans += seen
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(receiver: OtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:  # The name is http.server's.
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            receiver.requests += 1
            receiver.headers = dict(self.headers)
            time.sleep(receiver.delay_seconds)
            status = receiver.status if self.path == "/v1/traces" else 404
            if status == 200:
                receiver.take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:
            """Tests print for themselves."""

    return Handler


def _span(span: Span, service: str) -> SpanSeen:
    return SpanSeen(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        links=tuple(f"{link.trace_id.hex()}-{link.span_id.hex()}" for link in span.links),
        error=span.status.message if span.status.code == Status.STATUS_CODE_ERROR else None,
        started_at_ns=span.start_time_unix_nano,
        ended_at_ns=span.end_time_unix_nano,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
