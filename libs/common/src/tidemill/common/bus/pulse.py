"""One question to Postgres a second: is it there, what waits to be published, is a retry due, who is dead?"""

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.control import Control
from tidemill.common.bus.dead_letters import DeadLetters
from tidemill.common.bus.outbox import Outbox
from tidemill.common.bus.retry import DUE_SLICE, Retries
from tidemill.common.bus.supervise import describe
from tidemill.common.bus.tables import BusTables
from tidemill.common.telemetry.metrics import DEAD_LETTERS, RETRIES_WAITING, Metrics

EVERY = 1.0
TIMEOUT = 2.0


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

    async def beat(self) -> None:
        """Ask, and do what is due, until cancelled."""
        while True:
            looking = asyncio.create_task(self._look())
            # Not `wait_for`: it waits for the end of the cancellation, which a server that hangs delays, too.
            await asyncio.wait({looking}, timeout=TIMEOUT)
            if not looking.done():
                self.problem = f"Postgres does not answer within {TIMEOUT:g} s"
            try:
                seen = await looking
            except Exception as error:  # noqa: BLE001 Whatever it is, Postgres does not serve us.
                self.problem = f"Postgres does not answer: {describe(error)}"
            else:
                self.problem = None
                self.outbox.note(seen.unsent, seen.oldest)
                self.metrics.of(RETRIES_WAITING).set(seen.retries)
                self.metrics.of(DEAD_LETTERS).set(seen.waiting_dead)
                if seen.handled_dead:
                    await self.dead_letters.sweep()
                if seen.due:
                    await self._release_due()
            await asyncio.sleep(EVERY)

    async def _look(self) -> Any:
        outbox, retries = self.tables.outbox.fullname, self.tables.retries.fullname
        letters = self.tables.dead_letters.fullname
        question = text(
            "SELECT unsent, oldest, "
            f"EXISTS (SELECT 1 FROM {retries} WHERE due_at <= now()) AS due, "
            f"(SELECT count(*) FROM {retries} WHERE due_at IS NOT NULL) AS retries, "
            f"(SELECT count(*) FROM {letters} WHERE in_stream AND handled_at IS NULL) AS waiting_dead, "
            f"EXISTS (SELECT 1 FROM {letters} WHERE in_stream AND handled_at IS NOT NULL) AS handled_dead "
            "FROM (SELECT count(*) AS unsent, coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS "
            f"oldest FROM {outbox} WHERE sent_at IS NULL) AS waiting"
        )
        async with self.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            return (await connection.execute(question)).one()

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
