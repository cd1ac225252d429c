"""Which runs and slots go after their time."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from tidemill.scheduler.retention import LAYERS

from .conftest import START, Station

pytestmark = pytest.mark.servers

RUN = text("""
    INSERT INTO scheduler.runs (run, source, trigger, state, requested_at, finished_at, new)
    VALUES (:run, 'paper', 'schedule', 'complete', :at, :ended, :new)
""")
ITEM = text("""
    INSERT INTO scheduler.run_items (run, item, rank, at, outcome, reason, detail, name, sha256, planned, corrected,
        requests, bytes, cpu_seconds, peak_memory_bytes)
    VALUES (:run, 'a.pdf', 9, :at, 'unchanged', '', '', 'a.pdf', '', true, false, 1, 0, 0, 0)
""")
SLOT = text("""
    INSERT INTO scheduler.slots (source, slot, schedule, outcome, due_at, decided_at)
    VALUES ('paper', :slot, 'every 1h', :outcome, :slot, :slot)
""")


async def test_runs_that_brought_nothing_go_with_their_items_and_fired_slots_stay(station: Station) -> None:
    old, young = START - timedelta(days=900), START
    async with station.engine.begin() as tx:
        for run, at, ended, new in (
            ("barren", old, old, 0),
            ("fruitful", old, old, 1),
            ("young", young, young, 0),
            ("open", old, None, 0),
        ):
            await tx.execute(RUN, {"run": run, "at": at, "ended": ended, "new": new})
            await tx.execute(ITEM, {"run": run, "at": at})
        for hours, outcome in enumerate(("fired", "skipped", "skipped")):
            await tx.execute(SLOT, {"slot": old + timedelta(hours=hours), "outcome": outcome})
        await tx.execute(SLOT, {"slot": young, "outcome": "skipped"})
    before = START - timedelta(days=1)
    for layer, found in zip(LAYERS, (1, 2), strict=True):
        async with station.engine.begin() as tx:
            going = await layer.find(tx, before)
            assert (going.items, going.oldest is not None) == (found, True)
            assert sum([await layer.remove(tx, before, 1) for _ in range(found + 1)]) == found
    async with station.engine.connect() as connection:
        left = (await connection.scalars(text("SELECT run FROM scheduler.runs ORDER BY run"))).all()
        items = (await connection.scalars(text("SELECT run FROM scheduler.run_items ORDER BY run"))).all()
        slots = (await connection.scalars(text("SELECT outcome FROM scheduler.slots ORDER BY slot"))).all()
    assert left == items == ["fruitful", "open", "young"]
    assert slots == ["fired", "skipped"]
