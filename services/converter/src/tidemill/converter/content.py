"""Records, checked by their dataset's model and made canonical: what versions are compared by."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from pydantic import BaseModel, ValidationError

from tidemill.plugin import Dataset, Position, Record, Rejected, Rejection

KEY_BYTES = 800
"""Of one key; a key under a parent's key still has to fit into a B-tree's row."""

NAME_LETTERS = 300
"""A longer print is no name, and not resolved."""

SENTENCE_LETTERS = 500

NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""U+0000 in JSON; a backslash before it, itself escaped, is none."""


@dataclass(frozen=True, slots=True)
class NameKey:
    """A printed name to resolve."""

    vocabulary: str
    raw: str
    scope: str


@dataclass(frozen=True, slots=True)
class CheckedRecord:
    """A record that fits its dataset's model."""

    dataset: str
    key: str
    data: str
    """Canonical JSON of the model's fields, without those that are None."""
    hash: bytes
    """SHA-256 of `data`: of the content alone, never of document, position or run."""
    position: Position
    valid_from: datetime | None
    parent: tuple[str, str] | None
    raw: str
    quality: float
    names: tuple[NameKey, ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedRecord(Rejected):
    """What a converter took for a record and the store refuses."""

    dataset: str = ""
    key: str = ""


@dataclass(slots=True)
class Checked:
    records: list[CheckedRecord] = field(default_factory=list)
    rejected: list[RejectedRecord] = field(default_factory=list)


def check_records(records: Iterable[Record], datasets: Mapping[str, Dataset]) -> Checked:
    """Tell the records that fit their model from those that do not. Pure; 10 to 20 µs of CPU a record."""
    checked = Checked()
    for record in records:
        try:
            checked.records.append(_checked(record, datasets))
        except (ValueError, TypeError, RecursionError) as error:
            checked.rejected.append(refused(record, _sentence(error)))
    return checked


def refused(record: Record | CheckedRecord, detail: str) -> RejectedRecord:
    try:
        raw = record.raw or str(record.data)
    except RecursionError:
        raw = "nested too deeply to be shown"
    return RejectedRecord(
        Rejection.INVALID, detail, storable(raw), record.position, storable(record.dataset), storable(record.key)
    )


def storable(text: str) -> str:
    """Without what Postgres cannot hold: U+0000 and halves of surrogate pairs."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def load(model: type[BaseModel], data: str) -> BaseModel:
    """The model's instance from stored data; a ValidationError where the model has become another."""
    values = json.loads(data)
    for name, known in model.model_fields.items():
        if known.is_required():
            values.setdefault(name, None)
    return model.model_validate(values)


def _checked(record: Record, datasets: Mapping[str, Dataset]) -> CheckedRecord:
    dataset = datasets.get(record.dataset)
    if dataset is None:
        raise ValueError(f"there is no dataset {record.dataset!r}; installed: {', '.join(sorted(datasets)) or 'none'}")
    for key in (record.key, *(record.parent or ())):
        if not key or "\x00" in key or len(key.encode()) > KEY_BYTES:
            raise ValueError(f"a key has 1 to {KEY_BYTES} bytes and no U+0000, not {key[:40]!r}")
    if record.valid_from is not None and record.valid_from.tzinfo is None:
        raise ValueError(f"valid_from has no time zone: {record.valid_from}")
    if not 0 <= record.quality <= 1:
        raise ValueError(f"quality is from 0 to 1, not {record.quality}")
    values = dataset.model.model_validate(record.data).model_dump(mode="json", exclude_none=True)
    data = canonical(values)
    return CheckedRecord(
        record.dataset,
        record.key,
        data.decode(),
        hashlib.sha256(data).digest(),
        record.position,
        record.valid_from,
        record.parent,
        storable(record.raw),
        record.quality,
        _names(values, dataset) if dataset.names else (),
    )


def canonical(values: dict[str, Any]) -> bytes:
    """JSON with sorted keys; ValueError for what Postgres cannot hold."""
    try:
        data = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # Integers of more than 64 bits; what is no text at all fails here too.
        data = json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    if b"\\u0000" in data and NUL.search(data):
        raise ValueError("a text holds U+0000, which Postgres cannot store")
    return data


def _names(values: Mapping[str, Any], dataset: Dataset) -> tuple[NameKey, ...]:
    found = []
    for name in dataset.names.values():
        raw, scope = values.get(name.raw), values.get(name.scope, "")
        if isinstance(raw, str) and isinstance(scope, str) and raw and max(len(raw), len(scope)) <= NAME_LETTERS:
            found.append(NameKey(name.vocabulary, raw, scope))
    return tuple(found)


def _sentence(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=True)
        parts = [f"{'.'.join(map(str, e['loc'])) or 'record'}: {e['msg']}, not {e['input']!r:.80}" for e in first[:3]]
        if len(first) > 3:
            parts.append(f"and {len(first) - 3} more")
        return storable("; ".join(parts))[:SENTENCE_LETTERS]
    return storable(str(error))[:SENTENCE_LETTERS]
