"""From a day or a run to the facts of its report: one snapshot, read only."""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.config.sources import SourceFile
from tidemill.reporter.anomalies import Judgement
from tidemill.reporter.catalogue import OF_RUNS, Measure
from tidemill.reporter.days import Day, day_of, utc_now
from tidemill.reporter.facts import (
    OF_RUN,
    OF_SOURCES,
    SERIES,
    SERIES_DAYS,
    UNUSUAL,
    About,
    Facts,
    Row,
    fetch_asked,
    fetch_checks,
    fetch_datasets,
    fetch_errors,
    fetch_rows,
    fetch_run_ids,
    fetch_store,
    figures_by,
)
from tidemill.reporter.inputs import Inputs, Lack, fetch_inputs
from tidemill.reporter.measured import Measured, judged, without_severity
from tidemill.reporter.measuring import OFTEN, STATES, exists, fetch_past, levels
from tidemill.reporter.statements import Reported

SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
ROOM = text("SET LOCAL work_mem = '64MB'")
"""To sort a million records without a disk."""
RUN = text("""
SELECT run, source, state, reason, coalesce(slot, requested_at) AS at, requested_at, finished_at FROM scheduler.runs
WHERE run = :run
""")


class NothingToReport(Exception):
    """There is no such day or run yet; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """What does not change from report to report."""

    zone: ZoneInfo
    datasets: Sequence[Reported]
    known: Mapping[str, Measure]
    sources: Mapping[str, SourceFile] = field(default_factory=dict)
    exempt: Collection[str] = ()
    stale_after: timedelta = timedelta(days=8)
    now: Callable[[], datetime] = utc_now

    async def facts(self, engine: AsyncEngine, kind: str, subject: str) -> Facts:
        """Raises NothingToReport."""
        async with open_snapshot(engine) as connection:
            if not await exists(connection, "scheduler.runs"):
                raise NothingToReport("the scheduler has no tables yet: run `tidemill migrate`")
            if kind == "day":
                return await self._of_day(connection, Day(date.fromisoformat(subject), self.zone))
            return await self._of_run(connection, subject)

    async def _of_day(self, connection: AsyncConnection, day: Day) -> Facts:
        runs = await fetch_run_ids(connection, day.start, day.end)
        now = self.now().replace(microsecond=0)
        about = About(
            "day", day.day.isoformat(), day.day, day.zone, day.end, runs, as_of=now if now < day.end else None
        )
        inputs = await fetch_inputs(connection, day, self.sources, self.exempt, now)
        facts = await self._facts(connection, about, inputs)
        measured = [*_sums(facts), *_levels(facts)]
        return replace(facts, measured=await self._judged(connection, about, facts.sources, measured))

    async def _of_run(self, connection: AsyncConnection, name: str) -> Facts:
        row = (await connection.execute(RUN, {"run": name})).first()
        if row is None or row.finished_at is None:
            raise NothingToReport(f"there is no run {name!r} that has ended; `tidemill runs list` shows the last ones")
        day = day_of(row.at, self.zone)
        about = About("run", name, day, self.zone, row.finished_at, [name], row.source)
        why = f"it is {row.state}{f': {row.reason}' if row.reason else ''}"
        lacks = [] if row.state == "complete" else [Lack(row.source, why, settled=True)]
        facts = await self._facts(connection, about, Inputs({row.source: 1}, lacks))
        rows = await connection.execute(OF_RUN, {"run": name})
        return replace(facts, measured=[_measured(dict(each)) for each in rows.mappings()])

    async def _facts(self, connection: AsyncConnection, about: About, inputs: Inputs) -> Facts:
        sources = await fetch_rows(connection, OF_SOURCES, about)
        since = min((row["begun_at"] for row in sources), default=datetime.max.replace(tzinfo=UTC))
        datasets, names = await fetch_datasets(connection, about, self.datasets, since)
        run = about.subject if about.kind == "run" else ""
        return Facts(
            about=about,
            inputs=inputs,
            sources=sources,
            errors=await fetch_errors(connection, about),
            checks=await fetch_checks(connection, about),
            asked=await fetch_asked(connection, about),
            unusual=await fetch_rows(connection, UNUSUAL, about, run=run),
            series=await fetch_rows(connection, SERIES, about, since=about.day - timedelta(days=SERIES_DAYS)),
            datasets=datasets,
            names=names,
            stale_after=self.stale_after,
            exempt=self.exempt,
            **await fetch_store(connection, about),
        )

    async def _judged(
        self, connection: AsyncConnection, about: About, sources: Sequence[Row], measured: Sequence[Measured]
    ) -> list[Measured]:
        """By day; of sources whose runs were judged one by one the bands alone."""
        by_run = {row["source"] for row in sources if 0 < row["scheduled"] < OFTEN}
        found: list[Measured] = []
        for source in sorted({one.source for one in measured}):
            past = await fetch_past(connection, source, "day", about.day)
            several = judged([one for one in measured if one.source == source], past, self.known, about.day)
            found += without_severity(several) if source in by_run else several
        return found


@asynccontextmanager
async def open_snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Everything as of one moment; nothing can be written."""
    async with engine.connect() as connection:
        await connection.execute(SNAPSHOT)
        await connection.execute(ROOM)
        yield connection
        await connection.rollback()


def past_of(facts: Facts) -> set[str]:
    """Sources whose values of the day are the past of other days."""
    return {row["source"] for row in facts.sources if set(row["states"]) & set(STATES)}


def _sums(facts: Facts) -> Iterator[Measured]:
    rejected: dict[str, int] = {}
    for row in facts.rejected:
        rejected[row["source"]] = rejected.get(row["source"], 0) + row["count"]
    held = {row["source"]: row["new"] for row in facts.held}
    for row in facts.sources:
        source = row["source"]
        counts = {
            **row,
            "records": facts.stored.get(source, 0),
            "rejected": rejected.get(source, 0),
            "quarantined": held.get(source, 0),
        }
        for measure in OF_RUNS:
            yield Measured(source, measure.name, float(counts[measure.name]))


def _levels(facts: Facts) -> Iterator[Measured]:
    for one in facts.datasets:
        yield from levels(one.reported, one.figures, figures_by(one.reported))


def _measured(row: Mapping[str, Any]) -> Measured:
    judgement = None
    if row["expected"] is not None:
        judgement = Judgement(
            row["expected"], row["low"], row["high"], row["score"], row["severity"] or None, row["basis"]
        )
    return Measured(row["source"], row["name"], row["value"], row["labels"], judgement)
