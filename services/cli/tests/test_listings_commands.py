"""`tidemill listings` and `lineage` of listings: duplicates, prices, and where each value is from."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from tidemill.cli import lineage, listings, records
from tidemill.common.bus.bus import Bus
from tidemill.common.database import open_engine
from tidemill.common.telemetry.tracing import Telemetry
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.converter.content import check_records
from tidemill.converter.datasets import find_datasets, register_datasets
from tidemill.converter.gone import CONVERTER as GONE
from tidemill.converter.gone import Word, record_gone
from tidemill.converter.pairs import Pairs
from tidemill.converter.store import DocumentFacts, RecordBatch, begin_document, record_batches
from tidemill.converter.tables import bus, metadata
from tidemill.plugin import Position, Record

CONVERTER = SimpleNamespace(name="converter", metadata=metadata, migrations="tidemill.converter.migrations")
pytestmark = pytest.mark.servers
START = datetime(2026, 11, 1, 6, tzinfo=UTC)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    for module in (listings, lineage, records):
        module.register(app)
    result = CliRunner().invoke(app, list(arguments))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


async def said(*arguments: str) -> str:
    result = await asyncio.to_thread(run, *arguments)
    assert result.exit_code == 0, result.output
    return result.output


def listing(portal: str, id: str, price: float, **more: Any) -> Record:
    data = {
        "portal": portal,
        "portal_id": id,
        "url": f"https://{portal}.example/{id}",
        "price_kind": "sale",
        "price": price,
        "currency": "EUR",
        "size_m2": 54.5,
        "rooms": 2,
        "street": "Hämeentie",
        "number": "6",
        "city": "Helsinki",
        **more,
    }
    raw = json.dumps({"price": {"rule": "label: Hinta", "raw": f"{price:g} €"}})
    return Record("listings.listing", f"{portal}/{id}", data, Position(item=0), raw=raw)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("NATS_URL", "DATABASE_URL", "REDIS_URL", "ARCHIVE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def filled(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> str:
    """A home on two portals, whose price fell on one of them; it went, and came back there under another id."""
    database_url = new_database(CONVERTER)
    engine = open_engine(database_url)
    datasets = await register_datasets(engine, find_datasets())

    async def put(day: int, record: Record) -> None:
        url = str(record.data["url"])
        async with engine.begin() as tx:
            document = await begin_document(tx, facts(day, url, "listings", "1", f"{day}{url}"))
            checked = check_records([record], datasets).records
            at = START + timedelta(days=day)
            batch = RecordBatch(document=document, part=0, run=f"run-{day}", valid_from=at, records=checked)
            await record_batches(tx, [batch], datasets)

    await put(0, listing("koti", "1", 300_000))
    await put(1, listing("talo", "7", 299_000))
    await put(2, listing("koti", "1", 290_000))
    await put(2, listing("koti", "9", 100_000, street="Toinen linja", number="3", size_m2=30))
    async with engine.begin() as tx:
        word = Word(facts(5, "https://koti.example/1", GONE, "item", ""), "", "unlisted")
        await record_gone(tx, [word], datasets)
    await put(20, listing("koti", "2", 280_000))
    await engine.dispose()
    monkeypatch.setenv("DATABASE_URL", database_url)
    return database_url


def facts(day: int, url: str, converter: str, version: str, sha256: str) -> DocumentFacts:
    return DocumentFacts(
        source="koti",
        sha256=sha256,
        run=f"run-{day}",
        converter=converter,
        converter_version=version,
        name="page",
        size_bytes=1,
        received_at=START + timedelta(days=day),
        path=url,
        context={"city": "Helsinki"},
        attributes={"detail": "two runs did not list it"} if converter == GONE else {},
        trace="ab" * 16,
    )


async def test_pairs_that_may_be_one_home_are_proposed_with_their_evidence(filled: str) -> None:
    found = json.loads(await said("listings", "duplicates", "-o", "json"))
    assert {(tuple(pair["keys"]), pair["kinship"]) for pair in found} == {
        (("koti/1", "talo/7"), "duplicate"),
        (("koti/1", "koti/2"), "relisted"),
        (("talo/7", "koti/2"), "duplicate"),
    }
    relisted = next(pair for pair in found if pair["kinship"] == "relisted")
    assert relisted["price_change"] == pytest.approx(-1 / 29, abs=1e-6)
    assert "Hämeentie 6" in [each["detail"] for each in relisted["evidence"]]
    table = await said("listings", "duplicates", "--least", "0.5")
    assert "place: Hämeentie 6" in table
    assert "3 pairs with a score of 0.5 or more" in table


async def test_prices_are_one_line_for_keys_that_are_given_together(filled: str) -> None:
    told = json.loads(await said("listings", "prices", "koti/1", "-o", "json"))
    assert (told["keys"], told["first"]["price"]) == (["koti/1"], 300_000)
    assert [(change["after"], change["at"][:10]) for change in told["changes"]] == [(290_000, "2026-11-03")]
    assert sorted(pair["kinship"] for pair in told["perhaps_the_same"]) == ["duplicate", "relisted"]
    table = await said("listings", "prices", "koti/1", "koti/2")
    assert "2026-11-21  280,000 EUR  koti/2  -3.4%" in table
    assert "perhaps the same home (duplicate" in table
    unknown = await asyncio.to_thread(run, "listings", "prices", "koti")
    assert "there is no listing 'koti'; there are: koti/1, koti/2, koti/9" in unknown.output


async def test_what_a_person_says_of_a_pair_is_kept_and_heeded(
    filled: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    engine = open_engine(filled)
    datasets = await register_datasets(engine, find_datasets())
    async with (
        Telemetry.open("converter", "1") as telemetry,
        Bus.open(
            nats_url, service="converter", version="1.0.0", engine=engine, tables=bus, telemetry=telemetry
        ) as opened,
    ):
        running = asyncio.create_task(opened.run(commands=Pairs(datasets).commands()))
        while not (opened.connected and opened.control.known):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert "koti/1 and koti/2 are one home" in await said("listings", "accept", "koti/2", "koti/1")
        assert "are two homes" in await said("listings", "reject", "koti/1", "talo/7")
        await said("listings", "reject", "koti/1", "talo/7")
        for words in (("koti/1", "koti/1"), ("koti/1", "koti/99")):
            assert (await asyncio.to_thread(run, "listings", "accept", *words)).exit_code == 1
        await opened.stop()
        await running
    await engine.dispose()
    told = json.loads(await said("listings", "prices", "koti/1", "-o", "json"))
    assert (told["keys"], [change["after"] for change in told["changes"]]) == (["koti/1", "koti/2"], [290_000, 280_000])
    assert [pair["keys"] for pair in told["perhaps_the_same"]] == [["talo/7", "koti/2"]]
    assert "1 pair with a score of 0.7 or more; 2 decided ones with --decided" in await said("listings", "duplicates")
    assert "different by" in await said("listings", "duplicates", "--decided")


async def test_lineage_tells_the_rule_of_each_value_and_that_it_is_gone(filled: str) -> None:
    gone, cheaper, _ = json.loads(await said("lineage", "listings.listing", "koti/1", "-o", "json"))["versions"]
    assert (gone["gone"], gone["current"], gone["data"], gone["reason"]) == (True, True, None, "unlisted")
    assert (cheaper["url"], cheaper["context"]) == ("https://koti.example/1", {"city": "Helsinki"})
    assert cheaper["fields"] == {"price": {"rule": "label: Hinta", "raw": "290000 €"}}
    assert (cheaper["converter"], cheaper["converter_version"], cheaper["trace"]) == ("listings", "1", "ab" * 16)
    shown = await said("lineage", "listings.listing", "koti/1")
    assert "since 2026-11-06 06:00:00 UTC: unlisted (two runs did not list it)" in shown
    assert "290000.0  by label: Hinta, from '290000 €'" in shown
    assert "city: Helsinki" in shown


async def test_a_city_is_shown_with_what_was_there_before(filled: str) -> None:
    assert "3 records" in await said("records", "listings.listing", "--city", "helsinki")
    history = await said("records", "listings.listing", "--history", "--street", "Hämeentie", "--portal", "koti")
    assert "gone" in history
    assert "4 versions" in history
