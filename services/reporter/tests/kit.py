"""A database as the other services leave it: runs in the ledger, documents and records in the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Delivery, Done, Outgoing
from tidemill.common.database import open_engine
from tidemill.common.events import Changes, RunFinished
from tidemill.converter.content import check_records
from tidemill.converter.datasets import Datasets, find_datasets, register_datasets
from tidemill.converter.documents import DocumentFacts, Finished, begin_document, finish_document
from tidemill.converter.gone import CONVERTER as GONE
from tidemill.converter.gone import Word, record_gone
from tidemill.converter.main import SPEC as CONVERTER
from tidemill.converter.store import RecordBatch, record_batches
from tidemill.plugin import Record, Rejected
from tidemill.reporter.catalogue import catalogue
from tidemill.reporter.main import SPEC as REPORTER
from tidemill.reporter.statements import find_reported
from tidemill.reporter.steps import Reporting, run_step
from tidemill.scheduler.main import SPEC as SCHEDULER

SPECS = (SCHEDULER, CONVERTER, REPORTER)
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
        told: bool = True,
        page: str = "",
        **counts: Any,
    ) -> RunFinished:
        """A run of one document with these records, and of pages that are gone, through ledger, store and reporter."""
        run = run or f"{source}-{at:%Y%m%dT%H%M%S}"
        changes = await self._store(source, run, at, records, rejected, page)
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
        if told:
            await self.tell(event)
        return event

    async def tell(self, event: RunFinished) -> list[Outgoing]:
        """To the reporter's step."""
        step = run_step(self.engine, self.reporting)
        assert step.work is not None
        delivery = Delivery(f"{event.run}/finished/1", event, 1)
        done = Done(delivery, await step.work(delivery))
        async with self.engine.begin() as tx:
            events = list(await step.record(tx, [done]))
        self.anomalies += [one.event for one in events]
        return events

    async def _store(
        self, source: str, run: str, at: datetime, records: Sequence[Record], rejected: Sequence[Rejected], page: str
    ) -> Mapping[str, Changes]:
        if not records and not rejected:
            return {}
        checked = check_records(records, self.datasets)
        about = DocumentFacts(
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
        async with self.engine.begin() as tx:
            document = await begin_document(tx, about)
            batch = RecordBatch(
                document=document,
                part=0,
                run=run,
                valid_from=at,
                records=checked.records,
                rejected=[*rejected, *checked.rejected],
            )
            recorded = await record_batches(tx, [batch], self.datasets)
            await finish_document(tx, document, Finished(outcome="converted"))
        return recorded[0].changes

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


async def open_world(url: str) -> World:
    engine = open_engine(url)
    return World(engine, await register_datasets(engine, find_datasets()))


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
