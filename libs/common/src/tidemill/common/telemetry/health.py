"""Health over HTTP: is it alive, has it started, can it work, and what do its metrics say."""

import asyncio
import json
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from tidemill.common.telemetry.logs import clean
from tidemill.common.telemetry.metrics import CONTENT_TYPE, LOOP_LAG_SECONDS, READY, Metrics, exposition

log = logging.getLogger(__name__)

Check = Callable[[], Awaitable[str | None]]
"""What is wrong, in a few words; None when all is well."""

Answer = tuple[int, str, bytes]
"""Status, content type, body."""

TIME_LIMIT = timedelta(seconds=2)
KEEP_SECONDS = 0.5
"""An answer is given again for so long: probes must not become load on what they probe."""
HEARTBEAT_SECONDS = 1.0
STUCK_AFTER = timedelta(seconds=10)
REQUEST_BYTES = 8 << 10
REQUEST_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Request, checks and reading the answer together."""
CONNECTIONS = 64

STARTING = {"start": "not finished"}


class Health:
    """The truth about one service. Checks run on its own event loop, all at once, each within the time limit."""

    def __init__(
        self, service: str, version: str, checks: Mapping[str, Check], *, time_limit: timedelta = TIME_LIMIT
    ) -> None:
        self.service = service
        self.version = version
        self.started = False
        """Set once, when migrations, connections and subscriptions are done."""
        self.checks = dict(checks)
        """More may be added while the service starts."""
        self.time_limit = time_limit.total_seconds()
        metrics = Metrics(service)
        self._ready = metrics.of(READY)
        self.loop_lag = metrics.of(LOOP_LAG_SECONDS)
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._asked_at = 0.0
        self._asked_when_started = False

    async def wrong(self) -> dict[str, str]:
        """What is wrong, by the name of the check; empty when the service can work."""
        old = self._asking is not None and self._asking.done() and time.monotonic() - self._asked_at > KEEP_SECONDS
        # What was asked while it started knows nothing of the checks that came last.
        if self._asking is None or old or self.started != self._asked_when_started:
            self._asked_when_started = self.started
            self._asking = asyncio.create_task(self._ask())
        wrong = await asyncio.shield(self._asking)
        return wrong if self.started else {**STARTING, **wrong}

    async def _ask(self) -> dict[str, str]:
        asked = {name: asyncio.ensure_future(check()) for name, check in self.checks.items()}
        if asked:
            await asyncio.wait(asked.values(), timeout=self.time_limit)
        wrong = {name: problem for name, task in asked.items() if (problem := self._outcome(task))}
        self._ready.set(self.started and not wrong)
        self._asked_at = time.monotonic()
        return wrong

    def _outcome(self, task: asyncio.Future[str | None]) -> str | None:
        if not task.done():
            task.cancel()
            return f"no answer within {self.time_limit:g} s"
        if task.cancelled():
            return "cancelled"
        if error := task.exception():
            return clean(f"{type(error).__name__}: {error}")
        return clean(task.result() or "") or None


class HealthServer:
    """`/livez`, `/startupz`, `/readyz`, `/metrics` for every service of this process together, and with `/<service>`
    behind it for one.

    It answers from a thread of its own: an event loop that is stuck would otherwise take its own witness down.
    """

    def __init__(self, stuck_after: timedelta = STUCK_AFTER) -> None:
        self._services: dict[str, Health] = {}
        self._stuck_after = stuck_after.total_seconds()
        self._loop = asyncio.get_running_loop()
        self._beat = time.monotonic()
        self._heart: asyncio.Task[None] | None = None
        self._thread: threading.Thread | None = None
        self._stop: Callable[[], object] = lambda: None
        self._connections = 0
        self.host = ""
        self.port = 0

    @classmethod
    async def open(cls, host: str = "127.0.0.1", port: int = 0, *, stuck_after: timedelta = STUCK_AFTER) -> Self:
        """Listen; port 0 takes a free one. Raises OSError when the port is taken."""
        server = cls(stuck_after)
        listening: Future[tuple[str, int]] = Future()
        server._thread = threading.Thread(
            target=lambda: asyncio.run(server._listen(host, port, listening)), name="health", daemon=True
        )
        server._thread.start()
        server.host, server.port = await asyncio.wrap_future(listening)
        server._heart = asyncio.create_task(server._beat_on())
        return server

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def add(self, health: Health) -> None:
        """From now on answers include this service."""
        self._services[health.service] = health

    async def close(self) -> None:
        if self._heart:
            self._heart.cancel()
        self._stop()
        if self._thread:
            await asyncio.to_thread(self._thread.join, REQUEST_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _beat_on(self) -> None:
        while True:
            due = time.monotonic() + HEARTBEAT_SECONDS
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._beat = time.monotonic()
            for health in self._services.values():
                health.loop_lag.set(max(0.0, self._beat - due))

    async def _listen(self, host: str, port: int, listening: Future[tuple[str, int]]) -> None:
        """The life of the thread."""
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stop() -> None:
            with suppress(RuntimeError):  # It has ended already.
                loop.call_soon_threadsafe(stopping.set)

        self._stop = stop
        try:
            server = await asyncio.start_server(self._serve, host, port, limit=REQUEST_BYTES)
        except OSError as error:
            listening.set_exception(error)
            return
        listening.set_result(server.sockets[0].getsockname()[:2])
        await stopping.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS:
                async with asyncio.timeout(ANSWER_SECONDS):
                    method, status, kind, body = await self._respond(reader)
                    _write(writer, method, status, kind, body)
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass  # Too slow, or gone: there is nobody to tell.
        finally:
            self._connections -= 1
            writer.close()

    async def _respond(self, reader: asyncio.StreamReader) -> tuple[str, int, str, bytes]:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return "GET", *_text(431, "a probe is smaller than this")
        try:
            method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        except ValueError:
            return "GET", *_text(400, "not HTTP")
        if method not in ("GET", "HEAD"):
            return method, *_text(405, "only GET and HEAD")
        return method, *await self._answer(target.partition("?")[0])

    async def _answer(self, path: str) -> Answer:
        endpoint, _, service = path.strip("/").partition("/")
        if service and service not in self._services:
            return _text(404, f"no service {service!r} here")
        chosen = [self._services[service]] if service else list(self._services.values())
        match endpoint:
            case "livez":
                return self._live()
            case "startupz":
                return _verdict(chosen, [{} if health.started else dict(STARTING) for health in chosen])
            case "readyz":
                return _verdict(chosen, await asyncio.gather(*(self._ask(health) for health in chosen)))
            case "metrics":
                return 200, CONTENT_TYPE, exposition(service or None)
            case _:
                return _text(404, "there are /livez, /startupz, /readyz and /metrics")

    async def _ask(self, health: Health) -> Mapping[str, str]:
        asking = asyncio.run_coroutine_threadsafe(health.wrong(), self._loop)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(asking), health.time_limit + 1)
        except TimeoutError:
            return {"event loop": f"no heartbeat for {self._silence():.1f} s"}

    def _silence(self) -> float:
        return time.monotonic() - self._beat

    def _live(self) -> Answer:
        if self._silence() < self._stuck_after:
            return _json(200, {"status": "ok"})
        return _json(503, {"status": "failed", "wrong": {"event loop": f"no heartbeat for {self._silence():.1f} s"}})


def _verdict(services: Sequence[Health], wrong: Sequence[Mapping[str, str]]) -> Answer:
    well = bool(services) and not any(wrong)
    told = {
        health.service: {"status": "failed" if problems else "ok", "version": health.version, "wrong": problems}
        for health, problems in zip(services, wrong, strict=True)
    }
    return _json(200 if well else 503, {"status": "ok" if well else "failed", "services": told})


def _json(status: int, body: Mapping[str, Any]) -> Answer:
    return status, "application/json", json.dumps(body, ensure_ascii=False).encode() + b"\n"


def _text(status: int, text: str) -> Answer:
    return status, "text/plain; charset=utf-8", text.encode() + b"\n"


def _write(writer: asyncio.StreamWriter, method: str, status: int, kind: str, body: bytes) -> None:
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (b"" if method == "HEAD" else body))
