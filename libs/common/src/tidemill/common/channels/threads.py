"""Threads for libraries that block: a few for each channel, so that one that hangs holds up no other."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")

FOR_EACH = 4


class AllHang(Exception):
    """As many attempts as may be under way have not come back, long after their time."""


class Threads:
    def __init__(self) -> None:
        self._lanes: dict[str, Lane] = {}

    def of(self, name: str) -> "Lane":
        return self._lanes.setdefault(name, Lane(name))


class Lane:
    """Daemon threads: one that never comes back neither keeps the process from ending, nor a place in a pool of
    others."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._hanging = 0

    async def run(self, function: Callable[[], T]) -> T:
        """Raises AllHang, and what the function raises."""
        if self._hanging >= FOR_EACH:
            raise AllHang(f"{self._hanging} attempts through {self._name} have not come back")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._hanging += 1

        def work() -> None:
            result: Future[T] = Future()
            try:
                result.set_result(function())
            except BaseException as error:  # noqa: BLE001 It is raised where it is waited for.
                result.set_exception(error)
            self._tell(loop, done, result)

        threading.Thread(target=work, name=f"channel {self._name}", daemon=True).start()
        return await done

    def _tell(self, loop: asyncio.AbstractEventLoop, waiting: "asyncio.Future[T]", result: Future[T]) -> None:
        def back() -> None:
            self._hanging -= 1
            if waiting.cancelled():
                return
            error = result.exception()
            if error is None:
                waiting.set_result(result.result())
            else:
                waiting.set_exception(error)

        with suppress(RuntimeError):  # The loop has ended: nobody waits.
            loop.call_soon_threadsafe(back)
