"""Whether a service has anything to do: while it has not, its loops look less often."""

import asyncio
from collections.abc import Awaitable, Callable

from tidemill.common.waiting import on_the_beat, woken

Rest = Callable[[float, float], Awaitable[None]]
"""`Activity.rest`, as tasks of a service have it."""

CALM_AFTER = 5.0
"""Seconds without a commit that stated or handled anything."""


class Activity:
    def __init__(self) -> None:
        self._busy_until = 0.0
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Something was committed: whoever rests looks now."""
        self._busy_until = asyncio.get_running_loop().time() + CALM_AFTER
        self._stirred.set()

    async def rest(self, busy: float, idle: float) -> None:
        """Sleep `busy` seconds; in a calm service up to `idle`, until something happens in it. `idle` is how late
        the loop may notice what another process has committed."""
        if asyncio.get_running_loop().time() < self._busy_until:
            await asyncio.sleep(busy)
            return
        self._stirred.clear()
        await woken(self._stirred, on_the_beat(idle))
