"""One document to checked records, part by part; the bytes never come into this process."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from tidemill.common.archive import Archive, NotArchived
from tidemill.common.bus.step import Delivery
from tidemill.common.bus.transient import is_transient
from tidemill.common.checks import Times
from tidemill.common.config.checks import Check
from tidemill.common.events import DocumentStored
from tidemill.common.telemetry.logs import get_logger
from tidemill.converter.content import Checked, CheckedRecord, check_records
from tidemill.converter.documents import DocumentFacts
from tidemill.converter.enriched import Enriched
from tidemill.converter.enrichment import Enrichments
from tidemill.converter.errors import LostContent, NamesUnavailable, NoDigest, NoWorker, RouteChanged
from tidemill.converter.frames import Job
from tidemill.converter.judging import Finding, Held, judge
from tidemill.converter.names import Names, Resolved
from tidemill.converter.routes import Route, Routes, get_route
from tidemill.converter.workers import Ending, Part, WorkerLost, Workers
from tidemill.plugin import Dataset, Progress, Record, Rejected

log = get_logger(__name__)

TELL_EVERY_SECONDS = 1.0
LOG_EVERY_SECONDS = 10.0
CHECKED_AT_ONCE = 100

Tell = Callable[[str, Mapping[str, object]], Awaitable[None]]
"""(source, state) to whoever listens to progress now."""


@dataclass(frozen=True, slots=True)
class ConvertedPart:
    """A batch of a document's records, ready for the store; the last one knows how the document ended."""

    facts: DocumentFacts
    index: int
    records: Sequence[CheckedRecord]
    rejected: Sequence[Rejected]
    names: Sequence[Resolved]
    pages: int
    ending: Ending | None
    enriched: Sequence[Enriched] = ()
    held: Sequence[Held] = ()
    """Records that a check of severity block holds back."""
    findings: Mapping[str, Finding] = field(default_factory=dict)
    """By check: what records of this part do not pass."""

    @property
    def valid_from(self) -> datetime:
        return self.facts.valid_from or self.facts.received_at


async def convert(
    delivery: Delivery[DocumentStored],
    *,
    routes: Routes,
    workers: Workers,
    archive: Archive,
    folder: Path,
    datasets: Mapping[str, Dataset],
    names: Names,
    enrichments: Enrichments,
    checks: Mapping[str, Sequence[Check]],
    tell: Tell,
) -> AsyncIterator[ConvertedPart]:
    """No part at all where the source's documents are only kept. `checks` are those of records, by source."""
    event = delivery.event
    route = get_route(routes, event.source)
    if route is None:
        return
    if delivery.version not in ("", route.parts_version):
        raise RouteChanged(f"{event.source}.yaml changed just now")
    path = folder / uuid4().hex
    try:
        size_bytes = await _fetch(archive, event.sha256, path)
        job = Job(
            path=str(path),
            sha256=event.sha256,
            size_bytes=size_bytes,
            name=event.name,
            received_at=event.received_at,
            source=event.source,
            url=web_address(event.path),
            context=event.context,
            converter=route.reference,
            options=route.options,
            skip=delivery.parts_done,
        )
        async with aclosing(workers.convert(job, route.limits, _Told(event, tell))) as parts:
            async for part in parts:
                checked = await _check(part, datasets)
                facts = _facts(part, delivery, route)
                judged = judge(checked.records, checks.get(event.source, ()), _times(facts))
                yield ConvertedPart(
                    facts=facts,
                    index=part.index,
                    records=judged.passed,
                    rejected=[*part.rejected, *checked.rejected],
                    names=await _resolve(names, judged.passed),
                    pages=part.described.pages or 0,
                    ending=part.ending,
                    enriched=await _enrich(enrichments, judged.passed, facts),
                    held=judged.held,
                    findings=judged.findings,
                )
    except WorkerLost as error:
        raise NoWorker(str(error)) from error
    finally:
        path.unlink(missing_ok=True)


def web_address(path: str) -> str:
    """Where a document was found, if that is on the web; empty for files."""
    return path if path.startswith(("http://", "https://")) else ""


async def _fetch(archive: Archive, sha256: str, path: Path) -> int:
    try:
        return await archive.fetch_to(sha256, path)
    except NotArchived as error:
        raise LostContent(str(error)) from error
    except ValueError as error:
        raise NoDigest(str(error)) from error


async def _check(part: Part, datasets: Mapping[str, Dataset]) -> Checked:
    """In slices, so that nothing else waits long for its turn."""
    checked = Checked()
    for slice_ in batched(part.records, CHECKED_AT_ONCE):
        some = check_records(slice_, datasets)
        checked.records += some.records
        checked.rejected += some.rejected
        await asyncio.sleep(0)
    return checked


def _times(facts: DocumentFacts) -> Times:
    return Times(datetime.now(UTC), facts.received_at, facts.valid_from or facts.received_at)


async def _resolve(names: Names, records: Sequence[CheckedRecord]) -> list[Resolved]:
    try:
        return await names.resolve(records)
    except Exception as error:
        if is_transient(error):
            raise NamesUnavailable(str(error)) from error
        raise


async def _enrich(
    enrichments: Enrichments, records: Sequence[CheckedRecord], facts: DocumentFacts
) -> Sequence[Enriched]:
    try:
        return await enrichments.prepare(records, facts.valid_from or facts.received_at)
    except Exception as error:
        if is_transient(error):
            return ()  # It is made later; records do not wait for it.
        raise


def _facts(part: Part, delivery: Delivery[DocumentStored], route: Route) -> DocumentFacts:
    event = delivery.event
    return DocumentFacts(
        source=event.source,
        sha256=event.sha256,
        run=event.run,
        converter=route.converter,
        converter_version=route.version,
        name=event.name,
        size_bytes=event.size_bytes,
        received_at=event.received_at,
        path=event.path,
        context=event.context,
        modified_at=event.modified_at,
        valid_from=part.described.valid_from,
        title=part.described.title,
        attributes=part.described.attributes,
        trace=f"{delivery.span.trace_id:032x}" if delivery.span else "",
    )


class _Told:
    """Tells of long conversions: whoever listens every second, the log now and then."""

    def __init__(self, event: DocumentStored, tell: Tell) -> None:
        self._event = event
        self._tell = tell
        self._told_at = self._logged_at = time.monotonic()
        self._telling: set[asyncio.Task[None]] = set()

    def __call__(self, progress: Progress) -> None:
        now, event = time.monotonic(), self._event
        if now - self._told_at > TELL_EVERY_SECONDS:
            self._told_at = now
            state = {"run": event.run, "item": event.item, "name": event.name, "stage": "convert"}
            task = asyncio.create_task(self._quietly({**state, "done": progress.done, "total": progress.total}))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        if now - self._logged_at > LOG_EVERY_SECONDS:
            self._logged_at = now
            log.info("converting", name=event.name, done=progress.done, total=progress.total)

    async def _quietly(self, state: Mapping[str, object]) -> None:
        # Nobody keeps it, so nobody misses it while NATS is away.
        with suppress(Exception):
            await self._tell(self._event.source, state)


def batched(records: Sequence[Record], size: int) -> Iterator[Sequence[Record]]:
    return (records[start : start + size] for start in range(0, len(records), size))
