"""Events into the run ledger, in groups as the bus commits them; beside a commit an event, and a bare COPY."""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from tidemill.common.database import open_engine
from tidemill.common.events import DocumentConverted, DocumentStored, DocumentUnchanged, RunPlanned
from tidemill.common.migrations import migrate
from tidemill.common.servers import PostgresServer
from tidemill.scheduler.ledger import record_words
from tidemill.scheduler.main import SPEC
from tidemill.scheduler.words import Word, word_of_converted, word_of_plan, word_of_stored, word_of_unchanged

RUNS = 2_000
ITEMS = 20_000
PEER_EVENTS = 2_000
GROUP = 200
GOAL = 500
START = datetime(2026, 1, 1, tzinfo=UTC)


def run() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", ignore_cleanup_errors=True) as folder:
        return asyncio.run(measure(Path(folder)))


async def measure(folder: Path) -> list[dict[str, Any]]:
    with PostgresServer(folder) as server:
        await migrate(server.url, [SPEC])
        engine = open_engine(server.url)

        async def note(words: Sequence[Word]) -> None:
            for first in range(0, len(words), GROUP):
                async with engine.begin() as tx:
                    await record_words(tx, words[first : first + GROUP])

        files, large = words_of_files(), words_of_one_run()
        await note(large[:1])
        of_files = await rate(len(files), lambda: note(files))
        of_one = await rate(len(large) - 1, lambda: note(large[1:]))
        await engine.dispose()
        connection = await asyncpg.connect(server.url)
        try:
            peer = await rate(PEER_EVENTS, lambda: commit_each(connection))
            limit = await rate(ITEMS, lambda: copy_bare(connection))
        finally:
            await connection.close()
    return [
        row("run ledger, files as runs of one", of_files, peer, limit),
        row(f"run ledger, a run of {ITEMS:,} items", of_one, peer, limit),
    ]


def words_of_files() -> list[Word]:
    """Of each file: planned, stored, converted."""
    words = []
    for number in range(RUNS):
        run, item, at = f"paper-file-{number:016x}", f"{number}.pdf", START + timedelta(seconds=number)
        common = {"source": "paper", "run": run, "item": item, "sha256": f"{number:064x}", "name": item}
        converted = DocumentConverted(
            **common, converter="paper", converter_version="1", outcome="converted", converted_at=at
        )
        words += [
            word_of_plan(
                RunPlanned(source="paper", run=run, trigger="file", items=(item,), closed=True, total=1, planned_at=at)
            ),
            word_of_stored(DocumentStored(**common, received_at=at), converts=True),
            word_of_converted(converted),
        ]
    return words


def words_of_one_run() -> list[Word]:
    """Its plan, then an outcome for each item."""
    items = [f"https://example.org/{number}" for number in range(ITEMS)]
    plan = RunPlanned(
        source="site", run="site-1", trigger="manual", items=items, closed=True, total=ITEMS, planned_at=START
    )
    outcomes = [
        DocumentUnchanged(
            source="site", run="site-1", item=item, sha256="s", name="n", duplicate_of="n", received_at=START
        )
        for item in items
    ]
    return [word_of_plan(plan), *map(word_of_unchanged, outcomes)]


async def commit_each(connection: Any) -> None:
    """A ledger as most are: a row and a counter, in a transaction for each event."""
    await connection.execute("CREATE TABLE peer_runs (run text PRIMARY KEY, done int)")
    await connection.execute("CREATE TABLE peer_items (run text, item text, outcome text, PRIMARY KEY (run, item))")
    await connection.execute("INSERT INTO peer_runs VALUES ('r', 0)")
    for number in range(PEER_EVENTS):
        async with connection.transaction():
            await connection.execute("INSERT INTO peer_items VALUES ('r', $1, 'unchanged')", str(number))
            await connection.execute("UPDATE peer_runs SET done = done + 1 WHERE run = 'r'")


async def copy_bare(connection: Any) -> None:
    await connection.execute("CREATE TABLE bare (run text, item text, outcome text)")
    rows = [("r", str(number), "unchanged") for number in range(ITEMS)]
    await connection.copy_records_to_table("bare", records=rows)


async def rate(count: int, work: Callable[[], Awaitable[None]]) -> float:
    """Events per second."""
    started = time.perf_counter()
    await work()
    return count / (time.perf_counter() - started)


def row(name: str, ours: float, peer: float, limit: float) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours),
        "peer": f"{peer:,.0f} with a commit an event",
        "limit": round(limit),
        "unit": "events/s",
        "goal": f"≥ {GOAL:,}",
        "ok": ours >= GOAL,
        "lower_is_better": False,
    }
