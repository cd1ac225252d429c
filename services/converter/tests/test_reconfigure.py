"""Source files that change while the converter works: what is at work keeps its route, the next takes the new one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nats
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.config import Sources, load_config
from tidemill.common.config.sources import Convert, SourceFile
from tidemill.common.database import open_engine
from tidemill.common.events import DocumentStored
from tidemill.common.migrations import migrate
from tidemill.common.servers import Addresses
from tidemill.common.service import Context, Service, Wiring
from tidemill.common.telemetry.metrics import value
from tidemill.converter.main import SPEC

pytestmark = pytest.mark.servers

OBEDIENT = {"with": "obedient"}
JSON = {"with": "json", "options": {"key": "id"}}


@dataclass
class Mill:
    """A converter service at work, its wiring, and what became of documents."""

    nats_url: str
    engine: AsyncEngine
    archive: Archive
    wiring: list[Wiring] = field(default_factory=list)

    async def reconfigure(self, convert: dict[str, Any]) -> None:
        assert self.wiring[-1].reconfigure
        await self.wiring[-1].reconfigure(sources(convert))

    async def store(self, content: str) -> str:
        async def chunks() -> AsyncIterator[bytes]:
            yield content.encode()

        stored = await self.archive.put(chunks())
        event = DocumentStored(
            source="demo", sha256=stored.sha256, name="demo", run="run-1", item="demo", received_at=datetime.now(UTC)
        )
        client = await nats.connect(self.nats_url)
        await client.jetstream().publish(event.subject_filled(), event.to_json())
        await client.close()
        return stored.sha256

    async def converted(self, sha256: str) -> tuple[str, str]:
        """Outcome and converter."""
        query = text("SELECT outcome, converter FROM converter.documents WHERE sha256 = :sha AND state = 'finished'")
        async with asyncio.timeout(30):
            while True:
                async with self.engine.connect() as connection:
                    row = (await connection.execute(query, {"sha": sha256})).first()
                if row:
                    return row.outcome, row.converter
                await asyncio.sleep(0.05)


async def has_consumers(url: str) -> bool:
    client = await nats.connect(url)
    try:
        return bool(await client.jetstream().consumers_info("DOCUMENTS"))
    except nats.js.errors.NotFoundError:
        return False
    finally:
        await client.close()


def sources(convert: dict[str, Any]) -> Sources:
    return Sources({"demo": SourceFile(source="demo", convert=Convert.model_validate(convert))})


@pytest.fixture
async def start(
    tmp_path: Path, nats_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[..., Any]]:
    plugin = Path(__file__).parent / "plugin"
    monkeypatch.syspath_prepend(plugin)
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    await migrate(database_url, [SPEC])
    engine = open_engine(database_url)
    stop = asyncio.Event()
    running: list[asyncio.Task[None]] = []
    archive = Archive.open(f"file://{tmp_path}/data/archive")
    mill = Mill(nats_url, engine, archive)

    @asynccontextmanager
    async def opened(context: Context) -> AsyncIterator[Wiring]:
        async with SPEC.open(context) as wiring:
            mill.wiring.append(wiring)
            yield wiring

    async def begin(convert: dict[str, Any]) -> Mill:
        config = load_config(
            tmp_path, services={"converter": SPEC.settings}, cli={"converter.workers": "2"}, environ={}
        )
        service = Service(replace(SPEC, open=opened), config, sources(convert), Addresses(nats_url, database_url))
        running.append(asyncio.create_task(service.run(stop)))
        async with asyncio.timeout(30):
            while not (service.health.started and await has_consumers(nats_url)):
                await asyncio.sleep(0.02)
        return mill

    yield begin
    stop.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*running)
    await archive.close()
    await engine.dispose()


async def test_a_document_at_work_keeps_its_route_and_the_next_takes_the_new_one(start: Callable[..., Any]) -> None:
    mill: Mill = await start(OBEDIENT)
    walking = await mill.store("walk")
    async with asyncio.timeout(20):
        while not value("tidemill_workers_busy", service="converter"):
            await asyncio.sleep(0.02)
    await mill.reconfigure(JSON)
    after = await mill.store('[{"id": 5}]')
    assert await mill.converted(after) == ("converted", "json")
    assert await mill.converted(walking) == ("converted", "obedient")


async def test_a_source_that_cannot_be_converted_here_is_told_and_mended(start: Callable[..., Any]) -> None:
    mill: Mill = await start({"with": "docx"})
    complaints = mill.wiring[-1].complaints
    assert complaints()["demo"].startswith("converter 'docx' is not installed; installed: ")
    await mill.reconfigure(JSON)
    assert complaints() == {}
    assert await mill.converted(await mill.store('[{"id": 5}]')) == ("converted", "json")
