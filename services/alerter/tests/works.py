"""Services at work beside an alerter: in this process, with its servers and in its folder, by the clock of the wall."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from tidemill.common.bus.client import CommandFailed
from tidemill.common.config import load_config, load_sources
from tidemill.common.servers import Addresses, NatsServer
from tidemill.common.service import Service, find_services
from tidemill.common.testing.fixtures import Databases, server_folder
from tidemill.common.testing.site import Site, open_site

from .conftest import Station, open_station

PATIENCE_SECONDS = 100.0


@dataclass
class Works:
    station: Station
    addresses: Addresses
    site: Site
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    running: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.station.folder

    def source(self, name: str, *, site: Site | None = None, **says: Any) -> None:
        """Write a source file, which may ask the site."""
        (self.folder / "sources").mkdir(exist_ok=True)
        host = (site or self.site).host
        politeness = {"rate": "500/s", "concurrency": 8, "allow_private": [host], **says.pop("politeness", {})}
        written = {"source": name, "politeness": politeness, **says}
        (self.folder / "sources" / f"{name}.yaml").write_text(yaml.safe_dump(written))

    async def apply(self, settings: str = "") -> None:
        """Offer the folder as the configuration, with these settings or its own, and wait until the scheduler goes by
        it: it is opened again where they changed."""
        files = {f"sources/{file.name}": file.read_text() for file in (self.folder / "sources").glob("*.yaml")}
        files["tidemill.yaml"] = settings or (self.folder / "tidemill.yaml").read_text()
        await self.until_asked("scheduler", "config_apply", files=files, actor="eva")
        query = """
            SELECT 1 FROM config.acknowledgements
            WHERE service = 'scheduler' AND running = (SELECT max(version) FROM config.versions)
        """
        await self.until(lambda: self.station.sql(query))

    async def start(self, *names: str) -> None:
        """These services, ready."""
        specs = find_services(names)
        config = load_config(self.folder, services={spec.name: spec.settings for spec in specs}, environ={})
        sources = load_sources(self.folder / "sources", config.common.data_dir)
        services = [Service(spec, config, sources, self.addresses) for spec in specs]
        self.running += [asyncio.create_task(each.run(self.stop)) for each in services]
        for each in services:
            await self.until(lambda each=each: _ready(each))

    async def ask(self, service: str, verb: str, **parameters: Any) -> dict[str, Any]:
        return await self.station.bus.request(f"tidemill.ctl.{service}.{verb}", parameters)

    async def run(self, source: str) -> None:
        """Have the scheduler begin a run, and wait for its end."""
        answer = await self.until_asked("scheduler", "run", source=source)
        query = "SELECT 1 FROM scheduler.runs WHERE run = :run AND finished_at IS NOT NULL"
        await self.until(lambda: self.station.sql(query, run=answer["run"]))

    async def until_asked(self, service: str, verb: str, **parameters: Any) -> dict[str, Any]:
        """As `ask`, once somebody listens."""
        answers: list[dict[str, Any]] = []

        async def answered() -> bool:
            try:
                answers.append(await self.ask(service, verb, **parameters))
            except CommandFailed as failed:
                if "nobody listens" not in str(failed):
                    raise
            return bool(answers)

        await self.until(answered)
        return answers[0]

    async def fires(self, rule: str, **labels: str) -> str:
        """The summary of the alert with these labels, once it fires."""
        return await self._becomes("firing", rule, labels)

    async def is_over(self, rule: str, **labels: str) -> None:
        """Wait until the alert is resolved."""
        await self._becomes("resolved", rule, labels)

    async def _becomes(self, state: str, rule: str, labels: Mapping[str, str]) -> str:
        found: list[str] = []

        async def looked() -> bool:
            self.station.replica = None  # One that has measured nothing yet.
            self.station.clock.time = datetime.now(UTC)
            await self.station.look(seconds=0)
            found.extend(await self.summaries(rule, state, **labels))
            return bool(found)

        await self.until(looked, pause=0.2)
        return found[0]

    async def summaries(self, rule: str, state: str, **labels: str) -> list[str]:
        rows = await self.station.sql(
            "SELECT summary, labels FROM alerter.alerts WHERE rule = :rule AND state = :state", rule=rule, state=state
        )
        return [row.summary for row in rows if labels.items() <= row.labels.items()]

    async def until(self, condition: Any, pause: float = 0.05) -> None:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not await condition():
            assert asyncio.get_running_loop().time() < deadline, f"not within {PATIENCE_SECONDS} s"
            await asyncio.sleep(pause)


async def _ready(service: Service) -> bool:
    return service.health.started and not await service.health.wrong()


@contextmanager
def database_of_all(databases: Databases) -> Iterator[str]:
    """Its URL."""
    name = databases.create(*find_services())
    try:
        yield databases.url_of(name)
    finally:
        databases.drop(name)


@asynccontextmanager
async def open_works(databases: Databases, settings: str) -> AsyncIterator[Works]:
    """With a NATS and a database of its own; `settings` is its tidemill.yaml."""
    with server_folder() as folder, NatsServer(folder / "nats") as server, database_of_all(databases) as url:
        place = folder / "place"
        place.mkdir()
        async with open_site() as site, open_station(server.url, url, place) as station, station.running():
            station.configure(settings)
            works = Works(station, Addresses(server.url, url), site)
            yield works
            works.stop.set()
            async with asyncio.timeout(30):
                await asyncio.gather(*works.running)
