"""A scheduler's bus and tables on real servers, with a clock that tests set."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.js import api
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.topology import ensure_topology
from tidemill.common.config.sources import SourceFile
from tidemill.common.database import open_engine
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.scheduler.admission import Admission
from tidemill.scheduler.firing import Firing
from tidemill.scheduler.limits import Limits
from tidemill.scheduler.main import SPEC
from tidemill.scheduler.schedules import apply_schedules

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""A Monday."""


@dataclass
class Clock:
    """Shows what a test says."""

    time: datetime = START

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@dataclass
class Station:
    """One replica, and a view of what all of them wrote."""

    nats_url: str
    engine: AsyncEngine
    nc: Client
    telemetry: Telemetry
    bus: Bus
    folder: Path
    clock: Clock = field(default_factory=Clock)
    groups: dict[str, int] = field(default_factory=dict)
    disk_reserve: int = 0

    @property
    def admission(self) -> Admission:
        return Admission(
            control=self.bus.control,
            groups=self.groups,
            data_dir=self.folder,
            disk_reserve=self.disk_reserve,
            now=self.clock,
        )

    @property
    def firing(self) -> Firing:
        return Firing(self.bus, self.engine, self.admission, self.telemetry.metrics, now=self.clock)

    @property
    def limits(self) -> Limits:
        return Limits(self.bus, self.engine, self.admission, self.telemetry.metrics, now=self.clock)

    async def apply(self, version: int = 0, **sources: dict[str, Any]) -> None:
        """What source files say, by name without dashes."""
        files = {name: SourceFile.model_validate({"source": name, **says}) for name, says in sources.items()}
        async with self.bus.transaction() as tx:
            await self.bus.emit(tx, await apply_schedules(tx, files, version, self.clock()))

    async def fire(self) -> int:
        firing = self.firing
        await firing.note_held()
        return await firing.fire_due()

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as tx:
            found = await tx.execute(text(statement), values)
            return list(found.all()) if found.returns_rows else []

    async def slots(self) -> list[str]:
        """Time of each slot on its day, and why it was skipped."""
        rows = await self.sql("SELECT slot, reason FROM scheduler.slots ORDER BY source, slot")
        return [" ".join(filter(None, (f"{row.slot.astimezone(UTC):%H:%M}", row.reason))) for row in rows]

    async def runs(self) -> list[str]:
        """Id, state and reason of each run."""
        rows = await self.sql("SELECT run, state, reason FROM scheduler.runs ORDER BY requested_at, run")
        return [" ".join(filter(None, row)) for row in rows]

    async def events(self, subject: str = "tidemill.>", stream: str = "RUNS") -> list[Any]:
        """Messages of a stream, in order."""
        subscription = await self.nc.jetstream().pull_subscribe(
            subject, stream=stream, config=api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
        )
        found: list[Any] = []
        while True:
            try:
                found += await subscription.fetch(500, timeout=0.3)
            except TimeoutError:
                return found

    async def hold(self, key: str, **says: str) -> None:
        """Set a key of the control bucket, and wait until this replica obeys."""
        await self.bus.control.put(key, json.dumps({"reason": "a test", **says}))
        await self.until(lambda: key in self.bus.control.entries)

    async def let_go(self, key: str) -> None:
        await self.bus.control.remove(key)
        await self.until(lambda: key not in self.bus.control.entries)

    async def until(self, condition: Callable[[], Any], within: float = 20.0) -> None:
        deadline = asyncio.get_running_loop().time() + within
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            assert asyncio.get_running_loop().time() < deadline, f"not within {within} s"
            await asyncio.sleep(0.02)

    @asynccontextmanager
    async def running(
        self, steps: Sequence[Any] = (), commands: Sequence[Any] = (), tasks: Sequence[Any] = ()
    ) -> AsyncIterator[None]:
        handling = asyncio.create_task(self.bus.run(steps, commands, tasks))
        try:
            yield
        finally:
            await self.bus.stop(timedelta(seconds=5))
            await handling


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """A fresh database with the scheduler's tables."""
    return new_database(SPEC)


@pytest.fixture
async def station(nats_url: str, database_url: str, tmp_path: Path) -> AsyncIterator[Station]:
    engine = open_engine(database_url)
    telemetry = Telemetry.open("scheduler", "0.1.0")
    nc = await nats.connect(nats_url)
    await ensure_topology(nc.jetstream())
    async with Bus.open(
        nats_url, service="scheduler", version="0.1.0", engine=engine, tables=SPEC.tables, telemetry=telemetry
    ) as bus:
        station = Station(nats_url, engine, nc, telemetry, bus, tmp_path)
        await station.until(lambda: bus.connected and bus.control.known)
        yield station
    await nc.close()
    await telemetry.close()
    await engine.dispose()
