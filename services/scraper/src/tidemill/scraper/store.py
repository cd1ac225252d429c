"""The queue: what is to be asked for, what came of it, and what is known of each target. With `decide` the only module
of the scraper that knows SQL."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, case, delete, func, literal, select, text, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Done, Tx
from tidemill.common.events import RunRequested, ScrapeDue
from tidemill.extract import Position
from tidemill.scraper import policy
from tidemill.scraper.outcomes import Attempt, Claimed, Failed, Present, Searched, SearchPage
from tidemill.scraper.policy import InRow, Search, Wishes
from tidemill.scraper.settle import Settled, Tally, position_json
from tidemill.scraper.tables import hosts, jobs, pages, runs, search_pages, searches, targets

LEASE = timedelta(minutes=3)
"""After so long without a sign a job that was handed out counts as lost. Its message came again long before, unless it
was dropped."""
JOBS_KEPT = timedelta(days=90)
SEARCH_PAGES_KEPT = timedelta(days=30)
RELEASE_LOCK = 0x73637261
"""One replica at a time hands out, so that what is handed out is counted right."""

_OPEN = jobs.c.state != "done"


@dataclass(frozen=True, slots=True)
class Handed:
    """A job as it was handed out."""

    run: str
    item: str
    handed: int
    """For the so-manieth time."""


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A job on its way to whoever scrapes."""

    source: str
    run: str
    item: str
    url: str
    kind: str
    config_version: int
    deadline: datetime | None
    handed: int
    """How often it was, this time included."""

    @property
    def due(self) -> ScrapeDue:
        return ScrapeDue(
            source=self.source,
            run=self.run,
            item=self.item,
            url=self.url,
            kind=self.kind,
            config_version=self.config_version,
            deadline=self.deadline,
        )


@dataclass(frozen=True, slots=True)
class Dropped:
    """A target that a run does not ask for any more."""

    source: str
    run: str
    item: str
    name: str
    url: str
    host: str
    reason: str
    attempts: int
    requests: int
    bytes_received: int


def due_id(due: ScrapeDue, handed: int) -> str:
    """The id of the event that hands a job out for the so-manieth time."""
    return f"{due.run}/{due.item}#{handed}"


def _json(rows: Sequence[Mapping[str, Any]]) -> str:
    return json.dumps(rows, default=str, ensure_ascii=False).replace("\\u0000", "")


# A run


async def add_run(
    tx: Tx,
    event: RunRequested,
    wishes: Wishes,
    begun: Sequence[tuple[Search, Position]],
) -> None:
    """The run, its searches, and a job for the first page of each."""
    before = policy.run_priority(event.trigger)
    added = await tx.execute(
        insert(runs)
        .values(
            run=event.run,
            source=event.source,
            trigger=event.trigger,
            phase="search",
            config_version=event.config_version,
            most=wishes.most,
            everything=wishes.everything,
            partial=wishes.partial or bool(event.only_items),
            only_items=list(event.only_items) or None,
            priority=before,
            deadline=event.deadline,
            requested_at=event.requested_at,
        )
        .on_conflict_do_nothing()
    )
    if not added.rowcount or not begun:
        return
    await tx.execute(
        insert(searches).values(
            [
                {
                    "run": event.run,
                    "search": search.number,
                    "item": search.item,
                    "labels": dict(search.labels),
                    "position": position_json(position),
                }
                for search, position in begun
            ]
        )
    )
    await tx.execute(
        insert(jobs).values(
            [
                {
                    "run": event.run,
                    "item": search.item,
                    "source": event.source,
                    "kind": "search",
                    "decision": "",
                    "url": position.url,
                    "host": policy.host_of(position.url),
                    "state": "due",
                    "priority": before,
                    "place": search.number,
                    "due_at": func.now(),
                    "config_version": event.config_version,
                }
                for search, position in begun
            ]
        )
    )


# The release loop


async def lock_release(tx: Tx) -> bool:
    """Whether this transaction is the one that hands out now."""
    return bool((await tx.execute(select(func.pg_try_advisory_xact_lock(RELEASE_LOCK)))).scalar())


async def find_open_runs(engine: AsyncEngine) -> list[str]:
    """Without a transaction: mostly there are none, and it is asked all the time."""
    async with engine.connect() as connection:
        at_once = await connection.execution_options(isolation_level="AUTOCOMMIT")
        return list((await at_once.execute(select(runs.c.run).where(runs.c.phase != "closed"))).scalars())


async def end_runs(tx: Tx, cancelled: Collection[str]) -> None:
    """Nobody asks any more for what cancelled and timed-out runs had left."""
    if cancelled:
        await _end(tx, "cancelled", runs.c.run.in_(sorted(cancelled)))
    await _end(tx, "timed_out", (runs.c.deadline < func.now()) & runs.c.frozen_at.is_(None))


async def _end(tx: Tx, outcome: str, which: Any) -> None:
    ended = (
        update(runs)
        .where(runs.c.phase != "closed", which)
        .values(phase="closed", outcome=outcome, closed_at=func.now(), frozen_at=None)
        .returning(runs.c.run)
    )
    names = list((await tx.execute(ended)).scalars())
    if names:
        await tx.execute(
            update(jobs)
            .where(_OPEN, jobs.c.run.in_(names))
            .values(state="done", outcome=outcome, done_at=func.now(), leased_until=None)
        )


async def freeze(tx: Tx, sources: Collection[str], *, everything: bool) -> None:
    """An emergency stop holds the clocks of runs; after it they go on."""
    stopped = true() if everything else runs.c.source.in_(sorted(sources))
    is_open = runs.c.phase != "closed"
    await tx.execute(
        update(runs)
        .where(is_open, stopped, runs.c.deadline.is_not(None), runs.c.frozen_at.is_(None))
        .values(frozen_at=func.now())
    )
    await tx.execute(
        update(runs)
        .where(is_open, ~stopped, runs.c.frozen_at.is_not(None))
        .values(deadline=runs.c.deadline + (func.now() - runs.c.frozen_at), frozen_at=None)
    )


_TAKE_BLOCKED = text("""
    WITH doomed AS (
        SELECT j.run, j.item, min(h.reason) AS reason
        FROM scraper.jobs j JOIN scraper.runs r USING (run)
            JOIN scraper.holds h ON (h.source, h.host) = (j.source, j.host)
        WHERE j.state = 'due' AND r.deadline < now() + :margin AND r.frozen_at IS NULL
        GROUP BY j.run, j.item
    )
    UPDATE scraper.jobs j SET state = 'done', outcome = 'failed', failure = d.reason, done_at = now()
    FROM doomed d
    WHERE (j.run, j.item) = (d.run, d.item) AND j.state <> 'done'
    RETURNING j.source, j.run, j.item, j.kind, j.url, j.host, d.reason, j.attempts, j.requests, j.bytes_received,
        j.target
""")


async def take_blocked(tx: Tx, margin: timedelta) -> list[Dropped]:
    """Targets at held hosts whose runs time out within so long: they will not be had, and why is known."""
    return await _dropped(tx, (await tx.execute(_TAKE_BLOCKED, {"margin": margin})).all())


_DROP_HOST = text("""
    UPDATE scraper.jobs j SET state = 'done', outcome = 'failed', failure = :failure, done_at = now()
    WHERE j.run = :run AND j.source = :source AND j.host = :host AND j.state = 'due'
    RETURNING j.source, j.run, j.item, j.kind, j.url, j.host, j.failure AS reason, j.attempts, j.requests,
        j.bytes_received, j.target
""")


async def drop_host(tx: Tx, source: str, host: str, run: str, failure: str) -> list[Dropped]:
    """Targets of a run at a host that it asks no more."""
    named = {"source": source, "host": host, "run": run, "failure": failure}
    return await _dropped(tx, (await tx.execute(_DROP_HOST, named)).all())


async def _dropped(tx: Tx, rows: Sequence[Row[Any]]) -> list[Dropped]:
    """The targets among them, with their names; searches among them have failed."""
    for row in rows:
        if row.kind == "search":
            await tx.execute(
                update(searches)
                .where(searches.c.run == row.run, searches.c.item == row.item)
                .values(stop="failed", failure=row.reason, detail=f"{row.host} could not be asked")
            )
    found = [row for row in rows if row.kind == "target"]
    if not found:
        return []
    known = await tx.execute(
        select(targets.c.id, targets.c.name).where(targets.c.id == func.any([row.target for row in found]))
    )
    names = {row.id: row.name for row in known}
    return [
        Dropped(
            row.source,
            row.run,
            row.item,
            names.get(row.target, ""),
            row.url,
            row.host,
            row.reason,
            row.attempts,
            row.requests,
            row.bytes_received,
        )
        for row in sorted(found, key=lambda row: (row.run, row.item))
    ]


async def count_waiting(engine: AsyncEngine) -> int:
    """Jobs that are not handed out."""
    async with engine.connect() as connection:
        counted = select(func.count()).select_from(jobs).where(jobs.c.state == "due")
        return int((await connection.execute(counted)).scalar_one())


async def take_back_lost(tx: Tx) -> int:
    """Jobs whose lease ran out are due again; how many."""
    lost = await tx.execute(
        update(jobs)
        .where(jobs.c.state == "handed", jobs.c.leased_until < func.now())
        .values(state="due", leased_until=None)
    )
    return int(lost.rowcount)


# As many look-ups as there are hosts, however many jobs wait for each: DISTINCT would read them all.
_FIND_DUE = text("""
    WITH RECURSIVE found AS (
        (SELECT source, host FROM scraper.jobs WHERE state = 'due' ORDER BY source, host LIMIT 1)
        UNION ALL
        SELECT further.* FROM found, LATERAL (
            SELECT source, host FROM scraper.jobs
            WHERE state = 'due' AND (source, host) > (found.source, found.host) ORDER BY source, host LIMIT 1
        ) further
    )
    SELECT source, host FROM found LEFT JOIN scraper.hosts USING (source, host)
    WHERE source <> ALL(:held) AND (not_before IS NULL OR not_before <= now())
    ORDER BY source, host
""")


async def find_due(tx: Tx, held: Collection[str]) -> list[tuple[str, str]]:
    """Sources and hosts for which something waits, without the sources that are held."""
    return [(row.source, row.host) for row in await tx.execute(_FIND_DUE, {"held": sorted(held)})]


async def count_handed(tx: Tx) -> dict[str, int]:
    """By host."""
    counted = select(jobs.c.host, func.count().label("handed")).where(jobs.c.state == "handed").group_by(jobs.c.host)
    return {row.host: row.handed for row in await tx.execute(counted)}


_HAND_OUT = text("""
    WITH next_ones AS (
        SELECT run, item FROM scraper.jobs j
        WHERE state = 'due' AND source = :source AND host = :host AND due_at <= now() AND NOT EXISTS (
            SELECT 1 FROM scraper.jobs other
            WHERE other.state = 'handed' AND other.source = j.source AND other.item = j.item AND other.run <> j.run
        )
        ORDER BY priority, place, run, item LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE scraper.jobs j SET state = 'handed', handed = j.handed + 1, leased_until = now() + :lease
    FROM next_ones n JOIN scraper.runs r USING (run)
    WHERE (j.run, j.item) = (n.run, n.item)
    RETURNING j.source, j.run, j.item, j.url, j.kind, j.config_version, r.deadline, j.handed, j.priority, j.place
""")


async def hand_out(tx: Tx, source: str, host: str, most: int) -> list[HandedOut]:
    """Take the next jobs; a target that another run asks for just now waits for it."""
    named = {"source": source, "host": host, "most": most, "lease": LEASE}
    rows = (await tx.execute(_HAND_OUT, named)).all()
    return [HandedOut(*row[:8]) for row in sorted(rows, key=lambda row: (row.priority, row.place, row.run, row.item))]


# One job

_CLAIM = text("""
    WITH mine AS (
        UPDATE scraper.jobs j SET leased_until = now() + :lease
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(run text, item text, handed int)
        WHERE (j.run, j.item, j.handed) = (e.run, e.item, e.handed) AND j.state = 'handed'
        RETURNING j.run, j.source, j.item, j.handed, j.decision, j.url, j.host, j.target
    )
    SELECT mine.run AS of_run, mine.item AS of_item, mine.handed, mine.decision, mine.url AS asked,
        mine.host AS asked_host, r.deadline + coalesce(now() - r.frozen_at, '0') AS deadline,
        r.most IS NOT NULL AS limited, r.everything, t.*, s.search, s.position,
        p.found_at, p.etag AS page_etag, p.last_modified AS page_modified,
        p.content_type AS page_type, p.sha256 AS page_sha256,
        p.size_bytes AS page_size
    FROM mine JOIN scraper.runs r USING (run)
    LEFT JOIN scraper.targets t ON t.id = mine.target
    LEFT JOIN scraper.searches s ON s.run = mine.run AND s.item = mine.item AND mine.target IS NULL
    LEFT JOIN scraper.search_pages p ON p.source = mine.source AND p.url = mine.url AND mine.target IS NULL
""")


async def claim(engine: AsyncEngine, wanted: Sequence[Handed]) -> dict[Handed, Claimed]:
    """Take up jobs; without those that are done, or were handed out again."""
    rows = [asdict(each) for each in wanted]
    async with engine.connect() as connection:
        at_once = await connection.execution_options(isolation_level="AUTOCOMMIT")
        found = (await at_once.execute(_CLAIM, {"rows": _json(rows), "lease": LEASE})).all()
    return {Handed(row.of_run, row.of_item, row.handed): _claimed(row) for row in found}


def _claimed(row: Row[Any]) -> Claimed:
    return Claimed(
        decision=row.decision,
        url=row.asked,
        host=row.asked_host,
        deadline=row.deadline,
        limited=row.limited,
        everything=row.everything,
        target=None if row.id is None else _present(row),
        search=None if row.search is None else Searched(row.search, _position(row.position), _search_page(row)),
    )


def _present(row: Row[Any]) -> Present:
    return Present(
        id=row.id,
        item=row.item,
        identity=row.identity,
        path=row.path,
        name=row.name,
        labels=row.labels,
        carried=row.carried,
        hint=row.hint,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        content_hash=row.content_hash,
        rules=row.rules,
        etag=row.etag,
        last_modified=row.last_modified,
        failures=row.failures,
        is_gone=row.gone_at is not None,
        content_type=row.content_type,
    )


def _position(said: Mapping[str, Any]) -> Position:
    return Position(**{**said, "pages": tuple(said["pages"])})


def _search_page(row: Row[Any]) -> SearchPage | None:
    if row.page_sha256 is None:
        return None
    return SearchPage(row.found_at, row.page_etag, row.page_modified, row.page_type, row.page_sha256, row.page_size)


_KEEP = text("""
    UPDATE scraper.jobs j SET leased_until = now() + :lease
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(run text, item text, handed int)
    WHERE (j.run, j.item, j.handed) = (e.run, e.item, e.handed) AND j.state = 'handed'
""")


async def keep(engine: AsyncEngine, held: Sequence[Handed]) -> None:
    """A sign that these jobs are still at work."""
    if held:
        async with engine.begin() as tx:
            await tx.execute(_KEEP, {"rows": _json([asdict(each) for each in held]), "lease": LEASE})


async def is_target(engine: AsyncEngine, source: str, item: str) -> bool:
    """Whether there is such a target, and it is there."""
    query = select(targets.c.id).where(
        targets.c.source == source,
        targets.c.item == item,
        targets.c.gone_at.is_(None),
        targets.c.duplicate_of.is_(None),
    )
    async with engine.connect() as connection:
        return (await connection.execute(query)).first() is not None


# What came of jobs, a group of them at a time

_COUNT = text("""
    UPDATE scraper.jobs j SET attempts = j.attempts + e.failed, requests = j.requests + e.requests,
        bytes_received = j.bytes_received + e.bytes
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(run text, item text, failed int, requests int, bytes bigint)
    WHERE (j.run, j.item) = (e.run, e.item) AND j.state <> 'done'
    RETURNING j.run, j.item, j.attempts, j.requests, j.bytes_received, j.handed
""")


async def count_attempts(tx: Tx, attempts: Sequence[Done[ScrapeDue, Attempt]]) -> dict[tuple[str, str], Tally]:
    """Add what they took, and keep the rows until the end of the transaction; without those whose job is done."""
    rows = [
        {
            "run": done.event.run,
            "item": done.event.item,
            "failed": int(isinstance(done.result.outcome, Failed)),
            "requests": done.result.usage.requests,
            "bytes": done.result.usage.bytes_received,
        }
        for done in attempts
    ]
    if not rows:
        return {}
    counted = await tx.execute(_COUNT, {"rows": _json(rows)})
    return {(row.run, row.item): Tally(row.attempts, row.requests, row.bytes_received, row.handed) for row in counted}


async def postpone(tx: Tx, run: str, item: str, due_at: datetime) -> None:
    """Asked for again then, within the same run."""
    await tx.execute(
        update(jobs)
        .where(jobs.c.run == run, jobs.c.item == item, _OPEN)
        .values(state="due", due_at=due_at, leased_until=None)
    )


_SETTLE = text("""
    UPDATE scraper.jobs j SET
        state = CASE WHEN e.outcome IS NOT NULL THEN 'done' WHEN e.handed THEN 'handed' ELSE 'due' END,
        outcome = e.outcome, failure = coalesce(e.failure, j.failure),
        done_at = CASE WHEN e.outcome IS NOT NULL THEN now() END,
        due_at = coalesce(e.due_at, j.due_at),
        url = coalesce(e.next_url, j.url), host = coalesce(e.next_host, j.host),
        attempts = CASE WHEN e.next_url IS NOT NULL THEN 0 ELSE j.attempts END,
        handed = j.handed + e.handed::int,
        leased_until = CASE WHEN e.handed THEN now() + :lease END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(run text, item text, outcome text, failure text,
        due_at timestamptz, next_url text, next_host text, handed boolean)
    WHERE (j.run, j.item) = (e.run, e.item)
""")


async def settle_jobs(tx: Tx, settled: Sequence[tuple[ScrapeDue, bool, Settled]]) -> None:
    """Done, due again, or with the next page of a search; the second says whether that is handed out at once."""
    rows = [
        {
            "run": due.run,
            "item": due.item,
            "outcome": each.outcome or None,
            "failure": each.failure or None,
            "due_at": each.due_at,
            "next_url": each.next_url or None,
            "next_host": policy.host_of(each.next_url) if each.next_url else None,
            "handed": bool(each.next_url) and goes_on,
        }
        for due, goes_on, each in settled
    ]
    await tx.execute(_SETTLE, {"rows": _json(rows), "lease": LEASE})


async def add_pages(tx: Tx, attempts: Sequence[Done[ScrapeDue, Attempt]]) -> None:
    """A row for each page that came."""
    rows = [
        {
            "source": done.event.source,
            "run": done.event.run,
            "item": done.event.item,
            "kind": done.event.kind,
            "url": page.url,
            "status": page.status,
            "sha256": page.sha256,
            "size_bytes": page.size_bytes,
            "state": page.state,
            "detail": page.detail,
            "content_hash": page.content_hash,
            "fields": None if page.fields is None else list(page.fields),
            "fetched_at": done.result.at,
        }
        for done in attempts
        if (page := done.result.page) is not None
    ]
    if rows:
        await tx.execute(insert(pages), rows)


_SEE = text("""
    WITH entries AS (
        SELECT DISTINCT ON (e.source, e.item) e.*, s.labels
        FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(source text, run text, search int, item text, identity text,
            url text, host text, name text, key text, hint text, carried jsonb, at timestamptz)
        JOIN scraper.searches s ON s.run = e.run AND s.search = e.search
        ORDER BY e.source, e.item, e.search, e.at DESC
    )
    INSERT INTO scraper.targets AS t (source, item, identity, url, host, path, name, key, labels, carried, hint,
        first_seen_at, seen_at, seen_run, seen_search)
    SELECT source, item, identity, url, host, url, name, key, labels, carried, hint, at, at, run, search FROM entries
    ORDER BY source, item
    ON CONFLICT (source, item) DO UPDATE SET
        url = excluded.url, host = excluded.host, key = excluded.key, labels = excluded.labels,
        carried = excluded.carried, hint = excluded.hint, seen_at = excluded.seen_at, seen_run = excluded.seen_run,
        seen_search = excluded.seen_search, misses = 0
    WHERE t.seen_run <> excluded.seen_run OR t.seen_search >= excluded.seen_search
""")
_NEWLY_SEEN = text("""
    SELECT e.run, e.search, count(DISTINCT e.item) AS entries
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(source text, run text, search int, item text)
    LEFT JOIN scraper.targets t ON (t.source, t.item) = (e.source, e.item)
        AND t.seen_run = e.run AND t.seen_search = e.search
    WHERE t.id IS NULL GROUP BY e.run, e.search
""")
_ADD_SEEN = text("""
    UPDATE scraper.searches s SET seen = s.seen + e.entries
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(run text, search int, entries int)
    WHERE (s.run, s.search) = (e.run, e.search)
""")


async def see_targets(tx: Tx, entries: Sequence[Mapping[str, Any]]) -> None:
    """What search pages list is known, and listed. Where two searches of a run list it, the first one's labels hold."""
    if not entries:
        return
    rows = {"rows": _json(entries)}
    new = [dict(row._mapping) for row in await tx.execute(_NEWLY_SEEN, rows)]
    await tx.execute(_SEE, rows)
    await tx.execute(_ADD_SEEN, {"rows": _json(new)})


_MOVE = text("""
    UPDATE scraper.searches s SET pages = s.pages + e.pages, position = coalesce(e.position, s.position),
        found = coalesce(e.found, s.found), stop = e.stop, complete = coalesce(e.complete, false), failure = e.failure,
        detail = coalesce(nullif(e.detail, ''), s.detail), problems = s.problems + coalesce(e.problems, 0)
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(run text, search int, pages int, position jsonb, found int,
        stop text, complete boolean, failure text, detail text, problems int)
    WHERE (s.run, s.search) = (e.run, e.search)
""")


async def move_searches(tx: Tx, moved: Sequence[Mapping[str, Any]]) -> None:
    if moved:
        await tx.execute(_MOVE, {"rows": _json(moved)})


async def remember_search_page(tx: Tx, source: str, url: str, page: SearchPage, at: datetime) -> None:
    said = {
        "found_at": page.found_at,
        "etag": page.etag,
        "last_modified": page.last_modified,
        "content_type": page.content_type,
        "sha256": page.sha256,
        "size_bytes": page.size_bytes,
        "fetched_at": at,
    }
    adding = insert(search_pages).values(source=source, url=url, **said)
    await tx.execute(adding.on_conflict_do_update(index_elements=["source", "url"], set_=said))


_STOP_ENOUGH = text("""
    WITH enough AS (
        SELECT r.run FROM scraper.runs r JOIN scraper.searches s USING (run)
        WHERE r.run = ANY(:runs) GROUP BY r.run, r.most HAVING sum(s.seen) >= r.most
    ), stopped AS (
        UPDATE scraper.searches s SET stop = 'limit' FROM enough e WHERE s.run = e.run AND s.stop IS NULL
    )
    UPDATE scraper.jobs j SET state = 'done', outcome = 'searched', done_at = now(), leased_until = NULL
    FROM enough e WHERE j.run = e.run AND j.kind = 'search' AND j.state <> 'done'
""")


async def stop_enough(tx: Tx, limited: Collection[str]) -> None:
    """Of these runs, those that have seen as many targets as they are to look at search no further."""
    if limited:
        await tx.execute(_STOP_ENOUGH, {"runs": sorted(limited)})


_NOTE = text("""
    UPDATE scraper.targets t SET
        sha256 = CASE did WHEN 'content' THEN e.sha256 WHEN 'duplicate' THEN NULL ELSE t.sha256 END,
        size_bytes = CASE did WHEN 'content' THEN e.size_bytes ELSE t.size_bytes END,
        content_hash = CASE did WHEN 'content' THEN e.content_hash WHEN 'duplicate' THEN NULL ELSE t.content_hash END,
        rules = CASE did WHEN 'content' THEN e.rules ELSE t.rules END,
        etag = CASE did WHEN 'content' THEN e.etag ELSE t.etag END,
        last_modified = CASE did WHEN 'content' THEN e.last_modified ELSE t.last_modified END,
        content_type = CASE did WHEN 'content' THEN e.content_type ELSE t.content_type END,
        changed_at = CASE WHEN e.changed THEN e.checked_at ELSE t.changed_at END,
        checked_at = coalesce(e.checked_at, t.checked_at),
        checked_hint = coalesce(e.checked_hint, t.checked_hint),
        misses = CASE WHEN did IN ('content', 'unmodified') THEN 0 ELSE t.misses END,
        failures = CASE did WHEN 'failed' THEN e.failures ELSE 0 END,
        failure = CASE did WHEN 'failed' THEN e.failure END,
        next_check_at = CASE did WHEN 'failed' THEN e.next_check_at END,
        given_up = CASE did WHEN 'failed' THEN e.given_up ELSE false END,
        duplicate_of = CASE did WHEN 'duplicate' THEN e.of WHEN 'failed' THEN t.duplicate_of END,
        gone_at = CASE did WHEN 'gone' THEN e.at WHEN 'failed' THEN t.gone_at END,
        gone_reason = CASE did WHEN 'gone' THEN e.reason WHEN 'failed' THEN t.gone_reason END
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS e(id bigint, did text, sha256 text, size_bytes bigint,
        content_hash text, rules text, etag text, last_modified text, content_type text, changed boolean,
        checked_hint text, checked_at timestamptz, failures int, failure text, next_check_at timestamptz,
        given_up boolean, of text,
        at timestamptz, reason text)
    WHERE t.id = e.id
""")


async def note_targets(tx: Tx, noted: Sequence[Mapping[str, Any]]) -> None:
    """What was learned of them."""
    if noted:
        await tx.execute(_NOTE, {"rows": _json(noted)})


# Hosts


async def leave_host(tx: Tx, source: str, host: str, until: datetime) -> None:
    """Nothing is handed out for it before."""
    adding = insert(hosts).values(source=source, host=host, not_before=until)
    await tx.execute(
        adding.on_conflict_do_update(
            index_elements=["source", "host"], set_={"not_before": func.greatest(hosts.c.not_before, until)}
        )
    )


async def note_trouble(tx: Tx, source: str, host: str, run: str, row: InRow, failure: str) -> int:
    """How many failures in a row there are now in this run."""
    adding = insert(hosts).values(source=source, host=host, run=run, in_row=row.first, failure=failure)
    before = literal(0) if row.anew else case((hosts.c.run == run, hosts.c.in_row), else_=0)
    more = case((before >= policy.PAUSE_AFTER, row.every), else_=row.first)
    noted = adding.on_conflict_do_update(
        index_elements=["source", "host"], set_={"run": run, "failure": failure, "in_row": before + more}
    ).returning(hosts.c.in_row)
    return int((await tx.execute(noted)).scalar_one())


async def forget_trouble(tx: Tx, source: str, host: str) -> None:
    """It answered."""
    await tx.execute(
        update(hosts).where(hosts.c.source == source, hosts.c.host == host, hosts.c.in_row > 0).values(in_row=0)
    )


# Once in a while


async def count_targets(engine: AsyncEngine) -> list[tuple[str, str, int]]:
    """By source and state."""
    query = select(targets.c.source, targets.c.state, func.count()).group_by(targets.c.source, targets.c.state)
    async with engine.connect() as connection:
        return [(row[0], row[1], row[2]) for row in await connection.execute(query)]


async def remove_old(engine: AsyncEngine) -> None:
    """Jobs that are long done, and search pages that nobody asked for in a long time."""
    async with engine.begin() as tx:
        await tx.execute(delete(jobs).where(jobs.c.state == "done", jobs.c.done_at < func.now() - JOBS_KEPT))
        await tx.execute(delete(search_pages).where(search_pages.c.fetched_at < func.now() - SEARCH_PAGES_KEPT))
