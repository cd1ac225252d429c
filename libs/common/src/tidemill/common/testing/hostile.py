"""A web server that misbehaves on purpose: what it sends is written out by the test, byte by byte."""

import asyncio
import itertools
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from tidemill.common.cache import open_cache
from tidemill.common.config.politeness import Politeness
from tidemill.common.http import Entry, PoliteClient, open_limits
from tidemill.common.telemetry.metrics import Metrics

ALL = "User-agent: *\nAllow: /\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    at: float
    """When it was noticed, by the monotonic clock."""
    not_before: float
    """When the server last looked and it had not come: it came in between."""
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    connection: int


class Connection:
    """What a handler answers on."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def send(self, *pieces: bytes | str) -> None:
        """Raw bytes; text is Latin-1."""
        for piece in pieces:
            self._writer.write(piece.encode("latin-1") if isinstance(piece, str) else piece)
        with suppress(ConnectionError):
            await self._writer.drain()

    async def answer(self, status: int, body: bytes | str = b"", **headers: str | int) -> None:
        """A well-formed answer; `content_length=…` and the like may lie."""
        content = body.encode() if isinstance(body, str) else body
        told = {"Content-Length": str(len(content))} | {
            name.replace("_", "-").title(): str(value) for name, value in headers.items()
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
        await self.send(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n", content)

    async def drip(self, data: bytes, *, seconds: float) -> None:
        """Byte by byte, so many seconds apart, until the other side has enough."""
        with suppress(ConnectionError):
            for byte in data:
                self._writer.write(bytes([byte]))
                await self._writer.drain()
                await asyncio.sleep(seconds)

    def narrow(self) -> None:
        """Keep little in the kernel, so that what was sent is what went over the wire."""
        wire: socket.socket = self._writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 17)

    @property
    def open(self) -> bool:
        """Whether the other side is still there, as far as can be seen."""
        return not self._writer.is_closing()

    def hang_up(self) -> None:
        """Close in order."""
        self._writer.close()

    def reset(self) -> None:
        """Cut the wire."""
        self._writer.transport.abort()


Handler = Callable[[Asked, Connection], Awaitable[None]]


_NUMBERS = itertools.count(1)


@dataclass(eq=False)
class Hostile:
    """On a free port of this machine. Paths without a handler are 404; robots.txt allows all unless it has one."""

    port: int = 0
    name: str = field(default_factory=lambda: f"hostile-{next(_NUMBERS)}")
    """Of this one alone in this process, which a port is not."""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    looked_at: float = 0.0
    _handlers: dict[str, Handler] = field(default_factory=dict)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    @property
    def pages(self) -> list[Asked]:
        """What was asked, without robots.txt."""
        return [each for each in self.asked if each.path != "/robots.txt"]

    def politeness(self, rate: str = "500/s", concurrency: int = 8, **others: object) -> Politeness:
        """By which this server may be asked."""
        return Politeness.model_validate(
            {"rate": rate, "concurrency": concurrency, "allow_private": [self.host]} | others
        )

    def on(self, path: str) -> Callable[[Handler], Handler]:
        """Decorate the handler of a path; a query is not looked at."""

        def keep(handler: Handler) -> Handler:
            self._handlers[path] = handler
            return handler

        return keep

    def says(self, path: str, status: int, body: bytes | str = b"", **headers: str | int) -> None:
        """A path with one well-formed answer."""

        async def handler(asked: Asked, connection: Connection) -> None:
            await connection.answer(status, body, **headers)

        self._handlers[path] = handler

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        number, connection = self.connections, Connection(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                at = time.monotonic()
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                asked = Asked(at, self.looked_at, first.split(" ")[1], headers, number)
                self.asked.append(asked)
                await self._handler(asked.path)(asked, connection)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _handler(self, path: str) -> Handler:
        async def default(asked: Asked, connection: Connection) -> None:
            if path == "/robots.txt":
                await connection.answer(200, ALL)
            else:
                await connection.answer(404, "not here")

        return self._handlers.get(path.partition("?")[0], default)

    async def look(self) -> None:
        """Notice when this process gets no processor, so that nobody is blamed for it."""
        while True:
            self.looked_at = time.monotonic()
            await asyncio.sleep(0.005)

    def close(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()


@asynccontextmanager
async def hostile_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[Hostile]:
    """Serves until the end of the block."""
    hostile = Hostile()
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0, ssl=tls)
    hostile.port = server.sockets[0].getsockname()[1]
    looking = asyncio.create_task(hostile.look())
    try:
        yield hostile
    finally:
        looking.cancel()
        server.close()
        hostile.close()


def most_in_a_second(moments: Sequence[tuple[float, float]]) -> int:
    """How many came for certain within one second, at most, of requests that came between two moments each."""
    earliest, latest = (sorted(each) for each in zip(*moments, strict=True)) if moments else ([], [])
    most = first = 0
    for last, moment in enumerate(latest):
        while moment - earliest[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


@asynccontextmanager
async def polite_client(ledger: list[Entry] | None = None, **options: Any) -> AsyncIterator[PoliteClient]:
    """A client with limits and cache of its own."""
    metrics = Metrics("http-test")
    limits, cache = open_limits(None, metrics), open_cache(None, metrics)
    if ledger is not None:
        options["ledger"] = ledger.append
    async with PoliteClient(limits, cache, metrics, **options) as client:
        yield client
    await limits.close()
    await cache.close()
