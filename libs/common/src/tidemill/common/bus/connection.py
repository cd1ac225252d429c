"""One connection to NATS that is there again after any outage, and knows which server process it speaks to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from tidemill.common.bus.activity import to_the_second, woken
from tidemill.common.bus.dial import dialled
from tidemill.common.config.references import without_references
from tidemill.common.telemetry.metrics import BUS_CONNECTED, RECONNECTS, Metrics

log = structlog.get_logger(__name__)

RECONNECT_WAIT = 0.25
PROBE_EVERY = 2.0
PROBE_TIMEOUT = 2.0
"""With the pause before it, less than the five seconds within which health tells of a server that hangs."""
REPLACE_AFTER = 15.0
"""Seconds without an answer on a connection that says it is up: its reader is dead, a new one is made."""
FORBIDDEN = "permissions violation"

Listener = Callable[[], None]


@dataclass
class ServerMessage(Msg):
    """A message that remembers which server process sent it."""

    server_id: str = ""

    def __post_init__(self) -> None:
        self.server_id = server_id_of(self._client)


class NatsClient(Client):
    msg_class = ServerMessage


def server_id_of(client: Client) -> str:
    """Changes with every start of nats-server; set before the client says that it is connected."""
    return str(client._server_info.get("server_id", ""))


def address_of(url: str) -> str:
    """Hosts and ports, without the names and passwords that may stand before them."""
    return ", ".join(
        f"{where.hostname}:{where.port or 4222}"
        for where in (urlsplit(one if "//" in one else f"//{one}") for one in without_references(url).split(","))
    )


class Connection:
    """`nc` and `js` are those of the moment: whoever subscribed does it again when `nc` is another one. nats-py gives a
    client up for good on some protocol errors, whatever `max_reconnect_attempts` says."""

    def __init__(self, url: str, name: str, metrics: Metrics, *, inbox: str = "_INBOX") -> None:
        self._url = url
        self._inbox = inbox
        self._address = address_of(url)
        self._name = name
        self._metrics = metrics
        self._listeners: list[Listener] = []
        self._heard_at = 0.0
        self._established = 0
        self._ready = False
        self._changed = asyncio.Event()
        self.nc: NatsClient = NatsClient()
        self.js: JetStreamContext = self.nc.jetstream()
        self.problem: str | None = "not connected yet"

    @property
    def connected(self) -> bool:
        """With all subscriptions in place; nats-py says so earlier."""
        return self._ready and self.nc.is_connected

    @property
    def server_id(self) -> str:
        """Of the server process we are connected to; empty while we are not."""
        return server_id_of(self.nc) if self.connected else ""

    @property
    def epoch(self) -> int:
        """How often a connection was established: what belongs to an older one is void."""
        return self._established

    def on_connect(self, listener: Listener) -> None:
        """Call `listener`, which only takes note, after every connect and reconnect."""
        self._listeners.append(listener)

    async def wait_connected(self) -> None:
        while not self.connected:
            self._changed.clear()
            await woken(self._changed, 0.5)

    async def established(self) -> AsyncIterator[None]:
        """Once for every connection that is established, the present one first; for ever."""
        again = asyncio.Event()
        self.on_connect(again.set)
        while True:
            await self.wait_connected()
            again.clear()
            yield
            await again.wait()

    async def keep(self) -> None:
        """Connect, and watch over the connection, until cancelled."""
        while True:
            await self._open()
            await self._watch()
            await self._abandon()

    async def close(self) -> None:
        """Send what is buffered (acks), then hang up."""
        if self.nc.is_connected:
            with suppress(nats.errors.Error, OSError, asyncio.TimeoutError):
                await self.nc.flush(timeout=2)
        await self._abandon()
        self._metrics.of(BUS_CONNECTED).set(0)

    async def _open(self) -> None:
        self.nc = NatsClient()
        self.js = self.nc.jetstream(timeout=5)
        # With an unlimited number of attempts this returns when there is a connection, however long that takes.
        await self.nc.connect(
            **dialled(self._url),
            name=self._name,
            inbox_prefix=self._inbox,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]
            connect_timeout=2,
            ping_interval=4,
            max_outstanding_pings=1,
            pending_size=0,  # Nothing is buffered while disconnected: an old ack could swallow a new message.
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_connect,
        )
        await self._on_connect()

    async def _watch(self) -> None:
        """Ask the server for an answer again and again; return when this client will never give one again."""
        while not self.nc.is_closed:
            if self.connected:
                await self._probe()
                if self._silent_for() > REPLACE_AFTER:
                    log.warning("NATS connection is silent; making a new one", address=self._address)
                    return
            await asyncio.sleep(to_the_second(PROBE_EVERY))

    async def _probe(self) -> None:
        # Not rtt(): a pong that comes after its timeout kills the reader of nats-py.
        try:
            await self.nc.request("$JS.API.INFO", timeout=PROBE_TIMEOUT)
        except nats.errors.NoRespondersError:
            self._heard_at = asyncio.get_running_loop().time()
            self.problem = f"NATS at {self._address} has no JetStream"
        except (TimeoutError, nats.errors.Error, OSError) as error:
            self.problem = f"NATS at {self._address} does not answer: {type(error).__name__}"
        else:
            self._heard_at = asyncio.get_running_loop().time()
            if self.connected:
                self.problem = None

    def _silent_for(self) -> float:
        return asyncio.get_running_loop().time() - self._heard_at

    async def _abandon(self) -> None:
        with suppress(Exception):
            await asyncio.wait_for(self.nc.close(), 3)

    async def _on_connect(self) -> None:
        self._established += 1
        self._ready = True
        self._heard_at = asyncio.get_running_loop().time()
        self.problem = None
        self._changed.set()
        self._metrics.of(BUS_CONNECTED).set(1)
        if self._established > 1:
            self._metrics.of(RECONNECTS, to="nats").inc()
            log.info("connected to NATS again", address=self._address, server=self.server_id)
        for listener in self._listeners:
            listener()

    async def _on_disconnect(self) -> None:
        self._ready = False
        # What was written but not flushed would go to the next server process, where its sequence numbers may mean
        # other messages.
        self.nc._pending.clear()
        self.nc._pending_data_size = 0
        self.problem = f"NATS at {self._address} is not connected"
        self._metrics.of(BUS_CONNECTED).set(0)

    async def _on_error(self, error: Exception) -> None:
        if FORBIDDEN in str(error).lower():
            log.warning("NATS does not let this user do that", error=str(error))
        else:
            log.debug("nats", error=repr(error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
