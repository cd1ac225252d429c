"""The SQL of what the reporter writes: measures, what is due, reports."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.bus.step import Tx
from tidemill.reporter.measured import Key, Measured
from tidemill.reporter.tables import measures, reports

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.

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
OPEN = "(done_at IS NULL OR done_at < asked_at) AND problem = ''"
FETCH_DUE = text(f"""
SELECT kind, subject, source, day, asked_at, forced, done_at FROM reporter.due
WHERE {OPEN} ORDER BY forced DESC, day, kind, subject LIMIT 50
""")
TAKE = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tidemill.report ' || :kind || ' ' || :subject, 0))")
FIND_DUE = text(f"""
SELECT kind, subject, source, day, asked_at, forced, done_at FROM reporter.due
WHERE kind = :kind AND subject = :subject AND {OPEN}
""")
# Somebody may have asked again meanwhile: that stays open.
SETTLE = text("""
UPDATE reporter.due SET done_at = :asked_at, edition = :edition, forced = forced AND asked_at > :asked_at
WHERE kind = :kind AND subject = :subject
""")
FAIL = text("""
UPDATE reporter.due SET problem = :problem, forced = false
WHERE kind = :kind AND subject = :subject AND asked_at = :asked_at
""")
NEWEST = text("""
SELECT content FROM reporter.reports WHERE kind = :kind AND subject = :subject ORDER BY edition DESC LIMIT 1
""")
LAST_DAY = text("SELECT max(day) FROM reporter.due WHERE kind = 'day' AND day <= :until")
ASK_DAYS = text("""
INSERT INTO reporter.due (kind, subject, day, asked_at)
SELECT 'day', day::text, day, clock_timestamp() FROM unnest(CAST(:days AS date[])) AS asked (day) ON CONFLICT DO NOTHING
""")
# Days whose documents were converted again since their report was asked for last.
ASK_RECONVERTED = text("""
WITH again AS (
    SELECT (coalesce(s.slot, s.requested_at) AT TIME ZONE :zone)::date AS day, max(r.ended_at) AS ended_at
    FROM converter.reconversions r
    JOIN converter.reconverted x ON x.reconversion = r.id AND x.state = 'accepted'
    JOIN converter.documents d ON d.id = x.document
    JOIN scheduler.runs s ON s.run = d.run
    WHERE r.state = 'done' AND r.ended_at > :since GROUP BY 1
)
UPDATE reporter.due SET asked_at = clock_timestamp(), problem = '' FROM again
WHERE due.kind = 'day' AND due.day = again.day AND due.asked_at < again.ended_at AND due.day >= :first
""")
FIRST_KNOWN = "SELECT min(created_at) FROM config.versions"
FIRST_RUN = "SELECT min(measured_at) FROM reporter.measures"


@dataclass(frozen=True, slots=True)
class Due:
    """A report that is to be made."""

    kind: str
    subject: str
    source: str
    day: date
    asked_at: datetime
    forced: bool
    done_at: datetime | None

    @property
    def named(self) -> dict[str, object]:
        return {"kind": self.kind, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class Subject:
    """What a report is about, or values are measured of."""

    kind: str
    """day or run."""
    subject: str
    day: date
    source: str = ""
    clock: int = 0


async def replace_measures(
    tx: Tx, about: Subject, measured: Sequence[Measured], *, past_of: Collection[str]
) -> dict[Key, str]:
    """Put them in the place of those before; returns which of those were unusual, with their severity. `past_of`:
    sources whose values are the past of others."""
    known = await tx.execute(SEVERITIES, {"kind": about.kind, "subject": about.subject})
    before = {(row.source, row.name, row.labels): row.severity for row in known if row.severity}
    await tx.execute(delete(measures).where(measures.c.kind == about.kind, measures.c.subject == about.subject))
    rows = [_row(about, one, scheduled=one.source in past_of) for one in sorted(measured, key=lambda one: one.key)]
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


async def fetch_due(connection: AsyncConnection) -> list[Due]:
    """What somebody asked for first, then the oldest."""
    return [Due(*row) for row in await connection.execute(FETCH_DUE)]


async def take_due(tx: Tx, due: Due) -> Due | None:
    """As it is now, held until the end of the transaction; None where somebody else has it, or it is done."""
    if not await tx.scalar(TAKE, due.named):
        return None
    row = (await tx.execute(FIND_DUE, due.named)).first()
    return None if row is None else Due(*row)


async def settle_due(tx: Tx, due: Due, edition: int) -> None:
    await tx.execute(SETTLE, {**due.named, "asked_at": due.asked_at, "edition": edition})


async def fail_due(tx: Tx, due: Due, problem: str) -> None:
    """It is tried again when something of it changes, or somebody asks."""
    await tx.execute(FAIL, {**due.named, "asked_at": due.asked_at, "problem": problem})


async def ask_for_days(tx: Tx, days: Sequence[date]) -> None:
    """Those that are not known yet."""
    await tx.execute(ASK_DAYS, {"days": list(days)})


async def ask_for_reconverted(tx: Tx, zone: str, since: datetime, first: date) -> None:
    """Reports on days, from `first` on, whose documents were converted again after `since`."""
    if await tx.scalar(text("SELECT to_regclass('converter.reconversions') IS NOT NULL")):
        await tx.execute(ASK_RECONVERTED, {"zone": zone, "since": since, "first": first})


async def last_day_due(tx: Tx, until: date) -> date | None:
    """The newest that was due before or at this day."""
    found: date | None = await tx.scalar(LAST_DAY, {"until": until})
    return found


async def first_known(tx: Tx) -> datetime | None:
    """When the first configuration was applied, or the first run was measured."""
    versioned = await tx.scalar(text("SELECT to_regclass('config.versions') IS NOT NULL"))
    first: datetime | None = await tx.scalar(text(FIRST_KNOWN)) if versioned else None
    return first or await tx.scalar(text(FIRST_RUN))


async def find_newest(tx: Tx, kind: str, subject: str) -> "Report | None":
    """The last edition."""
    from tidemill.reporter.report import Report

    content = await tx.scalar(NEWEST, {"kind": kind, "subject": subject})
    return None if content is None else Report.from_json(content)


async def insert_report(tx: Tx, report: "Report", source: str) -> str:
    """Returns its SHA-256."""
    content = report.canonical_json()
    sha256 = hashlib.sha256(content).hexdigest()
    await tx.execute(
        insert(reports).values(
            kind=report.kind,
            subject=report.subject,
            edition=report.edition,
            source=source,
            day=report.day,
            made_from=report.made_from,
            sha256=sha256,
            size_bytes=len(content),
            complete=report.complete,
            verdict=report.trust.verdict,
            anomalies=len(report.anomalies),
            summary=report.summary,
            content=content.decode(),
        )
    )
    return sha256
