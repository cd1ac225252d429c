"""Judges runs that ended, by what the store knows of them: counts, coverage, uniqueness, footprints, quality.

What a scraper has to know before it declares anything gone, it judges itself; of sources without searches it is judged
here. Nothing is held by it: a run of which a blocking check fails is not to be reported.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Delivery, Done, Outgoing, Step, Tx
from tidemill.common.check_results import keep_results
from tidemill.common.checks import Result, RunFacts, judge_run
from tidemill.common.config.checks import Check
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import RunFinished
from tidemill.common.telemetry.logs import get_logger
from tidemill.converter import run_facts
from tidemill.converter.datasets import Datasets
from tidemill.converter.tables import check_results

log = get_logger(__name__)

COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Judges:
    """What the step needs of a source."""

    checks: Sequence[Check]
    """Those of runs that are judged here."""
    zone: tzinfo = UTC
    """By which weekdays count."""

    @classmethod
    def of(cls, source: SourceFile) -> "Judges":
        checks = [check for check in source.checks_of_converter if not check.judges_records]
        schedules = source.schedules
        return cls(checks, schedules[0].plan().zone if schedules else UTC)


def run_step(
    engine: AsyncEngine, datasets: Datasets, judges: Callable[[str], Judges | None]
) -> Step[RunFinished, list[Result]]:
    """`judges` answers by source; None where nobody knows it."""

    async def work(delivery: Delivery[RunFinished]) -> list[Result]:
        event = delivery.event
        found = judges(event.source)
        if found is None or not found.checks:
            return []
        async with engine.connect() as connection:
            facts = await fetch_facts(connection, event, found, datasets)
        return judge_run(found.checks, facts)

    async def record(tx: Tx, results: Sequence[Done[RunFinished, list[Result]]]) -> list[Outgoing]:
        for done in results:
            event = done.event
            await keep_results(tx, check_results, event.source, event.run, done.result)
            for result in done.result:
                if not result.passed:
                    log.warning(
                        "a run did not pass a check",
                        source=event.source,
                        run=event.run,
                        check=result.check,
                        severity=result.severity,
                        reason=result.message,
                    )
        return []

    return Step(name="converter-checks", event=RunFinished, work=work, record=record, bookkeeping=True)


async def fetch_facts(tx: Tx, event: RunFinished, judges: Judges, datasets: Datasets) -> RunFacts:
    """Only what the checks ask for."""
    kinds = {check.check for check in judges.checks}
    at = (event.slot or event.requested_at).astimezone(judges.zone)
    stated = await run_facts.find_datasets(tx, event.source) if kinds - {"count"} else []
    views = {name: datasets[name] for name in stated if name in datasets}
    count = await run_facts.count_records(tx, event.run) if "count" in kinds else None
    points = await run_facts.count_placed(tx, event.source, views) if "footprint" in kinds else None
    return RunFacts(
        at=at,
        count=count,
        history=await run_facts.find_history(tx, event.source, event.run, judges.zone) if "count" in kinds else (),
        coverage=await _coverage(tx, event, judges.checks, datasets) if "coverage" in kinds else None,
        shared={
            check.called: await run_facts.find_shared(tx, event.source, check, views)
            for check in judges.checks
            if check.check == "unique"
        },
        points=points and points[0],
        placed=points[1] if points else 0,
        quality=await run_facts.mean_quality(tx, event.source, views) if "mean_quality" in kinds else None,
    )


async def _coverage(
    tx: Tx, event: RunFinished, checks: Sequence[Check], datasets: Datasets
) -> Mapping[str, tuple[int, int]]:
    fields = [check.field for check in checks if check.check == "coverage"]
    return await run_facts.count_fields(tx, event.run, fields, datasets)
