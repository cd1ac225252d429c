"""What a run does about each target it knows, and why: set-based SQL, no query for each, memory that does not grow."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.scraper import policy
from tidemill.scraper.checks import Facts

SLICE = 2_000


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that is under way."""

    run: str
    source: str
    trigger: str
    phase: str
    config_version: int
    most: int | None
    everything: bool
    partial: bool
    only_items: tuple[str, ...] | None
    priority: int
    deadline: datetime | None
    items: int
    statements: int


@dataclass(frozen=True, slots=True)
class SearchState:
    """How a search of a run ended."""

    search: int
    item: str
    url: str
    pages: int
    seen: int
    found: int | None
    stop: str | None
    complete: bool
    failure: str | None
    detail: str
    requests: int
    bytes_received: int
    attempts: int


@dataclass(frozen=True, slots=True)
class GoneTarget:
    """A target that is gone without having been asked."""

    item: str
    name: str
    path: str
    sha256: str


_COLUMNS = ", ".join(OpenRun.__slots__)
_IDLE = text(f"""
    SELECT {_COLUMNS} FROM scraper.runs r
    WHERE phase <> 'closed' AND frozen_at IS NULL AND (leased_until IS NULL OR leased_until < now())
        AND NOT EXISTS (SELECT 1 FROM scraper.jobs j WHERE j.run = r.run AND j.state <> 'done')
    ORDER BY requested_at, run
""")
_LOCK = text(f"""
    SELECT {_COLUMNS} FROM scraper.runs WHERE run = :run AND phase = :phase AND frozen_at IS NULL FOR UPDATE
""")
_LEASE = text("""
    UPDATE scraper.runs SET leased_until = now() + :lease
    WHERE run = :run AND phase = :phase AND (leased_until IS NULL OR leased_until < now())
""")
_SEARCHES = text("""
    SELECT s.search, s.item, s.position->>'url' AS url, s.pages, s.seen, s.found, s.stop, s.complete, s.failure,
        s.detail, coalesce(j.requests, 0) AS requests, coalesce(j.bytes_received, 0) AS bytes_received,
        coalesce(j.attempts, 0) AS attempts
    FROM scraper.searches s LEFT JOIN scraper.jobs j USING (run, item) WHERE s.run = :run ORDER BY s.search
""")


async def find_idle_runs(engine: AsyncEngine) -> list[OpenRun]:
    """Runs of which nothing is to be asked for: their phase has ended."""
    async with engine.connect() as connection:
        at_once = await connection.execution_options(isolation_level="AUTOCOMMIT")
        return [_run(row) for row in await at_once.execute(_IDLE)]


async def lock_run(tx: Tx, run: OpenRun) -> OpenRun | None:
    """The run until the end of the transaction; None where it has moved on."""
    row = (await tx.execute(_LOCK, {"run": run.run, "phase": run.phase})).one_or_none()
    return None if row is None else _run(row)


async def lease_run(engine: AsyncEngine, run: OpenRun, lease: timedelta) -> bool:
    """Whether it is ours for so long."""
    async with engine.begin() as tx:
        taken = await tx.execute(_LEASE, {"run": run.run, "phase": run.phase, "lease": lease})
        return bool(taken.rowcount)


def _run(row: Any) -> OpenRun:
    values = dict(row._mapping)
    return OpenRun(**{**values, "only_items": tuple(values["only_items"]) if values["only_items"] else None})


async def find_searches(tx: Tx, run: str) -> list[SearchState]:
    return [SearchState(**row._mapping) for row in await tx.execute(_SEARCHES, {"run": run})]


async def doubt_search(tx: Tx, run: str, search: int, failure: str) -> None:
    """It did not see all that there is after all."""
    doubting = "UPDATE scraper.searches SET complete = false, failure = :failure WHERE run = :run AND search = :search"
    await tx.execute(text(doubting), {"run": run, "search": search, "failure": failure})


# One decision per target. Who is asked for by name comes first; what is not listed is not asked for in this phase.
_DECIDE = text("""
    INSERT INTO scraper.decisions (run, target, source, decision, decided_at)
    SELECT :run, id, source, CASE
        WHEN item = ANY(:only) THEN 'asked'
        WHEN seen_run <> :run AND :partial THEN 'left_out'
        WHEN seen_run <> :run AND gone_at IS NOT NULL THEN 'gone'
        WHEN seen_run <> :run THEN 'unseen'
        WHEN duplicate_of IS NOT NULL AND hint = checked_hint AND NOT :everything AND NOT EXISTS (
            SELECT 1 FROM scraper.targets o
            WHERE o.source = t.source AND o.item = t.duplicate_of AND o.gone_at IS NOT NULL
        ) THEN 'duplicate'
        WHEN given_up AND hint = checked_hint AND NOT :everything THEN 'given_up'
        WHEN failures > 0 AND next_check_at > :now AND NOT given_up AND NOT :everything THEN 'waiting'
        WHEN gone_at IS NOT NULL AND sha256 IS NOT NULL THEN 'reappeared'
        WHEN failures > 0 THEN 'backoff'
        WHEN content_hash IS NULL THEN 'new'
        WHEN hint <> checked_hint AND hint <> '' THEN 'hint'
        WHEN :everything OR checked_at <= :stale_before THEN 'stale'
        ELSE 'fresh'
    END, :now
    FROM scraper.targets t WHERE source = :source
""")
_DUE = text("""
    SELECT d.target, t.url FROM scraper.decisions d JOIN scraper.targets t ON t.id = d.target
    WHERE d.run = :run AND d.target > :after AND d.decision = ANY(:fetched) ORDER BY d.target LIMIT :slice
""")
_ROBOTS = text("UPDATE scraper.decisions SET decision = 'robots' WHERE run = :run AND target = ANY(:targets)")
# The place of each in its turn; probes of what may be gone go before what is only stale, so room is kept for them.
_ORDER = """
    SELECT d.target, d.decision, row_number() OVER (
        ORDER BY array_position(CAST(:fetched AS text[]), d.decision),
            CASE WHEN d.decision IN ('stale', 'hint') THEN t.checked_at WHEN d.decision = 'backoff'
                THEN t.next_check_at END NULLS FIRST, t.seen_search, t.id
    ) AS place
    FROM scraper.decisions d JOIN scraper.targets t ON t.id = d.target
    WHERE d.run = :run AND d.decision = ANY(:fetched)
"""
_BUDGET = text(f"""
    UPDATE scraper.decisions d SET decision = 'over_budget' FROM ({_ORDER}) o
    WHERE d.run = :run AND d.target = o.target
        AND o.place > CAST(:budget AS bigint) - CASE WHEN o.decision = 'stale' THEN CAST(:reserved AS bigint) ELSE 0 END
""")
_JOBS = text(f"""
    INSERT INTO scraper.jobs (run, item, source, kind, target, decision, url, host, state, priority, place, due_at,
        config_version)
    SELECT :run, t.item, t.source, 'target', t.id, o.decision, t.url, t.host, 'due',
        :before + array_position(CAST(:fetched AS text[]), o.decision), o.place, now(), :config_version
    FROM ({_ORDER}) o JOIN scraper.targets t ON t.id = o.target WHERE o.decision = ANY(:chosen)
    ON CONFLICT (run, item) DO NOTHING
""")
_ITEMS = text("""
    SELECT item FROM scraper.jobs WHERE run = :run AND kind = 'target' AND decision = ANY(:decisions)
    ORDER BY priority, place
""")
_MISSING = """
    FROM scraper.decisions d JOIN scraper.targets t ON t.id = d.target
    WHERE d.run = :run AND d.decision = 'unseen'
"""
# What a run missed of which somebody has said that it may be gone, and no run has seen since.
_RELEASED = """EXISTS (
    SELECT 1 FROM scraper.runs was JOIN scraper.decisions held ON held.run = was.run AND held.target = d.target
    WHERE was.source = d.source AND was.released_at IS NOT NULL AND held.decision = 'held'
        AND t.seen_at < was.planned_at
)"""
_BELIEVED = f"{_MISSING} AND (NOT :only_released OR {_RELEASED})"
_RESERVED = text(f"SELECT count(*) {_MISSING} AND t.misses + 1 >= :after AND t.sha256 IS NOT NULL AND NOT t.given_up")
_HOLD = text(f"""
    UPDATE scraper.decisions d SET decision = 'held' FROM (
        SELECT d.target {_MISSING} AND t.misses + 1 >= :after AND NOT {_RELEASED}
    ) m WHERE d.run = :run AND d.target = m.target
""")
_MISS = text(f"""
    UPDATE scraper.targets t SET misses = misses + 1 FROM (SELECT d.target {_BELIEVED}) m WHERE t.id = m.target
""")
# What never came leaves silently; of what was given up nobody asks again, so that not to be listed is enough.
_CHOOSE = text(f"""
    UPDATE scraper.decisions d SET decision = m.decision FROM (
        SELECT d.target, CASE
            WHEN t.sha256 IS NULL THEN 'gone'
            WHEN t.given_up OR NOT :probe THEN 'missing'
            WHEN t.failures > 0 AND t.next_check_at > :now THEN 'waiting'
            WHEN row_number() OVER (
                PARTITION BY t.sha256 IS NULL OR t.given_up OR (t.failures > 0 AND t.next_check_at > :now)
                ORDER BY t.misses DESC, t.seen_at, t.id
            ) > CAST(:budget AS bigint) THEN 'over_budget'
            ELSE 'missing'
        END AS decision {_BELIEVED} AND t.misses >= :after
    ) m WHERE d.run = :run AND d.target = m.target
""")
_GONE = text("""
    UPDATE scraper.targets t SET gone_at = :now, gone_reason = 'unlisted', failures = 0, failure = NULL,
        next_check_at = NULL, given_up = false
    FROM scraper.decisions d
    WHERE d.run = :run AND d.target = t.id AND t.gone_at IS NULL AND (
        (d.decision = 'gone' AND t.sha256 IS NULL) OR (d.decision = 'missing' AND (t.given_up OR NOT :probe)))
    RETURNING t.id, t.item, t.name, t.path, t.sha256
""")
_GONE_JOBS = text("""
    INSERT INTO scraper.jobs (run, item, source, kind, target, decision, url, host, state, priority, place, due_at,
        outcome, done_at)
    SELECT :run, item, source, 'target', id, 'missing', url, host, 'done', 0, 0, now(), 'gone', now()
    FROM scraper.targets WHERE id = ANY(:targets) ON CONFLICT (run, item) DO NOTHING
""")
_COUNTS = text("SELECT decision, count(*) AS counted FROM scraper.decisions WHERE run = :run GROUP BY decision")
_PLANNED = text("""
    UPDATE scraper.runs SET phase = :next, leased_until = NULL, planned_at = :now,
        known = (SELECT count(*) FROM scraper.decisions WHERE run = :run),
        seen = (SELECT count(*) FROM scraper.targets t WHERE t.source = scraper.runs.source AND t.seen_run = :run)
    WHERE run = :run
""")


async def decide(tx: Tx, run: OpenRun, stale_after: timedelta, now: datetime) -> None:
    """A row for every target of the source."""
    await tx.execute(
        _DECIDE,
        {
            "run": run.run,
            "source": run.source,
            "only": list(run.only_items or ()),
            "partial": run.partial,
            "everything": run.everything,
            "now": now,
            "stale_before": now - stale_after,
        },
    )


async def due_targets(engine: AsyncEngine, run: str) -> AsyncIterator[Sequence[tuple[int, str]]]:
    """Ids and addresses of those that are asked for, in slices."""
    after = -1
    while True:
        async with engine.connect() as connection:
            named = {"run": run, "after": after, "fetched": list(policy.FETCHED), "slice": SLICE}
            found = [(row.target, row.url) for row in await connection.execute(_DUE, named)]
        if not found:
            return
        yield found
        after = found[-1][0]


async def disallow(engine: AsyncEngine, run: str, targets: Collection[int]) -> None:
    """robots.txt does not let us ask for them."""
    async with engine.begin() as tx:
        await tx.execute(_ROBOTS, {"run": run, "targets": sorted(targets)})


async def count_may_be_gone(tx: Tx, run: str, after: int) -> int:
    """How many would be asked whether they are gone, if nothing speaks against it."""
    return int((await tx.execute(_RESERVED, {"run": run, "after": after})).scalar_one())


async def keep_budget(tx: Tx, run: str, budget: int, reserved: int) -> None:
    """So many, the most important first; `reserved` places are not for what is only stale."""
    named = {"run": run, "fetched": list(policy.FETCHED), "budget": budget, "reserved": reserved}
    await tx.execute(_BUDGET, named)


async def add_jobs(tx: Tx, run: OpenRun, decisions: Collection[str]) -> None:
    """What these decisions ask for is due."""
    await tx.execute(
        _JOBS,
        {
            "run": run.run,
            "fetched": list(policy.FETCHED),
            "chosen": list(decisions),
            "before": run.priority,
            "config_version": run.config_version,
        },
    )


async def items(tx: Tx, run: str, decisions: Collection[str]) -> AsyncIterator[list[str]]:
    """What is asked for because of these decisions, in order, in slices."""
    rows = await tx.stream(_ITEMS, {"run": run, "decisions": list(decisions)})
    async for slice in rows.scalars().partitions(SLICE):
        yield list(slice)


async def hold(tx: Tx, run: str, after: int, reason: str) -> None:
    """A check forbids to say what is gone."""
    await tx.execute(_HOLD, {"run": run, "after": after})
    held = "UPDATE scraper.runs SET held = :reason WHERE run = :run"
    await tx.execute(text(held), {"run": run, "reason": reason})


async def miss(
    tx: Tx, run: OpenRun, *, after: int, probe: bool, budget: int | None, now: datetime, only_released: bool = False
) -> list[GoneTarget]:
    """Count what a complete run did not list: asked for, where that is wanted; gone at once otherwise, and these are
    what is returned. Of a run that a check holds only what somebody has released counts."""
    named = {"run": run.run}
    chosen = {**named, "only_released": only_released}
    await tx.execute(_MISS, chosen)
    most = 2**40 if budget is None else budget
    await tx.execute(_CHOOSE, {**chosen, "after": after, "probe": probe, "now": now, "budget": most})
    gone = (await tx.execute(_GONE, {**named, "probe": probe, "now": now})).all()
    told = [row for row in gone if row.sha256 is not None]
    await tx.execute(_GONE_JOBS, {**named, "targets": sorted(row.id for row in told)})
    await add_jobs(tx, run, ["missing"])
    return [GoneTarget(row.item, row.name, row.path, row.sha256) for row in sorted(told, key=lambda row: row.item)]


async def count_decisions(tx: Tx, run: str) -> dict[str, int]:
    return {row.decision: row.counted for row in await tx.execute(_COUNTS, {"run": run})}


async def count_asked(tx: Tx, run: str) -> int:
    """Targets that the run asked for."""
    counted = text("SELECT count(*) FROM scraper.jobs WHERE run = :run AND kind = 'target'")
    return int((await tx.execute(counted, {"run": run})).scalar_one())


async def move_on(tx: Tx, run: str, phase: str) -> None:
    moved = "UPDATE scraper.runs SET phase = :phase, leased_until = NULL WHERE run = :run"
    await tx.execute(text(moved), {"run": run, "phase": phase})


async def planned(tx: Tx, run: str, now: datetime) -> None:
    """All is decided that can be before anything is asked for."""
    await tx.execute(_PLANNED, {"run": run, "next": "fetch", "now": now})


async def close(tx: Tx, run: str, outcome: str, now: datetime) -> None:
    closed = "UPDATE scraper.runs SET phase = 'closed', outcome = :outcome, closed_at = :now WHERE run = :run"
    await tx.execute(text(closed), {"run": run, "outcome": outcome, "now": now})


async def count_statement(tx: Tx, run: str, more_items: int) -> tuple[int, int]:
    """Another part of the plan is stated: its number, and how many items there are with it."""
    counted = text("""
        UPDATE scraper.runs SET items = items + :more, statements = statements + 1 WHERE run = :run
        RETURNING statements, items
    """)
    row = (await tx.execute(counted, {"run": run, "more": more_items})).one()
    return row.statements, row.items


_FACTS = text("""
    SELECT r.seen, r.known, r.requested_at,
        (SELECT count(*) FROM scraper.jobs j WHERE j.run = r.run AND j.kind = 'target') AS asked,
        (SELECT count(*) FROM scraper.jobs j
            WHERE j.run = r.run AND j.kind = 'target' AND j.outcome = 'failed') AS failed,
        (SELECT count(DISTINCT p.item) FROM scraper.pages p
            WHERE p.run = r.run AND p.kind = 'target' AND p.state IN ('ok', 'incomplete') AND p.fields IS NOT NULL
        ) AS read,
        (SELECT coalesce(jsonb_object_agg(field, pages), '{}') FROM (
            SELECT field, count(DISTINCT p.item) AS pages FROM scraper.pages p, unnest(p.fields) AS field
            WHERE p.run = r.run AND p.kind = 'target' AND p.state IN ('ok', 'incomplete') GROUP BY field
        ) counted) AS fields
    FROM scraper.runs r WHERE r.run = :run
""")


async def find_facts(tx: Tx, run: OpenRun, now: datetime) -> Facts:
    row = (await tx.execute(_FACTS, {"run": run.run})).one()
    return Facts(run=run.run, source=run.source, now=now, **row._mapping)
