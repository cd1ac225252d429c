"""`tidemill validate`: a source's gate. Ten pages end to end, then a hundred with a scraper killed, then the whole."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import SCHEDULER, said
from tidemill.cli.reading import database_url, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, addresses, fail, read_config
from tidemill.cli.tables import Column, print_table
from tidemill.cli.validate_marks import Found, Mark, judge

if TYPE_CHECKING:
    from tidemill.common.config.sources import SourceFile

LOOK_SECONDS = 0.5
AGAIN_SECONDS = 2.0
"""When a run of the source is under way."""
KILL_AFTER_SHARE = 0.2
"""Of the pages: then one scraper is killed."""


class Stage(StrEnum):
    TEN = "10"
    HUNDRED = "100"
    FULL = "full"


REPLICAS = {Stage.TEN: 1, Stage.HUNDRED: 3, Stage.FULL: 2}


def register(app: typer.Typer) -> None:
    app.command("validate")(validate)


def validate(
    name: Annotated[str, typer.Argument(metavar="SOURCE", help="A source that scrapes.")],
    stage: Annotated[Stage, typer.Option("--step", help="10 pages, 100 pages with a scraper killed, or all.")],
    within: Annotated[str, typer.Option(help="How long the run may take.")] = "1h",
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Run a source as a test, and say whether it passes: fields, records, footprints, duplicates, politeness, memory.

    Needs a running Tidemill, whose data it uses: pages are asked for again whether they are fresh or not, and nothing
    is called gone but by the whole. Scrapers of its own join those that run. Exit status 1 when a mark is missed.
    """
    from tidemill.cli.source import find_source, read_sources
    from tidemill.common.config.units import parse_duration

    source = find_source(read_sources(assignments), name)
    if source.scrape is None:
        fail(f"{name} scrapes no pages; `tidemill run {name} --wait` shows how its runs end")
    try:
        seconds = parse_duration(within).total_seconds()
    except ValueError as error:
        fail(f"--within: {error}")
    url, deadline = database_url(assignments), time.monotonic() + seconds
    with Replicas.started(REPLICAS[stage], assignments or ()) as replicas:
        run = _begin(name, stage, assignments, deadline)
        typer.echo(f"{run} with {len(replicas.processes)} scrapers of our own beside those that run …", err=True)
        asyncio.run(_follow(url, run, stage, replicas, deadline))
    found = asyncio.run(_look(url, run, source, replicas, stage))
    marks = judge(found)
    if output is Output.JSON:
        shown = [{"mark": one.name, "wanted": one.wanted, "found": one.found, "passed": one.passed} for one in marks]
        typer.echo(json.dumps({"run": run, "step": stage.value, "marks": shown}, indent=2, ensure_ascii=False))
    else:
        _print(run, marks)
    raise typer.Exit(1 if any(one.passed is False for one in marks) else 0)


def _begin(name: str, stage: Stage, assignments: list[str] | None, deadline: float) -> str:
    """Its id; waits for a run of the source that is under way."""
    from tidemill.common.bus.client import CommandFailed, open_client, request_command

    url = addresses(read_config(assignments)).nats_url
    params = {"full": "true"} | ({} if stage is Stage.FULL else {"limit": stage.value})
    parameters = said(source=name, params=params, reason=f"validate --step {stage.value}")

    async def asked() -> str:
        async with open_client(url) as client:
            while True:
                try:
                    return str((await request_command(client, SCHEDULER, "run", parameters))["run"])
                except CommandFailed as failed:
                    if "under way" not in str(failed) or time.monotonic() > deadline:
                        raise
                await asyncio.sleep(AGAIN_SECONDS)

    try:
        return asyncio.run(asked())
    except CommandFailed as failed:
        fail(str(failed))


@dataclass
class Replicas:
    """Scrapers of our own, and the most memory that one of them took."""

    processes: list[subprocess.Popen[bytes]]
    most_bytes: int = 0
    killed: int = 0

    @classmethod
    @contextmanager
    def started(cls, count: int, assignments: Sequence[str]) -> Iterator[Replicas]:
        """In this folder, as `tidemill run-service scraper` starts them; they end with us."""
        command = [sys.executable, "-m", "tidemill.scraper", *assignments]
        with ExitStack() as stack:
            log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-validate-"))) / "scrapers.log"
            file = stack.enter_context(log.open("ab"))
            processes = [subprocess.Popen(command, stdout=file, stderr=file) for _ in range(count)]
            try:
                time.sleep(1)
                if any(process.poll() is not None for process in processes):
                    fail(f"a scraper did not start:\n{log.read_text()[-2000:]}")
                yield cls(processes)
            finally:
                for process in processes:
                    process.terminate()
                for process in processes:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(20)
                    process.kill()

    def measure(self) -> None:
        import psutil

        for process in self.processes:
            with suppress(psutil.Error):
                self.most_bytes = max(self.most_bytes, psutil.Process(process.pid).memory_info().rss)

    def kill_one(self) -> None:
        """As an operating system does it that has no memory left."""
        self.processes[0].kill()
        self.processes[0].wait()
        self.killed += 1


DONE = """
SELECT count(*) FILTER (WHERE j.state = 'done') AS done, count(*) AS planned,
    (SELECT finished_at IS NOT NULL FROM scheduler.runs WHERE run = :run) AS ended
FROM scraper.jobs j WHERE j.run = :run AND j.kind = 'target'
"""


async def _follow(url: str, run: str, stage: Stage, replicas: Replicas, deadline: float) -> None:
    """Until the run has ended; meanwhile one scraper is killed, where the step says so."""
    from sqlalchemy import text

    async with open_store(url) as connection:
        while True:
            replicas.measure()
            row = (await connection.execute(text(DONE), {"run": run})).one()
            await connection.rollback()
            if row.ended:
                return
            if stage is Stage.HUNDRED and not replicas.killed and row.done >= max(1, row.planned * KILL_AFTER_SHARE):
                replicas.kill_one()
            if time.monotonic() > deadline:
                fail(f"{run} has not ended in time (--within); `tidemill runs show {run}` says where it is")
            await asyncio.sleep(LOOK_SECONDS)


LEDGER = """
SELECT state, reason, items, new, changed, reappeared, unchanged, gone, failed FROM scheduler.runs WHERE run = :run
"""
JOBS = """
SELECT count(*) AS asked, count(*) FILTER (WHERE outcome IS NULL) AS without_outcome,
    count(*) FILTER (WHERE outcome = 'failed') AS failed,
    (SELECT known FROM scraper.runs WHERE run = :run) AS known,
    (SELECT held FROM scraper.runs WHERE run = :run) AS held,
    (SELECT count(*) FROM scraper.decisions WHERE run = :run) AS decided,
    (SELECT count(*) FROM scraper.decisions WHERE run = :run AND decision = 'over_budget') AS over_budget
FROM scraper.jobs WHERE run = :run AND kind = 'target'
"""
FAILURES = """
SELECT failure, count(*) FROM scraper.jobs WHERE run = :run AND kind = 'target' AND outcome = 'failed'
GROUP BY 1 ORDER BY 2 DESC
"""
PAGES = """
SELECT DISTINCT ON (item) state, detail, fields FROM scraper.pages
WHERE run = :run AND kind = 'target' AND (fields IS NOT NULL OR state = 'incomplete') ORDER BY item, id DESC
"""
RATE = """
SELECT coalesce(max(n), 0) FROM (
    SELECT count(*) OVER (PARTITION BY split_part(url, '/', 3) ORDER BY fetched_at
        RANGE BETWEEN INTERVAL '10 seconds' PRECEDING AND CURRENT ROW) AS n
    FROM scraper.pages WHERE run = :run
) windows
"""
UNCONVERTED = """
SELECT count(*) FROM scraper.jobs j JOIN scraper.targets t ON t.id = j.target
WHERE j.run = :run AND j.outcome IN ('new', 'changed', 'reappeared', 'unchanged') AND NOT EXISTS (
    SELECT 1 FROM converter.documents d JOIN converter.sightings s ON s.document = d.id
    WHERE d.source = t.source AND d.path = t.path AND d.superseded_by IS NULL)
"""
DOUBLED = """
SELECT count(*) FROM (
    SELECT v.record, v.valid_from FROM converter.versions v JOIN converter.documents d ON d.id = v.document
    WHERE d.source = :source AND v.recorded_to IS NULL GROUP BY v.dataset, v.record, v.valid_from HAVING count(*) > 1
) twice
"""
REJECTED = """
SELECT r.reason || ': ' || r.detail FROM converter.rejected r JOIN converter.documents d ON d.id = r.document
WHERE d.run = :run LIMIT 1
"""
FOOTPRINTS = """
SELECT count(*) FILTER (WHERE footprint IN ('inside', 'near')) AS matched, count(footprint) AS checked
FROM listings.listing WHERE source = :source
"""


async def _look(url: str, run: str, source: SourceFile, replicas: Replicas, stage: Stage) -> Found:
    """What the tables say of the run."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    given: dict[str, Any] = {"run": run, "source": source.source}
    async with open_store(url) as connection:

        async def rows(statement: str) -> Sequence[Any]:
            return (await connection.execute(text(statement), given)).all()

        ledger, jobs = (await rows(LEDGER))[0], (await rows(JOBS))[0]
        try:
            matched, checked = (await rows(FOOTPRINTS))[0]
        except DBAPIError:  # No listings here, or none that are placed.
            await connection.rollback()
            matched = checked = 0
        rejected = await rows(REJECTED)
        pages = [(page.state, page.detail, tuple(page.fields or ())) for page in await rows(PAGES)]
        return Found(
            source=source,
            limit=None if stage is Stage.FULL else int(stage.value),
            state=ledger.state,
            reason=ledger.reason,
            counts={name: getattr(ledger, name) for name in ledger._fields[2:]},
            asked=jobs.asked,
            without_outcome=jobs.without_outcome,
            failures={row[0] or "": row[1] for row in await rows(FAILURES)},
            known=jobs.known or 0,
            decided=jobs.decided,
            left_to_ask=jobs.asked + jobs.over_budget,
            held=jobs.held or "",
            pages=pages,
            unconverted=(await rows(UNCONVERTED))[0][0],
            doubled=(await rows(DOUBLED))[0][0],
            rejected=rejected[0][0] if rejected else "",
            matched=matched,
            checked=checked,
            most_in_ten_seconds=(await rows(RATE))[0][0],
            most_bytes=replicas.most_bytes,
            killed=replicas.killed,
            kills_wanted=1 if stage is Stage.HUNDRED else 0,
        )


def _print(run: str, marks: Sequence[Mark]) -> None:
    words = {True: "ok", False: "MISSED", None: "-"}
    rows = [[words[one.passed], one.name, one.wanted, one.found] for one in marks]
    columns = [Column(""), Column("mark", whole=True), Column("wanted", most=60), Column("found", most=110)]
    alarming = [number for number, one in enumerate(marks) if one.passed is False]
    print_table(columns, rows, ("", "mark", "found", "wanted"), alarming=alarming)
    missed = [one.name for one in marks if one.passed is False]
    typer.echo(f"\n{run}: " + (f"missed: {', '.join(missed)}" if missed else "passed"))
