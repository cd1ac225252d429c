"""What comes when: the schedules of sources with their next times, the last slot, and what keeps a run waiting."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.parameters import word
from tidemill.common.bus.step import Answer, Command, Tx
from tidemill.schedule import next_slots
from tidemill.scheduler.admission import Admission
from tidemill.scheduler.commands import check_name
from tidemill.scheduler.schedules import plan_of
from tidemill.scheduler.triggers import SOURCES

NEXT = 5
MOST = 200

SCHEDULES = text("""
SELECT known.source, schedule, spec::text AS spec, decided_until, last.slot, last.outcome, last.reason, last.run
FROM scheduler.schedules AS known
LEFT JOIN LATERAL (
    SELECT slot, outcome, reason, run FROM scheduler.slots
    WHERE source = known.source AND schedule = known.schedule ORDER BY slot DESC LIMIT 1
) AS last ON true
WHERE ended_at IS NULL AND (CAST(:source AS text) = '' OR known.source = :source)
ORDER BY known.source, schedule LIMIT :most
""")
WAITING = text("""
SELECT run, source, reason, requested_at FROM scheduler.runs
WHERE state = 'waiting' AND (CAST(:source AS text) = '' OR source = :source) ORDER BY requested_at LIMIT :most
""")


class Timetable:
    """The command `schedules`."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="schedules",
                handle=self.show,
                description=f"Schedules with their next {NEXT} times, and what waits for what",
                parameters={"source": "this one alone"},
            )
        ]

    async def show(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        source = word(parameters, "source")
        if source:
            check_name("source", source, await tx.scalars(SOURCES))
        names = {"source": source, "most": MOST}
        now = self._admission.now()
        schedules = [self._entry(row, now) for row in await tx.execute(SCHEDULES, names)]
        waiting = [
            {
                "run": row.run,
                "source": row.source,
                "waits_for": row.reason,
                "requested_at": row.requested_at.isoformat(timespec="seconds"),
            }
            for row in await tx.execute(WAITING, names)
        ]
        return Answer({"schedules": schedules, "waiting": waiting})

    def _entry(self, row: Any, now: datetime) -> dict[str, Any]:
        plan = plan_of(row.spec)
        stagger = plan.stagger(row.source)
        coming = next_slots(plan, max(row.decided_until, now - stagger), NEXT)
        last = {"slot": _local(row.slot, plan.zone), "outcome": row.reason or row.outcome, "run": row.run}
        return {
            "source": row.source,
            "schedule": row.schedule,
            "held_by": self._admission.control.paused(row.source) or "",
            "missed": plan.missed.policy,
            "next": [_local(slot + stagger, plan.zone) for slot in coming],
            "last": last if row.slot else None,
        }


def _local(moment: datetime | None, zone: Any) -> str | None:
    """As the clock of the place shows it, with its offset."""
    return None if moment is None else moment.astimezone(zone).isoformat(timespec="seconds")
