"""How a service runs: alone, beside replicas, or with all others in one process."""

import asyncio
import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.activity import to_the_second
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.supervise import Supervisor, cancel
from tidemill.common.cache import open_cache
from tidemill.common.config import Config, ConfigError, Sources, load_config, load_sources, parse_assignments
from tidemill.common.config.references import UnresolvedReference
from tidemill.common.database import open_engine
from tidemill.common.events import ConfigApplied
from tidemill.common.retention import Retention, dead_letters_layer
from tidemill.common.revisions import pending
from tidemill.common.servers import Addresses, NothingRuns
from tidemill.common.service.following import Following, as_applied
from tidemill.common.service.spec import Context, ServiceSpec, Task, Wiring
from tidemill.common.surroundings import NoRedis, bind_host, log_format, require_redis, surroundings
from tidemill.common.telemetry.health import Health, HealthServer
from tidemill.common.telemetry.logs import configure_logs, get_logger, log_fields
from tidemill.common.telemetry.tracing import Telemetry

LOOK_AGAIN_SECONDS = 0.5
"""While tables are missing."""
PAUSES = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a service that failed is started again; the last one repeats."""
BUS_PARTS = ("nats", "postgres", "outbox")
"""What of the bus has a check of its own in the readiness answer."""
CANCEL_AGAIN_SECONDS = 2.0
TELL_FIRST_SECONDS = 1.0
"""Connections are there by then."""
TELL_EVERY_SECONDS = 5.0
"""A check may be a paid request to an object store."""
GRACE = timedelta(seconds=5)
"""Beyond `shutdown_after`, for closing connections; then what is left is cancelled."""
GARBAGE_AFTER = 10_000
"""New objects, until the youngest are searched for garbage; most of an event's are gone by themselves long before."""
M_ARENA_MAX = -8
"""Of malloc.h."""
ARENAS = 2


class Service:
    """One service of this process, from its first connection to its last acknowledgement."""

    def __init__(
        self, spec: ServiceSpec, config: Config, sources: Sources, addresses: Addresses, *, grace: timedelta = GRACE
    ) -> None:
        self.spec = spec
        self.health = Health(spec.name, spec.version, {})
        self._following = Following(spec, config, sources)
        self._addresses = addresses
        self._limit = (config.common.shutdown_after + grace).total_seconds()
        self._log = get_logger(f"tidemill.{spec.name}")
        self._postgres_problem: str | None = None
        self._missing: str | None = "not looked at yet"

    @property
    def instance(self) -> str:
        """What this replica is called, in acknowledgements and by `nats service info`."""
        return self._following.instance

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then finish what is in hand, within the limit. A service that fails is started again: only
        what nobody could repair by waiting ends it."""
        with log_fields(service=self.spec.name):
            async with self._beside():
                await self._run_on(stop)
            self._log.info("stopped")

    async def _run_on(self, stop: asyncio.Event) -> None:
        failures = 0
        while not stop.is_set():
            failure = await self._run_once(stop)
            if failure is None or self._following.go_back(failure):
                continue
            pause = PAUSES[min(failures, len(PAUSES) - 1)]
            failures += 1
            self._log.error("service failed and is started again", pause=pause, exc_info=failure)
            self._fail(failure)
            await _until(stop, asyncio.sleep(pause))

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[None]:
        """What the service does whether or not there are servers; it is started again when it fails."""
        supervisor = Supervisor()
        if self.spec.beside is not None:
            supervisor.start("beside", partial(self.spec.beside, self._following.config, self._addresses))
        try:
            yield
        finally:
            await supervisor.stop_all()

    async def _run_once(self, stop: asyncio.Event) -> Exception | None:
        """In a task of its own, so that it can be ended while it waits for a server."""
        serving = asyncio.create_task(self._serve(stop))
        await _until(stop, asyncio.wait([serving]))
        if self.health.started:
            _, late = await asyncio.wait([serving], timeout=self._limit)
            if late:
                self._log.warning("not stopped within the limit; what is left is given back", limit=self._limit)
        await _end(serving)
        (result,) = await asyncio.gather(serving, return_exceptions=True)
        self.health.started = False
        return result if isinstance(result, Exception) else None

    async def _tell(self, bus: Bus) -> None:
        """What keeps this replica from working, to whoever asks on NATS: `tidemill status`, `tidemill upgrade`."""
        bus.state_fact("wrong", json.dumps({"start": "not looked at yet"}))
        await asyncio.sleep(TELL_FIRST_SECONDS)
        while True:
            bus.state_fact("wrong", json.dumps(await self.health.wrong()))
            await asyncio.sleep(to_the_second(TELL_EVERY_SECONDS))

    def _fail(self, failure: Exception) -> None:
        async def why() -> str:
            return f"{type(failure).__name__}: {failure}"

        self.health.checks = {"start": why}

    async def _serve(self, stop: asyncio.Event) -> None:
        """Until `stop`, or until another configuration wants the service opened again."""
        async with AsyncExitStack() as stack:
            engine = open_engine(self._addresses.database_url, application=f"tidemill-{self.spec.name}")
            stack.push_async_callback(engine.dispose)
            bus, wiring, retention = await self._open(stack, engine)
            told = asyncio.Event()
            listening = partial(bus.listen, ConfigApplied.subject, told.set)
            commands = (*wiring.commands, *retention.commands())
            tasks: tuple[Task, ...] = (*wiring.tasks, listening, retention.run)
            telling = asyncio.create_task(self._tell(bus))
            handling = asyncio.create_task(bus.run(wiring.steps, commands, tasks))
            following = asyncio.create_task(self._following.run(bus, engine, wiring, told))
            self._following.opened()
            self.health.started = True
            self._log.info("started", version=self.spec.version, config_version=self._following.sources.version)
            await _until(stop, asyncio.wait([handling, following], return_when=asyncio.FIRST_COMPLETED))
            await cancel([following, telling])
            await bus.stop(self._following.config.common.shutdown_after)
            await handling
            if stop.is_set():
                await self._following.leave(engine)

    async def _open(self, stack: AsyncExitStack, engine: AsyncEngine) -> tuple[Bus, Wiring, Retention]:
        self.health.checks = {"postgres": self._postgres_check, "migrations": self._migrations_check}
        await self._wait_for_tables(engine)
        await self._following.adopt(engine)
        spec, config = self.spec, self._following.config
        telemetry = await stack.enter_async_context(Telemetry.open(spec.name, spec.version, config.common.telemetry))
        archive = Archive.open(archive_url(config), telemetry.metrics)
        stack.push_async_callback(archive.close)
        cache = open_cache(config.common.redis_url, telemetry.metrics)
        stack.push_async_callback(cache.close)
        bus = await stack.enter_async_context(
            Bus.open(
                self._addresses.nats_url,
                service=spec.name,
                version=spec.version,
                engine=engine,
                tables=spec.tables,
                telemetry=telemetry,
                replicas=config.common.stream_replicas,
            )
        )
        self.health.checks = {
            **{name: partial(_bus_part, bus, name) for name in BUS_PARTS},
            "bus": partial(_bus_rest, bus),
            "archive": archive.complaint,
        }
        context = Context(
            config=config,
            settings=config.service(spec.name),
            sources=self._following.sources,
            bus=bus,
            engine=engine,
            database_url=self._addresses.database_url,
            archive=archive,
            cache=cache,
            telemetry=telemetry,
            log=self._log,
        )
        wiring = await stack.enter_async_context(spec.open(context))
        self.health.checks.update(wiring.checks)
        layers = (*wiring.layers, dead_letters_layer(spec.name))
        retention = Retention(spec.name, layers, config.common.retention, engine, bus.control, telemetry.metrics)
        return bus, wiring, retention

    async def _postgres_check(self) -> str | None:
        return self._postgres_problem

    async def _migrations_check(self) -> str | None:
        return self._missing

    async def _wait_for_tables(self, engine: AsyncEngine) -> None:
        """The bus is opened when they are there: it looks for what a killed predecessor left in them."""
        while True:
            told = (self._postgres_problem, self._missing)
            try:
                async with engine.connect() as connection:
                    self._missing = await pending(connection, self.spec)
                self._postgres_problem = None
            except Exception as error:  # noqa: BLE001 - every layer below has errors of its own, and each is the answer
                self._postgres_problem = f"{type(error).__name__}: {error}".partition("\n")[0]
            now = (self._postgres_problem, self._missing)
            if now == (None, None):
                return
            if now != told:
                self._log.warning("waiting for the tables", postgres=now[0], migrations=now[1])
            await asyncio.sleep(LOOK_AGAIN_SECONDS)


def archive_url(config: Config) -> str:
    return str(config.common.archive_url or f"file://{quote(str(config.common.data_dir / 'archive'))}")


async def run_services(
    specs: Sequence[ServiceSpec], config: Config, stop: asyncio.Event, *, sources: Sources, addresses: Addresses
) -> None:
    """Run these services in this process until `stop`, with one health port for all."""
    host = bind_host(config.common, surroundings(config.common)).value
    async with await HealthServer.open(host, config.common.health.port) as server:
        get_logger("tidemill").info("health", url=server.url)
        services = [Service(spec, config, sources, addresses) for spec in specs]
        for service in services:
            server.add(service.health)
        await asyncio.gather(*(service.run(stop) for service in services))


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM, Ctrl-C and a closed terminal ask for an orderly end; a second time gets it at once, which the next start
    repairs."""

    def ask() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # `nohup` means it.
        numbers.remove(signal.SIGHUP)
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, ask)


def be_frugal() -> None:
    """For a process that begins to serve: what it has loaded stays, and is not searched for garbage again and again;
    its threads share their free memory, as only one of them runs at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_AFTER)
    with suppress(AttributeError):  # glibc's alone.
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def run(spec: ServiceSpec, assignments: Sequence[str] = ()) -> int:
    """One service in this process; its exit status. The configuration is that of the working folder."""
    try:
        config = load_config(Path.cwd(), services={spec.name: spec.settings}, cli=parse_assignments(assignments))
        sources = load_sources(config.common.sources_dir, config.common.data_dir)
        addresses = Addresses.find(config.common)
        config = asyncio.run(_as_applied(config, spec, addresses.database_url))
        here = surroundings(config.common)
        require_redis(config.common, here)
    except (ConfigError, NothingRuns, NoRedis) as wrong:
        print(f"tidemill: {wrong}", file=sys.stderr)
        return 1
    configure_logs(config.common.log.model_copy(update={"format": log_format(config.common, here).value}))

    async def serve() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        await run_services([spec], config, stop, sources=sources, addresses=addresses)

    be_frugal()
    asyncio.run(serve())
    return 0


async def _as_applied(config: Config, spec: ServiceSpec, database_url: str) -> Config:
    try:
        engine = open_engine(database_url, pool=1, application=f"tidemill-{spec.name}")
    except UnresolvedReference:
        return config  # The service itself waits for it, and says so.
    try:
        return await as_applied(config, spec, engine)
    finally:
        await engine.dispose()


def main(spec: ServiceSpec) -> None:
    """`python -m tidemill.<service> [KEY=VALUE …]`"""
    sys.exit(run(spec, sys.argv[1:]))


async def _bus_part(bus: Bus, name: str) -> str | None:
    return bus.health().get(name)


async def _bus_rest(bus: Bus) -> str | None:
    """What is wrong with consumers and loops, whose names come and go."""
    rest = {name: why for name, why in bus.health().items() if why and name not in BUS_PARTS}
    return "; ".join(f"{name}: {why}" for name, why in rest.items()) or None


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel it, and again: `wait_for` of Python 3.11 loses a cancellation that comes together with its result."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)


async def _until(stop: asyncio.Event, work: Awaitable[object]) -> None:
    """Wait for either; what is not done is cancelled."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
