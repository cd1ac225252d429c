"""How exactly a test server knows when it was asked: not at all while its process gets no processor."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager


class Awake:
    """What is read now came after `not_before`, by the monotonic clock: nobody is blamed for our own sleep."""

    def __init__(self) -> None:
        self.not_before = time.monotonic()

    async def look(self) -> None:
        latest = self.not_before
        while True:
            await asyncio.sleep(0.005)
            # The last look but one: after a sleep a new connection is accepted before a look, and read after it.
            self.not_before, latest = latest, time.monotonic()


@asynccontextmanager
async def staying_awake(awake: Awake) -> AsyncIterator[None]:
    looking = asyncio.create_task(awake.look())
    try:
        yield
    finally:
        looking.cancel()


def most_in_a_second(moments: Sequence[tuple[float, float]]) -> int:
    """How many came for certain within one second, at most, of requests that came between two moments each."""
    earliest, latest = (sorted(each) for each in zip(*moments, strict=True)) if moments else ([], [])
    most = first = 0
    for last, moment in enumerate(latest):
        while moment - earliest[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
