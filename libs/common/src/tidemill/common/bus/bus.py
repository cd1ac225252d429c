"""The bus of one service: what it consumes, answers and states, kept running until it is told to stop."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self

from sqlalchemy.ext.asyncio import AsyncEngine
from tidemill.common.bus.control import Control
from tidemill.common.bus.step import Command, Outgoing, Step, Tx
from tidemill.common.bus.tables import BusTables
from tidemill.common.telemetry.tracing import Telemetry

Task = Callable[[], Awaitable[None]]

STOP_WITHIN = timedelta(seconds=25)


class Bus:
    control: Control

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, service: str, version: str, engine: AsyncEngine, tables: BusTables, telemetry: Telemetry
    ) -> AsyncIterator[Self]:
        """Begin to connect; returns at once, also while NATS or Postgres are away."""
        raise NotImplementedError
        yield

    async def run(
        self, steps: Sequence[Step[Any, Any]] = (), commands: Sequence[Command] = (), tasks: Sequence[Task] = ()
    ) -> None:
        """Handle events, answer commands and keep tasks running until `stop()`."""
        raise NotImplementedError

    async def stop(self, within: timedelta = STOP_WITHIN) -> None:
        """Take nothing new, finish what is in hand, give back what is not finished in time, publish, acknowledge."""
        raise NotImplementedError

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """For work that no message drives: what is emitted inside is published right after the commit."""
        raise NotImplementedError
        yield

    async def emit(self, tx: Tx, events: Sequence[Outgoing]) -> None:
        """State events in a transaction of `transaction()`."""
        raise NotImplementedError

    async def request(self, subject: str, payload: Mapping[str, Any], timeout: float = 10.0) -> dict[str, Any]:
        """Ask whoever answers on this subject; raises CommandFailed."""
        raise NotImplementedError

    @property
    def connected(self) -> bool:
        raise NotImplementedError

    def health(self) -> Mapping[str, str | None]:
        """Name of each part to what is wrong with it, None when nothing is."""
        raise NotImplementedError
