"""A fetched message: whose event it is, and how to tell the server what became of it."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256

import nats.errors

from tidemill.common.bus import headers as h
from tidemill.common.bus.connection import ServerMessage, server_id_of

LONGEST_ID = 500

_STREAM, _DELIVERIES, _SEQUENCE, _TIMESTAMP = 2, 4, 5, 7
"""Places in `$JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>.<of the consumer>.<timestamp>.<pending>`."""


class Fetched:
    """Answers go only to the server process that sent the message. Another one may have been given an older store,
    where the same sequence number is a new message, which a late ack would swallow."""

    __slots__ = (
        "_raw", "attempt", "deliveries", "for_consumer", "headers", "id", "lane",
        "origin", "payload", "published_ns", "run", "sequence", "stream", "subject", "traceparent",
    )  # fmt: skip

    def __init__(self, raw: ServerMessage, lane: str | None) -> None:
        tokens = raw.reply.split(".")
        if len(tokens) > 9:  # With a domain: $JS.ACK.<domain>.<account>.<stream>…
            del tokens[2:4]
        headers = storable(raw.headers or {})
        self._raw = raw
        self.lane = lane
        self.subject = raw.subject
        self.payload = raw.data
        self.headers: dict[str, str] = headers
        self.stream = tokens[_STREAM]
        self.deliveries = int(tokens[_DELIVERIES])
        self.sequence = tokens[_SEQUENCE]
        self.published_ns = int(tokens[_TIMESTAMP])
        self.id = short(
            headers.get(h.ID)
            or headers.get(h.MSG_ID)
            or f"{self.stream}:{self.sequence}:{tokens[_TIMESTAMP]}"  # `nats pub` gives no id
        )
        self.origin = short(headers.get(h.ORIGIN) or self.id)
        self.for_consumer = headers.get(h.FOR)
        self.run = headers.get(h.RUN, "")
        self.traceparent = headers.get(h.TRACEPARENT, "")
        self.attempt = _number(headers.get(h.ATTEMPT))

    @property
    def published_at(self) -> datetime:
        return datetime.fromtimestamp(self.published_ns / 1e9, UTC)

    @property
    def answerable(self) -> bool:
        client = self._raw._client
        return client.is_connected and server_id_of(client) == self._raw.server_id

    async def ack(self) -> None:
        await self._answer(b"")

    async def nak(self, delay: float = 0) -> None:
        await self._answer(b"-NAK " + json.dumps({"delay": int(delay * 1e9)}).encode() if delay else b"-NAK")

    async def in_progress(self) -> None:
        await self._answer(b"+WPI")

    async def _answer(self, word: bytes) -> None:
        if not self.answerable:
            return
        with suppress(nats.errors.Error):  # Lost on the way: the message comes again.
            await self._raw._client.publish(self._raw.reply, word)


def storable(headers: dict[str, str]) -> dict[str, str]:
    """Postgres takes no NUL in text."""
    if any("\x00" in value for value in headers.values()):
        return {name: value.replace("\x00", "") for name, value in headers.items()}
    return headers


def short(id: str) -> str:
    """An index takes no id of thousands of characters: somebody else's long one is known by its hash."""
    return id if len(id) <= LONGEST_ID else f"sha256:{sha256(id.encode()).hexdigest()}"


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() and len(text) < 9 else 0
