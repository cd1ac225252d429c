"""Lets runs begin: the rows of asked runs, and the events that begin them. Who asks holds the rows of the sources."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.control import Control
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.config.scheduling import Run
from tidemill.common.config.units import size_text
from tidemill.common.events import RunRequested
from tidemill.scheduler.ledger import Verdict, end_runs
from tidemill.scheduler.policy import Ask, Decision, Situation, slot_event

LOCK_SOURCES = text("""
SELECT source, run, config_version, ended_at FROM scheduler.sources WHERE source = ANY(:sources)
ORDER BY source FOR UPDATE
""")
LOCK_GROUP = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.group.' || :name, 0))")
OPEN_RUNS = text("""
SELECT run, source, state FROM scheduler.runs
WHERE source = ANY(:sources) AND finished_at IS NULL AND backfill IS NULL AND trigger NOT IN ('', 'file')
ORDER BY requested_at, run
""")
IN_GROUPS = text("""
SELECT concurrency_group, count(*) FROM scheduler.runs
WHERE concurrency_group = ANY(:groups) AND finished_at IS NULL AND state <> 'waiting' GROUP BY concurrency_group
""")
IN_BACKFILLS = text("""
SELECT backfills.backfill, concurrency,
       count(run) FILTER (WHERE finished_at IS NULL AND state <> 'waiting') AS under_way
FROM scheduler.backfills LEFT JOIN scheduler.runs USING (backfill)
WHERE backfills.backfill = ANY(:backfills) GROUP BY backfills.backfill
""")
WAITING = text("""
SELECT * FROM (
    SELECT run, source, trigger, slot, params, only_items, retry_of, backfill, actor, reason, requested_at,
           row_number() OVER (PARTITION BY source, backfill ORDER BY COALESCE(slot, requested_at), run) AS place
    FROM scheduler.runs WHERE state = 'waiting' AND source = ANY(:sources)
) AS waiting WHERE place <= :most ORDER BY backfill IS NOT NULL, COALESCE(slot, requested_at), run
""")
INSERT_RUNS = """
INSERT INTO scheduler.runs
    (run, source, trigger, slot, state, reason, params, only_items, retry_of, backfill, concurrency_group,
     config_version, actor, requested_at, start_by, time_limit, released_at, deadline_at)
SELECT run, source, trigger, slot, state, reason, params::jsonb,
       CASE WHEN only_items <> '[]' THEN ARRAY(SELECT jsonb_array_elements_text(only_items::jsonb)) END,
       retry_of, backfill, concurrency_group, config_version, actor, requested_at, start_by, time_limit, released_at,
       CASE WHEN released_at IS NOT NULL THEN requested_at + time_limit END
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::text[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::timestamptz[], $15::timestamptz[],
            $16::interval[], $17::timestamptz[])
    AS asked(run, source, trigger, slot, state, reason, params, only_items, retry_of, backfill, concurrency_group,
             config_version, actor, requested_at, start_by, time_limit, released_at)
ORDER BY run ON CONFLICT (run) DO NOTHING RETURNING run
"""
RELEASE = text("""
UPDATE scheduler.runs SET state = 'requested', reason = '', released_at = CAST(:now AS timestamptz),
       deadline_at = CAST(:now AS timestamptz) + time_limit, start_by = :start_by, config_version = :version
WHERE run = :run AND state = 'waiting'
""")
STILL_WAITING = text("UPDATE scheduler.runs SET reason = :reason WHERE run = :run")
MOST_WAITING = 100
"""Of one source or backfill, looked at together; no more of them may be under way."""


class UnknownSource(LookupError):
    """No source of this name is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run that is wanted. The same id again is the same run."""

    run: str
    source: str
    trigger: str
    """schedule, manual, backfill, event, retry."""
    slot: datetime | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    only_items: Sequence[str] = ()
    retry_of: str | None = None
    backfill: str | None = None
    queued: bool = False
    """One of several missed slots: they run one after the other."""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of the requests of one transaction."""

    decisions: Mapping[str, Decision]
    """By run; those that were known before are missing."""
    events: Sequence[Outgoing]


@dataclass(frozen=True, slots=True)
class Source:
    """What the scheduler knows of a source."""

    name: str
    run: Run
    config_version: int
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Everybody who wants a run asks here, so that limits hold whoever asks."""

    control: Control
    groups: Mapping[str, int]
    data_dir: Path
    disk_reserve: int
    now: Callable[[], datetime]

    async def request(self, tx: Tx, requests: Sequence[RunRequest], *, keep_dropped: bool = False) -> Answered:
        """Let each begin, wait or be dropped. Raises UnknownSource. What is dropped leaves a cancelled run where asked;
        else telling of it is left to the caller."""
        if not requests:
            return Answered({}, [])
        sources = await lock_sources(tx, {request.source for request in requests})
        for request in requests:
            if request.source not in sources or sources[request.source].ended_at is not None:
                raise UnknownSource(request.source)
        asks = [_ask(request, sources[request.source]) for request in requests]
        situation = await self._situation(tx, asks)
        decisions = {ask.run: situation.decide(ask) for ask in asks}
        now = self.now()
        ended = await self._end(tx, _replaced(decisions.values(), now))
        kept = [request for request in requests if keep_dropped or decisions[request.run].what != "drop"]
        inserted = await _insert(tx, kept, decisions, sources, now)
        dropped = [
            Verdict(run, "cancelled", decisions[run].reason, now)
            for run in sorted(inserted)
            if decisions[run].what == "drop"
        ]
        ended += await self._end(tx, dropped)
        begun = [
            _requested(request, sources[request.source], now)
            for request in requests
            if request.run in inserted and decisions[request.run].what == "begin"
        ]
        known = {request.run for request in kept} - inserted
        return Answered({run: each for run, each in decisions.items() if run not in known}, [*ended, *begun])

    async def release(self, tx: Tx, names: Iterable[str]) -> list[Outgoing]:
        """Let begin what waits and may begin now."""
        sources = await lock_sources(tx, set(names))
        rows = list(await tx.execute(WAITING, {"sources": list(sources), "most": MOST_WAITING}))
        if not rows:
            return []
        now = self.now()
        gone = [Verdict(row.run, "cancelled", "source_gone", now) for row in rows if sources[row.source].ended_at]
        events = await self._end(tx, gone)
        reasons = {row.run: row.reason for row in rows}
        requests = [_waiting(row) for row in rows if not sources[row.source].ended_at]
        asks = [_ask(request, sources[request.source], waited=True) for request in requests]
        situation = await self._situation(tx, asks)
        for request, ask in zip(requests, asks, strict=True):
            source = sources[request.source]
            decision = situation.decide(ask)
            events += await self._end(tx, _replaced([decision], now))
            if decision.what == "begin":
                start_by = now + source.run.start_within
                values = {"run": request.run, "now": now, "start_by": start_by, "version": source.config_version}
                await tx.execute(RELEASE, values)
                events.append(_requested(request, source, now))
            elif decision.reason != reasons[request.run]:
                await tx.execute(STILL_WAITING, {"run": request.run, "reason": decision.reason})
        return events

    def disk_problem(self) -> str | None:
        """Why nothing that brings data may begin."""
        if not self.disk_reserve or not self.data_dir.exists():
            return None
        free = shutil.disk_usage(self.data_dir).free
        if free >= self.disk_reserve:
            return None
        megabytes = free // 1_000_000
        return f"{self.data_dir} has {megabytes} MB free, less than {size_text(self.disk_reserve)} (disk_reserve)"

    async def _end(self, tx: Tx, verdicts: Sequence[Verdict]) -> list[Outgoing]:
        return await end_runs(tx, verdicts) if verdicts else []

    async def _situation(self, tx: Tx, asks: Sequence[Ask]) -> Situation:
        situation = Situation(held=self.control.paused, disk=self.disk_problem(), group_size=self.groups)
        sources = sorted({ask.source for ask in asks if ask.backfill is None})
        for row in await tx.execute(OPEN_RUNS, {"sources": sources}):
            runs = situation.waiting if row.state == "waiting" else situation.under_way
            runs.setdefault(row.source, []).append(row.run)
        if groups := sorted({ask.group for ask in asks if ask.group is not None}):
            for group in groups:
                await tx.execute(LOCK_GROUP, {"name": group})
            situation.in_group = {row[0]: row[1] for row in await tx.execute(IN_GROUPS, {"groups": groups})}
        if backfills := sorted({ask.backfill for ask in asks if ask.backfill is not None}):
            rows = list(await tx.execute(IN_BACKFILLS, {"backfills": backfills}))
            situation.backfill_size = {row.backfill: row.concurrency for row in rows}
            situation.in_backfill = {row.backfill: row.under_way for row in rows}
        return situation


async def lock_sources(tx: Tx, names: Iterable[str]) -> dict[str, Source]:
    """Hold these sources until the end of the transaction; in the order of their names, against deadlocks."""
    return {
        row.source: Source(row.source, Run.model_validate(row.run), row.config_version, row.ended_at)
        for row in await tx.execute(LOCK_SOURCES, {"sources": sorted(names)})
    }


def _ask(request: RunRequest, source: Source, *, waited: bool = False) -> Ask:
    return Ask(
        run=request.run,
        source=request.source,
        overlap=source.run.overlap,
        group=source.run.group,
        backfill=request.backfill,
        queued=request.queued,
        waited=waited,
    )


def _waiting(row: Any) -> RunRequest:
    return RunRequest(
        run=row.run,
        source=row.source,
        trigger=row.trigger,
        slot=row.slot,
        params=row.params,
        only_items=row.only_items or (),
        retry_of=row.retry_of,
        backfill=row.backfill,
        actor=row.actor,
    )


def _replaced(decisions: Iterable[Decision], now: datetime) -> list[Verdict]:
    runs = dict.fromkeys(run for decision in decisions for run in decision.instead_of)
    return [Verdict(run, "cancelled", "overlap", now) for run in runs]


async def _insert(
    tx: Tx,
    requests: Sequence[RunRequest],
    decisions: Mapping[str, Decision],
    sources: Mapping[str, Source],
    now: datetime,
) -> set[str]:
    """The runs that were not there yet."""
    if not requests:
        return set()
    rows = []
    for request in requests:
        source, decision = sources[request.source], decisions[request.run]
        begins = decision.what == "begin"
        patient = not begins and (request.queued or request.backfill is not None)
        rows.append(
            (
                request.run,
                request.source,
                request.trigger,
                request.slot,
                "requested" if begins else "waiting",
                decision.reason,
                json.dumps(dict(request.params)),
                json.dumps(list(request.only_items)),
                request.retry_of,
                request.backfill,
                source.run.group,
                source.config_version,
                request.actor,
                now,
                None if patient else now + source.run.start_within,
                source.run.time_limit,
                now if begins else None,
            )
        )
    found = await tx.exec_driver_sql(INSERT_RUNS, tuple(map(list, zip(*rows, strict=True))))
    return set(found.scalars())


def _requested(request: RunRequest, source: Source, now: datetime) -> Outgoing:
    event = RunRequested(
        source=request.source,
        run=request.run,
        slot=request.slot,
        trigger=request.trigger,
        params=dict(request.params),
        config_version=source.config_version,
        deadline=now + source.run.time_limit,
        only_items=tuple(request.only_items),
        requested_at=now,
    )
    of_slot = request.trigger == "schedule" and request.slot is not None
    return Outgoing(slot_event(request.source, request.slot) if of_slot and request.slot else request.run, event)
