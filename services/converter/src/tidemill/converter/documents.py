"""The rows of documents: begun with the first part, finished with the last."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import Tx
from tidemill.common.events import Changes, Rows
from tidemill.converter.content import RejectedRecord, storable
from tidemill.converter.tables import SCHEMA, batches, documents, quarantine, rejected
from tidemill.plugin import Accounting, Position, Rejected

NAMED_BY = ("source", "sha256", "run", "converter", "converter_version")

QUARANTINED = "quarantined"
"""Kind of the ignored rows that a check holds back."""

POINTS = 1e9
"""No page is larger; what is further off is no position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFacts:
    """What is known of a document when its conversion begins; the first five name it."""

    source: str
    sha256: str
    run: str
    converter: str
    converter_version: str
    name: str
    size_bytes: int
    received_at: datetime
    path: str = ""
    context: Mapping[str, str] = field(default_factory=dict)
    """What the place that linked to it said of it."""
    modified_at: datetime | None = None
    valid_from: datetime | None = None
    title: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    trace: str = ""
    """Id of the trace, as 32 hexadecimal digits."""

    @property
    def named(self) -> tuple[str, ...]:
        return self.source, self.sha256, self.run, self.converter, self.converter_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How the conversion of a document ended."""

    outcome: str
    reason: str = ""
    pages: int = 0
    accounting: Sequence[Accounting] = ()
    warnings: Sequence[str] = ()
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """The whole document, over all of its parts."""

    rows: Rows
    records: Mapping[str, Changes]
    """By dataset."""
    rejected: Mapping[str, int]
    """By reason."""


BEGIN = f"""
    INSERT INTO {SCHEMA}.documents AS known (source, sha256, run, converter, converter_version, name, size_bytes,
        received_at, path, context, modified_at, valid_from, title, attributes, trace)
    SELECT source, sha256, run, converter, converter_version, name, size_bytes, received_at, path, context::jsonb,
        modified_at, valid_from, title, attributes::jsonb, trace
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
        $8::timestamptz[], $9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::text[],
        $15::text[])
        begun (source, sha256, run, converter, converter_version, name, size_bytes, received_at, path, context,
            modified_at, valid_from, title, attributes, trace)
    ORDER BY source, sha256, run, converter, converter_version
    ON CONFLICT (source, sha256, run, converter, converter_version) DO UPDATE SET received_at = known.received_at
    RETURNING id, source, sha256, run, converter, converter_version
"""
"""An update that changes nothing, because an insert that does nothing returns nothing. In one order everywhere, against
deadlocks."""


async def begin_document(tx: Tx, facts: DocumentFacts) -> int:
    """The document's id; the same when it began before, with another part or another delivery."""
    named = [documents.c[name] == said for name, said in zip(NAMED_BY, facts.named, strict=True)]
    known: int | None = await tx.scalar(select(documents.c.id).where(*named))
    return (await begin_documents(tx, [facts]))[0] if known is None else known


async def begin_documents(tx: Tx, several: Sequence[DocumentFacts]) -> list[int]:
    """Ids as of `begin_document`, of documents that are likely new."""
    columns = zip(*(_row(facts) for facts in {facts.named: facts for facts in several}.values()), strict=True)
    begun = await tx.exec_driver_sql(BEGIN, tuple(map(list, columns)))
    ids: dict[tuple[str, ...], int] = {tuple(row[1:]): row[0] for row in begun}
    return [ids[facts.named] for facts in several]


def _row(facts: DocumentFacts) -> tuple[Any, ...]:
    context = {storable(name): storable(said) for name, said in facts.context.items()}
    return (
        *facts.named,
        storable(facts.name),
        facts.size_bytes,
        facts.received_at,
        storable(facts.path),
        json.dumps(context),
        facts.modified_at,
        facts.valid_from,
        storable(facts.title),
        json.dumps(dict(facts.attributes)),
        facts.trace,
    )


async def insert_rejected(tx: Tx, document: int, part: int, rows: Sequence[Rejected], first: int = 0) -> None:
    """Keep the rejected rows of one part; doing it again changes nothing. `first` numbers the first of them."""
    if not rows:
        return
    values = []
    for ordinal, row in enumerate(rows, first):
        position = placeable(row.position)
        values.append(
            {
                "document": document,
                "part": part,
                "ordinal": ordinal,
                "dataset": row.dataset if isinstance(row, RejectedRecord) else None,
                "key": row.key if isinstance(row, RejectedRecord) else None,
                "reason": storable(row.reason),
                "detail": storable(row.detail),
                "raw": storable(row.raw),
                "page": position.page,
                "item": position.item,
                "box": position.box and list(position.box),
            }
        )
    await tx.execute(insert(rejected).on_conflict_do_nothing(), values)


async def insert_batches(tx: Tx, changed: Iterable[tuple[int, int, Mapping[str, Changes]]]) -> None:
    """Keep what storing parts changed, as (document, part, changes); the first time counts."""
    rows = [
        {"document": document, "part": part, "dataset": name, **changes.model_dump()}
        for document, part, by_dataset in changed
        for name, changes in by_dataset.items()
    ]
    if rows:
        await tx.execute(insert(batches).on_conflict_do_nothing(), rows)


FINISH = f"""
    UPDATE {SCHEMA}.documents d SET state = 'finished', outcome = e.outcome, reason = e.reason, pages = e.pages,
        accounting = e.accounting::jsonb, warnings = e.warnings::jsonb, cpu_seconds = e.cpu_seconds,
        peak_memory_bytes = e.peak_memory_bytes, finished_at = clock_timestamp()
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::float8[], $8::bigint[])
        e (id, outcome, reason, pages, accounting, warnings, cpu_seconds, peak_memory_bytes)
    WHERE d.id = e.id
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A document whose last part is stored."""

    document: int
    finished: Finished
    changes: Mapping[str, Changes] | None = None
    """What all its parts came to, where that is known, and nothing of it was rejected or held."""


async def finish_document(tx: Tx, document: int, finished: Finished) -> Totals:
    return (await finish_documents(tx, [Ended(document, finished)]))[0]


async def finish_documents(tx: Tx, ended: Sequence[Ended]) -> list[Totals]:
    """Close the rows of documents, and add up what all their parts came to.

    A row that the converter accepted and the store refused counts as rejected, one that a check holds as quarantined,
    so that seen is still accepted + rejected + ignored.
    """
    if not ended:
        return []
    counted = [await _add_up(tx, one) for one in ended]
    rows = [
        (
            one.document,
            one.finished.outcome,
            storable(one.finished.reason),
            one.finished.pages,
            json.dumps([asdict(page) for page in accounting]),
            json.dumps([storable(warning) for warning in one.finished.warnings]),
            one.finished.cpu_seconds,
            one.finished.peak_memory_bytes,
        )
        for one, (accounting, _) in zip(ended, counted, strict=True)
    ]
    await tx.exec_driver_sql(FINISH, tuple(map(list, zip(*rows, strict=True))))
    return [totals for _, totals in counted]


async def _add_up(tx: Tx, ended: Ended) -> tuple[Sequence[Accounting], Totals]:
    document, accounting = ended.document, ended.finished.accounting
    if ended.changes is not None:
        return accounting, Totals(_sum(accounting), ended.changes, {})
    accounting = _corrected(accounting, await _refused_rows(tx, document))
    accounting = with_quarantined(accounting, await _quarantined_rows(tx, document))
    return accounting, Totals(_sum(accounting), await _changes(tx, document), await _rejected(tx, document))


async def recount_quarantined(tx: Tx, document: int) -> None:
    """After some of it was released."""
    query = select(documents.c.accounting).where(documents.c.id == document).with_for_update()
    accounting = [Accounting(**page) for page in await tx.scalar(query) or ()]
    counted = with_quarantined(accounting, await _quarantined_rows(tx, document))
    if counted != accounting:
        row = update(documents).where(documents.c.id == document)
        await tx.execute(row.values(accounting=[asdict(page) for page in counted]))


def placeable(position: Position) -> Position:
    """Without numbers that no column holds."""
    page = position.page if position.page is not None and 0 <= position.page < 2**31 else None
    item = position.item if position.item is not None and 0 <= position.item < 2**63 else None
    box = position.box if position.box is not None and all(abs(edge) < POINTS for edge in position.box) else None
    return position if (page, box, item) == (position.page, position.box, position.item) else Position(page, box, item)


async def _refused_rows(tx: Tx, document: int) -> dict[int | None, int]:
    return await _rows_by_page(tx, rejected, (rejected.c.document == document) & rejected.c.dataset.is_not(None))


async def _quarantined_rows(tx: Tx, document: int) -> dict[int | None, int]:
    waiting = quarantine.c.state.in_(["held", "dropped"])
    return await _rows_by_page(tx, quarantine, (quarantine.c.document == document) & waiting)


async def _rows_by_page(tx: Tx, table: Table, where: ColumnElement[bool]) -> dict[int | None, int]:
    """A row whose match and market are both there is one."""
    row = tuple_(table.c.box, table.c.item, table.c.raw)
    statement = select(table.c.page, func.count(row.distinct())).where(where).group_by(table.c.page)
    return {row[0]: row[1] for row in await tx.execute(statement)}


def with_quarantined(accounting: Sequence[Accounting], rows: Mapping[int | None, int]) -> list[Accounting]:
    """With so many rows of each page quarantined, whatever was so before; they are accepted ones otherwise."""
    counted = []
    for page in accounting:
        ignored = dict(page.ignored)
        accepted = page.accepted + ignored.pop(QUARANTINED, 0)
        moved = min(rows.get(page.page, 0), accepted)
        if moved:
            ignored[QUARANTINED] = moved
        counted.append(Accounting(page.page, page.seen, accepted - moved, page.rejected, ignored))
    return counted


def _corrected(accounting: Sequence[Accounting], refused: Mapping[int | None, int]) -> list[Accounting]:
    corrected = []
    for page in accounting:
        moved = min(refused.get(page.page, 0), page.accepted)
        corrected.append(
            Accounting(page.page, page.seen, page.accepted - moved, page.rejected + moved, dict(page.ignored))
        )
    return corrected


def _sum(accounting: Sequence[Accounting]) -> Rows:
    ignored: dict[str, int] = {}
    for page in accounting:
        for kind, count in page.ignored.items():
            ignored[kind] = ignored.get(kind, 0) + count
    return Rows(
        seen=sum(page.seen for page in accounting),
        accepted=sum(page.accepted for page in accounting),
        rejected=sum(page.rejected for page in accounting),
        ignored=ignored,
    )


async def _changes(tx: Tx, document: int) -> dict[str, Changes]:
    counts = [func.sum(batches.c[name]).label(name) for name in Changes.model_fields]
    statement = select(batches.c.dataset, *counts).where(batches.c.document == document).group_by(batches.c.dataset)
    rows = (await tx.execute(statement.order_by(batches.c.dataset))).mappings()
    return {row["dataset"]: Changes(**{name: row[name] for name in Changes.model_fields}) for row in rows}


async def _rejected(tx: Tx, document: int) -> dict[str, int]:
    statement = select(rejected.c.reason, func.count()).where(rejected.c.document == document)
    return {row[0]: row[1] for row in await tx.execute(statement.group_by(rejected.c.reason))}
