"""Statements that take long are told of."""

import pytest
from sqlalchemy import text
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
