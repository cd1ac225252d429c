"""Pull requests on one durable consumer, at most one at a time, never for more than was asked."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import Header

from tidemill.common.bus.activity import woken
from tidemill.common.bus.connection import Connection, NatsClient, ServerMessage
from tidemill.common.bus.message import Fetched

POLL_TIMEOUT = 2.0
GRACE = 2.0
"""How late the end of a request may be told before the request counts as lost."""
STUCK_AFTER = 30.0
"""A poll at a consumer whose ack window is full gets no answer at all."""


class Pull:
    """`outstanding` messages may still come for the present request."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        durable: str,
        lane: str | None,
        *,
        take: Callable[[Fetched], None],
        ended: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
        self._take = take
        self._ended = ended
        self._nc: NatsClient | None = None
        self._epoch = -1
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._token = 0
        self._until = 0.0
        self._over = asyncio.Event()
        self.durable = durable
        self.lane = lane
        self.outstanding = 0
        self.missing = False
        """The server says that there is no such consumer (or stream)."""
        self.answered_at = 0.0

    async def refresh(self) -> None:
        """Subscribe again on a new connection; forget requests that the server cannot know or has lost."""
        now = asyncio.get_running_loop().time()
        if self._connection.epoch != self._epoch:
            self._epoch = self._connection.epoch
            self._end()
            if self._connection.nc is not self._nc:
                await self._bind()
        elif self.outstanding and now > self._until:
            await self._bind()

    async def request(self, batch: int, linger: float) -> None:
        """Ask for `batch` messages: those that are there, and those that come within `linger` seconds. Without
        `linger`, wait until the server has said how many there are."""
        self._token += 1
        self.outstanding = batch
        self._over.clear()
        now = asyncio.get_running_loop().time()
        self._until = now + (linger + GRACE if linger else STUCK_AFTER)
        ask: dict[str, object] = {"batch": batch}
        if linger:
            ask["expires"] = int(linger * 1e9)
        else:
            ask["no_wait"] = True
        assert self._nc is not None
        await self._nc.publish(self._subject, json.dumps(ask).encode(), f"{self._inbox}.{self._token}")
        if not linger:
            await woken(self._over, POLL_TIMEOUT)

    async def withdraw(self) -> None:
        """End the present request. A message on its way is taken all the same: we listen until the server has
        confirmed that it sends no more."""
        if self._subscription is None or self._nc is None or not self._nc.is_connected:
            if self.outstanding:  # Telling of nothing, every time, would keep the loop that listens from resting.
                self._end()
            return
        subscription, self._subscription = self._subscription, None
        with suppress(nats.errors.Error, OSError, asyncio.TimeoutError):
            await subscription.drain()  # type: ignore[no-untyped-call]
        self._nc = None
        self._epoch = -1
        self._end()

    async def _bind(self) -> None:
        if self._subscription is not None and self._connection.nc is self._nc:
            await self._subscription.unsubscribe()
        self._nc = self._connection.nc
        self._inbox = self._nc.new_inbox()
        self._subscription = await self._nc.subscribe(f"{self._inbox}.*", cb=self._on_message)
        self._end()

    async def _on_message(self, message: Msg) -> None:
        assert isinstance(message, ServerMessage)
        self.answered_at = asyncio.get_running_loop().time()
        if not message.reply:
            self._on_status(message)
            return
        self.missing = False
        self.outstanding -= 1
        if self.outstanding <= 0:
            self._end()
        self._take(Fetched(message, self.lane))

    def _on_status(self, message: Msg) -> None:
        headers = message.headers or {}
        status = headers.get(Header.STATUS)
        if status == "503" or (status == "409" and headers.get(Header.DESCRIPTION) == "Consumer Deleted"):
            self.missing = True
        elif message.subject != f"{self._inbox}.{self._token}":
            return  # of an older request
        self._end()

    def _end(self) -> None:
        self.outstanding = 0
        self._over.set()
        self._ended()
