"""The versioned record store: statements of documents in, versions out, whatever the order of arrival.

`record()` of the converter's step calls, in its transaction: `begin_document` (with every part), `record_batches`, and
with the last part `finish_document`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tidemill.common.bus.step import Tx
from tidemill.common.events import Changes
from tidemill.converter.content import CheckedRecord, RejectedRecord, refused
from tidemill.converter.datasets import Datasets
from tidemill.converter.documents import (
    DocumentFacts,
    Finished,
    Totals,
    begin_document,
    finish_document,
    insert_batch,
    insert_rejected,
)
from tidemill.converter.enriched import Enriched, insert_enriched
from tidemill.converter.gone import Gone, find_gone, state_gone
from tidemill.converter.identity import Family, Ref
from tidemill.converter.statements import Part, store_statements
from tidemill.converter.subjects import Statement, find_subjects
from tidemill.converter.versions import fetch_arrival, find_keys_in_document, lock_datasets
from tidemill.plugin import Rejected

__all__ = [
    "DocumentFacts",
    "Finished",
    "RecordBatch",
    "Recorded",
    "Totals",
    "begin_document",
    "finish_document",
    "record_batches",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBatch:
    """One part of a document, checked (`content.check_records`) outside the transaction."""

    document: int
    """What `begin_document` answered."""
    part: int
    run: str
    valid_from: datetime
    """The document's own time, for records that have none: what it says of itself, else when we received it."""
    records: Sequence[CheckedRecord]
    rejected: Sequence[Rejected] = ()
    """The converter's, and those of `check_records`."""
    origin: Literal["stored", "reconvert"] = "stored"
    enriched: Sequence[Enriched] = ()
    """What follows from the records, as far as it was worked out already."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What storing a batch changed."""

    changes: Mapping[str, Changes]
    """By dataset."""
    rejected: Mapping[str, int]
    """By reason; with the records whose parent the document does not have."""


async def record_batches(tx: Tx, parts: Sequence[RecordBatch], datasets: Datasets) -> list[Recorded]:
    """Store the parts, in order. Until commit nobody else writes to their datasets."""
    await lock_datasets(tx, {record.dataset for part in parts for record in part.records})
    gone = await find_gone(tx, [part.document for part in parts if part.records])
    return [await _record_batch(tx, part, datasets, gone.get(part.document, ())) for part in parts]


async def _record_batch(tx: Tx, batch: RecordBatch, datasets: Datasets, gone: Sequence[Gone]) -> Recorded:
    """Parents first: a key stands under its parent's, which the store may have to find. `gone`: words about the page
    that the document is of."""
    counts: dict[str, Counter[str]] = {}
    received_at = (await fetch_arrival(tx, batch.document))[0] if gone else None
    floor = max((word.at for word in gone if received_at and word.at < received_at), default=None)
    rejected = list(batch.rejected)
    family = Family(list(enumerate(batch.records)))
    while generation := family.next_generation():
        statements, orphans = await _statements(tx, batch, datasets, family, generation)
        if floor is not None and received_at is not None:
            statements = {name: _after(floor, received_at, several) for name, several in statements.items()}
        rejected += orphans
        for name in sorted(statements):
            subjects = await find_subjects(tx, datasets[name], datasets.id(name), statements[name])
            for subject in subjects:
                for one in subject.stated:
                    family.learn(one.place, (name, one.record.key), subject.key.text)
            part = Part(datasets.id(name), batch.document, batch.part, batch.run, batch.origin)
            stored = await store_statements(tx, part, subjects)
            counts.setdefault(name, Counter()).update(stored.counts)
            await insert_enriched(tx, datasets[name], datasets.id(name), stored.opened, batch.enriched)
    later = [word for word in gone if received_at and word.at >= received_at]
    if later:
        for name, again in (await state_gone(tx, batch.document, batch.part, later, datasets)).items():
            counts.setdefault(name, Counter()).update(again)
    rejected += [refused(record, "it is its own ancestor") for _, record in family.waiting]
    await insert_rejected(tx, batch.document, batch.part, rejected)
    changes = {name: Changes(**count) for name, count in counts.items()}
    await insert_batch(tx, batch.document, batch.part, changes)
    return Recorded(changes, Counter(row.reason for row in rejected))


def _after(gone_at: datetime, received_at: datetime, statements: Sequence[Statement]) -> list[Statement]:
    """What a page says that is there again holds since then, also where it names an older time."""
    return [one if one.valid_at > gone_at else one._replace(valid_at=received_at) for one in statements]


async def _statements(
    tx: Tx,
    batch: RecordBatch,
    datasets: Datasets,
    family: Family,
    generation: Sequence[tuple[int, CheckedRecord]],
) -> tuple[dict[str, list[Statement]], list[RejectedRecord]]:
    """What the records of a generation state, by dataset, and those without the parent they name."""
    earlier: dict[Ref, str] = {}
    for name, bases in family.unknown_parents(generation).items():
        if name in datasets:
            keys = await find_keys_in_document(tx, datasets.id(name), batch.document, batch.part, sorted(bases))
            earlier.update({(name, base): key for base, key in keys.items()})
    statements: dict[str, list[Statement]] = {}
    orphans = []
    for place, record in generation:
        base, parent = record.key, None
        if record.parent is not None:
            parent = family.parent_key(place, record.parent, earlier)
            if parent is None:
                of, key = record.parent
                orphans.append(refused(record, f"the document states no {of} {key!r}, its parent, before it"))
                continue
            base = f"{parent}/{record.key}"
        one = Statement(place, parent, base, record.valid_from or batch.valid_from, record)
        statements.setdefault(record.dataset, []).append(one)
    return statements, orphans
