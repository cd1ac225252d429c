"""Pages that are gone take their records along, whatever comes first, and bring them back."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.common.events import Changes
from tidemill.converter.candidates import Selection, begin_reconversion
from tidemill.converter.documents import Finished, finish_document
from tidemill.converter.history import NOTHING, Sighting, heeded
from tidemill.converter.reading import Selection as Wanted
from tidemill.converter.reading import UnknownField, read_rows
from tidemill.converter.retention import layers

from .store_kit import Store, day, price

pytestmark = pytest.mark.servers

ONE, OTHER = "https://example.org/1", "https://example.org/2"


def sighting(at: float, content: bytes, page: str) -> Sighting:
    return Sighting(day(at), (day(at), "", 0, 0, False, 0), content, ("shop", page))


def test_the_page_that_stated_a_record_last_says_whether_it_is_gone() -> None:
    moved = [sighting(1, b"a", ONE), sighting(2, b"a", OTHER), sighting(3, NOTHING, ONE)]
    assert heeded(moved) == moved[:2]
    gone = [*moved, sighting(4, NOTHING, OTHER)]
    assert heeded(reversed(gone)) == [*moved[:2], gone[-1]]
    assert heeded([sighting(3, NOTHING, ONE)]) == [sighting(3, NOTHING, ONE)]


async def test_what_is_gone_is_in_the_history_alone(store: Store) -> None:
    await store.put([price("a", 1), price("b", 2)], day(1), page=ONE)
    await store.put([price("c", 3)], day(1), page=OTHER)
    assert await store.gone(ONE, day(3)) == {"shop.price": Changes(gone=2)}
    assert await store.rows("SELECT key, price FROM shop.price") == [{"key": "c", "price": 3}]
    history = await store.rows(
        "SELECT key, price, valid_to, gone, run FROM shop.price_history ORDER BY key, valid_from"
    )
    assert [(row["key"], row["price"], row["gone"]) for row in history] == [
        ("a", 1, False),
        ("a", None, True),
        ("b", 2, False),
        ("b", None, True),
        ("c", 3, False),
    ]
    assert history[0]["valid_to"] == day(3)
    assert history[1]["run"] == f"run {day(3)}"
    assert [await chosen(store, Wanted(as_of=at)) for at in (day(2), day(4))] == [["a", "b", "c"], ["c"]]
    [row] = await store.rows("SELECT * FROM converter.documents WHERE converter = 'gone'")
    assert (row["path"], row["outcome"], row["reason"], row["sha256"]) == (ONE, "gone", "unlisted", "")


async def test_a_page_that_is_there_again_brings_its_records_back(store: Store) -> None:
    await store.put([price("a", 1)], day(1), page=ONE)
    await store.gone(ONE, day(3))
    again = await store.put([price("a", 1)], day(5), page=ONE)
    assert again.changes["shop.price"] == Changes(changed=1)
    assert await store.history("a") == [(1, 1), (3, None), (5, 1)]
    assert await store.current("a") == 1
    await store.gone(ONE, day(6))
    assert await store.history("a") == [(1, 1), (3, None), (5, 1), (6, None)]


async def test_a_page_that_names_an_old_time_is_there_again_all_the_same(store: Store) -> None:
    await store.put([price("a", 1, valid_from=day(0))], day(1), page=ONE)
    await store.gone(ONE, day(3))
    await store.put([price("a", 1, valid_from=day(0))], day(5), page=ONE)
    assert await store.history("a") == [(0, 1), (3, None), (5, 1)]


async def test_a_document_that_comes_after_the_word_is_gone_as_well(store: Store) -> None:
    await store.gone(ONE, day(3))
    late = await store.put([price("a", 1)], day(1), page=ONE)
    assert late.changes["shop.price"] == Changes(new=1, gone=1)
    assert await store.history("a") == [(1, 1), (3, None)]
    assert await store.current("a") is None


async def test_a_word_that_comes_late_is_history(store: Store) -> None:
    await store.put([price("a", 1)], day(1), page=ONE)
    await store.put([price("a", 2)], day(5), page=ONE)
    assert await store.gone(ONE, day(3)) == {"shop.price": Changes(history=1)}
    assert await store.history("a") == [(1, 1), (3, None), (5, 2)]
    assert await store.current("a") == 2


async def test_a_word_said_twice_changes_nothing(store: Store) -> None:
    await store.put([price("a", 1)], day(1), page=ONE)
    await store.gone(ONE, day(3))
    assert await store.gone(ONE, day(3)) == {"shop.price": Changes(unchanged=1)}
    assert await store.history("a") == [(1, 1), (3, None)]


async def test_a_record_that_moved_to_another_page_stays(store: Store) -> None:
    await store.put([price("a", 1)], day(1), page=ONE)
    await store.put([price("a", 1)], day(2), page=OTHER)
    assert await store.gone(ONE, day(3)) == {"shop.price": Changes(unchanged=1)}
    assert await store.current("a") == 1
    await store.gone(OTHER, day(4))
    assert await store.history("a") == [(1, 1), (4, None)]


async def test_a_page_linked_by_another_form_of_its_address_is_known_by_its_bytes(store: Store) -> None:
    await store.put([price("a", 1)], day(1), page=ONE)
    [row] = await store.rows("SELECT sha256 FROM converter.documents")
    assert await store.gone(f"{ONE}?from=list", day(3)) == {}
    assert await store.gone(f"{ONE}?from=map", day(3), row["sha256"]) == {"shop.price": Changes(gone=1)}


async def test_reconversions_and_retention_leave_words_alone(store: Store) -> None:
    await store.put([price("a", 1)], day(1), page=ONE)
    await store.gone(ONE, day(3))
    [row] = await store.rows("SELECT id FROM converter.documents WHERE converter <> 'gone'")
    async with store.engine.begin() as tx:
        await finish_document(tx, row["id"], Finished(outcome="converted"))
        _, count = await begin_reconversion(tx, "command", "", Selection(source="test"))
        assert count == 1
        for layer in layers({store.datasets.id(name): name for name in store.datasets}):
            if layer.name == "documents":
                assert (await layer.find(tx, day(9))).items == 0  # Versions of the history lead to them.


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    happenings=st.lists(
        st.tuples(
            st.integers(1, 9),
            st.sampled_from((ONE, OTHER)),
            st.one_of(st.none(), st.dictionaries(st.sampled_from("ab"), st.integers(1, 2), min_size=1)),
        ),
        max_size=6,
        unique_by=lambda one: one[0],
    ),
    order=st.randoms(use_true_random=False),
)
async def test_any_order_of_arrival_gives_the_same_history(store: Store, happenings: list[Any], order: Any) -> None:
    """(day, page, amounts by key or None: gone)"""
    histories = []
    for shuffled in (False, True):
        await store.rows_deleted()
        arriving = sorted(happenings, key=lambda one: one[0])
        if shuffled:
            order.shuffle(arriving)
        for at, page, amounts in arriving:
            if amounts is None:
                await store.gone(page, day(at))
            else:
                await store.put([price(key, amount) for key, amount in amounts.items()], day(at), page=page)
        current = {row["key"]: row["price"] for row in await store.rows("SELECT key, price FROM shop.price")}
        histories.append(({key: await store.history(key) for key in "ab"}, current))
    assert histories[0] == histories[1]


async def test_a_history_is_chosen_by_what_a_record_says_or_said(store: Store) -> None:
    await store.put([price("a", 1), price("b", 2)], day(1), page=ONE)
    await store.gone(ONE, day(3))
    assert await chosen(store, Wanted(fields={"price": "1"}, history=True)) == ["a", "a"]
    assert await chosen(store, Wanted(fields={"price": "1", "key": "A"}, history=True)) == ["a", "a"]
    assert await chosen(store, Wanted(fields={"gone": "true", "price": "2"}, history=True)) == []
    assert await chosen(store, Wanted(fields={"gone": "true"}, history=True)) == ["a", "a", "b", "b"]
    assert await chosen(store, Wanted(fields={"price": "1"}, as_of=day(2))) == ["a"]
    assert await chosen(store, Wanted(fields={"received_at": "2025-06-02"}, history=True)) == ["a", "a", "b", "b"]
    assert await chosen(store, Wanted(fields={"price": "1"})) == []
    for wrong in ({"colour": "red"}, {"price": "cheap"}, {"gone": "perhaps"}):
        with pytest.raises(UnknownField):
            await chosen(store, Wanted(fields=wrong, history=True))


async def chosen(store: Store, wanted: Wanted) -> list[str]:
    async with store.engine.connect() as connection:
        dataset = store.datasets["shop.price"]
        rows = read_rows(connection, dataset, store.datasets.id("shop.price"), wanted)
        return [row[0] async for batch in rows.batches for row in batch]
