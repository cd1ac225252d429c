"""All values of one round."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import nats.errors
import nats.js.errors
from nats.js import api
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.alerter.measures import machine
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.measures.queries import Asked
from tidemill.alerter.measures.queues import Before, Held, Progress, held
from tidemill.alerter.measures.shown import GAUGES
from tidemill.alerter.measures.slots import Expectations
from tidemill.common.bus.bus import Bus
from tidemill.common.config import Config, Sources
from tidemill.common.config.sources import SourceFile

NATS_SECONDS = 5.0
QUEUES_EVERY = timedelta(seconds=25)
"""Each stream is asked for its consumers."""


class Gathering:
    """What one replica remembers between rounds."""

    def __init__(
        self,
        bus: Bus,
        engine: AsyncEngine,
        config: Config,
        sources: Sources,
        wanted: frozenset[str],
        now: Callable[[], datetime],
    ) -> None:
        """`wanted`: measures that some rule is about."""
        self._bus = bus
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._data_dir = config.common.data_dir
        self._wanted = wanted
        self.seen: list[Sample] = []
        """Of the last round, rule or not."""
        self.consumers: Mapping[str, Before] = {}
        self.streams: Mapping[str, Held] = {}
        self._now = now
        self._asked = Asked(wanted | GAUGES.keys())
        self._progress = Progress()
        self._expected = Expectations(sources, now())
        self._connected_at = now()
        self._queues: tuple[datetime, list[Sample]] | None = None

    def take(self, sources: Mapping[str, SourceFile]) -> None:
        self._expected.take(sources, self._now())

    async def gather(self) -> list[Sample]:
        now = self._now()
        async with self._reading.connect() as connection:
            found = await self._asked.gather(connection, now)
            found += await self._expected.gather(connection, now, self._bus.control.paused)
        found += await self._of_nats(now)
        found += machine.samples(self._data_dir)
        self.seen = found
        return [sample for sample in found if sample.measure in self._wanted]

    async def _of_nats(self, now: datetime) -> list[Sample]:
        if self._bus.connected and self._queues and now - self._queues[0] < QUEUES_EVERY:
            self._connected_at = now
            return self._queues[1]
        self._queues = None
        if self._bus.connected:
            try:
                consumers = await asyncio.wait_for(self._bus.consumers(), NATS_SECONDS)
            except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
                pass
            else:
                self._connected_at = now
                # A slow answer to this is no loss of NATS: what was seen before stays.
                with suppress(nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError):
                    await asyncio.wait_for(self._look_closer(consumers, now), NATS_SECONDS)
                found = list(self._progress.samples(consumers, now))
                self._queues = now, found
                return found
        self.consumers, self.streams = {}, {}
        lost = (now - self._connected_at).total_seconds()
        why = self._bus.health()["nats"] or "it does not answer"
        return [Sample(measure="nats_lost", value=lost, says=why)] if lost else []

    async def _look_closer(self, consumers: Sequence[api.ConsumerInfo], now: datetime) -> None:
        """Only where something waits is there an oldest one, and a question."""
        before = {}
        for consumer in consumers:
            in_hand = consumer.num_ack_pending or 0
            waiting = (consumer.num_pending or 0) + in_hand
            since = await self._bus.oldest_of(consumer) if waiting else None
            oldest = max(0.0, (now - since).total_seconds()) if since else 0.0
            before[consumer.name] = Before(waiting, in_hand, oldest)
        self.consumers = before
        self.streams = {str(each.config.name): held(each) for each in await self._bus.streams()}
