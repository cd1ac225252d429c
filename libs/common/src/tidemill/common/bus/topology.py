"""Every stream, consumer and bucket of Tidemill: declared here, created and changed without loss by code."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError

from tidemill.common.bus.step import Step
from tidemill.common.events import Event

DUPLICATE_WINDOW = timedelta(hours=1)
CONTROL_BUCKET = "tidemill-control"
CONTROL_SUBJECT = f"$KV.{CONTROL_BUCKET}"
CONTROL_STREAM = f"KV_{CONTROL_BUCKET}"
AUDIT_BUCKET = "tidemill-audit"
"""Where the head of the audit chain is kept: outside of the database that it watches over."""
DEAD_STREAM = "DEAD"
MAX_ACK_PENDING = 20_000
"""Of one consumer over all replicas. Slots limit what a replica holds; this limits what waits after naks."""

_MIB = 1024 * 1024
_INSUFFICIENT_STORAGE = 10047


class TopologyError(Exception):
    """What the code declares cannot be made of what the server has; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A file stream with `limits` retention: other retentions forget the ids of acknowledged messages at a restart."""

    name: str
    subjects: tuple[str, ...]
    max_age: timedelta | None
    """None: until somebody removes the message."""
    max_bytes: int
    refuses: bool = False
    """When full: refuse what is new (the outbox keeps it, nothing unread is lost) instead of dropping the oldest."""

    def config(self, replicas: int) -> api.StreamConfig:
        return api.StreamConfig(
            name=self.name,
            subjects=list(self.subjects),
            retention=api.RetentionPolicy.LIMITS,
            storage=api.StorageType.FILE,
            discard=api.DiscardPolicy.NEW if self.refuses else api.DiscardPolicy.OLD,
            max_age=self.max_age.total_seconds() if self.max_age else 0,
            max_bytes=self.max_bytes,
            duplicate_window=DUPLICATE_WINDOW.total_seconds(),
            num_replicas=replicas,
            allow_direct=True,
        )


def _days(count: int) -> timedelta:
    return timedelta(days=count)


STREAMS = (
    Stream("TRIGGERS", ("tidemill.trigger.>",), _days(7), 64 * _MIB, refuses=True),
    Stream("RUNS", ("tidemill.run.>", "tidemill.slot.>"), _days(90), 128 * _MIB),
    Stream("JOBS_SCRAPE", ("tidemill.job.scrape.>",), _days(7), 256 * _MIB, refuses=True),
    Stream("JOBS_DOWNLOAD", ("tidemill.job.download.>",), _days(7), 256 * _MIB, refuses=True),
    Stream("DOCUMENTS", ("tidemill.document.>",), _days(30), 512 * _MIB, refuses=True),
    Stream("RECORDS", ("tidemill.records.>",), _days(30), 256 * _MIB),
    Stream("REPORTS", ("tidemill.report.>",), _days(90), 128 * _MIB),
    Stream("ALERTS", ("tidemill.alert.>",), _days(90), 128 * _MIB),
    Stream("CONFIG", ("tidemill.config.>", "tidemill.command.>"), _days(90), 16 * _MIB),
    Stream(DEAD_STREAM, ("tidemill.dead.*",), None, 256 * _MIB, refuses=True),
)


def stream_of(event: type[Event]) -> Stream:
    return next(stream for stream in STREAMS if stream.name == event.stream)


def subject_pattern(event: type[Event], lane: str | None = None) -> str:
    """The subject with `*` for every name, except the lane where one is given."""
    return ".".join(
        (lane if lane and token == "{lane}" else "*") if token.startswith("{") else token  # noqa: S105 - of a subject
        for token in event.subject.split(".")
    )


def durables(step: Step[Any, Any]) -> dict[str, str | None]:
    """Durable name to lane, in order of priority; without lanes one durable takes all."""
    return {f"{step.name}-{lane}": lane for lane in step.lanes} or {step.name: None}


async def ensure_topology(js: JetStreamContext, replicas: int = 1) -> None:
    """Make streams and buckets as declared; harmless when they are so already. Raises TopologyError."""
    for stream in STREAMS:
        await ensure_stream(js, stream, replicas)
    await ensure_control(js, replicas)
    await _ensure_bucket(js, AUDIT_BUCKET, 64, replicas)


async def ensure_control(js: JetStreamContext, replicas: int = 1) -> None:
    await _ensure_bucket(js, CONTROL_BUCKET, 5, replicas)


async def _ensure_bucket(js: JetStreamContext, name: str, history: int, replicas: int) -> None:
    try:
        present = (await js.stream_info(f"KV_{name}")).config
    except NotFoundError:
        await js.create_key_value(api.KeyValueConfig(bucket=name, history=history, replicas=replicas))
        return
    if (present.num_replicas or 1) < replicas:
        await js.update_stream(present.evolve(num_replicas=replicas))


async def ensure_stream(js: JetStreamContext, stream: Stream, replicas: int = 1) -> None:
    declared = stream.config(replicas)
    try:
        present = (await js.stream_info(stream.name)).config
    except NotFoundError:
        try:
            await js.add_stream(declared)
        except APIError as refused:
            raise TopologyError(_why_not_created(stream, refused)) from refused
        return
    if present.retention != declared.retention or present.storage != declared.storage:
        raise TopologyError(
            f"stream {stream.name} has {_text(present.retention)} retention on {_text(present.storage)} and must have "
            f"limits on file, which a server cannot change: copy what you need, then `nats stream rm {stream.name}`"
        )
    merged = present.evolve(
        subjects=_union(present.subjects or [], stream.subjects),
        discard=declared.discard,
        max_age=_wider(present.max_age, declared.max_age, unlimited=0),
        max_bytes=_wider(present.max_bytes, declared.max_bytes, unlimited=-1),
        duplicate_window=declared.duplicate_window,
        num_replicas=max(present.num_replicas or 1, replicas),
        allow_direct=declared.allow_direct,
    )
    if merged != present:
        try:
            await js.update_stream(merged)
        except APIError as refused:
            raise TopologyError(f"stream {stream.name} cannot be changed as declared: {_reason(refused)}") from refused


async def ensure_consumers(js: JetStreamContext, step: Step[Any, Any], replicas: int = 1) -> None:
    """Make the stream and the durable consumers of a step, or change them. Raises TopologyError."""
    await ensure_stream(js, stream_of(step.event), replicas)
    for durable, lane in durables(step).items():
        config = api.ConsumerConfig(
            name=durable,
            durable_name=durable,
            filter_subject=subject_pattern(step.event, lane),
            deliver_policy=api.DeliverPolicy.ALL,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=step.ack_wait.total_seconds(),
            max_deliver=-1,
            max_ack_pending=MAX_ACK_PENDING,
        )
        try:
            await js.add_consumer(step.event.stream, config)
        except APIError as refused:
            raise TopologyError(
                f"consumer {durable} of {step.event.stream} cannot be made as declared: {_reason(refused)}; "
                f"if it is not ours, `nats consumer rm {step.event.stream} {durable}` (the inbox absorbs the repeats)"
            ) from refused


def _union(present: Sequence[str], declared: Sequence[str]) -> list[str]:
    return [*present, *(subject for subject in declared if subject not in present)]


def _wider(present: float | None, declared: float | None, unlimited: int) -> Any:
    """Narrowing a limit removes messages: an operator may do that, not the code."""
    if not present or not declared or present < 0 or declared < 0:
        return unlimited
    return max(present, declared)


def _why_not_created(stream: Stream, refused: APIError) -> str:
    if refused.err_code == _INSUFFICIENT_STORAGE:
        wanted = sum(each.max_bytes for each in STREAMS) // _MIB
        return (
            f"stream {stream.name} cannot be created: JetStream has not enough storage; all streams together reserve "
            f"{wanted} MiB: raise `max_file_store` in the server's jetstream block or free disk space"
        )
    return f"stream {stream.name} cannot be created: {_reason(refused)}"


def _reason(refused: APIError) -> str:
    return f"{refused.description} ({refused.err_code})"


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))
