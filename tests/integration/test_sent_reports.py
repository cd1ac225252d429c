"""Reports of runs are mailed once each, for who knows a mail by its Message-ID, though the reporter is killed."""

import asyncio
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.client import CommandFailed, open_client, request_command
from tidemill.common.database import open_engine
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.common.testing.receivers import Mailbox, open_mailbox
from tidemill.converter.main import SPEC as CONVERTER
from tidemill.reporter.main import SPEC as REPORTER
from tidemill.scheduler.main import SPEC as SCHEDULER

pytestmark = [pytest.mark.servers, pytest.mark.slow]

RUNS = 3
LONGEST_SECONDS = 60.0
RUN = """
INSERT INTO scheduler.runs (run, source, trigger, slot, state, requested_at, finished_at, items, new)
VALUES (:run, 'demo', 'schedule', :at, 'complete', :at, :at, 3, 3)
"""
CONFIG = """
channels:
  operators:
    mail: {{host: localhost, port: {port}, security: none, from: tidemill@example.org, to: [anna@example.org]}}
reporter:
  send:
    - {{report: run, to: [operators], attach: [csv]}}
"""


async def start(folder: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as file:
        return await asyncio.create_subprocess_exec(sys.executable, "-m", "tidemill.reporter", cwd=folder, stderr=file)


async def build(nats_url: str, run: str) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    async with open_client(nats_url) as client:
        while True:
            try:
                await request_command(client, "reporter", "build", {"about": run})
                return
            except CommandFailed:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)


async def mails(box: Mailbox, several: int) -> None:
    deadline = time.monotonic() + LONGEST_SECONDS
    while len(set(box.ids)) < several:
        assert time.monotonic() < deadline, box.ids
        await asyncio.sleep(0.02)


async def state(engine: AsyncEngine, query: str) -> list[tuple[object, ...]]:
    async with engine.begin() as tx:
        found = await tx.execute(text(query))
        return [tuple(row) for row in found.all()] if found.returns_rows else []


@pytest.mark.long
async def test_each_report_is_mailed_once_though_the_reporter_is_killed(
    new_database: NewDatabase, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(SCHEDULER, CONVERTER, REPORTER)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("NATS_URL", nats_url)
    (tmp_path / "sources").mkdir()
    engine, runs = open_engine(url), [f"demo-{number}" for number in range(RUNS)]
    async with engine.begin() as tx:
        await tx.execute(text(RUN), [{"run": run, "at": datetime.now(UTC)} for run in runs])
    async with open_mailbox() as box:
        (tmp_path / "tidemill.yaml").write_text(CONFIG.format(port=box.port))
        box.slow = 0.3
        process = await start(tmp_path, tmp_path / "log")
        for run in runs:
            await build(nats_url, run)
        await mails(box, 1)
        process.kill()
        await process.wait()
        # A minute later: what the dead process had in hand is anybody's.
        await state(engine, "UPDATE reporter.deliveries SET due_at = now() WHERE state = 'waiting'")
        process = await start(tmp_path, tmp_path / "log")
        await mails(box, RUNS)
        deadline = time.monotonic() + LONGEST_SECONDS
        while await state(engine, "SELECT state FROM reporter.deliveries WHERE state <> 'delivered'"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        process.terminate()
        assert await process.wait() == 0
    cut_off = await state(engine, "SELECT delivery FROM reporter.delivery_attempts WHERE verdict = 'cut_off'")
    sent = await state(engine, "SELECT message, state FROM reporter.deliveries ORDER BY 1")
    handed = await state(engine, "SELECT DISTINCT state FROM reporter.sendings")
    await engine.dispose()
    assert sent == [(f"report/run/{run}/1", "delivered") for run in runs] and handed == [("handed_over",)]
    times = Counter(box.ids)
    assert len(times) == RUNS and sum(count - 1 for count in times.values()) <= len(cut_off)
    for mail in box.mails:
        assert [part.get_content_type() for part in mail.iter_attachments()] == ["application/zip"]
