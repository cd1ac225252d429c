"""What of documents and records goes after its time, and what refers to it so that it stays.

documents   bytes that no version that holds was made of
history     versions that hold, before the one that held at the moment: a record's past, not its present
believed    versions that were superseded, where nothing points at their content any more
rejected    rows that could not become records
quarantine  held records that were released or dropped
checks      what checks said of the records of documents
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, delete, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.step import Tx
from tidemill.common.retention import Going, Layer, rows_layer
from tidemill.converter.tables import doomed
from tidemill.converter.versions import lock_datasets

LOOK_EVERY = 30.0

DOCUMENTS = """
    SELECT d.sha256, max(d.size_bytes) AS bytes, max(d.received_at) AS received_at FROM converter.documents d
    WHERE d.received_at < :before AND d.removed_at IS NULL AND d.state = 'finished' AND d.sha256 <> ''
        AND NOT EXISTS (
            SELECT 1 FROM converter.documents o WHERE o.sha256 = d.sha256 AND (o.received_at >= :before
                OR o.state <> 'finished'
                OR EXISTS (SELECT 1 FROM converter.versions v WHERE v.document = o.id AND v.recorded_to IS NULL)))
    GROUP BY 1
"""
FIND_DOCUMENTS = text(rf"""
    SELECT count(*), coalesce(sum(bytes), 0), min(received_at), (array_agg(sha256 ORDER BY received_at))[1\:3]
    FROM ({DOCUMENTS}) d
""")
DOOM = text(f"""
    WITH gone AS (SELECT sha256 FROM ({DOCUMENTS}) d ORDER BY sha256 LIMIT :slice), told AS (
        INSERT INTO converter.doomed (sha256) SELECT sha256 FROM gone ON CONFLICT DO NOTHING
    ), noted AS (UPDATE converter.documents d SET removed_at = now() FROM gone WHERE d.sha256 = gone.sha256)
    SELECT count(*) FROM gone
""")

# The version of a record that held at the moment is where its remaining history begins.
HISTORY = """
    SELECT v.dataset, v.record, v.id, v.valid_from, later.valid_from AS begins FROM converter.versions v
    CROSS JOIN LATERAL (
        SELECT n.valid_from FROM converter.versions n
        WHERE n.dataset = v.dataset AND n.record = v.record AND n.recorded_to IS NULL AND n.valid_from < :before
        ORDER BY n.valid_from DESC LIMIT 1
    ) later
    WHERE v.recorded_to IS NULL AND v.valid_from < later.valid_from AND v.valid_from < :before
"""
FIND_HISTORY = text(rf"""
    SELECT count(*), coalesce(sum(pg_column_size(v.*)), 0), min(v.valid_from),
        (array_agg(DISTINCT r.key))[1\:3]
    FROM ({HISTORY}) h JOIN converter.versions v ON v.dataset = h.dataset AND v.id = h.id
    JOIN converter.records r ON r.dataset = h.dataset AND r.id = h.record
""")
TAKE_HISTORY = text(f"SELECT dataset, record, id, begins FROM ({HISTORY}) h ORDER BY dataset, record LIMIT :slice")
FORGET_SIGHTINGS = text("""
    UPDATE converter.sightings s SET contents = array_remove(s.contents, :content)
    WHERE s.dataset = :dataset AND s.contents @> ARRAY[CAST(:content AS bigint)] AND s.valid_at < :begins
""")
CONTENTS = text("""
    SELECT DISTINCT v.content FROM converter.versions v WHERE v.dataset = :dataset AND v.record = :record
""")
SUPERSEDE = text("UPDATE converter.versions SET recorded_to = now() WHERE dataset = :dataset AND id = ANY(:ids)")
EMPTY = text("DELETE FROM converter.sightings WHERE dataset = :dataset AND contents = '{}'")

BELIEVED = """
    SELECT v.dataset, v.id FROM converter.versions v
    WHERE v.recorded_to < :before
        AND NOT EXISTS (
            SELECT 1 FROM converter.versions o
            WHERE o.dataset = v.dataset AND o.record = v.record AND o.content = v.id AND o.id <> v.id)
        AND NOT EXISTS (
            SELECT 1 FROM converter.records r WHERE r.dataset = v.dataset AND r.id = v.record AND r.version = v.id)
        AND NOT EXISTS (
            SELECT 1 FROM converter.sightings s JOIN converter.documents d ON d.id = s.document
            WHERE s.dataset = v.dataset AND s.contents @> ARRAY[v.id] AND d.superseded_by IS NULL)
"""
FIND_BELIEVED = text(rf"""
    SELECT count(*), coalesce(sum(pg_column_size(v.*)), 0), min(v.recorded_to), (array_agg(DISTINCT r.key))[1\:3]
    FROM ({BELIEVED}) b JOIN converter.versions v ON v.dataset = b.dataset AND v.id = b.id
    JOIN converter.records r ON r.dataset = v.dataset AND r.id = v.record
""")
REMOVE_BELIEVED = text(f"""
    WITH gone AS (SELECT * FROM ({BELIEVED}) b LIMIT :slice), followed AS (
        DELETE FROM converter.enriched e USING gone WHERE e.dataset = gone.dataset AND e.content = gone.id
    )
    DELETE FROM converter.versions v USING gone WHERE v.dataset = gone.dataset AND v.id = gone.id
""")


def layers(datasets: Mapping[int, str]) -> tuple[Layer, ...]:
    """`datasets`: names by id, for their locks."""

    async def remove_history(tx: Tx, before: datetime, slice: int) -> int:
        return await _remove_history(tx, before, slice, datasets)

    rejected = rows_layer(
        "rejected", "converter.rejected", "recorded_at", example="t.reason || ': ' || left(t.raw, 60)"
    )
    quarantine = rows_layer(
        "quarantine",
        "converter.quarantine",
        "settled_at",
        where="t.state <> 'held'",
        example="t.key || ': ' || t.reason",
    )
    checks = rows_layer("checks", "converter.record_checks", "judged_at", example="t.name")
    return (
        Layer(name="documents", find=_finder(FIND_DOCUMENTS), remove=_remove_documents),
        Layer(name="history", find=_finder(FIND_HISTORY), remove=remove_history),
        Layer(name="believed", find=_finder(FIND_BELIEVED), remove=_remove_believed),
        rejected,
        quarantine,
        checks,
    )


def _finder(statement: TextClause) -> Callable[[AsyncConnection, datetime], Awaitable[Going]]:
    async def find(connection: AsyncConnection, before: datetime) -> Going:
        row = (await connection.execute(statement, {"before": before})).one()
        return Going(row[0], int(row[1]), row[2], tuple(row[3] or ()))

    return find


async def _remove_documents(tx: Tx, before: datetime, slice: int) -> int:
    """Decide it; the archive forgets them when that is committed."""
    return int(await tx.scalar(DOOM, {"before": before, "slice": slice}) or 0)


async def _remove_history(tx: Tx, before: datetime, slice: int, datasets: Mapping[int, str]) -> int:
    """They become what was believed once; what documents stated of that time is forgotten with them, so that no late
    document brings it back."""
    await lock_datasets(tx, datasets.values())
    rows = (await tx.execute(TAKE_HISTORY, {"before": before, "slice": slice})).all()
    records: dict[tuple[int, int], datetime] = {}
    ids: dict[int, list[int]] = {}
    for dataset, record, id, begins in rows:
        records[dataset, record] = begins
        ids.setdefault(dataset, []).append(id)
    for (dataset, record), begins in records.items():
        for content in (await tx.scalars(CONTENTS, {"dataset": dataset, "record": record})).all():
            await tx.execute(FORGET_SIGHTINGS, {"dataset": dataset, "content": content, "begins": begins})
    for dataset, superseded in ids.items():
        await tx.execute(SUPERSEDE, {"dataset": dataset, "ids": superseded})
        await tx.execute(EMPTY, {"dataset": dataset})
    return len(rows)


async def _remove_believed(tx: Tx, before: datetime, slice: int) -> int:
    return (await tx.execute(REMOVE_BELIEVED, {"before": before, "slice": slice})).rowcount


@dataclass(frozen=True, slots=True)
class Undertaker:
    """Has the archive forget what was decided, after the decision is committed."""

    engine: AsyncEngine
    archive: Archive

    async def run(self) -> None:
        while True:
            await self.work()
            await asyncio.sleep(LOOK_EVERY)

    async def work(self) -> None:
        async with self.engine.connect() as connection:
            due = (await connection.scalars(doomed.select().with_only_columns(doomed.c.sha256))).all()
        for sha256 in due:
            async with self.engine.begin() as tx:
                # Whoever takes back the decision meanwhile waits for us, or we find nothing.
                if (await tx.execute(delete(doomed).where(doomed.c.sha256 == sha256))).rowcount:
                    await self.archive.delete(sha256)
