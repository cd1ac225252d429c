"""Three real servers from the files that `tidemill nats-config` writes: streams on all of them, and one may die."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nats
import nats.errors
import pytest
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.common.bus.dial import dialled
from tidemill.common.bus.topology import STREAMS
from tidemill.common.servers import free_port
from tidemill.common.servers.nats import nats_binary

pytestmark = [pytest.mark.servers, pytest.mark.slow]

NAMES = ("nats-1", "nats-2", "nats-3")
WITHIN_SECONDS = 30


@dataclass
class Cluster:
    folder: Path
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]]

    def url(self, user: str) -> str:
        password = (self.folder / f"nats-{user}").read_text()
        return ",".join(f"nats://{user}:{password}@127.0.0.1:{port}" for port in self.ports.values())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    words = ["nats-config", "--passwords", str(folder), "--make", "--to", str(folder), "--store", "STORE"]
    written = CliRunner().invoke(app, [*words, *(f"--server={name}" for name in NAMES)])
    assert written.exit_code == 0, written.output
    made = Cluster(folder, {name: free_port() for name in NAMES}, {})
    routes = {name: free_port() for name in NAMES}
    for name in NAMES:
        on_this_machine(folder, name, made.ports[name], routes)
        with (folder / f"{name}.log").open("wb") as log:
            command = [nats_binary(), "-c", folder / f"{name}.conf"]
            made.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
    yield made
    for process in made.processes.values():
        process.kill()
        process.wait()


def on_this_machine(folder: Path, name: str, port: int, routes: dict[str, int]) -> None:
    """All three on the loopback address, with ports instead of hosts."""
    file = folder / f"{name}.conf"
    text = file.read_text().replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("STORE", str(folder / name / "store"))
    text = text.replace("0.0.0.0:8222", f"127.0.0.1:{free_port()}").replace("0.0.0.0:6222", f"127.0.0.1:{routes[name]}")
    for other, route in routes.items():
        text = text.replace(f"@{other}:6222", f"@127.0.0.1:{route}")
    file.write_text(text)


def test_streams_are_on_three_servers_and_go_on_without_one(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", cluster.url("operator"))
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    deadline = time.monotonic() + WITHIN_SECONDS
    while "each on 3 servers" not in (
        said := CliRunner().invoke(app, ["streams", "--set", "stream_replicas=3"]).output
    ):
        assert time.monotonic() < deadline, said
        time.sleep(0.3)
    asyncio.run(loses_one(cluster))


async def loses_one(cluster: Cluster) -> None:
    operator = await nats.connect(**dialled(cluster.url("operator")))
    js = operator.jetstream()
    for stream in STREAMS:
        found = await js.stream_info(stream.name)
        assert (found.config.num_replicas, len(found.cluster.replicas or [])) == (3, 2)  # type: ignore[union-attr]
    leader = (await js.stream_info("TRIGGERS")).cluster.leader  # type: ignore[union-attr]
    await operator.close()
    cluster.processes[str(leader)].kill()
    trigger = await nats.connect(**dialled(cluster.url("trigger")), max_reconnect_attempts=-1)
    deadline = time.monotonic() + WITHIN_SECONDS
    while True:
        try:
            await trigger.jetstream().publish("tidemill.trigger.prices", b"{}", timeout=2)
            break
        except (TimeoutError, nats.errors.Error):
            assert time.monotonic() < deadline
    await trigger.close()
