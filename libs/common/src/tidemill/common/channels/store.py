"""The SQL of deliveries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Row, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.bus.step import Tx
from tidemill.common.channels.masking import masked_message
from tidemill.common.channels.message import Message, delivery_key
from tidemill.common.channels.outcome import Reply
from tidemill.common.channels.retry import End
from tidemill.common.channels.tables import DeliveryTables
from tidemill.common.telemetry.logs import get_logger

log = get_logger(__name__)

REPLY_LENGTH = 500
HOPELESS_SLICE = 500


@dataclass(frozen=True, slots=True)
class Taken:
    """A message in hand, for one recipient."""

    id: int
    lease: str | None
    message: Message
    channel: str
    recipient: str
    key: str
    stated_at: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits for one channel."""

    waiting: int
    due: int
    oldest: datetime


class DeliveryStore:
    def __init__(self, tables: DeliveryTables) -> None:
        self._deliveries = tables.deliveries
        self._attempts = tables.attempts
        deliveries, attempts = tables.deliveries.fullname, tables.attempts.fullname
        self._locks = f"tidemill.channel.{deliveries}."
        self._queues = text(
            f"SELECT channel, count(*), count(*) FILTER (WHERE due_at <= :now), min(stated_at) FROM {deliveries} "
            "WHERE state = 'waiting' GROUP BY channel"
        )
        # Of what belongs together the later waits until the earlier has ended: "resolved" never comes before "firing".
        self._take = text(
            f"""
            WITH due AS (
                SELECT id FROM {deliveries} d WHERE channel = :channel AND state = 'waiting' AND due_at <= :now
                AND (thread = '' OR NOT EXISTS (
                    SELECT FROM {deliveries} earlier WHERE earlier.state = 'waiting' AND earlier.thread = d.thread
                    AND earlier.channel = d.channel AND earlier.recipient = d.recipient AND earlier.id < d.id))
                ORDER BY due_at, id LIMIT :most FOR UPDATE SKIP LOCKED)
            UPDATE {deliveries} d SET due_at = :until, lease = :lease, attempts = attempts + 1 FROM due
            WHERE d.id = due.id
            RETURNING d.id, d.content, d.recipient, d.key, d.stated_at, d.attempts
            """
        )
        self._cut_off = text(
            f"UPDATE {attempts} SET verdict = 'cut_off' WHERE delivery = ANY(:deliveries) AND verdict IS NULL"
        )

    async def add(
        self,
        tx: Tx,
        message: Message,
        channel: str,
        recipients: Sequence[str],
        now: datetime,
        fallback_of: str | None = None,
    ) -> int:
        """How many of them are new; a message that was stated before is not stated again."""
        if not recipients:
            return 0
        content = masked_message(message).model_dump(mode="json")
        rows = [
            {
                "message": message.id,
                "channel": channel,
                "recipient": recipient,
                "key": delivery_key(message.id, channel, recipient),
                "kind": message.kind,
                "thread": message.thread,
                "content": content,
                "fallback_of": fallback_of,
                "state": "waiting",
                "stated_at": now,
                "due_at": now,
            }
            for recipient in sorted(set(recipients))
        ]
        added = insert(self._deliveries).values(rows).on_conflict_do_nothing().returning(self._deliveries.c.id)
        return len((await tx.execute(added)).all())

    async def queues(self, connection: AsyncConnection, now: datetime) -> Mapping[str, Queue]:
        found = await connection.execute(self._queues, {"now": now})
        return {channel: Queue(waiting, due, oldest) for channel, waiting, due, oldest in found}

    async def lock(self, tx: Tx, channel: str) -> bool:
        """Whether it is our turn to take from this channel; never waited for."""
        name = self._locks + channel
        return bool(await tx.scalar(text("SELECT pg_try_advisory_xact_lock(hashtextextended(:l, 0))"), {"l": name}))

    async def held_until(self, tx: Tx, channel: str, now: datetime) -> datetime | None:
        """Before that the channel wants nothing."""
        attempts = self._attempts.c
        held = select(func.max(attempts.hold_until)).where(attempts.channel == channel, attempts.hold_until > now)
        found: datetime | None = await tx.scalar(held)
        return found

    async def attempts_since(self, tx: Tx, channel: str, since: datetime) -> int:
        attempts = self._attempts.c
        count = select(func.count()).where(attempts.channel == channel, attempts.began_at > since)
        return int(await tx.scalar(count) or 0)

    async def hopeless(self, tx: Tx, channel: str, stated_before: datetime, now: datetime) -> list[Taken]:
        """What waits, in nobody's hands, since before that."""
        table = self._deliveries
        rows = select(table).where(table.c.channel == channel, table.c.state == "waiting", table.c.lease.is_(None))
        rows = rows.where(table.c.stated_at < stated_before).with_for_update(skip_locked=True)
        found = (await tx.execute(rows.limit(HOPELESS_SLICE))).all()
        return await self._readable(tx, channel, found, now, None)

    async def take(self, tx: Tx, channel: str, now: datetime, *, most: int, until: datetime, lease: str) -> list[Taken]:
        """Take what is due, for as long as the lease; of what another process took and did not end, the log says so."""
        given = {"channel": channel, "now": now, "most": most, "until": until, "lease": lease}
        rows = (await tx.execute(self._take, given)).all()
        taken = await self._readable(tx, channel, rows, now, lease)
        if taken:
            await tx.execute(self._cut_off, {"deliveries": [each.id for each in taken]})
            began: list[dict[str, Any]] = [
                {"delivery": each.id, "attempt": each.attempt, "channel": channel, "began_at": now} for each in taken
            ]
            await tx.execute(insert(self._attempts).values(began))
        return taken

    async def _readable(
        self, tx: Tx, channel: str, rows: Sequence[Row[Any]], now: datetime, lease: str | None
    ) -> list[Taken]:
        """What another version of the code stated and this one cannot read is ended, and stops nothing else."""
        found, unreadable = [], []
        for row in rows:
            try:
                message = Message.model_validate(row.content)
            except ValidationError:
                unreadable.append(row.id)
                continue
            found.append(Taken(row.id, lease, message, channel, row.recipient, row.key, row.stated_at, row.attempts))
        if unreadable:
            table = self._deliveries
            ended = {"state": "given_up", "reason": "unreadable", "ended_at": now, "lease": None}
            await tx.execute(update(table).where(table.c.id.in_(unreadable)).values(**ended))
            log.error("messages cannot be read, and are given up", channel=channel, deliveries=unreadable)
        return found

    async def log(self, tx: Tx, taken: Taken, reply: Reply, seconds: float, now: datetime) -> None:
        # The delivery is locked before its attempts, as by who takes it anew: in another order both would deadlock.
        await tx.execute(select(self._deliveries.c.id).where(self._deliveries.c.id == taken.id).with_for_update())
        log = self._attempts
        statement = update(log).where(log.c.delivery == taken.id, log.c.attempt == taken.attempt)
        hold = now + reply.after if reply.after else None
        said = {"verdict": reply.verdict, "status": reply.status, "reply": reply.text[:REPLY_LENGTH]}
        await tx.execute(statement.values(**said, seconds=seconds, hold_until=hold))

    async def put_back(self, tx: Tx, taken: Taken, reply: Reply, due_at: datetime) -> None:
        table = self._deliveries
        ours = update(table).where(table.c.id == taken.id, table.c.state == "waiting", table.c.lease == taken.lease)
        await tx.execute(ours.values(due_at=due_at, lease=None, reply=reply.text[:REPLY_LENGTH]))

    async def end(self, tx: Tx, taken: Taken, end: End, reply: Reply, now: datetime) -> bool:
        """Whether it had not ended before. What was taken by the receiver ends, whoever holds the lease by now."""
        table = self._deliveries
        ours = update(table).where(table.c.id == taken.id, table.c.state == "waiting")
        if end.state != "delivered":
            ours = ours.where(table.c.lease.is_not_distinct_from(taken.lease))
        said = {"state": end.state, "reason": end.reason, "reply": reply.text[:REPLY_LENGTH], "ended_at": now}
        return bool((await tx.execute(ours.values(**said, lease=None))).rowcount)

    async def revive(self, tx: Tx, message: str, channel: str, recipient: str, now: datetime) -> bool:
        """Have what was given up tried again, under the same key and with patience anew; whether it was given up."""
        table = self._deliveries
        ours = update(table).where(
            table.c.message == message, table.c.channel == channel, table.c.recipient == recipient
        )
        anew = {"state": "waiting", "stated_at": now, "due_at": now, "ended_at": None, "reason": None}
        return bool((await tx.execute(ours.where(table.c.state == "given_up").values(**anew))).rowcount)
