"""What a worker process and its parent tell each other: length-prefixed JSON over two pipes.

JSON and not pickle: the worker has read bytes of strangers, so nothing it says may be more than data.
Imported by every worker process, so it needs little: the standard library, orjson and the plugin types.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from struct import Struct
from typing import Any, BinaryIO

import orjson

from tidemill.plugin.conversion import Accounting, Described, Position, Record, Rejected

LENGTH = Struct(">I")

BATCH_ITEMS = 500
BATCH_BYTES = 256 * 1024
"""A batch ends with the item that reaches either, so that the same document always gives the same batches."""

ITEM_BYTES = 4 * 1024 * 1024
"""No record or rejected row may be larger: a frame has to fit in memory at both ends."""


@dataclass(frozen=True, slots=True)
class Job:
    """One document for one worker process."""

    path: str
    """A local file with the document's bytes."""
    sha256: str
    size_bytes: int
    name: str
    received_at: datetime
    converter: str
    """Where its class is, as `module:attribute`."""
    source: str = ""
    url: str = ""
    """Where on the web it was found; empty for files."""
    context: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    memory_bytes: int = 256_000_000
    cpu_seconds: float = 60.0
    pages: int | None = None
    skip: int = 0
    """Parts that are recorded already: converted again, but not sent."""


class Unsendable(ValueError):
    """An item that is not made of JSON values, or too large: the converter's defect."""


def write_frame(pipe: BinaryIO, content: bytes) -> None:
    """Into the pipe's buffer: whoever flushes it wakes the parent."""
    pipe.write(LENGTH.pack(len(content)))
    pipe.write(content)


def read_frame(pipe: BinaryIO) -> Any:
    """The next frame's value; None at the end of the pipe."""
    head = pipe.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return orjson.loads(pipe.read(LENGTH.unpack(head)[0]))


def encode_job(job: Job) -> bytes:
    return orjson.dumps({"kind": "convert", "job": job})


def decode_job(fields: Mapping[str, Any]) -> Job:
    return Job(**{**fields, "received_at": datetime.fromisoformat(fields["received_at"])})


def encode_record(record: Record) -> bytes:
    """Called once for every record there is: what is rare is left to `_encode_odd`."""
    place = record.position
    valid_from = record.valid_from
    fields = (
        record.dataset,
        record.key,
        record.data,
        place.page,
        place.box,
        place.item,
        valid_from,
        record.parent,
        record.raw,
        record.quality,
    )
    if valid_from is not None and valid_from.tzinfo is None:
        raise Unsendable(f"record {record.key!r}: valid_from {valid_from} has no time zone")
    try:
        content = orjson.dumps(fields)
    except TypeError:
        return _encode_odd(fields, f"record {record.key!r}")
    if len(content) > ITEM_BYTES or NUL in content:
        return _encode_odd(fields, f"record {record.key!r}")
    return content


def decode_record(fields: list[Any]) -> Record:
    dataset, key, data, page, box, item, valid_from, parent, raw, quality = fields
    return Record(
        dataset,
        key,
        data,
        Position(page, _tuple(box), item),
        None if valid_from is None else datetime.fromisoformat(valid_from),
        _tuple(parent),
        raw,
        quality,
    )


def encode_rejected(row: Rejected) -> bytes:
    place = row.position
    fields = [row.reason, row.detail, row.raw, place.page, place.box, place.item]
    return _encode_odd(fields, f"rejected row {row.reason!r}")


def decode_rejected(fields: list[Any]) -> Rejected:
    reason, detail, raw, page, box, item = fields
    return Rejected(reason, detail, raw, Position(page, _tuple(box), item))


def encode_part(records: list[bytes], rejected: list[bytes]) -> bytes:
    """One batch; its items are encoded already."""
    return b'{"kind":"part","records":[%b],"rejected":[%b]}' % (b",".join(records), b",".join(rejected))


def encode_tally(accounting: list[Accounting], warnings: list[str], records: int, rejected: Mapping[str, int]) -> bytes:
    """What is told of a batch whether or not it is sent: whole documents are counted after a resumption too."""
    counts = {"accounting": accounting, "warnings": warnings, "records": records, "rejected": rejected}
    return _encode_odd({"kind": "tally", **counts}, "accounting")


def encode_described(described: Described) -> bytes:
    return _encode_odd({"kind": "about", "about": described}, "description of the document")


def decode_described(fields: Mapping[str, Any]) -> Described:
    valid_from = fields["valid_from"]
    return Described(**{**fields, "valid_from": None if valid_from is None else datetime.fromisoformat(valid_from)})


def decode_accounting(fields: Mapping[str, Any]) -> Accounting:
    return Accounting(**fields)


NUL = b"\\u0000"

# Postgres cannot hold U+0000, and half of a surrogate pair is no text in UTF-8.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def _encode_odd(value: Any, what: str) -> bytes:
    """What may hold texts that cannot be stored, mappings that are no dict, or no JSON values at all."""
    try:
        content = orjson.dumps(value, _plain)
    except TypeError as error:
        # orjson has one exception for all; only halves of surrogate pairs can be helped.
        if "surrogates" not in str(error):
            raise Unsendable(f"{what}: {error}") from error
        content = NUL
    if NUL in content:
        content = orjson.dumps(storable(value), _plain)
    if len(content) > ITEM_BYTES:
        raise Unsendable(f"{what} has {len(content):,} bytes, allowed are {ITEM_BYTES:,}")
    return content


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def storable(value: Any) -> Any:
    """With U+FFFD for what cannot be stored."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item) for item in value]
    return value


def _tuple(value: list[Any] | None) -> Any:
    return None if value is None else tuple(value)
