"""Child servers survive what happens to them."""

import asyncio
import getpass
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import nats
import psutil
import pytest

from tidemill.common.bus.topology import ensure_topology
from tidemill.common.config import CommonSettings
from tidemill.common.servers import (
    Addresses,
    FolderInUse,
    FolderLock,
    FolderNotOurs,
    NatsServer,
    NothingRuns,
    PostgresServer,
    ServerFailed,
)
from tidemill.common.servers.postgres import expect_name, open_the_way

pytestmark = pytest.mark.servers


async def value(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_postgres_keeps_what_was_committed_before_its_postmaster_was_killed(open_folder: Path) -> None:
    with PostgresServer(open_folder / "pg") as server:
        connection = await asyncpg.connect(server.url)
        await connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
        busy = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        await asyncio.sleep(0.1)
        server.kill()  # The backend that sleeps lives on and holds the shared memory.
        server.start()
        assert await value(server.url, "SELECT seven FROM kept") == 7
        with pytest.raises((asyncpg.PostgresError, ConnectionError)):
            await busy


async def test_postgres_is_durable_and_reachable_by_its_socket_alone(open_folder: Path) -> None:
    with PostgresServer(open_folder / "pg") as server:
        assert await value(server.url, "SHOW fsync") == "on"
        assert await value(server.url, "SHOW listen_addresses") == ""
        assert await value(server.url, "SELECT current_database()") == "tidemill"


async def test_postgres_asks_for_a_password_over_tcp(open_folder: Path) -> None:
    with PostgresServer(open_folder / "pg", tcp=True) as server:
        assert await value(server.tcp_url, "SELECT 1") == 1
        with pytest.raises(asyncpg.InvalidPasswordError):
            await value(server.tcp_url.replace("postgres:", "postgres:wrong"), "SELECT 1")


async def test_a_long_path_gets_a_short_socket_folder_which_is_remembered(open_folder: Path) -> None:
    folder = open_folder / ("deep" * 20) / "pg"
    with PostgresServer(folder) as server:
        first = server.url
        assert await value(first, "SELECT 1") == 1
    with PostgresServer(folder) as again:
        assert again.url == first
        assert await value(again.url, "SELECT 1") == 1
    Path((folder / "socket").read_text()).rmdir()


async def test_a_folder_may_have_any_name(open_folder: Path) -> None:
    folder = open_folder / "tükör, fúrógép 50%"
    with NatsServer(folder / "nats") as bus, PostgresServer(folder / "pg") as store:
        assert await value(store.url, "SELECT 1") == 1
        client = await nats.connect(bus.url)
        assert (await client.jetstream().account_info()).streams == 0
        await client.close()
    assert (folder / "nats" / "jetstream").is_dir()
    Path((folder / "pg" / "socket").read_text()).rmdir()


async def test_an_interrupted_initdb_is_begun_again(open_folder: Path) -> None:
    (open_folder / "pgdata.new.1" / "half").mkdir(parents=True)
    with PostgresServer(open_folder) as server:
        assert await value(server.url, "SELECT 1") == 1
    assert not list(open_folder.glob("pgdata.new*"))


INITIALISED = """
import signal, sys
from pathlib import Path
from tidemill.common.servers import PostgresServer
signal.signal(signal.SIGINT, lambda *_: None)
PostgresServer(Path(sys.argv[1])).start().stop()
"""


def test_ctrl_c_is_for_us_and_not_for_initdb(open_folder: Path) -> None:
    words = [sys.executable, "-c", INITIALISED, str(open_folder)]
    with subprocess.Popen(words, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(open_folder.glob("pgdata.new*/PG_VERSION")):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


async def test_a_stale_pid_file_that_names_a_living_stranger_does_not_block_the_start(open_folder: Path) -> None:
    with PostgresServer(open_folder) as server:
        data = server.data
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n5432\n{open_folder}\n\n\nready\n")
    with PostgresServer(open_folder) as server:
        assert await value(server.url, "SELECT 1") == 1


async def test_nats_keeps_its_port_and_its_streams_over_a_kill(open_folder: Path) -> None:
    with NatsServer(open_folder) as server:
        url = server.url
        client = await nats.connect(url)
        js = client.jetstream()
        await js.add_stream(name="KEPT", subjects=["kept.>"])
        await js.publish("kept.one", b"1")
        await client.close()
        server.kill()
        assert not server.alive()
        assert server.start().url == url
        client = await nats.connect(url)
        assert (await client.jetstream().stream_info("KEPT")).state.messages == 1
        await client.close()
    with NatsServer(open_folder) as again:
        assert again.url == url


def test_a_folder_serves_one_server(open_folder: Path) -> None:
    with NatsServer(open_folder), pytest.raises(FolderInUse, match=str(os.getpid())):
        NatsServer(open_folder).start()


def test_a_server_that_cannot_start_says_why(open_folder: Path) -> None:
    with pytest.raises(ServerFailed, match="unknown field"):
        NatsServer(open_folder, config="no_such_setting: 1").start()


HOLDER = """
import sys, time
from pathlib import Path
from tidemill.common.servers import NatsServer, PostgresServer
servers = NatsServer(Path(sys.argv[1])).start(), PostgresServer(Path(sys.argv[2])).start()
print(*(server.pid for server in servers), flush=True)
time.sleep(60)
"""


def test_servers_die_with_the_process_that_started_them(open_folder: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, open_folder / "nats", open_folder / "pg"], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    pids = [int(word) for word in holder.stdout.readline().split()]
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    deadline = time.monotonic() + 5
    while any(running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(running(pid) for pid in pids)
    with NatsServer(open_folder / "nats") as bus, PostgresServer(open_folder / "pg") as store:
        assert bus.alive()
        assert store.alive()


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_each_test_gets_an_empty_database_and_a_nats_without_streams(
    database_url: str, nats_url: str, postgres_server: PostgresServer
) -> None:
    assert await value(database_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    client = await nats.connect(nats_url)
    assert await client.jetstream().streams_info() == []
    await client.close()


def test_redis_is_real(redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.set("a", 1)
        assert client.get("a") == b"1"


async def test_the_streams_are_made_on_a_disk_smaller_than_all_of_them_may_become(open_folder: Path) -> None:
    with small_disk(open_folder / "disk", "64m") as disk, NatsServer(disk / "nats") as server:
        client = await nats.connect(server.url)
        await ensure_topology(client.jetstream())
        await client.jetstream().publish("tidemill.dead.demo", b"kept")
        await client.close()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_folder_of_another_user_is_told_with_that_user(open_folder: Path) -> None:
    run = open_folder / "data" / "run"
    lock = FolderLock(run)
    lock.take()
    with nobody(run):
        for look in (FolderLock(run).holder, FolderLock(run).take):
            with pytest.raises(FolderNotOurs, match=rf"belongs to {getpass.getuser()}: run this as"):
                look()
        settings = CommonSettings(data_dir=open_folder / "data")
        with pytest.raises(NothingRuns, match="belongs to"):
            Addresses.find(settings)
        elsewhere = CommonSettings(
            data_dir=open_folder / "data", nats_url="nats://a:1", database_url="postgresql://b@c/d"
        )
        assert Addresses.find(elsewhere).nats_url == "nats://a:1"
    lock.release()


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """As a user who may not look into the files of this folder."""
    folder.parent.parent.chmod(0o755)
    lock = folder / ".lock"
    lock.chmod(0)
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)
        lock.chmod(0o600)


def test_a_user_without_a_name_is_told_what_to_do() -> None:
    expect_name(os.getuid())
    with pytest.raises(ServerFailed, match="user 54321, who has no name"):
        expect_name(54321)


@pytest.mark.skipif(os.getuid() != 0, reason="only root opens folders")
def test_the_folders_that_were_opened_for_postgres_are_told(open_folder: Path) -> None:
    data = open_folder / "closed" / "data"
    data.mkdir(parents=True)
    data.parent.chmod(0o700)
    uid, _ = PostgresServer(data).owner()
    assert data.parent in open_the_way(data, uid)
    assert open_the_way(data, uid) == []
