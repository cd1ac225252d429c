"""The SQL of reconversions: which documents are due, what they would state, and how that differs."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, insert, select, text, update

from tidemill.common.bus.step import Tx
from tidemill.converter.content import CheckedRecord
from tidemill.converter.tables import (
    candidates,
    documents,
    quarantine,
    reconversions,
    reconverted,
    record_checks,
    rejected,
)
from tidemill.plugin import Position


@dataclass(frozen=True, slots=True)
class Example:
    """One record that a reconversion would change."""

    dataset: str
    change: str
    """added, changed or removed."""
    key: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None


LEASE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which documents to convert again; what is empty does not restrict."""

    source: str = ""
    dataset: str = ""
    """Documents that state something of this dataset now."""
    since: datetime | None = None
    """Received then or later."""
    document: str = ""
    """SHA-256, or how it begins."""


@dataclass(frozen=True, slots=True)
class Due:
    """A document in somebody's hands."""

    reconversion: int
    document: int
    state: str
    candidate: int | None
    source: str
    sha256: str
    name: str
    path: str
    context: dict[str, str]
    size_bytes: int
    run: str
    received_at: datetime
    modified_at: datetime | None
    staged_at: datetime | None
    ending: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A record of a candidate, and which record of the store it is about."""

    place: int
    dataset: int
    full_key: str
    record: int | None
    valid_at: datetime
    checked: CheckedRecord


SELECT = text("""
    INSERT INTO converter.reconverted (reconversion, document, state)
    SELECT :reconversion, d.id, 'due' FROM converter.documents d
    WHERE d.state = 'finished' AND d.superseded_by IS NULL AND d.sha256 <> ''
        AND (:source = '' OR d.source = :source)
        AND (:document = '' OR starts_with(d.sha256, :document))
        AND (CAST(:since AS timestamptz) IS NULL OR d.received_at >= CAST(:since AS timestamptz))
        AND (:dataset = '' OR EXISTS (
            SELECT 1 FROM converter.batches b WHERE b.document = d.id AND b.dataset = :dataset))
    RETURNING document
""")


async def begin_reconversion(tx: Tx, command: str, author: str, selection: Selection) -> tuple[int, int]:
    """Its number, and of how many documents; the same when the command is repeated."""
    known = await tx.scalar(select(reconversions.c.id).where(reconversions.c.command == command))
    if known is not None:
        chosen = select(func.count()).where(reconverted.c.reconversion == known)
        return int(known), int(await tx.scalar(chosen) or 0)
    said: dict[str, Any] = {
        "source": selection.source,
        "dataset": selection.dataset,
        "since": selection.since and selection.since.isoformat(),
        "document": selection.document,
    }
    row = insert(reconversions).values(command=command, author=author, selection=said, state="staging")
    id = int((await tx.execute(row.returning(reconversions.c.id))).scalar_one())
    parameters = said | {"since": selection.since, "reconversion": id}
    return id, len((await tx.execute(SELECT, parameters)).all())


async def find_state(tx: Tx, reconversion: int) -> str | None:
    """Locked until commit."""
    query = select(reconversions.c.state).where(reconversions.c.id == reconversion).with_for_update()
    state: str | None = await tx.scalar(query)
    return state


async def count_states(tx: Tx, reconversion: int) -> dict[str, int]:
    query = select(reconverted.c.state, func.count()).where(reconverted.c.reconversion == reconversion)
    return {row[0]: row[1] for row in await tx.execute(query.group_by(reconverted.c.state))}


TAKE = text("""
    UPDATE converter.reconverted AS taken SET lease_until = now() + :lease
    FROM (
        SELECT r.reconversion, r.document FROM converter.reconverted r
        JOIN converter.documents d ON d.id = r.document
        WHERE r.state IN ('due', 'accepting') AND (r.lease_until IS NULL OR r.lease_until < now())
            AND NOT d.source = ANY(:held)
        -- What was accepted first counts first: oldest documents before those that may build on them.
        ORDER BY r.state, r.reconversion, d.received_at, r.document LIMIT 1 FOR UPDATE OF r SKIP LOCKED
    ) one
    JOIN converter.documents d ON d.id = one.document
    WHERE taken.reconversion = one.reconversion AND taken.document = one.document
    RETURNING taken.reconversion, taken.document, taken.state, taken.candidate, d.source, d.sha256, d.name, d.path,
        d.context, d.size_bytes, d.run, d.received_at, d.modified_at, taken.staged_at, taken.ending
""")


async def take_due(tx: Tx, held: Sequence[str]) -> Due | None:
    """One document that nobody has in hand, not of these sources."""
    row = (await tx.execute(TAKE, {"lease": LEASE, "held": list(held)})).one_or_none()
    return None if row is None else Due(*row)


def _of(due: Due) -> Any:
    return (reconverted.c.reconversion == due.reconversion) & (reconverted.c.document == due.document)


async def renew(tx: Tx, due: Due) -> None:
    await tx.execute(update(reconverted).where(_of(due)).values(lease_until=func.now() + LEASE))


async def give_back(tx: Tx, due: Due, pause: timedelta) -> None:
    await tx.execute(update(reconverted).where(_of(due)).values(lease_until=func.now() + pause))


async def end(tx: Tx, due: Due, state: str, reason: str = "") -> None:
    values = {"state": state, "reason": reason, "lease_until": None}
    await tx.execute(update(reconverted).where(_of(due)).values(values))
    await tx.execute(
        update(reconversions)
        .where(
            reconversions.c.id == due.reconversion,
            reconversions.c.state == "accepting",
            ~select(reconverted.c.document)
            .where(reconverted.c.reconversion == due.reconversion, reconverted.c.state == "accepting")
            .exists(),
        )
        .values(state="done", ended_at=func.now())
    )


async def forget_records(tx: Tx, candidate: int) -> None:
    """They are stated now."""
    await tx.execute(delete(candidates).where(candidates.c.candidate == candidate))


async def forget_candidate(tx: Tx, candidate: int) -> None:
    """What an interrupted staging left."""
    await forget_records(tx, candidate)
    await tx.execute(delete(rejected).where(rejected.c.document == candidate))


async def insert_candidates(tx: Tx, candidate: int, part: int, placed: Sequence[Placed]) -> None:
    if not placed:
        return
    rows = []
    for one in placed:
        record = one.checked
        parent_dataset, parent_key = record.parent or (None, None)
        rows.append(
            {
                "candidate": candidate,
                "part": part,
                "place": one.place,
                "dataset": one.dataset,
                "key": record.key,
                "full_key": one.full_key,
                "record": one.record,
                "parent_dataset": parent_dataset,
                "parent_key": parent_key,
                "valid_from": record.valid_from,
                "valid_at": one.valid_at,
                "page": record.position.page,
                "item": record.position.item,
                "box": record.position.box and list(record.position.box),
                "quality": record.quality,
                "hash": record.hash,
                "data": record.data,
                "raw": record.raw,
            }
        )
    await tx.execute(insert(candidates), rows)


async def find_candidate_keys(tx: Tx, candidate: int, dataset: int, keys: Iterable[str]) -> dict[str, str]:
    """Full keys of what earlier parts of the candidate state, by the converter's; the last one counts."""
    query = (
        select(candidates.c.key, candidates.c.full_key)
        .where(candidates.c.candidate == candidate, candidates.c.dataset == dataset, candidates.c.key.in_(sorted(keys)))
        .order_by(candidates.c.part, candidates.c.place)
    )
    return {row[0]: row[1] for row in await tx.execute(query)}


async def read_parts(
    tx: Tx, candidate: int, datasets: Mapping[int, str]
) -> AsyncIterator[tuple[int, list[CheckedRecord]]]:
    """The parts of a candidate with their records, in order. `datasets` gives names by id."""
    numbers = select(candidates.c.part).where(candidates.c.candidate == candidate).distinct()
    for part in (await tx.scalars(numbers.order_by(candidates.c.part))).all():
        query = select(candidates).where(candidates.c.candidate == candidate, candidates.c.part == part)
        rows = (await tx.execute(query.order_by(candidates.c.place))).all()
        yield part, [_checked(row, datasets[row.dataset]) for row in rows]


def _checked(row: Any, dataset: str) -> CheckedRecord:
    return CheckedRecord(
        dataset=dataset,
        key=row.key,
        data=row.data,
        hash=row.hash,
        position=Position(row.page, tuple(row.box) if row.box else None, row.item),
        valid_from=row.valid_from,
        parent=(row.parent_dataset, row.parent_key) if row.parent_key else None,
        raw=row.raw,
        quality=row.quality,
    )


STATED = """
    SELECT s.dataset, v.record, array_agg(DISTINCT v.hash ORDER BY v.hash) AS hashes
    FROM converter.sightings s CROSS JOIN unnest(s.contents) AS stated (content)
    JOIN converter.versions v ON v.dataset = s.dataset AND v.id = stated.content
    WHERE s.document = :document GROUP BY 1, 2
"""
DIFFERENCES = f"""
    WITH old AS ({STATED}), new AS (
        SELECT dataset, record, full_key, array_agg(DISTINCT hash ORDER BY hash) AS hashes
        FROM converter.candidates WHERE candidate = :candidate GROUP BY 1, 2, 3
    )
    SELECT coalesce(old.dataset, new.dataset) AS dataset, coalesce(old.record, new.record) AS record, new.full_key,
        old.hashes[1] AS old_hash, new.hashes[1] AS new_hash,
        CASE WHEN old.record IS NULL THEN 'added' WHEN new.full_key IS NULL THEN 'removed'
            WHEN old.hashes = new.hashes THEN 'unchanged' ELSE 'changed' END AS change
    FROM old FULL JOIN new ON new.dataset = old.dataset AND new.record = old.record
"""
COUNT = text(f"""
    SELECT s.name, d.change, count(*) FROM ({DIFFERENCES}) d JOIN converter.datasets s ON s.id = d.dataset
    GROUP BY 1, 2 ORDER BY 1, 2
""")


async def stage(tx: Tx, due: Due, candidate: int, ending: Mapping[str, Any]) -> None:
    """Note that the document is converted, and how it would differ."""
    counts: dict[str, dict[str, int]] = {}
    for dataset, change, count in await tx.execute(COUNT, {"document": due.document, "candidate": candidate}):
        counts.setdefault(dataset, {})[change] = count
    values = {"state": "staged", "candidate": candidate, "counts": counts, "ending": dict(ending), "lease_until": None}
    await tx.execute(update(reconverted).where(_of(due)).values(**values, staged_at=func.clock_timestamp()))


EXAMPLES = text(f"""
    SELECT s.name, d.change, coalesce(d.full_key, r.key),
        (SELECT v.data FROM converter.versions v
            WHERE v.dataset = d.dataset AND v.record = d.record AND v.hash = d.old_hash ORDER BY v.id LIMIT 1),
        (SELECT c.data::jsonb FROM converter.candidates c
            WHERE c.candidate = :candidate AND c.dataset = d.dataset AND c.full_key = d.full_key
                AND c.hash = d.new_hash ORDER BY c.part, c.place LIMIT 1)
    FROM (
        SELECT *, row_number() OVER (PARTITION BY dataset, change ORDER BY full_key, record) AS ordinal
        FROM ({DIFFERENCES}) all_of_them WHERE change <> 'unchanged'
    ) d
    JOIN converter.datasets s ON s.id = d.dataset
    LEFT JOIN converter.records r ON r.dataset = d.dataset AND r.id = d.record
    WHERE d.ordinal <= :each ORDER BY 1, 2, 3
""")


async def find_examples(tx: Tx, document: int, candidate: int, each: int) -> list[Example]:
    """Up to `each` differences of every kind and dataset, for a person to look at."""
    rows = await tx.execute(EXAMPLES, {"document": document, "candidate": candidate, "each": each})
    return [Example(*row) for row in rows]


OLD_RECORDS = text(f"SELECT dataset, record FROM ({STATED}) s ORDER BY 1, 2")


async def find_stated_records(tx: Tx, document: int) -> set[tuple[int, int]]:
    """(dataset, record) of everything that a document states."""
    return {(row[0], row[1]) for row in await tx.execute(OLD_RECORDS, {"document": document})}


MOVED = text(f"""
    SELECT r.key FROM ({DIFFERENCES}) d
    JOIN converter.records r ON r.dataset = d.dataset AND r.id = d.record
    WHERE d.change <> 'unchanged' AND EXISTS (
        SELECT 1 FROM converter.versions v WHERE v.dataset = d.dataset AND v.record = d.record
            AND v.recorded_from > :staged_at AND v.origin <> 'reconvert'
    ) LIMIT 1
""")


async def find_moved(tx: Tx, due: Due) -> str | None:
    """Why the comparison that somebody looked at holds no longer."""
    superseded = await tx.scalar(select(documents.c.superseded_by).where(documents.c.id == due.document))
    if superseded is not None:
        return "another reconversion of this document was accepted meanwhile"
    parameters = {"document": due.document, "candidate": due.candidate, "staged_at": due.staged_at}
    key = await tx.scalar(MOVED, parameters)
    return None if key is None else f"{key} got a new version meanwhile"


async def is_accepting(tx: Tx, due: Due) -> bool:
    """Locked until commit."""
    state: str | None = await tx.scalar(select(reconverted.c.state).where(_of(due)).with_for_update())
    return state == "accepting"


async def supersede(tx: Tx, document: int, candidate: int) -> None:
    await tx.execute(update(documents).where(documents.c.id == document).values(superseded_by=candidate))


async def accept_all(tx: Tx, reconversion: int) -> int:
    """How many documents will be put in place."""
    staged = update(reconverted).where(reconverted.c.reconversion == reconversion, reconverted.c.state == "staged")
    accepted = (await tx.execute(staged.values(state="accepting"))).rowcount
    state = {"state": "accepting"} if accepted else {"state": "done", "ended_at": func.now()}
    await tx.execute(update(reconversions).where(reconversions.c.id == reconversion).values(state))
    return accepted


async def discard_all(tx: Tx, reconversion: int) -> None:
    mine = select(reconverted.c.candidate).where(
        reconverted.c.reconversion == reconversion, reconverted.c.candidate.is_not(None)
    )
    for column in (candidates.c.candidate, rejected.c.document, quarantine.c.document, record_checks.c.document):
        await tx.execute(delete(column.table).where(column.in_(mine)))
    gone = documents.c.id.in_(mine) & (documents.c.state == "staged")
    await tx.execute(delete(documents).where(gone))
    await tx.execute(delete(reconverted).where(reconverted.c.reconversion == reconversion))
    discarded = update(reconversions).where(reconversions.c.id == reconversion)
    await tx.execute(discarded.values(state="discarded", ended_at=func.now()))
