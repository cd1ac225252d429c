"""Typed views follow the model, and show what holds now and what held."""

import asyncio
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import text

from tidemill.converter.datasets import InvalidDataset, find_datasets, register_datasets
from tidemill.converter.views import columns, dataset_views
from tidemill.plugin import Dataset, NameField, Record

from .store_kit import PRICE, Price, Store, day, price


class Colour(Enum):
    RED = "red"


class Nested(BaseModel):
    x: int


class Everything(BaseModel):
    words: str
    maybe: str | None = None
    amount: Decimal
    number: Annotated[float, Field(ge=0)]
    count: int | None
    either: int | float = 0
    yes: bool
    when: AwareDatetime
    also_when: datetime | None = None
    on: date
    at: time
    one_of: Literal["a", "b"]
    colour: Colour
    id: UUID
    nested: Nested
    several: tuple[int, ...] = ()
    anything: Any = None
    mixed: int | str = 0
    key: str = ""
    document: str = ""


EVERYTHING = Dataset("kinds.everything", Everything)


def test_columns_have_the_types_of_the_model() -> None:
    kinds = {column.name: column.type for column in columns(EVERYTHING, "current")}
    assert kinds == kinds | {
        "words": "text",
        "maybe": "text",
        "amount": "numeric",
        "number": "numeric",
        "count": "bigint",
        "either": "numeric",
        "yes": "boolean",
        "when": "timestamptz",
        "also_when": "timestamptz",
        "on": "date",
        "at": "time",
        "one_of": "text",
        "id": "text",
        "nested": "jsonb",
        "several": "jsonb",
        "anything": "jsonb",
        "mixed": "jsonb",
    }


def test_a_field_that_is_called_as_one_of_our_columns_keeps_its_name() -> None:
    names = [column.name for column in columns(EVERYTHING, "history")]
    assert {"key", "record_key", "document", "record_document", "valid_to"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.servers
class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    number: int = 0


def test_what_an_open_model_does_not_name_is_in_a_column_of_its_own() -> None:
    kinds = {column.name: column.type for column in columns(Dataset("kinds.open", Open), "current")}
    assert kinds == kinds | {"number": "bigint", "data": "jsonb"}
    assert "data" not in {column.name for column in columns(EVERYTHING, "current")}


async def test_values_arrive_as_what_they_are(store: Store) -> None:
    store.datasets = await register_datasets(store.engine, [EVERYTHING])
    data = {
        "words": "it's ő",
        "amount": "1.10",
        "number": 2.5,
        "count": None,
        "yes": False,
        "when": "2025-06-01T12:00:00+02:00",
        "on": "2025-06-01",
        "at": "19:30",
        "one_of": "a",
        "colour": "red",
        "id": "12345678-1234-5678-1234-567812345678",
        "nested": {"x": 1},
        "several": [1, 2],
        "anything": {"a": None},
        "mixed": "7",
        "key": "inner",
    }
    await store.put([Record("kinds.everything", "outer", data)], day(1))
    (row,) = await store.rows("SELECT * FROM kinds.everything")
    assert (row["record_key"], row["key"], row["words"], row["count"]) == ("outer", "inner", "it's ő", None)
    assert (row["amount"], row["number"], row["yes"]) == (Decimal("1.10"), Decimal("2.5"), False)
    assert row["when"] == datetime(2025, 6, 1, 10, tzinfo=UTC)
    assert (row["on"], row["at"], row["colour"]) == (date(2025, 6, 1), time(19, 30), "red")
    assert (row["nested"], row["several"], row["anything"], row["mixed"]) == ({"x": 1}, [1, 2], {"a": None}, "7")


@pytest.mark.servers
async def test_history_says_until_when_each_version_was_true(store: Store) -> None:
    for number, amount in enumerate((1, 2, 2, 3), 1):
        await store.put([price("a", amount)], day(number))
    rows = await store.rows(
        "SELECT price, valid_from, valid_to FROM shop.price_history WHERE key = 'a' ORDER BY valid_from"
    )
    assert [tuple(row.values()) for row in rows] == [(1, day(1), day(2)), (2, day(2), day(4)), (3, day(4), None)]


@pytest.mark.servers
async def test_a_changed_model_renews_the_views_and_old_data_that_does_not_fit_is_null(store: Store) -> None:
    class Dearer(BaseModel):
        price: date | None = None
        currency: str = "EUR"

    await store.put([price("a", 1)], day(1))
    await register_datasets(store.engine, [Dataset("shop.price", Dearer)])
    (row,) = await store.rows("SELECT price, currency FROM shop.price")
    assert row == {"price": None, "currency": None}


@pytest.mark.servers
async def test_views_that_others_stand_on_are_left_and_reported(store: Store) -> None:
    class Other(BaseModel):
        amount: int = 0

    async with store.engine.begin() as tx:
        await tx.execute(text("CREATE VIEW public.mine AS SELECT price FROM shop.price"))
    other = Dataset("shop.price", Other)
    stale = (await register_datasets(store.engine, [other])).stale_views
    assert len(stale) == 1
    assert "shop.price stay as they were" in stale[0]
    assert len(await store.rows("SELECT price FROM shop.price")) == 0
    async with store.engine.begin() as tx:
        await tx.execute(text("DROP VIEW public.mine"))
    assert (await register_datasets(store.engine, [other])).stale_views == ()
    assert len(await store.rows("SELECT amount FROM shop.price")) == 0


@pytest.mark.servers
async def test_replicas_may_register_at_once(store: Store) -> None:
    datasets = [Dataset(f"many.d{number}", Price) for number in range(3)]
    ids = [found.ids for found in await asyncio.gather(*(register_datasets(store.engine, datasets) for _ in range(4)))]
    assert ids == [ids[0]] * 4


@pytest.mark.servers
@pytest.mark.parametrize("name", ["price", "Shop.price", "shop.", "a.b.c", f"shop.{'x' * 40}", "converter.price"])
async def test_a_dataset_with_an_impossible_name_is_refused(store: Store, name: str) -> None:
    with pytest.raises(InvalidDataset):
        await register_datasets(store.engine, [Dataset(name, Price)])


@pytest.mark.servers
async def test_a_name_of_a_field_that_is_missing_is_refused(store: Store) -> None:
    names = {"team": NameField("sport.team", raw="home", scope="league")}
    with pytest.raises(InvalidDataset, match="home, league"):
        await register_datasets(store.engine, [Dataset("shop.price", Price, names=names)])


def test_installed_datasets_are_found_and_have_views() -> None:
    for dataset in find_datasets():
        assert len(dataset_views(dataset, 1).bodies) == 2


def test_the_hash_of_views_changes_with_the_model() -> None:
    class Wider(Price):
        more: int = 0

    assert dataset_views(PRICE, 1).hash != dataset_views(Dataset("shop.price", Wider), 1).hash
    assert dataset_views(PRICE, 1).hash == dataset_views(Dataset("shop.price", Price), 1).hash


async def test_registering_again_uses_up_no_number(store: Store) -> None:
    """Ids are small integers, and every start of every replica registers."""
    last = text("SELECT last_value FROM converter.datasets_id_seq")
    async with store.engine.connect() as connection:
        before = await connection.scalar(last)
    for _ in range(3):
        await register_datasets(store.engine, store.datasets.known.values())
    async with store.engine.connect() as connection:
        assert await connection.scalar(last) == before
