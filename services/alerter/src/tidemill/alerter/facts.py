"""Events and measured values in their tables: written by steps and rounds, read by rounds and replays."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from tidemill.alerter.keys import digest
from tidemill.alerter.measures.declared import Sample
from tidemill.alerter.signals import Signal
from tidemill.common.bus.step import Tx

SAVE_SIGNALS = """
INSERT INTO alerter.signals AS known (event, digest, minute, labels, count, at, says, run, traceparent)
SELECT event, digest, minute, labels::jsonb, count, at, says, run, traceparent
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::bigint[], $6::timestamptz[], $7::text[],
            $8::text[], $9::text[])
    AS came(event, digest, minute, labels, count, at, says, run, traceparent)
ORDER BY event, digest, minute
ON CONFLICT (event, digest, minute) DO UPDATE SET count = known.count + excluded.count,
    at = greatest(known.at, excluded.at), noted_at = clock_timestamp(),
    says = CASE WHEN excluded.at >= known.at THEN excluded.says ELSE known.says END,
    run = CASE WHEN excluded.at >= known.at THEN excluded.run ELSE known.run END,
    traceparent = CASE WHEN excluded.at >= known.at THEN excluded.traceparent ELSE known.traceparent END
"""
SIGNALS = """
SELECT event, digest, minute, labels, count, at, says, run, traceparent FROM alerter.signals
"""
NOTED_SINCE = text(f"{SIGNALS} WHERE at >= :since AND (CAST(:noted AS timestamptz) IS NULL OR noted_at >= :noted)")
CAME_SINCE = text(f"{SIGNALS} WHERE at >= :since AND event = ANY(:events) ORDER BY at")
SAVE_SAMPLES = """
INSERT INTO alerter.samples (measure, digest, at, labels, value, says)
SELECT measure, digest, at, labels::jsonb, value, says
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::float8[], $6::text[])
    AS measured(measure, digest, at, labels, value, says)
ON CONFLICT DO NOTHING
"""
MEASURED_SINCE = text("""
SELECT measure, at, labels, value, says FROM alerter.samples WHERE measure = :measure AND at >= :since ORDER BY at
""")

SignalKey = tuple[str, str, datetime]


async def save_signals(tx: Tx, signals: Iterable[Signal]) -> None:
    """Add them to what is counted of their minutes."""
    counted: dict[SignalKey, Signal] = {}
    for signal in signals:
        key = (signal.event, digest(signal.labels), signal.at.replace(second=0, microsecond=0))
        known = counted.get(key)
        counted[key] = _together(known, signal) if known else signal
    if not counted:
        return
    rows = [
        (*key, json.dumps(one.labels), one.count, one.at, one.says, one.run, one.traceparent)
        for key, one in counted.items()
    ]
    await tx.exec_driver_sql(SAVE_SIGNALS, tuple(map(list, zip(*rows, strict=True))))


def _together(one: Signal, other: Signal) -> Signal:
    last = other if other.at >= one.at else one
    return Signal(
        event=last.event,
        labels=last.labels,
        at=last.at,
        count=one.count + other.count,
        says=last.says,
        run=last.run,
        traceparent=last.traceparent,
    )


async def find_signals(tx: Tx, since: datetime, noted: datetime | None) -> dict[SignalKey, Signal]:
    """Those since then, by event, labels and minute; where `noted` is given, only what was counted after it."""
    rows = await tx.execute(NOTED_SINCE, {"since": since, "noted": noted})
    return {(row.event, row.digest, row.minute): _signal(row) for row in rows}


async def find_history(tx: Tx, events: Sequence[str], since: datetime) -> list[Signal]:
    return [_signal(row) for row in await tx.execute(CAME_SINCE, {"since": since, "events": list(events)})]


def _signal(row: Any) -> Signal:
    return Signal(
        event=row.event,
        labels=row.labels,
        at=row.at,
        count=row.count,
        says=row.says,
        run=row.run,
        traceparent=row.traceparent,
    )


async def find_measured(tx: Tx, measure: str, since: datetime) -> list[tuple[datetime, Sample | None, str]]:
    """What changed, in the order of time; None where a value was there no more. With the digest of its labels."""
    return [
        (
            row.at,
            None
            if row.value is None
            else Sample(measure=row.measure, labels=row.labels, value=row.value, says=row.says),
            digest(row.labels),
        )
        for row in await tx.execute(MEASURED_SINCE, {"measure": measure, "since": since})
    ]


class Changes:
    """Which measured values are worth a row: what changed by more than a hundredth, and what is gone."""

    def __init__(self, again: timedelta = timedelta(minutes=10)) -> None:
        self._again = again
        self._last: dict[tuple[str, str], tuple[Sample, datetime]] = {}

    async def save(self, tx: Tx, samples: Sequence[Sample], now: datetime) -> None:
        current = {(sample.measure, digest(sample.labels)): sample for sample in samples}
        rows: list[tuple[Any, ...]] = []
        for key, sample in current.items():
            known = self._last.get(key)
            if known is None or _differs(known[0].value, sample.value) or now - known[1] >= self._again:
                rows.append((*key, now, json.dumps(sample.labels), sample.value, sample.says))
                self._last[key] = sample, now
        for key in self._last.keys() - current.keys():
            gone, _ = self._last.pop(key)
            rows.append((*key, now, json.dumps(gone.labels), None, ""))
        if rows:
            await tx.exec_driver_sql(SAVE_SAMPLES, tuple(map(list, zip(*rows, strict=True))))


def _differs(one: float, other: float) -> bool:
    return abs(one - other) > 0.01 * max(abs(one), abs(other))
