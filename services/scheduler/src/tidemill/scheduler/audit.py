"""Who changed what: rows chained by their hashes, so that one that is changed, moved or removed is found."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.step import Tx

DONE = "done"
FIRST = "0" * 64
"""What the first row has for the hash before it."""
SLICE = 5_000

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.audit', 0))")
LAST = text("SELECT seq, hash FROM scheduler.audit ORDER BY seq DESC LIMIT 1")
# `before` and `after` as they are written: numbers must not change on the way through a parser.
ROWS = text("""
SELECT seq, at, actor, via, action, target, before::text AS before, after::text AS after, result, prev_hash, hash
FROM scheduler.audit WHERE seq > :after_seq ORDER BY seq LIMIT :slice
""")


@dataclass(frozen=True, slots=True)
class Head:
    """The newest row. Kept outside of the database too, it shows that rows are missing at the end."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq} {self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        seq, hash = text.split()
        return cls(int(seq), hash)


EMPTY = Head(0, FIRST)


@dataclass(frozen=True, slots=True)
class Row:
    """One change, as the table has it; `before` and `after` are JSON texts."""

    seq: int
    at: datetime
    actor: str
    via: str
    action: str
    target: str
    before: str | None
    after: str | None
    result: str
    prev_hash: str
    hash: str

    def rehashed(self) -> str:
        """What its hash must be."""
        fields = (
            self.seq,
            self.at.astimezone(UTC).isoformat(timespec="microseconds"),
            self.actor,
            self.via,
            self.action,
            self.target,
            self.before,
            self.after,
            self.result,
            self.prev_hash,
        )
        return hashlib.sha256(json.dumps(fields, ensure_ascii=False).encode()).hexdigest()


async def record(
    tx: Tx,
    *,
    actor: str,
    via: str,
    action: str,
    target: str,
    before: Any = None,
    after: Any = None,
    result: str = DONE,
    at: datetime | None = None,
) -> Head:
    """Append a row in the transaction of the change itself. Do it last: until the commit no other change is recorded.

    `before` and `after` are JSON values, and hold no secrets. `at` is for what happened elsewhere, and is now without.
    """
    await tx.execute(LOCK)
    head = await find_head(tx)
    row = Row(
        seq=head.seq + 1,
        at=at or datetime.now(UTC),
        actor=_storable(actor),
        via=via,
        action=action,
        target=_storable(target),
        before=_json(before),
        after=_json(after),
        result=_storable(result),
        prev_hash=head.hash,
        hash="",
    )
    hash = row.rehashed()
    await tx.execute(
        text(
            "INSERT INTO scheduler.audit (seq, at, actor, via, action, target, before, after, result, prev_hash, hash) "
            "VALUES (:seq, :at, :actor, :via, :action, :target, CAST(:before AS json), CAST(:after AS json), :result, "
            ":prev_hash, :hash)"
        ),
        {
            "seq": row.seq,
            "at": row.at,
            "actor": row.actor,
            "via": row.via,
            "action": row.action,
            "target": row.target,
            "before": row.before,
            "after": row.after,
            "result": row.result,
            "prev_hash": row.prev_hash,
            "hash": hash,
        },
    )
    return Head(row.seq, hash)


async def find_head(tx: Tx) -> Head:
    """The newest row; EMPTY where there is none."""
    row = (await tx.execute(LAST)).first()
    return Head(row.seq, row.hash) if row else EMPTY


async def rows(tx: Tx, after: int = 0) -> AsyncIterator[Row]:
    """All rows behind this one, in order, a slice at a time."""
    while True:
        found = [Row(**row) for row in (await tx.execute(ROWS, {"after_seq": after, "slice": SLICE})).mappings()]
        for row in found:
            yield row
        if len(found) < SLICE:
            return
        after = found[-1].seq


async def verify(tx: Tx, kept: Head | None) -> list[str]:
    """All that is wrong with the chain, a sentence each that names the row. `kept` is the head as kept elsewhere."""
    wrong: list[str] = []
    last = EMPTY
    seen: str | None = None
    async for row in rows(tx):
        wrong += _breaks(row, last)
        last = Head(row.seq, row.hash)
        if kept and row.seq == kept.seq:
            seen = row.hash
    if kept and kept.seq > last.seq:
        wrong.append(f"{_named(last.seq + 1, kept.seq)} missing at the end: the kept head is row {kept.seq}")
    elif kept and kept.seq and seen is not None and seen != kept.hash:
        wrong.append(f"row {kept.seq} is another one than the one that was kept as head: the chain was written anew")
    return wrong


def _breaks(row: Row, last: Head) -> Iterator[str]:
    """What does not fit between a row and the one before it."""
    if row.seq != last.seq + 1:
        yield f"{_named(last.seq + 1, row.seq - 1)} missing before row {row.seq}"
    elif row.prev_hash != last.hash:
        yield f"row {row.seq} does not follow row {last.seq}: one of the two was changed or moved"
    if row.rehashed() != row.hash:
        yield f"row {row.seq} was changed ({row.at:%Y-%m-%d %H:%M:%S}, {row.actor}: {row.action} {row.target})"


def _named(first: int, last: int) -> str:
    return f"row {first} is" if first == last else f"rows {first} to {last} are"


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False, default=str)


def _storable(text: str) -> str:
    """Postgres takes no NUL."""
    return text.replace("\x00", "")
