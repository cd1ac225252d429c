"""The SQL of records that checks hold back, and of what checks said of documents."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import Tx
from tidemill.converter.content import CheckedRecord, storable
from tidemill.converter.convert import ConvertedPart
from tidemill.converter.documents import placeable
from tidemill.converter.identity import Ref
from tidemill.converter.judging import Finding, Held, has_parents, hold_children
from tidemill.converter.tables import quarantine, record_checks
from tidemill.plugin import Position, Record

RELEASED_FROM = 1_000_000
"""Parts of a document under which the store has what was released: behind all that its conversion may yet bring."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which held records; what is empty does not restrict."""

    ids: Sequence[int] = ()
    source: str = ""
    check: str = ""
    run: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A held record, as it was yielded, and its document. Locked until commit."""

    id: int
    document: int
    part: int
    place: int
    source: str
    run: str
    sha256: str
    received_at: datetime
    document_time: datetime
    record: Record


async def hold_back(tx: Tx, document: int, part: ConvertedPart) -> Sequence[CheckedRecord]:
    """Keep what checks hold, with what stands under it; answer what is to be stated."""
    records, held = part.records, part.held
    await insert_findings(tx, document, part.index, part.findings)
    if has_parents(records):
        records, held = hold_children(records, held, await find_held_keys(tx, document))
    await insert_held(tx, document, part.index, part.facts.source, part.facts.run, held)
    return records


async def insert_held(tx: Tx, document: int, part: int, source: str, run: str, held: Sequence[Held]) -> None:
    """Keep records whole; doing it again changes nothing."""
    rows = []
    for one in held:
        record, position = one.record, placeable(one.record.position)
        parent_dataset, parent_key = record.parent or (None, None)
        rows.append(
            {
                "document": document,
                "part": part,
                "place": one.place,
                "source": source,
                "run": run,
                "dataset": record.dataset,
                "key": record.key,
                "parent_dataset": parent_dataset,
                "parent_key": parent_key,
                "valid_from": record.valid_from,
                "page": position.page,
                "item": position.item,
                "box": position.box and list(position.box),
                "quality": record.quality,
                "data": record.data,
                "raw": record.raw,
                "checks": one.checks,
                "reason": storable(one.reason),
            }
        )
    if rows:
        await tx.execute(insert(quarantine).on_conflict_do_nothing(), rows)


async def insert_findings(tx: Tx, document: int, part: int, findings: Mapping[str, Finding]) -> None:
    rows = []
    for name, finding in findings.items():
        examples = [{key: storable(said) for key, said in one.items()} for one in finding.examples]
        rows.append(
            {
                "document": document,
                "part": part,
                "name": name,
                "severity": finding.severity,
                "failed": finding.failed,
                "examples": examples,
            }
        )
    if rows:
        await tx.execute(insert(record_checks).on_conflict_do_nothing(), rows)


async def find_held_keys(tx: Tx, document: int) -> set[Ref]:
    """(dataset, key) of what is held of a document."""
    query = select(quarantine.c.dataset, quarantine.c.key).where(quarantine.c.document == document)
    return {(row[0], row[1]) for row in await tx.execute(query.where(quarantine.c.state == "held"))}


async def forget_judgement(tx: Tx, documents: Iterable[int]) -> None:
    """Of conversions that do not count: interrupted, or discarded."""
    ids = list(documents)
    for table in (quarantine, record_checks):
        await tx.execute(delete(table).where(table.c.document.in_(ids)))


# A conversion that is staged, or that another one has replaced, states nothing; so nothing of it waits.
TAKE = text("""
    SELECT q.id, q.document, q.part, q.place, q.source, q.run, d.sha256, d.received_at,
        coalesce(d.valid_from, d.received_at), q.dataset, q.key, q.data, q.page, q.box, q.item, q.valid_from,
        q.parent_dataset, q.parent_key, q.raw, q.quality
    FROM converter.quarantine q JOIN converter.documents d ON d.id = q.document
    WHERE q.state = 'held' AND d.superseded_by IS NULL AND d.state <> 'staged'
        AND (q.document, q.part, q.place) > (:document, :part, :place)
        AND (cardinality(CAST(:ids AS bigint[])) = 0 OR q.id = ANY(CAST(:ids AS bigint[])))
        AND (:source = '' OR q.source = :source) AND (:run = '' OR q.run = :run)
        AND (:check = '' OR :check = ANY(q.checks))
    ORDER BY q.document, q.part, q.place LIMIT :limit FOR UPDATE OF q
""")

Place = tuple[int, int, int]
"""(document, part, place)."""
BEFORE_ALL: Place = (0, -1, -1)


async def take_held(tx: Tx, selection: Selection, after: Place, limit: int) -> list[Waiting]:
    """In the order of their documents, parents first."""
    document, part, place = after
    said = {"ids": list(selection.ids), "source": selection.source, "run": selection.run, "check": selection.check}
    found = await tx.execute(TAKE, {**said, "document": document, "part": part, "place": place, "limit": limit})
    return [_waiting(*row) for row in found]


def _waiting(
    id: int,
    document: int,
    part: int,
    place: int,
    source: str,
    run: str,
    sha256: str,
    received_at: datetime,
    document_time: datetime,
    dataset: str,
    key: str,
    data: str,
    page: int | None,
    box: list[float] | None,
    item: int | None,
    valid_from: datetime | None,
    parent_dataset: str | None,
    parent_key: str | None,
    raw: str,
    quality: float,
) -> Waiting:
    parent = (parent_dataset, parent_key) if parent_dataset is not None and parent_key is not None else None
    position = Position(page, (box[0], box[1], box[2], box[3]) if box else None, item)
    record = Record(dataset, key, orjson.loads(data), position, valid_from, parent, raw, quality)
    return Waiting(id, document, part, place, source, run, sha256, received_at, document_time, record)


async def next_part(tx: Tx, document: int) -> int:
    """The part under which records of this document are released now."""
    query = select(func.max(quarantine.c.released_part)).where(quarantine.c.document == document)
    last = await tx.scalar(query)
    return RELEASED_FROM if last is None else int(last) + 1


async def hold_still(tx: Tx, id: int, checks: Sequence[str], reason: str) -> None:
    """By what the checks say today."""
    row = update(quarantine).where(quarantine.c.id == id)
    await tx.execute(row.values(checks=list(checks), reason=storable(reason)))


async def settle(tx: Tx, ids: Sequence[int], state: str, author: str, part: int | None = None) -> None:
    if ids:
        values = {"state": state, "settled_at": func.clock_timestamp(), "settled_by": author, "released_part": part}
        await tx.execute(update(quarantine).where(quarantine.c.id.in_(ids)).values(values))
