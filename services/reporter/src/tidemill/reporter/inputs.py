"""Whether everything of a day is in: the slots that its sources should have had, held against the ledger."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.config.sources import SourceFile
from tidemill.reporter.days import Day
from tidemill.schedule import expected_slots

TICK = timedelta(microseconds=1)
EVERY = "every source"
"""Of a day that is not over."""
SLOTS = text("""
SELECT s.source, s.slot, s.outcome, s.reason, s.until FROM scheduler.slots s
WHERE s.slot < :end AND coalesce(s.until, s.slot) >= :start ORDER BY s.source, s.slot
""")
RUNS = text("""
SELECT run, source, slot, state, reason, trigger, finished_at IS NOT NULL AS ended, requested_at FROM scheduler.runs
WHERE coalesce(slot, requested_at) >= :start AND coalesce(slot, requested_at) < :end
    AND (finished_at IS NULL OR state <> 'complete') ORDER BY source, requested_at, run
""")
# Since when a source file says what it says now: nothing is expected of it for earlier slots.
SINCE = text("""
SELECT min(v.created_at) FROM config.versions v
WHERE v.version > coalesce((
    SELECT max(o.version) FROM config.versions o
    WHERE o.content ->> :file IS DISTINCT FROM (
        SELECT n.content ->> :file FROM config.versions n ORDER BY n.version DESC LIMIT 1)), 0)
    AND v.content ? :file
""")


@dataclass(frozen=True, slots=True)
class SlotFact:
    """A row of the slots that the scheduler decided on; `until`: it stands for all up to then."""

    source: str
    slot: datetime
    outcome: str
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunFact:
    """A run that has not ended, or not as complete."""

    run: str
    source: str
    state: str
    reason: str
    ended: bool


@dataclass(frozen=True, slots=True)
class Lack:
    """Something of a day that is not in."""

    source: str
    why: str
    settled: bool
    """Nothing will change by waiting."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was expected of a day, and what of it is not in."""

    expected: Mapping[str, int]
    """Slots by source."""
    lacks: Sequence[Lack]
    open: frozenset[str] = frozenset()
    """Sources of which a run goes on."""

    @property
    def settled(self) -> bool:
        """There is nothing to wait for."""
        return all(lack.settled for lack in self.lacks)


async def fetch_inputs(
    connection: AsyncConnection, day: Day, sources: Mapping[str, SourceFile], exempt: Collection[str], now: datetime
) -> Inputs:
    """Of a day that is not over, slots until `now`."""
    within = {"start": day.start, "end": day.end}
    slots = [SlotFact(*row) for row in await connection.execute(SLOTS, within)]
    runs = [
        RunFact(row.run, row.source, row.state, row.reason, row.ended) for row in await connection.execute(RUNS, within)
    ]
    expected = {}
    versioned = await connection.scalar(text("SELECT to_regclass('config.versions') IS NOT NULL"))
    for name, source in sorted(sources.items()):
        if source.schedules and name not in exempt:
            since = await connection.scalar(SINCE, {"file": f"sources/{name}.yaml"}) if versioned else None
            expected[name] = due_slots(source, day, since, now)
    inputs = judge_inputs(
        expected,
        [one for one in slots if one.source not in exempt],
        [one for one in runs if one.source not in exempt],
        day.zone,
    )
    if now >= day.end:
        return inputs
    return replace(inputs, lacks=[Lack(EVERY, f"{day.day} is not over", settled=False), *inputs.lacks])


def due_slots(source: SourceFile, day: Day, since: datetime | None, now: datetime) -> list[datetime]:
    """All of its slots on the day, since its file says so, until now."""
    after = max(day.start, since) if since else day.start
    until = min(day.end - TICK, now)
    slots = {slot for each in source.schedules for slot in expected_slots(each.plan(), after - TICK, until)}
    return sorted(slots)


def judge_inputs(
    expected: Mapping[str, Sequence[datetime]], slots: Sequence[SlotFact], runs: Sequence[RunFact], zone: ZoneInfo
) -> Inputs:
    """Pure. What the ledger has of slots that nobody expects (any more) counts, too."""
    lacks: list[Lack] = []
    for source, due in expected.items():
        decided = [one for one in slots if one.source == source]
        unknown = [slot for slot in due if not any(one.slot <= slot <= (one.until or one.slot) for one in decided)]
        if unknown:
            lacks.append(Lack(source, f"{_slots(unknown, zone)}: no scheduler decided on it", False))
    lacks += [
        Lack(one.source, f"{_slots([one.slot], zone)} was skipped: {one.reason}", True)
        for one in slots
        if one.outcome == "skipped"
    ]
    lacks += _of_runs(runs)
    return Inputs(
        expected={source: len(due) for source, due in expected.items()},
        lacks=sorted(lacks, key=lambda one: one.source),
        open=frozenset(one.source for one in runs if not one.ended),
    )


def _of_runs(runs: Sequence[RunFact]) -> Iterator[Lack]:
    for run in runs:
        if not run.ended:
            yield Lack(run.source, f"{run.run} has not ended: it is {run.state}", False)
        else:
            yield Lack(run.source, f"{run.run} is {run.state}{f': {run.reason}' if run.reason else ''}", True)


def _slots(slots: Sequence[datetime], zone: ZoneInfo) -> str:
    first = f"slot {slots[0].astimezone(zone):%H:%M}"
    return first if len(slots) == 1 else f"{first} and {len(slots) - 1} more"
