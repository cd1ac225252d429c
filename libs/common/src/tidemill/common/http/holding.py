"""Hosts that must not be asked now: told once per cause, by the service's table `holds`."""

from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Column, DateTime, MetaData, PrimaryKeyConstraint, Table, Text, delete, func
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import Tx
from tidemill.common.events import FetchHeld

if TYPE_CHECKING:
    from alembic.operations import Operations

LOUD = frozenset({"limiter_unavailable", "breaker_open", "budget_spent", "robots_unreachable"})
"""Reasons that are told; the others pass by themselves within seconds."""
COMMENT = "Why hosts are not asked now; each is told once, when its row comes."


def holds_table(metadata: MetaData) -> Table:
    """Declare it in the service's metadata. `create_holds` makes the same."""
    return Table(
        "holds",
        metadata,
        Column("source", Text, primary_key=True),
        Column("host", Text, primary_key=True),
        Column("reason", Text, primary_key=True),
        Column("run", Text, nullable=False),
        Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
        comment=COMMENT,
    )


def create_holds(op: "Operations", schema: str) -> None:
    """For the migration of a service."""
    op.create_table(
        "holds",
        Column("source", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("reason", Text, nullable=False),
        Column("run", Text, nullable=False),
        Column("since", DateTime(timezone=True), server_default=func.now(), nullable=False),
        PrimaryKeyConstraint("source", "host", "reason", name="pk_holds"),
        schema=schema,
        comment=COMMENT,
    )


class Cause(Protocol):
    """Why a host is not asked."""

    @property
    def host(self) -> str: ...

    @property
    def reason(self) -> str: ...

    @property
    def detail(self) -> str: ...

    @property
    def until(self) -> datetime | None: ...


async def note_held(tx: Tx, holds: Table, source: str, run: str, cause: Cause, at: datetime) -> FetchHeld | None:
    """What is to be told, unless somebody was told already."""
    if cause.reason not in LOUD or not await _is_new(tx, holds, source, cause.host, cause.reason, run, at):
        return None
    return FetchHeld(
        source=source,
        run=run,
        host=cause.host,
        reason=cause.reason,
        detail=cause.detail,
        until=cause.until,
        held_at=at,
    )


async def forget_holds(tx: Tx, holds: Table, source: str, host: str, asked_at: datetime) -> None:
    """The host was asked then, so that nothing of before holds it."""
    await tx.execute(delete(holds).where(holds.c.source == source, holds.c.host == host, holds.c.since < asked_at))


async def _is_new(tx: Tx, holds: Table, source: str, host: str, reason: str, run: str, at: datetime) -> bool:
    inserted = await tx.execute(
        insert(holds).values(source=source, host=host, reason=reason, run=run, since=at).on_conflict_do_nothing()
    )
    return bool(inserted.rowcount)
