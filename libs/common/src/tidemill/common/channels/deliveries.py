"""Messages on their way: stated in somebody's transaction, sent until they are taken or given up, and never in the way
of other work."""

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.activity import woken
from tidemill.common.bus.step import Tx
from tidemill.common.bus.supervise import describe
from tidemill.common.bus.transient import is_transient
from tidemill.common.channels.message import Message, To, Unsendable
from tidemill.common.channels.outcome import Outcome, Reply
from tidemill.common.channels.retry import Again, End, after_reply
from tidemill.common.channels.senders import Senders
from tidemill.common.channels.store import DeliveryStore, Taken
from tidemill.common.channels.tables import DeliveryTables
from tidemill.common.config.channels import Channel
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import (
    DELIVERIES,
    DELIVERIES_OLDEST_SECONDS,
    DELIVERIES_WAITING,
    DELIVERY_ATTEMPTS,
    DELIVERY_SECONDS,
    Metrics,
)

log = get_logger(__name__)

LOOK_EVERY = 1.0
LOOK_IDLE = 5.0
"""While nothing waits: what is stated in this process wakes us."""
AT_ONCE = 4
"""Attempts under way for one channel, so that one that hangs takes no place from another."""
RECORDED_AT_ONCE = 2
"""Connections of the pool are for the service's other work, too."""
LEASE_BEYOND = timedelta(seconds=60)
"""Beyond the time limit of an attempt, for recording it."""
UNKNOWN_AFTER = timedelta(minutes=10)
"""So long a message waits for a channel that this process does not know: another one may have a newer configuration."""
STOP_SECONDS = 5.0
RECORD_PAUSE = 0.5

Told = Callable[[Tx, Outcome], Awaitable[None]]
"""Called in the transaction that ends a delivery."""
Transaction = Callable[[], AbstractAsyncContextManager[Tx]]


async def _nothing(tx: Tx, outcome: Outcome) -> None:
    return None


def _now() -> datetime:
    return datetime.now(UTC)


class Deliveries:
    """`enqueue` in a transaction of your own; `run` as a task of the service; replicas share the work."""

    def __init__(
        self,
        engine: AsyncEngine,
        tables: DeliveryTables,
        senders: Senders,
        metrics: Metrics,
        *,
        told: Told = _nothing,
        transaction: Transaction | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._engine = engine
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._store = DeliveryStore(tables)
        self._senders = senders
        self._metrics = metrics
        self._told = told
        self._transaction = transaction or engine.begin
        self._now = now
        self._wake = asyncio.Event()
        self._waiting = False
        self._recording = asyncio.Semaphore(RECORDED_AT_ONCE)
        self._under_way: set[asyncio.Task[None]] = set()
        self._at_work: Counter[str] = Counter()
        self._seen: set[str] = set()

    async def enqueue(self, tx: Tx, message: Message, to: Iterable[To]) -> int:
        """State it in the caller's transaction, once for each recipient; how many of them are new. A message with the
        same id to the same recipient is not stated again. Raises Unsendable for a channel that there is not, and for
        one that names nobody."""
        added = 0
        for each in to:
            added += await self._store.add(tx, message, each.channel, self._recipients(each), self._now())
        return added

    async def again(self, tx: Tx, message: str, channel: str, recipient: str) -> bool:
        """Try once more what was given up, as if it were stated now: a receiver that saw it knows it by its key.
        Whether there was such a one."""
        return await self._store.revive(tx, message, channel, recipient, self._now())

    def wake(self) -> None:
        """Look now, and not within a second; for after a commit."""
        self._wake.set()

    async def run(self) -> None:
        """Send what is due, until cancelled; attempts under way then are waited for, for a little."""
        try:
            while True:
                await self._start_due()
                await woken(self._wake, LOOK_EVERY if self._waiting else LOOK_IDLE)
                self._wake.clear()
        finally:
            await self._settle()

    async def round(self) -> int:
        """Send all that is due now, and wait for it; how many attempts that were."""
        attempts = await self._start_due()
        await asyncio.gather(*attempts)
        return len(attempts)

    def _recipients(self, to: To) -> tuple[str, ...]:
        channel = self._senders.channels.get(to.channel)
        if channel is None:
            known = ", ".join(sorted(self._senders.channels)) or "none"
            raise Unsendable(f"there is no channel {to.channel}; known: {known}")
        if to.recipient and channel.mail is None:
            raise Unsendable(f"{to.channel} takes no address: it is {channel.way}, not mail")
        found = (to.recipient,) if to.recipient else channel.recipients
        if not found:
            raise Unsendable(f"{to.channel} names nobody; set channels.{to.channel}.mail.to")
        return found

    async def _start_due(self) -> list[asyncio.Task[None]]:
        now = self._now()
        async with self._reading.connect() as connection:
            queues = await self._store.queues(connection, now)
        self._waiting = bool(queues)
        self._measure({name: (queue.waiting, (now - queue.oldest).total_seconds()) for name, queue in queues.items()})
        started: list[asyncio.Task[None]] = []
        for name, queue in queues.items():
            if not queue.due:
                continue
            channel = self._senders.channels.get(name)
            if channel is None:
                await self._give_up_unknown(name, now)
                continue
            started += [self._start(taken, channel) for taken in await self._take(name, channel, now)]
        return started

    def _measure(self, queues: Mapping[str, tuple[int, float]]) -> None:
        self._seen |= queues.keys()
        for name in self._seen:
            waiting, oldest_seconds = queues.get(name, (0, 0.0))
            self._metrics.of(DELIVERIES_WAITING, channel=name).set(waiting)
            self._metrics.of(DELIVERIES_OLDEST_SECONDS, channel=name).set(max(oldest_seconds, 0.0))

    async def _take(self, name: str, channel: Channel, now: datetime) -> list[Taken]:
        free = AT_ONCE - self._at_work[name]
        if free <= 0:
            return []
        async with self._transaction() as tx:
            if not await self._store.lock(tx, name):
                return []
            held_until = await self._store.held_until(tx, name, now)
            if held_until is not None:
                for taken in await self._store.hopeless(tx, name, held_until - channel.patience, now):
                    said = f"{name} wants to be left alone until {held_until:%Y-%m-%d %H:%M:%S %Z}"
                    await self._end(tx, taken, End("given_up", "held"), Reply(verdict="never", text=said), now)
                return []
            count, window = channel.pace
            most = min(free, count - await self._store.attempts_since(tx, name, now - window))
            if most <= 0:
                return []
            until = now + channel.time_limit + LEASE_BEYOND
            return await self._store.take(tx, name, now, most=most, until=until, lease=secrets.token_hex(8))

    async def _give_up_unknown(self, name: str, now: datetime) -> None:
        async with self._transaction() as tx:
            for taken in await self._store.hopeless(tx, name, now - UNKNOWN_AFTER, now):
                said = f"there is no channel {name} any more"
                await self._end(tx, taken, End("given_up", "unknown_channel"), Reply(verdict="never", text=said), now)

    def _start(self, taken: Taken, channel: Channel) -> asyncio.Task[None]:
        task = asyncio.create_task(self._attempt(taken, channel), name=f"delivery {taken.channel} {taken.id}")
        self._under_way.add(task)
        self._at_work[taken.channel] += 1
        task.add_done_callback(lambda done: self._finished(taken, done))
        return task

    def _finished(self, taken: Taken, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._at_work[taken.channel] -= 1
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an attempt is not recorded, and is made again", channel=taken.channel, error=describe(error))

    async def _attempt(self, taken: Taken, channel: Channel) -> None:
        began = time.monotonic()
        reply = await self._senders.send(taken.channel, taken.message, key=taken.key, recipient=taken.recipient)
        seconds = time.monotonic() - began
        self._metrics.of(DELIVERY_SECONDS, channel=taken.channel).observe(seconds)
        self._metrics.of(DELIVERY_ATTEMPTS, channel=taken.channel, verdict=reply.verdict).inc()
        gives_up = began + (channel.time_limit + LEASE_BEYOND).total_seconds()
        while True:
            try:
                async with self._recording:
                    await self._record(taken, channel, reply, seconds)
                return
            except Exception as error:
                # What is not recorded is sent again: only a lost database that stays away may bring that about.
                if not is_transient(error) or time.monotonic() > gives_up:
                    raise
                await asyncio.sleep(RECORD_PAUSE)

    async def _record(self, taken: Taken, channel: Channel, reply: Reply, seconds: float) -> None:
        now = self._now()
        next_step = after_reply(
            reply,
            attempt=taken.attempt,
            stated_at=taken.stated_at,
            patience=channel.patience,
            now=now,
            luck=random.random(),
        )
        async with self._transaction() as tx:
            await self._store.log(tx, taken, reply, seconds, now)
            if isinstance(next_step, Again):
                await self._store.put_back(tx, taken, reply, next_step.at)
            else:
                await self._end(tx, taken, next_step, reply, now)

    async def _end(self, tx: Tx, taken: Taken, end: End, reply: Reply, now: datetime) -> None:
        if not await self._store.end(tx, taken, end, reply, now):
            return
        fallback = await self._fall_back(tx, taken, now) if end.state == "given_up" else None
        outcome = Outcome(
            message=taken.message.id,
            kind=taken.message.kind,
            channel=taken.channel,
            recipient=taken.recipient,
            state=end.state,
            reason=end.reason,
            text=reply.text,
            attempts=taken.attempt,
            at=now,
            fallback=fallback,
        )
        await self._tell(tx, outcome)
        self._metrics.of(DELIVERIES, channel=taken.channel, outcome=end.reason).inc()
        if end.state == "given_up":
            log.warning(
                "a message is given up",
                message=taken.message.id,
                channel=taken.channel,
                reason=end.reason,
                reply=reply.text,
                fallback=fallback,
            )

    async def _tell(self, tx: Tx, outcome: Outcome) -> None:
        """A mistake of who is told must not undo the end: the message would be sent again and again."""
        try:
            async with tx.begin_nested():
                await self._told(tx, outcome)
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("the end of a delivery cannot be told", message=outcome.message, channel=outcome.channel)

    async def _fall_back(self, tx: Tx, taken: Taken, now: datetime) -> str | None:
        """The channel that takes over, if one does."""
        channel = self._senders.channels.get(taken.channel)
        fallback = channel.fallback if channel else None
        if fallback is None or fallback not in self._senders.channels:
            return None
        recipients = self._senders.channels[fallback].recipients
        await self._store.add(tx, taken.message, fallback, recipients, now, fallback_of=taken.channel)
        return fallback if recipients else None

    async def _settle(self) -> None:
        """What is sent at this moment is let end and recorded; a supervisor cancels again and again meanwhile."""
        deadline = time.monotonic() + STOP_SECONDS
        while self._under_way and (left := deadline - time.monotonic()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait(self._under_way, timeout=left)
        for task in self._under_way:
            task.cancel()
