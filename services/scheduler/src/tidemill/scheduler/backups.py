"""Backups that were made or failed, told by whoever makes them: what is not told is missed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.parameters import word
from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.scheduler.tables import backups

KEPT = 1000
FORGET = text("""
DELETE FROM scheduler.backups WHERE began_at < (SELECT min(began_at) FROM (
    SELECT began_at FROM scheduler.backups ORDER BY began_at DESC LIMIT :kept) newest)
""")


def backup_commands() -> list[Command]:
    return [
        Command(
            verb="backup_report",
            handle=report,
            description="Note that a backup was made, or failed",
            parameters={
                "folder": "where it is",
                "name": "its name there",
                "began_at": "when it began (ISO 8601)",
                "finished_at": "when it ended",
                "scheduled": "true: it was made by itself, and is missed when it does not come",
                "bytes": "what it added",
                "problem": "why it is not good; empty: it is",
                **WHO,
            },
        )
    ]


async def report(tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
    problem = word(parameters, "problem")
    folder, name = word(parameters, "folder"), word(parameters, "name")
    row = {
        "folder": folder,
        "name": name,
        "began_at": _time(parameters, "began_at"),
        "finished_at": _time(parameters, "finished_at"),
        "good": not problem,
        "scheduled": bool(parameters.get("scheduled")),
        "bytes": int(parameters.get("bytes") or 0),
        "problem": problem,
    }
    await tx.execute(insert(backups).values(row).on_conflict_do_nothing())
    await tx.execute(FORGET, {"kept": KEPT})
    change = Change("backup.take", folder, after={"name": name, "problem": problem})
    return Answer({"good": not problem}, change=change)


def _time(parameters: Mapping[str, Any], name: str) -> datetime:
    try:
        time = datetime.fromisoformat(word(parameters, name))
    except ValueError:
        raise CommandRefused(f"{name} is a time like 2026-03-01T02:00:00Z, not {parameters.get(name)!r}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
