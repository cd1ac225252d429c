"""A reporter that sends, without its process: database, bus, archive and receivers are real, the clock is a test's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import orjson

from tidemill.common.archive import Archive
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.topology import ensure_topology
from tidemill.common.channels import Deliveries, Senders, from_archive
from tidemill.common.config import CommonSettings
from tidemill.common.telemetry.metrics import Metrics
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.receivers import Mailbox, Postbox
from tidemill.reporter.outcomes import Outcomes
from tidemill.reporter.report import Report
from tidemill.reporter.send_command import send_command
from tidemill.reporter.send_rules import SendSettings
from tidemill.reporter.sending import Sending
from tidemill.reporter.store import insert_report
from tidemill.reporter.tables import bus as tables
from tidemill.reporter.tables import deliveries

from .kit import World
from .rendering_kit import sample

DAY = "2026-11-28"
MORNING = datetime.fromisoformat("2026-11-29T06:00:00+00:00")


def report(**others: Any) -> Report:
    return sample().model_copy(update={"subject": DAY, "day": date.fromisoformat(DAY), "edition": 1, **others})


def mail(box: Mailbox, *to: str, **others: Any) -> dict[str, Any]:
    server = {"host": "localhost", "port": box.port, "security": "none", "from": "tidemill@example.org"}
    return {"mail": {**server, "to": list(to)}, **others}


def hook(box: Postbox, **others: Any) -> dict[str, Any]:
    webhook = {"url": box.url(), "secret": "${env:HOOK_SECRET}", "allow_private": [box.host]}
    return {"webhook": webhook, **others}


def chat(box: Postbox, **others: Any) -> dict[str, Any]:
    return {"slack": {"url": "${env:CHAT_URL}", "allow_private": [box.host]}, **others}


@dataclass
class Clock:
    time: datetime = MORNING

    def __call__(self) -> datetime:
        return self.time


@dataclass
class PostOffice:
    world: World
    bus: Bus
    archive: Archive
    sending: Sending
    clock: Clock = field(default_factory=Clock)

    async def store(self, told: Report, *, new: bool = True) -> None:
        """As `Making` does it."""
        async with self.bus.transaction() as tx:
            if new:
                await insert_report(tx, told, "")
            await self.sending.announce(tx, told, new=new)

    async def send_all(self) -> int:
        """How many attempts that were."""
        while await self.sending.send_next():
            pass
        attempts = 0
        while made := await self.sending.deliveries.round():
            attempts += made
        return attempts

    async def ask(self, **parameters: Any) -> Any:
        async with self.bus.transaction() as tx:
            return await send_command(self.sending).handle(tx, f"command-{self.clock.time}", parameters)

    async def sendings(self, *columns: str) -> list[tuple[Any, ...]]:
        found = await self.world.sql(f"SELECT {', '.join(columns)} FROM reporter.sendings ORDER BY id")
        return [tuple(row) for row in found]

    async def deliveries(self, *columns: str) -> list[tuple[Any, ...]]:
        found = await self.world.sql(f"SELECT {', '.join(columns)} FROM reporter.deliveries ORDER BY id")
        return [tuple(row) for row in found]

    async def events(self) -> list[dict[str, Any]]:
        rows = await self.world.sql(
            "SELECT payload FROM reporter.outbox WHERE subject LIKE '%undelivered%' ORDER BY id"
        )
        return [orjson.loads(bytes(row.payload)) for row in rows]


@asynccontextmanager
async def open_office(
    world: World, nats_url: str, folder: Path, channels: dict[str, Any], rules: Sequence[dict[str, Any]]
) -> AsyncIterator[PostOffice]:
    named = CommonSettings.model_validate({"channels": channels}).channels
    telemetry = Telemetry.open("reporter", "0.1.0")
    nc = await nats.connect(nats_url)
    await ensure_topology(nc.jetstream())
    clock = Clock()
    async with (
        Bus.open(
            nats_url, service="reporter", version="0.1.0", engine=world.engine, tables=tables, telemetry=telemetry
        ) as bus,
        Archive.open(folder.as_uri()) as archive,
        Senders(named, load=from_archive(archive)) as senders,
    ):
        told = Outcomes(bus).tell
        on_their_way = Deliveries(
            world.engine, deliveries, senders, Metrics("test"), told=told, transaction=bus.transaction, now=clock
        )
        written = [SendSettings.model_validate(rule) for rule in rules]
        sending = Sending(bus, world.engine, archive, on_their_way, named, written, timedelta(hours=8), now=clock)
        yield PostOffice(world, bus, archive, sending, clock)
    await nc.close()
    await telemetry.close()
