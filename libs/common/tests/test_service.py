"""A service that runs: what it waits for, what it says meanwhile, and how it ends."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tidemill.common.config import Config, Sources, load_config
from tidemill.common.migrations import migrate
from tidemill.common.servers import Addresses, NatsServer
from tidemill.common.service import (
    Context,
    Service,
    ServiceSpec,
    UnknownService,
    Wiring,
    find_services,
    run,
    run_services,
    service_names,
)
from tidemill.common.testing.mill import SPEC

pytestmark = pytest.mark.servers

Start = Callable[..., Service]


def config_in(folder: Path, **settings: str) -> Config:
    return load_config(folder, services={"mill": SPEC.settings}, cli=settings, environ={})


async def becomes(true: Callable[[], Awaitable[bool]], within: float = 30) -> None:
    async with asyncio.timeout(within):
        while not await true():
            await asyncio.sleep(0.02)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    stop = asyncio.Event()
    running = []

    def begin(addresses: Addresses, spec: ServiceSpec = SPEC) -> Service:
        service = Service(spec, config_in(tmp_path), Sources(), addresses)
        running.append(asyncio.create_task(service.run(stop)))
        return service

    yield begin
    stop.set()
    async with asyncio.timeout(30):
        await asyncio.gather(*running)


async def test_it_waits_for_its_tables_and_says_so(start: Start, nats_url: str, database_url: str) -> None:
    service = start(Addresses(nats_url, database_url))

    async def waits_for_tables_alone() -> bool:
        return await service.health.wrong() == {
            "start": "not finished",
            "migrations": "schema mill is at nothing, not at 0001",
        }

    await becomes(waits_for_tables_alone)
    await migrate(database_url, [SPEC])
    await becomes(lambda: ready(service))


async def ready(service: Service) -> bool:
    return not await service.health.wrong()


async def test_it_waits_for_servers_that_are_away_and_names_them(
    start: Start, tmp_path: Path, database_url: str
) -> None:
    await migrate(database_url, [SPEC])
    with NatsServer(tmp_path / "nats") as server:
        url = server.url
    service = start(Addresses(url, database_url))

    async def nats_is_away() -> bool:
        return "nats" in await service.health.wrong()

    await becomes(nats_is_away)
    with NatsServer(tmp_path / "nats") as server:
        assert server.url == url
        await becomes(lambda: ready(service))
        server.kill()
        await becomes(nats_is_away)
        server.start()
        await becomes(lambda: ready(service))


async def test_a_missing_postgres_is_named_and_nothing_else_fails(start: Start, nats_url: str) -> None:
    service = start(Addresses(nats_url, "postgresql://postgres@127.0.0.1:1/none"))

    async def postgres_is_away() -> bool:
        return "postgres" in await service.health.wrong()

    await becomes(postgres_is_away)
    assert not service.health.started


async def test_a_secret_that_is_missing_is_waited_for_and_named(
    start: Start, tmp_path: Path, nats_url: str, database_url: str
) -> None:
    await migrate(database_url, [SPEC])
    service = start(Addresses(nats_url, f"${{file:{tmp_path}/database}}"))

    async def names_it() -> bool:
        return "/database}: cannot be read" in (await service.health.wrong()).get("start", "")

    await becomes(names_it, within=5)
    (tmp_path / "database").write_text(database_url)
    await becomes(lambda: ready(service))


async def test_one_that_fails_is_started_again_and_says_why_meanwhile(
    start: Start, nats_url: str, database_url: str
) -> None:
    attempts = 0

    @asynccontextmanager
    async def second_time_lucky(context: Context) -> AsyncIterator[Wiring]:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise RuntimeError("no grain")
        yield Wiring()

    await migrate(database_url, [SPEC])
    service = start(Addresses(nats_url, database_url), replace(SPEC, open=second_time_lucky))

    async def has_told_why() -> bool:
        return (await service.health.wrong()).get("start") == "RuntimeError: no grain"

    await becomes(has_told_why)
    await becomes(lambda: ready(service))
    assert attempts == 2


async def test_one_that_does_not_end_in_time_is_cancelled(tmp_path: Path, nats_url: str, database_url: str) -> None:
    ended = asyncio.Event()

    @asynccontextmanager
    async def stubborn(context: Context) -> AsyncIterator[Wiring]:
        try:
            yield Wiring()
            await asyncio.sleep(3600)
        finally:  # On a busy machine the limit is over before it comes to sleep.
            ended.set()

    await migrate(database_url, [SPEC])
    service = Service(
        replace(SPEC, open=stubborn),
        config_in(tmp_path, shutdown_after="100ms"),
        Sources(),
        Addresses(nats_url, database_url),
        grace=timedelta(milliseconds=200),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    await becomes(lambda: ready(service))
    stop.set()
    async with asyncio.timeout(15):
        await running
    assert ended.is_set()


async def test_services_of_one_process_share_a_health_port(
    tmp_path: Path, nats_url: str, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    await migrate(database_url, [SPEC])
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(1, stop.set)
    async with asyncio.timeout(10):
        await run_services(
            [SPEC], config_in(tmp_path), stop, sources=Sources(), addresses=Addresses(nats_url, database_url)
        )
    assert config_in(tmp_path).common.shutdown_after == timedelta(seconds=20)


def test_services_are_found_by_name_and_an_unknown_one_is_answered_with_the_known() -> None:
    assert {"watcher", "converter"} <= set(service_names())
    with pytest.raises(UnknownService, match="watcher"):
        find_services(["no-such"])


def test_a_service_without_servers_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("NATS_URL", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert run(SPEC) == 1
    assert "start `tidemill up`, or set NATS_URL and DATABASE_URL" in capsys.readouterr().err


def test_a_frugal_process_leaves_what_it_has_loaded_alone() -> None:
    # In a process of its own: this one has more to do.
    script = (
        "import gc; from tidemill.common.service import be_frugal; be_frugal();"
        "assert gc.get_freeze_count() > 10_000 and not gc.get_objects(2); assert gc.get_threshold()[0] > 700"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
