"""What the store's tests share: small datasets, and a database with the converter's tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.database import open_engine
from tidemill.common.migrations import migrate
from tidemill.converter.content import check_records
from tidemill.converter.datasets import Datasets, register_datasets
from tidemill.converter.store import (
    DocumentFacts,
    RecordBatch,
    Recorded,
    begin_document,
    record_batches,
)
from tidemill.converter.tables import metadata
from tidemill.plugin import Dataset, NameField, Record, Rejected

CONVERTER = SimpleNamespace(name="converter", metadata=metadata, migrations="tidemill.converter.migrations")
START = datetime(2025, 6, 1, 12, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


class Price(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    price: int
    note: str | None = None


class Fixture(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    home: str
    league: str = ""
    kickoff: AwareDatetime
    odds: tuple[Decimal, ...] = ()
    key: str = ""
    women: bool = False
    extra: dict[str, Any] | None = None


def within_three_weeks(known: Fixture, new: Fixture) -> bool:
    return abs(known.kickoff - new.kickoff) <= timedelta(days=21)


PRICE = Dataset("shop.price", Price, "Prices")
FIXTURE = Dataset(
    "sport.fixture",
    Fixture,
    same_fact=within_three_weeks,
    names={"team": NameField("sport.team", "home", "league")},
)
ODDS = Dataset("sport.odds", Price)
ALL = (PRICE, FIXTURE, ODDS)


@dataclass(slots=True)
class Store:
    """A database and its datasets, and documents put into it in a few words."""

    engine: AsyncEngine
    datasets: Datasets

    async def put(
        self,
        records: Iterable[Record],
        at: datetime,
        *,
        received: datetime = START,
        name: str = "",
        part: int = 0,
        rejected: Sequence[Rejected] = (),
        version: str = "1",
    ) -> Recorded:
        """One part of a document, in a transaction of its own."""
        name = name or f"{at.isoformat()} {received.isoformat()}"
        async with self.engine.begin() as tx:
            document = await begin_document(tx, facts(name, at, received, version))
            checked = check_records(records, self.datasets)
            batch = RecordBatch(
                document=document,
                part=part,
                run="run-1",
                valid_from=at,
                records=checked.records,
                rejected=[*rejected, *checked.rejected],
            )
            return (await record_batches(tx, [batch], self.datasets))[0]

    async def rows(self, statement: str, **parameters: Any) -> list[Mapping[str, Any]]:
        async with self.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

    async def rows_deleted(self) -> None:
        """Begin again, in less time than a fresh database takes."""
        async with self.engine.begin() as tx:
            tables = "records, versions, sightings, batches, rejected, documents, names, aliases"
            await tx.execute(text(f"TRUNCATE {', '.join('converter.' + table for table in tables.split(', '))}"))

    async def history(self, key: str, dataset: str = "shop.price") -> list[tuple[float, Any]]:
        """(day, price) of every version that holds."""
        rows = await self.rows(
            "SELECT v.valid_from, v.data FROM converter.records r JOIN converter.versions v ON v.record = r.id"
            " AND v.dataset = r.dataset WHERE r.key = :key AND r.dataset = :id AND recorded_to IS NULL"
            " ORDER BY valid_from",
            key=key,
            id=self.datasets.id(dataset),
        )
        return [((row["valid_from"] - START) / timedelta(days=1), row["data"].get("price")) for row in rows]

    async def current(self, key: str) -> Any:
        rows = await self.rows("SELECT price FROM shop.price WHERE key = :key", key=key)
        return rows[0]["price"] if rows else None


def facts(name: str, at: datetime, received: datetime = START, version: str = "1") -> DocumentFacts:
    return DocumentFacts(
        source="test",
        sha256=sha256(name.encode()).hexdigest(),
        run="run-1",
        converter="test",
        converter_version=version,
        name=name,
        size_bytes=1,
        received_at=received,
        valid_from=at,
    )


def price(key: str, amount: int, **more: Any) -> Record:
    return Record("shop.price", key, {"price": amount}, **more)


async def open_store(url: str, datasets: Sequence[Dataset] = ALL) -> Store:
    await migrate(url, [CONVERTER])
    engine = open_engine(url)
    return Store(engine, await register_datasets(engine, datasets))
