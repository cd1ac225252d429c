"""Emergency stop and pause: the bucket `tidemill-control`, obeyed within a second."""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import structlog
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tidemill.common.bus.activity import to_the_second, woken
from tidemill.common.bus.connection import Connection, NatsClient
from tidemill.common.bus.topology import CONTROL_STREAM, CONTROL_SUBJECT, ensure_control
from tidemill.common.telemetry.metrics import CONTROL_HELD, CONTROL_STATE, Metrics

log = structlog.get_logger(__name__)

READ_EVERY = 10.0
RETRY_AFTER = 0.2
OPERATION = "KV-Operation"
HOLDS = ("stop.", "pause.")
OFF = ("0", "false", "off", "no")


class Holds(Protocol):
    """What keeps events from being handled."""

    known: bool

    def stopped(self, source: str | None = None) -> str | None: ...

    def paused(self, source: str | None = None) -> str | None: ...

    def cancelled(self, run: str) -> str | None: ...

    def on_change(self, listener: Callable[[], None]) -> None: ...


class Unheld:
    """Of bookkeeping: what has happened is noted, whatever is held."""

    known = True

    def stopped(self, source: str | None = None) -> str | None:
        return None

    def paused(self, source: str | None = None) -> str | None:
        return None

    def cancelled(self, run: str) -> str | None:
        return None

    def on_change(self, listener: Callable[[], None]) -> None:
        """Nothing ever changes."""


KEY = re.compile(r"(stop|pause)\.(all|(service|source)\.[^.]+)|cancel\.run\.[^.]+")
FORMS = "stop.all, stop.service.NAME, stop.source.NAME, the same with pause, cancel.run.ID"


class Control:
    """Keys: `stop.all`, `stop.service.<name>`, `stop.source.<name>`, the same with `pause`, `cancel.run.<id>`. What a
    key holds is for people, except `until` (ISO time) in a JSON object, and the word off."""

    def __init__(self, service: str, connection: Connection, metrics: Metrics) -> None:
        self._service = service
        self._connection = connection
        self._metrics = metrics
        self._entries: dict[str, str] = {}
        self._heard = 0
        self._nc: NatsClient | None = None
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()
        self._read_now = asyncio.Event()
        connection.on_connect(self._read_now.set)
        self.known = False
        """False until the bucket was read once: an emergency stop outlives a restart of ours."""

    def stopped(self, source: str | None = None) -> str | None:
        """Why this service (or this source in it) must stop; None when it may work."""
        return self._why("stop", source)

    def paused(self, source: str | None = None) -> str | None:
        """Why nothing new may begin, a stop included; None when it may."""
        return self.stopped(source) or self._why("pause", source)

    def cancelled(self, run: str) -> str | None:
        """Why the events of this run are dropped; None when they are not."""
        return self.reason(f"cancel.run.{run}") if run and self._entries else None

    @property
    def entries(self) -> Mapping[str, str]:
        """All keys, with what they hold."""
        return self._entries

    def held_sources(self) -> list[str]:
        """Sources that are stopped or paused."""
        prefixes = ("stop.source.", "pause.source.")
        named = {key.removeprefix(prefix) for key in self._entries for prefix in prefixes if key.startswith(prefix)}
        return sorted(source for source in named if self._source_held(source))

    async def wait_until_allowed(self, source: str | None = None) -> None:
        """Return when neither stopped nor paused."""
        while not self.known or self.paused(source):
            self._changed.clear()
            await woken(self._changed, 1.0)  # `until` passes without a message

    def on_change(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)

    async def put(self, key: str, value: str) -> None:
        """Set a key, for every process that listens. Raises what NATS raises."""
        await self._connection.js.publish(f"{CONTROL_SUBJECT}.{key}", value.encode())

    async def remove(self, key: str) -> None:
        await self._connection.js.publish(f"{CONTROL_SUBJECT}.{key}", b"", headers={OPERATION: "DEL"})

    async def bucket(self) -> "Bucket | None":
        """What the server has at this moment; None while there is no bucket. Raises what NATS raises."""
        return await read_bucket(self._connection.js)

    async def follow(self) -> None:
        """Listen, and read everything on connecting and every ten seconds, until cancelled. (A KV watch takes 6 to 14 s
        to recover from a server kill.)"""
        while True:
            await self._connection.wait_connected()
            self._read_now.clear()
            await self._subscribe()
            await self._read()
            await woken(self._read_now, to_the_second(READ_EVERY) if self.known else RETRY_AFTER)

    async def _subscribe(self) -> None:
        if self._connection.nc is not self._nc:
            self._nc = self._connection.nc
            await self._nc.subscribe(f"{CONTROL_SUBJECT}.>", cb=self._on_message)

    async def _on_message(self, message: Msg) -> None:
        self._heard += 1
        entries = dict(self._entries)
        key = message.subject.removeprefix(f"{CONTROL_SUBJECT}.")
        if _deleted(message.headers):
            entries.pop(key, None)
        else:
            entries[key] = message.data.decode(errors="replace")
        self._take(entries)

    async def _read(self) -> None:
        js = self._connection.js
        heard = self._heard
        bucket = await read_bucket(js)
        if bucket is None:
            await ensure_control(js)
        elif heard == self._heard:  # else a message was faster and may be newer
            first, self.known = not self.known, True
            if first or bucket.entries != self._entries:
                self._take(dict(bucket.entries))
        self._measure()  # `until` passes without a message

    def _take(self, entries: dict[str, str]) -> None:
        for key in sorted(entries.keys() ^ self._entries.keys()):
            if KEY.fullmatch(key):
                log.warning("control", key=key, set=key in entries, says=entries.get(key, ""))
            elif key in entries:
                log.warning("control key is not known and does nothing", key=key, valid=FORMS)
        gone = self._entries.keys() - entries.keys()
        self._entries = entries
        self._measure(gone)
        self._changed.set()
        for listener in self._listeners:
            listener()

    def _measure(self, gone: Iterable[str] = ()) -> None:
        for state, held in (("stop", self.stopped()), ("pause", self._why("pause", None))):
            self._metrics.of(CONTROL_STATE, state=state).set(1 if held else 0)
        for key in {*self._entries, *gone}:
            if key.startswith(HOLDS):
                self._metrics.of(CONTROL_HELD, key=key).set(1 if self.reason(key) else 0)

    def _why(self, verb: str, source: str | None) -> str | None:
        if not self._entries:
            return None
        return (
            self.reason(f"{verb}.all")
            or self.reason(f"{verb}.service.{self._service}")
            or (self.reason(f"{verb}.source.{source}") if source else None)
        )

    def _source_held(self, source: str) -> bool:
        return bool(self.reason(f"stop.source.{source}") or self.reason(f"pause.source.{source}"))

    def reason(self, key: str) -> str | None:
        """The key with what it says, while it holds."""
        value = self._entries.get(key)
        return None if value is None else read_entry(key, value)


@dataclass(frozen=True, slots=True)
class Bucket:
    """All keys, and how old the bucket is: one that was lost or put back has another birth or an earlier end."""

    entries: Mapping[str, str]
    created: str
    last_sequence: int


async def read_bucket(js: JetStreamContext) -> Bucket | None:
    """None where there is no bucket."""
    try:
        found = await js.stream_info(CONTROL_STREAM, subjects_filter=f"{CONTROL_SUBJECT}.>")
    except NotFoundError:
        return None
    entries = {}
    for subject in found.state.subjects or {}:
        try:
            message = await js.get_msg(CONTROL_STREAM, subject=subject)
        except NotFoundError:
            continue  # taken away meanwhile
        if not _deleted(message.headers):
            entries[subject.removeprefix(f"{CONTROL_SUBJECT}.")] = (message.data or b"").decode(errors="replace")
    return Bucket(entries, str(found.created), found.state.last_seq)


def read_entry(key: str, value: str) -> str | None:
    """The key, with the reason that its value gives; None where it holds nothing (any more)."""
    if value.strip().lower() in OFF:
        return None
    said = _parse(value)
    until = said.get("until")
    if until and _passed(str(until)):
        return None
    return f"{key}: {said['reason']}" if said.get("reason") else key


def _parse(value: str) -> dict[str, object]:
    try:
        parsed = json.loads(value)
    except ValueError:
        return {"reason": value}
    return parsed if isinstance(parsed, dict) else {}


def _passed(until: str) -> bool:
    try:
        moment = datetime.fromisoformat(until)
    except ValueError:
        return False
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= datetime.now(UTC)


def _deleted(headers: dict[str, str] | None) -> bool:
    return (headers or {}).get(OPERATION) in ("DEL", "PURGE")
