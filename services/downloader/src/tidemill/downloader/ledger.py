"""What was asked of each host: counted as it happens, and in the database a second later."""

import asyncio
from datetime import date

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.http import Entry, HostLimits
from tidemill.downloader import store

log = structlog.get_logger(__name__)

WRITE_EVERY = 1.0


class RequestLedger:
    """Of one process. What it counts in its last second may be lost with it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._counts: dict[tuple[str, str, date], store.Requests] = {}

    def note(self, entry: Entry) -> None:
        """One request, or a decision of robots.txt without one."""
        self._add(store.Requests.of(entry))

    async def run(self) -> None:
        """Write until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(WRITE_EVERY)
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """What cannot be written now is kept for the next time."""
        if not self._counts:
            return
        counts, self._counts = self._counts, {}
        try:
            await store.add_requests(self._engine, list(counts.values()))
        except (SQLAlchemyError, OSError) as error:
            log.warning("requests are counted later", error=str(error).partition("\n")[0])
            for count in counts.values():
                self._add(count)

    def _add(self, more: store.Requests) -> None:
        key = (more.source, more.host, more.day)
        known = self._counts.get(key)
        self._counts[key] = more if known is None else known.plus(more)


async def restore_limits(engine: AsyncEngine, limits: HostLimits, since: date) -> None:
    """Budgets spent and patience asked for outlive a restart."""
    for each in await store.find_requests(engine, since):
        await limits.restore(each.host, each.source, each.day.isoformat(), each.requests, each.retry_after_until)
