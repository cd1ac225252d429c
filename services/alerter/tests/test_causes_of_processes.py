"""Rules that ship, fired by what happens to processes: one lacks a secret, is killed, has too little memory."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tidemill.common.bus.client import CommandFailed
from tidemill.common.testing.fixtures import Databases

from .works import Works, open_works

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(240)]

SETTINGS = """
channels: {chat: {slack: {url: "http://127.0.0.1:1/${env:HOME}"}}}
alerter:
  look_every: 1s
  routes: [{to: [chat]}]
  rules:
    config_not_taken: {for: 0s}
    service_down: {for: 0s}
    replica_lost: {for: 0s}
    memory_short: {for: 0s, keep_firing: 0s}
"""
SECRET = "TIDEMILL_TEST_SECRET"
NEEDS_A_SECRET = f'channels: {{chat: {{slack: {{url: "http://127.0.0.1:1/${{env:{SECRET}}}"}}}}}}'
LIMIT = 600_000_000
EATER = """
import sys
from tidemill.common.surroundings.memory import scarcest
eaten = []
while scarcest().share > 0.03:
    eaten.append(b"x" * 1_000_000)
print("full", flush=True)
sys.stdin.read()
"""

Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
async def works(migrated_databases: Databases) -> AsyncIterator[Works]:
    async with open_works(migrated_databases, SETTINGS) as works:
        works.source("prices", download={"url": works.site.url("/prices.json"), "expect": "json"})
        yield works


@pytest.fixture
def spawn(works: Works) -> Iterator[Spawn]:
    """Starts Python in the folder, with the servers' addresses; what is left of it ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str, before: str = "") -> subprocess.Popen[str]:
        """`before` is what its shell does first."""
        addresses = {"NATS_URL": works.addresses.nats_url, "DATABASE_URL": works.addresses.database_url}
        command = ["sh", "-c", f'{before or ":"} && exec "$0" "$@"', sys.executable, *words]
        with (works.folder / "processes.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=works.folder,
                env=os.environ | addresses,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


async def test_a_replica_that_cannot_take_a_configuration_or_is_killed_is_told(
    works: Works, spawn: Spawn, monkeypatch: pytest.MonkeyPatch
) -> None:
    await works.start("scheduler")
    downloader = spawn("-m", "tidemill.downloader")
    monkeypatch.setenv(SECRET, "the scheduler's folder has it; that of the downloader, started before, has not")
    await works.apply(NEEDS_A_SECRET)
    assert await works.fires("config_not_taken") == "downloader cannot do what the configuration says"
    ((says,),) = await works.station.sql("SELECT description FROM alerter.alerts WHERE rule = 'config_not_taken'")
    assert SECRET in says

    await works.apply()
    await works.is_over("config_not_taken")

    downloader.kill()
    downloader.wait()
    # A minute later: it says nothing any more.
    await works.station.sql(
        "UPDATE config.acknowledgements SET seen_at = seen_at - interval '1 minute' WHERE service = 'downloader'"
    )
    assert await works.fires("service_down", service="downloader") == "no downloader is at work"
    assert await works.fires("replica_lost", service="downloader") == "downloader has lost 1 replicas"
    ((hidden,),) = await works.station.sql("SELECT hidden FROM alerter.alerts WHERE rule = 'replica_lost'")
    assert hidden.startswith("inhibited by service_down-")
    spawn("-m", "tidemill.downloader")
    for rule in ("service_down", "replica_lost"):
        await works.is_over(rule, service="downloader")


async def test_a_configuration_with_a_mistake_is_told_until_a_valid_one_comes(works: Works) -> None:
    await works.start("scheduler")
    await works.apply()
    with suppress(CommandFailed):
        await works.ask("scheduler", "config_apply", files={"tidemill.yaml": "lgo: {}\n"}, actor="eva")
    assert "was refused" in await works.fires("config_refused")
    await works.apply()
    await works.is_over("config_refused")


async def test_memory_that_runs_short_in_the_container_is_told(works: Works, spawn: Spawn) -> None:
    """A control group is what a container is to memory; the machine has enough."""
    with small_group(LIMIT) as group:
        enter = f'echo $$ > "{group}/cgroup.procs"'
        spawn("-m", "tidemill.alerter", before=enter)
        await works.until(lambda: works.station.sql("SELECT 1 FROM alerter.rounds"))
        assert "memory_short" not in await works.station.states()
        eater = spawn("-c", EATER, before=enter)
        await works.until(lambda: works.summaries("memory_short", "firing"))
        ((says,),) = await works.station.sql("SELECT description FROM alerter.alerts WHERE rule = 'memory_short'")
        assert "of 599MB can be had in the control group /" in says and says.endswith(group.name)
        eater.kill()
        await works.until(lambda: works.summaries("memory_short", "resolved"))


@contextmanager
def small_group(limit: int) -> Iterator[Path]:
    """A control group that may have so many bytes; skips where none can be made. It is within ours where the first
    version of control groups is in use: the second has no limits beside processes."""
    first = Path("/sys/fs/cgroup/memory")
    if first.is_dir():
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        ours = next(line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory")
        above, name = first / ours.lstrip("/"), "memory.limit_in_bytes"
    else:
        above, name = Path("/sys/fs/cgroup"), "memory.max"
    folder = above / f"tidemill-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / name).write_text(str(limit))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"only root can make a small control group: {error}")
    try:
        yield folder
    finally:
        while folder.exists():
            for process in (folder / "cgroup.procs").read_text().split():
                os.kill(int(process), signal.SIGKILL)
            with suppress(OSError):  # They take a moment.
                folder.rmdir()
