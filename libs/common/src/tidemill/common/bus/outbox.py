"""Events stated in a transaction: published right after its commit, and until a stream has them for good."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.activity import Activity, woken
from tidemill.common.bus.connection import Connection
from tidemill.common.bus.headers import headers_of
from tidemill.common.bus.publish import Confirmed, Publisher, Row
from tidemill.common.bus.step import Outgoing, Poison, Tx
from tidemill.common.bus.tables import BusTables
from tidemill.common.telemetry.metrics import OUTBOX_OLDEST_SECONDS, OUTBOX_UNSENT, Metrics

log = structlog.get_logger(__name__)

KEEP = timedelta(minutes=15)
"""After confirmation. nats-server writes to the disk every two minutes; until then a power loss takes it back."""
OVERDUE = timedelta(minutes=5)
"""Beyond KEEP: rows that no relay on their server has removed are published again."""
LEFTOVER_AFTER = timedelta(seconds=3)
"""Who committed a row publishes it; after that long the relay takes over."""
OLD_SECONDS = 30
MAX_EVENT_BYTES = 1_000_000
RELAY_SLICE = 512
RESTORE_SLICE = 5_000
MARK_EVERY = 0.5
CLEAN_EVERY = 30.0


class Outbox:
    def __init__(
        self, engine: AsyncEngine, tables: BusTables, connection: Connection, publisher: Publisher, metrics: Metrics
    ) -> None:
        self._engine = engine
        self._connection = connection
        self._publisher = publisher
        self._metrics = metrics
        self.activity = Activity()
        self._staged: dict[Tx, list[Row]] = {}
        self._confirmed: list[Confirmed] = []
        self._wake = asyncio.Event()
        connection.on_connect(self._wake.set)
        self._restored_for = ""
        self._oldest_seconds = 0.0
        outbox = tables.outbox.fullname
        self._insert = (
            f"INSERT INTO {outbox} (event_id, subject, payload, headers) "
            "SELECT event_id, subject, payload, headers::jsonb "
            "FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) WITH ORDINALITY "
            "AS stated(event_id, subject, payload, headers, place) ORDER BY place RETURNING id"
        )
        self._mark = (
            f"UPDATE {outbox} SET sent_at = now(), server_id = $1 WHERE id = ANY($2::bigint[]) AND sent_at IS NULL"
        )
        self._leftovers = text(
            f"SELECT event_id, subject, payload, headers::text, id FROM {outbox} "
            "WHERE sent_at IS NULL AND created_at < now() - CAST(:age AS interval) "
            "ORDER BY id LIMIT :slice FOR UPDATE SKIP LOCKED"
        )
        self._restore = text(
            f"WITH slice AS (SELECT id, server_id FROM {outbox} WHERE id > :after ORDER BY id LIMIT :slice), "
            f"taken_back AS (UPDATE {outbox} AS sent SET sent_at = NULL, server_id = NULL FROM slice "
            "WHERE sent.id = slice.id AND slice.server_id <> :server RETURNING 1) "
            "SELECT (SELECT max(id) FROM slice), (SELECT count(*) FROM taken_back)"
        )
        self._overdue = text(
            f"UPDATE {outbox} SET sent_at = NULL, server_id = NULL "
            "WHERE sent_at < now() - CAST(:age AS interval) AND server_id <> :server"
        )
        self._clean = text(
            f"DELETE FROM {outbox} WHERE id IN (SELECT id FROM {outbox} "
            "WHERE sent_at < now() - CAST(:age AS interval) AND server_id = :server ORDER BY sent_at LIMIT :slice)"
        )

    @property
    def problem(self) -> str | None:
        """Events that nobody downstream has heard of for too long."""
        if self._oldest_seconds <= OLD_SECONDS:
            return None
        why = f": {self._publisher.problem}" if self._publisher.problem else ""
        return f"an event waits to be published for {self._oldest_seconds:.0f} s{why}"

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """What is staged inside is published right after the commit."""
        async with self._engine.begin() as tx:
            rows = self._staged[tx] = []
            try:
                yield tx
            finally:
                del self._staged[tx]
        if rows:
            await self.publish(rows)

    async def emit(self, tx: Tx, events: Sequence[Outgoing]) -> None:
        await self.stage(tx, map(row_of, events))

    async def stage(self, tx: Tx, rows: Iterable[Row]) -> None:
        """Insert, and remember for the publishing after the commit of `transaction()`. Of another transaction the relay
        publishes them, a little later."""
        inserted = await self.insert(tx, list(rows))
        if tx in self._staged:
            self._staged[tx].extend(inserted)

    async def insert(self, tx: Tx, rows: Sequence[Row]) -> list[Row]:
        if not rows:
            return []
        ids = await tx.exec_driver_sql(
            self._insert,
            (
                [row.event_id for row in rows],
                [row.subject for row in rows],
                [row.payload for row in rows],
                [json.dumps(row.headers) for row in rows],
            ),
        )
        return [replace(row, id=id) for row, id in zip(rows, ids.scalars(), strict=True)]

    async def publish(self, rows: Sequence[Row]) -> None:
        """Publish committed rows; what is not confirmed is left to the relay."""
        self.activity.stir()
        confirmed = await self._publisher.publish(rows)
        if confirmed:
            self._confirmed.extend(confirmed)
            self._wake.set()

    def note(self, unsent: int, oldest_seconds: float) -> None:
        """What a look at the table showed."""
        self._oldest_seconds = oldest_seconds
        self._metrics.of(OUTBOX_UNSENT).set(unsent)
        self._metrics.of(OUTBOX_OLDEST_SECONDS).set(oldest_seconds)
        if timedelta(seconds=oldest_seconds) > LEFTOVER_AFTER:
            self._wake.set()

    async def relay(self) -> None:
        """Keep the table and the streams in step, until cancelled."""
        cleaned = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            server = self._connection.server_id
            if server and server != self._restored_for:
                await self._take_back(server)
            await self.mark()
            if server and timedelta(seconds=self._oldest_seconds) > LEFTOVER_AFTER:
                await self._publish_leftovers()
            if server and clock() - cleaned >= CLEAN_EVERY:
                cleaned = clock()
                await self.clean(server)
            await woken(self._wake, CLEAN_EVERY)
            self._wake.clear()
            await asyncio.sleep(MARK_EVERY)

    async def mark(self) -> None:
        """Note who confirmed what. Rows confirmed by another server process than the present one stay unsent: it is
        not known what that one still has."""
        server = self._connection.server_id
        if not self._confirmed:
            return
        taken, self._confirmed = self._confirmed, []
        ids = sorted(each.id for each in taken if each.server_id == server)
        if ids:
            async with self._engine.begin() as tx:
                # A mark that is lost costs one publication that the stream drops.
                await tx.exec_driver_sql("SET LOCAL synchronous_commit TO off")
                await tx.exec_driver_sql(self._mark, (server, ids))

    async def _take_back(self, server: str) -> None:
        """Another nats-server process may have an older store: what only its predecessor confirmed counts as unsent."""
        after, count = 0, 0
        while True:
            async with self._engine.begin() as tx:
                row = (
                    await tx.execute(self._restore, {"after": after, "slice": RESTORE_SLICE, "server": server})
                ).one()
            if row[0] is None:
                break
            after, count = row[0], count + row[1]
        self._restored_for = server
        if count:
            self._oldest_seconds = float(OLD_SECONDS)
            log.info("publishing again what another server process confirmed", events=count, server=server)

    async def _publish_leftovers(self) -> None:
        found = RELAY_SLICE
        while found == RELAY_SLICE:
            async with self._engine.begin() as tx:
                rows = [
                    Row(event_id, subject, payload, json.loads(headers), id)
                    for event_id, subject, payload, headers, id in await tx.execute(
                        self._leftovers, {"age": LEFTOVER_AFTER, "slice": RELAY_SLICE}
                    )
                ]
                server = self._connection.server_id
                confirmed = [each.id for each in await self._publisher.publish(rows) if each.server_id == server]
                if confirmed:
                    await tx.exec_driver_sql(self._mark, (server, confirmed))
            found = len(confirmed)

    async def clean(self, server: str) -> None:
        """Remove what the present server has had for long enough."""
        async with self._engine.begin() as tx:
            await tx.execute(self._overdue, {"age": KEEP + OVERDUE, "server": server})
        removed = RESTORE_SLICE
        while removed == RESTORE_SLICE:
            async with self._engine.begin() as tx:
                found = await tx.execute(self._clean, {"age": KEEP, "server": server, "slice": RESTORE_SLICE})
            removed = found.rowcount


def row_of(outgoing: Outgoing) -> Row:
    payload = outgoing.event.to_json()
    if len(payload) > MAX_EVENT_BYTES:
        raise Poison(
            f"{type(outgoing.event).__name__} {outgoing.id} has {len(payload)} bytes, more than {MAX_EVENT_BYTES}: "
            "put the content into the archive and state where it is"
        )
    return Row(outgoing.id, outgoing.event.subject_filled(), payload, headers_of(outgoing))
