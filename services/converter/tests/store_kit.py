"""What the store's tests share: small datasets, and a database with the converter's tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from types import SimpleNamespace
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.database import open_engine
from tidemill.common.events import Changes
from tidemill.converter.content import check_records
from tidemill.converter.datasets import Datasets, register_datasets
from tidemill.converter.enrichment import Enrichments
from tidemill.converter.gone import CONVERTER as GONE
from tidemill.converter.gone import Word, record_gone
from tidemill.converter.names import Names
from tidemill.converter.store import (
    DocumentFacts,
    RecordBatch,
    Recorded,
    begin_document,
    begin_documents,
    record_batches,
)
from tidemill.converter.tables import metadata
from tidemill.plugin import Candidate, Dataset, KnownName, NameField, Record, Rejected, Resolution

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


class Fruits:
    """A vocabulary of fruits: the scope says whether they are grown (`garden`) or wild. Two names are alike when one
    begins with the first four letters of the other."""

    name = "shop.fruit"
    resolved = 0
    """How often a resolver had to think."""

    def open(self, known: Iterable[KnownName]) -> "FruitResolver":
        return FruitResolver(self, known)


class FruitResolver:
    def __init__(self, fruits: Fruits, known: Iterable[KnownName]) -> None:
        self.fruits = fruits
        self.aliases: dict[str, KnownName] = {}
        self.seen: dict[tuple[str, str], KnownName] = {}
        for one in known:
            if one.by_user:
                self.aliases[one.raw.casefold()] = one
            else:
                self.seen[one.raw.casefold(), one.scope] = one

    def known(self, raw: str, scope: str) -> Resolution | None:
        alias = self.aliases.get(raw.casefold())
        if alias and alias.scope in ("", scope):
            return Resolution(raw, scope, alias.entity, alias.name, alias.kind, 1.0, "alias")
        one = self.seen.get((raw.casefold(), scope))
        return one and Resolution(raw, scope, one.entity, one.name, one.kind, 1.0, "exact")

    def resolve(self, raw: str, scope: str) -> Resolution:
        if known := self.known(raw, scope):
            return known
        self.fruits.resolved += 1
        alike = {
            one.entity: one
            for one in [*self.seen.values(), *self.aliases.values()]
            if one.raw.casefold()[:4] == raw.casefold()[:4] and one.scope in ("", scope)
        }
        candidates = tuple(Candidate(one.entity, one.name, 0.7) for one in alike.values())
        if len(alike) == 1:
            (one,) = alike.values()
            return Resolution(raw, scope, one.entity, one.name, one.kind, 0.7, "fuzzy", "alike", candidates)
        method = "review" if alike else "new"
        return Resolution(raw, scope, f"{scope}:{raw.casefold()}", raw, scope, 0.5, method, "", candidates)

    def learn(self, resolution: Resolution) -> None:
        one = KnownName(resolution.raw, resolution.scope, resolution.entity, resolution.name, resolution.kind)
        self.seen[one.raw.casefold(), one.scope] = one


class Sale(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    fruit: str
    where: str = "garden"


SALE = Dataset("shop.sale", Sale, names={"sold": NameField("shop.fruit", "fruit", "where")})


def sale(key: str, fruit: str, where: str = "garden") -> Record:
    return Record("shop.sale", key, {"fruit": fruit, "where": where})


PRICE = Dataset("shop.price", Price, "Prices")
FIXTURE = Dataset("sport.fixture", Fixture, same_fact=within_three_weeks)
ODDS = Dataset("sport.odds", Price)
ALL = (PRICE, SALE, FIXTURE, ODDS)


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
        names: Names | None = None,
        enrichments: Enrichments | None = None,
        page: str = "",
    ) -> Recorded:
        """One part of a document, in a transaction of its own. What is of a page is received when it holds."""
        received = at if page else received
        name = name or f"{page} {at.isoformat()} {received.isoformat()}".strip()
        checked = check_records(records, self.datasets)
        resolved = await names.resolve(checked.records) if names else []
        enriched = await enrichments.prepare(checked.records, at) if enrichments else []
        async with self.engine.begin() as tx:
            if names:
                await names.record(tx, resolved)
            document = await begin_document(tx, facts(name, at, received, version, page))
            batch = RecordBatch(
                document=document,
                part=part,
                run="run-1",
                valid_from=at,
                records=checked.records,
                rejected=[*rejected, *checked.rejected],
                enriched=enriched,
            )
            return (await record_batches(tx, [batch], self.datasets))[0]

    async def put_together(self, said: Iterable[tuple[datetime, Sequence[Record]]]) -> list[Recorded]:
        """Documents of a group, in one transaction."""
        parts = [(check_records(records, self.datasets), at) for at, records in said]
        async with self.engine.begin() as tx:
            named = [facts(f"{n} of a group", at) for n, (_, at) in enumerate(parts)]
            batches = [
                RecordBatch(document=id, part=0, run="run-1", valid_from=at, records=checked.records)
                for id, (checked, at) in zip(await begin_documents(tx, named), parts, strict=True)
            ]
            return await record_batches(tx, batches, self.datasets)

    async def gone(self, page: str, at: datetime, sha256: str = "") -> Mapping[str, Changes]:
        """A page is gone."""
        item, facts_of_word = page.rpartition("/")[2], facts("", at, at, page=page)
        word = replace(facts_of_word, sha256="", converter=GONE, converter_version=item, run=f"run {at}")
        async with self.engine.begin() as tx:
            return (await record_gone(tx, [Word(word, sha256, "unlisted")], self.datasets))[0]

    async def rows(self, statement: str, **parameters: Any) -> list[Mapping[str, Any]]:
        async with self.engine.connect() as connection:
            return [dict(row) for row in (await connection.execute(text(statement), parameters)).mappings()]

    async def count(self, table: str) -> int:
        return int((await self.rows(f"SELECT count(*) AS counted FROM converter.{table}"))[0]["counted"])

    async def rows_deleted(self) -> None:
        """Begin again, in less time than a fresh database takes."""
        async with self.engine.begin() as tx:
            tables = "records, versions, sightings, batches, rejected, documents, names, aliases"
            await tx.execute(
                text(f"TRUNCATE {', '.join('converter.' + table for table in tables.split(', '))} CASCADE")
            )

    async def history(self, key: str, dataset: str = "shop.price") -> list[tuple[float, Any]]:
        """(day, price) of every version that holds."""
        rows = await self.rows(
            "SELECT v.valid_from, v.data FROM converter.records r JOIN converter.versions v ON v.record = r.id"
            " AND v.dataset = r.dataset WHERE r.key = :key AND r.dataset = :id AND recorded_to IS NULL"
            " ORDER BY valid_from",
            key=key,
            id=self.datasets.id(dataset),
        )
        return [((row["valid_from"] - START) / timedelta(days=1), (row["data"] or {}).get("price")) for row in rows]

    async def current(self, key: str) -> Any:
        rows = await self.rows("SELECT price FROM shop.price WHERE key = :key", key=key)
        return rows[0]["price"] if rows else None


def facts(name: str, at: datetime, received: datetime = START, version: str = "1", page: str = "") -> DocumentFacts:
    return DocumentFacts(
        source="test",
        sha256=sha256(name.encode()).hexdigest(),
        run="run-1",
        converter="test",
        converter_version=version,
        name=name,
        size_bytes=1,
        received_at=received,
        path=page,
        valid_from=at,
    )


def price(key: str, amount: int, **more: Any) -> Record:
    return Record("shop.price", key, {"price": amount}, **more)


async def open_store(url: str, datasets: Sequence[Dataset] = ALL) -> Store:
    engine = open_engine(url)
    return Store(engine, await register_datasets(engine, datasets))
