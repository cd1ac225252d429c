"""`tidemill documents`: whatever came is there, with what became of it and why."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from sqlalchemy import Table, insert
from sqlalchemy.ext.asyncio import AsyncConnection
from typer.testing import CliRunner, Result

from tidemill.cli import documents
from tidemill.cli.status import Came, look_into
from tidemill.common.database import open_engine
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.converter.tables import batches, rejected
from tidemill.converter.tables import bus as converter_bus
from tidemill.converter.tables import documents as conversions
from tidemill.converter.tables import metadata as converter_tables
from tidemill.watcher.tables import documents as taken
from tidemill.watcher.tables import files, refusals
from tidemill.watcher.tables import metadata as watcher_tables

pytestmark = pytest.mark.servers

SERVICES = {
    "converter": SimpleNamespace(
        name="converter", metadata=converter_tables, migrations="tidemill.converter.migrations"
    ),
    "watcher": SimpleNamespace(name="watcher", metadata=watcher_tables, migrations="tidemill.watcher.migrations"),
}
FIRST = datetime(2025, 6, 17, 8, 0, tzinfo=UTC)
PROGRAM = "import typer\nfrom tidemill.cli.documents import register\napp = typer.Typer()\nregister(app)\napp()"


def sha256(number: int) -> str:
    return f"{number:x}" * 64


def came(number: int) -> datetime:
    return FIRST + timedelta(hours=number)


async def take(tx: AsyncConnection, number: int, name: str, outcome: str = "stored", of: int | None = None) -> None:
    """The watcher had the file in its hands."""
    content, run = sha256(of or number), f"run-{number}"
    common = {"source": "paper", "sha256": content, "run": run}
    if outcome == "stored":
        await tx.execute(insert(taken).values(**common, name=name, received_at=came(number)))
    await tx.execute(
        insert(files).values(**common, path=f"in/{name}", look=str(number), outcome=outcome, seen_at=came(number))
    )


async def convert(
    tx: AsyncConnection, number: int, name: str, outcome: str | None, reason: str = "", source: str = "paper"
) -> int:
    statement = insert(conversions).values(
        source=source,
        sha256=sha256(number),
        run=f"run-{number}",
        converter="c",
        converter_version="1",
        name=name,
        size_bytes=number,
        received_at=came(number),
        outcome=outcome,
        reason=reason,
    )
    return int((await tx.execute(statement.returning(conversions.c.id))).scalar_one())


async def bury(tx: AsyncConnection, number: int, error: str) -> None:
    letters: Table = converter_bus.dead_letters
    values = {"consumer": "converter-lo", "event_id": "e", "origin_id": "e", "source": "paper", "subject": "s"}
    await tx.execute(
        insert(letters).values(
            **values,
            payload=b"{}",
            headers={"Tidemill-Run": f"run-{number}"},
            reason="exhausted",
            error=error,
            attempts=6,
        )
    )


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NATS_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def seven(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> str:
    """One document of each fate, an hour between them."""
    database_url = new_database(*SERVICES.values())
    engine = open_engine(database_url)
    async with engine.begin() as tx:
        for number, name in ((1, "good.pdf"), (2, "scan.pdf"), (3, "cut.pdf"), (5, "deep.pdf"), (6, "new.pdf")):
            await take(tx, number, name)
        good = await convert(tx, 1, "good.pdf", "converted")
        for part in (0, 1):
            counts = {"new": 600, "changed": 1, "unchanged": 2, "history": 3}
            await tx.execute(insert(batches).values(document=good, part=part, dataset="d.e", **counts))
        await tx.execute(
            insert(rejected).values(document=good, part=0, ordinal=0, reason="no_time", detail="", raw="x")
        )
        await convert(tx, 2, "scan.pdf", "scanned", "No text layer: the pages are pictures.")
        await convert(tx, 3, "cut.pdf", "incomplete", "Page 2 of 3: blank.")
        await take(tx, 4, "again.pdf", "duplicate", of=1)
        await bury(tx, 5, "RuntimeError: too deep\nand more")
        values = {"source": "paper", "path": "in/nothing.pdf", "look": "7", "run": "run-7"}
        await tx.execute(
            insert(refusals).values(**values, reason="empty", detail="empty file (0 bytes)", refused_at=came(7))
        )
    await engine.dispose()
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


def run(*words: str) -> Result:
    app = typer.Typer()
    documents.register(app)
    result = CliRunner().invoke(app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


async def listed(*words: str) -> list[dict[str, Any]]:
    result = await asyncio.to_thread(run, *words, "-o", "json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


async def test_every_document_is_listed_with_its_fate_the_newest_first(seven: str) -> None:
    found = await listed()
    assert [(each["name"], each["outcome"], each["reason"]) for each in found] == [
        ("nothing.pdf", "empty", "empty file (0 bytes)"),
        ("new.pdf", "stored", ""),
        ("deep.pdf", "failed", "dead letter converter:1: RuntimeError: too deep"),
        ("again.pdf", "duplicate", "the same bytes as good.pdf"),
        ("cut.pdf", "incomplete", "Page 2 of 3: blank."),
        ("scan.pdf", "scanned", "No text layer: the pages are pictures."),
        ("good.pdf", "converted", ""),
    ]
    assert [each["records"] for each in found] == [None, None, None, None, 0, 0, 1212]
    assert [each["rejected"] for each in found][-1] == 1
    assert found[-1]["sha256"] == sha256(1)
    assert found[-1]["received_at"] == "2025-06-17T09:00:00+00:00"
    lines = (await asyncio.to_thread(run, "-o", "jsonl")).stdout.splitlines()
    assert [json.loads(line) for line in lines] == found


async def test_the_list_is_narrowed_by_source_outcome_and_time(seven: str) -> None:
    async def names(*words: str) -> list[str]:
        return [each["name"] for each in await listed(*words)]

    assert await names("--outcome", "refused") == ["nothing.pdf", "scan.pdf"]
    assert await names("--outcome", "scanned") == ["scan.pdf"]
    assert await names("--outcome", "failed", "--source", "paper") == ["deep.pdf"]
    assert await names("--source", "other") == []
    assert await names("--since", "2025-06-17T14:00") == ["nothing.pdf", "new.pdf"]
    assert await names("--limit", "1") == ["nothing.pdf"]


async def test_a_person_sees_the_reason_below_each_line(seven: str) -> None:
    shown = (await asyncio.to_thread(run)).stdout
    lines = shown.splitlines()
    assert lines[0].split() == ["received", "(UTC)", "source", "name", "outcome", "records", "rejected", "sha256"]
    assert lines[1].split() == ["2025-06-17", "15:00", "paper", "nothing.pdf", "empty"]
    assert lines[2] == "  empty file (0 bytes)"
    assert "1,212         1  111111111111" in shown
    assert lines[-1].startswith("7 documents: 1 empty, 1 stored")
    assert "1 document (at most 1; --limit shows more)" in (await asyncio.to_thread(run, "--limit", "1")).stdout


async def test_at_80_columns_nothing_is_folded(seven: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = (await asyncio.to_thread(run)).stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80
    assert sum(line.startswith("2025-06-17") for line in lines) == 7


async def test_an_outcome_that_there_is_not_is_answered_with_those_there_are(seven: str) -> None:
    assert (await asyncio.to_thread(run, "--outcome", "ambiguous")).stdout == "no documents\n"
    wrong = await asyncio.to_thread(run, "--outcome", "scaned")
    assert wrong.exit_code == 1
    assert "no document has the outcome 'scaned'; outcomes are refused, converted" in wrong.stderr
    assert "scanned" in wrong.stderr


async def test_status_counts_what_became_of_the_documents_of_each_source(seven: str) -> None:
    engine = open_engine(seven)
    async with engine.begin() as tx:
        await convert(tx, 1, "good.pdf", "scanned", source="other")
        await convert(tx, 2, "begun.pdf", None, source="other")
    await engine.dispose()
    found = await look_into(seven)
    assert found.sources == [
        Came("other", 2, 0, 0, 1, "2025-06-17T10:00:00+00:00"),
        Came("paper", 4, 1, 1, 2, "2025-06-17T15:00:00+00:00"),
    ]
    assert [(store.schema, store.dead_letters) for store in found.stores] == [("converter", 1), ("watcher", 0)]


async def test_without_a_watcher_conversions_are_listed(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_database(SERVICES["converter"])
    monkeypatch.setenv("DATABASE_URL", database_url)
    engine = open_engine(database_url)
    async with engine.begin() as tx:
        await convert(tx, 1, "begun.pdf", None)
    await engine.dispose()
    assert [(each["name"], each["outcome"]) for each in await listed()] == [("begun.pdf", "converting")]


@pytest.mark.long
async def test_a_reader_that_has_seen_enough_is_no_failure(
    new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database_url = new_database(SERVICES["converter"])
    monkeypatch.setenv("DATABASE_URL", database_url)
    engine = open_engine(database_url)
    async with engine.begin() as tx:
        for number in range(1, 600):
            await convert(tx, number, "x" * 1000, "scanned", "y" * 1000)
    await engine.dispose()

    def leave_early() -> tuple[int, bytes]:
        command = [sys.executable, "-c", PROGRAM, "-o", "jsonl"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as listing:
            assert listing.stdout
            assert listing.stderr
            listing.stdout.readline()
            listing.stdout.close()
            said = listing.stderr.read()
        return listing.returncode, said

    assert await asyncio.to_thread(leave_early) == (0, b"")
