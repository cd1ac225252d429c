"""The servers of one machine: started under the data folder, and started again whenever they end."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from tidemill.common.bus.activity import to_the_second
from tidemill.common.config import CommonSettings
from tidemill.common.servers import (
    Addresses,
    ChildServer,
    FolderLock,
    NatsServer,
    PostgresServer,
    ServerFailed,
    free_port,
)
from tidemill.common.servers.addresses import FILE
from tidemill.common.servers.child import nearest, port_is_free, remembered
from tidemill.common.servers.nats import WELL_KNOWN_PORT

LOOK_SECONDS = 0.5
DISK_SECONDS = 1.0
PAUSES = (0.0, 0.5, 2.0, 5.0, 10.0)
"""Before a server that ended again is started again; the last one repeats."""
STEADY_SECONDS = 30.0
"""After so long a server counts as well, and its next end as the first."""

DISK_WANTED_BYTES = 2_000_000_000
"""With less, keep an eye on it."""
DISK_LEAST_BYTES = 200_000_000
"""With less, the work stops soon."""
DISK_FULL_BYTES = 32_000_000
"""With less, writes fail: of the archive at once, of the servers by and by."""


def disk_free(folder: Path) -> int:
    """Bytes that are free where a folder is, or would be made."""
    return shutil.disk_usage(nearest(folder.absolute())).free


def in_words(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


class Machine:
    """Holds the lock of the data folder: a second `tidemill up` there raises FolderInUse."""

    def __init__(self, settings: CommonSettings, say: Callable[[str], None]) -> None:
        self.folder = settings.data_dir / FILE.parent
        self.log = self.folder / "tidemill.log"
        self._settings = settings
        self._say = say
        self._lock = FolderLock(self.folder)
        self.nats = None if settings.nats_url else NatsServer(settings.data_dir / "nats", prefer=WELL_KNOWN_PORT)
        self.postgres = None if settings.database_url else PostgresServer(settings.data_dir / "postgres")
        self._children: list[ChildServer] = [child for child in (self.nats, self.postgres) if child]
        self._keepers: list[asyncio.Task[None]] = []

    def take(self) -> None:
        self._lock.take()

    def add(self, child: ChildServer) -> None:
        """Another server that runs as long as we do."""
        self._children.append(child)

    @property
    def others(self) -> list[ChildServer]:
        """Those that were added."""
        return [child for child in self._children if child not in (self.nats, self.postgres)]

    async def start(self) -> Addresses:
        """Raises ServerFailed, mostly with the end of the server's log."""
        if self.postgres and not self.postgres.data.exists():
            self._expect_room()
        await asyncio.gather(*(start(child) for child in self._children))
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        self._keepers.append(asyncio.create_task(self._watch_disk()))
        return Addresses(
            nats_url=self._settings.nats_url or (self.nats.url if self.nats else ""),
            database_url=self._settings.database_url or (self.postgres.url if self.postgres else ""),
        )

    def _expect_room(self) -> None:
        folder = self._settings.data_dir
        if (free := disk_free(folder)) < DISK_LEAST_BYTES:
            raise ServerFailed(
                f"only {in_words(free)} are free at {folder}, and a new data folder needs "
                f"{in_words(DISK_LEAST_BYTES)}: free some, or choose another place: `tidemill up --data DIR`"
            )

    def health_port(self) -> int:
        """The one that is set, else the one used last, else a free one."""
        if self._settings.health.port:
            return self._settings.health.port
        note = self.folder / "health.port"
        last = remembered(note)
        port = last if last and port_is_free(last) else free_port()
        note.write_text(str(port))
        return port

    async def stop(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        Addresses.forget(self._settings.data_dir)
        await asyncio.gather(*(asyncio.to_thread(child.stop) for child in self._children))
        self._lock.release()

    def notes(self) -> list[str]:
        """What a person should know who started it here."""
        notes = []
        if (free := disk_free(self._settings.data_dir)) < DISK_WANTED_BYTES:
            notes.append(f"Only {in_words(free)} are free at {self._settings.data_dir}: see that it does not fill up.")
        if self.postgres and self.postgres.opened:
            opened = ", ".join(map(str, self.postgres.opened))
            notes.append(
                f"Other users may pass through (not read) {opened} now: you are root, as which Postgres does not run. "
                "Start as another user to avoid that."
            )
        return notes

    async def _watch_disk(self) -> None:
        folder = self._settings.data_dir
        low = full = False
        while True:
            free = disk_free(folder)
            if free < DISK_FULL_BYTES and not full:
                self._say(f"The disk is full: {in_words(free)} are free at {folder}. Free some: nothing is taken now.")
                low = full = True
            elif free < DISK_LEAST_BYTES and not low:
                self._say(f"The disk is nearly full: {in_words(free)} are free at {folder}. Free some soon.")
                low = True
            elif full and free > 2 * DISK_FULL_BYTES:
                self._say(f"There is room on the disk again: {in_words(free)} are free at {folder}.")
                full = False
                if self.nats:  # A stream whose write failed takes nothing more, until its server starts anew.
                    self.nats.ask_to_end()
            elif low and free > 2 * DISK_LEAST_BYTES:
                low = False
            await asyncio.sleep(to_the_second(DISK_SECONDS))

    async def _keep(self, child: ChildServer) -> None:
        failures, steady_since = 0, time.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if child.alive():
                continue
            failures = 0 if time.monotonic() - steady_since > STEADY_SECONDS else failures + 1
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            try:
                await start(child)
            except ServerFailed as failure:
                self._say(str(failure))
            else:
                self._say(f"{child.name} had ended; it runs again (process {child.pid})")
            steady_since = time.monotonic()


async def start(child: ChildServer) -> None:
    """The slow parts in a thread; the child itself from this one, with which it ends."""
    await asyncio.to_thread(child.prepare)
    child.spawn()
    await asyncio.to_thread(child.wait)
