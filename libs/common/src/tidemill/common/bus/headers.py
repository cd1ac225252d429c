"""The headers of our messages: who it is, whose trace and run it belongs to, whom it is for."""

from collections.abc import Mapping
from uuid import uuid4

from tidemill.common.bus.step import Outgoing
from tidemill.common.telemetry.tracing import traceparent

MSG_ID = "Nats-Msg-Id"
"""By which the stream drops repeats within its window."""
ID = "Tidemill-Id"
"""The same again, the key of inboxes; it survives sourcing and dead letters."""
TRACEPARENT = "traceparent"
RUN = "Tidemill-Run"
ATTEMPT = "Tidemill-Attempt"
"""On a repeat: the number of the attempt that it asks for."""
SCHEMA = "Tidemill-Schema"
FOR = "Tidemill-For"
"""On a repeat: the one consumer that it concerns; the others acknowledge and forget it."""
ORIGIN = "Tidemill-Origin"
"""On a repeat: the id of the event it repeats. Parts and results keep that id, so that nothing is stated twice."""

SCHEMA_VERSION = "1"

Headers = dict[str, str]


def new_id() -> str:
    return uuid4().hex


def headers_of(outgoing: Outgoing) -> Headers:
    headers = {MSG_ID: outgoing.id, ID: outgoing.id, SCHEMA: SCHEMA_VERSION}
    if parent := outgoing.traceparent or traceparent():
        headers[TRACEPARENT] = parent
    if run := getattr(outgoing.event, "run", ""):
        headers[RUN] = run
    return headers


def repeat_headers(
    headers: Mapping[str, str], *, id: str, origin: str, consumer: str, attempt: int, parent: str = ""
) -> Headers:
    """Of a message that asks one consumer to handle an event again."""
    kept = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
    repeated = {**kept, MSG_ID: id, ID: id, ORIGIN: origin, FOR: consumer, ATTEMPT: str(attempt)}
    if parent:
        repeated[TRACEPARENT] = parent
    return repeated
