"""Addresses that the reference data do not know, asked of an HTTP geocoder: seldom, once each, and only if allowed.

A question stands in the row that it would make better. One replica asks at a time; what was answered is kept, whatever
becomes of the rows, and who asked it is made anew with the answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.common.http import FetchFailure, Held, PoliteClient, Sizes, open_limits
from tidemill.common.service import Context
from tidemill.common.service.spec import Task
from tidemill.common.telemetry.logs import get_logger
from tidemill.converter.enriched import make_stale
from tidemill.converter.settings import GeocoderSettings
from tidemill.converter.tables import enriched, geocoded

log = get_logger(__name__)

SOURCE = "geocoder"
ANSWER = Sizes(received=1_000_000, decoded=4_000_000)
LOOK_EVERY = 5.0
REASON_LETTERS = 300

LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('tidemill.geocoder', 0))")
UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended('tidemill.geocoder', 0))")


@dataclass(frozen=True, slots=True)
class Found:
    """What an answer says; without coordinates: no such place."""

    latitude: float | None = None
    longitude: float | None = None
    precision: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Geocoder:
    """The loop that asks."""

    engine: AsyncEngine
    client: PoliteClient
    settings: GeocoderSettings
    allowed: Callable[[], Awaitable[None]]
    now: Callable[[], datetime]
    again_seconds: float = 60.0
    """Pause after it did not answer."""

    async def run(self) -> None:
        while True:
            await self.allowed()
            async with self.engine.connect() as connection:
                # Held by the session: only one replica asks, from one question to the next.
                mine = await connection.scalar(LOCK)
                await connection.commit()
                try:
                    while mine and await self.ask_one():
                        await self.allowed()
                finally:
                    await _release(connection, mine=bool(mine))
            await asyncio.sleep(LOOK_EVERY)

    async def ask_one(self) -> bool:
        """Whether there was a question, and an answer to keep."""
        async with self.engine.connect() as connection:
            if await self._spent(connection):
                return False
            question = await _find_question(connection)
        if question is None:
            return False
        try:
            found = await self._ask(question)
        except Held as held:
            log.warning("the geocoder is not asked now", reason=held.detail)
            await asyncio.sleep(self.again_seconds)
            return False
        async with self.engine.begin() as tx:
            await self._keep(tx, question, found)
        return True

    async def _spent(self, connection: AsyncConnection) -> bool:
        today = self.now().replace(hour=0, minute=0, second=0, microsecond=0)
        query = select(func.count()).select_from(geocoded).where(geocoded.c.asked_at >= today)
        return int(await connection.scalar(query) or 0) >= self.settings.a_day

    async def _ask(self, question: str) -> Found:
        """Raises Held, also for what may be better later."""
        assert self.settings.url is not None
        url = self.settings.url.replace("{address}", quote(question, safe=""))
        # Beside the table's count, which is of answers, the budget is of requests.
        politeness = self.settings.politeness.model_copy(update={"daily_budget": self.settings.a_day})
        try:
            async with self.client.open(url, source=SOURCE, politeness=politeness, sizes=ANSWER) as answer:
                return read_answer(await answer.read(), self.settings)
        except FetchFailure as failure:
            if failure.retry:
                raise Held(SOURCE, failure.slug, str(failure)) from failure
            return Found(reason=f"{failure.slug}: {failure}"[:REASON_LETTERS])

    async def _keep(self, tx: Tx, question: str, found: Found) -> None:
        row = {
            "question": question,
            "latitude": found.latitude,
            "longitude": found.longitude,
            "precision": found.precision,
            "reason": found.reason,
            "attribution": self.settings.attribution,
            "asked_at": self.now(),
        }
        await tx.execute(insert(geocoded).values(row).on_conflict_do_nothing())
        await make_stale(tx, question)


@asynccontextmanager
async def open_geocoder(context: Context, settings: GeocoderSettings) -> AsyncIterator[tuple[Task, ...]]:
    """The task that asks; none where none is configured."""
    if settings.url is None:
        yield ()
        return
    common = context.config.common
    limits = open_limits(common.redis_url, context.telemetry.metrics, common.data_dir / "limits")
    try:
        async with PoliteClient(limits, context.cache, context.telemetry.metrics) as client:
            allowed = context.bus.control.wait_until_allowed
            yield (Geocoder(context.engine, client, settings, allowed, lambda: datetime.now(UTC)).run,)
    finally:
        await limits.close()


async def _release(connection: AsyncConnection, *, mine: bool) -> None:
    if mine:
        await connection.scalar(UNLOCK)
        await connection.commit()


async def _find_question(connection: AsyncConnection) -> str | None:
    """One that nobody asked yet."""
    asked = select(geocoded.c.question).where(geocoded.c.question == enriched.c.question).exists()
    query = select(enriched.c.question).where(enriched.c.question.is_not(None), ~asked).limit(1)
    question: str | None = await connection.scalar(query)
    return question


def read_answer(content: bytes, settings: GeocoderSettings) -> Found:
    """By the paths of the settings; what is not there is no such place."""
    try:
        answer = json.loads(content)
        place = tuple(float(_at(answer, path)) for path in (settings.latitude, settings.longitude))
    except (ValueError, TypeError, LookupError, RecursionError):
        return Found(reason="the answer holds no place")
    latitude, longitude = place
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return Found(reason=f"the answer is no place on Earth: {latitude}, {longitude}")
    return Found(latitude, longitude, settings.precision)


def _at(value: Any, path: str) -> Any:
    for step in path.split("."):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


def name_of(settings: GeocoderSettings) -> str:
    """What tells one geocoder, and how it is read, from another; empty where none is asked."""
    if settings.url is None:
        return ""
    return " ".join((settings.url, settings.latitude, settings.longitude, settings.precision))
