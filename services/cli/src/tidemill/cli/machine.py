"""The servers of one machine: started under the data folder, and started again whenever they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

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
from tidemill.common.servers.child import port_is_free, remembered
from tidemill.common.servers.nats import WELL_KNOWN_PORT

LOOK_SECONDS = 0.2
PAUSES = (0.0, 0.5, 2.0, 5.0, 10.0)
"""Before a server that ended again is started again; the last one repeats."""
STEADY_SECONDS = 30.0
"""After so long a server counts as well, and its next end as the first."""


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

    async def start(self) -> Addresses:
        """Raises ServerFailed with the end of the server's log."""
        await asyncio.gather(*(start(child) for child in self._children))
        self._keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        return Addresses(
            nats_url=self._settings.nats_url or (self.nats.url if self.nats else ""),
            database_url=self._settings.database_url or (self.postgres.url if self.postgres else ""),
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
