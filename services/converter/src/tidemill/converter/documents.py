"""The rows of documents: begun with the first part, finished with the last."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import Tx
from tidemill.common.events import Changes, Rows
from tidemill.converter.content import RejectedRecord, storable
from tidemill.converter.tables import batches, documents, quarantine, rejected
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


async def begin_document(tx: Tx, facts: DocumentFacts, *, likely_new: bool = False) -> int:
    """The document's id; the same when it began before, with another part or another delivery. One that is `likely_new`
    is not looked for first."""
    if not likely_new:
        named = [documents.c[name] == getattr(facts, name) for name in NAMED_BY]
        known: int | None = await tx.scalar(select(documents.c.id).where(*named))
        if known is not None:
            return known
    values = asdict(facts)
    for text in ("name", "path", "title"):
        values[text] = storable(values[text])
    values["context"] = {storable(name): storable(said) for name, said in facts.context.items()}
    statement = insert(documents).values(values)
    # An update that changes nothing, because an insert that does nothing returns nothing.
    unchanged = {"received_at": documents.c.received_at}
    statement = statement.on_conflict_do_update(index_elements=NAMED_BY, set_=unchanged)
    id: int = (await tx.execute(statement.returning(documents.c.id))).scalar_one()
    return id


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


async def insert_batch(tx: Tx, document: int, part: int, changes: Mapping[str, Changes]) -> None:
    """Keep what storing a part changed; the first time counts."""
    if changes:
        rows = [{"document": document, "part": part, "dataset": name, **c.model_dump()} for name, c in changes.items()]
        await tx.execute(insert(batches).on_conflict_do_nothing(), rows)


async def finish_document(
    tx: Tx, document: int, finished: Finished, *, changes: Mapping[str, Changes] | None = None
) -> Totals:
    """Close the document's row, and add up what all its parts came to: `changes`, where that is known to be all, and
    nothing was rejected or held.

    A row that the converter accepted and the store refused counts as rejected, one that a check holds as quarantined,
    so that seen is still accepted + rejected + ignored.
    """
    if changes is not None:
        accounting = list(finished.accounting)
        totals = Totals(_sum(accounting), changes, {})
    else:
        accounting = _corrected(finished.accounting, await _refused_rows(tx, document))
        accounting = with_quarantined(accounting, await _quarantined_rows(tx, document))
        totals = Totals(_sum(accounting), await _changes(tx, document), await _rejected(tx, document))
    await tx.execute(
        update(documents)
        .where(documents.c.id == document)
        .values(
            state="finished",
            outcome=finished.outcome,
            reason=storable(finished.reason),
            pages=finished.pages,
            accounting=[asdict(page) for page in accounting],
            warnings=[storable(warning) for warning in finished.warnings],
            cpu_seconds=finished.cpu_seconds,
            peak_memory_bytes=finished.peak_memory_bytes,
            finished_at=func.clock_timestamp(),
        )
    )
    return totals


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
