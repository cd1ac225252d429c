"""Statements that take long are told of."""

import pytest
from sqlalchemy import text
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
