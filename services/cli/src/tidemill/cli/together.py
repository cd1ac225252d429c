"""All services and their servers in one process, shown to a person."""

import asyncio
import json
import shlex
import shutil
import time
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import TextIOBase
from pathlib import Path
from typing import Any

import nats.errors

from tidemill.cli import sample
from tidemill.cli.asking import SCHEDULER
from tidemill.cli.backups.nightly import Nightly
from tidemill.cli.live import Screen, numbers
from tidemill.cli.machine import Machine
from tidemill.cli.own_folder import OwnFolder
from tidemill.cli.running import program
from tidemill.cli.status import waiting
from tidemill.common.bus.activity import to_the_second
from tidemill.common.bus.client import CommandFailed, open_client
from tidemill.common.bus.supervise import cancel
from tidemill.common.config import Config, Sources, masked
from tidemill.common.migrations import migrate
from tidemill.common.servers import Addresses
from tidemill.common.servers.postgres import binary
from tidemill.common.service import Service, ServiceSpec, archive_url, be_frugal, stop_on_signals
from tidemill.common.telemetry.health import HealthServer
from tidemill.common.telemetry.logs import get_logger

LIVE_SECONDS = 1.0
COUNT_SECONDS = 2.0
COUNT_IDLE_SECONDS = 6.0
"""While nothing waits."""
READY_EVERY_SECONDS = 5.0
"""A check may be a paid request to an object store."""
READY_LOOK_SECONDS = 0.05
LASTING = ("sources",)
"""Checks of what is configured: nobody waits for those."""
PATIENCE_SECONDS = 10.0
"""After so long what is still missing is told."""
LOG_KEPT_BYTES = 20_000_000


class LogFile(TextIOBase):
    """Where the logs go while the terminal is for the person; the one before it is kept beside it. What a full disk
    does not take is lost, and the next line says so."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab", buffering=0)
        self._lost = 0

    def write(self, text: str) -> int:
        try:
            if self._file.tell() > LOG_KEPT_BYTES:
                self._file.close()
                self._path.replace(self._path.with_suffix(".old.log"))
                self._file = self._path.open("ab", buffering=0)
            if self._lost:
                gap = {"level": "warning", "message": f"{self._lost} lines are missing here: they could not be written"}
                self._file.write(f"\n{json.dumps(gap)}\n".encode())
                self._lost = 0
            line = text.encode(errors="backslashreplace")
            if self._file.write(line) < len(line):
                self._lost += 1
        except (OSError, ValueError):  # ValueError: it could not be opened again.
            self._lost += 1
        return len(text)


class Together:
    def __init__(
        self, config: Config, sources: Sources, specs: Sequence[ServiceSpec], machine: Machine, screen: Screen
    ) -> None:
        self._config = config
        self._sources = sources
        self._specs = specs
        self._machine = machine
        self._screen = screen
        self._services: list[Service] = []
        self._stop = asyncio.Event()
        self._queue = 0

    async def run(self, *, demo: bool, begun: float) -> None:
        """Until SIGTERM or Ctrl-C; `begun` is when the person did (`time.monotonic`)."""
        stop_on_signals(self._stop)
        try:
            addresses = await self._machine.start()
            await self._migrate(addresses)
            if not self._stop.is_set():
                be_frugal()
                await self._serve(addresses, demo, begun)
        finally:
            await self._machine.stop()
        self._screen.say("Stopped.")

    async def _migrate(self, addresses: Addresses) -> None:
        told = False
        while not self._stop.is_set():
            try:
                await migrate(addresses.database_url, self._specs)
            except (OSError, TimeoutError) as error:
                if not told:
                    self._screen.say(f"Waiting for Postgres at {masked(addresses.database_url)}: {error}")
                told = True
                await asyncio.sleep(1)
            else:
                return

    async def _serve(self, addresses: Addresses, demo: bool, begun: float) -> None:
        chosen = self._config.common.health.host
        host = "127.0.0.1" if chosen == "auto" else chosen
        async with await HealthServer.open(host, self._machine.health_port()) as health:
            addresses = Addresses(addresses.nats_url, addresses.database_url, health.url)
            self._services = [Service(spec, self._config, self._sources, addresses) for spec in self._specs]
            for service in self._services:
                health.add(service.health)
            addresses.write(self._config.common.data_dir)
            running = [asyncio.create_task(service.run(self._stop)) for service in self._services]
            beside = [asyncio.create_task(self._show(self._tell(addresses, demo, begun)))]
            beside.append(asyncio.create_task(Nightly(self._config, self._screen.say).run()))
            if any(spec.name == SCHEDULER for spec in self._specs):
                folder = OwnFolder(self._config, addresses, self._screen.say)
                beside.append(asyncio.create_task(folder.run()))
            await self._stop.wait()
            await cancel(beside)
            self._screen.end()
            self._screen.say("Stopping; Ctrl-C again ends at once.")
            await asyncio.gather(*running)

    async def _show(self, part: Coroutine[Any, Any, None]) -> None:
        """What goes wrong here is only told: the services work on."""
        try:
            await part
        except Exception:  # noqa: BLE001 - whatever it is, the work matters more than its display
            self._screen.say(f"Not everything is shown here any more; see {self._machine.log}")
            get_logger("tidemill.up").exception("cannot show what happens")

    async def _tell(self, addresses: Addresses, demo: bool, begun: float) -> None:
        lasting = await self._wait_until_ready()
        self._screen.say(self._summary(addresses, time.monotonic() - begun, lasting))
        parts = [self._count(addresses), self._live()]
        if demo:
            parts.append(self._convert_sample(addresses, begun))
        # Not a TaskGroup: that hands on the first cancellation alone, and nats-py loses some.
        await asyncio.gather(*map(self._show, parts))

    async def _wait_until_ready(self) -> list[str]:
        """What is wrong all the same, and stays so."""
        begun = time.monotonic()
        told: dict[str, str] = {}
        while True:
            wrong = await self._wrong()
            lasting = [name for name in wrong if name.endswith(tuple(f": {check}" for check in LASTING))]
            if len(lasting) == len(wrong):
                return [wrong[name] for name in lasting]
            if time.monotonic() - begun > PATIENCE_SECONDS and wrong != told:
                self._screen.say("Still waiting: " + "; ".join(f"{name}: {problem}" for name, problem in wrong.items()))
                told = wrong
            await asyncio.sleep(READY_LOOK_SECONDS)

    async def _wrong(self) -> dict[str, str]:
        return {
            f"{service.spec.name}: {name}": problem
            for service in self._services
            for name, problem in (await service.health.wrong()).items()
        }

    async def _live(self) -> None:
        state, asked_at = "", float("-inf")
        while True:
            now = time.monotonic()
            if now - asked_at >= READY_EVERY_SECONDS:
                wrong, asked_at = await self._wrong(), now
                problems = "; ".join(f"{name}: {problem}" for name, problem in wrong.items())
                state = f"NOT READY {problems}" if problems else "ready"
            line = f"{state} · {numbers(self._queue)}"
            self._screen.show(line[: shutil.get_terminal_size().columns - 1], now)
            await asyncio.sleep(to_the_second(LIVE_SECONDS))

    async def _count(self, addresses: Addresses) -> None:
        """What waits in the streams, over a connection of its own."""
        while True:
            with suppress(CommandFailed, nats.errors.Error, OSError, TimeoutError):
                async with open_client(addresses.nats_url) as client:
                    while client.is_connected:
                        _, consumers = await waiting(client.jetstream())
                        self._queue = sum(each.pending + each.in_hand for each in consumers)
                        await asyncio.sleep(COUNT_SECONDS if self._queue else COUNT_IDLE_SECONDS)
            await asyncio.sleep(COUNT_SECONDS)

    async def _convert_sample(self, addresses: Addresses, begun: float) -> None:
        started_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - begun)
        for document in sample.drop(self._sources):
            outcome, finished_at = await sample.converted(addresses.database_url, document)
            became = f"is {outcome}"
            if finished_at < started_at:
                became = f"is {outcome} since {finished_at:%Y-%m-%d %H:%M} UTC"
            self._screen.say(
                f"\n{document.name} {became}. Look at it, in another terminal here:\n\n{self._commands()}\n"
            )

    def _commands(self) -> str:
        chosen = self._config.origins["data_dir"].kind == "command line"
        data = f" --set {shlex.quote(f'data_dir={self._config.common.data_dir}')}" if chosen else ""
        words = (f"records football.match{data}", f"status{data}", f"demo advance{data}", "--help")
        return "\n".join(f"  {program()} {each}" for each in words)

    def _summary(self, addresses: Addresses, seconds: float, lasting: Sequence[str]) -> str:
        data = self._config.common.data_dir
        inboxes = [
            (f"inbox {name}", f"{source.watch.folder}  ({', '.join(source.watch.include)})")
            for name, source in sorted(self._sources.items())
            if source.watch
        ]
        none = [("sources", f"none: write a source file into {self._config.common.sources_dir}, or use --demo")]
        rows = [
            *(inboxes if self._sources else none),
            *((child.name, child.url) for child in self._machine.others),
            ("archive", archive_url(self._config)),
            ("NATS", masked(addresses.nats_url)),
            ("Postgres", f"{psql()} {shlex.quote(masked(addresses.database_url))}"),
            ("health", f"{addresses.health_url}/readyz"),
            ("metrics", f"{addresses.health_url}/metrics"),
            ("log", str(self._machine.log)),
            ("data", str(data)),
        ]
        lines = "\n".join(f"  {name:<20} {value}" for name, value in rows)
        names = ", ".join(spec.name for spec in self._specs)
        notes = "".join(f"  ! {note}\n" for note in (*lasting, *self._machine.notes()))
        but = ", but not all of it" if lasting else ""
        return (
            f"Tidemill is ready after {seconds:.1f} s{but}: {names}\n\n{lines}\n\n"
            f"{notes}{chr(10) if notes else ''}Ctrl-C ends it.\n"
        )


def psql() -> str:
    """The one on PATH, else the wheel's."""
    return "psql" if shutil.which("psql") else str(binary("psql"))
