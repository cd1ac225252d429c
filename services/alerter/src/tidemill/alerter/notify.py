"""Whether a group of alerts is told now, and why or why not. Pure; the reason is what logs and metrics say, too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from tidemill.alerter.alerts import Alert, State


class Reason(StrEnum):
    """Of a decision."""

    FIRST = "first"
    NEW = "new_alerts"
    FLAPPING = "flapping"
    RESOLVED = "resolved"
    REPEAT = "repeat"
    ESCALATION = "escalation"
    GROUP_WAIT = "group_wait"
    GROUP_INTERVAL = "group_interval"
    ACKNOWLEDGED = "acknowledged"
    HIDDEN = "hidden"
    UNCHANGED = "unchanged"
    NOTHING = "nothing"


TELLS = frozenset({Reason.FIRST, Reason.NEW, Reason.FLAPPING, Reason.RESOLVED, Reason.REPEAT, Reason.ESCALATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalation:
    """Nobody acknowledged `after` so long: these, too."""

    after: timedelta
    to: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a group is told, and to whom."""

    to: tuple[str, ...]
    wait: timedelta = timedelta(seconds=30)
    """For more of the same, before the first message."""
    interval: timedelta = timedelta(minutes=5)
    """Between messages about what is new."""
    repeat: timedelta = timedelta(hours=4)
    """Between messages about what is known."""
    escalations: tuple[Escalation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was said last of an alert."""

    state: str
    fired_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Alerts that are told together, and what was told of them."""

    route: str
    labels: Mapping[str, str]
    opened_at: datetime | None = None
    """Since when there is something to tell."""
    notified_at: datetime | None = None
    told: Mapping[str, Told] = field(default_factory=dict)
    """By id of the alert: those whose firing was told, and whose end was not."""
    channels: tuple[str, ...] = ()
    """Who heard of them."""
    escalated: int = 0
    """Escalations that were made."""
    count: int = 0
    """Messages so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    reason: Reason
    group: Group
    """As it is afterwards."""
    to: tuple[str, ...] = ()
    firing: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()

    @property
    def tells(self) -> bool:
        return self.reason in TELLS


def decide(group: Group, alerts: Sequence[Alert], hidden: Mapping[str, str], pace: Pace, now: datetime) -> Decision:
    """About a group and all alerts that belong to it, those that are over among them."""
    firing = tuple(alert for alert in alerts if alert.firing and alert.id not in hidden and not _unheard(group, alert))
    over = tuple(alert for alert in alerts if alert.id in group.told and not alert.firing)
    gone = set(group.told) - {alert.id for alert in alerts if alert.firing} - {alert.id for alert in over}
    group = replace(group, told={id: told for id, told in group.told.items() if id not in gone})
    if not firing and not over:
        some = any(alert.firing for alert in alerts)
        return Decision(reason=Reason.HIDDEN if some else Reason.NOTHING, group=_closed(group) if not some else group)
    group = group if group.opened_at else replace(group, opened_at=now)
    reason = _reason(group, firing, over, pace, now)
    if reason not in TELLS:
        return Decision(reason=reason, group=group)
    return _told(reason, group, firing, over, pace, now)


def _unheard(group: Group, alert: Alert) -> bool:
    """Somebody took it before it was told."""
    return alert.acknowledged is not None and alert.id not in group.told


def _reason(group: Group, firing: Sequence[Alert], over: Sequence[Alert], pace: Pace, now: datetime) -> Reason:
    new = [alert for alert in firing if _is_new(group, alert)]
    assert group.opened_at is not None
    if not group.told and now - group.opened_at < pace.wait:
        return Reason.GROUP_WAIT
    if group.notified_at is None:
        return Reason.FIRST
    if _escalation(group, firing, pace, now) is not None:
        return Reason.ESCALATION
    since = now - group.notified_at
    if new or over:
        return _news(new, known=bool(group.told)) if since >= pace.interval else Reason.GROUP_INTERVAL
    if all(alert.acknowledged for alert in firing):
        return Reason.ACKNOWLEDGED
    return Reason.REPEAT if since >= pace.repeat else Reason.UNCHANGED


def _news(new: Sequence[Alert], *, known: bool) -> Reason:
    if not new:
        return Reason.RESOLVED
    if all(alert.flapping for alert in new):
        return Reason.FLAPPING
    return Reason.NEW if known else Reason.FIRST


def _is_new(group: Group, alert: Alert) -> bool:
    told = group.told.get(alert.id)
    if told is None:
        return True
    if alert.flapping != (told.state == State.FLAPPING):
        return alert.flapping
    return told.fired_at != alert.fired_at


def _escalation(group: Group, firing: Sequence[Alert], pace: Pace, now: datetime) -> int | None:
    """How many escalations are made by now, where that is more than were."""
    waiting = [
        told.fired_at for alert in firing if not alert.acknowledged and (told := group.told.get(alert.id)) is not None
    ]
    if not waiting:
        return None
    due = sum(now - min(waiting) >= escalation.after for escalation in pace.escalations)
    return due if due > group.escalated else None


def _told(
    reason: Reason, group: Group, firing: tuple[Alert, ...], over: tuple[Alert, ...], pace: Pace, now: datetime
) -> Decision:
    if reason is Reason.ESCALATION:
        return _raised(group, firing, pace, now)
    ended = {alert.id for alert in over}
    told = {id: known for id, known in group.told.items() if id not in ended}
    told |= {
        alert.id: Told(state=alert.state, fired_at=alert.fired_at) for alert in firing if alert.fired_at is not None
    }
    to = tuple(dict.fromkeys((*pace.to, *group.channels)))
    after = replace(group, notified_at=now, told=told, channels=to, count=group.count + 1)
    return Decision(reason=reason, group=after if told else _closed(after), to=to, firing=firing, resolved=over)


def _raised(group: Group, firing: tuple[Alert, ...], pace: Pace, now: datetime) -> Decision:
    """To those above alone, and of what was told below alone."""
    due = _escalation(group, firing, pace, now) or 0
    to = tuple(dict.fromkeys(name for step in pace.escalations[group.escalated : due] for name in step.to))
    after = replace(group, escalated=due, channels=tuple(dict.fromkeys((*group.channels, *to))), count=group.count + 1)
    waiting = tuple(alert for alert in firing if alert.id in group.told and not alert.acknowledged)
    return Decision(reason=Reason.ESCALATION, group=after, to=to, firing=waiting)


def _closed(group: Group) -> Group:
    return replace(group, opened_at=None, told={}, channels=(), escalated=0)
