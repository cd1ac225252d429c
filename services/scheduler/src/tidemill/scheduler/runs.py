"""Pure: a run as the ledger knows it, and when it has ended as what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from tidemill.scheduler.items import OUTCOMES, Item, earlier, later
from tidemill.scheduler.words import Word

WAITING = ("waiting", "requested")
"""Nobody has planned it yet."""
FINAL = ("complete", "partial", "blocked", "failed", "cancelled", "timed_out")
BLOCKED = frozenset(("blocked", "robots", "robots_unreachable", "breaker_open", "budget_spent", "limiter_unavailable"))
"""Failures that say: we may not ask."""


@dataclass(frozen=True, slots=True)
class Run:
    """A row of the ledger."""

    run: str
    source: str
    requested_at: datetime
    trigger: str = ""
    slot: datetime | None = None
    state: str = "requested"
    reason: str = ""
    config_version: int = 0
    released_at: datetime | None = None
    planned_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    last_at: datetime | None = None
    """Of the newest word about it."""
    closed: bool = False
    closed_at: datetime | None = None
    plan_total: int = 0
    plan_dead: str = ""
    ended_by: str = ""
    """A limit or a person that ended it; empty: its items did, or it goes on."""
    planned_items: int = 0
    items: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    reappeared: int = 0
    skipped: int = 0
    failed: int = 0
    bytes: int = 0
    requests: int = 0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    corrected: bool = False
    statements: int = 0
    """How often its end was stated."""

    @property
    def done(self) -> int:
        return sum(getattr(self, outcome) for outcome in OUTCOMES)

    @property
    def through(self) -> bool:
        """Its plan is whole, and every item of it has an outcome."""
        return self.closed and self.planned_items >= self.plan_total and self.done == self.items

    @property
    def ended(self) -> bool:
        return self.state in FINAL

    @property
    def told(self) -> tuple[object, ...]:
        """What is worth stating again when it changes after the end."""
        return (
            self.state,
            self.items,
            self.skipped,
            *(getattr(self, outcome) for outcome in OUTCOMES),
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """What only all items together say."""

    at: datetime | None = None
    """The last first outcome."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """How many items failed why."""
    records: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    @property
    def main_reason(self) -> str:
        return min(self.reasons, key=lambda reason: (-self.reasons[reason], reason), default="")


def hear(run: Run, word: Word) -> Run:
    """What the event says of the run itself. The inbox sees to it that each is heard once."""
    unasked = run.released_at is None and run.state not in WAITING[:1]
    run = replace(
        run,
        requested_at=min(run.requested_at, word.at) if unasked else run.requested_at,
        last_at=later(run.last_at, word.at),
        plan_dead=max(run.plan_dead, word.plan_dead),
    )
    if word.plan is None:
        return run
    plan = word.plan
    return replace(
        run,
        trigger=run.trigger or plan.trigger,
        planned_at=earlier(run.planned_at, word.at),
        closed=run.closed or plan.closed,
        closed_at=later(run.closed_at, word.at) if plan.closed else run.closed_at,
        plan_total=max(run.plan_total, plan.total if plan.closed else 0),
        skipped=run.skipped + plan.skipped,
        requests=run.requests + plan.requests,
        bytes=run.bytes + plan.bytes,
    )


def count(run: Run, before: Item | None, now: Item) -> Run:
    """The run after one of its items became another."""
    counts = {name: getattr(run, name) for name in OUTCOMES}
    if before is not None and before.outcome:
        counts[before.outcome] -= 1
    if now.outcome:
        counts[now.outcome] += 1
    return replace(
        run,
        **counts,
        items=run.items + (before is None),
        planned_items=run.planned_items + (now.planned and not (before and before.planned)),
        started_at=earlier(run.started_at, now.begun_at),
        requests=run.requests + now.requests - (before.requests if before else 0),
        bytes=run.bytes + now.bytes - (before.bytes if before else 0),
        cpu_seconds=run.cpu_seconds + now.cpu_seconds - (before.cpu_seconds if before else 0.0),
        peak_memory_bytes=max(run.peak_memory_bytes, now.peak_memory_bytes),
        corrected=run.corrected or now.corrected,
    )


def judge(run: Run, ending: Ending) -> Run:
    """Its state, from what is known. `ending` is asked where `may_end` says so."""
    if run.ended_by:
        return run
    if run.through:
        state, reason = _end(run, ending)
        at = later(later(ending.at, run.closed_at), run.requested_at)
        corrected = run.corrected or bool(run.plan_dead)
        return replace(run, state=state, reason=reason, finished_at=at, corrected=corrected)
    if run.plan_dead and not run.closed:
        return replace(run, state="failed", reason=f"plan_dead_{run.plan_dead}", finished_at=run.last_at)
    state = "running" if run.started_at else "planned" if run.planned_at else run.state
    return replace(run, state=state, reason="" if state not in WAITING else run.reason, finished_at=None)


def may_end(run: Run) -> bool:
    return run.through and not run.ended_by


def _end(run: Run, ending: Ending) -> tuple[str, str]:
    if not run.failed:
        return "complete", ""
    if run.failed < run.items:
        return "partial", ending.main_reason
    return ("blocked" if BLOCKED.issuperset(ending.reasons) else "failed"), ending.main_reason
