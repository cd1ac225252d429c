"""Makes the reports that are due. No replica leads: one holds a report's lock while it makes it, and its edition is a
row that can be written once."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import ANOMALIES, REPORT_SECONDS, REPORTS, Metrics
from tidemill.reporter.days import DAYS_BACK, NEWS, Day, day_of, days_between, utc_now
from tidemill.reporter.facts import Facts
from tidemill.reporter.gathering import Gathering, NothingToReport, open_snapshot, past_of
from tidemill.reporter.inputs import fetch_inputs
from tidemill.reporter.measured import Key, Measured
from tidemill.reporter.states import anomaly, report_ready
from tidemill.reporter.store import (
    Due,
    Subject,
    ask_for,
    ask_for_days,
    ask_for_reconverted,
    fail_due,
    fetch_due,
    find_newest,
    first_known,
    insert_report,
    last_day_due,
    replace_measures,
    settle_due,
    take_due,
)

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.

log = get_logger(__name__)

LOOK_SECONDS = 3.0
IDLE_SECONDS = 10.0
RECONVERTED_SECONDS = 60.0
"""So often it is looked for documents that were converted again."""
UNSETTLED_SECONDS = 15.0
"""A day of which something is missing is looked at so often."""
QUIET = timedelta(seconds=20)
"""A report that was made is not made again before so long nothing changed: corrections come in swarms."""


class Announce(Protocol):
    """Told of an edition in the transaction that stores it, and of one that stays as it is (not `new`)."""

    def __call__(self, tx: Tx, report: "Report", *, new: bool) -> Awaitable[None]: ...


async def to_nobody(tx: Tx, report: "Report", *, new: bool) -> None:
    return None


@dataclass(slots=True)
class Making:
    """The task. `gathering` answers by the configuration that runs."""

    bus: Bus
    engine: AsyncEngine
    gathering: Callable[[], Gathering]
    deadline: timedelta
    metrics: Metrics
    now: Callable[[], datetime] = utc_now
    announce: Announce = to_nobody
    _asked_until: date | None = None
    _looked_at: datetime | None = None
    _unsettled: dict[date, datetime] = field(default_factory=dict)
    """When each was looked at last."""

    async def run(self) -> None:
        while True:
            await self.ask_for_days()
            await self.ask_for_reconverted()
            while await self.make_next():
                pass
            await self.bus.rest(LOOK_SECONDS, IDLE_SECONDS)

    async def ask_for_days(self) -> None:
        """Every day that is over is due, also one on which nothing ran."""
        yesterday = day_of(self.now(), self.gathering().zone) - timedelta(days=1)
        if self._asked_until == yesterday:
            return
        async with self.bus.transaction() as tx:
            first = await first_known(tx)
            if first is None:
                return  # Nobody has ever wanted anything.
            begin = max(yesterday - DAYS_BACK, day_of(first, self.gathering().zone))
            last = await last_day_due(tx, yesterday)
            await ask_for_days(tx, list(days_between(max(begin, last or begin), yesterday)))
        self._asked_until = yesterday

    async def ask_for_reconverted(self) -> None:
        """Days whose documents were converted again are told again."""
        now = self.now()
        if self._looked_at is not None and now - self._looked_at < timedelta(seconds=RECONVERTED_SECONDS):
            return
        self._looked_at = now
        zone = self.gathering().zone
        async with self.bus.transaction() as tx:
            await ask_for_reconverted(tx, zone.key, now - DAYS_BACK, day_of(now, zone) - DAYS_BACK)

    async def make_next(self) -> bool:
        """Make one report that can be made; False where there is none."""
        async with self.engine.connect() as connection:
            several = await fetch_due(connection)
        for due in several:
            if await self._ready(due) and await self._make(due):
                return True
        return False

    async def _ready(self, due: Due) -> bool:
        now = self.now()
        if due.forced:
            return True
        if due.done_at is not None and now - due.asked_at < QUIET:
            return False
        if due.kind == "run":
            return True
        end = Day(due.day, self.gathering().zone).end
        return now >= end and (now >= end + self.deadline or await self._settled(due.day, now))

    async def _settled(self, date: date, now: datetime) -> bool:
        looked_at = self._unsettled.pop(date, None)
        if looked_at is not None and now - looked_at < timedelta(seconds=UNSETTLED_SECONDS):
            self._unsettled[date] = looked_at
            return False
        gathering = self.gathering()
        day = Day(date, gathering.zone)
        async with open_snapshot(self.engine) as connection:
            settled = (await fetch_inputs(connection, day, gathering.sources, gathering.exempt, now)).settled
        if not settled:
            self._unsettled[date] = now
        return settled

    async def _make(self, due: Due) -> bool:
        """False where another replica is at it, or has done it."""
        from tidemill.reporter.telling import tell

        gathering = self.gathering()
        try:
            async with self.bus.transaction() as tx:
                taken = await take_due(tx, due)
                if taken is None:
                    return False
                with self.metrics.of(REPORT_SECONDS, kind=due.kind).time():
                    facts = await gathering.facts(self.engine, due.kind, due.subject)
                    report = await asyncio.to_thread(tell, facts, gathering.known)
                    await self.bus.emit(tx, await self._record(tx, taken, facts, report))
        except (NothingToReport, ValidationError, DBAPIError) as wrong:
            if isinstance(wrong, DBAPIError) and wrong.connection_invalidated:
                raise
            self.metrics.of(REPORTS, kind=due.kind, outcome="failed").inc()
            log.error("a report cannot be made", kind=due.kind, subject=due.subject, error=str(wrong))
            async with self.bus.transaction() as tx:
                await fail_due(tx, due, str(wrong).partition("\n")[0])
        return True

    async def _record(self, tx: Tx, due: Due, facts: Facts, report: "Report") -> list[Outgoing]:
        from tidemill.reporter.editions import next_edition

        events: list[Outgoing] = []
        if due.kind == "day":
            before = await replace_measures(
                tx, Subject("day", due.subject, due.day), facts.measured, past_of=past_of(facts)
            )
            events += self._anomalies(due, facts.measured, before)
        known = await find_newest(tx, due.kind, due.subject)
        kept = next_edition(known, report)
        self.metrics.of(REPORTS, kind=due.kind, outcome="same" if kept is None else "edition").inc()
        if kept is not None:
            sha256 = await insert_report(tx, kept, facts.about.source)
            events.append(
                Outgoing(f"report/{kept.id}/{kept.edition}", report_ready(kept, facts.about.source, sha256, self.now()))
            )
            await self.announce(tx, kept, new=True)
            log.info("report", kind=kept.kind, subject=kept.subject, edition=kept.edition, summary=kept.summary)
        elif known is not None:
            await self.announce(tx, known, new=False)
        edition = kept.edition if kept is not None else known.edition if known is not None else 1
        await settle_due(tx, due, edition)
        if report.as_of is not None:  # It is made again when its day is over, also if nothing more happens.
            await ask_for(tx, Subject("day", due.subject, due.day))
        return events

    def _anomalies(self, due: Due, measured: Collection[Measured], before: Mapping[Key, str]) -> list[Outgoing]:
        """Of the day; those of its runs were stated when they ended."""
        known = self.gathering().known
        if self.now() - Day(due.day, self.gathering().zone).end > NEWS:
            return []
        found = []
        for one in measured:
            severity = one.judgement.severity if one.judgement else None
            if severity is not None and before.get(one.key) != severity:
                id = f"anomaly/day/{due.subject}/{one.source}/{one.name}{one.labels}/{severity}"
                self.metrics.of(ANOMALIES, source=one.source, severity=severity).inc()
                found.append(Outgoing(id, anomaly(one, known, due.day, self.now())))
        return found
