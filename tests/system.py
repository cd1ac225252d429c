"""A whole Tidemill of real processes, as a supervisor would run it: servers, replicas, and a look at what they did."""

import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import nats
import psutil
import yaml
from nats.aio.client import Client
from sqlalchemy import text

from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.common.servers import NatsServer, PostgresServer
from tidemill.common.service import find_services
from tidemill.common.testing.cluster import begin_used

S = TypeVar("S", bound="System")


async def messages_of(client: Client, stream: str) -> list[tuple[str, str]]:
    """(kind, id) of every message that the stream holds."""
    js = client.jetstream()
    expected = (await js.stream_info(stream)).state.messages
    subscription = await js.subscribe("", stream=stream, ordered_consumer=True)
    found = []
    while len(found) < expected:
        message = await subscription.next_msg(timeout=10)
        assert message.headers is not None
        found.append((message.subject.split(".")[2], message.headers["Tidemill-Id"]))
    return found


SOURCE = {
    "source": "paper",
    "watch": {"folder": "inbox", "include": ["*.pdf"], "stable_for": "100ms", "after": "move"},
    "convert": {"with": "szerencsemix"},
}


@dataclass
class System:
    """Servers and services below one folder. Everything runs on loopback and ends with the test."""

    folder: Path
    replicas: Sequence[str]
    nats: NatsServer = field(init=False)
    postgres: PostgresServer = field(init=False)
    services: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    environment: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[Mapping[str, Any]] = (SOURCE,)

    @property
    def inbox(self) -> Path:
        return self.folder / "data" / "inbox"

    def start(self) -> None:
        self.inbox.mkdir(parents=True)
        (self.folder / "sources").mkdir()
        for source in self.sources:
            (self.folder / "sources" / f"{source['source']}.yaml").write_text(yaml.safe_dump(dict(source)))
        (self.folder / "log").mkdir()
        self.start_servers()
        self.revive()

    def start_servers(self) -> None:
        """Postgres with all tables."""
        self.nats = NatsServer(self.folder / "nats")
        begin_used(self.folder / "postgres")
        self.postgres = PostgresServer(self.folder / "postgres")
        self.nats.start()
        self.postgres.start()
        asyncio.run(migrate(self.postgres.url, find_services()))

    def addresses_of(self, _service: str) -> Mapping[str, str]:
        """Of the servers, as its environment names them."""
        return {"NATS_URL": self.nats.url, "DATABASE_URL": self.postgres.url}

    def revive(self) -> None:
        """Start again whatever is dead, as an operating system's supervisor would."""
        for server in (self.nats, self.postgres):
            if not server.alive():
                server.start()
        for replica in self.replicas:
            process = self.services.get(replica)
            if process is None or process.poll() is not None:
                self.services[replica] = self._spawn(replica)

    def _spawn(self, replica: str) -> subprocess.Popen[bytes]:
        service = replica.partition("-")[0]
        environment = os.environ | self.addresses_of(service) | self.environment
        with (self.folder / "log" / f"{replica}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"tidemill.{service}"], cwd=self.folder, env=environment, stdout=log, stderr=log
            )

    def kill_one(self, chance: random.Random) -> str:
        """Kill -9 one process of the system, servers and conversion workers included."""
        victims = ["nats", "postgres", "worker", *self.replicas]
        victim = chance.choice(victims)
        if victim == "nats":
            self.nats.kill()
        elif victim == "postgres":
            self.postgres.kill()
        elif victim == "worker":
            workers = self.workers()
            if not workers:
                return self.kill_one(chance)
            chance.choice(workers).kill()
        else:
            self.services[victim].kill()
            self.services[victim].wait()
        self.kills[victim] += 1
        return victim

    def workers(self) -> list[psutil.Process]:
        found = []
        for replica, process in self.services.items():
            if replica.startswith("converter") and process.poll() is None:
                found += psutil.Process(process.pid).children(recursive=True)
        return found

    def copy_stream_store(self) -> Path:
        """A copy of JetStream's files as they are now, under a running server: what a power loss may leave."""
        target = self.folder / "older-jetstream"
        shutil.rmtree(target, ignore_errors=True)
        for attempt in range(5):
            try:
                shutil.copytree(self.nats.store, target, dirs_exist_ok=True)
            except shutil.Error:
                # Files come and go under the copy.
                if attempt == 4:
                    raise
            else:
                break
        return target

    def put_stream_store_back(self, older: Path) -> None:
        self.nats.kill()
        shutil.rmtree(self.nats.store)
        shutil.copytree(older, self.nats.store)
        self.kills["nats, with an older store put back"] += 1
        self.nats.start()

    def stop(self) -> None:
        for process in self.services.values():
            process.terminate()
        for process in self.services.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.nats.stop()
        self.postgres.stop()

    def query(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        async def ask() -> list[tuple[Any, ...]]:
            engine = open_engine(self.postgres.url, pool=1)
            try:
                async with engine.connect() as connection:
                    return [tuple(row) for row in await connection.execute(text(statement), parameters)]
            finally:
                await engine.dispose()

        return asyncio.run(ask())

    def execute(self, *statements: str) -> None:
        async def run() -> None:
            engine = open_engine(self.postgres.url, pool=1)
            try:
                async with engine.begin() as connection:
                    for statement in statements:
                        await connection.execute(text(statement))
            finally:
                await engine.dispose()

        asyncio.run(run())

    def count(self, what: str) -> int:
        return int(self.query(f"SELECT count(*) FROM {what}")[0][0])

    def messages(self, stream: str) -> list[tuple[str, str]]:
        """(kind, id) of every message that the stream holds."""

        async def read() -> list[tuple[str, str]]:
            connection = await nats.connect(self.nats.url)
            try:
                return await messages_of(connection, stream)
            finally:
                await connection.close()

        return asyncio.run(read())

    def wait_until_quiet(self, documents: int, within: float) -> None:
        """Until every document is converted and told, and no event waits to be published."""
        deadline = time.monotonic() + within
        while True:
            self.revive()
            try:
                converted = self.count("converter.documents WHERE state = 'finished'")
                unsent = sum(
                    self.count(f"{schema}.outbox WHERE sent_at IS NULL") for schema in ("watcher", "converter")
                )
                waiting = [path.name for path in self.inbox.iterdir() if path.is_file()]
            except Exception as error:  # noqa: BLE001 - Postgres may be starting
                converted, unsent, waiting = -1, -1, [repr(error)]
            if converted >= documents and unsent == 0 and not waiting:
                return
            assert time.monotonic() < deadline, (
                f"{converted} of {documents} documents converted, {unsent} events unsent, waiting: {waiting[:5]}; "
                f"logs in {self.folder / 'log'}"
            )
            time.sleep(0.3)


@contextmanager
def running(
    replicas: Sequence[str], sources: Sequence[Mapping[str, Any]] = (SOURCE,), **environment: str
) -> Iterator[System]:
    """A system in a folder of its own, which stays when the test fails. Not below pytest's: every other session of
    pytest closes that to the user that Postgres runs as."""
    with at_work(System(new_folder(), replicas, environment=environment, sources=sources)) as system:
        yield system


def new_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="tidemill-system-"))


@contextmanager
def at_work(system: S) -> Iterator[S]:
    try:
        system.start()
        yield system
    finally:
        system.stop()
    shutil.rmtree(system.folder)
