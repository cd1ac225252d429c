"""Counts of requests by source, host and day."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.config.politeness import Politeness
from tidemill.common.database import open_engine
from tidemill.common.http import Entry, Held, open_limits
from tidemill.common.http.ledger import RequestLedger, find_requests, restore_limits
from tidemill.common.http.pacing import terms_of
from tidemill.common.telemetry.metrics import Metrics
from tidemill.downloader.main import LAYERS
from tidemill.downloader.tables import requests

NOW = datetime.now(UTC)
REQUEST = Entry(source="paper", host="paper.example", at=NOW, day=NOW.date(), url="/", purpose="page", status=200)


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(database_url)
    yield engine
    await engine.dispose()


async def test_counts_of_several_processes_add_up(engine: AsyncEngine) -> None:
    one, other = RequestLedger(engine, requests), RequestLedger(engine, requests)
    later = NOW + timedelta(minutes=5)
    one.note(replace(REQUEST, bytes_received=10))
    one.note(replace(REQUEST, status=304, bytes_saved=7))
    other.note(replace(REQUEST, status=429, retry_after=later))
    other.note(replace(REQUEST, requests=0, status=None, robots="disallowed"))
    other.note(replace(REQUEST, host="other.example"))
    await one.write()
    await other.write()
    await other.write()
    rows = {row.host: row for row in await find_requests(engine, requests, date(2026, 1, 1))}
    counted = rows["paper.example"]
    assert (counted.requests, counted.bytes, counted.not_modified, counted.bytes_saved) == (3, 10, 1, 7)
    assert (counted.retry_after_obeyed, counted.robots_denials, counted.retry_after_until) == (1, 1, later)
    assert rows["other.example"].requests == 1


async def test_what_cannot_be_written_is_kept_for_the_next_time(engine: AsyncEngine) -> None:
    ledger = RequestLedger(engine, requests)
    ledger.note(REQUEST)
    async with engine.begin() as tx:
        await tx.execute(text("ALTER TABLE downloader.requests RENAME TO away"))
    await ledger.write()
    ledger.note(REQUEST)
    async with engine.begin() as tx:
        await tx.execute(text("ALTER TABLE downloader.away RENAME TO requests"))
    await ledger.write()
    (row,) = await find_requests(engine, requests, date(2026, 1, 1))
    assert row.requests == 2


async def test_limits_are_told_what_was_spent_before(engine: AsyncEngine) -> None:
    ledger = RequestLedger(engine, requests)
    for _ in range(3):
        ledger.note(REQUEST)
    ledger.note(replace(REQUEST, host="patient.example", retry_after=datetime.now(UTC) + timedelta(hours=1)))
    await ledger.write()
    limits = open_limits(None, Metrics("downloader"))
    await restore_limits(engine, requests, limits, NOW.date() - timedelta(days=1))
    terms = terms_of("paper", Politeness(rate="100/s", daily_budget=3))
    for host, reason in (("paper.example", "budget_spent"), ("patient.example", "not_before")):
        with pytest.raises(Held) as held:
            await limits.acquire(host, terms, wait=timedelta(0))
        assert held.value.reason == reason
    await limits.close()


async def test_old_counts_go_after_their_time(engine: AsyncEngine) -> None:
    ledger = RequestLedger(engine, requests)
    ledger.note(replace(REQUEST, day=date(2020, 1, 1)))
    ledger.note(REQUEST)
    await ledger.write()
    (layer,) = LAYERS
    async with engine.begin() as tx:
        going = await layer.find(tx, NOW - timedelta(days=1))
        assert (going.items, going.examples) == (1, ("paper paper.example 2020-01-01",))
        assert await layer.remove(tx, NOW - timedelta(days=1), 10) == 1
    assert len(await find_requests(engine, requests, date(2000, 1, 1))) == 1
