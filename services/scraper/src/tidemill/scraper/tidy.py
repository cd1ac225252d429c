"""Removes what nobody needs any more, and counts what there is."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.telemetry.metrics import PAGES_WAITING, TARGETS, Metrics
from tidemill.scraper import store

EVERY = 3600.0
COUNT_EVERY = 60.0


class Tidy:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def run(self) -> None:
        """Every hour, until cancelled."""
        while True:
            await store.remove_old(self._engine)
            await asyncio.sleep(EVERY)


class Census:
    """Of what is followed, and of what waits."""

    def __init__(self, engine: AsyncEngine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._states: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.count()
            await asyncio.sleep(COUNT_EVERY)

    async def count(self) -> None:
        counts = {(source, state): count for source, state, count in await store.count_targets(self._engine)}
        self._states |= counts.keys()
        for source, state in self._states:
            self._metrics.of(TARGETS, source=source, state=state).set(counts.get((source, state), 0))
        self._metrics.of(PAGES_WAITING).set(await store.count_waiting(self._engine))
