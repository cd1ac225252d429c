"""Asks for messages: never for more than the free slots, the first lane first, the last never out of reach."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import structlog

from tidemill.common.bus.connection import Connection
from tidemill.common.bus.message import Fetched
from tidemill.common.bus.pull import Pull
from tidemill.common.bus.step import Step
from tidemill.common.bus.topology import durables, ensure_consumers

log = structlog.get_logger(__name__)

LINGER = 15.0
LINGER_IN_LANE = 2.0
"""Shorter with lanes: a slot that waits in one lane is out of reach for the others."""
FAIR_SHARE = 8
"""With fewer slots than lanes, in every so manieth round the lowest lane is asked first."""
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0


class Fetcher:
    def __init__(self, step: Step[Any, Any], connection: Connection, take: Callable[[Fetched], None]) -> None:
        self._step = step
        self._connection = connection
        self._take_on = take
        self.changed = asyncio.Event()
        """Set when there may be something to ask for."""
        self._pulls = [
            Pull(connection, step.event.stream, durable, lane, take=self._take, ended=self.changed.set)
            for durable, lane in durables(step).items()
        ]
        self._busy: Counter[str | None] = Counter()
        self._round = 0
        self._repair_pause = FIRST_PAUSE
        self.problem: str | None = None

    @property
    def busy(self) -> int:
        """Slots that are occupied, each by one message."""
        return self._busy.total()

    def free(self, message: Fetched) -> None:
        self._busy[message.lane] -= 1
        self.changed.set()

    async def ask(self) -> None:
        """One round: whatever slots are free, offer them to the server."""
        for pull in self._pulls:
            await pull.refresh()
        if any(pull.missing for pull in self._pulls):
            await self._repair()
            return
        self.problem = None
        if self._unclaimed() <= 0:
            return
        self._round += 1
        if len(self._pulls) == 1:
            await self._offer(self._pulls[0], self._unclaimed(), LINGER)
            return
        # First what is there already, in the order of the lanes; then wait in every lane for what may come.
        for pull in self._in_order():
            await self._offer(pull, self._share(pull), 0)
        for pull in self._in_order():
            await self._offer(pull, min(1, self._share(pull)), LINGER_IN_LANE)

    async def withdraw(self) -> None:
        """Ask for nothing more; what the server has sent already still arrives."""
        for pull in self._pulls:
            await pull.withdraw()

    async def _offer(self, pull: Pull, slots: int, linger: float) -> None:
        if slots > 0 and not pull.outstanding and not pull.missing:
            await pull.request(slots, linger)

    def _take(self, message: Fetched) -> None:
        self._busy[message.lane] += 1
        self._repair_pause = FIRST_PAUSE
        self.changed.set()
        self._take_on(message)

    def _unclaimed(self) -> int:
        return self._step.slots - self.busy - sum(pull.outstanding for pull in self._pulls)

    def _share(self, pull: Pull) -> int:
        """What this lane may have: all that is unclaimed, but one for each lower lane that has none."""
        if self._step.slots < len(self._pulls):
            return self._unclaimed()
        lower = self._pulls[self._pulls.index(pull) + 1 :]
        return self._unclaimed() - sum(not each.outstanding and self._busy[each.lane] <= 0 for each in lower)

    def _in_order(self) -> list[Pull]:
        if self._step.slots < len(self._pulls) and self._round % FAIR_SHARE == 0:
            return self._pulls[::-1]
        return self._pulls

    async def _repair(self) -> None:
        """A consumer, or its whole stream, is gone. Made again it starts from the first message: the inbox knows what
        is done. Pauses grow until a message comes."""
        names = ", ".join(pull.durable for pull in self._pulls if pull.missing)
        self.problem = f"{self._step.event.stream} has no consumer {names}"
        log.warning("a consumer is missing; making it again", stream=self._step.event.stream, consumer=names)
        await ensure_consumers(self._connection.js, self._step)
        for pull in self._pulls:
            pull.missing = False
        self.changed.set()
        await asyncio.sleep(self._repair_pause)
        self._repair_pause = min(self._repair_pause * 2, LONGEST_PAUSE)
