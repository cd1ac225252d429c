"""Takes up jobs that were handed out, and keeps them while they are at work: several of them with one statement."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.scraper import store
from tidemill.scraper.outcomes import Claimed

MOMENT = 0.004
"""Seconds. A page takes longer; a statement for each would take a connection for each."""

SIGN_EVERY = store.LEASE / 6
"""How often is said of work that it is still going on."""


class Claims:
    """Of one process."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._waiting: dict[store.Handed, asyncio.Future[Claimed | None]] = {}
        self._taking: set[asyncio.Task[None]] = set()
        self._held: set[store.Handed] = set()

    async def claim(self, run: str, item: str, handed: int) -> Claimed | None:
        """Take up a job that was handed out for the so-manieth time; None when it is done, or was handed out again."""
        key = store.Handed(run, item, handed)
        if key not in self._waiting:
            if not self._waiting:
                task = asyncio.create_task(self._take())
                self._taking.add(task)
                task.add_done_callback(self._taking.discard)
            self._waiting[key] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._waiting[key])

    @contextmanager
    def held(self, run: str, item: str, handed: int) -> Iterator[None]:
        """Nobody else takes the job up meanwhile."""
        job = store.Handed(run, item, handed)
        self._held.add(job)
        try:
            yield
        finally:
            self._held.discard(job)

    async def keep(self) -> None:
        """Say of all that is held that it is, until cancelled."""
        while True:
            await asyncio.sleep(SIGN_EVERY.total_seconds())
            # While Postgres is away nobody else can take the jobs either.
            with suppress(SQLAlchemyError, OSError):
                await store.keep(self._engine, list(self._held))

    async def _take(self) -> None:
        await asyncio.sleep(MOMENT)
        waiting, self._waiting = self._waiting, {}
        try:
            claimed = await store.claim(self._engine, list(waiting))
        except Exception as error:  # noqa: BLE001 whoever waits raises it
            for future in waiting.values():
                future.set_exception(error)
                future.exception()  # Nobody may wait any more.
        else:
            for key, future in waiting.items():
                future.set_result(claimed.get(key))
