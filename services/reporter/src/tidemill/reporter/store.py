"""The SQL of what the reporter writes: measures, what is due, reports."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import Tx
from tidemill.reporter.measured import Key, Measured
from tidemill.reporter.tables import measures

SEVERITIES = text("""
SELECT source, name, labels, severity FROM reporter.measures WHERE kind = :kind AND subject = :subject FOR UPDATE
""")
# The order of asking is kept by the clock of the database; what is asked again is asked later.
ASK = text("""
INSERT INTO reporter.due AS known (kind, subject, source, day, asked_at, forced)
VALUES (:kind, :subject, :source, :day, clock_timestamp(), :forced)
ON CONFLICT (kind, subject) DO UPDATE SET asked_at = greatest(excluded.asked_at, known.asked_at),
    forced = known.forced OR excluded.forced, problem = ''
RETURNING asked_at
""")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about, or values are measured of."""

    kind: str
    """day or run."""
    subject: str
    day: date
    source: str = ""
    clock: int = 0


async def replace_measures(tx: Tx, about: Subject, measured: Sequence[Measured], *, scheduled: bool) -> dict[Key, str]:
    """Put them in the place of those before; returns which of those were unusual, with their severity."""
    known = await tx.execute(SEVERITIES, {"kind": about.kind, "subject": about.subject})
    before = {(row.source, row.name, row.labels): row.severity for row in known if row.severity}
    await tx.execute(delete(measures).where(measures.c.kind == about.kind, measures.c.subject == about.subject))
    rows = [_row(about, one, scheduled=scheduled) for one in sorted(measured, key=lambda one: one.key)]
    if rows:
        await tx.execute(insert(measures), rows)
    return before


def _row(about: Subject, one: Measured, *, scheduled: bool) -> dict[str, object]:
    said = one.judgement
    return {
        "kind": about.kind,
        "subject": about.subject,
        "source": one.source,
        "name": one.name,
        "labels": one.labels,
        "day": about.day,
        "clock": about.clock,
        "scheduled": scheduled,
        "value": one.value,
        "expected": said and said.expected,
        "low": said and said.low,
        "high": said and said.high,
        "score": said and said.score,
        "basis": said.basis if said else "",
        "severity": said.severity or "" if said else "",
    }


async def ask_for(tx: Tx, about: Subject, *, forced: bool = False) -> datetime:
    """Have a report made, or made again; returns when it was asked for, by the database's clock."""
    asked = {"kind": about.kind, "subject": about.subject, "source": about.source, "day": about.day, "forced": forced}
    at: datetime = (await tx.execute(ASK, asked)).scalar_one()
    return at
