"""A forward proxy on this machine, as offices and providers run them: plain requests passed on, tunnels for TLS."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Proxy:
    port: int = 0
    login: str | None = None
    """`user:password` that it wants."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Addresses of hosts that only this proxy knows."""
    refusal: str | None = None
    """The status with which it answers every request: `502 Bad Gateway`."""
    asked: list[str] = field(default_factory=list)
    """First lines of the requests."""
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of the same requests, names in lower case."""
    connections: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.login + '@' if self.login else ''}{self.host}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError, ValueError):
            while await self._one(reader, writer):
                pass
        writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used again."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.asked.append(first)
        self.headers.append(headers)
        refusal = self.refusal or self._wrong_login(headers)
        if refusal:
            writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        method, target, _ = first.split(" ")
        if method == "CONNECT":
            far = await self._connect(target)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pass_on(reader, far[1]), _pass_on(far[0], writer))
            return False
        place, slash, path = target.removeprefix("http://").partition("/")
        far = await self._connect(place)
        kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
        head = "\r\n".join([f"{method} {slash}{path} HTTP/1.1", *kept, "Connection: close", "", ""])
        far[1].write(head.encode("latin-1"))
        await _pass_on(far[0], writer, at_most=await _length(far[0], writer))
        far[1].close()
        return True

    def _wrong_login(self, headers: Mapping[str, str]) -> str | None:
        wanted = f"Basic {base64.b64encode((self.login or '').encode()).decode()}"
        if self.login is None or headers.get("proxy-authorization") == wanted:
            return None
        return "407 Proxy Authentication Required"

    async def _connect(self, place: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = place.rpartition(":") if ":" in place else (place, "", "80")
        return await asyncio.open_connection(self.names.get(host, host), int(port))


async def _length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
    """Pass the head on; how many bytes of the body follow."""
    head = await reader.readuntil(b"\r\n\r\n")
    writer.write(head)
    lines = head.decode("latin-1").lower().split("\r\n")
    return next((int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")), 0)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, at_most: int = 1 << 30) -> None:
    with suppress(OSError):
        while at_most > 0 and (piece := await reader.read(min(at_most, 1 << 16))):
            at_most -= len(piece)
            writer.write(piece)
            await writer.drain()
        if at_most > 1 << 29:  # A tunnel: the other side is told that this one has no more.
            writer.close()


@asynccontextmanager
async def forward_proxy(tls: ssl.SSLContext | None = None, **options: object) -> AsyncIterator[Proxy]:
    """Serves until the end of the block."""
    proxy = Proxy(**options)  # type: ignore[arg-type]
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
