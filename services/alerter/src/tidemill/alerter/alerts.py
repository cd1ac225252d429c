"""What becomes of one alert as time goes by: pending, firing, acknowledged, flapping, resolved. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    PENDING = "pending"
    """The condition holds, and not yet for long enough."""
    FIRING = "firing"
    ACKNOWLEDGED = "acknowledged"
    """Firing, and somebody takes care of it."""
    FLAPPING = "flapping"
    """It fires and ends so often that only this is worth telling."""
    RESOLVED = "resolved"


class Phase(StrEnum):
    """What the condition alone says."""

    IDLE = "idle"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How fast an alert follows its condition."""

    wait: timedelta = timedelta(0)
    """So long the condition has to hold."""
    keep: timedelta = timedelta(0)
    """So long it has to be over."""
    times: int = 4
    """Fired so often `within`, it flaps; it has settled when it fired half as often."""
    within: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The condition holds, and what is known of it."""

    value: float | None = None
    count: int = 1
    says: str = ""
    run: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    by: str
    at: datetime
    note: str = ""
    until: datetime | None = None
    """Snoozed: it is as if nobody had, from then on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule about one set of labels."""

    rule: str
    severity: str
    labels: Mapping[str, str]
    phase: Phase = Phase.IDLE
    flapping: bool = False
    active_at: datetime | None = None
    """Since when the condition holds."""
    held_at: datetime | None = None
    """When it held last."""
    fired_at: datetime | None = None
    """When this trouble began to fire: of flapping, the first time."""
    resolved_at: datetime | None = None
    fires: tuple[datetime, ...] = ()
    """When it fired last, at most as often as flapping asks for."""
    acknowledged: Acknowledged | None = None
    seen: Seen = field(default_factory=Seen)

    @property
    def id(self) -> str:
        return alert_id(self.rule, self.labels)

    @property
    def state(self) -> State:
        if self.flapping:
            return State.FLAPPING
        if self.phase is Phase.FIRING:
            return State.ACKNOWLEDGED if self.acknowledged else State.FIRING
        return State.PENDING if self.phase is Phase.PENDING else State.RESOLVED

    @property
    def firing(self) -> bool:
        """A person has to know."""
        return self.flapping or self.phase is Phase.FIRING

    @property
    def matchable(self) -> dict[str, str]:
        """Its labels as matchers see them."""
        return {**self.labels, "rule": self.rule, "severity": self.severity}

    @property
    def duration(self) -> timedelta | None:
        """Of the trouble, once it is over."""
        return self.resolved_at - self.fired_at if self.resolved_at and self.fired_at else None


def alert_id(rule: str, labels: Mapping[str, str]) -> str:
    """The same for the same rule and labels, in any order."""
    written = json.dumps([rule, sorted(labels.items())], ensure_ascii=False)
    return f"{rule}-{hashlib.sha256(written.encode()).hexdigest()[:10]}"


def advance(alert: Alert, seen: Seen | None, timing: Timing, now: datetime) -> Alert | None:
    """The alert after one more look at its condition, which holds where something was `seen`. None: there was never
    anything to tell of it, and there is nothing now."""
    moved = _holds(alert, seen, timing, now) if seen is not None else _is_over(alert, timing, now)
    flapping = _flaps(moved, timing, now)
    if moved.flapping and not flapping and moved.phase is not Phase.FIRING:
        moved = replace(moved, resolved_at=now, acknowledged=None)
    moved = _snoozed(replace(moved, flapping=flapping), now)
    return None if moved.phase is Phase.IDLE and moved.fired_at is None else moved


def _holds(alert: Alert, seen: Seen, timing: Timing, now: datetime) -> Alert:
    alert = replace(alert, seen=seen, held_at=now, active_at=alert.active_at or now)
    if alert.phase is Phase.FIRING:
        return alert
    assert alert.active_at is not None
    if now - alert.active_at < timing.wait:
        return replace(alert, phase=Phase.PENDING)
    goes_on = alert.flapping and alert.fired_at is not None
    return replace(
        alert,
        phase=Phase.FIRING,
        fired_at=alert.fired_at if goes_on else now,
        resolved_at=None,
        fires=(*alert.fires, now)[-timing.times :],
        acknowledged=alert.acknowledged if goes_on else None,
    )


def _is_over(alert: Alert, timing: Timing, now: datetime) -> Alert:
    if alert.phase is not Phase.FIRING:
        return replace(alert, phase=Phase.IDLE, active_at=None)
    if alert.held_at is not None and now - alert.held_at < timing.keep:
        return alert
    over = replace(alert, phase=Phase.IDLE, active_at=None)
    return over if _flaps(over, timing, now) else replace(over, resolved_at=now, acknowledged=None)


def _flaps(alert: Alert, timing: Timing, now: datetime) -> bool:
    """With a margin between beginning and end, so that this does not flap in its turn."""
    needed = (timing.times + 1) // 2 if alert.flapping else timing.times
    return len(alert.fires) >= needed and now - alert.fires[-needed] < timing.within


def _snoozed(alert: Alert, now: datetime) -> Alert:
    known = alert.acknowledged
    over = known is not None and known.until is not None and known.until <= now
    return replace(alert, acknowledged=None) if over else alert
