"""What became of an event in hand; the group commit records it, then the message is answered."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from opentelemetry.trace import Span

from tidemill.common.bus.inbox import Past
from tidemill.common.bus.message import Fetched
from tidemill.common.bus.step import Delivery, Done
from tidemill.common.telemetry.logs import on_behalf_of
from tidemill.common.telemetry.tracing import traceparent


@dataclass(slots=True)
class Item:
    """An event in hand, from fetched to answered."""

    message: Fetched
    past: Past
    copies: list[Fetched] = field(default_factory=list)
    """The same event in other messages: their stream did not know its id any more. They get the same answer."""
    source: str = ""
    run: str = ""
    delivery: Delivery[Any] | None = None
    span: Span | None = None

    @property
    def id(self) -> str:
        return self.message.id

    def adopt(self, message: Fetched) -> None:
        """The event came again while it is in hand. Of one message only the latest delivery can be answered: there
        may be another server process now."""
        if message.sequence == self.message.sequence:
            self.message = message
        else:
            self.copies = [copy for copy in self.copies if copy.sequence != message.sequence] + [message]

    def lines(self) -> AbstractContextManager[None]:
        """What is logged inside says whose it is: a group's task speaks for many events."""
        begun = traceparent(self.span) if self.span is not None else self.message.traceparent
        return on_behalf_of(begun, run=self.run, source=self.source, event_id=self.id)

    async def ack(self) -> None:
        for message in (self.message, *self.copies):
            await message.ack()

    async def nak(self, delay: float = 0) -> None:
        for message in (self.message, *self.copies):
            await message.nak(delay)

    async def in_progress(self) -> None:
        for message in (self.message, *self.copies):
            await message.in_progress()

    @property
    def attempt(self) -> int:
        """1 for the first: recorded failures of this message, else what a repeat says about those of its event."""
        return self.past.attempts + 1 if self.past.attempts else max(self.message.attempt, 1)


@dataclass(slots=True)
class Outcome:
    item: Item
    settled: asyncio.Future[None] | None = None
    """For who waits until it is committed; an exception when `record` refused it."""

    @property
    def key(self) -> str | None:
        """The inbox row it makes; None while the event is to come again under this id."""
        return self.item.id

    @property
    def weight(self) -> int:
        """How much of a group it fills."""
        return 1


@dataclass(slots=True)
class Recorded(Outcome):
    """A result of `work` for `record`, whole or a part."""

    done: Done[Any, Any] = field(kw_only=True)

    @property
    def key(self) -> str:
        return self.item.id if self.done.last else self.done.id

    @property
    def weight(self) -> int:
        return PART_WEIGHT if self.streamed else 1

    @property
    def streamed(self) -> bool:
        return not self.done.last or self.done.part > 0


PART_WEIGHT = 64
"""A part of a long stream is a batch of work already: it is not kept waiting for company."""


@dataclass(slots=True)
class Finished(Outcome):
    """Nothing to record: the run was cancelled, or streamed work had no part left."""

    why: str = field(kw_only=True)


@dataclass(slots=True)
class Again(Outcome):
    """To be tried again: soon by the message itself, later (or when its source may go on) from the table."""

    error: str = field(kw_only=True)
    pause: timedelta = field(kw_only=True)
    counted: bool = field(kw_only=True)
    from_table: bool = field(kw_only=True)

    @property
    def key(self) -> str | None:
        return self.item.id if self.from_table else None

    @property
    def failures(self) -> int:
        return self.item.attempt if self.counted else self.item.attempt - 1


@dataclass(slots=True)
class Dead(Outcome):
    reason: str = field(kw_only=True)
    error: str = field(kw_only=True)
    attempts: int = field(kw_only=True)


Outcomes = Sequence[Outcome]
