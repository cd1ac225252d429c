"""Which rows of the scheduler go after their time."""

from datetime import datetime

from sqlalchemy import text

from tidemill.common.bus.step import Tx
from tidemill.common.retention import Layer, rows_layer

BARREN = "t.finished_at IS NOT NULL AND t.new + t.changed + t.gone + t.reappeared = 0"
"""Records lead back to the runs that changed something: those stay."""
REMOVE = text(f"""
    WITH gone AS (
        DELETE FROM scheduler.runs WHERE run = ANY(ARRAY(
            SELECT t.run FROM scheduler.runs t WHERE t.finished_at < :before AND {BARREN} LIMIT :slice))
        RETURNING run
    ), items AS (DELETE FROM scheduler.run_items i USING gone WHERE i.run = gone.run)
    SELECT count(*) FROM gone
""")


async def _remove(tx: Tx, before: datetime, slice: int) -> int:
    return int(await tx.scalar(REMOVE, {"before": before, "slice": slice}) or 0)


_RUNS = rows_layer("runs", "scheduler.runs", "finished_at", where=BARREN, example="t.run")

LAYERS = (
    Layer(name="runs", find=_RUNS.find, remove=_remove),
    rows_layer(
        "slots", "scheduler.slots", "decided_at", where="t.outcome = 'skipped'", example="t.source || ' ' || t.slot"
    ),
)
