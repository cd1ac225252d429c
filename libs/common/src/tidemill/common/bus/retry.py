"""When a failed event is tried again, and the table where it waits meanwhile."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from tidemill.common.bus.headers import ATTEMPT, repeat_headers
from tidemill.common.bus.outcome import Again, Dead, Item
from tidemill.common.bus.publish import Row
from tidemill.common.bus.step import Poison, Tx, Unavailable
from tidemill.common.bus.supervise import describe
from tidemill.common.bus.tables import BusTables

DUE_SLICE = 256
SOON = timedelta(minutes=1)
"""Up to here the message itself comes again (nak with delay); longer pauses would fill the consumer's ack window."""
MAX_DELIVERIES = 100
"""Deliveries since the last recorded outcome: only a message that ends its process each time gets there."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    pause: timedelta
    counted: bool = True

    @property
    def from_table(self) -> bool:
        return self.pause > SOON


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str
    """poison, exhausted, deliveries; `invalid` for what cannot be read at all."""


def after_failure(
    error: BaseException, attempt: int, deliveries: int, schedule: Sequence[timedelta]
) -> TryAgain | GiveUp:
    """How often do we retry? Once per pause of the step's schedule; poison never; and for as long as it takes while
    something around us is missing."""
    if isinstance(error, Poison):
        return GiveUp("poison")
    if isinstance(error, Unavailable):
        return TryAgain(min(SOON, timedelta(seconds=2 ** min(deliveries, 6))), counted=False)
    if attempt > len(schedule):
        return GiveUp("exhausted")
    return TryAgain(schedule[attempt - 1])


def judge(item: Item, error: BaseException, schedule: Sequence[timedelta]) -> Again | Dead:
    """What a failure makes of an event in hand."""
    verdict = after_failure(error, item.attempt, item.message.deliveries, schedule)
    if isinstance(verdict, GiveUp):
        return Dead(item, reason=verdict.reason, error=describe(error), attempts=item.attempt)
    return Again(
        item, error=describe(error), pause=verdict.pause, counted=verdict.counted, from_table=verdict.from_table
    )


def ends_its_process(deliveries: int, at_last_outcome: int) -> bool:
    return deliveries - at_last_outcome > MAX_DELIVERIES


def repeat_id(id: str, attempt_asked: int, next_attempt: int) -> str:
    """`{id}#{attempt}`, never an id that the event has had: `attempt_asked` is 0 unless `id` is a repeat already."""
    original = id.removesuffix(f"#{attempt_asked}") if 0 < attempt_asked < next_attempt else id
    return f"{original}#{next_attempt}"


class Retries:
    def __init__(self, tables: BusTables) -> None:
        retries = tables.retries.fullname
        self._save = (
            f"INSERT INTO {retries} AS known (consumer, event_id, origin_id, source, attempts, deliveries, due_at, "
            "subject, payload, headers, error) SELECT $1, event_id, origin_id, source, attempts, deliveries, "
            "now() + due * interval '1 second', subject, payload, headers::jsonb, error "
            "FROM unnest($2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::float8[], $8::text[], "
            "$9::bytea[], $10::text[], $11::text[]) "
            "AS failed(event_id, origin_id, source, attempts, deliveries, due, subject, payload, headers, error) "
            "ORDER BY event_id ON CONFLICT (consumer, event_id) DO UPDATE SET attempts = excluded.attempts, "
            "deliveries = excluded.deliveries, due_at = excluded.due_at, payload = excluded.payload, "
            "headers = excluded.headers, error = excluded.error, failed_at = now()"
        )
        self._forget = f"DELETE FROM {retries} WHERE consumer = $1 AND event_id = ANY($2::text[])"
        self._take_due = (
            f"DELETE FROM {retries} AS taken USING (SELECT consumer, event_id FROM {retries} WHERE due_at <= now() "
            f"AND NOT source = ANY($1::text[]) ORDER BY due_at LIMIT {DUE_SLICE} FOR UPDATE SKIP LOCKED) AS due "
            "WHERE taken.consumer = due.consumer AND taken.event_id = due.event_id "
            "RETURNING taken.consumer, taken.event_id, origin_id, attempts, subject, payload, headers::text"
        )

    async def save(self, tx: Tx, consumer: str, failures: Sequence[Again]) -> None:
        rows = [
            (
                again.item.id,
                again.item.message.origin,
                again.item.source,
                again.failures,
                again.item.message.deliveries,
                again.pause.total_seconds() if again.from_table else None,
                again.item.message.subject,
                again.item.message.payload if again.from_table else None,
                json.dumps(again.item.message.headers if again.from_table else {}),
                again.error,
            )
            for again in failures
        ]
        await tx.exec_driver_sql(self._save, (consumer, *map(list, zip(*rows, strict=True))))

    async def forget(self, tx: Tx, consumer: str, ids: Sequence[str]) -> None:
        await tx.exec_driver_sql(self._forget, (consumer, sorted(ids)))

    async def take_due(self, tx: Tx, except_sources: Iterable[str]) -> list[Row]:
        """Take what is due out of the table, as messages for the outbox of the same transaction."""
        due = await tx.exec_driver_sql(self._take_due, (list(except_sources),))
        repeats = []
        for row in due:
            consumer, event_id, origin, failures, subject, payload, headers_text = tuple(row)
            headers = json.loads(headers_text)
            asked = int(headers.get(ATTEMPT, 0))
            id = repeat_id(event_id, asked, failures + 1)
            headers = repeat_headers(headers, id=id, origin=origin, consumer=consumer, attempt=failures + 1)
            repeats.append(Row(id, subject, payload, headers))
        return repeats
