"""Documents converted once more: staged, compared, accepted."""

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.common.bus.activity import Activity
from tidemill.common.bus.step import CommandRefused, Delivery, Unavailable
from tidemill.common.events import DocumentStored
from tidemill.common.telemetry.metrics import Metrics
from tidemill.converter.content import check_records
from tidemill.converter.convert import ConvertedPart
from tidemill.converter.documents import DocumentFacts, Finished, finish_document
from tidemill.converter.names import Names
from tidemill.converter.reconvert import Reconversions
from tidemill.converter.workers import Ending
from tidemill.plugin import Outcome, Record

from .store_kit import START, Fruits, Store, day, facts, price

pytestmark = pytest.mark.servers


@dataclass
class Free:
    """Nothing is stopped."""

    held: list[str] = field(default_factory=list)

    def held_sources(self) -> list[str]:
        return self.held

    async def wait_until_allowed(self, source: str | None = None) -> None:
        return None


@dataclass
class Bench:
    """A store, and what the newer converter makes of each document, by name."""

    store: Store
    newer: dict[str, list[list[Record]]] = field(default_factory=dict)
    outcome: Outcome = Outcome.CONVERTED
    unavailable: int = 0

    def __post_init__(self) -> None:
        self.names = Names(self.store.engine, NoCache(), [Fruits()])  # type: ignore[arg-type]
        self.reconversions = Reconversions(
            self.store.engine,
            Free(),  # type: ignore[arg-type]
            Activity().rest,
            self.convert,
            self.store.datasets,
            self.names,
            Metrics("converter"),
        )

    async def convert(self, delivery: Delivery[DocumentStored]) -> AsyncIterator[ConvertedPart]:
        event = delivery.event
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("the archive is away")
        parts = self.newer[event.name]
        for index, records in enumerate(parts):
            checked = check_records(records, self.store.datasets)
            last = index == len(parts) - 1
            yield ConvertedPart(
                facts=_facts(event),
                index=index,
                records=checked.records,
                rejected=checked.rejected,
                names=await self.names.resolve(checked.records),
                pages=1,
                ending=Ending(self.outcome, "", 0, {}, (), (), 0.1, 1) if last else None,
            )

    async def put(self, name: str, records: Iterable[Record], at: datetime, received: datetime = START) -> None:
        await self.store.put(records, at, name=name, received=received)
        rows = await self.store.rows("SELECT id FROM converter.documents WHERE name = :name", name=name)
        async with self.store.engine.begin() as tx:
            await finish_document(tx, rows[-1]["id"], Finished(outcome="converted"))

    async def say(self, verb: str, **parameters: Any) -> Mapping[str, Any]:
        command = next(one for one in self.reconversions.commands() if one.verb == verb)
        async with self.store.engine.begin() as tx:
            return (await command.handle(tx, f"{verb} {parameters}", parameters)).body

    async def work(self) -> None:
        while await self.reconversions.take_one():
            pass

    async def stage(self, **selection: Any) -> int:
        number: int = (await self.say("reconvert", **selection))["reconversion"]
        await self.work()
        return number

    async def accept(self, number: int) -> None:
        await self.say("reconvert_accept", reconversion=number)
        await self.work()

    async def staged(self, number: int) -> list[Any]:
        return await self.store.rows(
            "SELECT state, counts, reason FROM converter.reconverted WHERE reconversion = :n ORDER BY document",
            n=number,
        )

    async def believed(self) -> dict[str, list[tuple[float, Any]]]:
        keys = await self.store.rows("SELECT key FROM converter.records")
        told = {row["key"]: await self.store.history(row["key"]) for row in keys}
        return {key: history for key, history in told.items() if history}


class NoCache:
    async def get_many(self, *_: Any, **__: Any) -> dict[str, bytes]:
        return {}

    async def set_many(self, *_: Any, **__: Any) -> None:
        return None


def _facts(event: DocumentStored) -> DocumentFacts:
    of_old = facts(event.name, START)
    at = datetime.fromisoformat(event.path) if event.path else None
    return DocumentFacts(
        source=event.source,
        sha256=event.sha256,
        run=event.run,
        converter=of_old.converter,
        converter_version="2",
        name=event.name,
        size_bytes=1,
        received_at=event.received_at,
        valid_from=at or START + timedelta(days=int(event.name.split("-")[1])),
    )


@pytest.fixture
async def bench(store: Store) -> Bench:
    bench = Bench(store)
    await bench.names.register()
    return bench


async def test_nothing_counts_before_it_is_accepted(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1), price("b", 2), price("c", 3)], day(1))
    bench.newer["day-1"] = [[price("a", 1), price("b", 20)], [price("d", 4)]]
    number = await bench.stage(document=facts("day-1", START).sha256[:12])
    [row] = await bench.staged(number)
    assert row["state"] == "staged"
    assert row["counts"] == {"shop.price": {"unchanged": 1, "changed": 1, "added": 1, "removed": 1}}
    assert await bench.believed() == {"a": [(1.0, 1)], "b": [(1.0, 2)], "c": [(1.0, 3)]}

    await bench.accept(number)
    assert await bench.believed() == {"a": [(1.0, 1)], "b": [(1.0, 20)], "d": [(1.0, 4)]}
    assert [await bench.store.current(key) for key in "abcd"] == [1, 20, None, 4]
    origins = await bench.store.rows("SELECT key, origin, run FROM shop.price ORDER BY key")
    assert [(row["key"], row["origin"]) for row in origins] == [("a", "stored"), ("b", "reconvert"), ("d", "reconvert")]
    assert {row["run"] for row in origins} == {"run-1"}
    [done] = await bench.store.rows("SELECT state FROM converter.reconversions")
    assert done["state"] == "done"


async def test_what_was_believed_before_can_still_be_asked(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    [before] = await bench.store.rows("SELECT clock_timestamp() AS now")
    bench.newer["day-1"] = [[price("b", 1)]]
    await bench.accept(await bench.stage(source="test"))
    rows = await bench.store.rows(
        "SELECT r.key FROM converter.versions v JOIN converter.records r ON r.id = v.record AND r.dataset = v.dataset"
        " WHERE v.recorded_from <= :then AND (v.recorded_to IS NULL OR v.recorded_to > :then)",
        then=before["now"],
    )
    assert [row["key"] for row in rows] == ["a"]


async def test_a_record_taken_back_comes_again_with_the_next_document(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    bench.newer["day-1"] = [[price("b", 1)]]
    await bench.accept(await bench.stage(source="test"))
    await bench.put("day-2", [price("a", 1)], day(2))
    assert await bench.believed() == {"a": [(2.0, 1)], "b": [(1.0, 1)]}
    assert await bench.store.current("a") == 1


async def test_what_another_document_says_as_well_stays(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    await bench.put("day-2", [price("a", 2)], day(2))
    bench.newer["day-2"] = [[price("b", 1)]]
    await bench.accept(await bench.stage(since=START.isoformat(), document=facts("day-2", START).sha256))
    assert await bench.believed() == {"a": [(1.0, 1)], "b": [(2.0, 1)]}
    assert await bench.store.current("a") == 1


async def test_a_document_whose_records_moved_meanwhile_is_not_put_in_place(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    bench.newer["day-1"] = [[price("a", 9)]]
    number = await bench.stage(source="test")
    await bench.put("day-2", [price("a", 2)], day(2))
    await bench.accept(number)
    [row] = await bench.staged(number)
    assert (row["state"], row["reason"]) == ("moved", "a got a new version meanwhile")
    assert await bench.store.current("a") == 2


async def test_of_two_reconversions_of_a_document_the_first_accepted_counts(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    bench.newer["day-1"] = [[price("a", 5)]]
    first = await bench.stage(source="test")
    second = await bench.stage(dataset="shop.price")
    await bench.accept(first)
    await bench.accept(second)
    [row] = await bench.staged(second)
    assert (row["state"], "another reconversion" in row["reason"]) == ("moved", True)


async def test_a_document_that_cannot_be_read_now_takes_nothing_back(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    bench.newer["day-1"] = [[]]
    bench.outcome = Outcome.UNRECOGNISED
    number = await bench.stage(source="test")
    [row] = await bench.staged(number)
    assert (row["state"], row["reason"]) == ("failed", "unrecognised: ")
    await bench.accept(number)
    assert await bench.believed() == {"a": [(1.0, 1)]}


async def test_while_something_is_missing_a_document_waits(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    bench.newer["day-1"] = [[price("a", 5)]]
    bench.unavailable = 1
    number = await bench.stage(source="test")
    assert [row["state"] for row in await bench.staged(number)] == ["due"]
    with pytest.raises(CommandRefused, match="still to be converted"):
        await bench.say("reconvert_accept", reconversion=number)
    async with bench.store.engine.begin() as tx:
        await tx.exec_driver_sql("UPDATE converter.reconverted SET lease_until = now()")
    await bench.work()
    assert [row["state"] for row in await bench.staged(number)] == ["staged"]


async def test_what_is_discarded_leaves_nothing(bench: Bench) -> None:
    await bench.put("day-1", [price("a", 1)], day(1))
    bench.newer["day-1"] = [[price("a", 5), Record("shop.price", "x", {"price": "much"})]]
    number = await bench.stage(source="test")
    await bench.say("reconvert_discard", reconversion=number)
    for table in ("candidates", "reconverted", "rejected", "documents WHERE state = 'staged'"):
        assert await bench.store.rows(f"SELECT 1 FROM converter.{table}") == []
    with pytest.raises(CommandRefused, match="no reconversion"):
        await bench.say("reconvert_accept", reconversion=number)


async def test_children_stand_under_parents_that_an_earlier_part_states(bench: Bench) -> None:
    def odds(amount: int) -> Record:
        return Record("sport.odds", "1", {"price": amount}, parent=("sport.fixture", "x-y"))

    def fixture(note: str) -> Record:
        data = {"home": "x", "league": note, "kickoff": "2025-06-08T12:00:00Z"}
        return Record("sport.fixture", "x-y", data)

    await bench.put("day-1", [fixture("old"), odds(1)], day(1))
    bench.newer["day-1"] = [[fixture("new")], [odds(2)]]
    number = await bench.stage(source="test")
    [row] = await bench.staged(number)
    assert row["counts"] == {"sport.fixture": {"changed": 1}, "sport.odds": {"changed": 1}}
    await bench.accept(number)
    rows = await bench.store.rows("SELECT key, price FROM sport.odds")
    assert [(one["key"], one["price"]) for one in rows] == [("x-y/1", 2)]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({}, "say which documents"),
        ({"source": "nobody"}, "no document"),
        ({"dataset": "shop.prize"}, "no dataset 'shop.prize'; there are: shop.price"),
        ({"since": "yesterday"}, "since is a time"),
        ({"source": 5}, "has to be a text"),
    ],
)
async def test_a_selection_of_nothing_is_refused(bench: Bench, said: dict[str, Any], reason: str) -> None:
    with pytest.raises(CommandRefused, match=reason):
        await bench.say("reconvert", **said)


AMOUNTS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3), max_size=3)
DOCUMENTS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 3), AMOUNTS, st.none() | AMOUNTS), min_size=1, max_size=5
)


@given(written=DOCUMENTS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.slow
async def test_after_acceptance_the_store_is_as_if_it_had_always_been_so(
    bench: Bench, written: list[tuple[int, int, dict[str, int], dict[str, int] | None]]
) -> None:
    """(day, received on, what the old converter read, what the new one reads or None: not reconverted)"""

    async def fill(newest: bool) -> None:
        await bench.store.rows_deleted()
        for number, (at, received, old, new) in enumerate(written):
            read = new if newest and new is not None else old
            records = [price(key, amount) for key, amount in read.items()]
            await bench.put(f"day-{at}-{number}", records, day(at), day(received))

    await fill(newest=True)
    expected = await bench.believed()
    await fill(newest=False)
    bench.newer = {
        f"day-{at}-{number}": [[price(key, amount) for key, amount in (old if new is None else new).items()]]
        for number, (at, _, old, new) in enumerate(written)
    }
    for number, (at, _, _, new) in enumerate(written):
        if new is not None:
            sha256 = facts(f"day-{at}-{number}", START).sha256
            reconversion = await bench.say("reconvert", document=sha256, author=str(id(written)))
            await bench.work()
            await bench.accept(reconversion["reconversion"])
    assert await bench.believed() == expected
    currents = {key: history[-1][1] for key, history in expected.items()}
    assert {key: await bench.store.current(key) for key in currents} == currents
