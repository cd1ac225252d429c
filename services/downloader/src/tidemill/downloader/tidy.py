"""Removes what nobody needs any more: jobs long done, partial files nobody went on with."""

import asyncio

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.downloader import store
from tidemill.downloader.partial import PartialFiles

log = structlog.get_logger(__name__)

EVERY = 3600.0


class Tidy:
    def __init__(self, engine: AsyncEngine, partial_files: PartialFiles) -> None:
        self._engine = engine
        self._partial_files = partial_files

    async def run(self) -> None:
        """Every hour, until cancelled."""
        while True:
            removed = await asyncio.to_thread(self._partial_files.tidy)
            if removed:
                log.info("partial files removed that nobody went on with", files=removed)
            await store.remove_old(self._engine)
            await asyncio.sleep(EVERY)
