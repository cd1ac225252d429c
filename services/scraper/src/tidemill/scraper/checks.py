"""What must hold before a run may say what is gone, and a person's word that it may all the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text

from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.common.check_results import keep_results
from tidemill.common.checks import Past, RunFacts, judge_run
from tidemill.common.checks import blocking as blocking_of
from tidemill.common.config.sources import SourceFile
from tidemill.common.telemetry.logs import get_logger
from tidemill.scraper.tables import check_results

log = get_logger(__name__)

UTC_ZONE = ZoneInfo("UTC")
EARLIER = 400
"""Runs before it that are looked at, for those of the same weekday."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a run has come to, before it says what is gone."""

    run: str
    source: str
    now: datetime
    requested_at: datetime
    seen: int
    """Targets that its searches listed."""
    known: int
    """Targets it decided about."""
    asked: int
    """Targets it asked for."""
    failed: int
    """Of those, how many it could not get."""
    fields: Mapping[str, int]
    """By field: on how many of the read pages it has a value."""
    read: int
    """Pages of targets that were read, whether or not all was there that should be."""


# What a held run saw is not usual, unless somebody has said that it is.
_HISTORY = text("""
    SELECT requested_at, seen FROM scraper.runs
    WHERE source = :source AND run <> :run AND phase = 'closed' AND outcome = 'complete' AND NOT partial
        AND seen IS NOT NULL AND (held IS NULL OR released_at IS NOT NULL) AND requested_at < :before
    ORDER BY requested_at DESC LIMIT :earlier
""")
_HELD = text("SELECT source, held, released_at FROM scraper.runs WHERE run = :run FOR UPDATE")
_SETTLED = text("""
    SELECT later.run FROM scraper.runs later JOIN scraper.runs r ON r.source = later.source
    WHERE r.run = :run AND later.requested_at > r.requested_at AND later.phase = 'closed'
        AND later.outcome = 'complete' AND NOT later.partial AND later.held IS NULL LIMIT 1
""")
_COUNT = text("SELECT count(*) FROM scraper.decisions WHERE run = :run AND decision = 'held'")
_RELEASE = text("UPDATE scraper.runs SET released_at = now(), released_by = :author WHERE run = :run")


async def blocking(tx: Tx, source: SourceFile, facts: Facts, *, complete: bool) -> str | None:
    """Why nothing may be said to be gone; None where nothing speaks against it. What the checks say is kept. Of a run
    that did not look everywhere the count says nothing."""
    checks = source.checks_of_scraper
    if not checks:
        return None
    zone = next((schedule.plan().zone for schedule in source.schedules), UTC_ZONE)
    named = {"source": facts.source, "run": facts.run, "before": facts.requested_at, "earlier": EARLIER}
    rows = await tx.execute(_HISTORY, named)
    results = judge_run(
        checks,
        RunFacts(
            at=facts.requested_at.astimezone(zone),
            count=facts.seen if complete else None,
            history=[Past(row.requested_at.astimezone(zone), row.seen) for row in rows],
            tried=facts.asked,
            failed=facts.failed,
            coverage={name: (facts.fields.get(name, 0), facts.read) for name in _covered(source)},
        ),
    )
    await keep_results(tx, check_results, facts.source, facts.run, results)
    for result in results:
        if not result.passed:
            log.warning(
                "a run did not pass a check",
                source=facts.source,
                run=facts.run,
                check=result.check,
                severity=result.severity,
                reason=result.message,
            )
    return blocking_of(results)


def _covered(source: SourceFile) -> list[str]:
    return [check.field for check in source.checks_of_scraper if check.check == "coverage"]


def release_command() -> Command:
    """What checks kept a run from saying is said by the next one, if it does not see it either."""

    async def release(tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        run = parameters.get("run") or ""
        row = (await tx.execute(_HELD, {"run": str(run)})).one_or_none()
        if row is None or row.held is None:
            raise CommandRefused(f"no check holds back what run {run} would say is gone", "404")
        settled = await tx.scalar(_SETTLED, {"run": run})
        if settled is not None:
            raise CommandRefused(f"that is settled: run {settled} has looked since, and no check held it", "409")
        count = int(await tx.scalar(_COUNT, {"run": run}) or 0)
        change = None
        if row.released_at is None:
            await tx.execute(_RELEASE, {"run": run, "author": str(parameters.get("actor") or "")})
            change = Change("quarantine.release", run, before={"held": row.held}, after={"targets": count})
        return Answer({"run": run, "source": row.source, "targets": count, "held": row.held}, change=change)

    return Command(
        verb="gone_release",
        handle=release,
        description="Let the next run say that what this run did not see is gone, whatever the checks say",
        parameters={"run": "The run that a check held", **WHO},
    )
