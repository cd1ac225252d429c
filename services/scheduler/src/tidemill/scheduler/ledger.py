"""The run ledger in SQL: one row per run, one per item of it; whoever changes a run holds its row."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.events import Changes, RunFinished
from tidemill.scheduler.items import Item, Rank, merge
from tidemill.scheduler.runs import Ending, Run, count, hear, judge, may_end
from tidemill.scheduler.words import Word

SCHEMA = "scheduler"

RUN_TYPES = {
    "trigger": "text",
    "requested_at": "timestamptz",
    "state": "text",
    "reason": "text",
    "planned_at": "timestamptz",
    "started_at": "timestamptz",
    "finished_at": "timestamptz",
    "last_at": "timestamptz",
    "closed": "boolean",
    "closed_at": "timestamptz",
    "plan_total": "integer",
    "plan_dead": "text",
    "ended_by": "text",
    "planned_items": "integer",
    "items": "integer",
    "new": "integer",
    "changed": "integer",
    "unchanged": "integer",
    "gone": "integer",
    "reappeared": "integer",
    "skipped": "integer",
    "failed": "integer",
    "bytes": "bigint",
    "requests": "integer",
    "cpu_seconds": "float8",
    "peak_memory_bytes": "bigint",
    "corrected": "boolean",
    "statements": "integer",
}
"""What the ledger writes; who asked for the run writes the rest."""
ITEM_TYPES = {
    "rank": "smallint",
    "at": "timestamptz",
    "outcome": "text",
    "reason": "text",
    "detail": "text",
    "name": "text",
    "sha256": "text",
    "records": "text",
    "planned": "boolean",
    "begun_at": "timestamptz",
    "ended_at": "timestamptz",
    "corrected": "boolean",
    "requests": "integer",
    "bytes": "bigint",
    "cpu_seconds": "float8",
    "peak_memory_bytes": "bigint",
}
RUN_COLUMNS = ", ".join(field.name for field in fields(Run))


def _unnest(types: Mapping[str, str]) -> str:
    return ", ".join(f"${number}::{type}[]" for number, type in enumerate(types.values(), start=1))


INSERT_RUNS = f"""
INSERT INTO {SCHEMA}.runs (run, source, trigger, state, requested_at)
SELECT run, source, '', 'requested', requested_at
FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS stated(run, source, requested_at) ORDER BY run
ON CONFLICT DO NOTHING
"""
LOCK_RUNS = f"SELECT {RUN_COLUMNS} FROM {SCHEMA}.runs WHERE run = ANY(:runs) ORDER BY run FOR UPDATE"
FIND_ITEMS = f"""
SELECT run, item, {", ".join(ITEM_TYPES)} FROM {SCHEMA}.run_items
WHERE (run, item) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
SAVE_ITEMS = f"""
INSERT INTO {SCHEMA}.run_items (run, item, {", ".join(ITEM_TYPES)})
SELECT run, item, {", ".join("records::jsonb" if name == "records" else name for name in ITEM_TYPES)}
FROM unnest({_unnest({"run": "text", "item": "text", **ITEM_TYPES})}) AS now(run, item, {", ".join(ITEM_TYPES)})
ORDER BY run, item
ON CONFLICT (run, item) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in ITEM_TYPES)}
"""
SAVE_RUNS = f"""
UPDATE {SCHEMA}.runs AS known SET {", ".join(f"{name} = now.{name}" for name in RUN_TYPES)}
FROM unnest({_unnest({"run": "text", **RUN_TYPES})}) AS now(run, {", ".join(RUN_TYPES)})
WHERE known.run = now.run
"""
REASONS = f"""
SELECT run, reason, count(*) FILTER (WHERE outcome = 'failed'), max(ended_at)
FROM {SCHEMA}.run_items WHERE run = ANY(:runs) GROUP BY run, reason
"""
RECORDS = f"""
SELECT run, changes.key, sum((value->>'new')::bigint), sum((value->>'changed')::bigint),
       sum((value->>'unchanged')::bigint), sum((value->>'history')::bigint),
       sum(coalesce((value->>'gone')::bigint, 0))
FROM {SCHEMA}.run_items, jsonb_each(records) AS changes
WHERE run = ANY(:runs) AND records IS NOT NULL GROUP BY run, changes.key
"""
SAVE_RECORDS = f"""
UPDATE {SCHEMA}.runs AS known SET records = now.records::jsonb
FROM unnest($1::text[], $2::text[]) AS now(run, records) WHERE known.run = now.run
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What ends a run from outside: a limit, or a person."""

    run: str
    state: str
    """cancelled, timed_out, failed."""
    reason: str
    """Slug."""
    at: datetime


async def record_words(tx: Tx, words: Sequence[Word]) -> list[Outgoing]:
    """Write what was said about runs; states the ends that follow from it."""
    by_run: dict[str, list[Word]] = defaultdict(list)
    for word in words:
        by_run[word.run].append(word)
    names = sorted(by_run)
    await tx.exec_driver_sql(
        INSERT_RUNS,
        (names, [by_run[run][0].source for run in names], [min(word.at for word in by_run[run]) for run in names]),
    )
    known = await _lock(tx, names)
    items = await _items(tx, {(word.run, item) for word in words for item in word.items})
    now: dict[str, Run] = {}
    changed: dict[tuple[str, str], Item] = {}
    for name in names:
        run = known[name]
        for word in by_run[name]:
            run = hear(run, word)
            for item, said in word.items.items():
                before = changed.get((name, item)) or items.get((name, item))
                after = said if before is None else merge(before, said)
                if after != before:
                    run = count(run, before, after)
                    changed[name, item] = after
        now[name] = run
    await _save_items(tx, changed)
    parents = {word.run: word.traceparent for word in words}
    return await _settle(tx, known, now, parents)


async def end_runs(tx: Tx, verdicts: Sequence[Verdict]) -> list[Outgoing]:
    """End runs from outside; those that ended by themselves meanwhile stay as they are."""
    by_run = {verdict.run: verdict for verdict in verdicts}
    known = await _lock(tx, sorted(by_run))
    now = {
        name: replace(run, state=verdict.state, reason=verdict.reason, ended_by=verdict.reason, finished_at=verdict.at)
        for name, run in known.items()
        if not run.ended and (verdict := by_run[name])
    }
    return await _settle(tx, known, now, {})


async def _settle(
    tx: Tx, known: Mapping[str, Run], changed: Mapping[str, Run], parents: Mapping[str, str]
) -> list[Outgoing]:
    """Judge, save, and state the ends that are new or no longer true as they were stated."""
    endings = await _endings(tx, [name for name, run in changed.items() if may_end(run) or run.ended_by])
    now: dict[str, Run] = {}
    stated: list[Run] = []
    for name, heard in changed.items():
        before = known[name]
        run = judge(heard, endings.get(name, Ending()))
        if run.ended and (not before.ended or run.told != before.told):
            corrected = run.corrected or before.statements > 0
            stated.append(replace(run, statements=run.statements + 1, corrected=corrected))
        now[name] = run
    now |= {run.run: run for run in stated}
    await _save_runs(tx, now)
    await _save_records(tx, {run.run: endings[run.run].records for run in stated if run.run in endings})
    return [
        Outgoing(
            f"{run.run}/finished/{run.statements}",
            finished(run, endings.get(run.run, Ending())),
            parents.get(run.run, ""),
        )
        for run in stated
    ]


def finished(run: Run, ending: Ending) -> RunFinished:
    assert run.finished_at is not None
    return RunFinished(
        source=run.source,
        run=run.run,
        state=run.state,
        trigger=run.trigger,
        slot=run.slot,
        items=run.items,
        new=run.new,
        changed=run.changed,
        unchanged=run.unchanged,
        gone=run.gone,
        reappeared=run.reappeared,
        skipped=run.skipped,
        failed=run.failed,
        bytes=run.bytes,
        requests=run.requests,
        duration_seconds=max(0.0, (run.finished_at - run.requested_at).total_seconds()),
        cpu_seconds=run.cpu_seconds,
        peak_memory_bytes=run.peak_memory_bytes,
        config_version=run.config_version,
        reason=run.reason,
        corrected=run.corrected,
        requested_at=run.requested_at,
        finished_at=run.finished_at,
        records={dataset: Changes(**changes) for dataset, changes in ending.records.items()},
    )


async def _lock(tx: Tx, names: Sequence[str]) -> dict[str, Run]:
    return {row.run: Run(**row._mapping) for row in await tx.execute(text(LOCK_RUNS), {"runs": list(names)})}


async def _items(tx: Tx, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Item]:
    pairs = sorted(keys)
    if not pairs:
        return {}
    rows = await tx.exec_driver_sql(FIND_ITEMS, ([run for run, _ in pairs], [item for _, item in pairs]))
    return {
        (row.run, row.item): Item(
            **{name: getattr(row, name) for name in ITEM_TYPES if name not in ("rank", "records")},
            rank=Rank(row.rank),
            records=_parsed(row.records),
        )
        for row in rows
    }


def _parsed(records: Any) -> Mapping[str, Mapping[str, int]]:
    parsed: Mapping[str, Mapping[str, int]] = json.loads(records) if isinstance(records, str) else records or {}
    return parsed


async def _save_items(tx: Tx, changed: Mapping[tuple[str, str], Item]) -> None:
    if not changed:
        return
    columns: list[list[Any]] = [[run for run, _ in changed], [item for _, item in changed]]
    for name in ITEM_TYPES:
        values = [getattr(item, name) for item in changed.values()]
        columns.append([json.dumps(value) if value else None for value in values] if name == "records" else values)
    await tx.exec_driver_sql(SAVE_ITEMS, tuple(columns))


async def _save_runs(tx: Tx, now: Mapping[str, Run]) -> None:
    if now:
        columns = [[getattr(run, name) for run in now.values()] for name in ("run", *RUN_TYPES)]
        await tx.exec_driver_sql(SAVE_RUNS, tuple(columns))


async def _save_records(tx: Tx, records: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
    told = {run: json.dumps(changes) for run, changes in records.items() if changes}
    if told:
        await tx.exec_driver_sql(SAVE_RECORDS, (list(told), list(told.values())))


async def _endings(tx: Tx, names: Sequence[str]) -> dict[str, Ending]:
    if not names:
        return {}
    reasons: dict[str, dict[str, int]] = defaultdict(dict)
    ended: dict[str, datetime] = {}
    for run, reason, failed, at in await tx.execute(text(REASONS), {"runs": list(names)}):
        if failed:
            reasons[run][reason] = failed
        if at is not None:
            ended[run] = max(at, ended.get(run, at))
    records: dict[str, dict[str, dict[str, int]]] = defaultdict(dict)
    for run, dataset, new, changed, unchanged, history, gone in await tx.execute(text(RECORDS), {"runs": list(names)}):
        records[run][dataset] = {
            "new": int(new),
            "changed": int(changed),
            "unchanged": int(unchanged),
            "history": int(history),
            "gone": int(gone),
        }
    return {name: Ending(ended.get(name), reasons.get(name, {}), records.get(name, {})) for name in names}
