"""Records files in groups: one transaction for all that became ready at about the same time."""

import asyncio
from collections.abc import Sequence

import structlog

from tidemill.common.bus.bus import Bus
from tidemill.common.bus.step import Outgoing
from tidemill.common.events import RunPlanned
from tidemill.common.telemetry.logs import on_behalf_of
from tidemill.common.telemetry.metrics import DUPLICATES_SUPPRESSED, Metrics
from tidemill.watcher import store

log = structlog.get_logger()

GROUP = 64


class Recorder:
    """One loop that commits; callers wait for the outcome of their file."""

    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._waiting: asyncio.Queue[tuple[store.Taken, asyncio.Future[store.Outcome]]] = asyncio.Queue()

    async def record(self, taken: store.Taken) -> store.Outcome:
        """What became of the file, after commit. Raises what the database raises."""
        answer: asyncio.Future[store.Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.put_nowait((taken, answer))
        return await answer

    async def run(self) -> None:
        while True:
            group = [await self._waiting.get()]
            while len(group) < GROUP and not self._waiting.empty():
                group.append(self._waiting.get_nowait())
            await self._commit(group)

    async def _commit(self, group: Sequence[tuple[store.Taken, asyncio.Future[store.Outcome]]]) -> None:
        try:
            async with self._bus.transaction() as tx:
                recorded = await store.record_taken(tx, [taken for taken, _ in group])
                await self._bus.emit(tx, recorded.events)
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait must hear of it
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
            return
        tell(recorded.events)
        for taken, answer in group:
            outcome = recorded.outcomes[taken.source, taken.path]
            if outcome == "known":
                self._metrics.of(DUPLICATES_SUPPRESSED, layer="table").inc()
            if not answer.done():
                answer.set_result(outcome)


def tell(events: Sequence[Outgoing]) -> None:
    """To the log: whoever looks for a run by its id finds where it came from."""
    for one in events:
        if isinstance(one.event, RunPlanned):
            with on_behalf_of(one.traceparent, run=one.event.run, source=one.event.source):
                log.info("file taken", path=one.event.items[0])
