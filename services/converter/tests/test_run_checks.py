"""Runs judged by what the store knows of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tidemill.common.bus.step import Delivery, Done
from tidemill.common.config.checks import Check
from tidemill.common.config.sources import SourceFile
from tidemill.common.events import RunFinished
from tidemill.converter.content import check_records
from tidemill.converter.documents import DocumentFacts, Finished, begin_document, finish_document
from tidemill.converter.judging import pointless
from tidemill.converter.run_checks import Judges, run_step
from tidemill.converter.store import RecordBatch, record_batches
from tidemill.plugin import Record

from .store_kit import ALL, Store, price

servers = pytest.mark.servers

MONDAY = datetime(2026, 11, 30, 5, tzinfo=UTC)


async def run(
    store: Store, name: str, at: datetime, records: Sequence[Record], outcome: str = "converted", source: str = "test"
) -> None:
    """A run with one document."""
    checked = check_records(records, store.datasets)
    async with store.engine.begin() as tx:
        about = DocumentFacts(
            source=source,
            sha256=f"{len(name):064}",
            run=name,
            converter="test",
            converter_version="1",
            name=name,
            size_bytes=1,
            received_at=at,
        )
        document = await begin_document(tx, about)
        batch = RecordBatch(document=document, part=0, run=name, valid_from=at, records=checked.records)
        await record_batches(tx, [batch], store.datasets)
        await finish_document(tx, document, Finished(outcome=outcome))


async def judged(store: Store, name: str, at: datetime, *checks: Check) -> list[tuple[str, bool, str]]:
    """(check, passed, message), as they are kept."""
    step = run_step(store.engine, store.datasets, {"test": Judges(checks)}.get)
    event = RunFinished(
        source="test", run=name, state="complete", trigger="schedule", slot=at, requested_at=at, finished_at=at
    )
    assert step.work is not None
    for _ in range(2):  # Said again, as corrected.
        delivery = Delivery("id", event, 1)
        result = await step.work(delivery)
        async with store.engine.begin() as tx:
            assert not await step.record(tx, [Done(delivery, result)])
    rows = await store.rows("SELECT name, passed, message FROM converter.check_results WHERE run = :run", run=name)
    return [(row["name"], row["passed"], row["message"]) for row in rows]


def prices(count: int, **more: Any) -> list[Record]:
    return [price(f"k{n}", n, **more) for n in range(count)]


@servers
async def test_a_count_is_held_against_complete_runs_of_the_same_weekday(store: Store) -> None:
    for week in range(1, 4):
        await run(store, "m" * week, MONDAY - timedelta(weeks=week), prices(10))
        await run(store, "s" * (10 + week), MONDAY - timedelta(days=1, weeks=week), prices(3))
    await run(store, "refused" * 4, MONDAY - timedelta(weeks=1, hours=1), [], outcome="unrecognised")
    await run(store, "today-" * 9, MONDAY, prices(6))
    assert await judged(store, "today-" * 9, MONDAY, Check(check="count", severity="block")) == [
        ("count", False, "6 found, usual are 10 (3 earlier Mondays): 40 % fewer, more than 30 %")
    ]


@servers
async def test_what_records_have_and_share_and_are_worth_is_judged(store: Store) -> None:
    records = [
        Record("shop.price", "a", {"price": 1, "note": "x"}, quality=0.5),
        Record("shop.price", "b", {"price": 1, "note": "x"}, quality=1.0),
        Record("shop.price", "c", {"price": 1}, quality=0.9),
        Record("shop.price", "d", {"price": 2, "note": "x"}, quality=0.8),
    ]
    await run(store, "first", MONDAY, records)
    await run(
        store, "of another source", MONDAY, [Record("shop.price", "o", {"price": 1, "note": "x"})], source="other"
    )
    found = await judged(
        store,
        "first",
        MONDAY,
        Check(check="coverage", field="note", least=0.9),
        Check(check="unique", fields=("price", "note")),
        Check(check="unique", fields=("price",), when={"note": "x"}, most=2, name="few"),
        Check(check="mean_quality", least=0.9),
        Check(check="footprint", least=0.9),
    )
    assert found == [
        ("coverage_note", False, "3 of 4 have note (75 %), less than 90 %"),
        ("unique_price_note", False, "2 records are not alone with their price, note: a, b"),
        ("few", True, "2 records are not alone with their price: a, b"),
        ("mean_quality", False, "the mean quality is 0.8, less than 0.9"),
    ]


@servers
async def test_a_run_of_a_source_that_nobody_knows_is_not_judged(store: Store) -> None:
    step = run_step(store.engine, store.datasets, lambda _: None)
    event = RunFinished(
        source="x", run="r", state="complete", trigger="manual", requested_at=MONDAY, finished_at=MONDAY
    )
    assert step.work is not None
    assert await step.work(Delivery("id", event, 1)) == []


def test_weekdays_are_those_of_the_schedule() -> None:
    source = SourceFile.model_validate(
        {
            "source": "test",
            "convert": {"with": "json"},
            "schedule": [{"cron": "0 5 * * *", "zone": "Europe/Helsinki"}],
            "checks": [{"check": "count"}, {"check": "required", "field": "x"}],
        }
    )
    judges = Judges.of(source)
    assert judges.zone == ZoneInfo("Europe/Helsinki")
    assert [check.called for check in judges.checks] == ["count"]


@pytest.mark.parametrize(
    ("check", "stated", "said"),
    [
        (
            Check(check="required", field="prize"),
            ("shop.price",),
            "no record has a field prize. Valid fields: note, price",
        ),
        (Check(check="required", field="price"), ("shop.price",), None),
        (Check(check="required", field="price.x"), ("shop.price",), None),
        (Check(check="required", field="prize"), ("*",), None),
        (Check(check="required", field="prize", dataset="shop.price"), ("*",), "no record has a field prize"),
        (Check(check="required", field="a", dataset="shop.cost"), ("*",), "there is no dataset shop.cost"),
        (Check(check="compare", field="price", op="<", to="cost"), ("shop.price",), "no record has a field cost"),
        (Check(check="compare", field="price", op="<", to="now"), ("shop.price",), None),
        (Check(check="count"), ("shop.price",), None),
    ],
)
def test_a_check_that_nothing_can_fail_is_told(check: Check, stated: tuple[str, ...], said: str | None) -> None:
    found = pointless([check], stated, {dataset.name: dataset for dataset in ALL})
    assert (found is None) if said is None else (found is not None and said in found)
