"""Stored documents, and words that pages are gone, in; records, and what became of the document, out."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from tidemill.common.bus.rights import Uses
from tidemill.common.bus.step import Delivery, Done, Outgoing, Record, Step, StreamedWork, Tx
from tidemill.common.events import (
    Changes,
    DocumentConverted,
    DocumentGone,
    DocumentStored,
    RecordsRejected,
    RecordsStored,
    RunFinished,
)
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import (
    CHECKS_FAILED,
    CONVERSION_CPU_SECONDS,
    CONVERSION_PEAK_BYTES,
    DOCUMENTS,
    QUARANTINED,
    RECORDS,
    ROWS,
    Metrics,
)
from tidemill.converter.convert import ConvertedPart
from tidemill.converter.datasets import Datasets
from tidemill.converter.documents import (
    DocumentFacts,
    Ended,
    Finished,
    Totals,
    begin_document,
    begin_documents,
    finish_documents,
)
from tidemill.converter.gone import CONVERTER, Word, record_gone
from tidemill.converter.names import Names
from tidemill.converter.quarantine import hold_back
from tidemill.converter.routes import Route, Routes
from tidemill.converter.store import RecordBatch, Recorded, record_batches
from tidemill.converter.workers import Ending
from tidemill.plugin import Outcome

log = get_logger(__name__)

LANES = ("hi", "lo")
USES = Uses(
    consumes={
        **{f"converter-{lane}": DocumentStored for lane in LANES},
        "converter-gone": DocumentGone,
        "converter-checks": RunFinished,
    },
    publishes=(RecordsStored, RecordsRejected, DocumentConverted),
)

RETRY = (timedelta(seconds=2), timedelta(seconds=30), timedelta(minutes=5))
"""For a converter that crashed. The same bytes mostly crash it again; anything else may be over by then."""

PATIENCE = timedelta(seconds=1)
"""A group takes as many statements for one page as for fifty; while more are converted, nobody waits for the first."""

GONE_AT_ONCE = 32
"""One transaction holds the datasets for all of them."""

Converted = Done[DocumentStored, ConvertedPart]


def converter_step(
    work: StreamedWork[DocumentStored, ConvertedPart],
    record: Record[DocumentStored, ConvertedPart],
    routes: Routes,
    *,
    slots: int,
) -> Step[DocumentStored, ConvertedPart]:
    def version(event: DocumentStored) -> str:
        route = routes.get(event.source)
        return route.parts_version if isinstance(route, Route) else "-"

    return Step(
        name="converter",
        event=DocumentStored,
        streamed=work,
        record=record,
        lanes=LANES,
        slots=slots,
        patience=PATIENCE,
        retry=RETRY,
        version=version,
    )


def gone_step(datasets: Datasets, metrics: Metrics) -> Step[DocumentGone, Word]:
    """A page that is gone takes its records along; the next document of it brings them back."""

    async def work(delivery: Delivery[DocumentGone]) -> Word:
        return _word(delivery)

    async def record(tx: Tx, results: Sequence[Done[DocumentGone, Word]]) -> list[Outgoing]:
        outgoing = []
        changed = await record_gone(tx, [done.result for done in results], datasets)
        for done, changes in zip(results, changed, strict=True):
            event = done.event
            _count(changes, metrics)
            if changes:
                stored = RecordsStored(source=event.source, sha256=event.sha256, run=event.run, records=dict(changes))
                outgoing.append(done.tell(stored, "stored"))
        return outgoing

    return Step(
        name="converter-gone", event=DocumentGone, work=work, record=record, slots=GONE_AT_ONCE, bookkeeping=True
    )


def _word(delivery: Delivery[DocumentGone]) -> Word:
    event = delivery.event
    facts = DocumentFacts(
        source=event.source,
        sha256="",
        run=event.run,
        converter=CONVERTER,
        converter_version=event.item,
        name=event.name,
        size_bytes=0,
        received_at=event.gone_at,
        path=event.url,
        valid_from=event.gone_at,
        attributes={"detail": event.detail, "sha256": event.sha256},
        trace=f"{delivery.span.trace_id:032x}" if delivery.span else "",
    )
    return Word(facts, event.sha256, event.reason)


async def record_parts(
    tx: Tx, results: Sequence[Converted], *, datasets: Datasets, names: Names, metrics: Metrics
) -> list[Outgoing]:
    """Parts of several documents, in the order of their ids."""
    await names.record(tx, [resolved for done in results for resolved in done.result.names])
    batches = [
        RecordBatch(
            document=document,
            part=part.index,
            run=part.facts.run,
            valid_from=part.valid_from,
            records=await hold_back(tx, document, part),
            rejected=part.rejected,
            enriched=part.enriched,
        )
        for part, document in await _begin(tx, [done.result for done in results])
    ]
    outgoing: list[Outgoing] = []
    ended: list[tuple[Converted, Ended]] = []
    for done, batch, recorded in zip(results, batches, await record_batches(tx, batches, datasets), strict=True):
        outgoing += _batch_facts(done, recorded, metrics)
        _tell_checks(done, metrics)
        part = done.result
        if part.ending is not None:
            smooth = part.index == 0 and not recorded.rejected and not part.held
            known = recorded.changes if smooth else None
            ended.append((done, Ended(batch.document, _finished(part, part.ending), known)))
    counted = await finish_documents(tx, [one for _, one in ended])
    return outgoing + [_converted(done, totals, metrics) for (done, _), totals in zip(ended, counted, strict=True)]


async def _begin(tx: Tx, parts: Sequence[ConvertedPart]) -> list[tuple[ConvertedPart, int]]:
    """Each with its document's id."""
    first = [part.facts for part in parts if part.index == 0]
    begun = iter(await begin_documents(tx, first) if first else ())
    return [(part, await begin_document(tx, part.facts) if part.index else next(begun)) for part in parts]


def _tell_checks(done: Converted, metrics: Metrics) -> None:
    part, source = done.result, done.event.source
    for name, finding in part.findings.items():
        metrics.of(CHECKS_FAILED, source=source, check=name, severity=finding.severity).inc(finding.failed)
    if part.held:
        metrics.of(QUARANTINED, source=source, outcome="held").inc(len(part.held))
        first = part.held[0]
        log.warning(
            "records are in quarantine",
            source=source,
            run=part.facts.run,
            name=part.facts.name,
            count=len(part.held),
            first=first.record.key,
            reason=first.reason,
        )


def _batch_facts(done: Converted, recorded: Recorded, metrics: Metrics) -> list[Outgoing]:
    event, part = done.event, done.result
    outgoing = []
    if recorded.changes:
        stored = RecordsStored(
            source=event.source, sha256=event.sha256, run=event.run, batch=part.index, records=dict(recorded.changes)
        )
        outgoing.append(done.tell(stored, "stored"))
    if recorded.rejected:
        rejected = RecordsRejected(
            source=event.source, sha256=event.sha256, run=event.run, batch=part.index, rejected=dict(recorded.rejected)
        )
        outgoing.append(done.tell(rejected, "rejected"))
    _count(recorded.changes, metrics)
    return outgoing


def _count(changed: Mapping[str, Changes], metrics: Metrics) -> None:
    for dataset, changes in changed.items():
        for change, count in changes.model_dump().items():
            metrics.of(RECORDS, dataset=dataset, change=change).inc(count)


def _finished(part: ConvertedPart, ending: Ending) -> Finished:
    return Finished(
        outcome=ending.outcome,
        reason=ending.reason,
        pages=part.pages,
        accounting=ending.accounting,
        warnings=ending.warnings,
        cpu_seconds=ending.cpu_seconds,
        peak_memory_bytes=ending.peak_memory_bytes,
    )


def _converted(done: Converted, totals: Totals, metrics: Metrics) -> Outgoing:
    event, part, ending = done.event, done.result, done.result.ending
    assert ending is not None
    fact = DocumentConverted(
        source=event.source,
        sha256=event.sha256,
        run=event.run,
        name=event.name,
        converter=part.facts.converter,
        converter_version=part.facts.converter_version,
        outcome=ending.outcome,
        reason=ending.reason,
        pages=part.pages,
        rows=totals.rows,
        records=dict(totals.records),
        warnings=ending.warnings,
        cpu_seconds=ending.cpu_seconds,
        peak_memory_bytes=ending.peak_memory_bytes,
        converted_at=datetime.now(UTC),
        item=event.item,
        previous_sha256=event.previous_sha256,
        requests=event.requests,
        bytes_received=event.bytes_received,
        reappeared=event.reappeared,
    )
    _tell(event, ending, totals, metrics)
    return done.tell(fact, "converted")


def _tell(event: DocumentStored, ending: Ending, totals: Totals, metrics: Metrics) -> None:
    """To logs and metrics, which may count a document twice if its transaction has to be repeated."""
    metrics.of(DOCUMENTS, source=event.source, outcome=ending.outcome).inc()
    metrics.of(CONVERSION_CPU_SECONDS, source=event.source).observe(ending.cpu_seconds)
    metrics.of(CONVERSION_PEAK_BYTES, source=event.source).observe(ending.peak_memory_bytes)
    rows = totals.rows
    ignored = sum(rows.ignored.values())
    for outcome, count in (("accepted", rows.accepted), ("rejected", rows.rejected), ("ignored", ignored)):
        metrics.of(ROWS, source=event.source, outcome=outcome).inc(count)
    tell = log.debug if ending.outcome is Outcome.CONVERTED else log.warning
    tell(
        "document converted" if ending.outcome is Outcome.CONVERTED else "document not converted as it should be",
        source=event.source,
        run=event.run,
        name=event.name,
        outcome=str(ending.outcome),
        reason=ending.reason,
        accepted=rows.accepted,
        rejected=rows.rejected,
    )
