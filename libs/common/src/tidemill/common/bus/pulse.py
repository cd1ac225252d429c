"""One question to Postgres again and again: is it there, what waits to be published, is a retry due, who is dead?"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.control import Control
from tidemill.common.bus.dead_letters import DeadLetters
from tidemill.common.bus.outbox import Outbox
from tidemill.common.bus.retry import DUE_SLICE, Retries
from tidemill.common.bus.supervise import cancel, describe
from tidemill.common.bus.tables import BusTables
from tidemill.common.telemetry.metrics import DEAD_LETTERS, RETRIES_WAITING, Metrics

EVERY = 1.0
IDLE = 2.0
TIMEOUT = 2.0
"""With `IDLE` before it, less than the five seconds within which health tells of a server that hangs."""


@dataclass(slots=True)
class Pulse:
    engine: AsyncEngine
    tables: BusTables
    outbox: Outbox
    retries: Retries
    dead_letters: DeadLetters
    control: Control
    metrics: Metrics
    problem: str | None = None
    _idle: float = IDLE
    _question: str = field(init=False)
    _held: AsyncConnection | None = None
    _driver: Any = None
    """Of asyncpg, below the held one."""

    def __post_init__(self) -> None:
        outbox, retries = self.tables.outbox.fullname, self.tables.retries.fullname
        letters = self.tables.dead_letters.fullname
        self._question = (
            "SELECT unsent, oldest, "
            f"(SELECT extract(epoch FROM min(due_at) - now())::float8 FROM {retries}) AS due_in, "
            f"(SELECT count(*) FROM {retries} WHERE due_at IS NOT NULL) AS retries, "
            f"(SELECT count(*) FROM {letters} WHERE in_stream AND handled_at IS NULL) AS waiting_dead, "
            f"EXISTS (SELECT 1 FROM {letters} WHERE in_stream AND handled_at IS NOT NULL) AS handled_dead "
            "FROM (SELECT count(*) AS unsent, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS "
            f"oldest FROM {outbox} WHERE sent_at IS NULL) AS waiting"
        )

    async def beat(self) -> None:
        """Ask, and do what is due, until cancelled."""
        try:
            await self._beat()
        finally:
            await self._let_go()

    async def _beat(self) -> None:
        while True:
            looking = asyncio.create_task(self._look())
            # Not `wait_for`: it waits for the end of the cancellation, which a server that hangs delays, too.
            try:
                await asyncio.wait({looking}, timeout=TIMEOUT)
            except asyncio.CancelledError:
                await cancel([looking])
                raise
            if not looking.done():
                self.problem = f"Postgres does not answer within {TIMEOUT:g} s"
            try:
                seen = await looking
            except Exception as error:  # noqa: BLE001 Whatever it is, Postgres does not serve us.
                self.problem = f"Postgres does not answer: {describe(error)}"
            else:
                self.problem = None
                self.outbox.note(seen["unsent"], seen["oldest"])
                self.metrics.of(RETRIES_WAITING).set(seen["retries"])
                self.metrics.of(DEAD_LETTERS).set(seen["waiting_dead"])
                if seen["handled_dead"]:
                    await self.dead_letters.sweep()
                self._idle = IDLE
                due_in = seen["due_in"]
                if due_in is not None and due_in <= 0:
                    await self._release_due()
                elif due_in is not None:
                    self._idle = min(IDLE, due_in)
            await self.outbox.activity.rest(EVERY, self._idle)

    async def _look(self) -> Mapping[str, Any]:
        """By a connection that is held, past SQLAlchemy: a service at rest does little else, with cold caches."""
        if self._held is None:
            self._held = await self.engine.connect()
            self._driver = (await self._held.get_raw_connection()).driver_connection
        try:
            seen: Mapping[str, Any] = await self._driver.fetchrow(self._question)
        except BaseException:
            await self._let_go(broken=True)
            raise
        return seen

    async def _let_go(self, *, broken: bool = False) -> None:
        held, self._held = self._held, None
        if held is not None:
            if broken:
                await held.invalidate()
            await held.close()

    async def _release_due(self) -> None:
        found = DUE_SLICE
        while found == DUE_SLICE and self.control.known and not self.control.paused():
            found = await self.release()

    async def release(self) -> int:
        """Hand out a slice of what is due, except of sources that are held; returns how much that was."""
        async with self.outbox.transaction() as tx:
            due = await self.retries.take_due(tx, self.control.held_sources())
            await self.outbox.stage(tx, due)
        return len(due)
