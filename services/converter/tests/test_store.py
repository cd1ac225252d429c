"""What documents state becomes versions, whatever the order in which they arrive."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.common.events import Changes
from tidemill.converter.history import Sighting, spans
from tidemill.converter.store import Finished, begin_document, begin_documents, finish_document
from tidemill.plugin import Accounting, Position, Record, Rejected

from .store_kit import START, Store, day, facts, price, sale

pytestmark = pytest.mark.servers


async def test_a_new_version_opens_only_when_the_content_changes(store: Store) -> None:
    first = await store.put([price("a", 1), price("b", 5)], day(1))
    again = await store.put([price("a", 1), price("b", 6)], day(2))
    assert first.changes["shop.price"] == Changes(new=2)
    assert again.changes["shop.price"] == Changes(changed=1, unchanged=1)
    assert await store.history("a") == [(1, 1)]
    assert await store.history("b") == [(1, 5), (2, 6)]
    assert await store.current("b") == 6


async def test_documents_of_a_group_come_to_what_they_come_to_one_after_the_other(store: Store) -> None:
    group: list[tuple[datetime, list[Record]]] = [
        (day(1), [price("a", 1), price("b", 5)]),
        (day(2), [price("c", 1), sale("s", "plum")]),
        (day(4), [price("a", 2), price("d", 1)]),
        (day(3), [price("a", 3), price("b", 5)]),
        (day(3), []),
        (day(2.5), [price("b", 6), price("e", 1)]),
    ]
    await store.put([price("d", 7), price("e", 1)], day(2))
    together = await store.put_together(group)
    histories = [await store.history(key) for key in "abcde"]
    sightings = await store.count("sightings")
    await store.rows_deleted()
    await store.put([price("d", 7), price("e", 1)], day(2))
    apart = [await store.put(records, at, name=str(n)) for n, (at, records) in enumerate(group)]
    assert [one.changes for one in together] == [one.changes for one in apart]
    assert histories == [await store.history(key) for key in "abcde"]
    assert histories[0] == [(1, 1), (3, 3), (4, 2)]
    assert sightings == await store.count("sightings")


async def test_a_document_that_two_events_of_a_group_state_is_one(store: Store) -> None:
    async with store.engine.begin() as tx:
        known = await begin_document(tx, facts("known", day(1)))
        twice = facts("twice", day(1))
        first, second, again = await begin_documents(tx, [twice, facts("known", day(1)), twice])
    assert (first, second) == (again, known)
    assert await store.count("documents") == 2


async def test_a_late_older_document_becomes_history(store: Store) -> None:
    await store.put([price("a", 3)], day(3))
    late = await store.put([price("a", 1)], day(1))
    assert late.changes["shop.price"] == Changes(history=1)
    assert await store.history("a") == [(1, 1), (3, 3)]
    assert await store.current("a") == 3


async def test_a_content_that_came_back_is_told_apart_when_what_lay_between_arrives_late(store: Store) -> None:
    await store.put([price("a", 1)], day(1))
    await store.put([price("a", 1)], day(3))
    assert await store.history("a") == [(1, 1)]
    late = await store.put([price("a", 2)], day(2))
    assert late.changes["shop.price"] == Changes(history=1)
    assert await store.history("a") == [(1, 1), (2, 2), (3, 1)]
    assert await store.current("a") == 1
    rows = await store.rows("SELECT DISTINCT content, origin FROM converter.versions WHERE data ->> 'price' = '1'")
    assert len({row["content"] for row in rows}) == 1
    assert {row["origin"] for row in rows} == {"stored", "reopened"}


async def test_a_content_known_earlier_than_thought_moves_its_beginning(store: Store) -> None:
    await store.put([price("a", 1)], day(5))
    assert (await store.put([price("a", 1)], day(2))).changes["shop.price"] == Changes(history=1)
    assert await store.history("a") == [(2, 1)]
    superseded = await store.rows("SELECT recorded_to FROM converter.versions WHERE recorded_to IS NOT NULL")
    assert len(superseded) == 1


async def test_of_two_documents_of_one_time_the_one_received_later_is_believed(store: Store) -> None:
    later, earlier = START + timedelta(hours=2), START + timedelta(hours=1)
    await store.put([price("a", 1), price("b", 2)], day(1), received=earlier)
    correction = await store.put([price("a", 9), price("b", 2)], day(1), received=later)
    assert correction.changes["shop.price"] == Changes(changed=1, unchanged=1)
    assert await store.history("a") == [(1, 9)]

    await store.put([price("c", 9)], day(1), received=later)
    converted_late = await store.put([price("c", 1)], day(1), received=earlier)
    assert converted_late.changes["shop.price"] == Changes(unchanged=1)
    assert await store.history("c") == [(1, 9)]
    kept = await store.rows("SELECT recorded_to FROM converter.versions WHERE data ->> 'price' = '1'")
    assert [row["recorded_to"] is None for row in kept] == [False, False]


async def test_nothing_is_ever_deleted_by_a_correction(store: Store) -> None:
    for amount in range(4):
        await store.put([price("a", amount)], day(1), received=START + timedelta(hours=amount))
    rows = await store.rows("SELECT data, recorded_from, recorded_to FROM converter.versions ORDER BY recorded_from")
    assert [row["data"]["price"] for row in rows] == [0, 1, 2, 3]
    assert [row["recorded_to"] for row in rows] == [*(row["recorded_from"] for row in rows[1:]), None]


async def test_the_last_of_two_statements_of_one_document_counts(store: Store) -> None:
    result = await store.put([price("a", 1), price("a", 2), price("a", 2)], day(1))
    assert result.changes["shop.price"] == Changes(new=1, unchanged=2)
    assert await store.history("a") == [(1, 2)]
    await store.put([price("a", 3)], day(1), part=1)
    assert await store.history("a") == [(1, 3)]


async def test_a_record_may_have_a_time_of_its_own(store: Store) -> None:
    result = await store.put(
        [price("a", 1), price("a", 2, valid_from=day(4)), price("a", 3, valid_from=day(2))], day(1)
    )
    assert result.changes["shop.price"] == Changes(new=1, history=2)
    assert await store.history("a") == [(1, 1), (2, 3), (4, 2)]


async def test_recording_a_part_twice_changes_nothing(store: Store) -> None:
    rows = [price("a", 1), price("b", 2)]
    bad = [Rejected("no_price", "no price on the row", "Apples -", Position(page=3, box=(1, 2, 3, 4)))]
    await store.put(rows, day(1), rejected=bad)
    await store.put(rows, day(1), rejected=bad)
    assert len(await store.rows("SELECT 1 FROM converter.versions")) == 2
    assert len(await store.rows("SELECT 1 FROM converter.rejected")) == 1
    assert [row["new"] for row in await store.rows("SELECT new FROM converter.batches")] == [2]


async def test_every_version_leads_back_to_its_place_in_the_document(store: Store) -> None:
    where = Position(page=7, box=(10.5, 20, 110, 30))
    await store.put([price("a", 1, position=where, raw="Apples … 1", quality=0.5)], day(1), name="list.pdf")
    (row,) = await store.rows("SELECT * FROM shop.price")
    assert (row["page"], row["box"], row["raw"], row["quality"]) == (7, [10.5, 20, 110, 30], "Apples … 1", 0.5)
    assert (row["document_name"], row["document"]) == ("list.pdf", facts("list.pdf", day(1)).sha256)
    assert (row["valid_from"], row["received_at"]) == (day(1), START)
    assert row["recorded_from"] > row["received_at"]


async def test_what_does_not_fit_the_model_is_rejected_and_kept(store: Store) -> None:
    records = [
        price("a", 1),
        Record("shop.price", "b", {"price": "many"}, Position(page=2), raw="Bananas many"),
        Record("shop.price", "c", {"price": 1, "colour": "red"}),
        Record("shop.price", "d", {"price": 1, "note": "\x00"}),
        Record("shop.price", "e", {"price": 1, "note": "\ud800"}),
        Record("shop.price", "f" * 2000, {"price": 1}),
        Record("shop.price", "", {"price": 1}),
        Record("shop.cost", "g", {"price": 1}),
        price("h", 1, quality=7),
        price("i", 1, valid_from=day(1).replace(tzinfo=None)),
    ]
    result = await store.put(records, day(1))
    assert result.changes["shop.price"] == Changes(new=1)
    assert result.rejected == {"invalid": 9}
    rows = await store.rows("SELECT * FROM converter.rejected ORDER BY ordinal")
    assert [row["dataset"] for row in rows] == [*["shop.price"] * 6, "shop.cost", *["shop.price"] * 2]
    assert (rows[0]["key"], rows[0]["page"], rows[0]["raw"]) == ("b", 2, "Bananas many")
    assert "price: Input should be a valid integer" in rows[0]["detail"]
    assert "there is no dataset 'shop.cost'" in rows[6]["detail"]


async def test_a_huge_integer_survives_as_it_is(store: Store) -> None:
    await store.put([price("a", 10**30)], day(1))
    assert await store.history("a") == [(1, 10**30)]


async def test_a_finished_document_has_the_sum_of_its_parts(store: Store) -> None:
    refused = Record("shop.price", "x", {"price": "?"}, Position(page=1, box=(0, 0, 1, 1)), raw="x ?")
    also_refused = Record("shop.price", "y", {"price": "?"}, Position(page=1, box=(0, 0, 1, 1)), raw="x ?")
    await store.put([price("a", 1), refused, also_refused], day(1), name="n")
    no_price = Rejected("no_price", "no price on the row", "b", Position(page=2))
    await store.put([price("a", 2), price("c", 1)], day(1), name="n", part=1, rejected=[no_price])
    accounting = [Accounting(1, 4, 2, 0, {"heading": 2}), Accounting(2, 3, 2, 1)]
    async with store.engine.begin() as tx:
        document = await begin_document(tx, facts("n", day(1)))
        finished = Finished(outcome="converted", pages=2, accounting=accounting, warnings=["a \x00 warning"])
        totals = await finish_document(tx, document, finished)
    assert totals.records == {"shop.price": Changes(new=2, changed=1)}
    assert totals.rejected == {"invalid": 2, "no_price": 1}
    assert totals.rows.model_dump() == {"seen": 7, "accepted": 3, "rejected": 2, "ignored": {"heading": 2}}
    (row,) = await store.rows("SELECT * FROM converter.documents")
    assert (row["state"], row["outcome"], row["pages"]) == ("finished", "converted", 2)
    assert row["accounting"][0] == {"page": 1, "seen": 4, "accepted": 1, "rejected": 1, "ignored": {"heading": 2}}
    assert row["finished_at"] >= row["begun_at"]


async def test_another_version_of_the_converter_is_another_conversion(store: Store) -> None:
    await store.put([price("a", 1)], day(1), name="n", version="1")
    await store.put([price("a", 2)], day(1), name="n", version="2")
    assert await store.history("a") == [(1, 2)]
    assert len(await store.rows("SELECT 1 FROM converter.documents")) == 2


# A price of a key, at a time of its own or at its document's.
STATEMENT = st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.none() | st.integers(0, 4))
# Valid on a day, received in an hour, in parts.
DOCUMENT = st.tuples(
    st.integers(0, 4), st.integers(0, 2), st.lists(st.lists(STATEMENT, min_size=1, max_size=4), min_size=1, max_size=3)
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=st.lists(DOCUMENT, min_size=1, max_size=6), data=st.data())
async def test_in_any_order_of_arrival_the_history_is_what_the_documents_say(
    store: Store, documents: list[Any], data: st.DataObject
) -> None:
    """Parts of one document come in order, among those of others; the pure function is told all at once."""
    await store.rows_deleted()
    waiting = [number for number, (_, _, parts) in enumerate(documents) for _ in parts]
    arrival = data.draw(st.permutations(waiting))
    next_part = dict.fromkeys(waiting, 0)
    told: dict[str, list[Sighting]] = {"a": [], "b": []}
    for number in arrival:
        valid, hour, parts = documents[number]
        part, received, name = next_part[number], START + timedelta(hours=hour), f"document {number}"
        next_part[number] += 1
        records = [price(key, amount, valid_from=None if own is None else day(own)) for key, amount, own in parts[part]]
        await store.put(records, day(valid), received=received, name=name, part=part)
        for place, (key, amount, own) in enumerate(parts[part]):
            at = day(valid if own is None else own)
            rank = (received, facts(name, at).sha256, 0, part, False, place)
            told[key].append(Sighting(at, rank, str(amount).encode()))
    for key, sightings in told.items():
        expected = [((span.valid_from - START) / timedelta(days=1), int(span.content)) for span in spans(sightings)]
        assert await store.history(key) == expected
        assert await store.current(key) == (expected[-1][1] if expected else None)
    wrong = "SELECT 1 AS one FROM converter.versions WHERE recorded_to < recorded_from"
    assert await store.rows(wrong) == []
