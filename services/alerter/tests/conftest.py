"""An alerter on real servers, with a clock that tests set, beside the tables of services that it looks at."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.alerter.commands import Commands
from tidemill.alerter.look import Looked
from tidemill.alerter.main import SPEC
from tidemill.alerter.measures.gather import Gathering
from tidemill.alerter.policy import Policy
from tidemill.alerter.rounds import Rounds
from tidemill.alerter.settings import AlerterSettings
from tidemill.alerter.steps import steps
from tidemill.alerter.tables import deliveries
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.client import CommandFailed
from tidemill.common.bus.step import Outgoing
from tidemill.common.bus.topology import ensure_topology
from tidemill.common.channels import Deliveries, Senders
from tidemill.common.config import Config, Sources, load_config
from tidemill.common.database import open_engine
from tidemill.common.events import Event
from tidemill.common.service import find_services
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.fixtures import NewDatabase

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
"""A Monday."""
TIDEMILL_YAML = """
channels:
  chat: {slack: {url: "http://127.0.0.1:1/${env:NOBODY}"}}
  boss: {slack: {url: "http://127.0.0.1:1/${env:NOBODY}"}}
alerter:
  routes: [{to: [chat], group_by: [rule, source], group_wait: 0s}]
  rules: {outbox_stuck: {enabled: false}}  # It is by the clock of Postgres, which tests do not set.
"""


@dataclass
class Clock:
    """Shows what a test says."""

    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, **duration: float) -> None:
        self.time += timedelta(**duration)


@dataclass
class Station:
    """One replica, and a view of what all of them wrote."""

    engine: AsyncEngine
    nc: Client
    telemetry: Telemetry
    bus: Bus
    folder: Path
    config: Config
    clock: Clock = field(default_factory=Clock)
    sources: Sources = field(default_factory=Sources)
    replica: Rounds | None = None
    sent: int = 0

    def configure(self, written: str) -> None:
        (self.folder / "tidemill.yaml").write_text(written)
        self.config = load_config(self.folder, services={"alerter": AlerterSettings}, environ={})
        self.replica = None

    @property
    def settings(self) -> AlerterSettings:
        found: AlerterSettings = self.config.service("alerter")
        return found

    @property
    def policy(self) -> Policy:
        return Policy.of(self.settings)

    @property
    def deliveries(self) -> Deliveries:
        return Deliveries(
            self.engine, deliveries, Senders(self.config.common.channels), self.telemetry.metrics, now=self.clock
        )

    @property
    def commands(self) -> Commands:
        return Commands(self.deliveries, self.clock)

    def make_replica(self) -> Rounds:
        wanted = frozenset(rule.measure for rule in self.policy.rules.values() if rule.measure)
        gathering = Gathering(self.bus, self.engine, self.config, self.sources, wanted, self.clock)
        return Rounds(
            self.bus,
            self.engine,
            self.deliveries,
            gathering.gather,
            self.policy,
            self.telemetry.metrics,
            every=self.settings.look_every,
            now=self.clock,
        )

    async def look(self, **later: float) -> Looked:
        """The next round, so much later."""
        self.clock.pass_by(**later or {"seconds": 15})
        self.replica = self.replica or self.make_replica()
        return await self.replica.round()

    async def say(self, *events: Event) -> None:
        """State events as other services do, and wait until the alerter has noted them."""
        async with self.bus.transaction() as tx:
            await self.bus.emit(tx, [Outgoing(f"test/{self.sent + n}", event) for n, event in enumerate(events)])
        self.sent += len(events)
        await self.until(self._noted)

    async def _noted(self) -> bool:
        rows = await self.sql("SELECT coalesce(sum(count), 0) AS n FROM alerter.signals")
        return bool(rows[0].n >= self.sent)

    async def states(self) -> dict[str, str]:
        """By rule: the state of its one alert."""
        rows = await self.sql("SELECT rule, state FROM alerter.alerts ORDER BY rule")
        return {row.rule: row.state for row in rows}

    async def ask(self, verb: str, **parameters: Any) -> dict[str, Any]:
        """A command, once somebody answers."""
        for _ in range(200):
            try:
                return await self.bus.request(f"tidemill.ctl.alerter.{verb}", parameters)
            except CommandFailed as failed:
                if "nobody listens" not in str(failed):
                    raise
                await asyncio.sleep(0.05)
        raise AssertionError("nobody answers")

    async def told(self) -> list[str]:
        """Subjects of the messages so far."""
        rows = await self.sql("SELECT content ->> 'subject' AS subject FROM alerter.deliveries ORDER BY id")
        return [row.subject for row in rows]

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as tx:
            found = await tx.execute(text(statement), values)
            return list(found.all()) if found.returns_rows else []

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
    async def running(self, commands: Sequence[Any] = ()) -> AsyncIterator[None]:
        handling = asyncio.create_task(self.bus.run(steps(), commands, ()))
        try:
            yield
        finally:
            await self.bus.stop(timedelta(seconds=5))
            await handling


@asynccontextmanager
async def open_station(nats_url: str, database_url: str, folder: Path) -> AsyncIterator[Station]:
    engine = open_engine(database_url)
    telemetry = Telemetry.open("alerter", "0.1.0")
    nc = await nats.connect(nats_url)
    await ensure_topology(nc.jetstream())
    (folder / "tidemill.yaml").write_text(TIDEMILL_YAML)
    (folder / "data").mkdir()
    config = load_config(folder, services={"alerter": AlerterSettings}, environ={})
    async with Bus.open(
        nats_url, service="alerter", version="0.1.0", engine=engine, tables=SPEC.tables, telemetry=telemetry
    ) as bus:
        station = Station(engine, nc, telemetry, bus, folder, config)
        await station.until(lambda: bus.connected and bus.control.known)
        yield station
    await nc.close()
    await telemetry.close()
    await engine.dispose()


@pytest.fixture
async def station(nats_url: str, new_database: NewDatabase, tmp_path: Path) -> AsyncIterator[Station]:
    async with open_station(nats_url, new_database(*find_services()), tmp_path) as station:
        yield station
