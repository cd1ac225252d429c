"""Sources that change while the watcher works: those alone begin again, and no file is lost or taken twice."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.config import Sources, load_config
from tidemill.common.config.sources import SourceFile, Watch
from tidemill.common.database import open_engine
from tidemill.common.servers import Addresses
from tidemill.common.service import Context, Service, Wiring
from tidemill.watcher.main import SPEC, open_watcher

pytestmark = pytest.mark.servers


@dataclass
class Shore:
    """A watcher service at work, and its wiring."""

    folder: Path
    engine: AsyncEngine
    wiring: list[Wiring] = field(default_factory=list)

    def source(self, name: str, **watch: Any) -> SourceFile:
        settings: dict[str, Any] = {"stable_for": "100ms", "method": "polling", "poll_every": "100ms", **watch}
        return SourceFile(source=name, watch=Watch(folder=self.folder / name, **settings))

    def sources(self, *sources: SourceFile) -> Sources:
        return Sources({source.source: source for source in sources})

    def drop(self, source: str, name: str, content: str = "") -> None:
        place = self.folder / source
        place.mkdir(exist_ok=True)
        (place / name).write_text(content or f"{source} {name}")

    async def reconfigure(self, *sources: SourceFile) -> None:
        assert self.wiring[0].reconfigure
        await self.wiring[0].reconfigure(self.sources(*sources))

    async def taken(self) -> list[tuple[str, str]]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(text("SELECT source, name FROM watcher.documents ORDER BY 1, 2"))
            return [(row.source, row.name) for row in rows]

    async def until_taken(self, *expected: tuple[str, str]) -> None:
        async with asyncio.timeout(20):
            while await self.taken() != sorted(expected):
                await asyncio.sleep(0.05)


@pytest.fixture
async def start(tmp_path: Path, nats_url: str, database_url: str) -> AsyncIterator[Callable[..., Any]]:
    engine = open_engine(database_url)
    shore = Shore(tmp_path / "shore", engine)
    shore.folder.mkdir()
    stop = asyncio.Event()
    running: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def opened(context: Context) -> AsyncIterator[Wiring]:
        async with open_watcher(context) as wiring:
            shore.wiring.append(wiring)
            yield wiring

    async def begin(*names: str) -> Shore:
        config = load_config(tmp_path, services={"watcher": SPEC.settings}, environ={})
        sources = shore.sources(*(shore.source(name) for name in names))
        service = Service(replace(SPEC, open=opened), config, sources, Addresses(nats_url, database_url))
        running.append(asyncio.create_task(service.run(stop)))
        async with asyncio.timeout(20):
            while await service.health.wrong():
                await asyncio.sleep(0.02)
        return shore

    yield begin
    stop.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*running)
    await engine.dispose()


async def test_a_source_that_is_new_is_watched_and_one_that_is_gone_is_not(start: Callable[..., Any]) -> None:
    shore: Shore = await start("old", "both")
    shore.drop("old", "1.txt")
    shore.drop("both", "1.txt")
    await shore.until_taken(("both", "1.txt"), ("old", "1.txt"))
    await shore.reconfigure(shore.source("both"), shore.source("new"))
    for name in ("old", "both", "new"):
        shore.drop(name, "2.txt")
    await shore.until_taken(("both", "1.txt"), ("both", "2.txt"), ("new", "2.txt"), ("old", "1.txt"))
    await shore.reconfigure(shore.source("both"), shore.source("new"), shore.source("old"))
    await shore.until_taken(("both", "1.txt"), ("both", "2.txt"), ("new", "2.txt"), ("old", "1.txt"), ("old", "2.txt"))


async def test_a_changed_source_works_by_what_it_says_now(start: Callable[..., Any]) -> None:
    shore: Shore = await start("demo")
    shore.drop("demo", "1.txt")
    await shore.until_taken(("demo", "1.txt"))
    await shore.reconfigure(shore.source("demo", include=("*.pdf",)))
    shore.drop("demo", "2.txt")
    shore.drop("demo", "3.pdf")
    await shore.until_taken(("demo", "1.txt"), ("demo", "3.pdf"))
    await shore.reconfigure(shore.source("demo"))
    await shore.until_taken(("demo", "1.txt"), ("demo", "2.txt"), ("demo", "3.pdf"))


async def test_changing_all_the_time_loses_no_file_and_takes_none_twice(start: Callable[..., Any]) -> None:
    shore: Shore = await start("demo")
    for number in range(30):
        shore.drop("demo", f"{number:02}.txt")
        if number % 3 == 0:
            await shore.reconfigure(shore.source("demo", max_size=f"{number + 1}MB"))
    await shore.until_taken(*(("demo", f"{number:02}.txt") for number in range(30)))
    async with shore.engine.connect() as connection:
        stated = await connection.scalar(
            text("SELECT count(DISTINCT event_id) FROM watcher.outbox WHERE subject LIKE '%.stored.%'")
        )
    assert stated == 30
