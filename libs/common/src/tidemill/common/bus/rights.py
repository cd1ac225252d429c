"""What one service may say and hear on the bus, and nothing else: the permissions of its NATS user."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tidemill.common.bus.topology import (
    AUDIT_BUCKET,
    CONTROL_BUCKET,
    CONTROL_STREAM,
    CONTROL_SUBJECT,
    DEAD_STREAM,
    STREAMS,
    Stream,
    stream_of,
    subject_pattern,
)
from tidemill.common.events import CommandDone, ConfigApplied, Event, JobDead

MICRO = ("PING", "INFO", "STATS")
"""Verbs of the NATS service API that every service answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What a service does on the bus beyond what every service does."""

    consumes: Mapping[str, type[Event]] = field(default_factory=dict)
    """Durable consumer (of a step with lanes: one each) to event."""
    publishes: Sequence[type[Event]] = ()
    buckets: Sequence[str] = ()
    """Key-value buckets that it writes."""
    reads: Sequence[str] = ()
    """Streams of which it reads single messages."""
    asks: Sequence[str] = ()
    """Subjects on which it asks others."""
    sees_queues: bool = False
    """Whether it looks at the consumers of every stream."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Subjects, with wildcards; replies to what comes are allowed besides."""

    publish: Sequence[str]
    subscribe: Sequence[str]


def inbox_of(service: str) -> str:
    """Where answers to this service come: a prefix of its own, for with a common one each could listen to all."""
    return f"_INBOX_{service}"


def permissions_of(service: str, uses: Uses) -> Permissions:
    """Of the NATS user of a service.

    Every service may make the declared streams where they are missing, so that a cluster that lost them works again by
    itself; only the operator may change or delete one.
    """
    again = uses.consumes.values()
    """Retries and replays are published to their consumer anew."""
    publish = {
        *(subject_pattern(event) for event in (*uses.publishes, *again)),
        subject_pattern(CommandDone).replace("*", service),
        subject_pattern(JobDead).replace("*", service),
        f"tidemill.progress.{service}.*",
        f"$SRV.INFO.{service}",
        *uses.asks,
        *_streams(),
        *_dead_letters(),
        f"$JS.API.STREAM.MSG.GET.{CONTROL_STREAM}",
        *(f"$JS.API.STREAM.MSG.GET.{stream}" for stream in uses.reads),
        *(subject for bucket in uses.buckets for subject in _bucket(bucket)),
        *(subject for durable, event in uses.consumes.items() for subject in _consumer(durable, event)),
        *_room(stream_of(event) for event in again),
    }
    if uses.sees_queues:
        # Of what waits the oldest message is read, for its age.
        for look in ("CONSUMER.LIST", "DIRECT.GET"):
            publish |= {f"$JS.API.{look}.{stream.name}" for stream in STREAMS}
    subscribe = {
        f"{inbox_of(service)}.>",
        f"tidemill.ctl.{service}.*",
        f"{CONTROL_SUBJECT}.>",
        ConfigApplied.subject,
        *(f"$SRV.{verb}" for verb in MICRO),
        *(f"$SRV.{verb}.{service}" for verb in MICRO),
        *(f"$SRV.{verb}.{service}.*" for verb in MICRO),
    }
    return Permissions(sorted(publish), sorted(subscribe))


def _streams() -> Iterable[str]:
    yield "$JS.API.INFO"
    for name in (*(stream.name for stream in STREAMS), *(f"KV_{bucket}" for bucket in (CONTROL_BUCKET, AUDIT_BUCKET))):
        yield f"$JS.API.STREAM.INFO.{name}"
        yield f"$JS.API.STREAM.CREATE.{name}"


def _dead_letters() -> Iterable[str]:
    """What was replayed or dropped is taken out of the stream. Its messages have no permissions of their own, so that
    a service could read and remove the dead letters of another one."""
    yield f"$JS.API.STREAM.MSG.GET.{DEAD_STREAM}"
    yield f"$JS.API.STREAM.MSG.DELETE.{DEAD_STREAM}"


def _bucket(bucket: str) -> Iterable[str]:
    yield f"$KV.{bucket}.>"
    yield f"$JS.API.STREAM.MSG.GET.KV_{bucket}"
    yield f"$JS.API.DIRECT.GET.KV_{bucket}.>"


def _consumer(durable: str, event: type[Event]) -> Iterable[str]:
    stream = event.stream
    yield f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.>"
    yield f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}"
    yield f"$JS.ACK.{stream}.{durable}.>"


def _room(streams: Iterable[Stream]) -> Iterable[str]:
    """What was handled leaves a stream that is nearly full and would refuse what is new."""
    for stream in streams:
        if stream.refuses:
            yield f"$JS.API.CONSUMER.LIST.{stream.name}"
            yield f"$JS.API.STREAM.PURGE.{stream.name}"
