"""Hosts that must not be asked now: told once per cause."""

from datetime import datetime
from typing import Protocol

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.events import FetchHeld, RunRequested
from tidemill.downloader import store

LOUD = frozenset({"limiter_unavailable", "breaker_open", "budget_spent", "robots_unreachable"})
"""Reasons that are told; the others pass by themselves within seconds."""


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


async def note_held(tx: Tx, source: str, run: str, cause: Cause, at: datetime) -> FetchHeld | None:
    """What is to be told, unless somebody was told already."""
    if cause.reason not in LOUD or not await store.note_hold(tx, source, cause.host, cause.reason, run, at):
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


async def tell_held(bus: Bus, event: RunRequested, cause: Cause, at: datetime) -> None:
    """For a run that cannot be planned yet."""
    async with bus.transaction() as tx:
        held = await note_held(tx, event.source, event.run, cause, at)
        if held is not None:
            await bus.emit(tx, [Outgoing(f"{event.run}/held/{cause.reason}/{at.isoformat()}", held)])
