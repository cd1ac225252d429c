"""What a service writes to take part in the stream: steps, commands, errors that instruct the engine."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from opentelemetry.trace import SpanContext
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.events import Event

Tx = AsyncConnection
"""An open transaction; the engine commits it."""

E = TypeVar("E", bound=Event)
R = TypeVar("R")


class Poison(Exception):
    """This event can never be handled: a dead letter at once, without another attempt."""


class Unavailable(Exception):
    """Something around us is missing (disk full, archive away): try again later, count no attempt."""


@dataclass(frozen=True, slots=True)
class Delivery(Generic[E]):
    """One event in the hands of `work`."""

    id: str
    """Of the event; its retries and replays travel under ids of their own and keep this one."""
    event: E
    attempt: int
    """1 for the first; failures count, deliveries do not."""
    parts_done: int = 0
    """For streamed work: parts already recorded by an earlier delivery. `work` starts with part number `parts_done`."""
    span: SpanContext | None = None
    run: str = ""
    published_at: datetime | None = None
    version: str = ""
    """Of streamed work, by `Step.version`: other parts, and other facts, than those of another version."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event with its identity, to be published after commit."""

    id: str
    event: Event
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Done(Generic[E, R]):
    """A result of `work` in the hands of `record`."""

    delivery: Delivery[E]
    result: R
    part: int = 0
    last: bool = True
    traceparent: str = ""
    """Of the work's span: what is recorded and published belongs under it."""

    @property
    def event(self) -> E:
        return self.delivery.event

    @property
    def id(self) -> str:
        """Of this part: `{event}/{version}/{n}`, without the version where there is none."""
        return "/".join(filter(None, (self.delivery.id, self.delivery.version, str(self.part))))

    def tell(self, event: Event, name: str) -> Outgoing:
        """State a fact that follows from this result. `name` is its place in the output: unique per result, the
        same on a repeat."""
        return Outgoing(f"{self.id}/{name}", event, self.traceparent)


Work = Callable[[Delivery[E]], Awaitable[R]]
StreamedWork = Callable[[Delivery[E]], AsyncIterator[R]]
Record = Callable[[Tx, Sequence[Done[E, R]]], Awaitable[Sequence[Outgoing]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[E, R]):
    """An event type, what is done with it (slow, repeatable, outside any transaction), and how that is recorded
    (SQL alone, in the engine's transaction). Exactly one of `work` and `streamed` is given.

    `streamed` yields parts in a fixed order; each part is recorded in a transaction of its own, in order, so that
    the work of a killed process goes on where it was. The same event must yield the same parts.
    """

    name: str
    """Durable consumer and inbox name, for instance `converter`."""
    event: type[E]
    record: Record[E, R]
    work: Work[E, R] | None = None
    streamed: StreamedWork[E, R] | None = None
    lanes: tuple[str, ...] = ()
    """Where the subject has a `{lane}`: lanes in order of priority; every lane keeps at least one slot in reach."""
    slots: int = 16
    """Events at work at the same time in this process."""
    ack_wait: timedelta = timedelta(seconds=30)
    patience: timedelta = timedelta(milliseconds=250)
    """How long a result waits for others that are at work, to be recorded together with them."""
    retry: Sequence[timedelta] = (
        timedelta(seconds=2),
        timedelta(seconds=10),
        timedelta(seconds=30),
        timedelta(minutes=5),
        timedelta(minutes=30),
    )
    """Pause after each recorded failure; after the last a dead letter. Pauses over a minute wait in the table."""
    version: Callable[[E], str] | None = None
    """For streamed work: parts recorded by another version do not count as done."""
    bookkeeping: bool = False
    """It notes what has happened, and does nothing: stop, pause and cancel do not hold it."""


CommandHandler = Callable[[Tx, str, Mapping[str, Any]], Awaitable["Answer"]]
"""(transaction, command id, parameters) -> answer. SQL alone; idempotent by id; answered after commit."""


WHO = {"actor": "who says so", "via": "the way it came: cli, bus"}
"""Parameters of every command that changes something."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a command changed, for the audit chain; JSON values that hold no secrets."""

    action: str
    """For instance `reconvert.accept`."""
    target: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command replies, and the events it states."""

    body: Mapping[str, Any]
    events: Sequence[Outgoing] = ()
    change: Change | None = None
    """None: nothing, or the handler has added it to the chain itself."""


class CommandRefused(Exception):
    """The command cannot be carried out; the sentence says why and what would work."""

    def __init__(self, reason: str, code: str = "400") -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A verb at `tidemill.ctl.<service>.<verb>`; replicas share it, one answers."""

    verb: str
    handle: CommandHandler
    description: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Name to one sentence, for the documentation."""
