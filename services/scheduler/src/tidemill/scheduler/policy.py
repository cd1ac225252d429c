"""Pure: whether a run may begin, has to wait, or is dropped."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Overlap = Literal["skip", "buffer", "cancel", "allow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A run that somebody or something wants."""

    run: str
    source: str
    overlap: Overlap = "skip"
    group: str | None = None
    backfill: str | None = None
    queued: bool = False
    """One of several missed slots: they run one after the other, whatever `overlap` says."""
    waited: bool = False
    """It was let in before, and waits."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an ask, with its reason as a slug and the sentence for it."""

    what: Literal["begin", "wait", "drop"]
    reason: str = ""
    detail: str = ""
    instead_of: tuple[str, ...] = ()
    """Runs that are cancelled for it."""


BEGIN = Decision("begin")


@dataclass(slots=True, kw_only=True)
class Situation:
    """What is under way, as far as runs depend on it; it grows with each run that begins."""

    held: Callable[[str], str | None]
    """Why a source may begin nothing."""
    disk: str | None = None
    """What is wrong with the disk."""
    under_way: dict[str, list[str]] = field(default_factory=dict)
    """By source: runs that were released and have not ended, without backfills."""
    waiting: dict[str, list[str]] = field(default_factory=dict)
    in_group: dict[str, int] = field(default_factory=dict)
    group_size: Mapping[str, int] = field(default_factory=dict)
    in_backfill: dict[str, int] = field(default_factory=dict)
    backfill_size: Mapping[str, int] = field(default_factory=dict)

    def decide(self, ask: Ask) -> Decision:
        """The decision, taken into account for those that follow."""
        decision = _decide(ask, self)
        if decision.instead_of:
            self._give_way(ask)
        if decision.what == "begin":
            self._begin(ask)
        elif decision.what == "wait" and ask.backfill is None and not ask.waited:
            self.waiting.setdefault(ask.source, []).append(ask.run)
        return decision

    def _give_way(self, ask: Ask) -> None:
        if ask.group is not None:
            self.in_group[ask.group] = self.in_group.get(ask.group, 0) - len(self.under_way.get(ask.source, []))
        self.under_way[ask.source], self.waiting[ask.source] = [], []

    def _begin(self, ask: Ask) -> None:
        if ask.group is not None:
            self.in_group[ask.group] = self.in_group.get(ask.group, 0) + 1
        if ask.backfill is not None:
            self.in_backfill[ask.backfill] = self.in_backfill.get(ask.backfill, 0) + 1
            return
        self.under_way.setdefault(ask.source, []).append(ask.run)
        if ask.waited:
            self.waiting[ask.source].remove(ask.run)


def _decide(ask: Ask, situation: Situation) -> Decision:
    # Runs of a backfill have a limit of their own; they neither hold up what is scheduled nor are held up by it.
    under_way = situation.under_way.get(ask.source, [])
    overlap = BEGIN if ask.backfill is not None else _overlap(ask, situation)
    if overlap.what != "begin":
        return overlap
    reason, detail = _hindrance(ask, situation, leaving=sum(run in overlap.instead_of for run in under_way))
    if reason:
        return Decision("wait", reason, detail, overlap.instead_of)
    return overlap


def _overlap(ask: Ask, situation: Situation) -> Decision:
    under_way = situation.under_way.get(ask.source, [])
    waiting = situation.waiting.get(ask.source, [])
    if ask.overlap == "allow" or not (under_way or waiting):
        return BEGIN
    if ask.queued or ask.waited:
        before = under_way if ask.waited else [*under_way, *waiting]
        return Decision("wait", "overlap", f"{before[0]} comes first") if before else BEGIN
    if ask.overlap == "cancel":
        return Decision("begin", instead_of=(*under_way, *waiting))
    if waiting:
        return Decision("drop", "overlap", f"{waiting[0]} waits to begin")
    return Decision("wait" if ask.overlap == "buffer" else "drop", "overlap", f"{under_way[0]} is under way")


def _hindrance(ask: Ask, situation: Situation, *, leaving: int) -> tuple[str, str]:
    """What has to go away before the run may begin: a slug and a sentence, empty for nothing."""
    if held := situation.held(ask.source):
        return "held", held
    if situation.disk:
        return "disk", situation.disk
    if ask.backfill is not None:
        size = situation.backfill_size.get(ask.backfill, 1)
        if situation.in_backfill.get(ask.backfill, 0) >= size:
            return "backfill", f"{size} of {ask.backfill} are under way"
    if ask.group is not None:
        size = situation.group_size.get(ask.group, 1)
        if situation.in_group.get(ask.group, 0) - leaving >= size:
            return "group", f"{size} of group {ask.group} are under way"
    return "", ""


FAILED = frozenset(("failed", "blocked", "timed_out"))
NEUTRAL = frozenset(("cancelled",))


def failures_after(failures: int, states: Collection[str]) -> int:
    """How many runs in a row have failed, after these ended."""
    for state in states:
        failures = failures + 1 if state in FAILED else failures if state in NEUTRAL else 0
    return failures


def slot_run(source: str, slot: datetime) -> str:
    """The id of the run that a slot asks for."""
    return f"{source}-{slot:%Y%m%dT%H%M%SZ}"


def slot_event(source: str, slot: datetime) -> str:
    """The identity of a slot on the bus."""
    return f"{source}@{slot:%Y-%m-%dT%H:%M:%SZ}"
