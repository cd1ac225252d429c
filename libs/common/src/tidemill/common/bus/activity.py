"""Whether a service has anything to do: while it has not, its loops look less often."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

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
        await woken(self._stirred, to_the_second(idle))


def to_the_second(seconds: float) -> float:
    """About so long from now, to a whole second of the loop's clock: what need not be punctual wakes up together, and
    a process at rest sleeps in one piece."""
    now = asyncio.get_running_loop().time()
    return seconds if seconds < 1 else round(now + seconds) - now


async def woken(event: asyncio.Event, within: float) -> bool:
    """Whether it is set within these seconds. Unlike `wait_for` it makes no task for that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            return await event.wait()
    return False
