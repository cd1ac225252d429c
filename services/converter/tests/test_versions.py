"""Records are found again: facts that move, keys under parents, many writers at once."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text

from tidemill.common.events import Changes
from tidemill.converter.tables import partition
from tidemill.converter.versions import find_sightings
from tidemill.plugin import Record

from .store_kit import Store, day, price

pytestmark = pytest.mark.servers


def fixture(kickoff: float, base: str = "101:apples-pears", **more: object) -> Record:
    return Record("sport.fixture", base, {"home": "Apples", "kickoff": day(kickoff).isoformat(), **more})


def odds(key: str, amount: int, of: str = "101:apples-pears") -> Record:
    return Record("sport.odds", key, {"price": amount}, parent=("sport.fixture", of))


async def keys(store: Store, dataset: str) -> list[str]:
    statement = "SELECT key FROM converter.records WHERE dataset = :id ORDER BY key"
    return [row["key"] for row in await store.rows(statement, id=store.datasets.id(dataset))]


async def test_a_fact_that_moved_a_little_keeps_its_key(store: Store) -> None:
    await store.put([fixture(10)], day(1))
    moved = await store.put([fixture(12)], day(2))
    assert moved.changes["sport.fixture"] == Changes(changed=1)
    assert await keys(store, "sport.fixture") == ["101:apples-pears"]


async def test_another_fact_under_the_same_base_key_gets_a_key_of_its_own(store: Store) -> None:
    await store.put([fixture(10)], day(1))
    await store.put([fixture(70)], day(60))
    again = await store.put([fixture(71), fixture(200)], day(61))
    assert again.changes["sport.fixture"] == Changes(new=1, changed=1)
    assert await keys(store, "sport.fixture") == ["101:apples-pears", "101:apples-pears~2", "101:apples-pears~3"]


async def test_a_fact_is_recognised_by_what_it_said_before_it_moved(store: Store) -> None:
    await store.put([fixture(10)], day(1))
    await store.put([fixture(30)], day(2))
    late = await store.put([fixture(0)], day(0))
    assert late.changes["sport.fixture"] == Changes(history=1)
    assert await keys(store, "sport.fixture") == ["101:apples-pears"]


async def test_two_facts_under_one_base_key_in_one_document_are_told_apart(store: Store) -> None:
    stated = [fixture(10), odds("goals", 1), fixture(70), odds("goals", 2)]
    await store.put(stated, day(1), name="n")
    await store.put([odds("cards", 3)], day(1), name="n", part=1)
    assert await keys(store, "sport.fixture") == ["101:apples-pears", "101:apples-pears~2"]
    assert await store.history("101:apples-pears/goals", "sport.odds") == [(1, 1)]
    assert await store.history("101:apples-pears~2/goals", "sport.odds") == [(1, 2)]
    assert await store.history("101:apples-pears~2/cards", "sport.odds") == [(1, 3)]


async def test_a_parent_is_found_in_an_earlier_part_of_its_own_document(store: Store) -> None:
    await store.put([fixture(10)], day(1), name="first")
    await store.put([fixture(70)], day(60), name="second")
    await store.put([odds("goals", 7)], day(60), name="second", part=1)
    assert await keys(store, "sport.odds") == ["101:apples-pears~2/goals"]


async def test_a_record_without_its_parent_is_rejected_and_kept(store: Store) -> None:
    await store.put([fixture(10)], day(1), name="first")
    result = await store.put([odds("goals", 7), fixture(11), odds("cards", 1)], day(2), name="second")
    assert result.rejected == {"invalid": 1}
    assert result.changes["sport.odds"] == Changes(new=1)
    (row,) = await store.rows("SELECT * FROM converter.rejected")
    assert "states no sport.fixture '101:apples-pears', its parent, before it" in row["detail"]
    assert (row["key"], row["dataset"], row["raw"]) == ("goals", "sport.odds", '{"price":7}')


async def test_parents_may_have_parents_and_nobody_is_his_own(store: Store) -> None:
    grandchild = price("c", 3, parent=("shop.price", "b"))
    child = price("b", 2, parent=("shop.price", "a"))
    circle = [price("x", 1, parent=("shop.price", "y")), price("y", 1, parent=("shop.price", "x"))]
    result = await store.put([price("a", 1), child, grandchild, *circle], day(1))
    assert await keys(store, "shop.price") == ["a", "a/b", "a/b/c"]
    assert result.rejected == {"invalid": 2}


async def test_a_second_document_with_the_same_content_finds_everything_unchanged(store: Store) -> None:
    stated = [fixture(10), odds("goals", 1), odds("cards", 2)]
    await store.put(stated, day(1))
    again = await store.put(stated, day(2))
    assert again.changes == {"sport.fixture": Changes(unchanged=1), "sport.odds": Changes(unchanged=2)}


async def test_many_writers_at_once_write_each_record_once(store: Store) -> None:
    async def write(number: int) -> None:
        records = [fixture(10 + number / 100), *(odds(f"m{n}", number) for n in range(20)), price("a", number)]
        await store.put(records, day(number), name=f"document {number}")

    await asyncio.gather(*(write(number) for number in range(8)))
    assert await keys(store, "sport.fixture") == ["101:apples-pears"]
    assert len(await keys(store, "sport.odds")) == 20
    assert await store.history("a") == [(number, number) for number in range(8)]
    backwards = await store.rows("SELECT 1 FROM converter.versions WHERE recorded_to < recorded_from")
    assert not backwards


async def test_a_version_is_recorded_after_the_ones_it_supersedes(store: Store) -> None:
    for number in (3, 2, 1):
        await store.put([price("a", 1)], day(number))
    rows = await store.rows(
        "SELECT valid_from, recorded_from, recorded_to FROM converter.versions ORDER BY recorded_from"
    )
    assert [row["valid_from"] for row in rows] == [day(3), day(2), day(1)]
    assert [row["recorded_to"] for row in rows] == [rows[1]["recorded_from"], rows[2]["recorded_from"], None]
    assert rows[1]["recorded_from"] - rows[0]["recorded_from"] > timedelta(0)


async def test_of_the_sightings_only_those_of_the_contents_are_read(store: Store) -> None:
    for number in range(60):
        await store.put([price(f"apple {number}", number)], day(number))
    dataset = store.datasets.id("shop.price")
    ten = [row["content"] for row in await store.rows("SELECT content FROM converter.records LIMIT 10")]
    read = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = :name")
    of_sightings = {"name": partition("sightings", dataset)}
    async with store.engine.begin() as tx:
        before = await tx.scalar(read, of_sightings)
        assert len(await find_sightings(tx, dataset, ten)) == 10
        assert await tx.scalar(read, of_sightings) - before == 10
