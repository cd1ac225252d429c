"""Follows the configuration: takes the active version, says what of it can be had here, and goes on with the old one
where it cannot."""

import asyncio
import math
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.activity import to_the_second, woken
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.supervise import describe
from tidemill.common.config import CommonSettings, Config, ConfigError, Sources, load_config, load_sources
from tidemill.common.config.references import UnresolvedReference, fetch_all
from tidemill.common.config.versions import (
    SEEN_EVERY_SECONDS,
    Acknowledgement,
    Version,
    acknowledge,
    active_version,
    find_version,
    give_sign_of_life,
    signs,
    take_leave,
)
from tidemill.common.service.spec import ServiceSpec, Wiring
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import CONFIG_PROBLEM, CONFIG_VERSION, Metrics

LOOK_EVERY_SECONDS = 10.0
"""Also without being told."""
READ_AGAIN_SECONDS = 60.0
LEAVE_SECONDS = 2.0
GREET_SECONDS = 1.0
YOUNG_SECONDS = 10.0
"""So long after its beginning a replica gives a sign of life every second: those that begin at the same time may not
answer yet when they are greeted."""
PROCESS = ("data_dir", "database_url", "health", "log", "nats_url", "redis_required", "runs_in", "sources_dir")
"""Settings that belong to the process: the services in it share them, and they were used before any was opened."""


class Following:
    """What one replica works by. `config` and `sources` are those of the moment."""

    def __init__(self, spec: ServiceSpec, config: Config, sources: Sources) -> None:
        self.config = config
        self.sources = sources
        self.instance = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._spec = spec
        self._given = config
        self._log = get_logger(f"tidemill.{spec.name}")
        self._before: tuple[Config, Sources] | None = None
        """What worked, while it is not known whether the new one does."""
        self._refused: tuple[int, str] | None = None
        """A version that cannot be taken here, and why."""
        self._read_again_at = math.inf
        """When it is read once more: a secret that was missing may be there."""
        self._lost = False
        self._restart: Sequence[str] = ()
        self._said: Acknowledgement | None = None
        self._seen_at = 0.0
        self._greeted = False
        self._metrics = Metrics(spec.name)

    async def adopt(self, engine: AsyncEngine) -> None:
        """Before the service opens: take the active version, if there is one."""
        version = await self._newer(engine)
        if version is not None:
            taken = await self._read(version)
            if taken is not None:
                self.config, self.sources = taken

    def opened(self) -> None:
        """The service works by what it was given."""
        self._before = None

    def go_back(self, failure: Exception) -> bool:
        """The service could not be opened: whether there is an older configuration by which it could."""
        if self._before is None:
            return False
        self._refuse(self.sources.version, f"the service cannot start with it: {describe(failure)}")
        (self.config, self.sources), self._before = self._before, None
        return True

    async def run(self, bus: Bus, engine: AsyncEngine, wiring: Wiring, told: asyncio.Event) -> None:
        """Return when the service has to be opened again, by another `config`."""
        bus.state_fact("instance", self.instance)
        grown_at = asyncio.get_running_loop().time() + YOUNG_SECONDS
        while True:
            told.clear()
            young = asyncio.get_running_loop().time() < grown_at
            try:
                if await self._follow(engine, wiring):
                    return
                await self._answer(bus, engine, wiring, 1.0 if young else SEEN_EVERY_SECONDS)
                if not self._greeted and bus.connected:
                    await self._greet(bus, engine)
                self._lost = False
            except Exception as error:  # noqa: BLE001 - the database may be away in many ways; it is asked again
                if not self._lost:
                    self._log.warning("cannot follow the configuration; trying again", error=describe(error))
                self._lost = True
            await woken(told, to_the_second(1.0 if young else LOOK_EVERY_SECONDS))

    async def leave(self, engine: AsyncEngine) -> None:
        """This replica ends: nobody waits for its acknowledgement any more."""
        if self._said is None:
            return
        with suppress(Exception):
            async with asyncio.timeout(LEAVE_SECONDS), engine.begin() as connection:
                await take_leave(connection, self._spec.name, self.instance)

    async def _follow(self, engine: AsyncEngine, wiring: Wiring) -> bool:
        """Take a newer version; whether that needs the service opened again."""
        version = await self._newer(engine)
        taken = None if version is None else await self._read(version)
        if taken is None:
            return False
        config, sources = taken
        settings = self._changed_settings(config)
        if settings or (wiring.reconfigure is None and dict(sources) != dict(self.sources)):
            self._log.info("opening again by another configuration", version=sources.version, settings=settings)
            self._before = (self.config, self.sources)
            self.config, self.sources = config, sources
            return True
        if wiring.reconfigure is not None:
            try:
                await wiring.reconfigure(sources)
            except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
                self._log.warning("the configuration cannot be taken", version=sources.version, exc_info=error)
                self._refuse(sources.version, describe(error))
                return False
        self.config, self.sources = config, sources
        self._log.info("configuration taken", version=sources.version)
        return False

    async def _newer(self, engine: AsyncEngine) -> Version | None:
        """The active version, unless it is the one at work or one that was refused here."""
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            number = await active_version(connection)
            refused = self._refused is not None and self._refused[0] == number and not self._may_read_again()
            if number == self.sources.version or refused:
                return None
            return await find_version(connection, number)

    def _may_read_again(self) -> bool:
        return asyncio.get_running_loop().time() >= self._read_again_at

    async def _read(self, version: Version) -> tuple[Config, Sources] | None:
        """As this service reads it; what belongs to the process stays as it is and is noted."""
        try:
            config, sources = await asyncio.to_thread(self._load, version)
        except (ConfigError, UnresolvedReference) as wrong:
            self._refuse(version.version, str(wrong))
            self._read_again_at = asyncio.get_running_loop().time() + READ_AGAIN_SECONDS
            return None
        given = self._given.common
        self._restart = [name for name in PROCESS if getattr(config.common, name) != getattr(given, name)]
        kept = {name: getattr(given, name) for name in PROCESS}
        self._refused = None
        return replace(config, common=config.common.model_copy(update=kept)), sources

    def _load(self, version: Version) -> tuple[Config, Sources]:
        config = load_config(
            self._given.folder,
            services={self._spec.name: self._spec.settings},
            cli=self._given.given,
            environ=self._given.environ,
            content=version.content,
        )
        sources = load_sources(
            self._given.common.sources_dir,
            self._given.common.data_dir,
            content=version.content,
            environment=config.environment,
            version=version.version,
        )
        fetch_all(config.common)  # A secret that is missing is a reason to stay with what works.
        return config, sources

    def _changed_settings(self, config: Config) -> list[str]:
        """Settings of all services, and the sections of this one, that are not what it was opened with."""
        name = self._spec.name
        changed = [
            key
            for key in CommonSettings.model_fields
            if key not in PROCESS and getattr(config.common, key) != getattr(self.config.common, key)
        ]
        return changed + ([name] if config.service(name) != self.config.service(name) else [])

    def _refuse(self, number: int, problem: str) -> None:
        if self._refused != (number, problem):
            self._log.error("stays with the configuration before", refused=number, problem=problem)
        self._refused, self._read_again_at = (number, problem), math.inf

    async def _answer(self, bus: Bus, engine: AsyncEngine, wiring: Wiring, every: float) -> None:
        """Say what this replica makes of the active version, once, and then give signs of life."""
        number, problem = self._refused or (self.sources.version, _sentence(wiring.complaints()))
        said = Acknowledgement(
            self._spec.name, self.instance, number, self.sources.version, problem, tuple(self._restart)
        )
        self._metrics.of(CONFIG_VERSION).set(self.sources.version)
        self._metrics.of(CONFIG_PROBLEM).set(1 if problem else 0)
        bus.state_fact("config_version", str(self.sources.version))
        now = asyncio.get_running_loop().time()
        if said != self._said:
            async with engine.begin() as connection:
                await acknowledge(connection, said)
            if self._restart:
                self._log.warning("settings wait for a restart of the process", settings=self._restart)
        elif now - self._seen_at >= every / 2:
            async with engine.begin() as connection:
                await give_sign_of_life(connection, self._spec.name, self.instance)
        else:
            return
        self._said, self._seen_at = said, now

    async def _greet(self, bus: Bus, engine: AsyncEngine) -> None:
        """Note of the others who answer that they live: for a replica that was silent since before this one began, this
        one was started in its place."""
        async with engine.connect() as connection:
            known = {each.instance for each in await signs(connection) if each.service == self._spec.name}
        missing = known - {self.instance}
        async with aclosing(bus.facts(lambda: GREET_SECONDS if missing else 0)) as told:
            async for facts in told:
                missing.discard(facts.get("instance", ""))
        async with engine.begin() as connection:
            await give_sign_of_life(connection, self._spec.name, *(known - missing))
        self._greeted = True


def _sentence(complaints: Mapping[str, str]) -> str:
    return "; ".join(f"{source}: {why}" for source, why in sorted(complaints.items()))


async def as_applied(config: Config, spec: ServiceSpec, engine: AsyncEngine) -> Config:
    """The settings that the active version has for a process that is about to start; those of its folder where there is
    no version, or it cannot be had."""
    try:
        async with engine.connect() as connection:
            version = await find_version(connection)
        if version is None:
            return config
        return load_config(
            config.folder,
            services={spec.name: spec.settings},
            cli=config.given,
            environ=config.environ,
            content=version.content,
        )
    except Exception as error:  # noqa: BLE001 - the service itself waits for its database, and says so
        get_logger("tidemill").warning("the active configuration cannot be read yet", error=describe(error))
        return config
