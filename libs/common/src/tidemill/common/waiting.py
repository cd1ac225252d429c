"""How loops wait that look again and again, so that a process at rest wakes seldom."""

import asyncio
import math
from contextlib import suppress


def on_the_beat(seconds: float) -> float:
    """About so long from now, a quarter longer at most: to a multiple of the nearest power of two, on the clock of the
    machine. So what looks every 16 seconds wakes together with what looks every 2, in all processes, and they sleep in
    one piece between. After a rest memory is cold, and the first that wakes pays for all."""
    if seconds < 1:
        return seconds
    now, beat = asyncio.get_running_loop().time(), 2.0 ** math.floor(math.log2(1.2 * seconds))
    return math.floor((now + 1.25 * seconds) / beat) * beat - now


async def woken(event: asyncio.Event, within: float) -> bool:
    """Whether it is set within these seconds. Unlike `wait_for` it makes no task for that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            return await event.wait()
    return False
