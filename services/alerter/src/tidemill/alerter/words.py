"""What is said of alerts: their sentences, and the message about a group. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tidemill.alerter.alerts import Alert, State
from tidemill.alerter.notify import Decision, Reason
from tidemill.alerter.rules import Rule
from tidemill.alerter.standing import Standing, Words, group_id
from tidemill.alerter.templates import filled, number
from tidemill.common.channels import Message, Severity, one_line

SHOWN = 20
"""Alerts of a message that are told one by one."""
SEVERITIES: dict[str, Severity] = {"critical": "critical", "error": "critical", "warning": "warning", "info": "info"}
RANK = ("critical", "error", "warning", "info")


def words_of(rule: Rule, alert: Alert) -> Words:
    known = {
        **alert.labels,
        "rule": alert.rule,
        "severity": alert.severity,
        "value": number(alert.seen.value),
        "count": f"{alert.seen.count:,}",
        "says": alert.seen.says,
        "run": alert.seen.run,
    }
    return Words(summary=filled(rule.summary, known), description=filled(rule.description, known), runbook=rule.runbook)


def message_of(decision: Decision, known: Mapping[str, Standing], now: datetime) -> Message:
    """About what fires and what is over, the worst first."""
    group = decision.group
    firing = sorted(decision.firing, key=lambda alert: (RANK.index(alert.severity), alert.id))
    told = [*firing, *decision.resolved]
    kind = "firing" if firing else "resolved"
    id = group_id(group.route, group.labels)
    return Message(
        id=f"{id}/{group.count}/{now:%Y%m%dT%H%M%S}",
        kind=f"alert.{kind}",
        subject=one_line(_subject(decision, firing, known)),
        text=_text(decision, firing, known),
        severity=SEVERITIES[firing[0].severity] if firing else "info",
        at=now,
        thread=f"alerts/{id}",
        data={
            "reason": decision.reason.value,
            "labels": dict(group.labels),
            "firing": len(firing),
            "resolved": len(decision.resolved),
            "alerts": [_data(known[alert.id]) for alert in told[:SHOWN]],
            "not_shown": max(0, len(told) - SHOWN),
        },
    )


def _subject(decision: Decision, firing: Sequence[Alert], known: Mapping[str, Standing]) -> str:
    first = firing[0] if firing else decision.resolved[0]
    many = len(firing) or len(decision.resolved)
    more = f" (and {many - 1:,} more)" if many > 1 else ""
    return f"[{_mark(decision, firing)}] {known[first.id].words.summary}{more}"


def _mark(decision: Decision, firing: Sequence[Alert]) -> str:
    if not firing:
        return "resolved"
    if all(alert.flapping for alert in firing):
        return "flapping"
    again = {Reason.REPEAT: "still ", Reason.ESCALATION: "nobody acknowledged: "}
    return f"{again.get(decision.reason, '')}{firing[0].severity}"


def _text(decision: Decision, firing: Sequence[Alert], known: Mapping[str, Standing]) -> str:
    parts = [_told(known[alert.id]) for alert in (*firing, *decision.resolved)[:SHOWN]]
    if (left := len(firing) + len(decision.resolved) - SHOWN) > 0:
        parts.append(f"and {left:,} more: `tidemill alerts list`")
    return "\n\n".join(parts) + "\n"


def _told(standing: Standing) -> str:
    alert, words = standing.alert, standing.words
    if not alert.firing:
        return f"RESOLVED after {_length(alert.duration)}: {words.summary}"
    lines = [f"{alert.state.upper()} since {alert.fired_at:%Y-%m-%d %H:%M} UTC: {words.summary}"]
    if alert.state is State.FLAPPING:
        lines.append("It comes and goes; nothing is said of each time until it has settled.")
    lines.append(words.description)
    if alert.seen.run:
        lines.append(f"run: {alert.seen.run}")
    if alert.seen.traceparent:
        lines.append(f"trace: {alert.seen.traceparent.split('-')[1]}")
    lines.append(f"what to do: {words.runbook}" if words.runbook else "")
    lines.append(f"take it: tidemill alerts ack {alert.id}")
    return "\n  ".join(filter(None, lines))


def _length(duration: timedelta | None) -> str:
    minutes = int((duration or timedelta(0)).total_seconds()) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes % 60} min" if hours else f"{minutes} min" if minutes else "less than a minute"


def _data(standing: Standing) -> dict[str, Any]:
    alert = standing.alert
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "state": alert.state.value,
        "labels": dict(alert.labels),
        "value": alert.seen.value,
        "count": alert.seen.count,
        "run": alert.seen.run,
        "fired_at": alert.fired_at.isoformat() if alert.fired_at else None,
        "duration_seconds": alert.duration.total_seconds() if alert.duration and not alert.firing else None,
        "summary": standing.words.summary,
        "description": standing.words.description,
        "runbook": standing.words.runbook,
    }
