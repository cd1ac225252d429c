"""Says, once for each publication window, that it passed without a new file."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import PublicationLate
from tidemill.common.telemetry.metrics import PUBLICATION_LATE, Metrics
from tidemill.downloader import store

log = structlog.get_logger(__name__)

LOOK_EVERY = 20.0


class Lateness:
    """Of all sources that say when their files come."""

    def __init__(
        self, bus: Bus, sources: Callable[[], Mapping[str, SourceFile]], metrics: Metrics, now: Callable[[], datetime]
    ) -> None:
        self._bus = bus
        self._sources = sources
        self._metrics = metrics
        self._now = now

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            for source in self._sources().values():
                if source.download is not None and source.download.window is not None:
                    window = source.download.window.closed_before(self._now())
                    if window is not None:
                        await self._look(source.source, *window)
            await asyncio.sleep(LOOK_EVERY)

    async def _look(self, source: str, opened_at: datetime, closed_at: datetime) -> None:
        async with self._bus.transaction() as tx:
            is_late = not await store.came_since(tx, source, opened_at)
            self._metrics.of(PUBLICATION_LATE, source=source).set(1 if is_late else 0)
            if is_late and await store.note_late(tx, source, opened_at, closed_at):
                log.warning("nothing came in the publication window", source=source, closed_at=closed_at.isoformat())
                late = PublicationLate(source=source, opened_at=opened_at, closed_at=closed_at, noted_at=self._now())
                await self._bus.emit(tx, [Outgoing(f"{source}/late/{opened_at.isoformat()}", late)])
