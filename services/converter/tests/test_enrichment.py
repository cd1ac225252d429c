"""What follows from records is made as they come, or later; anew when data or enricher change; and never twice."""

import asyncio
import csv
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.step import CommandRefused
from tidemill.converter.datasets import InvalidDataset, find_datasets, register_datasets
from tidemill.converter.enriched import fetch_progress, take_stale
from tidemill.converter.enrichment import Enrichments
from tidemill.converter.geodata import ReferenceData, fetch_references
from tidemill.converter.retention import Undertaker
from tidemill.plugin import API_VERSION, References, Subject
from tidemill.plugin.reference import COLUMNS, read_addresses

from .store_kit import ALL, PRICE, Price, Store, day, price

pytestmark = pytest.mark.servers


class Worth(BaseModel):
    worth: int
    known: list[str] = []
    price: int | None = None
    quality: float | None = None


class Market:
    """Prices, by the addresses that are known: each doubles the worth. `note` says what it should do."""

    name: ClassVar[str] = "market"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = API_VERSION
    dataset: ClassVar[str] = "shop.price"
    model: ClassVar[type[BaseModel]] = Worth
    references: ClassVar[tuple[str, ...]] = ("addresses",)

    def __init__(self) -> None:
        self.seen = 0
        self.opened = 0

    def open(self, references: References) -> "OpenMarket":
        self.opened += 1
        known = [row.city for path in references.get("addresses", ()) for row in read_addresses(path)]
        if "Nowhere" in known:
            raise ValueError("Nowhere is no city")
        return OpenMarket(self, known)


class OpenMarket:
    def __init__(self, market: Market, known: list[str]) -> None:
        self.market = market
        self.known = known

    def enrich(self, subjects: Sequence[Subject]) -> list[Mapping[str, Any] | None]:
        self.market.seen += len(subjects)
        return [self.one(subject) for subject in subjects]

    def one(self, subject: Subject) -> Mapping[str, Any] | None:
        record: Price = subject.record
        if record.note == "nothing":
            return None
        if record.note == "broken":
            raise ZeroDivisionError("no price is like that")
        found: dict[str, Any] = {"worth": record.price * 2 ** len(self.known), "known": self.known, "price": -1}
        if record.note == "good":
            found["quality"] = 0.25
        if record.note == "located" and subject.located:
            found["known"] = [f"{subject.located.latitude}"]
        return found

    def question(self, record: Price) -> str:
        return "Somewhere 1" if record.note == "located" else ""


class NewMarket(Market):
    version: ClassVar[str] = "2"


async def always() -> None:
    pass


async def soon(busy: float, idle: float) -> None:
    await asyncio.sleep(0.01)


class Replica:
    """A converter's enrichments, with its own enricher."""

    def __init__(self, enrichments: Enrichments, market: Market) -> None:
        self.enrichments = enrichments
        self.market = market

    async def settle(self) -> None:
        while await self.enrichments.look():
            pass


class Shop:
    """A store whose prices are enriched."""

    def __init__(self, store: Store, archive: Archive, folder: Path) -> None:
        self.store = store
        self.engine: AsyncEngine = store.engine
        self.archive = archive
        self.folder = folder
        self.handlers = {command.verb: command.handle for command in ReferenceData(archive).commands()}

    async def open(self, market: Market | None = None, asks: str = "") -> Replica:
        market = market or Market()
        enriched = replace(PRICE, enrichers=[market])
        self.store.datasets = await register_datasets(
            self.engine, [enriched, *(one for one in ALL if one is not PRICE)]
        )
        folder = self.folder / f"{id(market)}"
        found = Enrichments(
            self.engine, self.archive, self.store.datasets, folder, allowed=always, rest=soon, asks=asks
        )
        await found.register()
        await found.add_missing()
        return Replica(found, market)

    async def bring(self, *cities: str, name: str = "towns") -> Mapping[str, Any]:
        path = self.folder / "import.csv"
        with path.open("w", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(COLUMNS["addresses"])
            rows.writerows([(city, "Street", "1", "", city, 47.0, 9.0) for city in cities])
        sha256 = (await self.archive.put_file(path)).sha256
        facts = {"rows": len(cities), "counts": {}, "box": [47, 9, 47, 9.0], "file": "x.csv", "licence": "ODbL"}
        return await self.say("geo_import", name=name, sha256=sha256, **facts)

    async def say(self, verb: str, **parameters: Any) -> Mapping[str, Any]:
        async with self.engine.begin() as tx:
            return (await self.handlers[verb](tx, "1", {"kind": "addresses", **parameters})).body

    async def worth(self, view: str = "shop.price") -> dict[str, Any]:
        rows = await self.store.rows(f"SELECT key, worth FROM {view} ORDER BY key, valid_from")
        return {row["key"]: row["worth"] for row in rows}


@pytest.fixture
async def shop(store: Store, tmp_path: Path) -> AsyncIterator[Shop]:
    async with Archive.open("memory:///") as archive:
        yield Shop(store, archive, tmp_path)


async def test_records_are_enriched_as_they_come(shop: Shop) -> None:
    replica = await shop.open()
    await replica.enrichments.look()  # Opens it.
    await shop.store.put([price("a", 1), price("b", 2)], day(1), enrichments=replica.enrichments)
    assert await shop.worth() == {"a": 1, "b": 2}
    assert not await replica.enrichments.look()
    assert replica.market.seen == 2


async def test_views_have_typed_columns_and_the_enrichers_quality(shop: Shop) -> None:
    replica = await shop.open()
    await replica.settle()
    good = price("a", 1)
    await shop.store.put(
        [replace(good, data={"price": 1, "note": "good"}), price("b", 2)], day(1), enrichments=replica.enrichments
    )
    one, other = await shop.store.rows("SELECT * FROM shop.price ORDER BY key")
    assert (one["price"], one["market_price"], one["worth"], one["known"]) == (1, -1, 1, [])
    assert (one["quality"], other["quality"]) == (0.25, 1.0)
    kinds = await shop.store.rows(
        "SELECT column_name AS name, data_type AS kind FROM information_schema.columns"
        " WHERE table_schema = 'shop' AND table_name = 'price' AND column_name IN ('worth', 'known', 'quality')"
    )
    assert {row["name"]: row["kind"] for row in kinds} == {"worth": "bigint", "known": "jsonb", "quality": "real"}


async def test_an_enricher_that_is_not_open_yet_keeps_no_record_waiting(shop: Shop) -> None:
    replica = await shop.open()
    await shop.store.put([price("a", 1)], day(1), enrichments=replica.enrichments)
    assert await shop.worth() == {"a": None}
    await replica.settle()
    assert await shop.worth() == {"a": 1}


async def test_what_is_stored_already_is_not_made_again(shop: Shop) -> None:
    replica = await shop.open()
    await replica.settle()
    for number in range(3):
        await shop.store.put([price("a", 1), price("b", number)], day(number), enrichments=replica.enrichments)
    assert replica.market.seen == 4
    assert len(await shop.store.rows("SELECT 1 FROM converter.enriched")) == 4


async def test_records_from_before_the_enricher_are_made_too_with_their_history(shop: Shop) -> None:
    await shop.store.put([price("a", 1)], day(1))
    await shop.store.put([price("a", 2)], day(2))
    replica = await shop.open()
    await replica.settle()
    rows = await shop.store.rows("SELECT worth FROM shop.price_history ORDER BY valid_from")
    assert [row["worth"] for row in rows] == [1, 2]
    await replica.enrichments.add_missing()
    assert len(await shop.store.rows("SELECT 1 FROM converter.enriched")) == 2


async def test_new_reference_data_make_all_anew_also_history(shop: Shop) -> None:
    replica = await shop.open()
    await replica.settle()
    await shop.store.put([price("a", 1)], day(1), enrichments=replica.enrichments)
    await shop.store.put([price("a", 5)], day(2), enrichments=replica.enrichments)
    versions = await shop.store.rows("SELECT count(*) AS n FROM converter.versions")
    assert (await shop.bring("Vaduz"))["changed"]
    await replica.settle()
    rows = await shop.store.rows("SELECT worth, known FROM shop.price_history ORDER BY valid_from")
    assert rows == [{"worth": 2, "known": ["Vaduz"]}, {"worth": 10, "known": ["Vaduz"]}]
    assert await shop.store.rows("SELECT count(*) AS n FROM converter.versions") == versions
    await shop.bring("Schaan", name="more")
    await replica.settle()
    assert await shop.worth() == {"a": 20}
    await shop.say("geo_remove", name="more")
    await replica.settle()
    assert await shop.worth() == {"a": 10}


async def test_importing_the_same_again_changes_nothing(shop: Shop) -> None:
    replica = await shop.open()
    await shop.bring("Vaduz")
    await replica.settle()
    assert not (await shop.bring("Vaduz"))["changed"]
    await shop.store.put([price("a", 1)], day(1), enrichments=replica.enrichments)
    assert not await replica.enrichments.look()
    assert replica.market.opened == 1


async def test_another_file_of_the_same_name_takes_its_place_and_its_bytes_go(shop: Shop) -> None:
    replica = await shop.open()
    first = await shop.bring("Vaduz")
    await replica.settle()
    second = await shop.bring("Schaan")
    async with shop.engine.connect() as connection:
        (kept,) = await fetch_references(connection)
    assert kept.imported.sha256 == second["sha256"] != first["sha256"]
    await Undertaker(shop.engine, shop.archive).work()
    assert [entry.sha256 async for entry in shop.archive.list()] == [second["sha256"]]
    await replica.settle()
    assert [path.name for path in shop.folder.rglob("????????*.csv")] == [f"{second['sha256']}.csv"]


async def test_an_import_takes_back_the_end_of_its_bytes_or_says_that_they_are_gone(shop: Shop) -> None:
    brought = await shop.bring("Vaduz")
    await shop.say("geo_remove", name="towns")
    await shop.bring("Vaduz")
    await Undertaker(shop.engine, shop.archive).work()
    assert (await shop.archive.stat(brought["sha256"])).size_bytes
    await shop.archive.delete(brought["sha256"])
    with pytest.raises(CommandRefused, match="import it again"):
        await shop.say("geo_import", **{**brought, "name": "other"})


async def test_a_new_version_makes_all_anew_and_an_older_replica_leaves_it(shop: Shop) -> None:
    old = await shop.open()
    await old.settle()
    await shop.store.put([price("a", 1)], day(1), enrichments=old.enrichments)
    new = await shop.open(NewMarket())
    await new.settle()
    assert new.market.seen == 1
    await old.settle()
    assert old.market.seen == 1
    await shop.store.put([price("b", 1)], day(2), enrichments=old.enrichments)
    await new.settle()
    rows = await shop.store.rows("SELECT version, count(*) AS n FROM converter.enriched GROUP BY 1")
    assert rows == [{"version": "2", "n": 2}]


async def test_what_cannot_be_made_stops_nothing_else(shop: Shop) -> None:
    replica = await shop.open()
    await replica.settle()
    bad = [replace(price(key, 1), data={"price": 1, "note": note}) for key, note in (("n", "nothing"), ("x", "broken"))]
    await shop.store.put([price("a", 1), *bad, price("b", 2)], day(1), enrichments=replica.enrichments)
    assert await shop.worth() == {"a": 1, "b": 2, "n": None, "x": None}
    (row,) = await shop.store.rows("SELECT reason FROM converter.enriched WHERE reason <> ''")
    assert row["reason"] == "ZeroDivisionError: no price is like that"
    assert not await replica.enrichments.look()
    async with shop.engine.connect() as connection:
        (progress,) = await fetch_progress(connection)
    assert (progress["rows"], progress["made"], progress["failed"]) == (4, 4, 1)


async def test_data_that_an_enricher_refuses_leave_the_last_answers(shop: Shop) -> None:
    replica = await shop.open()
    await shop.bring("Vaduz")
    await replica.settle()
    await shop.store.put([price("a", 1)], day(1), enrichments=replica.enrichments)
    await shop.bring("Nowhere")
    await replica.settle()
    assert await replica.enrichments.complaint() == "market: ValueError: Nowhere is no city"
    await shop.store.put([price("b", 1)], day(1), name="b", enrichments=replica.enrichments)
    assert await shop.worth() == {"a": 2, "b": 2}


async def test_replicas_share_the_rows_and_each_is_made_once(shop: Shop) -> None:
    replicas = [await shop.open() for _ in range(3)]
    await shop.store.put([price(f"{n}", n) for n in range(1000)], day(1))
    await asyncio.gather(*(replica.settle() for replica in replicas))
    assert sum(replica.market.seen for replica in replicas) == 1000
    assert await shop.store.rows("SELECT 1 FROM converter.enriched WHERE made_at IS NULL") == []


async def test_one_that_is_killed_over_its_rows_leaves_them_to_others(shop: Shop) -> None:
    replica = await shop.open()
    await shop.store.put([price("a", 1)], day(1))
    connection = await shop.engine.connect()
    assert len(await take_stale(connection, shop.store.datasets.id("shop.price"), "market", "1", "x", 10)) == 1
    await replica.settle()
    assert await shop.worth() == {"a": None}
    await connection.invalidate()
    await connection.close()
    await replica.settle()
    assert await shop.worth() == {"a": 1}


async def test_a_geocoders_answer_is_used_where_it_was_asked(shop: Shop) -> None:
    replica = await shop.open(asks="maps.test")
    await replica.settle()
    wanted = replace(price("a", 1), data={"price": 1, "note": "located"})
    await shop.store.put([wanted, price("b", 1)], day(1), enrichments=replica.enrichments)
    assert [row["question"] for row in await shop.store.rows("SELECT question FROM converter.enriched")] == [
        "Somewhere 1",
        None,
    ]
    async with shop.engine.begin() as tx:
        await tx.exec_driver_sql(
            "INSERT INTO converter.geocoded (question, latitude, longitude, attribution, asked_at)"
            " VALUES ('Somewhere 1', 47.5, 9.5, '', now())"
        )
        await tx.exec_driver_sql("UPDATE converter.enriched SET version = ''")
    await replica.settle()
    rows = await shop.store.rows("SELECT known FROM shop.price ORDER BY key")
    assert rows[0]["known"] == ["47.5"]
    assert await shop.store.rows("SELECT 1 FROM converter.enriched WHERE question IS NOT NULL") == []


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "rivers"}, "no kind 'rivers'"),
        ({"name": "a b"}, "a name has letters"),
        ({"sha256": "x"}, "64 hexadecimal digits"),
        ({"rows": "many"}, "rows has to be a number"),
        ({"box": [1, 2]}, "four numbers"),
        ({"licence": 7}, "licence has to be a text"),
    ],
)
async def test_an_import_is_refused_with_a_sentence(shop: Shop, wrong: dict[str, Any], sentence: str) -> None:
    good = {"name": "towns", "sha256": "0" * 64, "rows": 1, "counts": {}, "box": [1, 2, 3, 4]}
    with pytest.raises(CommandRefused, match=sentence):
        await shop.say("geo_import", **{**good, **wrong})


PACKAGE = """
from pydantic import BaseModel
class Weather(BaseModel):
    wet: bool
class Wet:
    name, version, api_version, dataset, model, references = "NAME", "1", API, "json.item", Weather, ()
    def open(self, references): ...
"""


def install(folder: Path, name: str, api: int = API_VERSION, point: str = "wet") -> None:
    """What an installed package leaves."""
    info = folder / "wet-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wet\nVersion: 1\n")
    module = f"wet_{folder.name.replace('-', '_')}"
    (info / "entry_points.txt").write_text(f"[tidemill.enrichers]\n{point} = {module}:Wet\n")
    (folder / f"{module}.py").write_text(PACKAGE.replace("NAME", name).replace("API", str(api)))


def test_an_enricher_of_another_package_is_found_with_its_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "wet")
    monkeypatch.syspath_prepend(tmp_path)
    found = {dataset.name: [one.name for one in dataset.enrichers] for dataset in find_datasets()}
    assert found["json.item"] == ["wet"]


@pytest.mark.parametrize(
    ("name", "api", "point", "sentence"),
    [
        ("dry", API_VERSION, "wet", "is not the enricher of that name"),
        ("wet", API_VERSION + 1, "wet", "is for version 2 of the interface"),
        ("We-t", API_VERSION, "We-t", "has a name like price_index"),
    ],
)
def test_an_enricher_that_cannot_work_here_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, api: int, point: str, sentence: str
) -> None:
    install(tmp_path, name, api, point)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidDataset, match=sentence):
        find_datasets()
