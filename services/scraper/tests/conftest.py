"""Scrapers at work on a site of this machine, with real NATS and Postgres."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.topology import ensure_topology
from tidemill.common.config import Sources, load_config, load_sources
from tidemill.common.database import open_engine
from tidemill.common.events import Event, RunRequested
from tidemill.common.servers import Addresses
from tidemill.common.service import Service
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.common.testing.site import Site, open_site
from tidemill.scraper.main import SPEC

sys.path.insert(0, str(Path(__file__).parent))

from portal import Portal, source_file

AT = datetime(2026, 7, 21, 6, tzinfo=UTC)


@dataclass
class Mill:
    """Everything a test looks at."""

    folder: Path
    site: Site
    portal: Portal
    nc: Client
    engine: AsyncEngine
    addresses: Addresses
    allowed: tuple[str, ...] = ()
    """Other hosts that may be asked."""
    services: list[Service] = field(default_factory=list)
    running: list[asyncio.Task[None]] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def sources(self) -> Sources:
        return load_sources(self.folder / "sources", self.folder / "data")

    def source(self, name: str = "homes", politeness: str = "rate: 500/s, concurrency: 8", **scrape: Any) -> None:
        """Write a source file, which may ask the site."""
        (self.folder / "sources").mkdir(exist_ok=True)
        polite = f"{{{politeness}, allow_private: {[self.site.host, *self.allowed]}}}"
        text = source_file(name, polite, self.portal.scrape(**scrape), self.portal.extract)
        (self.folder / "sources" / f"{name}.yaml").write_text(text, encoding="utf-8")

    async def start(self, *, stop: asyncio.Event | None = None) -> Service:
        """A scraper in this process, ready."""
        service = await self.begin(stop)
        await self.until(lambda: ready(service))
        return service

    async def begin(self, stop: asyncio.Event | None = None) -> Service:
        config = load_config(self.folder, services={"scraper": SPEC.settings}, environ={})
        service = Service(SPEC, config, self.sources, self.addresses)
        self.running.append(asyncio.create_task(service.run(stop or self.stop)))
        self.services.append(service)
        return service

    async def run(self, run: str = "run-1", *, source: str = "homes", **more: Any) -> None:
        """Request a run, as the scheduler does."""
        event = RunRequested(
            **{"source": source, "run": run, "trigger": "manual", "requested_at": AT, **more}  # type: ignore[arg-type]
        )
        await self.publish(event, f"{run}/requested")

    async def publish(self, event: Event, id: str) -> None:
        headers = {"Nats-Msg-Id": id, "Tidemill-Id": id}
        await self.nc.jetstream().publish(event.subject_filled(), event.to_json(), headers=headers)

    async def control(self, key: str, value: str | None = "test") -> None:
        js = self.nc.jetstream()
        headers = {"KV-Operation": "DEL"} if value is None else None
        await js.publish(f"$KV.tidemill-control.{key}", (value or "").encode(), headers=headers)

    async def told(self, kind: str = "") -> list[dict[str, Any]]:
        """What was stated, each event once, in order; of one kind (`document.stored`) or all."""
        rows = await self.sql("SELECT DISTINCT ON (event_id) id, event_id, subject, payload FROM scraper.outbox")
        found = [
            {"id": row.event_id, "subject": row.subject, **json.loads(row.payload)}
            for row in sorted(rows, key=lambda row: row.id)
        ]
        return [event for event in found if event["subject"].startswith(f"tidemill.{kind}")]

    async def kinds(self) -> Counter[str]:
        """Of documents."""
        return Counter(event["subject"].split(".")[2] for event in await self.told("document."))

    async def done(self, run: str = "run-1", *, within: float = 60, **more: Any) -> "Told":
        """Request a run, and wait for its end."""
        await self.run(run, **more)
        return await self.end(run, within=within)

    async def end(self, run: str = "run-1", *, within: float = 60) -> "Told":
        async def closed() -> bool:
            return bool(await self.sql("SELECT 1 FROM scraper.runs WHERE run = :run AND phase = 'closed'", run=run))

        await self.until(closed, within)
        return Told([event for event in await self.told() if event.get("run") == run])

    async def decisions(self, run: str = "run-1") -> dict[str, int]:
        rows = await self.sql("SELECT decision, count(*) FROM scraper.decisions WHERE run = :run GROUP BY 1", run=run)
        return {row[0]: row[1] for row in rows}

    async def sql(self, statement: str, **values: Any) -> Any:
        async with self.engine.begin() as connection:
            result = await connection.execute(text(statement), values)
            return result.all() if result.returns_rows else None

    async def noted(self, condition: str) -> None:
        """Wait until that holds of all requests: they are written down once a second."""

        async def holds() -> bool:
            return bool((await self.sql(f"SELECT {condition} FROM scraper.requests"))[0][0])

        await self.until(holds)

    async def until(self, true: Callable[[], Awaitable[bool]], within: float = 30) -> None:
        async with asyncio.timeout(within):
            while not await true():
                await asyncio.sleep(0.03)


@dataclass
class Told:
    """What was stated of one run."""

    events: list[dict[str, Any]]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["subject"].startswith(f"tidemill.{kind}")]

    @property
    def plan(self) -> dict[str, Any]:
        """The statements of it together."""
        parts = self.of("run.planned")
        (closed,) = [part for part in parts if part.get("closed")]
        items = [item for part in parts for item in part.get("items", [])]
        requests = sum(part.get("requests", 0) for part in parts)
        return {"items": items, "total": closed.get("total", 0), "skipped": closed["skipped"], "requests": requests}

    @property
    def kinds(self) -> Counter[str]:
        """Of documents; what reappeared is counted besides."""
        kinds = Counter(event["subject"].split(".")[2] for event in self.of("document."))
        reappeared = sum(event.get("reappeared", False) for event in self.events)
        return kinds + Counter(reappeared=reappeared)

    def names(self, kind: str) -> list[str]:
        return sorted(event["name"] for event in self.of(f"document.{kind}"))

    def failures(self) -> dict[str, str]:
        return {event["item"].split("~")[0]: event["failure"] for event in self.of("document.failed")}


async def ready(service: Service) -> bool:
    return not await service.health.wrong()


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    """A fresh database with the scraper's tables."""
    return new_database(SPEC)


@pytest.fixture
async def mill(tmp_path: Path, nats_url: str, database_url: str) -> AsyncIterator[Mill]:
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(open_site())
        nc = await nats.connect(nats_url)
        stack.push_async_callback(nc.close)
        await ensure_topology(nc.jetstream())
        engine = open_engine(database_url)
        stack.push_async_callback(engine.dispose)
        mill = Mill(tmp_path, site, Portal(site), nc, engine, Addresses(nats_url, database_url))
        yield mill
        mill.stop.set()
        async with asyncio.timeout(30):
            await asyncio.gather(*mill.running)
