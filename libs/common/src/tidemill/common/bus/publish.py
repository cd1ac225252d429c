"""Publishes many messages at once and says which of them a stream has confirmed."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js.api import Header

from tidemill.common.bus.activity import woken
from tidemill.common.bus.connection import Connection, NatsClient, ServerMessage
from tidemill.common.bus.headers import Headers
from tidemill.common.telemetry.metrics import DUPLICATES_SUPPRESSED, PUBLISHED, Metrics

log = structlog.get_logger(__name__)

CONFIRM_WITHIN = 5.0
GLANCE = 0.25
"""How often a batch that waits looks whether the connection still stands."""


@dataclass(frozen=True, slots=True)
class Row:
    """An event on its way out."""

    event_id: str
    subject: str
    payload: bytes
    headers: Headers
    id: int = 0
    """In the outbox."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    id: int
    server_id: str
    """The process that has it, perhaps not yet on its disk."""


@dataclass(slots=True)
class _Batch:
    waiting: int
    confirmed: list[Confirmed] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: str | None = None


class Publisher:
    """nats-py's `publish_async` gives futures that never time out; here a batch has one deadline."""

    def __init__(self, connection: Connection, metrics: Metrics) -> None:
        self._connection = connection
        self._metrics = metrics
        self._nc: NatsClient | None = None
        self._prefix = ""
        self._token = 0
        self._open: dict[str, tuple[_Batch, int]] = {}
        self.problem: str | None = None
        """Why the streams refused the latest batch."""

    async def publish(self, rows: Sequence[Row]) -> list[Confirmed]:
        """Send all, wait for the confirmations, return them; what is missing may or may not have arrived."""
        if not rows or not self._connection.connected:
            return []
        nc = await self._listen()
        batch = _Batch(len(rows))
        tokens = []
        try:
            for row in rows:
                self._token += 1
                token = str(self._token)
                tokens.append(token)
                self._open[token] = batch, row.id
                await nc.publish(row.subject, row.payload, f"{self._prefix}.{token}", row.headers)
            await self._wait(batch, nc)
        except (nats.errors.Error, OSError) as error:
            batch.refusal = f"{type(error).__name__} for {row.subject}"
        finally:
            for token in tokens:
                self._open.pop(token, None)
        self._note(batch)
        return batch.confirmed

    async def _listen(self) -> NatsClient:
        nc = self._connection.nc
        if nc is not self._nc:
            self._prefix = nc.new_inbox()
            await nc.subscribe(f"{self._prefix}.*", cb=self._on_reply)
            self._nc = nc
        return nc

    async def _wait(self, batch: _Batch, nc: NatsClient) -> None:
        epoch = self._connection.epoch
        deadline = asyncio.get_running_loop().time() + CONFIRM_WITHIN
        while nc.is_connected and self._connection.epoch == epoch and asyncio.get_running_loop().time() < deadline:
            if await woken(batch.done, GLANCE):
                return

    async def _on_reply(self, message: Msg) -> None:
        entry = self._open.pop(message.subject[len(self._prefix) + 1 :], None)
        if entry is None:
            return
        batch, id = entry
        if message.headers and message.headers.get(Header.STATUS) == "503":
            batch.refusal = "no stream takes the subject"
        else:
            answer = json.loads(message.data)
            if "error" in answer:
                batch.refusal = answer["error"]["description"]
            else:
                assert isinstance(message, ServerMessage)
                batch.confirmed.append(Confirmed(id, message.server_id))
                self._metrics.of(PUBLISHED, stream=answer["stream"]).inc()
                if answer.get("duplicate"):
                    self._metrics.of(DUPLICATES_SUPPRESSED, layer="stream").inc()
        batch.waiting -= 1
        if not batch.waiting:
            batch.done.set()

    def _note(self, batch: _Batch) -> None:
        if batch.refusal and batch.refusal != self.problem:
            log.warning("a stream refuses events; they stay in the outbox", reason=batch.refusal)
        if batch.refusal or batch.confirmed:
            self.problem = batch.refusal
