"""The only module of the watcher that knows SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import func, select, tuple_, update
from sqlalchemy.dialects.postgresql import distinct_on, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.bus.step import Outgoing, Tx
from tidemill.common.events import DocumentRefused, DocumentStored, DocumentUnchanged, Event, RunPlanned
from tidemill.watcher.policy import Refused, run_id
from tidemill.watcher.stillness import Look
from tidemill.watcher.tables import documents, files, refusals

Outcome = Literal["stored", "duplicate", "known"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A file whose bytes are in the archive."""

    source: str
    path: str
    """Below the watched folder, with slashes."""
    look: Look
    sha256: str
    received_at: datetime
    modified_at: datetime
    lane: str
    tags: tuple[str, ...]
    stays: bool
    """It is left where it is, so that the same content at the same place is no news."""
    traceparent: str = ""

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def run(self) -> str:
        return run_id(self.source, self.path, self.sha256)

    @property
    def run_of_another_drop(self) -> str:
        return run_id(self.source, self.path, str(self.look))


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that may not be stored."""

    source: str
    path: str
    look: Look
    refused: Refused
    at: datetime
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of the files of one transaction, and what is to be told."""

    outcomes: dict[tuple[str, str], Outcome]
    """By source and path."""
    events: list[Outgoing]


async def record_taken(tx: Tx, taken: Sequence[Taken]) -> Recorded:
    """Remember files, each once, and decide which of them brought a new document.

    The unique rows decide, so that replicas and restarts agree; rows are inserted in sorted order against deadlocks.
    """
    taken = sorted(taken, key=lambda file: (file.source, file.sha256, file.path))
    if not taken:
        return Recorded({}, [])
    await tx.execute(
        insert(documents)
        .values(
            [
                {
                    "source": file.source,
                    "sha256": file.sha256,
                    "name": file.name,
                    "run": file.run,
                    "received_at": file.received_at,
                }
                for file in taken
            ]
        )
        .on_conflict_do_nothing()
    )
    first = {
        (row.source, row.sha256): row
        for row in await tx.execute(
            select(documents.c.source, documents.c.sha256, documents.c.name, documents.c.run).where(
                tuple_(documents.c.source, documents.c.sha256).in_([(file.source, file.sha256) for file in taken])
            )
        )
    }
    previous = await _last_content(tx, taken)
    inserted = {
        (row.source, row.path, row.sha256)
        for row in await tx.execute(
            insert(files)
            .values(
                [
                    {
                        "source": file.source,
                        "path": file.path,
                        "sha256": file.sha256,
                        "look": str(file.look),
                        "outcome": "stored" if first[file.source, file.sha256].run == file.run else "duplicate",
                        "run": file.run,
                        "settled_at": func.now() if file.stays else None,
                    }
                    for file in taken
                ]
            )
            .on_conflict_do_nothing()
            .returning(files.c.source, files.c.path, files.c.sha256)
        )
    }
    outcomes: dict[tuple[str, str], Outcome] = {}
    events: list[Outgoing] = []
    for file in taken:
        original = first[file.source, file.sha256]
        held = previous.get((file.source, file.path), "")
        if (file.source, file.path, file.sha256) in inserted:
            outcome: Outcome = "stored" if original.run == file.run else "duplicate"
            events += (
                _told_stored(file, file.run, held)
                if outcome == "stored"
                else _told_duplicate(file, file.run, original.name)
            )
        elif held not in ("", file.sha256) and await _held_again(tx, file):
            outcome = "stored"
            events += _told_stored(file, file.run_of_another_drop, held)
        elif not file.stays and await _dropped_again(tx, file):
            outcome = "duplicate"
            events += _told_duplicate(file, file.run_of_another_drop, original.name)
        else:
            outcome = "known"
            await _note_look(tx, file)
        outcomes[file.source, file.path] = outcome
    return Recorded(outcomes, events)


async def _last_content(tx: Tx, taken: Sequence[Taken]) -> dict[tuple[str, str], str]:
    """By source and path: what the file held when it was taken last."""
    query = (
        select(files.c.source, files.c.path, files.c.sha256)
        .ext(distinct_on(files.c.source, files.c.path))
        .where(tuple_(files.c.source, files.c.path).in_([(file.source, file.path) for file in taken]))
        .order_by(files.c.source, files.c.path, files.c.seen_at.desc(), files.c.id.desc())
    )
    return {(row.source, row.path): row.sha256 for row in await tx.execute(query)}


async def _held_again(tx: Tx, file: Taken) -> bool:
    """A file that held other bytes meanwhile has these again: news, which one of several replicas tells."""
    again = await tx.execute(
        update(files)
        .where(
            files.c.source == file.source,
            files.c.path == file.path,
            files.c.sha256 == file.sha256,
            files.c.look != str(file.look),
        )
        .values(
            look=str(file.look),
            outcome="stored",
            run=file.run_of_another_drop,
            seen_at=func.now(),
            settled_at=func.now() if file.stays else None,
        )
    )
    return bool(again.rowcount)


async def _dropped_again(tx: Tx, file: Taken) -> bool:
    """Whether a file that had been moved away is there again; of several replicas one is told yes."""
    again = await tx.execute(
        update(files)
        .where(
            files.c.source == file.source,
            files.c.path == file.path,
            files.c.sha256 == file.sha256,
            files.c.look != str(file.look),
            files.c.settled_at.is_not(None),
        )
        .values(look=str(file.look), outcome="duplicate", run=file.run_of_another_drop, settled_at=None)
    )
    return bool(again.rowcount)


async def _note_look(tx: Tx, file: Taken) -> None:
    await tx.execute(
        update(files)
        .where(
            files.c.source == file.source,
            files.c.path == file.path,
            files.c.sha256 == file.sha256,
            files.c.look != str(file.look),
        )
        .values(look=str(file.look))
    )


async def record_refused(tx: Tx, rejected: Rejected) -> list[Outgoing]:
    """Remember a refusal and tell of it, once for this file as it is."""
    name = rejected.path.rpartition("/")[2]
    run = run_id(rejected.source, rejected.path, str(rejected.look))
    inserted = await tx.execute(
        insert(refusals)
        .values(
            source=rejected.source,
            path=rejected.path,
            look=str(rejected.look),
            reason=rejected.refused.reason,
            detail=rejected.refused.detail,
            run=run,
        )
        .on_conflict_do_nothing()
    )
    if inserted.rowcount == 0:
        return []
    event = DocumentRefused(
        source=rejected.source,
        name=name,
        path=rejected.path,
        size_bytes=rejected.look.size,
        run=run,
        reason=rejected.refused.reason,
        detail=rejected.refused.detail,
        received_at=rejected.at,
        item=rejected.path,
    )
    return _run_of_one(run, rejected.source, rejected.path, rejected.at, event, rejected.traceparent)


def _told_stored(file: Taken, run: str, previous: str) -> list[Outgoing]:
    event = DocumentStored(
        source=file.source,
        lane=file.lane,
        sha256=file.sha256,
        size_bytes=file.look.size,
        name=file.name,
        path=file.path,
        run=run,
        received_at=file.received_at,
        modified_at=file.modified_at,
        tags=file.tags,
        item=file.path,
        previous_sha256=previous,
    )
    return _run_of_one(run, file.source, file.path, file.received_at, event, file.traceparent)


def _told_duplicate(file: Taken, run: str, duplicate_of: str) -> list[Outgoing]:
    event = DocumentUnchanged(
        source=file.source,
        sha256=file.sha256,
        size_bytes=file.look.size,
        name=file.name,
        path=file.path,
        run=run,
        duplicate_of=duplicate_of,
        received_at=file.received_at,
        item=file.path,
    )
    return _run_of_one(run, file.source, file.path, file.received_at, event, file.traceparent)


def _run_of_one(run: str, source: str, item: str, at: datetime, event: Event, traceparent: str) -> list[Outgoing]:
    planned = RunPlanned(source=source, run=run, trigger="file", items=(item,), closed=True, total=1, planned_at=at)
    return [Outgoing(f"{run}/planned", planned, traceparent), Outgoing(f"{run}/document", event, traceparent)]


async def find_known(engine: AsyncEngine, source: str, looks: Iterable[tuple[str, Look]]) -> dict[str, bool]:
    """Which of these files were taken or refused just as they look now; True where nothing is left to do."""
    pairs = [(path, str(look)) for path, look in looks]
    known: dict[str, bool] = {}
    async with engine.connect() as connection:
        for start in range(0, len(pairs), 1000):
            known |= await _known_of(connection, source, pairs[start : start + 1000])
    return known


async def _known_of(connection: AsyncConnection, source: str, pairs: list[tuple[str, str]]) -> dict[str, bool]:
    found: dict[str, bool] = {}
    for table in (files, refusals):
        query = select(table.c.path, table.c.settled_at).where(
            table.c.source == source, tuple_(table.c.path, table.c.look).in_(pairs)
        )
        found |= {row.path: row.settled_at is not None for row in await connection.execute(query)}
    return found


async def get_outcome(engine: AsyncEngine, source: str, path: str, look: Look) -> str:
    """How a known file ended: stored, duplicate or refused."""
    async with engine.connect() as connection:
        row = await connection.execute(
            select(files.c.outcome).where(files.c.source == source, files.c.path == path, files.c.look == str(look))
        )
        return row.scalar() or "refused"


async def settle(engine: AsyncEngine, source: str, path: str, look: Look) -> None:
    """Note that a file was left, moved or deleted."""
    async with engine.begin() as tx:
        for table in (files, refusals):
            await tx.execute(
                update(table)
                .where(table.c.source == source, table.c.path == path, table.c.look == str(look))
                .values(settled_at=func.now())
            )
