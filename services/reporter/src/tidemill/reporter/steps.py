"""Events in, events out: a run that ended is measured, judged, and to be reported on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.events import AnomalyFound, RunFinished
from tidemill.common.telemetry.metrics import ANOMALIES, Metrics
from tidemill.reporter.catalogue import Measure
from tidemill.reporter.days import DAYS_BACK, NEWS, day_of, utc_now
from tidemill.reporter.measuring import RunMeasures, measure_run
from tidemill.reporter.statements import Reported
from tidemill.reporter.states import anomaly
from tidemill.reporter.store import Subject, ask_for, replace_measures

READ_ONLY = text("SET TRANSACTION READ ONLY")
OF_THEMSELVES = "file"
"""Trigger of runs that nobody asked for."""


@dataclass(frozen=True, slots=True)
class Reporting:
    """How runs are reported on."""

    zone: ZoneInfo
    run_reports: str
    datasets: Sequence[Reported]
    known: Mapping[str, Measure]
    now: Callable[[], datetime] = utc_now

    def wants(self, event: RunFinished) -> bool:
        """Whether this run gets a report of its own, by itself."""
        asked = self.run_reports == "all" or (self.run_reports == "asked" and event.trigger != OF_THEMSELVES)
        return asked and self.is_news(event) and is_eventful(event)

    def is_news(self, event: RunFinished) -> bool:
        return self.now() - event.finished_at <= NEWS

    def wants_day(self, day: date) -> bool:
        """Whether the report on this day is made, or made again, by itself."""
        return day_of(self.now(), self.zone) - day <= DAYS_BACK


def is_eventful(event: RunFinished) -> bool:
    """Whether there is anything to tell: a source that is asked every minute has little."""
    counts = event.new + event.changed + event.gone + event.reappeared + event.failed
    return bool(counts) or event.state != "complete" or event.trigger != "schedule"


def run_step(engine: AsyncEngine, reporting: Reporting, metrics: Metrics) -> Step[RunFinished, RunMeasures]:
    async def work(delivery: Delivery[RunFinished]) -> RunMeasures:
        async with engine.connect() as connection:
            await connection.execute(READ_ONLY)
            return await measure_run(connection, delivery.event, reporting.zone, reporting.datasets, reporting.known)

    async def record(tx: Tx, results: Sequence[Done[RunFinished, RunMeasures]]) -> list[Outgoing]:
        found: list[Outgoing] = []
        for done in sorted(results, key=lambda done: done.event.run):
            found += await _record(tx, done, reporting)
        for one in found:
            assert isinstance(one.event, AnomalyFound)
            metrics.of(ANOMALIES, source=one.event.source, severity=one.event.severity).inc()
        return found

    return Step(name="reporter", event=RunFinished, work=work, record=record, bookkeeping=True, slots=4)


async def _record(tx: Tx, done: Done[RunFinished, RunMeasures], reporting: Reporting) -> list[Outgoing]:
    run = done.result
    about = Subject("run", run.run, run.day, run.source, run.clock)
    before = await replace_measures(tx, about, run.measured, past_of={run.source} if run.scheduled else ())
    if reporting.wants_day(run.day):
        await ask_for(tx, Subject("day", run.day.isoformat(), run.day))
    if reporting.wants(done.event):
        await ask_for(tx, about)
    if not reporting.is_news(done.event):
        return []
    unusual = [one for one in run.measured if one.unusual and before.get(one.key) != one.judgement.severity]  # type: ignore[union-attr]
    events: list[tuple[str, AnomalyFound]] = [
        (f"{one.name}{one.labels}", anomaly(one, reporting.known, run.day, done.event.finished_at, run.run))
        for one in unusual
    ]
    return [done.tell(event, name) for name, event in events]
