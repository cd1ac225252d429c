"""What becomes of the slots that were due: one decision for start, un-pause, edit and redeploy alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from tidemill.schedule.schedule import TICK, Missed, Schedule

ON_TIME = timedelta(minutes=1)
"""The newest slot, no later than this, was not missed: it fires whatever the policy."""
SHOWN = 1000
"""Skipped slots that are told one by one; those before them are told as one span."""


class Skip(StrEnum):
    """Why a slot that was due is not fired."""

    MISSED = "missed"
    """Nobody could fire it in time, and the policy is `none`."""
    SUPERSEDED = "superseded"
    """The policy is `latest`, and there was a later one."""
    TOO_OLD = "too_old"
    OVER_MAXIMUM = "over_maximum"
    BLACKOUT = "blackout"
    EDITED = "edited"
    """The schedule was changed or taken away before the slot was decided: an edit never fires the past."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one slot; or about many skipped ones, of which `slot` is the first and `until` the last."""

    slot: datetime
    skip: Skip | None = None
    """None: it fires."""
    detail: str = ""
    until: datetime | None = None


def decide(
    schedule: Schedule,
    decided_until: datetime,
    now: datetime,
    *,
    stagger: timedelta = timedelta(0),
    edited: bool = False,
) -> list[Verdict]:
    """Decide on every slot after `decided_until` that is due now, in the order of time."""
    until = now - stagger
    newest = newest_slots(schedule, decided_until, until, SHOWN)
    verdicts = list(_judge(schedule, newest, until, edited=edited))
    if len(newest) < SHOWN or (first := schedule.next_slot(decided_until)) is None or first >= newest[0]:
        return verdicts
    last = newest_slots(schedule, decided_until, newest[0] - TICK, 1)[0]
    reason = Skip.EDITED if edited else _too_late(last, until, schedule.missed)
    return [Verdict(first, reason, f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC", last), *verdicts]


def newest_slots(schedule: Schedule, after: datetime, until: datetime, count: int) -> list[datetime]:
    """The last so many slots of a span, in the order of time, without walking through all of it."""
    span = timedelta(hours=1)
    while True:
        start = max(after, until - span)
        found = list(schedule.slots(start, until))
        if len(found) >= count or start == after:
            return found[-count:]
        span *= 4


def _judge(schedule: Schedule, slots: Sequence[datetime], until: datetime, *, edited: bool) -> Iterator[Verdict]:
    if edited:
        yield from (Verdict(slot, Skip.EDITED) for slot in slots)
        return
    missed = schedule.missed
    forbidden = {slot: days for slot in slots if (days := schedule.blacked_out(slot))}
    on_time = slots[-1] if slots and until - slots[-1] <= ON_TIME and slots[-1] not in forbidden else None
    caught_up = _caught_up(
        [slot for slot in slots if slot not in forbidden and slot != on_time and until - slot <= missed.within],
        missed,
        superseded=on_time is not None,
    )
    for slot in slots:
        if slot in forbidden:
            yield Verdict(slot, Skip.BLACKOUT, f"{forbidden[slot]}")
        elif slot == on_time or slot in caught_up:
            yield Verdict(slot)
        else:
            yield Verdict(slot, _too_late(slot, until, missed))


def _caught_up(candidates: Sequence[datetime], missed: Missed, *, superseded: bool) -> frozenset[datetime]:
    match missed.policy:
        case "none":
            return frozenset()
        case "latest":
            return frozenset() if superseded else frozenset(candidates[-1:])
        case "all":
            return frozenset(candidates[-missed.most :])


def _too_late(slot: datetime, until: datetime, missed: Missed) -> Skip:
    if missed.policy == "none":
        return Skip.MISSED
    if until - slot > missed.within:
        return Skip.TOO_OLD
    return Skip.SUPERSEDED if missed.policy == "latest" else Skip.OVER_MAXIMUM
