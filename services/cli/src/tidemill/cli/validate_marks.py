"""The pass marks of `tidemill validate`: pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill.common.config.sources import SourceFile

FAILED_AT_MOST = 0.02
"""Share of the pages."""
FOOTPRINTS_AT_LEAST = 0.8
"""Share of the places that are in or near a building."""
MEMORY_BYTES = 200_000_000
WINDOW = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Mark:
    name: str
    wanted: str
    found: str
    passed: bool | None
    """None: nothing to judge by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a run came to."""

    source: SourceFile
    limit: int | None
    state: str
    reason: str
    counts: Mapping[str, int]
    """Of the ledger: items, new, changed, reappeared, unchanged, gone, failed."""
    asked: int
    """Targets that were asked for."""
    without_outcome: int
    failures: Mapping[str, int]
    known: int
    decided: int
    left_to_ask: int
    """Targets that were asked for, or that the limit alone kept from it."""
    held: str
    """The check that keeps anything from being called gone, and why."""
    pages: Sequence[tuple[str, str, Sequence[str]]]
    """(state, what tells it, fields with a value) of each page of a target that was read, the last time."""
    unconverted: int
    """Targets that were had and state no record."""
    doubled: int
    rejected: str
    """One of the rows that could not become a record."""
    matched: int
    checked: int
    """Places that were held against footprints."""
    most_in_ten_seconds: int
    most_bytes: int
    killed: int
    kills_wanted: int


def judge(found: Found) -> list[Mark]:
    """All marks, the coarse ones first."""
    return list(_marks(found))


def _marks(found: Found) -> Iterator[Mark]:
    yield _run(found)
    yield _pages(found)
    yield _counted(found)
    yield _required(found)
    yield _coverage(found)
    yield _records(found)
    yield Mark("doubled", "0 records twice", f"{found.doubled}", found.doubled == 0)
    yield _footprints(found)
    yield _politeness(found)
    yield _memory(found)
    if found.kills_wanted:
        passed = found.killed == found.kills_wanted
        yield Mark("killed scraper", "1 killed, nothing lost", f"{found.killed} killed", passed)
    if found.limit is None:
        yield Mark("checks", "none holds the run", found.held or "none does", not found.held)


def _run(found: Found) -> Mark:
    said = found.state + (f" ({found.reason})" if found.reason else "")
    return Mark("run", "complete", said, found.state == "complete" or (found.state == "partial" and _few_failed(found)))


def _few_failed(found: Found) -> bool:
    return sum(found.failures.values()) <= math.floor(found.asked * FAILED_AT_MOST)


def _pages(found: Found) -> Mark:
    failed = ", ".join(f"{count} {failure}" for failure, count in found.failures.items())
    # What is gone, given up or forbidden is known and not asked for, so a few less are all there are.
    enough = found.asked >= 1 if found.limit is None else found.asked >= min(found.limit, max(found.left_to_ask, 1))
    wanted = "all" if found.limit is None else f"{found.limit}, or all there are"
    told = f"{found.asked} asked for, {failed or '0'} failed"
    return Mark("pages", f"{wanted}; at most {FAILED_AT_MOST:.0%} failed", told, enough and _few_failed(found))


def _counted(found: Found) -> Mark:
    """Each outcome once: the ledger's items are as many as its outcomes, and each target has one decision."""
    outcomes = sum(found.counts[name] for name in ("new", "changed", "reappeared", "unchanged", "gone", "failed"))
    once = found.counts["items"] == outcomes and not found.without_outcome
    decided = found.decided == found.known
    told = f"{outcomes} outcomes of {found.counts['items']} items; {found.decided} decisions of {found.known} targets"
    return Mark("counted once", "one outcome an item, one decision a target", told, once and decided)


def _required(found: Found) -> Mark:
    rules = found.source.extract
    required = rules.required if rules else ()
    wanted = f"{', '.join(required) or 'none'} on every page"
    lacking: Counter[str] = Counter()
    for state, detail, _ in found.pages:
        if state == "incomplete":
            lacking.update([name for name in required if name in detail] or [detail])
    told = ", ".join(f"{name} is missing on {count}" for name, count in lacking.most_common(5))
    if not found.pages:
        return Mark("required fields", wanted, "no page was read", None if not found.asked else False)
    return Mark("required fields", wanted, told or f"on all {len(found.pages)}", not lacking)


def _coverage(found: Found) -> Mark:
    """A field that is on no page is a rule that finds nothing; with few pages a rare field is no mistake."""
    read = [fields for state, _, fields in found.pages if state == "ok"]
    rules = found.source.extract
    names = list(rules.fields) if rules else []
    if not read:
        return Mark("fields", "each on some page", "no page was read", None if not found.asked else False)
    shares = {name: sum(name in fields for fields in read) / len(read) for name in names}
    never = [name for name, share in shares.items() if share == 0]
    mean = sum(shares.values()) / len(shares) if shares else 0.0
    told = f"{mean:.0%} on average" + (f"; never: {', '.join(never)}" if never else "")
    return Mark("fields", "each on some page", told, not never if len(read) >= 50 else None if never else True)


def _records(found: Found) -> Mark:
    if found.source.convert is None:
        return Mark("records", "nothing converts the pages", "-", None)
    told = f"{found.unconverted} without" + (f" ({found.rejected})" if found.rejected else "")
    return Mark("records", "each page that was had states one", told, found.unconverted == 0)


def _footprints(found: Found) -> Mark:
    wanted = f"at least {FOOTPRINTS_AT_LEAST:.0%} in or near a building"
    if not found.checked:
        return Mark("footprints", wanted, "no buildings to check by: `tidemill geo import`", None)
    share = found.matched / found.checked
    return Mark("footprints", wanted, f"{share:.1%} of {found.checked}", share >= FOOTPRINTS_AT_LEAST)


def _politeness(found: Found) -> Mark:
    polite = found.source.politeness
    allowed = math.floor(WINDOW / polite.interval) + polite.concurrency + 1
    told = f"{found.most_in_ten_seconds} in the busiest 10 s"
    return Mark("politeness", f"{polite.rate}: {allowed} in 10 s", told, found.most_in_ten_seconds <= allowed)


def _memory(found: Found) -> Mark:
    wanted = f"at most {MEMORY_BYTES / 1e6:.0f} MB a scraper"
    return Mark("memory", wanted, f"{found.most_bytes / 1e6:.0f} MB", found.most_bytes <= MEMORY_BYTES)
