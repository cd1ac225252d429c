"""Printed names become entities once, and what users say about them holds at once, everywhere and backwards."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import CommandRefused
from tidemill.common.cache import InProcessCache
from tidemill.common.cache.redis import RedisCache
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.converter.aliases import Aliases
from tidemill.converter.content import check_records
from tidemill.converter.names import Names

from .store_kit import Fruits, Store, day, sale

pytestmark = pytest.mark.servers

METRICS = Metrics("converter")


class Replica:
    """A converter's names, with its own resolver."""

    def __init__(self, names: Names, fruits: Fruits, aliases: Aliases, engine: AsyncEngine) -> None:
        self.names = names
        self.fruits = fruits
        self.engine = engine
        self.handlers = {command.verb: command.handle for command in aliases.commands()}

    async def say(self, verb: str, raw: str, entity: str = "", scope: str = "garden", **more: Any) -> Mapping[str, Any]:
        async with self.engine.begin() as tx:
            parameters = {"raw": raw, "scope": scope, "entity": entity, **more}
            return (await self.handlers[verb](tx, "command-1", parameters)).body


async def open_replica(store: Store, cache: Any = None) -> Replica:
    fruits = Fruits()
    names = Names(store.engine, cache or InProcessCache(METRICS), [fruits])
    await names.register()
    return Replica(names, fruits, Aliases({fruits.name: fruits}), store.engine)


@pytest.fixture
async def replica(store: Store) -> Replica:
    return await open_replica(store)


async def sold(store: Store, key: str = "") -> Any:
    rows = await store.rows("SELECT key, sold_id FROM shop.sale ORDER BY key")
    found = {row["key"]: row["sold_id"] for row in rows}
    return found[key] if key else found


async def test_the_views_show_what_a_print_stands_for(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "APPLE"), sale("3", "Applle")], day(1), names=replica.names)
    rows = await store.rows("SELECT * FROM shop.sale ORDER BY key")
    assert [row["sold_id"] for row in rows] == ["garden:applle"] * 3  # The longest first: it tells the most.
    assert [row["sold_method"] for row in rows] == ["fuzzy", "fuzzy", "new"] or rows[2]["sold_method"] == "new"
    assert rows[2]["sold_name"] == "Applle"
    assert rows[2]["sold_kind"] == "garden"
    assert 0 < rows[2]["sold_confidence"] <= 1


async def test_the_same_print_in_another_scope_is_another_name(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "Apple", "wild")], day(1), names=replica.names)
    assert await sold(store) == {"1": "garden:apple", "2": "wild:apple"}


async def test_a_known_name_costs_no_thought(store: Store, replica: Replica) -> None:
    for number in range(3):
        await store.put([sale("1", "Apple")], day(number), names=replica.names)
    assert replica.fruits.resolved == 1
    again = await open_replica(store)
    assert await again.names.resolve(check_records([sale("1", "Apple")], store.datasets).records) == []
    assert again.fruits.resolved == 0


async def test_replicas_agree_on_names_they_met_one_after_the_other(store: Store, replica: Replica) -> None:
    other = await open_replica(store)
    await store.put([sale("0", "Plum")], day(1), names=other.names)
    await store.put([sale("1", "Apple")], day(2), names=replica.names)
    await store.put([sale("2", "Apples")], day(3), names=other.names)
    assert await sold(store, "2") == "garden:apple"


async def test_replicas_that_meet_a_name_at_once_keep_one_answer(store: Store, replica: Replica) -> None:
    replicas = [replica, *[await open_replica(store) for _ in range(3)]]
    stock = [[sale(f"{i} {n}", f"fruit {n}") for n in (range(9) if i % 2 else reversed(range(9)))] for i in range(4)]
    puts = (store.put(stock[i], day(i), name=f"n{i}", names=replicas[i].names) for i in range(4))
    await asyncio.gather(*puts)
    assert len(await store.rows("SELECT 1 FROM converter.names")) == 9
    assert None not in (await sold(store)).values()


async def test_an_alias_holds_for_what_is_stored_without_rewriting_it(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "Pomme")], day(1), names=replica.names)
    versions = await store.rows("SELECT count(*) AS n FROM converter.versions")
    answer = await replica.say("alias_add", "Pomme", "Apple", author="eve")
    assert answer["entity"] == "garden:apple"
    assert answer["changed"] == [{"raw": "Pomme", "scope": "garden", "entity": "garden:apple", "was": "garden:pomme"}]
    assert await sold(store) == {"1": "garden:apple", "2": "garden:apple"}
    assert await store.rows("SELECT count(*) AS n FROM converter.versions") == versions
    (alias,) = await store.rows("SELECT raw, entity, author FROM converter.aliases")
    assert alias == {"raw": "Pomme", "entity": "garden:apple", "author": "eve"}


async def test_an_alias_holds_for_names_like_it(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "Pommes"), sale("3", "Pomm")], day(1), names=replica.names)
    await replica.say("alias_add", "Pommes", "Apple")
    assert set((await sold(store)).values()) == {"garden:apple"}


async def test_an_alias_taken_back_is_as_if_it_had_never_been(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "Pomme")], day(1), names=replica.names)
    await replica.say("alias_add", "Pomme", "Apple")
    answer = await replica.say("alias_remove", "Pomme")
    assert answer["removed"]
    assert await sold(store, "2") == "garden:pomme"
    assert not (await replica.say("alias_remove", "Pomme"))["removed"]


async def test_saying_it_twice_is_saying_it_once(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "Pomme")], day(1), names=replica.names)
    await replica.say("alias_add", "Pomme", "Apple")
    versions = await store.rows("SELECT alias_version FROM converter.vocabularies")
    assert (await replica.say("alias_add", "Pomme", "Apple"))["changed"] == []
    assert await store.rows("SELECT alias_version FROM converter.vocabularies") == versions


async def test_every_replica_uses_an_alias_at_once(store: Store, replica: Replica) -> None:
    other = await open_replica(store)
    await store.put([sale("1", "Apple")], day(1), names=replica.names)
    await store.put([sale("2", "Plum")], day(1), name="b", names=other.names)
    await replica.say("alias_add", "Pomme", "Apple")
    await store.put([sale("3", "Pomme"), sale("4", "Pommes")], day(2), names=other.names)
    assert await sold(store, "3") == "garden:apple"
    assert await sold(store, "4") == "garden:apple"


async def test_a_name_resolved_before_an_edit_and_recorded_after_it_is_resolved_again(
    store: Store, replica: Replica
) -> None:
    await store.put([sale("1", "Apple")], day(1), names=replica.names)
    checked = check_records([sale("2", "Pomme")], store.datasets).records
    before = await replica.names.resolve(checked)
    assert before[0].resolution.entity == "garden:pomme"
    await replica.say("alias_add", "Pomme", "Apple")
    async with store.engine.begin() as tx:
        await replica.names.record(tx, before)
    assert [row["entity"] for row in await store.rows("SELECT entity FROM converter.names WHERE raw = 'Pomme'")] == [
        "garden:apple"
    ]


async def test_an_alias_needs_somebody_to_stand_for(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "Apple"), sale("2", "Appliance")], day(1), names=replica.names)
    with pytest.raises(CommandRefused, match="nobody is known as 'Banana'"):
        await replica.say("alias_add", "Pomme", "Banana")
    with pytest.raises(CommandRefused, match=r"like it are: garden:appliance \(Appliance\)"):
        await replica.say("alias_add", "Pomme", "Applf")
    with pytest.raises(CommandRefused, match="raw has to be a text"):
        await replica.say("alias_add", "", "Apple")
    with pytest.raises(CommandRefused, match="no vocabulary 'x'; there are"):
        await replica.say("alias_add", "Pomme", "Apple", vocabulary="x")
    assert await store.rows("SELECT 1 AS one FROM converter.aliases") == []


async def in_review(store: Store, replica: Replica) -> None:
    """`Pear` is like two that are known."""
    await store.put([sale("1", "Barley"), sale("2", "Pea")], day(1), names=replica.names)
    await replica.say("alias_add", "Pearl barley", "Barley")
    await replica.say("alias_add", "Pear tree", "Pea")
    await store.put([sale("3", "Pear")], day(3), names=replica.names)


async def test_a_name_in_review_is_an_entity_of_its_own_until_a_person_decides(store: Store, replica: Replica) -> None:
    await in_review(store, replica)
    (row,) = await store.rows("SELECT * FROM converter.names WHERE method = 'review'")
    assert (row["raw"], row["entity"]) == ("Pear", "garden:pear")
    assert {one["entity"] for one in row["candidates"]} == {"garden:barley", "garden:pea"}

    with pytest.raises(CommandRefused, match="no candidate for 'Pear'"):
        await replica.say("review_accept", "Pear", "garden:apple")
    accepted = await replica.say("review_accept", "Pear", "garden:pea")
    assert accepted["changed"] == [{"raw": "Pear", "scope": "garden", "entity": "garden:pea", "was": "garden:pear"}]
    assert await sold(store, "3") == "garden:pea"
    assert (await replica.say("review_accept", "Pear", "garden:pea"))["changed"] == []
    with pytest.raises(CommandRefused, match=r"not in review: it is settled as garden:pea \(alias\)"):
        await replica.say("review_accept", "Pear", "garden:apple")


async def test_a_rejected_review_stays_rejected(store: Store, replica: Replica) -> None:
    await in_review(store, replica)
    await replica.say("review_reject", "Pear")
    assert await store.rows("SELECT raw FROM converter.names WHERE method = 'review'") == []
    assert await sold(store, "3") == "garden:pear"
    await replica.say("review_reject", "Pear")
    await replica.say("alias_add", "Pear", "Pea")
    assert await sold(store, "3") == "garden:pea"
    with pytest.raises(CommandRefused, match="has not been met"):
        await replica.say("review_reject", "Quince")


async def test_an_edit_and_new_names_at_once_leave_nothing_stale(store: Store, replica: Replica) -> None:
    await store.put([sale("a", "Apple")], day(1), names=replica.names)
    others = [await open_replica(store) for _ in range(3)]

    async def sell(number: int) -> None:
        who = others[number % 3]
        await store.put([sale(f"{number}", f"Pomm{number}")], day(2), name=f"d{number}", names=who.names)

    await asyncio.gather(*(sell(n) for n in range(6)), replica.say("alias_add", "Pomme", "Apple"))
    assert set((await sold(store)).values()) == {"garden:apple"}


async def test_a_name_too_long_to_be_one_is_left_alone(store: Store, replica: Replica) -> None:
    await store.put([sale("1", "a" * 301)], day(1), names=replica.names)
    assert await sold(store) == {"1": None}


async def test_a_rolled_back_transaction_forgets_nothing(store: Store, replica: Replica) -> None:
    records = check_records([sale("1", "Apple")], store.datasets).records
    first = await replica.names.resolve(records)
    connection = await store.engine.connect()
    await replica.names.record(connection, first)
    await connection.rollback()
    await connection.close()
    assert await replica.names.resolve(records) == first
    assert replica.fruits.resolved == 1


async def test_what_one_replica_worked_out_another_takes_from_redis(store: Store, redis_url: str) -> None:
    one, other = [await open_replica(store, RedisCache(redis_url, METRICS)) for _ in range(2)]
    records = check_records([sale("1", "Apple"), sale("2", "Plum")], store.datasets).records
    found = await one.names.resolve(records)

    def hits() -> float:
        labels = {"service": "converter", "namespace": "names.shop.fruit", "result": "hit"}
        return value("tidemill_cache_requests_total", **labels)

    before = hits()
    assert await other.names.resolve(records) == found
    assert hits() - before == 2
    assert other.fruits.resolved == 0


async def test_an_edit_makes_cached_answers_unfindable_on_all_replicas(store: Store, redis_url: str) -> None:
    one, other = [await open_replica(store, RedisCache(redis_url, METRICS)) for _ in range(2)]
    await store.put([sale("0", "Apple")], day(1), names=one.names)
    records = check_records([sale("1", "Pomme")], store.datasets).records
    assert [answer.resolution.entity for answer in await one.names.resolve(records)] == ["garden:pomme"]
    await one.say("alias_add", "Pomme", "Apple")
    for replica in (one, other):
        assert [answer.resolution.entity for answer in await replica.names.resolve(records)] == ["garden:apple"]


async def test_without_redis_names_are_still_right(store: Store) -> None:
    lost = await open_replica(store, RedisCache("redis://127.0.0.1:1/0", METRICS))
    await store.put([sale("1", "Apple"), sale("2", "Apples")], day(1), names=lost.names)
    assert set((await sold(store)).values()) == {"garden:apples"}
