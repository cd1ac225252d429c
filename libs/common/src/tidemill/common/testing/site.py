"""A friendly web site on this machine, whose files and moods the test decides."""

import asyncio
import hashlib
import re
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate

_RANGE = re.compile(r"bytes=([0-9]+)-")
LAST_DATA_RECEIVED = 52
"""Where `tcp_info` of linux/tcp.h has `tcpi_last_data_recv`: after eight bytes and eleven numbers of four."""


@dataclass
class File:
    content: bytes
    etag: str | None = None
    """Of the content, unless the test wants another one; empty: the site tells none."""
    modified: float = 1_780_000_000.0

    def __post_init__(self) -> None:
        if self.etag is None:
            self.etag = f'"{hashlib.sha256(self.content).hexdigest()[:16]}"'


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    status: int = 0
    sent: int = 0
    """Bytes of the body."""
    at: float = 0.0
    """When it came, by the clock of the loop."""


@dataclass
class Site:
    port: int = 0
    files: dict[str, File] = field(default_factory=dict)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    """By path: answers to give before the good ones."""
    headers: dict[str, str] = field(default_factory=dict)
    """Sent with those."""
    bytes_per_second: int | None = None
    asked: list[Asked] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def put(self, path: str, content: bytes, etag: str | None = None) -> None:
        self.files[path] = File(content, etag)

    def index(self, *names: str) -> None:
        links = "".join(f'<li><a href="{name}">{name}</a>' for name in names)
        self.put("/issues/", f"<!doctype html><ul>{links}</ul>".encode())

    def counts(self) -> Counter[str]:
        """Requests by path, without robots.txt."""
        return Counter(asked.path for asked in self.asked if asked.path != "/robots.txt")

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                asked = Asked(
                    head[0].split(" ")[1],
                    {name.lower(): value for name, value in headers.items()},
                    at=arrived_at(writer),
                )
                self.asked.append(asked)
                await self._reply(asked, writer)
        writer.close()

    async def _reply(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        moods = self.statuses.get(asked.path)
        file = self.files.get(asked.path)
        if moods:
            await self._send(asked, writer, moods.pop(0), b"not now", self.headers)
        elif file is None:
            await self._send(asked, writer, 404, b"<html>not found</html>", {"Content-Type": "text/html"})
        else:
            await self._send_file(asked, writer, file)

    async def _send_file(self, asked: Asked, writer: asyncio.StreamWriter, file: File) -> None:
        headers = {"Last-Modified": formatdate(file.modified, usegmt=True), "Accept-Ranges": "bytes"}
        if file.etag:
            headers["ETag"] = file.etag
        if file.etag and asked.headers.get("if-none-match") == file.etag:
            await self._send(asked, writer, 304, b"", headers)
            return
        wanted = _RANGE.fullmatch(asked.headers.get("range", ""))
        if wanted and asked.headers.get("if-range", file.etag) == file.etag:
            first, size = int(wanted[1]), len(file.content)
            if first >= size:
                await self._send(asked, writer, 416, b"", {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {first}-{size - 1}/{size}"
            await self._send(asked, writer, 206, file.content[first:], headers)
            return
        await self._send(asked, writer, 200, file.content, headers)

    async def _send(
        self, asked: Asked, writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        asked.status = status
        lines = [f"HTTP/1.1 {status} Something", *(f"{name}: {value}" for name, value in headers.items())]
        if status != 304:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        piece = max(1, self.bytes_per_second // 20) if self.bytes_per_second else 1 << 20
        for start in range(0, len(body), piece):
            writer.write(body[start : start + piece])
            await writer.drain()
            asked.sent += len(body[start : start + piece])
            if self.bytes_per_second:
                await asyncio.sleep(0.05)


def arrived_at(writer: asyncio.StreamWriter) -> float:
    """When the kernel had the last of what was read, to some milliseconds: a busy machine reads it later."""
    now = asyncio.get_running_loop().time()
    if sys.platform != "linux":
        return now
    about: bytes = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (milliseconds,) = struct.unpack_from("=I", about, LAST_DATA_RECEIVED)
    return now - float(milliseconds) / 1000


@asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    site = Site()
    server = await asyncio.start_server(site.answer, "127.0.0.1", 0, limit=1 << 20)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()


@contextmanager
def site_in_a_thread() -> Iterator[Site]:
    """With a loop of its own, so that it answers while a test waits for processes."""
    found: list[Site] = []
    up, down = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with open_site() as site:
            found.append(site)
            up.set()
            await down.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert up.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(10)
