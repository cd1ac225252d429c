"""A step at work: what is fetched is sorted, worked on, and handed to the group commit."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from datetime import timedelta
from time import time_ns
from typing import Any, TypeVar

import structlog
from opentelemetry import context
from opentelemetry.trace import Span, SpanKind, set_span_in_context
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.activity import to_the_second, woken
from tidemill.common.bus.connection import Connection
from tidemill.common.bus.control import Holds
from tidemill.common.bus.dead_letters import DeadLetters
from tidemill.common.bus.decode import Unreadable, parse_event, subject_names
from tidemill.common.bus.fetch import Fetcher
from tidemill.common.bus.group import Group
from tidemill.common.bus.inbox import UNKNOWN, Inbox, Past
from tidemill.common.bus.message import Fetched
from tidemill.common.bus.outbox import Outbox
from tidemill.common.bus.outcome import Again, Dead, Finished, Item, Outcome, Recorded
from tidemill.common.bus.retry import Retries, ends_its_process, judge
from tidemill.common.bus.step import Delivery, Done, Step
from tidemill.common.bus.supervise import Supervisor, cancel, describe
from tidemill.common.bus.transient import is_transient
from tidemill.common.events import Event
from tidemill.common.telemetry.metrics import (
    DUPLICATES_SUPPRESSED,
    HANDLED,
    QUEUE_WAIT_SECONDS,
    REDELIVERIES,
    WORK_SECONDS,
)
from tidemill.common.telemetry.tracing import Telemetry, fail, traceparent

A = TypeVar("A")
R = TypeVar("R")

log = structlog.get_logger(__name__)

LOOK_EVERY = 4.0
DEAD_AFTER = 10.0
"""Seconds without a round of the loop."""
AFTER_OUR_ERROR = 10.0
CANCEL_AGAIN = 5.0
ASK_AGAIN = 0.5
"""While Postgres does not say what is known of the events in hand."""


class Consumer:
    def __init__(
        self,
        step: Step[Any, Any],
        *,
        connection: Connection,
        control: Holds,
        engine: AsyncEngine,
        inbox: Inbox,
        retries: Retries,
        dead_letters: DeadLetters,
        outbox: Outbox,
        telemetry: Telemetry,
    ) -> None:
        self._step = step
        self._connection = connection
        self._control = control
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._inbox = inbox
        self._telemetry = telemetry
        self._metrics = telemetry.metrics
        self._fetcher = Fetcher(step, connection, self._take)
        self._group = Group(
            step,
            engine=engine,
            inbox=inbox,
            retries=retries,
            dead_letters=dead_letters,
            outbox=outbox,
            telemetry=telemetry,
            finished=self._finished,
            more_to_come=lambda: self._fetcher.busy > 0,
        )
        self._arrived: list[Fetched] = []
        self._in_hand: dict[str, Item] = {}
        self._tasks: dict[asyncio.Task[None], list[Item]] = {}
        self._cancelled_at: dict[asyncio.Task[None], float] = {}
        self._answers: set[asyncio.Task[None]] = set()
        self._draining = False
        self._round_at: float | None = None
        self._lookup_problem: str | None = None
        control.on_change(self._obey)
        connection.on_connect(self._fetcher.changed.set)

    @property
    def name(self) -> str:
        return self._step.name

    @property
    def problem(self) -> str | None:
        stuck = self._round_at is not None and asyncio.get_running_loop().time() - self._round_at > DEAD_AFTER
        return (
            self._group.problem
            or self._lookup_problem
            or self._fetcher.problem
            or ("the pull loop does not turn" if stuck else None)
        )

    def start(self, supervisor: Supervisor) -> None:
        supervisor.start(f"{self.name}.pull", self._pull)
        supervisor.start(f"{self.name}.commit", self._group.run)
        supervisor.start(f"{self.name}.heartbeat", self._keep_alive)

    async def drain(self, supervisor: Supervisor, within: timedelta) -> None:
        """Take nothing new, finish what is at work, give back what is not finished in time; then the results."""
        self._draining = True
        clock = asyncio.get_running_loop().time
        deadline = clock() + within.total_seconds()
        await supervisor.stop(f"{self.name}.pull")
        await self._fetcher.withdraw()
        while self._tasks and clock() < deadline:
            await asyncio.wait(self._tasks, timeout=deadline - clock())
        await cancel(list(self._tasks))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._group.drained(), max(1.0, deadline - clock()))
        await supervisor.stop(f"{self.name}.commit", f"{self.name}.heartbeat")
        for item in list(self._in_hand.values()):
            self._give_back(item)
        if self._answers:
            await asyncio.wait(self._answers, timeout=1)

    async def _pull(self) -> None:
        while True:
            self._round_at = asyncio.get_running_loop().time()
            self._fetcher.changed.clear()
            self._cancel_what_must_stop()
            if not self._control.known or self._control.paused():
                await self._fetcher.withdraw()
            elif self._connection.connected:
                await self._fetcher.ask()
            await woken(self._fetcher.changed, to_the_second(LOOK_EVERY))

    async def _keep_alive(self) -> None:
        """Long work keeps its message; so do results that wait for Postgres."""
        while True:
            await asyncio.sleep(to_the_second(self._step.ack_wait.total_seconds() / 3))
            for item in list(self._in_hand.values()):
                await item.in_progress()

    def _take(self, message: Fetched) -> None:
        """Called for each message as it comes; a whole bunch is sorted at once."""
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._sort_arrived)
        self._arrived.append(message)

    def _sort_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        items = []
        for message in arrived:
            if message.deliveries > 1:
                self._metrics.of(REDELIVERIES, consumer=self.name).inc()
            if self._draining or self._control.paused():
                self._answer(message.nak())
                self._fetcher.free(message)
            elif message.for_consumer not in (None, self.name):
                self._answer(message.ack())
                self._fetcher.free(message)
            elif known := self._in_hand.get(message.id):
                known.adopt(message)
                self._fetcher.free(message)
            else:
                self._in_hand[message.id] = item = Item(message, UNKNOWN, run=message.run)
                items.append(item)
        if items:
            self._spawn(self._begin(items), items)

    async def _begin(self, items: list[Item]) -> None:
        """Skip what the inbox knows; a task for each of the others."""
        past = await self._look_up([item.id for item in items])
        while items:
            item = items.pop(0)
            item.past = past.get(item.id, UNKNOWN)
            if item.past.handled:
                self._answer(item.ack())
                self._metrics.of(DUPLICATES_SUPPRESSED, layer="inbox").inc()
                self._finished(item)
                self._fetcher.free(item.message)
            else:
                mine = [item]
                self._spawn(self._handle(item, mine), mine)

    async def _look_up(self, ids: Sequence[str]) -> Mapping[str, Past]:
        return await self._read(lambda connection: self._inbox.look_up(connection, self.name, ids))

    async def _read(self, question: Callable[[AsyncConnection], Awaitable[A]]) -> A:
        """The answer of Postgres, however long it takes to come."""
        while True:
            try:
                async with self._reader.connect() as connection:
                    answer = await question(connection)
            except Exception as error:
                if not is_transient(error):
                    raise
                self._lookup_problem = f"the inbox cannot be read: {describe(error)}"
                await asyncio.sleep(ASK_AGAIN)
            else:
                self._lookup_problem = None
                return answer

    async def _handle(self, item: Item, mine: list[Item]) -> None:
        await self._group.put(await self._outcome(item))
        mine.clear()
        self._fetcher.free(item.message)

    async def _outcome(self, item: Item) -> Outcome:
        """Work on it, unless there is a reason not to."""
        message, past = item.message, item.past
        if ends_its_process(message.deliveries, past.deliveries):
            error = f"delivered {message.deliveries} times without any outcome: does it end its process?"
            return Dead(item, reason="deliveries", error=error, attempts=item.attempt - 1)
        try:
            event = parse_event(self._step.event, message.subject, message.payload)
        except Unreadable as error:
            item.source = subject_names(self._step.event, message.subject).get("source", "")
            return Dead(item, reason="invalid", error=str(error), attempts=0)
        item.source = event.source.replace("\x00", "")
        item.run = message.run or str(getattr(event, "run", ""))
        if cancelled := self._control.cancelled(item.run):
            return Finished(item, why=cancelled)
        if held := self._control.paused(item.source):
            # Out of the way of other sources; the table hands it out again when its source may go on.
            return Again(item, error=held, pause=timedelta(0), counted=False, from_table=True)
        return await self._work(item, event)

    async def _work(self, item: Item, event: Event) -> Outcome:
        step, message = self._step, item.message
        waited = max(0.0, (time_ns() - message.published_ns) / 1e9)
        self._metrics.of(QUEUE_WAIT_SECONDS, consumer=step.name).observe(waited)
        item.span = span = self._begin_span(item, waited)
        item.delivery = Delivery(
            message.origin, event, item.attempt, 0, span.get_span_context(), item.run, message.published_at
        )
        # This task ends with the event, so nothing is detached and unbound again.
        context.attach(set_span_in_context(span))
        structlog.contextvars.bind_contextvars(run=item.run, source=item.source, event_id=item.id)
        try:
            with self._metrics.of(WORK_SECONDS, consumer=step.name).time():
                if step.work is not None:
                    result = await step.work(item.delivery)
                    return Recorded(item, done=Done(item.delivery, result, traceparent=traceparent(span)))
                return await self._stream(item, span)
        except asyncio.CancelledError:
            cancelled = self._control.cancelled(item.run)
            if not cancelled or self._draining or self._control.stopped(item.source):
                raise
            return Finished(item, why=cancelled)
        except Exception as error:  # noqa: BLE001 Whatever a step raises is this event's failure.
            fail(span, error)
            return judge(item, error, step.retry)

    async def _stream(self, item: Item, span: Span) -> Outcome:
        """Record the parts one after the other: the next is made while the last one is committed, and not more."""
        step = self._step
        assert step.streamed is not None and item.delivery is not None
        version = step.version(item.delivery.event) if step.version else "-"
        done = await self._parts_done(item, f"{item.delivery.id}/{version}")
        item.delivery = delivery = replace(item.delivery, parts_done=done, version=version)
        committed: asyncio.Future[None] | None = None
        latest: Done[Any, Any] | None = None
        async with aclosing(_closable(step.streamed(delivery))) as parts:
            async for result in parts:
                if latest is not None:
                    if committed is not None:
                        await committed
                    committed = asyncio.get_running_loop().create_future()
                    await self._group.put(Recorded(item, committed, done=replace(latest, last=False)))
                part = delivery.parts_done if latest is None else latest.part + 1
                latest = Done(delivery, result, part, traceparent=traceparent(span))
            if committed is not None:
                await committed
        return Finished(item, why="no part was left") if latest is None else Recorded(item, done=latest)

    async def _parts_done(self, item: Item, prefix: str) -> int:
        """None of what comes for the first time. (After a server lost its store that may be wrong: then all is worked
        out once more, and the inbox keeps it from being recorded twice.)"""
        if item.message.deliveries == 1 and item.attempt == 1:
            return 0
        return await self._read(lambda connection: self._inbox.parts_done(connection, self.name, prefix))

    def _begin_span(self, item: Item, waited: float) -> Span:
        message = item.message
        span = self._telemetry.begin(f"{self.name} process", parent=message.traceparent, kind=SpanKind.CONSUMER)
        if span.is_recording():
            span.set_attributes(
                {
                    "messaging.system": "nats",
                    "messaging.operation.type": "process",
                    "messaging.destination.name": message.stream,
                    "messaging.consumer.group.name": self.name,
                    "messaging.message.id": message.id,
                    "messaging.message.conversation_id": item.run,
                    "messaging.message.body.size": len(message.payload),
                    "tidemill.source": item.source,
                    "tidemill.attempt": item.attempt,
                    "tidemill.deliveries": message.deliveries,
                    "tidemill.queue_wait_seconds": waited,
                }
            )
        return span

    def _obey(self) -> None:
        """The control bucket changed."""
        self._cancel_what_must_stop()
        self._fetcher.changed.set()

    def _cancel_what_must_stop(self) -> None:
        now = asyncio.get_running_loop().time()
        for task, items in list(self._tasks.items()):
            item = items[0] if len(items) == 1 else None
            stop = self._control.stopped(item.source if item else None) or (item and self._control.cancelled(item.run))
            # Another time only after a while: it would interrupt what the work saves on its way out.
            if stop and now - self._cancelled_at.get(task, -CANCEL_AGAIN) >= CANCEL_AGAIN:
                self._cancelled_at[task] = now
                task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None], items: list[Item]) -> None:
        """A task that owns these items: what it still owns at its end, however that comes, is given back."""
        task = asyncio.create_task(work)
        self._tasks[task] = items
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        items = self._tasks.pop(task)
        self._cancelled_at.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error:
            log.error("events are given back after an error of the bus", consumer=self.name, exc_info=error)
        for item in items:
            self._fetcher.free(item.message)
            self._give_back(item, AFTER_OUR_ERROR if error else 0)

    def _give_back(self, item: Item, delay: float = 0) -> None:
        self._finished(item)
        self._metrics.of(HANDLED, consumer=self.name, outcome="given back").inc()
        if item.span is not None:
            item.span.set_attribute("outcome", "given back")
            item.span.end()
        self._answer(item.nak(delay))

    def _answer(self, answer: Coroutine[Any, Any, None]) -> None:
        """Not part of any work that may be cancelled."""
        task = asyncio.create_task(answer)
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    def _finished(self, item: Item) -> None:
        self._in_hand.pop(item.id, None)


async def _closable(parts: AsyncIterator[R]) -> AsyncGenerator[R, None]:
    """`streamed` may return any iterator; a generator among them is closed when the work is cancelled."""
    try:
        async for part in parts:
            yield part
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()
