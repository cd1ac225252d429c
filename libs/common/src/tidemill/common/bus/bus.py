"""The bus of one service: what it consumes, answers and states, kept running until it is told to stop."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.js import api
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus import janitor
from tidemill.common.bus.client import CommandFailed, answers, request
from tidemill.common.bus.commands import Commands
from tidemill.common.bus.connection import Connection, NatsClient
from tidemill.common.bus.consume import Consumer
from tidemill.common.bus.control import Control, Unheld
from tidemill.common.bus.dead_letters import DeadLetters
from tidemill.common.bus.inbox import Inbox
from tidemill.common.bus.outbox import Outbox
from tidemill.common.bus.publish import Publisher
from tidemill.common.bus.pulse import Pulse
from tidemill.common.bus.retry import Retries
from tidemill.common.bus.rights import inbox_of
from tidemill.common.bus.room import make_room
from tidemill.common.bus.step import Command, Outgoing, Step, Tx
from tidemill.common.bus.supervise import Supervisor, cancel, describe
from tidemill.common.bus.tables import BusTables
from tidemill.common.bus.topology import STREAMS, ensure_consumers, ensure_topology
from tidemill.common.telemetry.tracing import Telemetry

log = structlog.get_logger(__name__)

Task = Callable[[], Awaitable[None]]

STOP_WITHIN = timedelta(seconds=25)
TOPOLOGY_AGAIN = 0.5
CLEAN_EVERY = 600.0
ROOM_EVERY = 60.0


class Bus:
    """Open it with `async with Bus.open(…) as bus`, then `await bus.run(…)`."""

    def __init__(
        self,
        url: str,
        *,
        service: str,
        version: str,
        engine: AsyncEngine,
        tables: BusTables,
        telemetry: Telemetry,
        replicas: int,
    ) -> None:
        metrics = telemetry.metrics
        self._service = service
        self._version = version
        self._engine = engine
        self._tables = tables
        self._telemetry = telemetry
        self._replicas = replicas
        self._connection = Connection(url, f"tidemill {service}", metrics, inbox=inbox_of(service))
        self._publisher = Publisher(self._connection, metrics)
        self._outbox = Outbox(engine, tables, self._connection, self._publisher, metrics)
        self._inbox = Inbox(tables)
        self._retries = Retries(tables)
        self._dead_letters = DeadLetters(service, engine, tables, self._outbox, self._connection)
        self._supervisor = Supervisor()
        self._consumers: list[Consumer] = []
        self._running = False
        self._facts: dict[str, str] = {}
        """What `nats service info` says of this instance; nats-py reads it at every inquiry."""
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._within = STOP_WITHIN
        self.control = Control(service, self._connection, metrics)
        self._pulse = Pulse(
            engine, tables, self._outbox, self._retries, self._dead_letters, self.control, telemetry.metrics
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        url: str,
        *,
        service: str,
        version: str,
        engine: AsyncEngine,
        tables: BusTables,
        telemetry: Telemetry,
        replicas: int = 1,
    ) -> AsyncIterator[Self]:
        """Begin to connect; returns at once, also while NATS or Postgres are away. `replicas` are those of streams."""
        bus = cls(
            url,
            service=service,
            version=version,
            engine=engine,
            tables=tables,
            telemetry=telemetry,
            replicas=replicas,
        )
        bus._start()
        try:
            yield bus
        finally:
            await bus._close()

    async def run(
        self, steps: Sequence[Step[Any, Any]] = (), commands: Sequence[Command] = (), tasks: Sequence[Task] = ()
    ) -> None:
        """Handle events, answer commands and keep tasks running until `stop()`. Raises TopologyError when NATS has
        what cannot be made as declared."""
        self._running = True
        commands = (*commands, *self._dead_letters.commands())
        self._facts["consumers"] = ", ".join(step.name for step in steps)
        answering = self._make_commands(commands)
        task_names = [f"task {number}" for number, _ in enumerate(tasks)]
        try:
            for name, task in zip(task_names, tasks, strict=True):
                self._supervisor.start(name, task)
            if await self._finishes(self._make_topology(steps)):
                self._supervisor.start("clean", _every(CLEAN_EVERY, partial(self._clean, steps, commands)))
                self._supervisor.start("room", _every(ROOM_EVERY, partial(self._make_room, steps)))
                self._supervisor.start("commands", partial(self._register, answering))
                self._consumers = [self._make_consumer(step) for step in steps]
                for consumer in self._consumers:
                    consumer.start(self._supervisor)
            await self._stopping.wait()
            await self._supervisor.stop(*task_names)
            await asyncio.gather(*(each.drain(self._supervisor, self._within) for each in self._consumers))
            await self._supervisor.stop("commands")
            await answering.stop(self._within)
        finally:
            self._stopped.set()

    async def stop(self, within: timedelta = STOP_WITHIN) -> None:
        """Take nothing new, finish what is in hand, give back what is not finished in time, publish, acknowledge.
        Returns when `run` is done."""
        self._within = within
        self._stopping.set()
        if self._running:
            await self._stopped.wait()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """For work that no message drives: what is emitted inside is published right after the commit."""
        async with self._outbox.transaction() as tx:
            yield tx

    async def emit(self, tx: Tx, events: Sequence[Outgoing]) -> None:
        """State events in a transaction of `transaction()`."""
        await self._outbox.emit(tx, events)

    async def rest(self, busy: float, idle: float) -> None:
        """Between two looks of a task: `busy` seconds, or up to `idle` while nothing happens in this service."""
        await self._outbox.activity.rest(busy, idle)

    async def request(self, subject: str, payload: Mapping[str, Any], timeout: float = 10.0) -> dict[str, Any]:
        """Ask whoever answers on this subject; raises CommandFailed."""
        if not self.connected:
            raise CommandFailed(self._connection.problem or "NATS is not connected", "503")
        return await request(self._connection.nc, subject, payload, timeout=timeout)

    async def last_message(self, stream: str, subject: str) -> bytes:
        """The payload of the newest one. Raises NotFoundError and what else NATS raises."""
        message = await self._connection.js.get_msg(stream, subject=subject)
        return message.data or b""

    async def consumers(self) -> list[api.ConsumerInfo]:
        """Every durable consumer of our streams, as the server knows it. Raises what NATS raises."""
        js = self._connection.js
        return [each for stream in STREAMS for each in await js.consumers_info(stream.name)]

    async def streams(self) -> list[api.StreamInfo]:
        """Of the topology, those that are there, as the server knows them. Raises what NATS raises."""
        js = self._connection.js
        found = []
        for stream in STREAMS:
            with suppress(NotFoundError):
                found.append(await js.stream_info(stream.name))
        return found

    async def oldest_of(self, consumer: api.ConsumerInfo) -> datetime | None:
        """When the first event came that a consumer has not finished; None for none. Raises what NATS raises."""
        floor = consumer.ack_floor.stream_seq if consumer.ack_floor else 0
        only = consumer.config.filter_subject if consumer.config else None
        try:
            message = await self._connection.js.get_msg(
                consumer.stream_name, seq=floor + 1, subject=only, next=True, direct=True
            )
        except NotFoundError:
            return None
        return message.time

    async def progress(self, source: str, state: Mapping[str, Any]) -> None:
        """Tell whoever listens on `tidemill.progress.<service>.<source>` how far some work is; nobody keeps it."""
        if self.connected:
            payload = json.dumps(state, default=str, ensure_ascii=False).encode()
            await self._connection.nc.publish(f"tidemill.progress.{self._service}.{source}", payload)

    async def listen(self, subject: str, heard: Callable[[], None]) -> None:
        """Until cancelled: call `heard`, which only takes note, for every message on a subject, and on connecting."""

        async def on_message(_: Msg) -> None:
            heard()

        listening: NatsClient | None = None
        async for _ in self._connection.established():
            if self._connection.nc is not listening:
                listening = self._connection.nc
                await listening.subscribe(subject, cb=on_message)
                heard()

    async def key_value(self, bucket: str) -> KeyValue:
        """A bucket of the topology. Raises what NATS raises."""
        await self._connection.wait_connected()
        return await self._connection.js.key_value(bucket)

    def state_fact(self, name: str, value: str) -> None:
        """What `nats service info` shows of this instance from now on."""
        self._facts[name] = value

    async def facts(self, within: Callable[[], float]) -> AsyncGenerator[Mapping[str, str]]:
        """What each replica of this service states, until `within()` seconds have passed."""
        async with aclosing(answers(self._connection.nc, f"$SRV.INFO.{self._service}", within)) as told:
            async for each in told:
                yield each.get("metadata") or {}

    @property
    def connected(self) -> bool:
        return self._connection.connected

    def health(self) -> Mapping[str, str | None]:
        """Name of each part to what is wrong with it, None when nothing is; true within five seconds."""
        failures = self._supervisor.failures
        parts: dict[str, str | None] = {
            "nats": self._connection.problem,
            "postgres": self._pulse.problem,
            "outbox": self._outbox.problem,
        }
        for consumer in self._consumers:
            failed = [f"{name}: {why}" for name, why in failures.items() if name.startswith(f"{consumer.name}.")]
            parts[f"consumer {consumer.name}"] = failed[0] if failed else consumer.problem
        loops = {name: why for name, why in failures.items() if not self._belongs_to_a_consumer(name)}
        return parts | dict(loops)

    def _belongs_to_a_consumer(self, loop: str) -> bool:
        return any(loop.startswith(f"{consumer.name}.") for consumer in self._consumers)

    def _start(self) -> None:
        start = self._supervisor.start
        start("connection", self._connection.keep)
        start("control", self.control.follow)
        start("outbox", self._outbox.relay)
        start("pulse", self._pulse.beat)

    async def _close(self) -> None:
        self._stopping.set()
        with suppress(Exception):
            await asyncio.wait_for(self._outbox.mark(), 2)
        await self._supervisor.stop_all()
        await self._connection.close()

    async def _make_topology(self, steps: Sequence[Step[Any, Any]]) -> None:
        """As soon as NATS is there, and before anything is consumed."""
        while True:
            await self._connection.wait_connected()
            try:
                await ensure_topology(self._connection.js, self._replicas)
                for step in steps:
                    await ensure_consumers(self._connection.js, step, self._replicas)
            except (TimeoutError, nats.errors.Error, OSError) as error:
                log.warning("the topology is not made yet", error=describe(error))
                await asyncio.sleep(TOPOLOGY_AGAIN)
            else:
                return

    async def _clean(self, steps: Sequence[Step[Any, Any]], commands: Sequence[Command]) -> None:
        await self._connection.wait_connected()
        ages = await janitor.inbox_ages(self._connection.js, steps, commands)
        await janitor.clean(self._engine, self._tables, self._inbox, ages)

    async def _register(self, answering: Commands) -> None:
        async for _ in self._connection.established():
            await answering.register()

    async def _make_room(self, steps: Sequence[Step[Any, Any]]) -> None:
        """In the streams that this service consumes; all others are somebody else's."""
        await self._connection.wait_connected()
        names = {step.event.stream for step in steps}
        await make_room(self._connection.js, [stream for stream in STREAMS if stream.name in names])

    async def _finishes(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether it does before we are told to stop."""
        task = asyncio.create_task(work)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not task.done():
            await cancel([task])
            return False
        task.result()
        return True

    def _make_commands(self, commands: Sequence[Command]) -> Commands:
        return Commands(
            self._service,
            self._version,
            commands,
            connection=self._connection,
            outbox=self._outbox,
            tables=self._tables,
            telemetry=self._telemetry,
            metadata=self._facts,
        )

    def _make_consumer(self, step: Step[Any, Any]) -> Consumer:
        return Consumer(
            step,
            connection=self._connection,
            control=Unheld() if step.bookkeeping else self.control,
            engine=self._engine,
            inbox=self._inbox,
            retries=self._retries,
            dead_letters=self._dead_letters,
            outbox=self._outbox,
            telemetry=self._telemetry,
        )


def _every(seconds: float, work: Callable[[], Awaitable[object]]) -> Task:
    async def loop() -> None:
        while True:
            await work()
            await asyncio.sleep(seconds)

    return loop
