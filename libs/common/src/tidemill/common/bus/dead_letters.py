"""Events given up: kept with everything, told of on the bus, replayed or dropped by command."""

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from nats.js.errors import NotFoundError
from sqlalchemy import ColumnElement, and_, select, text, true, update
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.connection import Connection
from tidemill.common.bus.headers import ID, RUN, TRACEPARENT, repeat_headers
from tidemill.common.bus.outbox import Outbox, row_of
from tidemill.common.bus.outcome import Dead
from tidemill.common.bus.publish import Row
from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Outgoing, Tx
from tidemill.common.bus.tables import BusTables
from tidemill.common.bus.topology import DEAD_STREAM
from tidemill.common.events import JobDead

log = structlog.get_logger(__name__)

TOLD_BYTES = 256 * 1024
"""A larger payload stays in the table alone; the event tells of the row."""

NOTED = 50
"""Numbers of dead letters that one row of the audit chain names."""

WHICH = {
    "ids": "numbers of dead letters, as the list shows them",
    "consumer": "of this consumer",
    "source": "of this source",
    "reason": "given up for this reason: invalid, poison, exhausted, deliveries",
    "all": "true: all that wait",
}


class DeadLetters:
    def __init__(
        self,
        service: str,
        engine: AsyncEngine,
        tables: BusTables,
        outbox: Outbox,
        connection: Connection,
    ) -> None:
        self._service = service
        self._engine = engine
        self._letters = tables.dead_letters
        self._outbox = outbox
        self._connection = connection

    async def bury(self, tx: Tx, consumer: str, dead: Sequence[Dead]) -> list[Row]:
        """Keep what was given up; the rows for the outbox tell of it."""
        now = datetime.now(UTC)
        told = []
        letters = []
        for each in dead:
            message = each.item.message
            letters.append(
                {
                    "consumer": consumer,
                    "event_id": message.id,
                    "origin_id": message.origin,
                    "source": each.item.source,
                    "subject": message.subject,
                    "payload": message.payload,
                    "headers": message.headers,
                    "reason": each.reason,
                    "error": each.error,
                    "attempts": each.attempts,
                    "died_at": now,
                }
            )
            event = JobDead(
                source=each.item.source,
                service=self._service,
                consumer=consumer,
                event_id=message.id,
                origin_subject=message.subject,
                reason=each.reason,
                error=each.error,
                attempts=each.attempts,
                payload=base64.b64encode(message.payload) if len(message.payload) <= TOLD_BYTES else b"",
                headers=message.headers,
                died_at=now,
            )
            row = row_of(Outgoing(self._event_id(consumer, message.id), event, message.traceparent))
            if message.run:
                row.headers[RUN] = message.run
            told.append(row)
        await tx.execute(self._letters.insert(), letters)
        return told

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="dead_letters_replay",
                handle=self._replay,
                description="Hand dead letters to their consumer again, under new ids",
                parameters={
                    **WHICH,
                    "payload": "replaces that of the one dead letter named by `ids` (a JSON object)",
                    **WHO,
                },
            ),
            Command(
                verb="dead_letters_drop",
                handle=self._drop,
                description="Close dead letters without handling them",
                parameters={**WHICH, **WHO},
            ),
        ]

    async def sweep(self) -> None:
        """Remove from the stream DEAD what was handled here."""
        letters = self._letters
        async with self._engine.connect() as connection:
            handled = await connection.execute(
                select(letters.c.id, letters.c.consumer, letters.c.event_id).where(
                    letters.c.handled_at.is_not(None), letters.c.in_stream
                )
            )
        gone = {self._event_id(consumer, event_id): id for id, consumer, event_id in handled}
        if not gone or not self._connection.connected:
            return
        await self._delete_messages(gone)
        async with self._engine.begin() as tx:
            await tx.execute(update(letters).where(letters.c.id.in_(gone.values())).values(in_stream=False))

    async def _delete_messages(self, gone: Mapping[str, int]) -> None:
        """The stream knows subjects and numbers, not ids: walk through the dead of this service."""
        js = self._connection.js
        sequence = 1
        while True:
            try:
                message = await js.get_msg(DEAD_STREAM, sequence, f"tidemill.dead.{self._service}", next=True)
            except NotFoundError:
                return
            assert message.seq is not None
            if (message.headers or {}).get(ID) in gone:
                await js.delete_msg(DEAD_STREAM, message.seq)
            sequence = message.seq + 1

    async def _replay(self, tx: Tx, _id: str, parameters: Mapping[str, Any]) -> Answer:
        payload = _edited(parameters)
        taken = await self._take(tx, parameters, "replayed")
        await self._outbox.stage(
            tx,
            [
                Row(
                    id := f"{letter.event_id}~{letter.id}",
                    letter.subject,
                    letter.payload if payload is None else payload,
                    repeat_headers(
                        letter.headers,
                        id=id,
                        origin=letter.origin_id,
                        consumer=letter.consumer,
                        attempt=1,
                        parent=letter.headers.get(TRACEPARENT, ""),
                    ),
                )
                for letter in taken
            ],
        )
        return self._answer("replay", "replayed", taken, {} if payload is None else {"edited": True})

    async def _drop(self, tx: Tx, _id: str, parameters: Mapping[str, Any]) -> Answer:
        taken = await self._take(tx, parameters, "dropped")
        return self._answer("drop", "dropped", taken, {})

    def _answer(self, verb: str, done: str, taken: Sequence[Any], more: Mapping[str, Any]) -> Answer:
        ids = [letter.id for letter in taken]
        after = {"count": len(ids), "ids": ids[:NOTED], **more}
        change = Change(f"dead_letters.{verb}", self._service, after=after) if ids else None
        return Answer({done: len(ids), "ids": ids}, change=change)

    async def _take(self, tx: Tx, parameters: Mapping[str, Any], handled_as: str) -> Sequence[Any]:
        letters = self._letters
        found = await tx.execute(
            update(letters)
            .where(letters.c.handled_at.is_(None), _chosen(letters.c, parameters))
            .values(handled_at=text("now()"), handled_as=handled_as)
            .returning(letters)
        )
        taken = sorted(found.all(), key=lambda letter: letter.id)
        ids = parameters.get("ids")
        if ids and not taken:
            known = set(await tx.scalars(select(letters.c.id).where(letters.c.id.in_(ids))))
            unknown = sorted(set(ids) - known)
            if unknown:
                raise CommandRefused(f"{self._service} has no dead letter {', '.join(map(str, unknown))}", "404")
        return taken

    def _event_id(self, consumer: str, event_id: str) -> str:
        return f"dead/{self._service}/{consumer}/{event_id}"


def _chosen(columns: Any, parameters: Mapping[str, Any]) -> ColumnElement[bool]:
    conditions = [
        columns[name] == str(parameters[name]) for name in ("consumer", "source", "reason") if parameters.get(name)
    ]
    ids = parameters.get("ids")
    if ids is not None:
        if not isinstance(ids, list) or not all(isinstance(id, int) and not isinstance(id, bool) for id in ids):
            raise CommandRefused("`ids` is a list of numbers, for instance [17, 18]")
        conditions.append(columns.id.in_(ids))
    if not conditions and parameters.get("all") is not True:
        raise CommandRefused("say which: `ids`, `consumer`, `source`, `reason`, or `all`: true")
    return and_(true(), *conditions)


def _edited(parameters: Mapping[str, Any]) -> bytes | None:
    payload = parameters.get("payload")
    if payload is None:
        return None
    if not isinstance(payload, dict) or len(parameters.get("ids") or ()) != 1:
        raise CommandRefused("`payload` is a JSON object and goes with exactly one id in `ids`")
    return json.dumps(payload, ensure_ascii=False).encode()
