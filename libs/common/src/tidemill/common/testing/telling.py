"""A service that tells people: its tables, channels to receivers on this machine, and a clock that a test turns."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.common.channels import Deliveries, DeliveryTables, Message, Outcome, Senders, To, delivery_tables
from tidemill.common.config import CommonSettings
from tidemill.common.config.channels import Channel
from tidemill.common.database import open_engine, service_metadata
from tidemill.common.telemetry.metrics import Metrics

METADATA = service_metadata("telling")
TABLES: DeliveryTables = delivery_tables(METADATA)
START = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class Telling:
    engine: AsyncEngine
    deliveries: Deliveries
    senders: Senders
    clock: Clock
    outcomes: list[Outcome] = field(default_factory=list)

    async def state(self, *names: str, to: str = "chat", **others: Any) -> None:
        async with self.engine.begin() as tx:
            for name in names:
                await self.deliveries.enqueue(tx, message(name, **others), [To(to)])

    async def rows(self, *columns: str) -> list[tuple[Any, ...]]:
        table = TABLES.deliveries
        async with self.engine.connect() as connection:
            found = await connection.execute(select(*(table.c[name] for name in columns)).order_by(table.c.id))
            return [tuple(row) for row in found]

    async def log(self, *columns: str) -> list[tuple[Any, ...]]:
        table = TABLES.attempts
        async with self.engine.connect() as connection:
            asked = select(*(table.c[name] for name in columns)).order_by(table.c.began_at, table.c.delivery)
            return [tuple(row) for row in await connection.execute(asked)]


def message(id: str = "alert-1", **others: Any) -> Message:
    told = {"id": id, "kind": "alert.firing", "subject": f"About {id}", "text": "Look.", "at": START}
    return Message.model_validate({**told, **others})


def channels(**named: Mapping[str, Any]) -> dict[str, Channel]:
    return CommonSettings.model_validate({"channels": named}).channels


async def make_tables(url: str) -> None:
    engine = open_engine(url)
    async with engine.begin() as tx:
        await tx.execute(text("CREATE SCHEMA IF NOT EXISTS telling"))
        await tx.run_sync(METADATA.create_all)
    await engine.dispose()


@asynccontextmanager
async def open_telling(
    url: str, named: Mapping[str, Channel], clock: Clock | None = None, service: str = "telling"
) -> AsyncIterator[Telling]:
    await make_tables(url)
    engine, clock = open_engine(url), clock or Clock()
    async with Senders(named) as senders:
        outcomes: list[Outcome] = []

        async def told(tx: Tx, outcome: Outcome) -> None:
            outcomes.append(outcome)

        deliveries = Deliveries(engine, TABLES, senders, Metrics(service), told=told, now=clock)
        yield Telling(engine, deliveries, senders, clock, outcomes)
    await engine.dispose()
