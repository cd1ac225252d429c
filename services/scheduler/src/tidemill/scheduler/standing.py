"""How sources and runs stand, for people: what is under way, what came last, what comes next."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text

from tidemill.common.bus.step import Tx
from tidemill.scheduler.items import OUTCOMES

SHOWN = 200
SOURCES = text("""
SELECT source, failures, next.slot, last.run, last.state, last.reason, last.finished_at
FROM scheduler.sources AS known
LEFT JOIN LATERAL (
    SELECT min(due_at) AS slot FROM scheduler.schedules WHERE source = known.source AND ended_at IS NULL
) AS next ON true
LEFT JOIN LATERAL (
    SELECT run, state, reason, finished_at FROM scheduler.runs
    WHERE source = known.source AND finished_at IS NOT NULL ORDER BY requested_at DESC LIMIT 1
) AS last ON true
WHERE ended_at IS NULL AND (CAST(:source AS text) = '' OR source = :source) ORDER BY source
""")
UNDER_WAY = text("""
SELECT run, source, trigger, state, reason, requested_at, deadline_at, items, new, changed, unchanged, gone,
    reappeared, failed
FROM scheduler.runs WHERE finished_at IS NULL AND (CAST(:source AS text) = '' OR source = :source)
ORDER BY requested_at LIMIT :shown
""")
ONE_RUN = text("""
SELECT run, source, trigger, state, reason, requested_at, deadline_at, items, new, changed, unchanged, gone,
    reappeared, failed
FROM scheduler.runs WHERE run = :run
""")


async def find_standing(tx: Tx, source: str, run: str, held: Callable[[str], str | None]) -> Mapping[str, Any]:
    """Of one run, of one source, or of all."""
    if run:
        return {"runs": [_run(row) for row in await tx.execute(ONE_RUN, {"run": run})]}
    under_way = [_run(row) for row in await tx.execute(UNDER_WAY, {"source": source, "shown": SHOWN})]
    sources = [
        {
            "source": row.source,
            "held_by": held(row.source) or "",
            "failures_in_a_row": row.failures,
            "next_slot": _moment(row.slot),
            "last": row.run and {**_ended(row)},
        }
        for row in await tx.execute(SOURCES, {"source": source})
    ]
    return {"sources": sources, "runs": under_way}


def _ended(row: Any) -> dict[str, Any]:
    return {"run": row.run, "state": row.state, "reason": row.reason, "finished_at": _moment(row.finished_at)}


def _run(row: Any) -> dict[str, Any]:
    counts = ("items", *OUTCOMES)
    return {
        "run": row.run,
        "source": row.source,
        "trigger": row.trigger,
        "state": row.state,
        "reason": row.reason,
        "requested_at": _moment(row.requested_at),
        "deadline_at": _moment(row.deadline_at),
        **{name: getattr(row, name) for name in counts},
    }


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
