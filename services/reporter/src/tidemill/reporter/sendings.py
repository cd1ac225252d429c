"""The SQL of reports on their way: wished for, prepared, handed to the channel or skipped with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.bus.step import Tx
from tidemill.reporter.deciding import Wish

INSERT = text("""
INSERT INTO reporter.sendings (kind, subject, edition, message, channel, recipient, attach, state, reason, stated_at,
    due_at, ended_at)
VALUES (:kind, :subject, :edition, :message, :channel, :recipient, :attach, :state, :reason, :now, :now, :ended_at)
ON CONFLICT (message, channel, recipient) DO NOTHING
""")
# A report that was looked at before its day was over, and says the same when it is.
UNSKIP = text("""
UPDATE reporter.sendings SET state = 'preparing', reason = '', due_at = :now, ended_at = NULL
WHERE message = :message AND channel = :channel AND recipient = :recipient AND reason = 'not_over'
""")
# A correction never comes before what it corrects.
FETCH = text("""
SELECT message FROM reporter.sendings s WHERE state = 'preparing' AND due_at <= :now AND NOT EXISTS (
    SELECT FROM reporter.sendings earlier WHERE earlier.kind = s.kind AND earlier.subject = s.subject
        AND earlier.edition < s.edition AND earlier.state = 'preparing')
GROUP BY message ORDER BY min(id) LIMIT 20
""")
LOCK = text("SELECT pg_try_advisory_xact_lock(hashtextextended('tidemill.sending ' || :message, 0))")
TAKE = text("""
SELECT id, kind, subject, edition, channel, recipient, attach, attempts FROM reporter.sendings
WHERE message = :message AND state = 'preparing' AND due_at <= :now ORDER BY id
""")
GET = text("""
SELECT content, sha256, size_bytes, made_at FROM reporter.reports
WHERE kind = :kind AND subject = :subject AND edition = :edition
""")
END = text("UPDATE reporter.sendings SET state = :state, reason = :reason, ended_at = :now WHERE id = :id")
PUT_OFF = text("""
UPDATE reporter.sendings SET attempts = attempts + 1, due_at = :due_at, reason = :reason
WHERE message = :message AND state = 'preparing'
""")
KEEP = text("""
INSERT INTO reporter.renderings (kind, subject, edition, name, sha256, size_bytes, made_at)
VALUES (:kind, :subject, :edition, :name, :sha256, :size_bytes, :now)
ON CONFLICT (kind, subject, edition, name) DO UPDATE SET sha256 = excluded.sha256, size_bytes = excluded.size_bytes,
    made_at = excluded.made_at
""")
EDITION_OF = text("""
SELECT s.kind, s.subject, s.edition, r.source, r.day
FROM reporter.sendings s JOIN reporter.reports r USING (kind, subject, edition) WHERE s.message = :message LIMIT 1
""")
# What a fallback delivered has arrived.
FAILED = text("""
SELECT d.message, d.channel, d.recipient FROM reporter.deliveries d
WHERE d.state = 'given_up' AND d.kind LIKE 'report.%' AND (:channel = '' OR d.channel = :channel)
    AND (:recipient = '' OR d.recipient = :recipient)
    AND (:subject = '' OR EXISTS (
        SELECT FROM reporter.sendings s
        WHERE s.message = d.message AND :subject IN (s.subject, s.kind || '-' || s.subject)))
    AND NOT EXISTS (
        SELECT FROM reporter.deliveries f
        WHERE f.message = d.message AND f.fallback_of = d.channel AND f.state <> 'given_up')
ORDER BY d.id
""")


@dataclass(frozen=True, slots=True)
class Edition:
    """One edition of a report."""

    kind: str
    subject: str
    edition: int

    @property
    def named(self) -> dict[str, object]:
        return {"kind": self.kind, "subject": self.subject, "edition": self.edition}

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}, edition {self.edition}"


@dataclass(frozen=True, slots=True)
class Taken:
    """In hand, to be handed to the channel."""

    id: int
    edition: Edition
    channel: str
    recipient: str
    attach: tuple[str, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A report as it is stored."""

    content: str
    sha256: str
    size_bytes: int
    made_at: datetime


async def state_wishes(tx: Tx, edition: Edition, message: str, wishes: Sequence[Wish], now: datetime) -> None:
    """Once each: a message that was stated before stays as it is."""
    rows = [
        {
            **edition.named,
            "message": message,
            "channel": wish.channel,
            "recipient": wish.recipient,
            "attach": list(wish.attach),
            "state": "skipped" if wish.reason else "preparing",
            "reason": wish.reason,
            "now": now,
            "ended_at": now if wish.reason else None,
        }
        for wish in wishes
    ]
    if rows:
        await tx.execute(INSERT, rows)


async def unskip(tx: Tx, message: str, wishes: Sequence[Wish], now: datetime) -> None:
    for wish in wishes:
        if not wish.reason:
            given = {"message": message, "channel": wish.channel, "recipient": wish.recipient, "now": now}
            await tx.execute(UNSKIP, given)


async def fetch_messages(connection: AsyncConnection, now: datetime) -> list[str]:
    """Those that are to be prepared, the oldest first."""
    return list((await connection.scalars(FETCH, {"now": now})).all())


async def take(tx: Tx, message: str, now: datetime) -> list[Taken]:
    """Held until the end of the transaction; nothing where another replica has it."""
    if not await tx.scalar(LOCK, {"message": message}):
        return []
    rows = await tx.execute(TAKE, {"message": message, "now": now})
    return [
        Taken(r.id, Edition(r.kind, r.subject, r.edition), r.channel, r.recipient, tuple(r.attach), r.attempts)
        for r in rows
    ]


async def get_report(tx: Tx, edition: Edition) -> Kept:
    return Kept(*(await tx.execute(GET, edition.named)).one())


async def end_sending(tx: Tx, taken: Taken, state: str, reason: str, now: datetime) -> None:
    await tx.execute(END, {"id": taken.id, "state": state, "reason": reason, "now": now})


async def put_off(tx: Tx, message: str, due_at: datetime, reason: str) -> None:
    await tx.execute(PUT_OFF, {"message": message, "due_at": due_at, "reason": reason})


async def keep_rendering(tx: Tx, edition: Edition, name: str, sha256: str, size_bytes: int, now: datetime) -> None:
    given = {**edition.named, "name": name, "sha256": sha256, "size_bytes": size_bytes, "now": now}
    await tx.execute(KEEP, given)
