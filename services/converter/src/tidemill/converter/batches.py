"""Parts of documents on their way into the store, and which of them go together."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tidemill.common.events import Changes
from tidemill.converter.content import CheckedRecord
from tidemill.converter.enriched import Enriched
from tidemill.converter.identity import Ref
from tidemill.plugin import Rejected


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


def waves(parts: Iterable[RecordBatch], *, apart: Container[int]) -> list[list[RecordBatch]]:
    """The parts, in order; plain neighbours are together as long as no two speak of the same record. `apart` are
    documents whose parts are not plain."""
    found: list[list[RecordBatch]] = []
    stated: set[Ref] = set()
    for part in parts:
        refs = {(record.dataset, record.key) for record in part.records}
        joins = found and is_plain(found[-1][0], apart) and is_plain(part, apart) and stated.isdisjoint(refs)
        if joins:
            found[-1].append(part)
            stated |= refs
        else:
            found.append([part])
            stated = refs
    return found


def is_plain(part: RecordBatch, apart: Container[int]) -> bool:
    """Whether its records are what they say, wherever else they stand: none has a parent, its page is not gone."""
    return (
        part.origin == "stored" and part.document not in apart and all(record.parent is None for record in part.records)
    )
