"""Which records a batch speaks of: found in the store under their keys, or new."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from tidemill.common.bus.step import Tx
from tidemill.converter.content import CheckedRecord
from tidemill.converter.history import NOTHING
from tidemill.converter.identity import Candidate, Candidates
from tidemill.converter.versions import Key, Known, find_by_base, find_by_key, find_contents, find_former_contents
from tidemill.plugin import Dataset


class Statement(NamedTuple):
    """At this time, a record's content was this, says the document at this place of the batch."""

    place: int
    parent: str | None
    """The parent's key."""
    base: str
    """The base key, under the parent's key where there is one."""
    valid_at: datetime
    record: CheckedRecord


@dataclass(slots=True)
class Subject:
    """A record, and what the batch states about it."""

    key: Key
    known: Known | None
    stated: list[Statement] = field(default_factory=list)


async def find_subjects(tx: Tx, dataset: Dataset, id: int, statements: Sequence[Statement]) -> list[Subject]:
    """The records that these statements are about; the dataset's lock is held."""
    if dataset.same_fact is None:
        known = await find_by_key(tx, id, list({one.base for one in statements}))
        return _grouped([(one, one.base) for one in statements], known)
    candidates, known = await _find_candidates(tx, dataset, id, statements)
    return _grouped([(one, candidates[one.base].key_for(one.record)) for one in statements], known)


def _grouped(keyed: Sequence[tuple[Statement, str]], known: dict[str, Known]) -> list[Subject]:
    subjects: dict[str, Subject] = {}
    for one, key in keyed:
        subject = subjects.get(key)
        if subject is None:
            name = Key(key, None if key == one.base else one.base, one.parent)
            subject = subjects[key] = Subject(name, known.get(key))
        subject.stated.append(one)
    return list(subjects.values())


def _stated(record: Known) -> list[tuple[bytes, str]]:
    return [] if record.hash == NOTHING else [(record.hash, "")]


async def _find_candidates(
    tx: Tx, dataset: Dataset, id: int, statements: Sequence[Statement]
) -> tuple[dict[str, Candidates], dict[str, Known]]:
    hashes: dict[str, set[bytes]] = {}
    for one in statements:
        hashes.setdefault(one.base, set()).add(one.record.hash)
    found = await find_by_base(tx, id, list(hashes))
    # Data is fetched only where a statement is not what a record under its key says already.
    moved = [
        record.id
        for base, records in found.items()
        if not hashes[base] <= {record.hash for record in records}
        for record in records
    ]
    contents = await find_contents(tx, id, moved) if moved else {}
    vacated = [record.id for records in found.values() for record in records if not record.hash]
    if vacated:
        contents |= await find_former_contents(tx, id, vacated)
    candidates = {}
    for base in hashes:
        known = [
            Candidate(record.key, dict(contents.get(record.id, _stated(record))), dataset.model)
            for record in found.get(base, ())
        ]
        candidates[base] = Candidates(base, dataset, known)
    return candidates, {record.key: record for records in found.values() for record in records}
