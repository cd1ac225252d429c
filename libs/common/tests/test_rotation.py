"""Passwords are replaced while services run: none has to be started anew."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from sqlalchemy import text

from tidemill.common.bus.connection import Connection
from tidemill.common.database import open_engine
from tidemill.common.servers import NatsServer, PostgresServer
from tidemill.common.telemetry.metrics import Metrics

pytestmark = [pytest.mark.servers]

USERS = 'authorization {{ users: [{{user: "service", password: "{0}"}}] }}\n'
WITHIN_SECONDS = 30


async def test_a_new_password_of_postgres_counts_for_the_next_connection(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("the first one\n")
    address = postgres_server.tcp_url.rpartition("@")[2]
    owner = open_engine(postgres_server.url, pool=1)
    service = open_engine(f"postgresql://rotated:${{file:{password}}}@{address}", pool=1)

    async def run(statement: str) -> None:
        async with owner.begin() as connection:
            await connection.execute(text(statement))

    async def user() -> str:
        async with service.connect() as connection:
            return str(await connection.scalar(text("SELECT current_user")))

    await run("CREATE ROLE rotated LOGIN PASSWORD 'the first one'")
    try:
        assert await user() == "rotated"
        await run("ALTER ROLE rotated PASSWORD 'the second one'")
        assert await user() == "rotated"  # What is connected stays so.
        await service.dispose()
        with pytest.raises(Exception, match="password authentication failed"):
            await user()
        password.write_text("the second one\n")
        assert await user() == "rotated"
    finally:
        await service.dispose()
        await run("DROP ROLE rotated")
        await owner.dispose()


@pytest.mark.parametrize("file_first", [True, False])
async def test_a_new_password_of_nats_is_used_after_the_server_has_it(tmp_path: Path, file_first: bool) -> None:
    password = tmp_path / "password"
    password.write_text("hunter-first")
    server = NatsServer(tmp_path / "nats", config=USERS.format("hunter-first"))
    server.start()
    connection = Connection(
        f"nats://service:${{file:{password}}}@127.0.0.1:{server.port}", "rotating", Metrics("rotating")
    )
    keeping = asyncio.create_task(connection.keep())
    try:
        async with asyncio.timeout(WITHIN_SECONDS):
            await connection.wait_connected()
            before = connection.epoch
            if file_first:
                password.write_text("hunter-second")
            replace_password(server, "hunter-second")
            if not file_first:
                while connection.connected:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(0.5)  # Some attempts are refused meanwhile.
                password.write_text("hunter-second")
            while not (connection.connected and connection.epoch > before):
                await asyncio.sleep(0.05)
            await connection.js.account_info()
    finally:
        keeping.cancel()
        await connection.close()
        server.stop()


def replace_password(server: NatsServer, password: str) -> None:
    """As an operator does: the configuration, and a signal to read it."""
    file = server.folder / "nats.conf"
    file.write_text(file.read_text().replace('"hunter-first"', f'"{password}"'))
    assert server.pid
    os.kill(server.pid, signal.SIGHUP)
