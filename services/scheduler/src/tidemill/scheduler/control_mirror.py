"""The control bucket in Postgres: a stop outlives the loss of the bucket, and each change leaves an audit row."""

import asyncio
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import nats.errors
from sqlalchemy import delete, select, text
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.activity import woken
from tidemill.common.bus.bus import Bus
from tidemill.common.bus.control import OFF, Bucket
from tidemill.common.bus.step import Tx
from tidemill.common.bus.topology import CONTROL_BUCKET
from tidemill.common.bus.transient import is_transient
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import Metrics
from tidemill.scheduler import audit
from tidemill.scheduler.ledger import Verdict, end_runs
from tidemill.scheduler.ledger_steps import tell
from tidemill.scheduler.tables import control, control_bucket

LOOK_EVERY = 5.0
LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.control', 0))")
CANCEL = "cancel.run."
CANCELS_KEPT = timedelta(days=8)
"""Streams keep jobs for seven days."""
OLD_CANCELS = text("SELECT key FROM scheduler.control WHERE key LIKE :like AND set_at < now() - CAST(:age AS interval)")
BY_HAND = "nats kv"
"""Who set a key that names nobody."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """How new the bucket was that the mirror shows."""

    created: str
    last_sequence: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A key that one side has otherwise; None is a key that is not there."""

    key: str
    mirror: str | None
    bucket: str | None


def is_lost(known: Known | None, found: Bucket) -> bool:
    """Whether this is not the bucket we knew, grown older: made anew, or put back from an older copy."""
    return known is not None and (found.created != known.created or found.last_sequence < known.last_sequence)


def differences(mirror: Mapping[str, str], bucket: Mapping[str, str]) -> Iterator[Difference]:
    """Without the letter that Postgres cannot keep."""
    storable = {key: value.replace("\x00", "") for key, value in bucket.items()}
    for key in sorted({*mirror, *storable}):
        if mirror.get(key) != storable.get(key):
            yield Difference(key, mirror.get(key), storable.get(key))


class ControlMirror:
    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._changed = asyncio.Event()
        bus.control.on_change(self._changed.set)

    async def run(self) -> None:
        """Keep both alike, until cancelled. While NATS or Postgres are away there is nothing to compare."""
        while True:
            self._changed.clear()
            if self._bus.connected and self._bus.control.known:
                await self._try()
            await woken(self._changed, LOOK_EVERY)

    async def _try(self) -> None:
        try:
            async with self._bus.transaction() as tx:
                await self._compare(tx)
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.warning("the control bucket is not mirrored now", error=repr(error))
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("the control bucket is not mirrored now", error=repr(error))

    async def _compare(self, tx: Tx) -> None:
        await lock(tx)
        found = await self._bus.control.bucket()
        if found is None:
            return
        known = await _known(tx)
        mirror = {row.key: row.value for row in await tx.execute(select(control.c.key, control.c.value))}
        if is_lost(known, found):
            log.warning("the control bucket was lost or is an older one; it is made again as it was")
            for difference in differences(mirror, found.entries):
                await self._restore(tx, difference)
            found = await self._bus.control.bucket() or found
        else:
            for difference in differences(mirror, found.entries):
                await _adopt(tx, difference)
            await self._end_cancelled(tx, differences(mirror, found.entries))
            await self._forget_cancelled(tx)
        now = Known(found.created, found.last_sequence)
        if now != known:
            await _remember(tx, now)

    async def _end_cancelled(self, tx: Tx, changed: Iterable[Difference]) -> None:
        """Runs that somebody cancelled by a key alone."""
        now = datetime.now(UTC)
        verdicts = [
            Verdict(one.key.removeprefix(CANCEL), "cancelled", "asked", now)
            for one in changed
            if one.key.startswith(CANCEL) and one.bucket is not None and one.bucket.strip().lower() not in OFF
        ]
        if verdicts:
            events = await end_runs(tx, verdicts)
            await self._bus.emit(tx, events)
            tell(events, self._metrics)

    async def _forget_cancelled(self, tx: Tx) -> None:
        """Keys of runs of which no stream holds a job any more."""
        for key in list(await tx.scalars(OLD_CANCELS, {"like": f"{CANCEL}%", "age": CANCELS_KEPT})):
            await self._bus.control.remove(key)
            await drop_key(tx, key)

    async def _restore(self, tx: Tx, difference: Difference) -> None:
        if difference.mirror is None:
            await self._bus.control.remove(difference.key)
        else:
            await self._bus.control.put(difference.key, difference.mirror)
        await audit.record(
            tx,
            actor="scheduler",
            via="bucket",
            action="control.restore",
            target=difference.key,
            before=difference.bucket,
            after=difference.mirror,
        )


async def lock(tx: Tx) -> None:
    """One change of bucket and mirror at a time."""
    await tx.execute(LOCK)


async def save_key(tx: Tx, key: str, value: str, actor: str) -> None:
    row = {"key": key, "value": value, "actor": actor}
    changed = {"value": value, "actor": actor, "set_at": text("now()")}
    await tx.execute(insert(control).values(row).on_conflict_do_update(index_elements=["key"], set_=changed))


async def drop_key(tx: Tx, key: str) -> None:
    await tx.execute(delete(control).where(control.c.key == key))


def said(value: str | None) -> Mapping[str, Any]:
    """What a key holds: the JSON object that commands write, else the words of whoever set it by hand."""
    try:
        parsed = json.loads(value or "{}")
    except ValueError:
        parsed = value
    return parsed if isinstance(parsed, dict) else {"reason": value or ""}


async def _adopt(tx: Tx, difference: Difference) -> None:
    """Somebody else changed the bucket."""
    actor = str(said(difference.bucket).get("actor") or BY_HAND)
    if difference.bucket is None:
        await drop_key(tx, difference.key)
    else:
        await save_key(tx, difference.key, difference.bucket, actor)
    await audit.record(
        tx,
        actor=actor,
        via="bucket",
        action="control.set" if difference.bucket is not None else "control.remove",
        target=difference.key,
        before=difference.mirror,
        after=difference.bucket,
    )


async def _known(tx: Tx) -> Known | None:
    columns = (control_bucket.c.created, control_bucket.c.last_sequence)
    row = (await tx.execute(select(*columns).where(control_bucket.c.bucket == CONTROL_BUCKET))).first()
    return Known(row.created, row.last_sequence) if row else None


async def _remember(tx: Tx, known: Known) -> None:
    values = {"created": known.created, "last_sequence": known.last_sequence}
    await tx.execute(
        insert(control_bucket)
        .values(bucket=CONTROL_BUCKET, **values)
        .on_conflict_do_update(index_elements=["bucket"], set_=values)
    )
