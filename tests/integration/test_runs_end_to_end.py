"""A run from the question to the ledger: fetched, converted and counted by real services, from a site of our own."""

import asyncio
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.system import System, running
from tidemill.common.bus.client import answers, open_client, request_command

pytestmark = [pytest.mark.servers, pytest.mark.slow]

REPLICAS = ("scheduler", "downloader", "converter")
PATIENCE_SECONDS = 60
MANY = 2_000
"""Files: more than are asked for in the time of a test."""


@dataclass
class Site:
    """A file as it is at the moment, and a page with links to many others."""

    content: bytes = b"[]"
    status: int = 200
    requests: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/prices.json"

    def page(self, path: str) -> tuple[bytes, str]:
        """Content and type; nothing where nothing is."""
        if path == "/prices.json":
            return self.content, "application/json"
        if path == "/index.html":
            links = "".join(f'<a href="/issue-{number}.json">{number}</a>' for number in range(MANY))
            return links.encode(), "text/html"
        if path.startswith("/issue-"):
            return json.dumps([{"id": path}]).encode(), "application/json"
        return b"", ""


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.requests.append(self.path)
            content, kind = site.page(self.path)
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            status = site.status if content else 404
            if status == 200 and self.headers.get("If-None-Match") == etag:
                status = 304
            body = content if status == 200 else b""
            self.send_response(status)
            self.send_header("ETag", etag)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    return Handler


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    opened = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(opened))
    opened.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield opened
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def mill(site: Site) -> Iterator[System]:
    source = {
        "source": "prices",
        "download": {"url": site.url, "expect": "json"},
        "politeness": {"rate": "20/s", "allow_private": [f"127.0.0.1:{site.port}"]},
        "run": {"overlap": "allow"},
        "convert": {"with": "json", "options": {"key": "id"}},
    }
    with running(REPLICAS, sources=(source,)) as system:
        eventually(lambda: ask(system, "status", {}))
        yield system


def eventually(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if found := true():
                return found
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(system: System, verb: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        async with open_client(system.nats.url) as client:
            return await request_command(client, "scheduler", verb, parameters)

    return asyncio.run(asked())


def ended(system: System, run: str) -> dict[str, Any]:
    """The run in the ledger, when it has ended."""
    columns = "state, reason, items, new, changed, unchanged, failed, requests, bytes, records, finished_at"
    row = eventually(
        lambda: system.query(
            f"SELECT {columns} FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL", run=run
        )
    )[0]
    return dict(zip(columns.split(", "), row, strict=True))


def run_now(system: System) -> dict[str, Any]:
    return ended(system, ask(system, "run", {"source": "prices"})["run"])


def test_a_source_over_its_days(mill: System, site: Site) -> None:
    site.content = json.dumps([{"id": 1, "price": 10}, {"id": 2, "price": 20}]).encode()
    first = run_now(mill)
    assert (first["state"], first["items"], first["new"], first["failed"]) == ("complete", 1, 1, 0)
    assert first["bytes"] >= len(site.content)
    assert {changes["new"] for changes in first["records"].values()} == {2}

    second = run_now(mill)
    assert (second["state"], second["unchanged"], second["new"], second["bytes"]) == ("complete", 1, 0, 0)

    site.content = json.dumps([{"id": 1, "price": 11}, {"id": 2, "price": 20}]).encode()
    third = run_now(mill)
    assert (third["state"], third["changed"], third["new"]) == ("complete", 1, 0)
    assert [(changes["changed"], changes["unchanged"]) for changes in third["records"].values()] == [(1, 1)]

    site.status = 404
    fourth = run_now(mill)
    assert (fourth["state"], fourth["reason"], fourth["failed"]) == ("failed", "http", 1)
    site.status = 200

    why = ask(mill, "why", {"source": "prices"})["answers"]
    assert [answer["why"] for answer in why] == ["data", "data", "failed", "unchanged"]
    assert len(site.requests) >= 4


@pytest.mark.long
def test_after_a_stop_four_replicas_ask_for_nothing_more_nor_when_started_again(site: Site) -> None:
    downloaders = [f"downloader-{number}" for number in range(1, 5)]
    source = {
        "source": "issues",
        "download": {
            "index": {"url": site.url.replace("prices.json", "index.html"), "links": "issue-*.json", "newest": False},
            "expect": "json",
        },
        "politeness": {"rate": "10/s", "concurrency": 2, "allow_private": [f"127.0.0.1:{site.port}"]},
    }
    with running(("scheduler", *downloaders), sources=(source,)) as system:
        eventually(lambda: ask(system, "run", {"source": "issues"}))
        before = len(site.requests)
        eventually(lambda: len(site.requests) > before + 30)
        ask(system, "stop", {"all": True, "reason": "fire"})
        after = quiet(site)
        for name in downloaders:
            system.services[name].kill()
            system.services[name].wait()
        system.revive()
        eventually(lambda: answering(system, "downloader") == len(downloaders))
        time.sleep(2)
        assert len(site.requests) == after
        ask(system, "resume", {"all": True})
        eventually(lambda: len(site.requests) > after)


def quiet(site: Site) -> int:
    """How many requests there were when for two seconds none came. (That a stop is heard within one second, tests of
    the bus hold; here a slow machine may need longer for what was on its way.)"""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        before = len(site.requests)
        time.sleep(2)
        if len(site.requests) == before:
            return before
        assert time.monotonic() < deadline


def answering(system: System, service: str) -> int:
    """Replicas that answer on the bus."""

    async def asked() -> int:
        async with open_client(system.nats.url) as client:
            return len([each async for each in answers(client, f"$SRV.PING.{service}", lambda: 1.0)])

    return asyncio.run(asked())
