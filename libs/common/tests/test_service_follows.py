"""A service at work takes other configurations: hot where it can, opened again where it must, stopped by none."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nats
import pytest
from sqlalchemy import insert, text

from tidemill.common.config import Sources, load_config, load_sources
from tidemill.common.config import versions as kept
from tidemill.common.config.content import digest
from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.common.servers import Addresses
from tidemill.common.service import Context, Service, Wiring
from tidemill.common.service.following import as_applied
from tidemill.common.testing.mill import SPEC

pytestmark = pytest.mark.servers

DEMO = "source: demo\ntitle: {}\n"


@dataclass
class Millers:
    """Replicas of a service, and what happens to each."""

    folder: Path
    addresses: Addresses
    opened: list[Context] = field(default_factory=list)
    taken: list[Sources] = field(default_factory=list)
    fails: str = ""
    """The title of `demo` that no replica takes."""
    reconfigures: bool = True
    services: list[Service] = field(default_factory=list)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    running: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self, **settings: str) -> Service:
        config = load_config(
            self.folder, services={"mill": SPEC.settings}, cli=settings, environ={"TIDEMILL_RUNS_IN": "machine"}
        )
        sources = load_sources(config.common.sources_dir, config.common.data_dir)
        service = Service(replace(SPEC, open=self._open), config, sources, self.addresses)
        self.services.append(service)
        self.running.append(asyncio.create_task(service.run(self.stop)))
        return service

    @asynccontextmanager
    async def _open(self, context: Context) -> AsyncIterator[Wiring]:
        if context.settings.broken and context.settings.broken.name == "no-start":
            raise RuntimeError("no grain")
        self.opened.append(context)

        async def reconfigure(sources: Sources) -> None:
            if "demo" in sources and sources["demo"].title == self.fails:
                raise ValueError("cannot be ground")
            self.taken.append(sources)

        def complaints() -> Mapping[str, str]:
            latest = self.taken[-1] if self.taken else context.sources
            return {name: "unknown stone" for name, source in latest.items() if source.title == "strange"}

        yield Wiring(reconfigure=reconfigure if self.reconfigures else None, complaints=complaints)

    async def publish(self, number: int, **files: str) -> None:
        """As the scheduler does it: a row, and then the event."""
        content = {f"{name.replace('__', '/')}.yaml": value for name, value in files.items()}
        await self.sql(
            insert(kept.versions).values(
                version=number, author="me", via="cli", sha256=digest(content), content=content
            )
        )
        client = await nats.connect(self.addresses.nats_url)
        await client.publish("tidemill.config.applied", b"{}")
        await client.close()

    async def acknowledged(self) -> list[tuple[int, int, str, list[str]]]:
        rows = await self.sql(text("SELECT version, running, problem, restart FROM config.acknowledgements"))
        return [tuple(row) for row in rows]

    async def sql(self, statement: Any) -> list[Any]:
        engine = open_engine(self.addresses.database_url)
        try:
            async with engine.begin() as connection:
                found = await connection.execute(statement)
                return list(found.all()) if found.returns_rows else []
        finally:
            await engine.dispose()


@pytest.fixture
async def millers(tmp_path: Path, nats_url: str, database_url: str) -> AsyncIterator[Millers]:
    await migrate(database_url, [SPEC])
    found = Millers(tmp_path, Addresses(nats_url, database_url))
    await found.sql(text("CREATE SCHEMA config"))
    engine = open_engine(database_url)
    async with engine.begin() as connection:
        await connection.run_sync(kept.metadata.create_all)
    await engine.dispose()
    yield found
    found.stop.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*found.running)


async def becomes(true: Callable[[], Any], within: float = 30) -> None:
    async with asyncio.timeout(within):
        while True:
            result = true()
            if await result if asyncio.iscoroutine(result) else result:
                return
            await asyncio.sleep(0.02)


async def test_without_a_version_the_files_of_the_folder_hold(millers: Millers) -> None:
    (millers.folder / "sources").mkdir()
    (millers.folder / "sources/demo.yaml").write_text(DEMO.format("file"))
    millers.start()
    await becomes(lambda: millers.opened)
    assert (millers.opened[0].sources["demo"].title, millers.opened[0].sources.version) == ("file", 0)

    async def acknowledged() -> bool:
        return await millers.acknowledged() == [(0, 0, "", [])]

    await becomes(acknowledged)


async def test_a_replica_without_a_folder_starts_with_the_active_version(millers: Millers) -> None:
    await millers.publish(1, tidemill="mill: {broken: old}\n", sources__demo=DEMO.format("old"))
    await millers.publish(2, tidemill="mill: {broken: new}\n", sources__demo=DEMO.format("new"))
    millers.start()

    async def acknowledged() -> bool:
        return await millers.acknowledged() == [(2, 2, "", [])]

    await becomes(acknowledged)
    (context,) = millers.opened
    assert context.settings.broken == Path("new")
    assert (context.sources["demo"].title, context.sources.version) == ("new", 2)


async def test_what_is_set_for_the_process_is_over_every_version(millers: Millers) -> None:
    await millers.publish(1, tidemill="mill: {broken: version}\n")
    millers.start(**{"mill.broken": "mine"})
    await becomes(lambda: millers.opened)
    assert millers.opened[0].settings.broken == Path("mine")


async def test_all_replicas_take_changed_sources_without_a_pause_and_say_so(millers: Millers) -> None:
    await millers.publish(1, sources__demo=DEMO.format("one"))
    millers.start()
    millers.start()
    await becomes(lambda: len(millers.opened) == 2)
    await millers.publish(2, sources__demo=DEMO.format("two"))

    async def acknowledged() -> bool:
        return await millers.acknowledged() == [(2, 2, "", []), (2, 2, "", [])]

    await becomes(acknowledged)
    assert [(sources["demo"].title, sources.version) for sources in millers.taken] == [("two", 2), ("two", 2)]
    assert len(millers.opened) == 2


async def test_sources_are_taken_by_opening_again_where_there_is_no_other_way(millers: Millers) -> None:
    millers.reconfigures = False
    await millers.publish(1, sources__demo=DEMO.format("one"))
    millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, sources__demo=DEMO.format("two"))
    await becomes(lambda: len(millers.opened) == 2)
    assert millers.opened[1].sources["demo"].title == "two"


async def test_changed_settings_open_the_service_again_and_those_of_others_do_not(millers: Millers) -> None:
    await millers.publish(1, tidemill="mill: {broken: a}\n")
    service = millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, tidemill="mill: {broken: a}\nwatcher: {parallel: 9}\n")
    await becomes(lambda: millers.taken)
    await millers.publish(3, tidemill="mill: {broken: b}\nshutdown_after: 3s\n")
    await becomes(lambda: len(millers.opened) == 2)
    assert millers.opened[1].settings.broken == Path("b")

    async def ready() -> bool:
        return not await service.health.wrong() and await millers.acknowledged() == [(3, 3, "", [])]

    await becomes(ready)


async def test_settings_of_the_process_wait_for_a_restart_and_say_so(millers: Millers) -> None:
    await millers.publish(1)
    millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, tidemill="health: {port: 7777}\ndata_dir: other\n", sources__demo=DEMO.format("two"))

    async def acknowledged() -> bool:
        return await millers.acknowledged() == [(2, 2, "", ["data_dir", "health"])]

    await becomes(acknowledged)
    assert millers.taken[-1]["demo"].title == "two"
    assert len(millers.opened) == 1


async def test_a_version_that_this_replica_cannot_read_leaves_it_at_work(millers: Millers) -> None:
    await millers.publish(1, sources__demo=DEMO.format("one"))
    service = millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, sources__demo="source: demo\nfrom_the_future: 1\n")

    async def refused() -> bool:
        return [row[:2] for row in await millers.acknowledged()] == [(2, 1)]

    await becomes(refused)
    ((_, _, problem, _),) = await millers.acknowledged()
    assert problem.startswith("sources/demo.yaml:2:1: from_the_future: unknown key")
    assert (millers.taken, len(millers.opened)) == ([], 1)
    assert not await service.health.wrong()
    await millers.publish(3, sources__demo=DEMO.format("three"))
    await becomes(lambda: [sources["demo"].title for sources in millers.taken] == ["three"])


async def test_a_version_that_fails_to_be_taken_leaves_it_at_work(millers: Millers) -> None:
    millers.fails = "two"
    await millers.publish(1, sources__demo=DEMO.format("one"))
    millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, sources__demo=DEMO.format("two"))

    async def refused() -> bool:
        return await millers.acknowledged() == [(2, 1, "ValueError: cannot be ground", [])]

    await becomes(refused)


async def test_one_with_which_it_cannot_start_is_left_for_the_one_before(millers: Millers) -> None:
    await millers.publish(1, tidemill="mill: {broken: a}\n")
    millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, tidemill="mill: {broken: no-start}\n")

    async def refused() -> bool:
        rows = await millers.acknowledged()
        return [row[:2] for row in rows] == [(2, 1)] and "RuntimeError: no grain" in rows[0][2]

    await becomes(refused)
    assert [context.settings.broken for context in millers.opened] == [Path("a"), Path("a")]


async def test_a_secret_that_is_missing_here_leaves_it_at_work(millers: Millers) -> None:
    await millers.publish(1)
    millers.start()
    await becomes(lambda: millers.opened)
    await millers.publish(2, tidemill="redis_url: 'redis://:${file:/no/such/file}@host'\n")

    async def refused() -> bool:
        why = "${file:/no/such/file}: cannot be read: No such file or directory"
        return await millers.acknowledged() == [(2, 1, why, [])]

    await becomes(refused)


async def test_a_source_that_cannot_be_worked_on_here_is_acknowledged_with_its_problem(millers: Millers) -> None:
    await millers.publish(1, sources__demo=DEMO.format("strange"))
    millers.start()

    async def told() -> bool:
        return await millers.acknowledged() == [(1, 1, "demo: unknown stone", [])]

    await becomes(told)
    await millers.publish(2, sources__demo=DEMO.format("plain"))

    async def well() -> bool:
        return await millers.acknowledged() == [(2, 2, "", [])]

    await becomes(well)


async def test_nats_service_info_shows_the_version_of_each_instance(millers: Millers) -> None:
    await millers.publish(1)
    service = millers.start()

    async def facts() -> dict[str, str]:
        client = await nats.connect(millers.addresses.nats_url)
        try:
            return dict(json.loads((await client.request("$SRV.INFO.mill", timeout=10)).data)["metadata"])
        except nats.errors.NoRespondersError:
            return {}
        finally:
            await client.close()

    async def shown(number: str) -> bool:
        return (await facts()).get("config_version") == number

    await becomes(lambda: shown("1"))
    assert (await facts())["instance"] == service.instance
    await millers.publish(2)
    await becomes(lambda: shown("2"))


async def test_a_process_starts_with_the_settings_of_the_active_version(millers: Millers) -> None:
    here = load_config(millers.folder, services={"mill": SPEC.settings}, cli={"log.format": "json"}, environ={})
    engine = open_engine(millers.addresses.database_url)
    away = open_engine("postgresql://postgres@127.0.0.1:1/none")
    assert await as_applied(here, SPEC, engine) is here
    await millers.publish(1, tidemill="log: {level: error, format: console}\nhealth: {port: 7777}\n")
    applied = (await as_applied(here, SPEC, engine)).common
    assert (applied.log.level, applied.log.format, applied.health.port) == ("error", "json", 7777)
    assert await as_applied(here, SPEC, away) is here
    await millers.publish(2, tidemill="from_the_future: 1\n")
    assert await as_applied(here, SPEC, engine) is here
    await engine.dispose()
    await away.dispose()


async def test_one_that_ends_takes_its_acknowledgement_with_it(millers: Millers) -> None:
    await millers.publish(1)
    millers.start()
    await becomes(millers.acknowledged)
    millers.stop.set()

    async def gone() -> bool:
        return await millers.acknowledged() == []

    await becomes(gone)
