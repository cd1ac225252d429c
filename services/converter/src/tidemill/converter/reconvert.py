"""Documents converted once more, from the archive: staged, compared, and put in place when somebody accepts it.

The way of one document: due → converted by a worker as if it had just come → its records kept as candidates, beside the
record that each is about → staged, with the differences counted → (accepted) in one transaction the old conversion is
superseded, the candidates are stated in its place, and what they leave out is taken back.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.activity import Rest
from tidemill.common.bus.control import Control
from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Delivery, Poison, Tx, Unavailable
from tidemill.common.bus.transient import is_transient
from tidemill.common.events import DocumentStored
from tidemill.common.telemetry.logs import get_logger
from tidemill.common.telemetry.metrics import RECONVERTED, Metrics
from tidemill.converter import candidates
from tidemill.converter.candidates import Due, Placed, Selection
from tidemill.converter.convert import ConvertedPart
from tidemill.converter.datasets import Datasets
from tidemill.converter.documents import Finished, begin_document, finish_document, insert_rejected
from tidemill.converter.identity import Family, Ref
from tidemill.converter.names import Names
from tidemill.converter.quarantine import forget_judgement, hold_back
from tidemill.converter.statements import take_back_statements
from tidemill.converter.store import RecordBatch, record_batches
from tidemill.converter.subjects import Statement, find_subjects
from tidemill.converter.tables import documents
from tidemill.converter.versions import Part, lock_datasets
from tidemill.converter.workers import ConverterCrashed, Ending
from tidemill.plugin import Accounting, Outcome

log = get_logger(__name__)

LOOK_EVERY = 1.0
IDLE = 5.0
AGAIN_AFTER = timedelta(seconds=10)
"""While something around us is missing."""

Convert = Callable[[Delivery[DocumentStored]], AsyncIterator[ConvertedPart]]


@dataclass(frozen=True, slots=True)
class Reconversions:
    """The commands, and the loop that does what they ask for; replicas share the documents."""

    engine: AsyncEngine
    control: Control
    rest: Rest
    convert: Convert
    datasets: Datasets
    names: Names
    metrics: Metrics

    def commands(self) -> list[Command]:
        who = {"author": "Who says so", "via": WHO["via"]}
        number = {"reconversion": "Number of the reconversion", **who}
        return [
            Command(
                verb="reconvert",
                handle=self.begin,
                description="Convert documents once more from the archive, for somebody to look at",
                parameters={
                    "source": "Documents of this source",
                    "dataset": "Documents that state something of this dataset",
                    "since": "Documents received at this time (ISO 8601) or later",
                    "document": "SHA-256 of one document, or how it begins",
                    **who,
                },
            ),
            Command(
                verb="reconvert_accept",
                handle=self.accept,
                description="Put a reconversion's records in the place of the present ones",
                parameters=number,
            ),
            Command(
                verb="reconvert_discard",
                handle=self.discard,
                description="Forget a reconversion that was not accepted",
                parameters=number,
            ),
        ]

    async def begin(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        selection = _selection(parameters)
        if selection.dataset and selection.dataset not in self.datasets:
            known = ", ".join(sorted(self.datasets)) or "none"
            raise CommandRefused(f"no dataset {selection.dataset!r}; there are: {known}", "404")
        number, count = await candidates.begin_reconversion(tx, id, _word(parameters, "author"), selection)
        if count == 0:
            raise CommandRefused("no document that was converted is like that", "404")
        return Answer({"reconversion": number, "documents": count})

    async def accept(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        number = _number(parameters)
        state = await candidates.find_state(tx, number)
        if state in ("accepting", "done"):
            return Answer({"reconversion": number, "state": state})
        if state != "staging":
            raise CommandRefused(f"there is no reconversion {number} to accept", "404")
        due = (await candidates.count_states(tx, number)).get("due", 0)
        if due:
            raise CommandRefused(f"{due} documents of reconversion {number} are still to be converted", "409")
        accepted = await candidates.accept_all(tx, number)
        after = {"state": "accepting" if accepted else "done", "documents": accepted}
        change = Change("reconvert.accept", f"reconversion {number}", before={"state": state}, after=after)
        return Answer({"reconversion": number, **after}, change=change)

    async def discard(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        number = _number(parameters)
        state = await candidates.find_state(tx, number)
        if state in ("accepting", "done"):
            raise CommandRefused(f"reconversion {number} has been accepted", "409")
        if state is None:
            raise CommandRefused(f"there is no reconversion {number}", "404")
        await candidates.discard_all(tx, number)
        after = {"state": "discarded"}
        change = Change("reconvert.discard", f"reconversion {number}", before={"state": state}, after=after)
        return Answer({"reconversion": number, **after}, change=None if state == "discarded" else change)

    async def run(self) -> None:
        """Take one document after the other, until cancelled."""
        while True:
            await self.control.wait_until_allowed()
            if not await self.take_one():
                await self.rest(LOOK_EVERY, IDLE)

    async def take_one(self) -> bool:
        """Whether there was a document to stage or to put in place."""
        async with self.engine.begin() as tx:
            due = await candidates.take_due(tx, self.control.held_sources())
        if due is not None:
            await self._handle(due)
        return due is not None

    async def _handle(self, due: Due) -> None:
        try:
            async with self._kept(due):
                outcome = await (self._put_in_place(due) if due.state == "accepting" else self._stage(due))
        except (Poison, ConverterCrashed) as error:
            outcome = "failed"
            async with self.engine.begin() as tx:
                await candidates.end(tx, due, "failed", str(error))
        except Exception as error:
            if not isinstance(error, Unavailable) and not is_transient(error):
                raise
            log.warning("a reconversion waits", document=due.sha256, source=due.source, reason=str(error))
            outcome = "waits"
            async with self.engine.begin() as tx:
                await candidates.give_back(tx, due, AGAIN_AFTER)
        self.metrics.of(RECONVERTED, outcome=outcome).inc()

    @asynccontextmanager
    async def _kept(self, due: Due) -> AsyncIterator[None]:
        """Ours for as long as it takes."""

        async def renew() -> None:
            while True:
                await asyncio.sleep(candidates.LEASE.total_seconds() / 4)
                async with self.engine.begin() as tx:
                    await candidates.renew(tx, due)

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            renewing.cancel()

    async def _stage(self, due: Due) -> str:
        delivery = Delivery(f"reconvert-{due.reconversion}-{due.document}", _event(due), attempt=1)
        candidate, ending, pages = 0, None, 0
        async for part in self.convert(delivery):
            pages, ending = part.pages, part.ending
            async with self.engine.begin() as tx:
                candidate = await begin_document(tx, part.facts)
                if part.index == 0:
                    await candidates.forget_candidate(tx, candidate)
                    await forget_judgement(tx, [candidate])
                    staged = update(documents).where(documents.c.id == candidate)
                    await tx.execute(staged.values(state="staged"))
                await self.names.record(tx, part.names)
                await insert_rejected(tx, candidate, part.index, part.rejected)
                passed = replace(part, records=await hold_back(tx, candidate, part))
                await candidates.insert_candidates(tx, candidate, part.index, await self._placed(tx, candidate, passed))
        if ending is None:
            raise Poison(f"documents of {due.source} are only kept now: nothing converts them")
        if ending.outcome is not Outcome.CONVERTED:
            # What cannot be read is no news: it takes nothing back.
            raise Poison(f"{ending.outcome}: {ending.reason}")
        async with self.engine.begin() as tx:
            await candidates.stage(tx, due, candidate, _remember(ending, pages))
        return "staged"

    async def _placed(self, tx: Tx, candidate: int, part: ConvertedPart) -> list[Placed]:
        """Which record of the store each record of a part would be about. Nothing is locked: it is for a comparison."""
        placed = []
        family = Family(list(enumerate(part.records)))
        while generation := family.next_generation():
            earlier: dict[Ref, str] = {}
            for name, keys in family.unknown_parents(generation).items():
                if name in self.datasets:
                    found = await candidates.find_candidate_keys(tx, candidate, self.datasets.id(name), keys)
                    earlier.update({(name, key): full for key, full in found.items()})
            by_dataset: dict[str, list[Statement]] = {}
            for place, record in generation:
                parent = family.parent_key(place, record.parent, earlier) if record.parent else None
                base = f"{parent}/{record.key}" if parent else record.key
                valid_at = record.valid_from or part.valid_from
                by_dataset.setdefault(record.dataset, []).append(Statement(place, parent, base, valid_at, record))
            for name, statements in sorted(by_dataset.items()):
                id = self.datasets.id(name)
                for subject in await find_subjects(tx, self.datasets[name], id, statements):
                    for one in subject.stated:
                        family.learn(one.place, (name, one.record.key), subject.key.text)
                        known = subject.known and subject.known.id
                        placed.append(Placed(one.place, id, subject.key.text, known, one.valid_at, one.record))
        return placed

    async def _put_in_place(self, due: Due) -> str:
        """In one transaction: there is no moment at which the document states nothing, or twice."""
        assert due.candidate is not None and due.ending is not None
        names = {self.datasets.id(name): name for name in self.datasets}
        async with self.engine.begin() as tx:
            await lock_datasets(tx, names.values())
            if not await candidates.is_accepting(tx, due):
                return "accepted"  # By a replica that held it for longer than we thought.
            moved = await candidates.find_moved(tx, due)
            if moved is not None:
                await candidates.end(tx, due, "moved", moved)
                return "moved"
            before = await candidates.find_stated_records(tx, due.document)
            await candidates.supersede(tx, due.document, due.candidate)
            valid_from = await _valid_from(tx, due.candidate)
            async for number, records in candidates.read_parts(tx, due.candidate, names):
                batch = RecordBatch(
                    document=due.candidate,
                    part=number,
                    run=due.run,
                    valid_from=valid_from,
                    records=records,
                    origin="reconvert",
                )
                await record_batches(tx, [batch], self.datasets)
            left = before - await candidates.find_stated_records(tx, due.candidate)
            for dataset in sorted({dataset for dataset, _ in left}):
                part = Part(dataset, due.candidate, 0, due.run, "reconvert")
                await take_back_statements(tx, part, sorted(record for of, record in left if of == dataset))
            await finish_document(tx, due.candidate, _recall(due.ending))
            await candidates.forget_records(tx, due.candidate)
            await candidates.end(tx, due, "accepted")
            return "accepted"


async def _valid_from(tx: Tx, document: int) -> datetime:
    columns = (documents.c.valid_from, documents.c.received_at)
    row = (await tx.execute(documents.select().with_only_columns(*columns).where(documents.c.id == document))).one()
    valid_from: datetime = row[0] or row[1]
    return valid_from


def _event(due: Due) -> DocumentStored:
    return DocumentStored(
        source=due.source,
        sha256=due.sha256,
        size_bytes=due.size_bytes,
        name=due.name,
        path=due.path,
        context=due.context,
        run=f"reconvert-{due.reconversion}-{due.document}",
        received_at=due.received_at,
        modified_at=due.modified_at,
    )


def _remember(ending: Ending, pages: int) -> dict[str, Any]:
    return {
        "outcome": str(ending.outcome),
        "reason": ending.reason,
        "pages": pages,
        "accounting": [asdict(page) for page in ending.accounting],
        "warnings": list(ending.warnings),
        "cpu_seconds": ending.cpu_seconds,
        "peak_memory_bytes": ending.peak_memory_bytes,
    }


def _recall(ending: Mapping[str, Any]) -> Finished:
    finished = Finished(**{name: value for name, value in ending.items() if name != "accounting"})
    return replace(finished, accounting=[Accounting(**page) for page in ending["accounting"]])


def _selection(parameters: Mapping[str, Any]) -> Selection:
    since = _word(parameters, "since")
    try:
        moment = datetime.fromisoformat(since) if since else None
    except ValueError:
        raise CommandRefused(f"since is a time like 2025-08-15 or 2025-08-15T06:00:00Z, not {since!r}") from None
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    selection = Selection(
        _word(parameters, "source"), _word(parameters, "dataset"), moment, _word(parameters, "document").lower()
    )
    if selection == Selection():
        raise CommandRefused("say which documents: source, dataset, since or document")
    return selection


def _word(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name) or ""
    if not isinstance(value, str) or len(value) > 200 or "\x00" in value:
        raise CommandRefused(f"{name} has to be a text of up to 200 letters")
    return value


def _number(parameters: Mapping[str, Any]) -> int:
    try:
        return int(parameters["reconversion"])
    except (KeyError, TypeError, ValueError):
        raise CommandRefused("reconversion has to be a number") from None
