"""Statements that take long are told of; addresses with TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from tidemill.common import database
from tidemill.common.telemetry.metrics import value

COUNTED = {"name": "tidemill_slow_statements_total", "service": "slow"}


async def test_a_slow_statement_is_counted_and_logged_without_what_was_asked_about(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SLOW_SECONDS", 0.2)
    engine = database.open_engine(database_url, application="tidemill-slow")
    try:
        with capture_logs() as logs:
            async with engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
                assert value(**COUNTED) == 0
                await connection.execute(text("SELECT pg_sleep(0.3),\n  CAST(:name AS text)"), {"name": "Eva"})
    finally:
        await engine.dispose()
    assert value(**COUNTED) == 1
    (told,) = [line for line in logs if line["event"] == "slow statement"]
    assert told["sql"].startswith("SELECT pg_sleep(0.3), CAST(") and "Eva" not in str(told)
    assert told["seconds"] >= 0.3


async def test_a_statement_that_is_given_up_is_told_of_too(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SLOW_SECONDS", 0.2)
    engine = database.open_engine(database_url, application="tidemill-endless", statement_seconds=1)
    try:
        with capture_logs() as logs:
            async with engine.connect() as connection:
                with pytest.raises(TimeoutError):
                    await connection.execute(text("SELECT pg_sleep(60)"))
            async with engine.connect() as connection:
                with pytest.raises(DBAPIError):
                    await connection.execute(text("SELECT 1 / 0"))  # Wrong at once.
    finally:
        await engine.dispose()
    assert value(name="tidemill_slow_statements_total", service="endless") == 1
    (told,) = [line for line in logs if line["event"] == "slow statement"]
    assert told["sql"] == "SELECT pg_sleep(60)" and told["seconds"] >= 1


SSL_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")


@asynccontextmanager
async def behind_tls(database_url: str, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """A Postgres that takes TLS alone, as hosted ones do: that of the wheel was built without. Its address."""
    inner = make_url(database_url)
    folder, port = str(inner.query["host"]), inner.query.get("port", inner.port or 5432)

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(8) != SSL_REQUEST:
            writer.close()
            return
        writer.write(b"S")
        with suppress(OSError):  # A client that does not like the certificate.
            await writer.start_tls(tls)
            server = await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
            await asyncio.gather(pipe(reader, server[1]), pipe(server[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    outer = inner.set(host="localhost", port=server.sockets[0].getsockname()[1], query={})
    try:
        yield outer.render_as_string(hide_password=False)
    finally:
        server.close()


async def first(url: str) -> object:
    engine = database.open_engine(url)
    try:
        async with engine.connect() as connection:
            return await connection.scalar(text("SELECT 1"))
    finally:
        await engine.dispose()


async def test_an_address_may_ask_for_tls_as_libpq_does(
    database_url: str, tls: tuple[ssl.SSLContext, ssl.SSLContext], certificate_file: Path
) -> None:
    async with behind_tls(database_url, tls[0]) as url:
        verified = f"{url}?sslmode=verify-full&sslrootcert={certificate_file}"
        assert await first(f"{url}?sslmode=require") == 1
        assert await first(verified) == 1
        with pytest.raises(ssl.SSLCertVerificationError):
            await first(verified.replace("localhost", "127.0.0.1"))  # The certificate names another.
        with pytest.raises(DBAPIError):
            await first(f"{url}?sslmode=disable")
