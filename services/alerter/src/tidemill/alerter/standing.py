"""Alerts, groups and silences in their tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert

from tidemill.alerter import tables
from tidemill.alerter.alerts import Acknowledged, Alert, Phase, Seen
from tidemill.alerter.hiding import Silence
from tidemill.alerter.keys import digest
from tidemill.alerter.matchers import Matcher
from tidemill.alerter.notify import Group, Told
from tidemill.common.bus.step import Tx

LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.alerts', 0))")
"""Whoever changes alerts has it: rounds and commands come one after the other."""
FORGET_ALERTS = text("DELETE FROM alerter.alerts WHERE state = 'resolved' AND NOT flapping AND resolved_at < :before")
FORGET_GROUPS = text("DELETE FROM alerter.groups WHERE opened_at IS NULL AND notified_at < :before")
SILENCES = text("""
SELECT id, matchers, author, comment, starts_at, ends_at FROM alerter.silences WHERE ends_at > :now ORDER BY id
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What people read of an alert."""

    summary: str = ""
    description: str = ""
    runbook: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An alert, and what else its row says."""

    alert: Alert
    words: Words = Words()
    hidden: str = ""
    version: int = 0


async def find_alerts(tx: Tx) -> dict[str, Standing]:
    return {row.id: _standing(row) for row in await tx.execute(select(tables.alerts))}


def _standing(row: Any) -> Standing:
    alert = Alert(
        rule=row.rule,
        severity=row.severity,
        labels=row.labels,
        phase=Phase(row.phase),
        flapping=row.flapping,
        active_at=row.active_at,
        held_at=row.held_at,
        fired_at=row.fired_at,
        resolved_at=row.resolved_at,
        fires=tuple(row.fires),
        acknowledged=_acknowledged(row.acknowledged),
        seen=Seen(value=row.value, count=row.count, says=row.says, run=row.run, traceparent=row.traceparent),
    )
    words = Words(summary=row.summary, description=row.description, runbook=row.runbook)
    return Standing(alert=alert, words=words, hidden=row.hidden, version=row.version)


def _acknowledged(written: Mapping[str, Any] | None) -> Acknowledged | None:
    if written is None:
        return None
    until = written.get("until")
    return Acknowledged(
        by=written["by"],
        at=datetime.fromisoformat(written["at"]),
        note=written.get("note", ""),
        until=datetime.fromisoformat(until) if until else None,
    )


async def save_alerts(tx: Tx, changed: Iterable[Standing]) -> None:
    for standing in sorted(changed, key=lambda each: each.alert.id):
        row = _row(standing)
        statement = insert(tables.alerts).values(row)
        await tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


def _row(standing: Standing) -> dict[str, Any]:
    alert = standing.alert
    taken = alert.acknowledged
    return {
        "id": alert.id,
        "rule": alert.rule,
        "severity": alert.severity,
        "labels": dict(alert.labels),
        "state": alert.state.value,
        "phase": alert.phase.value,
        "flapping": alert.flapping,
        "active_at": alert.active_at,
        "held_at": alert.held_at,
        "fired_at": alert.fired_at,
        "resolved_at": alert.resolved_at,
        "fires": list(alert.fires),
        "acknowledged": taken
        and {
            "by": taken.by,
            "at": taken.at.isoformat(),
            "note": taken.note,
            "until": taken.until.isoformat() if taken.until else None,
        },
        "value": alert.seen.value,
        "count": alert.seen.count,
        "says": alert.seen.says,
        "run": alert.seen.run,
        "traceparent": alert.seen.traceparent,
        "summary": standing.words.summary,
        "description": standing.words.description,
        "runbook": standing.words.runbook,
        "hidden": standing.hidden,
        "version": standing.version,
    }


async def drop_alerts(tx: Tx, ids: Sequence[str]) -> None:
    """Those that never came to anything."""
    if ids:
        await tx.execute(tables.alerts.delete().where(tables.alerts.c.id.in_(ids)))


def group_id(route: str, labels: Mapping[str, str]) -> str:
    return f"{route}-{digest(labels)}"


async def find_groups(tx: Tx) -> dict[str, Group]:
    return {row.id: _group(row) for row in await tx.execute(select(tables.groups))}


def _group(row: Any) -> Group:
    told = {
        id: Told(state=each["state"], fired_at=datetime.fromisoformat(each["fired_at"]))
        for id, each in row.told.items()
    }
    return Group(
        route=row.route,
        labels=row.labels,
        opened_at=row.opened_at,
        notified_at=row.notified_at,
        told=told,
        channels=tuple(row.channels),
        escalated=row.escalated,
        count=row.count,
    )


async def save_group(tx: Tx, group: Group, reason: str) -> None:
    told = {id: {"state": each.state, "fired_at": each.fired_at.isoformat()} for id, each in group.told.items()}
    row = {
        "id": group_id(group.route, group.labels),
        "route": group.route,
        "labels": dict(group.labels),
        "opened_at": group.opened_at,
        "notified_at": group.notified_at,
        "told": told,
        "channels": list(group.channels),
        "escalated": group.escalated,
        "count": group.count,
        "reason": reason,
    }
    statement = insert(tables.groups).values(row)
    await tx.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))


async def find_silences(tx: Tx, now: datetime) -> list[Silence]:
    """Those that hold, or will."""
    return [
        Silence(
            id=row.id,
            matchers=tuple(map(Matcher.parse, row.matchers)),
            author=row.author,
            comment=row.comment,
            starts_at=row.starts_at,
            ends_at=row.ends_at,
        )
        for row in await tx.execute(SILENCES, {"now": now})
    ]
