"""A database as the other services leave it: runs in the ledger, documents and records in the store."""

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Delivery, Done, Outgoing
from tidemill.common.cache import InProcessCache
from tidemill.common.database import open_engine
from tidemill.common.events import Changes, RunFinished
from tidemill.common.telemetry.metrics import Metrics
from tidemill.converter.content import check_records
from tidemill.converter.datasets import Datasets, find_datasets, find_vocabularies, register_datasets
from tidemill.converter.documents import DocumentFacts, Finished, begin_document, finish_document
from tidemill.converter.gone import CONVERTER as GONE
from tidemill.converter.gone import Word, record_gone
from tidemill.converter.main import SPEC as CONVERTER
from tidemill.converter.names import Names
from tidemill.converter.store import RecordBatch, record_batches
from tidemill.downloader.main import SPEC as DOWNLOADER
from tidemill.football.converter import SzerencsemixConverter
from tidemill.listings.listing import Listing
from tidemill.plugin import Accounting, Document, Item, Record, Rejected
from tidemill.reporter.catalogue import catalogue
from tidemill.reporter.main import SPEC as REPORTER
from tidemill.reporter.statements import find_reported
from tidemill.reporter.steps import Reporting, run_step
from tidemill.scheduler.main import SPEC as SCHEDULER
from tidemill.scraper.main import SPEC as SCRAPER

EXAMPLES = Path(__file__).parents[3] / "examples"
SPECS = (SCHEDULER, SCRAPER, DOWNLOADER, CONVERTER, REPORTER)
METRICS = Metrics("reporter")
UTC_ZONE = ZoneInfo("UTC")
MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
COUNTS = ("new", "changed", "unchanged", "gone", "reappeared", "skipped", "failed")
INSERT_RUN = """
INSERT INTO scheduler.runs (run, source, trigger, slot, state, reason, requested_at, finished_at, items, new, changed,
    unchanged, gone, reappeared, skipped, failed, bytes, requests, cpu_seconds, peak_memory_bytes, corrected)
VALUES (:run, :source, :trigger, :slot, :state, :reason, :requested_at, :finished_at, :items, :new, :changed,
    :unchanged, :gone, :reappeared, :skipped, :failed, :bytes, :requests, :cpu_seconds, :peak_memory_bytes, false)
ON CONFLICT (run) DO UPDATE SET state = excluded.state, new = excluded.new, failed = excluded.failed, corrected = true
"""
RECONVERTED = (
    "INSERT INTO converter.reconversions (command, selection, state, ended_at) VALUES ('c', '{}', 'done', :at)",
    "INSERT INTO converter.reconverted (reconversion, document, candidate, state)"
    " SELECT max(id), :old, :candidate, 'accepted' FROM converter.reconversions",
)
INSERT_SLOT = """
INSERT INTO scheduler.slots (source, slot, schedule, outcome, reason, run, due_at)
VALUES (:source, :slot, 'cron', :outcome, :reason, :run, :slot) ON CONFLICT DO NOTHING
"""


def reporting(run_reports: str = "asked", zone: ZoneInfo = UTC_ZONE) -> Reporting:
    datasets = find_reported()
    return Reporting(zone, run_reports, datasets, catalogue([one.dataset for one in datasets]))


@dataclass(slots=True)
class World:
    engine: AsyncEngine
    datasets: Datasets
    names: Names
    reporting: Reporting = field(default_factory=reporting)
    anomalies: list[Any] = field(default_factory=list)

    async def run(
        self,
        source: str,
        at: datetime,
        records: Sequence[Record] = (),
        *,
        run: str = "",
        rejected: Sequence[Rejected] = (),
        gone: Sequence[str] = (),
        state: str = "complete",
        trigger: str = "schedule",
        heard: bool = True,
        pages: Mapping[str, Record] | None = None,
        accounting: Sequence[Accounting] = (),
        **counts: Any,
    ) -> RunFinished:
        """A run of one document with these records, and of pages that are gone, through ledger, store and reporter."""
        run = run or f"{source}-{at:%Y%m%dT%H%M%S}"
        told: dict[str, Sequence[Record]] = {"": records} if records or rejected else {}
        told |= {path: [record] for path, record in (pages or {}).items()}
        changes = await self._store(source, run, at, told, rejected, accounting) if told else {}
        for path in gone:
            await self._gone(source, run, at + timedelta(minutes=1), path)
        total = {name: counts.get(name, 0) for name in COUNTS}
        event = RunFinished(
            source=source,
            run=run,
            state=state,
            trigger=trigger,
            slot=at if trigger == "schedule" else None,
            items=counts.get("items", sum(total.values())),
            **total,
            bytes=counts.get("bytes", 1000),
            requests=counts.get("requests", 2),
            duration_seconds=60.0,
            cpu_seconds=counts.get("cpu_seconds", 1.5),
            peak_memory_bytes=100_000_000,
            reason=counts.get("reason", ""),
            requested_at=at,
            finished_at=at + timedelta(minutes=1),
            records=changes,
            corrected=counts.get("corrected", False),
        )
        await self.sql(INSERT_RUN, **event.model_dump(exclude={"duration_seconds", "records", "config_version"}))
        if trigger == "schedule":
            await self.sql(INSERT_SLOT, source=source, slot=at, outcome="fired", reason="", run=run)
        if heard:
            await self.tell(event)
        return event

    async def tell(self, event: RunFinished) -> list[Outgoing]:
        """To the reporter's step."""
        step = run_step(self.engine, replace(self.reporting, now=lambda: event.finished_at), METRICS)
        assert step.work is not None
        delivery = Delivery(f"{event.run}/finished/1", event, 1)
        done = Done(delivery, await step.work(delivery))
        async with self.engine.begin() as tx:
            events = list(await step.record(tx, [done]))
        self.anomalies += [one.event for one in events]
        return events

    async def _store(
        self,
        source: str,
        run: str,
        at: datetime,
        told: Mapping[str, Sequence[Record]],
        rejected: Sequence[Rejected],
        accounting: Sequence[Accounting],
    ) -> Mapping[str, Changes]:
        """A document for each page, all at once."""
        checked = {page: check_records(records, self.datasets) for page, records in told.items()}
        resolved = await self.names.resolve([one for page in checked.values() for one in page.records])
        found: dict[str, Changes] = {}
        async with self.engine.begin() as tx:
            await self.names.record(tx, resolved)
            batches = []
            for page, said in checked.items():
                document = await begin_document(tx, facts_of(source, run, at, page))
                batches.append(
                    RecordBatch(
                        document=document,
                        part=0,
                        run=run,
                        valid_from=at,
                        records=said.records,
                        rejected=[*rejected, *said.rejected],
                    )
                )
            for batch, recorded in zip(batches, await record_batches(tx, batches, self.datasets), strict=True):
                await finish_document(tx, batch.document, Finished(outcome="converted", accounting=accounting))
                found = _added(found, recorded.changes)
        return found

    async def reconvert(self, run: str, records: Sequence[Record], ended_at: datetime) -> None:
        """The document of a run once more, by a better converter, and accepted."""
        checked = check_records(records, self.datasets)
        (old,) = await self.sql("SELECT id, source, received_at FROM converter.documents WHERE run = :run", run=run)
        about = replace(facts_of(old.source, run, old.received_at, ""), run="reconvert-1", converter_version="2")
        async with self.engine.begin() as tx:
            candidate = await begin_document(tx, about)
            again = {"old": old.id, "candidate": candidate, "at": ended_at}
            await tx.execute(text("UPDATE converter.documents SET superseded_by = :candidate WHERE id = :old"), again)
            batch = RecordBatch(
                document=candidate,
                part=0,
                run=run,
                valid_from=old.received_at,
                records=checked.records,
                origin="reconvert",
            )
            await record_batches(tx, [batch], self.datasets)
            await finish_document(tx, candidate, Finished(outcome="converted"))
            for statement in RECONVERTED:
                await tx.execute(text(statement), again)

    async def _gone(self, source: str, run: str, at: datetime, page: str) -> None:
        facts = DocumentFacts(
            source=source,
            sha256="",
            run=run,
            converter=GONE,
            converter_version=page,
            name=page,
            size_bytes=0,
            received_at=at,
            path=page,
        )
        async with self.engine.begin() as tx:
            await record_gone(tx, [Word(facts, "", "unlisted")], self.datasets)

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with self.engine.begin() as tx:
            found = await tx.execute(text(statement), values)
            return list(found.all()) if found.returns_rows else []

    async def scalar(self, statement: str, **values: Any) -> Any:
        return (await self.sql(statement, **values))[0][0]


def facts_of(source: str, run: str, at: datetime, page: str) -> DocumentFacts:
    return DocumentFacts(
        source=source,
        sha256=sha256(f"{run}{page}".encode()).hexdigest(),
        run=run,
        converter="test",
        converter_version="1",
        name=f"{run}.json",
        size_bytes=1,
        received_at=at,
        path=page,
    )


async def open_world(url: str) -> World:
    engine = open_engine(url)
    datasets = await register_datasets(engine, find_datasets())
    names = Names(engine, InProcessCache(Metrics("test")), find_vocabularies())
    await names.register()
    return World(engine, datasets, names)


def _added(some: Mapping[str, Changes], more: Mapping[str, Changes]) -> dict[str, Changes]:
    found = dict(some)
    for name, changes in more.items():
        known = found.get(name, Changes())
        found[name] = Changes(
            **{field: getattr(known, field) + getattr(changes, field) for field in Changes.model_fields}
        )
    return found


def issue() -> tuple[Record, ...]:
    """The records of the sample paper."""
    return tuple(item for item in _read_issue() if isinstance(item, Record))


def issue_rows() -> tuple[Accounting, ...]:
    """What its rows came to, page by page."""
    return tuple(item for item in _read_issue() if isinstance(item, Accounting))


@cache
def _read_issue() -> tuple[Item, ...]:
    content = (EXAMPLES / "szerencsemix" / "sample.pdf").read_bytes()
    about = Document(io.BytesIO(content), "0" * 64, len(content), "sample.pdf", MONDAY)
    return tuple(SzerencsemixConverter().convert(about, {}))


@cache
def homes(city: str, day: int) -> dict[str, Record]:
    """Of the demo portal, by page: what is listed in a city on a day."""
    sys.path.insert(0, str(EXAMPLES / "listing-site"))
    market = import_module("market")
    fields = set(Listing.model_fields) - {"published"}
    found = {}
    for home in market.Market(7).day(city, day).listed():
        said = {name: value for name, value in home.facts("demo.example").items() if name in fields}
        found[home.path] = Record("listings.listing", f"demo/{home.id}", {"portal": "demo", **said})
    return found


def listing(number: int, city: str = "Helsinki", price: float = 200_000, size: float = 50.0, **more: Any) -> Record:
    data = {
        "portal": "demo",
        "portal_id": str(number),
        "url": f"https://demo.example/{number}",
        "price_kind": "sale",
        "price": price,
        "currency": "EUR",
        "size_m2": size,
        "city": city,
        **more,
    }
    return Record("listings.listing", f"demo/{number}", data, quality=0.8)
