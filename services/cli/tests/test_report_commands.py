"""`tidemill report`, with a reporter that runs."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from tidemill.cli.main import app
from tidemill.cli.running import program
from tidemill.common.database import open_engine
from tidemill.common.testing.fixtures import NewDatabase, run
from tidemill.converter.main import SPEC as CONVERTER
from tidemill.reporter.main import SPEC as REPORTER
from tidemill.reporter.report import Missing, Report, SourceChanges, Trust
from tidemill.reporter.store import insert_report
from tidemill.reporter.table import ColumnOf, Table
from tidemill.scheduler.main import SPEC as SCHEDULER

from .conftest import eventually

pytestmark = pytest.mark.servers

CLI = CliRunner()
RUN = """
INSERT INTO scheduler.runs (run, source, trigger, slot, state, requested_at, finished_at, items, new)
VALUES ('demo-1', 'demo', 'schedule', :at, 'complete', :at, :at, 3, 3)
"""
CITIES = Table(
    title="Property listings by city",
    columns=(ColumnOf(name="city", title="City"), ColumnOf(name="records", title="Records", type="integer")),
    rows=tuple((f"City {n}", 1000 * n) for n in range(30)),
)


def report(day: date, edition: int = 1, verdict: str = "trusted") -> Report:
    return Report(
        kind="day",
        subject=day.isoformat(),
        day=day,
        zone="UTC",
        edition=edition,
        made_from=str(edition),
        summary=f"1 source in 1 run: {edition} new.",
        complete=verdict == "trusted",
        missing=() if verdict == "trusted" else (Missing(source="lost", why="slot 06:00 was skipped: paused"),),
        changes=(SourceChanges(source="demo", runs=1, state="complete", new=edition),),
        breakdowns=(CITIES,),
        trust=Trust(verdict=verdict, reasons=() if verdict == "trusted" else ("lost did not run.",)),  # type: ignore[arg-type]
    )


@pytest.fixture
def database(new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    url = new_database(SCHEDULER, CONVERTER, REPORTER)
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sources").mkdir()
    return url


async def put(url: str, *reports: Report) -> None:
    engine = open_engine(url)
    async with engine.begin() as tx:
        for one in reports:
            await insert_report(tx, one, "")
    await engine.dispose()


def told(*words: str, code: int = 0) -> str:
    result = CLI.invoke(app, ["report", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_reports_are_listed_and_shown(database: str, tmp_path: Path) -> None:
    assert "no reports" in told("list")
    monday = date(2026, 3, 2)
    run(put(database, report(monday, verdict="untrusted"), report(monday, 2), report(monday + timedelta(days=1))))
    listed = told("list").splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["2026-03-03", "2026-03-02"]
    assert len(told("list", "--editions", "--since", "2026-03-02", "--kind", "day").splitlines()) == 4
    (newest,) = json.loads(told("list", "--limit", "1", "-o", "json"))
    assert (newest["subject"], newest["verdict"]) == ("2026-03-03", "trusted")
    shown = told("show")
    assert shown.startswith("2026-03-03: trusted\n1 source in 1 run: 1 new.\n")
    assert "City 19" in shown and "City 20" not in shown and "10 more rows: --rows" in shown and "19,000" in shown
    first = told("show", "2026-03-02", "--edition", "1")
    assert "untrusted" in first and "slot 06:00 was skipped: paused" in first
    assert "edition 2 (corrected)" in told("show", "2026-03-02")


def test_a_report_is_had_in_every_form(database: str, tmp_path: Path) -> None:
    kept = report(date(2026, 3, 2))
    run(put(database, kept))
    assert told("show", "2026-03-02", "-o", "json").encode() == kept.canonical_json() + b"\n"
    told("show", "-o", "xlsx", "--out", "r.xlsx")
    assert (tmp_path / "r.xlsx").read_bytes().startswith(b"PK")
    told("show", "-o", "csv")
    assert (tmp_path / "tidemill-day-2026-03-02.zip").read_bytes().startswith(b"PK")


@pytest.mark.long
def test_all_forms_are_written_as_files_and_shown_with_where_they_are(database: str, tmp_path: Path) -> None:
    kept = report(date(2026, 3, 2))
    run(put(database, kept))
    assert "As files: `tidemill report files 2026-03-02`" in told("show").replace(program(), "tidemill")
    written = told("files").splitlines()
    assert [Path(name).suffix for name in written] == [".json", ".html", ".pdf", ".xlsx", ".zip", ".eml"]
    assert written[0] == "data/reports/day-2026-03-02/tidemill-day-2026-03-02.json"
    begins = (b"{", b"<!doctype html>", b"%PDF", b"PK", b"PK", b"Subject:")
    for name, begin in zip(written, begins, strict=True):
        assert (tmp_path / name).read_bytes()[:20].lower().startswith(begin.lower())
    assert (tmp_path / written[0]).read_bytes() == kept.canonical_json()
    assert told("show").splitlines()[-6:] == written
    assert "data/reports/day-2026-03-02/" in told("list")
    assert json.loads(told("list", "-o", "json"))[0]["files"] == written
    told("files", "2026-03-02", "--to", "elsewhere")
    assert len(list((tmp_path / "elsewhere").iterdir())) == 6


def test_what_is_not_there_is_told_with_what_is(database: str) -> None:
    run(put(database, report(date(2026, 3, 2))))
    assert "there is no report of 2026-03-09; there are: 2026-03-02" in told("show", "2026-03-09", code=1)
    assert "not of 'week'" in told("list", "--kind", "week", code=1)
    assert "is no day" in told("list", "--since", "yesterday", code=2)


@pytest.fixture
def reporter(database: str, nats_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NATS_URL", nats_url)
    process = subprocess.Popen([sys.executable, "-m", "tidemill.reporter"], env=dict(os.environ))
    yield
    process.terminate()
    assert process.wait(30) == 0


def test_a_report_is_built_when_somebody_asks(database: str, reporter: None) -> None:
    async def finish() -> None:
        engine = open_engine(database)
        async with engine.begin() as tx:
            await tx.execute(text(RUN), {"at": datetime.now(UTC)})
        await engine.dispose()

    run(finish())
    today = datetime.now(UTC).date().isoformat()
    eventually(lambda: f"the report on {today} is made, edition 1" in told("build", "today"))
    shown = told("show", "today")
    assert "1 source in 1 run: 3 new, 0 changed, 0 gone; the day is not over, this is as of " in shown
    again = json.loads(told("build", today, "-o", "json"))
    assert (again["kind"], again["about"], again["edition"]) == ("day", today, 2)
    assert f"{today}, edition 2: doubtful" in told("show", today)
    assert "edition 1" in told("build", "demo-1")
    assert "neither a day" in told("build", "demo-2", code=1)
    assert "has not begun" in told("build", "2999-01-01", code=1)


@pytest.fixture
def channels(tmp_path: Path) -> None:
    """One that nobody answers at."""
    (tmp_path / "tidemill.yaml").write_text(
        "channels:\n  operators:\n    mail: {host: 127.0.0.1, port: 1, security: none, from: a@example.org,"
        " to: [anna@example.org]}\n    give_up_after: 1s\n"
        "reporter:\n  send:\n    - {to: [operators], when: if_unusual}\n"
    )


@pytest.mark.long
def test_a_report_is_sent_when_somebody_asks_and_what_became_of_it_is_shown(
    database: str, channels: None, reporter: None
) -> None:
    run(put(database, report(date(2026, 3, 2))))
    eventually(lambda: "no channel operator; did you mean operators?" in told("send", "--to", "operator", code=1))
    sent = told("send", "2026-03-02", "--recipient", "bela@example.org")
    assert "the report on day 2026-03-02, edition 1 goes to:\n  operators: bela@example.org\n" in sent
    eventually(lambda: "1 given up" in told("list"))
    shown = told("show", "2026-03-02")
    assert "operators: bela@example.org" in shown and "given up" in shown and "exhausted; ConnectionRefused" in shown
    (one,) = json.loads(told("list", "-o", "json"))
    assert [(each["recipient"], each["state"]) for each in one["sent"]] == [("bela@example.org", "given_up")]
    again = json.loads(told("send", "--again-failed", "-o", "json"))
    assert [each["recipient"] for each in again["again"]] == ["bela@example.org"]
    eventually(lambda: "tried again" in told("send", "2026-03-02", "--again-failed"))
    assert "nothing was given up" in told("send", "2026-03-03", "--again-failed")
    assert "leave out --attach" in told("send", "--again-failed", "--attach", "pdf", code=1)
    audited = asyncio.run(rows(database, "SELECT payload FROM reporter.outbox WHERE subject LIKE '%command%' LIMIT 1"))
    assert b"report.send" in bytes(audited[0][0])
    lost = asyncio.run(
        rows(database, "SELECT payload FROM reporter.outbox WHERE subject LIKE '%report.undelivered.day'")
    )
    assert b"bela@example.org" in bytes(lost[0][0])


async def rows(url: str, query: str) -> Sequence[Any]:
    engine = open_engine(url)
    async with engine.connect() as connection:
        found = (await connection.execute(text(query))).all()
    await engine.dispose()
    return found
