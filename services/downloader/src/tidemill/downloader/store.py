"""The only module of the downloader that knows SQL."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, func, select, true, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.common.events import DownloadDue
from tidemill.common.http import Usage
from tidemill.downloader.outcomes import Present
from tidemill.downloader.policy import Known, Wanted, host_of
from tidemill.downloader.tables import documents, holds, indexes, jobs, resources, windows

LEASE = timedelta(minutes=3)
"""After so long without a sign a job that was handed out counts as lost. Its message came again long before, unless it
was dropped."""
JOBS_KEPT = timedelta(days=30)
RELEASE_LOCK = 0x646F776E
"""One replica at a time hands out, so that what is handed out is counted right."""
INSERT_SLICE = 1000

_OPEN = jobs.c.state != "done"
_FROZEN_FOR = func.coalesce(func.now() - jobs.c.frozen_at, timedelta(0))


@dataclass(frozen=True, slots=True)
class Job:
    """A file that a run asks for."""

    run: str
    source: str
    wanted: Wanted
    priority: int
    config_version: int
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class IndexPage:
    """What an index page said last."""

    etag: str | None
    last_modified: str | None
    size_bytes: int
    found: Sequence[str]
    """Addresses, the newest first."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is ours to do."""

    present: Present | None
    """None: it never came."""
    deadline: datetime | None


@dataclass(frozen=True, slots=True)
class Tally:
    """What a job took so far, over all its attempts."""

    attempts: int
    requests: int
    bytes_received: int


@dataclass(frozen=True, slots=True)
class HandedOut:
    """A job on its way to whoever downloads."""

    source: str
    run: str
    item: str
    url: str
    name: str
    config_version: int
    deadline: datetime | None
    handed: int
    """How often it was, this time included."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """A job that comes to nothing because its host must not be asked."""

    source: str
    run: str
    item: str
    url: str
    name: str
    host: str
    reason: str
    attempts: int
    requests: int
    bytes_received: int


# Planning


async def find_known(engine: AsyncEngine, source: str, items: Collection[str]) -> dict[str, Known]:
    query = select(resources.c.item, resources.c.sha256, resources.c.checked_at, resources.c.next_check_at)
    async with engine.connect() as connection:
        rows = await connection.execute(query.where(resources.c.source == source, resources.c.item.in_(items)))
        return {row.item: Known(row.sha256, row.checked_at, row.next_check_at) for row in rows}


async def find_items(engine: AsyncEngine, source: str, items: Collection[str]) -> list[Wanted]:
    """Files that earlier plans named so."""
    query = select(resources.c.url, resources.c.issue).where(resources.c.source == source, resources.c.item.in_(items))
    async with engine.connect() as connection:
        return [Wanted(row.url, row.issue) for row in await connection.execute(query.order_by(resources.c.item))]


async def find_newest_issue(engine: AsyncEngine, source: str) -> int | None:
    """The greatest number of which we have the file."""
    query = select(func.max(resources.c.issue)).where(resources.c.source == source, resources.c.sha256.is_not(None))
    async with engine.connect() as connection:
        newest: int | None = (await connection.execute(query)).scalar()
        return newest


async def find_index(engine: AsyncEngine, source: str, rules: str) -> IndexPage | None:
    """As it was read by these rules."""
    query = select(indexes.c.etag, indexes.c.last_modified, indexes.c.size_bytes, indexes.c.found)
    async with engine.connect() as connection:
        rows = await connection.execute(query.where(indexes.c.source == source, indexes.c.rules == rules))
        row = rows.one_or_none()
        return None if row is None else IndexPage(*row)


async def save_index(tx: Tx, source: str, rules: str, page: IndexPage) -> None:
    said = {"source": source, "rules": rules, **asdict(page)}
    await tx.execute(insert(indexes).values(said).on_conflict_do_update(index_elements=["source"], set_=said))


async def add_jobs(tx: Tx, planned: Sequence[Job]) -> None:
    """Files that were not known become resources; each is asked for once in a run."""
    ordered = sorted(planned, key=lambda job: (job.source, job.wanted.item, job.run))
    for start in range(0, len(ordered), INSERT_SLICE):
        some = ordered[start : start + INSERT_SLICE]
        await tx.execute(
            insert(resources)
            .values(
                [
                    {
                        "source": job.source,
                        "item": job.wanted.item,
                        "url": job.wanted.url,
                        "name": job.wanted.name,
                        "issue": job.wanted.issue,
                    }
                    for job in some
                ]
            )
            .on_conflict_do_nothing()
        )
        await tx.execute(
            insert(jobs)
            .values(
                [
                    {
                        "run": job.run,
                        "item": job.wanted.item,
                        "source": job.source,
                        "url": job.wanted.url,
                        "name": job.wanted.name,
                        "host": host_of(job.wanted.url),
                        "state": "due",
                        "priority": job.priority,
                        "due_at": func.now(),
                        "config_version": job.config_version,
                        "deadline": job.deadline,
                    }
                    for job in some
                ]
            )
            .on_conflict_do_nothing()
        )


# The release loop


async def lock_release(tx: Tx) -> bool:
    """Whether this transaction is the one that hands out now."""
    return bool((await tx.execute(select(func.pg_try_advisory_xact_lock(RELEASE_LOCK)))).scalar())


async def find_open_runs(tx: Tx) -> list[str]:
    return list((await tx.execute(select(jobs.c.run).where(_OPEN).distinct())).scalars())


async def drop_runs(tx: Tx, runs: Collection[str]) -> None:
    """Nobody asks any more for what these cancelled runs had left."""
    await _finish_where(tx, "cancelled", jobs.c.run.in_(sorted(runs)))


async def drop_late(tx: Tx) -> None:
    """The same for runs that are timed out."""
    await _finish_where(tx, "timed_out", jobs.c.deadline < func.now(), jobs.c.frozen_at.is_(None))


async def take_blocked(tx: Tx, margin: timedelta) -> list[Blocked]:
    """Jobs of held hosts whose runs time out within so long: they will not be had, and why is known."""
    doomed = (
        select(jobs.c.run, jobs.c.item, func.min(holds.c.reason).label("reason"))
        .where(
            jobs.c.state == "due",
            jobs.c.deadline < func.now() + margin,
            jobs.c.frozen_at.is_(None),
            holds.c.source == jobs.c.source,
            holds.c.host == jobs.c.host,
        )
        .group_by(jobs.c.run, jobs.c.item)
        .cte("doomed")
    )
    rows = await tx.execute(
        update(jobs)
        .where(jobs.c.run == doomed.c.run, jobs.c.item == doomed.c.item, _OPEN)
        .values(state="done", outcome="failed", done_at=func.now())
        .returning(
            jobs.c.source,
            jobs.c.run,
            jobs.c.item,
            jobs.c.url,
            jobs.c.name,
            jobs.c.host,
            doomed.c.reason,
            jobs.c.attempts,
            jobs.c.requests,
            jobs.c.bytes_received,
        )
    )
    return [Blocked(*row) for row in rows]


async def freeze(tx: Tx, sources: Collection[str], *, everything: bool) -> None:
    """An emergency stop holds the clocks of runs; after it they go on."""
    stopped = true() if everything else jobs.c.source.in_(sorted(sources))
    await tx.execute(
        update(jobs)
        .where(_OPEN, stopped, jobs.c.deadline.is_not(None), jobs.c.frozen_at.is_(None))
        .values(frozen_at=func.now())
    )
    await tx.execute(
        update(jobs)
        .where(_OPEN, ~stopped, jobs.c.frozen_at.is_not(None))
        .values(deadline=jobs.c.deadline + _FROZEN_FOR, frozen_at=None)
    )


async def count_waiting(tx: Tx) -> int:
    """Jobs that are not handed out."""
    return int((await tx.execute(select(func.count()).where(jobs.c.state == "due"))).scalar_one())


async def take_back_lost(tx: Tx) -> int:
    """Jobs whose lease ran out are due again; how many."""
    lost = await tx.execute(
        update(jobs)
        .where(jobs.c.state == "handed", jobs.c.leased_until < func.now())
        .values(state="due", leased_until=None)
    )
    return int(lost.rowcount)


async def find_due(tx: Tx, held: Collection[str]) -> list[tuple[str, str]]:
    """Sources and hosts for which something is due, without the sources that are held."""
    query = select(jobs.c.source, jobs.c.host).where(
        jobs.c.state == "due", jobs.c.due_at <= func.now(), jobs.c.source.not_in(sorted(held))
    )
    rows = await tx.execute(query.distinct().order_by(jobs.c.source, jobs.c.host))
    return [(row.source, row.host) for row in rows]


async def count_handed(tx: Tx) -> dict[str, int]:
    """By host."""
    rows = await tx.execute(
        select(jobs.c.host, func.count().label("handed")).where(jobs.c.state == "handed").group_by(jobs.c.host)
    )
    return {row.host: row.handed for row in rows}


async def hand_out(tx: Tx, source: str, host: str, most: int) -> list[HandedOut]:
    """Take the next jobs; a file that another run asks for just now waits for it."""
    other = jobs.alias()
    busy = exists().where(other.c.source == jobs.c.source, other.c.item == jobs.c.item, other.c.state == "handed")
    next_ones = (
        select(jobs.c.run, jobs.c.item)
        .where(jobs.c.state == "due", jobs.c.source == source, jobs.c.host == host, jobs.c.due_at <= func.now(), ~busy)
        .order_by(jobs.c.priority, jobs.c.planned_at, jobs.c.run, jobs.c.item)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("next_ones")
    )
    rows = await tx.execute(
        update(jobs)
        .where(jobs.c.run == next_ones.c.run, jobs.c.item == next_ones.c.item)
        .values(state="handed", handed=jobs.c.handed + 1, leased_until=func.now() + LEASE)
        .returning(*(jobs.c[name] for name in HandedOut.__slots__), jobs.c.priority, jobs.c.planned_at)
    )
    in_order = sorted(rows, key=lambda row: (row.priority, row.planned_at, row.run, row.item))
    return [HandedOut(*row[: len(HandedOut.__slots__)]) for row in in_order]


# One job


async def claim(engine: AsyncEngine, run: str, item: str, handed: int) -> Claimed | None:
    """Take up a job that was handed out for the so-manieth time; None when it is done, or was handed out again."""
    async with engine.begin() as tx:
        mine = (
            await tx.execute(
                update(jobs)
                .where(jobs.c.run == run, jobs.c.item == item, jobs.c.state == "handed", jobs.c.handed == handed)
                .values(leased_until=func.now() + LEASE)
                .returning(jobs.c.source, (jobs.c.deadline + _FROZEN_FOR).label("deadline"))
            )
        ).one_or_none()
        if mine is None:
            return None
        known = (
            await tx.execute(
                select(resources.c.sha256, resources.c.size_bytes, resources.c.etag, resources.c.last_modified).where(
                    resources.c.source == mine.source, resources.c.item == item
                )
            )
        ).one()
    return Claimed(None if known.sha256 is None else Present(*known), mine.deadline)


async def keep(engine: AsyncEngine, run: str, item: str, handed: int) -> None:
    """A sign that the job is still at work."""
    async with engine.begin() as tx:
        await tx.execute(
            update(jobs)
            .where(jobs.c.run == run, jobs.c.item == item, jobs.c.state == "handed", jobs.c.handed == handed)
            .values(leased_until=func.now() + LEASE)
        )


async def count_attempt(tx: Tx, run: str, item: str, *, failed: bool, usage: Usage) -> Tally | None:
    """Add what an attempt took, and keep the row until the end of the transaction; None when the job is done."""
    row = (
        await tx.execute(
            update(jobs)
            .where(jobs.c.run == run, jobs.c.item == item, _OPEN)
            .values(
                attempts=jobs.c.attempts + (1 if failed else 0),
                requests=jobs.c.requests + usage.requests,
                bytes_received=jobs.c.bytes_received + usage.bytes_received,
            )
            .returning(jobs.c.attempts, jobs.c.requests, jobs.c.bytes_received)
        )
    ).one_or_none()
    return None if row is None else Tally(*row)


async def postpone(tx: Tx, run: str, item: str, due_at: datetime) -> None:
    """Asked again then, within the same run."""
    await tx.execute(
        update(jobs)
        .where(jobs.c.run == run, jobs.c.item == item, _OPEN)
        .values(state="due", due_at=due_at, leased_until=None)
    )


async def postpone_host(tx: Tx, source: str, host: str, until: datetime) -> None:
    """Everything else that waits for a host which must not be asked now."""
    await tx.execute(
        update(jobs)
        .where(jobs.c.state == "due", jobs.c.source == source, jobs.c.host == host, jobs.c.due_at < until)
        .values(due_at=until)
    )


async def finish(tx: Tx, run: str, item: str, outcome: str) -> None:
    await _finish_where(tx, outcome, jobs.c.run == run, jobs.c.item == item)


async def _finish_where(tx: Tx, outcome: str, *where: ColumnElement[bool]) -> None:
    await tx.execute(
        update(jobs)
        .where(_OPEN, *where)
        .values(state="done", outcome=outcome, done_at=func.now(), leased_until=None, frozen_at=None)
    )


# Files


async def lock_present(tx: Tx, source: str, item: str) -> Present | None:
    """What we have of a file, kept so until the end of the transaction."""
    row = (
        await tx.execute(
            select(resources.c.sha256, resources.c.size_bytes, resources.c.etag, resources.c.last_modified)
            .where(resources.c.source == source, resources.c.item == item)
            .with_for_update()
        )
    ).one()
    return None if row.sha256 is None else Present(*row)


async def add_document(tx: Tx, due: DownloadDue, sha256: str, received_at: datetime, *, changed: bool) -> str | None:
    """None when these bytes are news: they came for the first time, or the item held others since they came last. Else
    the name under which they came first."""
    inserted = await tx.execute(
        insert(documents)
        .values(source=due.source, sha256=sha256, name=due.name, item=due.item, run=due.run, received_at=received_at)
        .on_conflict_do_nothing()
    )
    if inserted.rowcount or (changed and await _renew_document(tx, due, sha256, received_at)):
        return None
    return await get_document_name(tx, due.source, sha256)


async def _renew_document(tx: Tx, due: DownloadDue, sha256: str, received_at: datetime) -> bool:
    since = select(resources.c.changed_at).where(resources.c.source == due.source, resources.c.item == due.item)
    renewed = await tx.execute(
        update(documents)
        .where(
            documents.c.source == due.source,
            documents.c.sha256 == sha256,
            documents.c.received_at < since.scalar_subquery(),
        )
        .values(run=due.run, received_at=received_at)
    )
    return bool(renewed.rowcount)


async def get_document_name(tx: Tx, source: str, sha256: str) -> str:
    """Under which these bytes came first."""
    query = select(documents.c.name).where(documents.c.source == source, documents.c.sha256 == sha256)
    return str((await tx.execute(query)).scalar_one())


async def note_present(tx: Tx, source: str, item: str, present: Present, at: datetime, *, changed: bool) -> None:
    """We have this of it now."""
    await tx.execute(
        update(resources)
        .where(resources.c.source == source, resources.c.item == item)
        .values(
            sha256=present.sha256,
            size_bytes=present.size_bytes,
            etag=present.etag,
            last_modified=present.last_modified,
            failures=0,
            failure=None,
            next_check_at=None,
            checked_at=at,
            changed_at=at if changed else resources.c.changed_at,
        )
    )


async def note_failure(tx: Tx, source: str, item: str, failure: str) -> int:
    """How many runs in a row did not get it, this one included."""
    row = await tx.execute(
        update(resources)
        .where(resources.c.source == source, resources.c.item == item)
        .values(failures=resources.c.failures + 1, failure=failure)
        .returning(resources.c.failures)
    )
    return int(row.scalar_one())


async def rest(tx: Tx, source: str, item: str, until: datetime) -> None:
    """Schedules leave it alone until then."""
    await tx.execute(
        update(resources).where(resources.c.source == source, resources.c.item == item).values(next_check_at=until)
    )


# Windows


async def came_since(tx: Tx, source: str, moment: datetime) -> bool:
    """Whether a document came, one that was news, at that moment or later."""
    query = exists().where(documents.c.source == source, documents.c.received_at >= moment)
    return bool((await tx.execute(select(query))).scalar())


async def note_late(tx: Tx, source: str, opened_at: datetime, closed_at: datetime) -> bool:
    """Whether nobody was told yet that nothing came in this publication window."""
    inserted = await tx.execute(
        insert(windows).values(source=source, opened_at=opened_at, closed_at=closed_at).on_conflict_do_nothing()
    )
    return bool(inserted.rowcount)


async def remove_old(engine: AsyncEngine) -> None:
    """Jobs that are long done."""
    async with engine.begin() as tx:
        await tx.execute(delete(jobs).where(jobs.c.state == "done", jobs.c.done_at < func.now() - JOBS_KEPT))
