"""Pure: why there is no data of a source on a day; or that there is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tidemill.scheduler.items import OUTCOMES

LATE_AFTER = timedelta(seconds=30)
"""A slot that is due so long, and nobody has decided on it."""
PLANNED_WITHIN = timedelta(seconds=60)
"""A run that nobody has planned by then has nobody who would."""


@dataclass(frozen=True, slots=True)
class Hold:
    """A stop or a pause that concerns the source."""

    key: str
    said: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A slot of the day, as decided."""

    slot: datetime
    outcome: str
    reason: str = ""
    detail: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run of the day."""

    run: str
    state: str
    requested_at: datetime
    reason: str = ""
    items: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    reappeared: int = 0
    skipped: int = 0
    failed: int = 0
    records: int = 0
    """New or changed ones."""
    deadline_at: datetime | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    """By reason: what the first item says that failed for it."""

    @property
    def done(self) -> int:
        return sum(getattr(self, outcome) for outcome in OUTCOMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is asked about. The day is from `start` to `end`."""

    source: str
    start: datetime
    end: datetime
    now: datetime
    watched: str = ""
    """Folder whose files are taken."""
    schedules: Sequence[str] = ()
    next_slot: datetime | None = None
    due_since: datetime | None = None
    """Of the oldest slot that is due and not decided."""
    holds: Sequence[Hold] = ()
    slots: Sequence[Slot] = ()
    """Newest first, like runs."""
    runs: Sequence[RunFacts] = ()
    absent: Sequence[str] = ()
    """Services that this source needs, and that do not answer."""
    fetch_held: str = ""
    """Why its host is not asked now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A cause as a slug, the sentence, and what to do next."""

    why: str
    says: str
    hint: str = ""


def explain(facts: Facts) -> list[Answer]:
    """The main cause first. `data` where there is no lack of it."""
    return list(_causes(facts)) or [_nothing_was_due(facts)]


def _causes(facts: Facts) -> Iterator[Answer]:
    answers = [_of_run(run, facts) for run in facts.runs]
    yield from (answer for answer in answers if answer.why == "data")
    held = list(_held(facts)) if facts.start <= facts.now else []
    decided = any(answer.why == "data" for answer in answers) or facts.end <= facts.now
    if not decided:
        yield from held
    yield from (answer for answer in answers if answer.why != "data")
    yield from (_of_slot(slot) for slot in facts.slots if slot.outcome == "skipped")
    if not held and (late := _late(facts)):
        yield late


def _late(facts: Facts) -> Answer | None:
    due = facts.due_since
    if due is None or not facts.start <= due < facts.end or facts.now - due <= LATE_AFTER:
        return None
    says = f"the slot due at {_time(due)} is not decided yet: no scheduler is at work"
    return Answer("late", says, "tidemill status")


def _held(facts: Facts) -> Iterator[Answer]:
    for hold in facts.holds:
        verb = "stopped" if hold.key.startswith("stop.") else "paused"
        target = hold.key.partition(".")[2].replace(".", " ")
        said = f": {hold.said}" if hold.said else ""
        yield Answer(verb, f"{target} is {verb}{said}", f"tidemill resume {_words(hold.key)}")


def _words(key: str) -> str:
    kind, _, name = key.partition(".")[2].partition(".")
    return {"all": "--all", "service": f"--service {name}"}.get(kind, name)


def _of_slot(slot: Slot) -> Answer:
    until = f" to {_time(slot.until)}" if slot.until else ""
    detail = f": {slot.detail}" if slot.detail else ""
    return Answer("skipped", f"slot {_time(slot.slot)}{until} was skipped ({slot.reason}){detail}")


def _of_run(run: RunFacts, facts: Facts) -> Answer:
    if run.state == "requested":
        return _not_planned(run, facts)
    if run.state in ("planned", "running"):
        return _under_way(run, facts)
    if run.state == "complete":
        return _complete(run)
    show = f"tidemill runs show {run.run}"
    if run.new + run.changed:
        left = f"; {run.failed} failed: {_failures(run)}" if run.failed else f"; then it {ENDS[run.state]}"
        return Answer("data", f"{run.run} brought {_came(run)}{left}", show)
    hint = f"tidemill runs retry {run.run}" if run.state == "timed_out" else show
    said = {
        "waiting": f"waits to begin ({run.reason or 'its turn'})",
        "cancelled": f"was cancelled ({run.reason})",
        "timed_out": f"was timed out ({run.reason}): {run.done} of {run.items} items were done",
        "blocked": f"the site does not let us ask: {_failures(run)}",
    }
    why, says = run.state, said.get(run.state)
    if says is None:
        why = "refused" if run.reason in REFUSALS else "failed"
        says = f"{run.failed} of {run.items} items failed: {_failures(run)}"
    return Answer(why, f"{run.run} {says}" if run.state != "blocked" else f"{run.run}: {says}", hint)


ENDS = {"cancelled": "was cancelled", "timed_out": "was timed out"}
REFUSALS = frozenset(("too_large", "too_small", "empty", "not_what_it_should_be", "private_address", "robots"))


def _not_planned(run: RunFacts, facts: Facts) -> Answer:
    since = _time(run.requested_at)
    if facts.absent:
        return _no_worker(run, facts)
    if facts.fetch_held:
        return Answer("held", f"{run.run} was asked for at {since}; {facts.fetch_held}")
    if facts.now - run.requested_at > PLANNED_WITHIN:
        return Answer("no_worker", f"{run.run} was asked for at {since}, and nobody has planned it", "tidemill status")
    return Answer("running", f"{run.run} was asked for at {since} and begins now")


def _under_way(run: RunFacts, facts: Facts) -> Answer:
    if facts.absent:
        return _no_worker(run, facts)
    if facts.fetch_held:
        return Answer("held", f"{run.run} has {run.done} of {run.items} items; {facts.fetch_held}")
    limit = f", until {_time(run.deadline_at)} at the latest" if run.deadline_at else ""
    return Answer("running", f"{run.run} is under way: {run.done} of {run.items} items{limit}")


def _no_worker(run: RunFacts, facts: Facts) -> Answer:
    absent = " and ".join(facts.absent)
    return Answer("no_worker", f"{run.run} waits: no {absent} is at work", "tidemill status")


def _complete(run: RunFacts) -> Answer:
    show = f"tidemill runs show {run.run}"
    came = run.new + run.changed + run.reappeared
    if came and not run.records:
        return Answer("no_change", f"{run.run} brought {_came(run)}; no record is new or changed", show)
    if came:
        return Answer("data", f"{run.run} brought {_came(run)}", show)
    if run.unchanged:
        return Answer("unchanged", f"{run.run}: the source has nothing new ({run.unchanged} items as they were)", show)
    if run.gone:
        return Answer("gone", f"{run.run}: {run.gone} items are gone", show)
    left = f"; {run.skipped} known ones were left out" if run.skipped else ""
    return Answer("nothing_found", f"{run.run} found nothing to ask for{left}", show)


def _came(run: RunFacts) -> str:
    came = {name: getattr(run, name) for name in ("new", "changed", "reappeared")}
    counts = [f"{count} {name}" for name, count in came.items() if count]
    return f"{' and '.join(counts)} document{'s' if sum(came.values()) > 1 else ''}"


def _failures(run: RunFacts) -> str:
    told = [f"{reason} ({detail})" if detail else reason for reason, detail in run.details.items()]
    return ", ".join(told) or run.reason or "for no reason that was told"


def _nothing_was_due(facts: Facts) -> Answer:
    following = f"; the next slot is {_time(facts.next_slot)}" if facts.next_slot else ""
    if facts.start > facts.now:
        return Answer("not_yet", f"the day has not come{following}")
    if facts.schedules:
        if facts.next_slot and facts.start <= facts.next_slot < facts.end:
            return Answer("not_yet", f"nothing was due yet{following}")
        return Answer("not_scheduled", f"no slot on this day ({', '.join(facts.schedules)}){following}")
    if facts.watched:
        return Answer("no_file", f"no file came into {facts.watched}")
    return Answer("not_scheduled", f"{facts.source} has no schedule", f"tidemill run {facts.source}")


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S %Z}".strip()
