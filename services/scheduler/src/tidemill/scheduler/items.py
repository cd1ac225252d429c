"""Pure: what became of one item of a run. What events say of it adds up to the same, in whatever order they come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum


class Rank(IntEnum):
    """How much weighs what was said; of two, the heavier stands. So a success outweighs the giving up that a replay has
    mended, and a late or repeated word changes nothing."""

    PLANNED = 0
    STORED = 1
    """To be converted; from here on it is begun."""
    DEAD = 2
    """Given up; from here on it has an outcome."""
    FAILED = 3
    REFUSED = 4
    UNCHANGED = 5
    GONE = 6
    MISCONVERTED = 7
    CONVERTED = 8
    """Or stored, where nothing converts."""


OUTCOMES = ("new", "changed", "reappeared", "unchanged", "gone", "failed")


@dataclass(frozen=True, slots=True)
class Item:
    """One item, as far as it is known."""

    rank: Rank
    at: datetime
    """When that was so which stands."""
    outcome: str = ""
    """One of OUTCOMES; empty until there is one."""
    reason: str = ""
    """Slug of why it failed."""
    detail: str = ""
    name: str = ""
    sha256: str = ""
    records: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """What its conversion changed, by dataset."""
    planned: bool = False
    begun_at: datetime | None = None
    """When the first was heard of it but its name."""
    ended_at: datetime | None = None
    """When it had an outcome first."""
    corrected: bool = False
    """It has had another outcome before."""
    requests: int = 0
    bytes: int = 0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0


def merge(one: Item, other: Item) -> Item:
    """Associative, commutative, and the same again for what is already in it."""
    stands = min(one, other, key=_weight)
    return Item(
        rank=stands.rank,
        at=stands.at,
        outcome=stands.outcome,
        reason=stands.reason,
        detail=stands.detail,
        name=stands.name,
        sha256=stands.sha256,
        records=stands.records,
        planned=one.planned or other.planned,
        begun_at=earlier(one.begun_at, other.begun_at),
        ended_at=earlier(one.ended_at, other.ended_at),
        corrected=one.corrected
        or other.corrected
        or bool(one.outcome and other.outcome and one.outcome != other.outcome),
        requests=max(one.requests, other.requests),
        bytes=max(one.bytes, other.bytes),
        cpu_seconds=max(one.cpu_seconds, other.cpu_seconds),
        peak_memory_bytes=max(one.peak_memory_bytes, other.peak_memory_bytes),
    )


def earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((moment for moment in (one, other) if moment is not None), default=None)


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _weight(item: Item) -> tuple[object, ...]:
    """Of equals the first that happened: a document that is converted again later changes no run of the past."""
    records = sorted((dataset, sorted(changes.items())) for dataset, changes in item.records.items())
    return (-item.rank, item.at, item.outcome, item.reason, item.detail, item.name, item.sha256, records)
