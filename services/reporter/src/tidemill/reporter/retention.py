"""What of the reporter goes after its time."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.common.archive import Archive
from tidemill.common.bus.step import Tx
from tidemill.common.channels import deliveries_layer
from tidemill.common.retention import Going, Layer, rows_layer

OLD = """
FROM reporter.renderings r WHERE r.made_at < :before
    AND NOT EXISTS (SELECT FROM reporter.deliveries d WHERE d.state = 'waiting'
        AND d.message LIKE 'report/' || r.kind || '/' || r.subject || '/%')
"""
FIND = text(rf"SELECT count(*), coalesce(sum(size_bytes), 0), min(made_at), (array_agg(name))[1\:3] {OLD}")
REMOVE = text(f"""
DELETE FROM reporter.renderings g USING (SELECT r.kind, r.subject, r.edition, r.name {OLD} LIMIT :slice) r
WHERE (g.kind, g.subject, g.edition, g.name) = (r.kind, r.subject, r.edition, r.name) RETURNING g.sha256
""")
STILL_USED = text("SELECT sha256 FROM reporter.renderings WHERE sha256 = ANY(:several)")
DOCUMENTS = text("SELECT to_regclass('converter.documents') IS NOT NULL")
RECEIVED = text("SELECT sha256 FROM converter.documents WHERE sha256 = ANY(:several)")


def layers(archive: Archive) -> tuple[Layer, ...]:
    sendings = rows_layer("deliveries", "reporter.sendings", "ended_at", example="concat_ws(' ', t.channel, t.message)")
    return (
        rows_layer("measures", "reporter.measures", "day", example="concat_ws(' ', t.source, t.name, t.day)"),
        rows_layer("reports", "reporter.reports", "day", example="concat_ws(' ', t.kind, t.subject)"),
        _together("deliveries", (deliveries_layer("reporter"), sendings, _renderings(archive))),
    )


def _together(name: str, parts: Sequence[Layer]) -> Layer:
    """Several tables that are kept for one time."""

    async def find(connection: AsyncConnection, before: datetime) -> Going:
        found = [await part.find(connection, before) for part in parts]
        return Going(
            sum(one.items for one in found),
            sum(one.bytes for one in found),
            min((one.oldest for one in found if one.oldest), default=None),
            next((one.examples for one in found if one.examples), ()),
        )

    async def remove(tx: Tx, before: datetime, slice: int) -> int:
        return sum([await part.remove(tx, before, slice) for part in parts])

    return Layer(name=name, find=find, remove=remove)


def _renderings(archive: Archive) -> Layer:
    """Files that went along with mails; the same file may have gone along with several, or be a document, too."""

    async def find(connection: AsyncConnection, before: datetime) -> Going:
        row = (await connection.execute(FIND, {"before": before})).one()
        return Going(row[0], int(row[1]), row[2], tuple(row[3] or ()))

    async def remove(tx: Tx, before: datetime, slice: int) -> int:
        gone = list((await tx.scalars(REMOVE, {"before": before, "slice": slice})).all())
        used = set(await tx.scalars(STILL_USED, {"several": gone}))
        if gone and await tx.scalar(DOCUMENTS):
            used |= set(await tx.scalars(RECEIVED, {"several": gone}))
        for sha256 in set(gone) - used:
            await archive.delete(sha256)
        return len(gone)

    return Layer(name="deliveries", find=find, remove=remove)
