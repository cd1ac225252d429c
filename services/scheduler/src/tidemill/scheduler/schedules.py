"""The schedules of all sources: applied from the configuration, taken when they are due, put on to their next slot."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import TextClause, text

from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.config.scheduling import Run
from tidemill.common.config.scheduling import Schedule as Entry
from tidemill.common.config.sources import SourceFile
from tidemill.schedule import Schedule, Verdict, decide
from tidemill.scheduler.slots import Slot, record_slots

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.schedules', 0))")
SOURCES = text("SELECT source, run::text AS run, config_version, ended_at FROM scheduler.sources ORDER BY source")
SCHEDULES = """
SELECT source, schedule, spec::text AS spec, decided_until, held FROM scheduler.schedules WHERE ended_at IS NULL
"""
ALL_SCHEDULES = text(SCHEDULES)
SCHEDULES_OF = text(f"{SCHEDULES} AND source = ANY(:sources)")
HOLD_SOURCES = text("SELECT 1 FROM scheduler.sources WHERE source = ANY(:sources) ORDER BY source FOR UPDATE")
SAVE_SOURCES = """
INSERT INTO scheduler.sources AS known (source, run, config_version)
SELECT source, run::jsonb, $3::bigint FROM unnest($1::text[], $2::text[]) AS applied(source, run) ORDER BY source
ON CONFLICT (source) DO UPDATE SET run = excluded.run, config_version = excluded.config_version, ended_at = NULL,
    failures = CASE WHEN known.ended_at IS NULL THEN known.failures ELSE 0 END
"""
END_SOURCES = text("UPDATE scheduler.sources SET ended_at = :now WHERE source = ANY(:sources)")
SAVE_SCHEDULES = """
INSERT INTO scheduler.schedules (source, schedule, spec, config_version, decided_until, next_slot, due_at)
SELECT source, schedule, spec::jsonb, $7::bigint, decided_until, next_slot, due_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
    AS applied(source, schedule, spec, decided_until, next_slot, due_at) ORDER BY source, schedule
ON CONFLICT (source, schedule) DO UPDATE SET spec = excluded.spec, config_version = excluded.config_version,
    decided_until = excluded.decided_until, next_slot = excluded.next_slot, due_at = excluded.due_at, held = NULL,
    ended_at = NULL
"""
END_SCHEDULES = """
UPDATE scheduler.schedules AS known SET ended_at = $3::timestamptz, next_slot = NULL, due_at = NULL, held = NULL
FROM unnest($1::text[], $2::text[]) AS gone(source, schedule)
WHERE known.source = gone.source AND known.schedule = gone.schedule
"""
RENUMBER = "UPDATE scheduler.{} SET config_version = :version WHERE ended_at IS NULL AND config_version < :version"

TAKE_DUE = text("""
SELECT schedules.source, schedule, spec::text AS spec, decided_until, held
FROM scheduler.schedules JOIN scheduler.sources USING (source)
WHERE schedules.ended_at IS NULL AND due_at <= :now AND NOT source = ANY(:held)
ORDER BY due_at LIMIT :most FOR UPDATE OF schedules, sources SKIP LOCKED
""")
ADVANCE = """
UPDATE scheduler.schedules AS known
SET decided_until = now.decided_until, next_slot = now.next_slot, due_at = now.due_at, held = NULL
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
    AS now(source, schedule, decided_until, next_slot, due_at)
WHERE known.source = now.source AND known.schedule = now.schedule
"""
NEXT_DUE = text("""
SELECT due_at FROM scheduler.schedules
WHERE ended_at IS NULL AND due_at IS NOT NULL AND NOT source = ANY(:held) ORDER BY due_at LIMIT 1
""")
NOTE_HELD = text("""
UPDATE scheduler.schedules SET held = :why
WHERE ended_at IS NULL AND due_at <= :now AND (CAST(:source AS text) IS NULL OR source = :source)
    AND held IS DISTINCT FROM :why
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A schedule as the table has it."""

    source: str
    name: str
    spec: str
    decided_until: datetime
    held: str | None = None

    @property
    def plan(self) -> Schedule:
        return plan_of(self.spec)

    def decide(self, now: datetime, *, edited: bool = False) -> list[Slot]:
        """Everything that was due, decided."""
        plan = self.plan
        stagger = plan.stagger(self.source)
        verdicts = decide(plan, self.decided_until, now, stagger=stagger, edited=edited)
        several = sum(verdict.skip is None for verdict in verdicts) > 1
        return [self._slot(verdict, stagger, now, queued=several) for verdict in verdicts]

    def _slot(self, verdict: Verdict, stagger: timedelta, now: datetime, *, queued: bool) -> Slot:
        why = verdict.detail or self.held or ""
        return Slot(
            source=self.source,
            slot=verdict.slot,
            schedule=self.name,
            due_at=verdict.slot + stagger,
            decided_at=now,
            skip=verdict.skip or "",
            detail=why if verdict.skip else "",
            until=verdict.until,
            queued=queued,
        )


@lru_cache(maxsize=20_000)
def plan_of(spec: str) -> Schedule:
    return Entry.model_validate_json(spec).plan()


async def apply_schedules(
    tx: Tx, sources: Mapping[str, SourceFile], config_version: int, now: datetime
) -> list[Outgoing]:
    """Make the tables say what the sources say. Harmless to repeat; an older version than the tables have does nothing.

    An edit never fires the past: slots that were due under what is changed or taken away, and not yet decided, are
    skipped as `edited`, and what is new begins now. A schedule that stays as it is keeps what it missed.
    """
    await tx.execute(LOCK)
    known = {row.source: row for row in await tx.execute(SOURCES)}
    if any(row.config_version > config_version for row in known.values() if row.ended_at is None):
        return []
    runs = {name: _json(source.run) for name, source in sources.items()}
    changed = [name for name, run in runs.items() if _differs(known.get(name), run)]
    gone = [name for name, row in known.items() if name not in sources and row.ended_at is None]
    wanted = {(name, entry.plan().name): _json(entry) for name, source in sources.items() for entry in source.schedules}
    before = await _find(tx, ALL_SCHEDULES)
    held = sorted({name for name, _ in _touched(before, wanted)} | {*changed, *gone})
    await tx.execute(HOLD_SOURCES, {"sources": held})
    before |= await _find(tx, SCHEDULES_OF, sources=held)  # As they are since nobody else can change them.
    if changed:
        await tx.exec_driver_sql(SAVE_SOURCES, (changed, [runs[name] for name in changed], config_version))
    if gone:
        await tx.execute(END_SOURCES, {"sources": gone, "now": now})
    events = await _apply(tx, before, wanted, config_version, now)
    for table in ("sources", "schedules"):
        await tx.execute(text(RENUMBER.format(table)), {"version": config_version})
    return events


Key = tuple[str, str]


async def _find(tx: Tx, query: TextClause, **names: Any) -> dict[Key, Row]:
    return {
        (row.source, row.schedule): Row(
            source=row.source,
            name=row.schedule,
            spec=_canonical(row.spec),
            decided_until=row.decided_until,
            held=row.held,
        )
        for row in await tx.execute(query, names)
    }


def _touched(before: Mapping[Key, Row], wanted: Mapping[Key, str]) -> list[Key]:
    ended = [key for key in before if key not in wanted]
    return ended + [key for key, spec in wanted.items() if key not in before or before[key].spec != spec]


async def _apply(
    tx: Tx, before: Mapping[Key, Row], wanted: Mapping[Key, str], config_version: int, now: datetime
) -> list[Outgoing]:
    skipped: list[Slot] = []
    saved: list[Row] = []
    ended: list[Key] = []
    for key in _touched(before, wanted):
        old = before.get(key)
        spec = wanted.get(key)
        if old is not None and (spec is None or _slots_change(old.spec, spec)):
            skipped += old.decide(now, edited=True)
        if spec is None:
            ended.append(key)
            continue
        keeps = old is not None and not _slots_change(old.spec, spec)
        until = old.decided_until if old is not None and keeps else now
        saved.append(Row(source=key[0], name=key[1], spec=spec, decided_until=until))
    if saved:
        await tx.exec_driver_sql(
            SAVE_SCHEDULES,
            (
                [row.source for row in saved],
                [row.name for row in saved],
                [row.spec for row in saved],
                *_next(saved),
                config_version,
            ),
        )
    if ended:
        await tx.exec_driver_sql(END_SCHEDULES, ([key[0] for key in ended], [key[1] for key in ended], now))
    return [slot.skipped(slot.skip) for slot in await record_slots(tx, skipped)]


def _slots_change(old: str, new: str) -> bool:
    """Whether other slots come of it. The timing and its zone are the name of a schedule."""
    one, other = plan_of(old), plan_of(new)
    return (one.zone, one.allowed, one.blackout) != (other.zone, other.allowed, other.blackout)


async def take_due(tx: Tx, now: datetime, held: Sequence[str], most: int) -> list[Row]:
    """Schedules that are due, for us alone until the end of the transaction."""
    return [
        Row(source=row.source, name=row.schedule, spec=row.spec, decided_until=row.decided_until, held=row.held)
        for row in await tx.execute(TAKE_DUE, {"now": now, "held": list(held), "most": most})
    ]


async def advance(tx: Tx, decided: Iterable[tuple[Row, Sequence[Slot]]]) -> None:
    """Put taken schedules on to the slot after those that were decided."""
    rows = [
        Row(
            source=row.source,
            name=row.name,
            spec=row.spec,
            decided_until=max((slot.until or slot.slot for slot in slots), default=row.decided_until),
        )
        for row, slots in decided
    ]
    await tx.exec_driver_sql(ADVANCE, ([row.source for row in rows], [row.name for row in rows], *_next(rows)))


async def find_next_due(tx: Tx, held: Sequence[str]) -> datetime | None:
    due: datetime | None = (await tx.execute(NEXT_DUE, {"held": list(held)})).scalar()
    return due


async def note_held(tx: Tx, now: datetime, why: str, source: str | None = None) -> None:
    """Remember what keeps due slots from being decided; they will say so if they are skipped for it."""
    await tx.execute(NOTE_HELD, {"now": now, "why": why, "source": source})


def _next(rows: Sequence[Row]) -> tuple[list[datetime], list[datetime | None], list[datetime | None]]:
    """Until when each is decided, its next slot, and when that is due."""
    slots = [row.plan.next_slot(row.decided_until) for row in rows]
    due = [slot and slot + row.plan.stagger(row.source) for slot, row in zip(slots, rows, strict=True)]
    return [row.decided_until for row in rows], slots, due


def _json(section: Run | Entry) -> str:
    return _canonical(section.model_dump_json(exclude_defaults=True))


def _canonical(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True)


def _differs(row: Any, run: str) -> bool:
    return row is None or row.ended_at is not None or _canonical(row.run) != run
