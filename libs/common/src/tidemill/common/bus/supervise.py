"""Keeps loops running for ever: one that fails is started again, after a growing pause, and says so to health."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog

from tidemill.common.config.secrets import masked

log = structlog.get_logger(__name__)

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
RECOVERED_AFTER = 2.0
"""A loop that ran so long is well again."""
STEADY_AFTER = 10.0
"""A loop that ran so long starts with the shortest pause when it fails again."""

CANCEL_AGAIN = 0.5
CANCEL_TIMES = 20

ERROR_LENGTH = 2_000

Loop = Callable[[], Awaitable[None]]


class Supervisor:
    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.failures: dict[str, str] = {}
        """Name of a loop to why it is not running at this moment."""

    def start(self, name: str, loop: Loop) -> None:
        self._tasks[name] = asyncio.create_task(self._keep(name, loop), name=name)

    async def stop_all(self) -> None:
        await self.stop(*self._tasks)

    async def stop(self, *names: str) -> None:
        """Cancel these loops, and wait for their end."""
        await cancel([self._tasks.pop(name) for name in names if name in self._tasks])

    async def _keep(self, name: str, loop: Loop) -> None:
        clock = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            started = clock.time()
            recovered = clock.call_later(RECOVERED_AFTER, self.failures.pop, name, None)
            try:
                await loop()
                why = "it ended"
            except asyncio.CancelledError:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                why = "it was cancelled from within"
            except Exception as error:  # noqa: BLE001 Whatever it is, the loop must run again.
                why = describe(error)
            finally:
                recovered.cancel()
            if name not in self.failures:
                log.warning("a loop is started again", loop=name, why=why)
            self.failures[name] = why
            if clock.time() - started > STEADY_AFTER:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End these tasks; one that will not end is left behind, and told of."""
    running = set(tasks)
    for _ in range(CANCEL_TIMES):
        if not running:
            return
        for task in running:
            task.cancel()
        # And again: `wait_for` of Python 3.11 loses a cancellation that comes together with its result.
        _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN)
    for task in running:
        log.error("a task does not end when it is cancelled", task=repr(task))


def describe(error: BaseException) -> str:
    """For people, in a few lines at most, no secrets. Postgres takes no NUL, and SQLAlchemy adds the statement with its
    data."""
    text = masked(str(getattr(error, "orig", None) or error)).replace("\x00", "").strip()
    return f"{type(error).__name__}: {text}"[:ERROR_LENGTH] if text else type(error).__name__
