"""Health: the endpoints tell the truth, quickly, also to rude clients."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tidemill.common.http import open_client
from tidemill.common.telemetry.health import Health, HealthServer
from tidemill.common.telemetry.metrics import HANDLED, Metrics, value


class Dependency:
    """Something a service needs, which can be taken away."""

    def __init__(self) -> None:
        self.wrong: str | None = None
        self.slow_seconds = 0.0
        self.asked = 0

    async def check(self) -> str | None:
        self.asked += 1
        await asyncio.sleep(self.slow_seconds)
        return self.wrong


@pytest.fixture
async def server() -> AsyncIterator[HealthServer]:
    async with await HealthServer.open() as server:
        yield server


async def get(server: HealthServer, path: str) -> tuple[int, Any]:
    async with open_client() as client:
        answer = await client.get(server.url + path)
    try:
        return answer.status_code, answer.json()
    except json.JSONDecodeError:
        return answer.status_code, answer.text


async def send(server: HealthServer, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


def started(service: str, dependency: Dependency, time_limit: float = 0.2) -> Health:
    health = Health(service, "1.2", {"nats": dependency.check}, time_limit=timedelta(seconds=time_limit))
    health.started = True
    return health


async def test_a_service_is_ready_when_nothing_is_wrong(server: HealthServer) -> None:
    server.add(started("health-well", Dependency()))
    status, body = await get(server, "/readyz")
    assert status == 200
    assert body == {
        "status": "ok",
        "services": {"health-well": {"status": "ok", "version": "1.2", "wrong": {}}},
    }
    assert value("tidemill_ready", service="health-well") == 1


async def test_readiness_names_what_is_wrong_and_recovers_while_liveness_stays(server: HealthServer) -> None:
    nats = Dependency()
    server.add(started("health-lost", nats))
    nats.wrong = "disconnected for 3 s"
    status, body = await get(server, "/readyz/health-lost")
    assert (status, body["services"]["health-lost"]["wrong"]) == (503, {"nats": "disconnected for 3 s"})
    assert value("tidemill_ready", service="health-lost") == 0
    assert (await get(server, "/livez"))[0] == 200
    nats.wrong = None
    await asyncio.sleep(0.6)
    assert (await get(server, "/readyz/health-lost"))[0] == 200


async def test_a_dependency_that_does_not_answer_is_wrong_within_the_limit(server: HealthServer) -> None:
    hanging = Dependency()
    hanging.slow_seconds = 60
    server.add(started("health-hang", hanging))
    began = time.perf_counter()
    status, body = await get(server, "/readyz")
    assert time.perf_counter() - began < 20
    assert (status, body["services"]["health-hang"]["wrong"]) == (503, {"nats": "no answer within 0.2 s"})


async def test_a_check_that_fails_is_wrong_and_tells_no_secret(server: HealthServer) -> None:
    async def refused() -> str | None:
        raise ConnectionRefusedError("postgresql://tidemill:hunter2@db")

    async def cancelled() -> str | None:
        raise asyncio.CancelledError

    health = Health("health-fail", "1", {"postgres": refused, "other": cancelled})
    health.started = True
    server.add(health)
    _, body = await get(server, "/readyz")
    wrong = body["services"]["health-fail"]["wrong"]
    assert wrong["postgres"].startswith("ConnectionRefusedError: postgresql://tidemill:***")
    assert wrong["other"] == "cancelled"
    assert "hunter2" not in str(body)


async def test_a_service_is_not_ready_before_it_has_started(server: HealthServer) -> None:
    assert (await get(server, "/readyz"))[0] == 503, "no service is no readiness"
    health = Health("health-start", "1", {})
    server.add(health)
    for endpoint in ("/startupz", "/readyz"):
        status, body = await get(server, endpoint)
        assert (status, body["services"]["health-start"]["wrong"]) == (503, {"start": "not finished"})
    health.started = True
    assert (await get(server, "/startupz"))[0] == 200
    assert (await get(server, "/readyz"))[0] == 200


async def test_it_is_ready_by_the_checks_it_has_when_it_has_started() -> None:
    health = Health("health-late", "1", {"nats": Dependency().check})
    assert await health.wrong() == {"start": "not finished"}
    late = Dependency()
    late.wrong = "no such converter"
    health.checks["sources"] = late.check
    health.started = True
    assert await health.wrong() == {"sources": "no such converter"}


async def test_services_of_one_process_share_a_port_and_are_told_apart(server: HealthServer) -> None:
    broken = Dependency()
    broken.wrong = "away"
    server.add(started("health-a", Dependency()))
    server.add(started("health-b", broken))
    assert (await get(server, "/readyz/health-a"))[0] == 200
    assert (await get(server, "/readyz/health-b"))[0] == 503
    status, body = await get(server, "/readyz")
    assert status == 503
    assert {name: told["status"] for name, told in body["services"].items()} == {"health-a": "ok", "health-b": "failed"}
    assert (await get(server, "/readyz/nobody"))[0] == 404


async def test_many_probes_ask_the_dependency_once(server: HealthServer) -> None:
    slow = Dependency()
    slow.slow_seconds = 0.1
    server.add(started("health-many", slow))
    answers = await asyncio.gather(*(get(server, "/readyz") for _ in range(20)))
    assert {status for status, _ in answers} == {200}
    assert slow.asked == 1


async def test_metrics_are_those_of_the_service_or_of_all(server: HealthServer) -> None:
    server.add(started("health-metrics", Dependency()))
    Metrics("health-metrics").of(HANDLED, consumer="c", outcome="done").inc()
    Metrics("health-elsewhere").of(HANDLED, consumer="c", outcome="done").inc()
    _, one = await get(server, "/metrics/health-metrics")
    _, all_ = await get(server, "/metrics?x=1")
    assert "health-metrics" in one
    assert "health-elsewhere" not in one
    assert "health-elsewhere" in all_


async def test_a_stuck_event_loop_is_not_alive_and_not_ready_and_recovers() -> None:
    async with await HealthServer.open(stuck_after=timedelta(seconds=1)) as server:
        server.add(started("health-stuck", Dependency(), time_limit=0.1))

        def probe(path: str) -> bytes:
            with socket.create_connection((server.host, server.port)) as connection:
                connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
                return b"".join(iter(lambda: connection.recv(4096), b""))

        def probe_both() -> tuple[bytes, bytes]:
            time.sleep(1.8)
            return probe("/livez"), probe("/readyz")

        await asyncio.sleep(0)
        probing = asyncio.create_task(asyncio.to_thread(probe_both))
        await asyncio.sleep(0.1)
        time.sleep(4)
        live, ready = await probing
        assert live.startswith(b"HTTP/1.1 503")
        assert b"no heartbeat for" in live
        assert ready.startswith(b"HTTP/1.1 503")
        assert b'"event loop"' in ready
        await asyncio.sleep(0.6)
        assert (await get(server, "/livez"))[0] == 200
        assert (await get(server, "/readyz"))[0] == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST /livez HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /nothing HTTP/1.1\r\n\r\n", b"404"),
        (b"\xff\xfe\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * 20_000, b"431"),
    ],
)
async def test_a_strange_request_is_told_so(server: HealthServer, request_: bytes, status: bytes) -> None:
    assert (await send(server, request_)).startswith(b"HTTP/1.1 " + status)


async def test_head_gives_the_head_alone(server: HealthServer) -> None:
    head, _, body = (await send(server, b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n")).partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert body == b""


async def test_clients_that_send_nothing_do_not_keep_others_out(server: HealthServer) -> None:
    idle = [await asyncio.open_connection(server.host, server.port) for _ in range(40)]
    assert (await get(server, "/livez"))[0] == 200
    for _, writer in idle:
        writer.close()


async def test_connections_beyond_the_limit_are_closed_at_once(server: HealthServer) -> None:
    idle = [await asyncio.open_connection(server.host, server.port) for _ in range(64)]
    await asyncio.sleep(0.1)
    reader, extra = await asyncio.open_connection(server.host, server.port)
    assert await reader.read() == b""
    for writer in (extra, *(writer for _, writer in idle)):
        writer.close()
    await asyncio.sleep(0.1)
    assert (await get(server, "/livez"))[0] == 200


@pytest.mark.slow
async def test_a_client_that_drips_is_cut_off(server: HealthServer) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"GET /li")
    async with asyncio.timeout(7):
        assert await reader.read() == b""
    writer.close()


async def test_a_taken_port_is_an_error_at_once(server: HealthServer) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await HealthServer.open(port=server.port)


async def test_it_listens_on_loopback_and_stops_when_closed() -> None:
    async with await HealthServer.open() as server:
        assert server.url.startswith("http://127.0.0.1:")
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(server.host, server.port)


async def test_ipv6_is_written_in_brackets() -> None:
    try:
        server = await HealthServer.open("::1")
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    async with server:
        assert server.url.startswith("http://[::1]:")
        assert (await get(server, "/livez"))[0] == 200


async def test_a_container_asks_its_service_by_a_small_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library of ours, and none of others, is loaded for it."""

    async def asked(question: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "tidemill.common.telemetry.probe", question]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    monkeypatch.delenv("TIDEMILL_HEALTH__PORT", raising=False)
    assert (await asked("readyz"))[0] == 2
    async with await HealthServer.open() as server:
        monkeypatch.setenv("TIDEMILL_HEALTH__PORT", str(server.port))
        health = Health("watcher", "1", {})
        server.add(health)
        assert (await asked("livez"))[0] == 0
        status, said = await asked("readyz")
        assert (status, "not finished" in said) == (1, True)
        health.started = True
        assert (await asked("readyz"))[0] == 0
    status, said = await asked("readyz")
    assert (status, "no answer" in said) == (1, True)
