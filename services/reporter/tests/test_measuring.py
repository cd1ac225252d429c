"""Runs that ended are measured, and held against their past."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tidemill.common.bus.step import Delivery, Done
from tidemill.common.events import AnomalyFound
from tidemill.plugin import Position, Rejected
from tidemill.reporter.steps import run_step

from .kit import METRICS, MONDAY, World, listing

pytestmark = pytest.mark.servers


async def test_a_run_is_measured_by_what_ledger_and_store_hold(world: World) -> None:
    homes = [listing(n, "Espoo" if n % 3 else "Helsinki", price=100_000 + 1000 * n) for n in range(45)]
    bad = Rejected("no_price", "there is none", "x", Position(item=1))
    event = await world.run("demo", MONDAY, homes, rejected=[bad], new=45, failed=1)
    rows = await world.sql("SELECT name, labels, value FROM reporter.measures WHERE subject = :run", run=event.run)
    values = {(row.name, row.labels): row.value for row in rows}
    assert values["new", "{}"] == 45
    assert values["failed", "{}"] == 1
    assert values["duration_seconds", "{}"] == 60
    assert values["records", "{}"] == 45
    assert values["rejected", "{}"] == 1
    assert values["listings.listing.records", "{}"] == 45
    assert values["listings.listing.records", '{"city":"Espoo"}'] == 30
    assert values["listings.listing.quality", "{}"] == pytest.approx(0.8)
    # The median of (100,000 + 1000 n) / 50 over n = 0, 3, … 42.
    assert values["listings.listing.price_per_m2_eur", '{"city":"Helsinki"}'] == (100_000 + 21_000) / 50


async def test_a_run_that_changes_no_record_leaves_levels_as_they_were(world: World) -> None:
    homes = [listing(n) for n in range(12)]
    await world.run("demo", MONDAY, homes, new=12)
    later = await world.run("demo", MONDAY + timedelta(days=1), homes, unchanged=12)
    assert later.records["listings.listing"].unchanged == 12
    found = await world.sql("SELECT subject, name, labels, value FROM reporter.measures WHERE name LIKE 'listings%'")
    assert len(found) == 2 * len({(row.name, row.labels) for row in found})
    assert {row.value for row in found if row.name.endswith("price_per_m2_eur")} == {4000.0}


async def test_what_left_its_band_is_stated_once_and_again_when_it_was_corrected(world: World) -> None:
    for day in range(56, 0, -1):
        at = MONDAY - timedelta(days=day)
        await world.run("demo", at, new=100 if at.weekday() < 5 else 10, items=200)
    assert world.anomalies == []
    event = await world.run("demo", MONDAY, new=10, items=200)
    (found,) = world.anomalies
    assert isinstance(found, AnomalyFound)
    assert (found.measure, found.severity, found.basis) == ("new", "critical", "8 earlier Mondays")
    assert found.low <= found.expected <= found.high
    assert await world.tell(event) == []  # The same again.
    band = await world.sql(
        "SELECT low, high, severity FROM reporter.measures WHERE subject = :r AND name = 'new'", r=event.run
    )
    assert [tuple(row) for row in band] == [(found.low, found.high, "critical")]
    await world.run("demo", MONDAY, new=101, items=200, corrected=True)
    assert (
        await world.scalar("SELECT value FROM reporter.measures WHERE subject = :r AND name = 'new'", r=event.run)
        == 101
    )
    assert await world.sql("SELECT 1 FROM reporter.measures WHERE severity <> ''") == []


async def test_files_that_appear_are_measured_and_not_judged_one_by_one(world: World) -> None:
    for day in range(30, -1, -1):
        await world.run("inbox", MONDAY - timedelta(days=day), new=100 if day else 1, trigger="file")
    assert world.anomalies == []
    assert await world.scalar("SELECT count(*) FROM reporter.measures WHERE name = 'new'") == 31
    assert await world.scalar("SELECT count(*) FROM reporter.due WHERE kind = 'run'") == 0
    assert await world.scalar("SELECT count(*) FROM reporter.due WHERE kind = 'day'") == 31


async def test_a_run_is_held_against_runs_of_the_same_time_of_day(world: World) -> None:
    for day in range(40, -1, -1):
        for hour, many in ((6, 500), (18, 50)):
            at = (MONDAY - timedelta(days=day)).replace(hour=hour)
            await world.run("twice", at, new=many, items=many)
    assert world.anomalies == []
    await world.run("twice", (MONDAY + timedelta(days=1)).replace(hour=18), new=500, items=500)
    assert {one.measure for one in world.anomalies} == {"new", "items"}


async def test_a_hint_that_writes_is_refused_by_postgres(world: World) -> None:
    await world.sql("CREATE TABLE written (n integer)")
    await world.sql(
        "CREATE FUNCTION writes() RETURNS integer LANGUAGE sql VOLATILE AS 'INSERT INTO written VALUES (1) RETURNING n'"
    )
    datasets = []
    for one in world.reporting.datasets:
        figures = tuple(replace(figure, sql="writes()", aggregate="sum") for figure in one.figures)
        datasets.append(replace(one, dataset=replace(one.dataset, report=replace(one.dataset.report, figures=figures))))
    world.reporting = replace(world.reporting, datasets=datasets)
    event = await world.run("demo", MONDAY, [listing(1)], new=1)
    assert await world.sql("SELECT 1 FROM written") == []
    names = {row.name for row in await world.sql("SELECT name FROM reporter.measures WHERE subject = :r", r=event.run)}
    assert "new" in names and not any(name.startswith("listings") for name in names)


async def test_a_reporter_that_reads_old_runs_measures_them_and_makes_no_noise(world: World) -> None:
    for day in range(56, 0, -1):
        await world.run("demo", MONDAY - timedelta(days=day), new=100)
    event = await world.run("demo", MONDAY, new=1, heard=False)
    await world.sql("DELETE FROM reporter.due")
    step = run_step(world.engine, replace(world.reporting, now=lambda: MONDAY + timedelta(days=60)), METRICS)
    assert step.work is not None
    delivery = Delivery("id", event, 1)
    result = await step.work(delivery)
    async with world.engine.begin() as tx:
        assert await step.record(tx, [Done(delivery, result)]) == []
    assert await world.scalar("SELECT severity FROM reporter.measures WHERE subject = :r AND name = 'new'", r=event.run)
    assert await world.sql("SELECT 1 FROM reporter.due") == []
