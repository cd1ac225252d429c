"""What a consumer has handled already: the table that makes a repeat harmless."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.common.bus.tables import BusTables

SLICE = 5_000


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of an event that came."""

    handled: bool
    attempts: int = 0
    """Recorded failures."""
    deliveries: int = 0
    """Of the message, at the last recorded failure."""


UNKNOWN = Past(handled=False)


class Inbox:
    def __init__(self, tables: BusTables) -> None:
        inbox, retries = tables.inbox.fullname, tables.retries.fullname
        self._look_up = (
            f"SELECT event_id, true, 0, 0 FROM {inbox} WHERE consumer = $1 AND event_id = ANY($2::text[]) "
            f"UNION ALL SELECT event_id, false, attempts, deliveries FROM {retries} "
            "WHERE consumer = $1 AND event_id = ANY($2::text[])"
        )
        self._claim = (
            f"INSERT INTO {inbox} (consumer, event_id) SELECT $1, unnest($2::text[]) "
            "ON CONFLICT DO NOTHING RETURNING event_id"
        )
        self._parts = f"SELECT count(*) FROM {inbox} WHERE consumer = $1 AND event_id >= $2 AND event_id < $3"
        # One slice by physical place: the planner finds old rows by BRIN and need not sort them.
        self._clean = text(
            f"DELETE FROM {inbox} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {inbox} WHERE consumer = :consumer "
            "AND recorded_at < now() - CAST(:age AS interval) LIMIT :slice))"
        )

    async def look_up(self, connection: AsyncConnection, consumer: str, ids: Sequence[str]) -> Mapping[str, Past]:
        """What is known of these events; nothing for the new ones."""
        rows = await connection.exec_driver_sql(self._look_up, (consumer, ids))
        past: dict[str, Past] = {}
        for row in rows:
            event_id, handled, attempts, deliveries = tuple(row)
            if event_id not in past or handled:
                past[event_id] = Past(handled, attempts, deliveries)
        return past

    async def claim(self, tx: Tx, consumer: str, keys: Iterable[str]) -> set[str]:
        """Enter these as handled and return those that were not yet. In one order everywhere, against deadlocks."""
        rows = await tx.exec_driver_sql(self._claim, (consumer, sorted(keys)))
        return set(rows.scalars())

    async def parts_done(self, connection: AsyncConnection, consumer: str, prefix: str) -> int:
        """How many parts of a streamed event are recorded; they are the first ones, for parts come in order."""
        # "0" is the character after "/"; the column is collated as bytes.
        rows = await connection.exec_driver_sql(self._parts, (consumer, f"{prefix}/", f"{prefix}0"))
        return int(rows.scalar_one())

    async def clean(self, engine: AsyncEngine, consumer: str, age: timedelta) -> int:
        """Forget one slice of what is older; returns how much that was."""
        async with engine.begin() as tx:
            found = await tx.execute(self._clean, {"consumer": consumer, "age": age, "slice": SLICE})
        return found.rowcount
