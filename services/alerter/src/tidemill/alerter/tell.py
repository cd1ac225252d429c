"""What the alerter states: an alert fired, flaps, is over, is taken."""

from collections.abc import Iterable
from datetime import datetime

from tidemill.alerter.alerts import Alert, State
from tidemill.alerter.look import Change
from tidemill.alerter.standing import Standing
from tidemill.common.bus.step import Outgoing
from tidemill.common.events import AlertAcknowledged, AlertFired, AlertResolved, Event

TROUBLE = frozenset({State.FIRING, State.ACKNOWLEDGED, State.FLAPPING})


def events_of(changes: Iterable[Change], now: datetime) -> list[Outgoing]:
    """In the trace of what made it fire, where there is one."""
    found: list[Outgoing] = []
    for change in changes:
        event = _event(change, now)
        if event is not None:
            found.append(outgoing(change.standing, event))
    return found


def outgoing(standing: Standing, event: Event) -> Outgoing:
    alert = standing.alert
    fired = f"{alert.fired_at:%Y%m%dT%H%M%S}" if alert.fired_at else ""
    return Outgoing(f"{alert.id}/{fired}/{standing.version}", event, alert.seen.traceparent)


def _event(change: Change, now: datetime) -> Event | None:
    alert = change.standing.alert
    state = alert.state
    if state in (State.FIRING, State.FLAPPING) and change.before is not State.ACKNOWLEDGED:
        return _fired(change.standing)
    if state is State.RESOLVED and change.before in TROUBLE:
        return _resolved(change.standing, now)
    return None


def _fired(standing: Standing) -> AlertFired:
    alert, words = standing.alert, standing.words
    assert alert.fired_at is not None
    return AlertFired(
        source=alert.labels.get("source", ""),
        alert=alert.id,
        rule=alert.rule,
        severity=alert.severity,
        state=alert.state.value,
        labels=dict(alert.labels),
        summary=words.summary,
        description=words.description,
        runbook=words.runbook,
        value=alert.seen.value or 0.0,
        count=alert.seen.count,
        run=alert.seen.run,
        hidden=standing.hidden,
        fired_at=alert.fired_at,
    )


def _resolved(standing: Standing, now: datetime) -> AlertResolved:
    alert = standing.alert
    return AlertResolved(
        source=alert.labels.get("source", ""),
        alert=alert.id,
        rule=alert.rule,
        severity=alert.severity,
        labels=dict(alert.labels),
        summary=standing.words.summary,
        fired_at=alert.fired_at or now,
        resolved_at=alert.resolved_at or now,
        duration_seconds=alert.duration.total_seconds() if alert.duration else 0.0,
    )


def acknowledged(alert: Alert) -> AlertAcknowledged:
    taken = alert.acknowledged
    assert taken is not None
    return AlertAcknowledged(
        source=alert.labels.get("source", ""),
        alert=alert.id,
        rule=alert.rule,
        labels=dict(alert.labels),
        actor=taken.by,
        note=taken.note,
        until=taken.until,
        acknowledged_at=taken.at,
    )
