"""The versioned record store: statements of documents in, versions out, whatever the order of arrival.

`record()` of the converter's step calls, in its transaction: `begin_document` (with every part), `record_batches`, and
with the last part `finish_document`.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from tidemill.common.bus.step import Tx
from tidemill.common.events import Changes
from tidemill.converter.batches import RecordBatch, Recorded, is_plain, waves
from tidemill.converter.content import CheckedRecord, RejectedRecord, refused
from tidemill.converter.datasets import Datasets
from tidemill.converter.documents import (
    DocumentFacts,
    Finished,
    Totals,
    begin_document,
    begin_documents,
    finish_document,
    insert_batches,
    insert_rejected,
)
from tidemill.converter.enriched import insert_enriched
from tidemill.converter.gone import Gone, find_gone, state_gone
from tidemill.converter.identity import Family, Ref
from tidemill.converter.statements import store_statements, store_together
from tidemill.converter.subjects import Statement, Subject, find_subjects
from tidemill.converter.versions import Part, fetch_arrival, find_keys_in_document, lock_datasets

__all__ = [
    "DocumentFacts",
    "Finished",
    "RecordBatch",
    "Recorded",
    "Totals",
    "begin_document",
    "begin_documents",
    "finish_document",
    "record_batches",
]


async def record_batches(tx: Tx, parts: Sequence[RecordBatch], datasets: Datasets) -> list[Recorded]:
    """Store the parts, in order. Until commit nobody else writes to their datasets."""
    await lock_datasets(tx, {record.dataset for part in parts for record in part.records})
    gone = await find_gone(tx, [part.document for part in parts if part.records])
    recorded: list[Recorded] = []
    for wave in waves(parts, apart=gone):
        if is_plain(wave[0], gone):
            recorded += await _record_plain(tx, wave, datasets)
        else:
            recorded.append(await _record_batch(tx, wave[0], datasets, gone.get(wave[0].document, ())))
    await insert_batches(
        tx, [(part.document, part.part, one.changes) for part, one in zip(parts, recorded, strict=True)]
    )
    return recorded


async def _record_plain(tx: Tx, parts: Sequence[RecordBatch], datasets: Datasets) -> list[Recorded]:
    """A wave: as many statements for all of its parts as for one."""
    changes: list[dict[str, Changes]] = [{} for _ in parts]
    for name in sorted({record.dataset for part in parts for record in part.records}):
        stating = await _stating(tx, parts, name, datasets)
        stored = await store_together(tx, [(_part(parts[n], name, datasets), stating[n]) for n in stating])
        for n, one in zip(stating, stored, strict=True):
            changes[n][name] = Changes(**one.counts)
        made = [(one.opened, parts[n].enriched) for n, one in zip(stating, stored, strict=True)]
        await insert_enriched(tx, datasets[name], datasets.id(name), made)
    for part in parts:
        await insert_rejected(tx, part.document, part.part, part.rejected)
    return [
        Recorded(changed, Counter(row.reason for row in part.rejected))
        for part, changed in zip(parts, changes, strict=True)
    ]


async def _stating(tx: Tx, parts: Sequence[RecordBatch], name: str, datasets: Datasets) -> dict[int, list[Subject]]:
    """What each part (by its number) states of a dataset. No two state the same base key."""
    owners: dict[str, int] = {}
    statements = []
    for n, part in enumerate(parts):
        for place, record in enumerate(part.records):
            if record.dataset == name:
                owners[record.key] = n
                at = record.valid_from or part.valid_from
                statements.append(Statement(place, None, record.key, at, record))
    stating: dict[int, list[Subject]] = {}
    for subject in await find_subjects(tx, datasets[name], datasets.id(name), statements):
        stating.setdefault(owners[subject.stated[0].base], []).append(subject)
    return stating


def _part(batch: RecordBatch, name: str, datasets: Datasets) -> Part:
    return Part(datasets.id(name), batch.document, batch.part, batch.run, batch.origin)


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
            stored = await store_statements(tx, _part(batch, name, datasets), subjects)
            counts.setdefault(name, Counter()).update(stored.counts)
            await insert_enriched(tx, datasets[name], datasets.id(name), [(stored.opened, batch.enriched)])
    later = [word for word in gone if received_at and word.at >= received_at]
    if later:
        for name, again in (await state_gone(tx, batch.document, batch.part, later, datasets)).items():
            counts.setdefault(name, Counter()).update(again)
    rejected += [refused(record, "it is its own ancestor") for _, record in family.waiting]
    await insert_rejected(tx, batch.document, batch.part, rejected)
    changes = {name: Changes(**count) for name, count in counts.items()}
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
