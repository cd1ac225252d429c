"""What was asked of each host: counted as it happens, and in the service's table `requests` a second later."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Self

import structlog
from sqlalchemy import BigInteger, Column, Date, DateTime, MetaData, PrimaryKeyConstraint, Table, Text, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.http.answer import Entry
from tidemill.common.http.limits import HostLimits

if TYPE_CHECKING:
    from alembic.operations import Operations

log = structlog.get_logger(__name__)

WRITE_EVERY = 1.0
COMMENT = "What each source asked of each host on each day, and how politely."
_COUNTS = ("requests", "bytes", "not_modified", "bytes_saved", "retry_after_obeyed", "robots_denials")
_COMMENTS = {"bytes": "Received.", "not_modified": "304 answers.", "bytes_saved": "That those 304 spared."}


def requests_table(metadata: MetaData) -> Table:
    """Declare it in the service's metadata. `create_requests` makes the same."""
    return Table(
        "requests",
        metadata,
        Column("source", Text, primary_key=True),
        Column("host", Text, primary_key=True),
        Column("day", Date, primary_key=True, comment="In the zone of the source's budget."),
        *(
            Column(name, BigInteger, nullable=False, server_default="0", comment=_COMMENTS.get(name))
            for name in _COUNTS
        ),
        Column("retry_after_until", DateTime(timezone=True), comment="How long the host wants to be left alone."),
        comment=COMMENT,
    )


def create_requests(op: "Operations", schema: str) -> None:
    """For the migration of a service."""
    op.create_table(
        "requests",
        Column("source", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("day", Date, nullable=False, comment="In the zone of the source's budget."),
        *(
            Column(name, BigInteger, nullable=False, server_default="0", comment=_COMMENTS.get(name))
            for name in _COUNTS
        ),
        Column("retry_after_until", DateTime(timezone=True), comment="How long the host wants to be left alone."),
        PrimaryKeyConstraint("source", "host", "day", name="pk_requests"),
        schema=schema,
        comment=COMMENT,
    )


@dataclass(frozen=True, slots=True)
class Requests:
    """What a source asked of a host on a day, or a part of it."""

    source: str
    host: str
    day: date
    requests: int = 0
    bytes: int = 0
    not_modified: int = 0
    bytes_saved: int = 0
    retry_after_obeyed: int = 0
    robots_denials: int = 0
    retry_after_until: datetime | None = None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(
            entry.source,
            entry.host,
            entry.day,
            requests=entry.requests,
            bytes=entry.bytes_received,
            not_modified=int(entry.status == 304),
            bytes_saved=entry.bytes_saved,
            retry_after_obeyed=int(entry.retry_after is not None),
            robots_denials=int(entry.robots == "disallowed"),
            retry_after_until=entry.retry_after,
        )

    def plus(self, more: Self) -> Self:
        untils = [until for until in (self.retry_after_until, more.retry_after_until) if until]
        return replace(
            self,
            **{name: getattr(self, name) + getattr(more, name) for name in _COUNTS},
            retry_after_until=max(untils, default=None),
        )


class RequestLedger:
    """Of one process. What it counts in its last second may be lost with it."""

    def __init__(self, engine: AsyncEngine, table: Table) -> None:
        self._engine = engine
        self._table = table
        self._counts: dict[tuple[str, str, date], Requests] = {}
        self._noted = asyncio.Event()

    def note(self, entry: Entry) -> None:
        """One request, or a decision of robots.txt without one."""
        self._add(Requests.of(entry))

    async def run(self) -> None:
        """Write until cancelled, and then once more."""
        try:
            while True:
                await self._noted.wait()
                self._noted.clear()
                await asyncio.sleep(WRITE_EVERY)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """What cannot be written now is kept for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        try:
            await add_requests(self._engine, self._table, list(counts.values()))
        except (SQLAlchemyError, OSError) as error:
            log.warning("requests are counted later", error=str(error).partition("\n")[0])
            for count in counts.values():
                self._add(count)

    def _add(self, more: Requests) -> None:
        key = (more.source, more.host, more.day)
        known = self._counts.get(key)
        self._counts[key] = more if known is None else known.plus(more)
        self._noted.set()


async def restore_limits(engine: AsyncEngine, table: Table, limits: HostLimits, since: date) -> None:
    """Budgets spent and patience asked for outlive a restart."""
    for each in await find_requests(engine, table, since):
        await limits.restore(each.host, each.source, each.day.isoformat(), each.requests, each.retry_after_until)


async def add_requests(engine: AsyncEngine, table: Table, counted: Sequence[Requests]) -> None:
    ordered = sorted(counted, key=lambda each: (each.source, each.host, each.day))
    adding = insert(table).values([asdict(each) for each in ordered])
    async with engine.begin() as tx:
        await tx.execute(
            adding.on_conflict_do_update(
                index_elements=["source", "host", "day"],
                set_={
                    **{name: table.c[name] + adding.excluded[name] for name in _COUNTS},
                    "retry_after_until": func.greatest(table.c.retry_after_until, adding.excluded.retry_after_until),
                },
            )
        )


async def find_requests(engine: AsyncEngine, table: Table, since: date) -> list[Requests]:
    async with engine.connect() as connection:
        rows = await connection.execute(select(table).where(table.c.day >= since))
        return [Requests(**row._mapping) for row in rows]
