"""What enrichers say of records: worked out as records come, and anew when reference data or an enricher change.

Storing never waits for it. A new content gets its row with the answer if the enricher is open by then, else a row that
is to be made; the loop makes those, and all that another version or other data made, a slice at a time. Replicas share
the rows: who has locked some makes them, and one that is killed leaves them as they were.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tidemill.common.archive import Archive
from tidemill.common.bus.activity import Rest
from tidemill.common.telemetry.logs import get_logger
from tidemill.converter.content import CheckedRecord, canonical, load
from tidemill.converter.datasets import Datasets
from tidemill.converter.enriched import (
    NOTHING,
    Enriched,
    count_rows,
    find_located,
    find_registered_version,
    insert_missing,
    register_enricher,
    register_reference,
    take_stale,
    update_enriched,
)
from tidemill.converter.geodata import Reference, fetch_references, stamp
from tidemill.converter.versions import find_by_key
from tidemill.plugin import Dataset, Enricher, Enrichment, Located, Subject

log = get_logger(__name__)

LOOK_EVERY = 2.0
IDLE = 10.0
SLICE = 200
MISSING_SLICE = 5000
OPEN_AGAIN_SECONDS = 30.0
TELL_SECONDS = 10.0
REASON_LETTERS = 500


@dataclass(frozen=True, slots=True)
class _Open:
    """An enricher with the reference data that it was opened with."""

    enrichment: Enrichment
    reference: str


@dataclass(slots=True)
class _Place:
    """One enricher of one dataset, in this process."""

    dataset: Dataset
    id: int
    enricher: Enricher
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """An enrichment is used by one thread at a time."""
    opened: _Open | None = None
    complaint: str = ""
    """Why it cannot be opened with the present data."""
    open_again_at: float = 0.0
    made: int = 0
    told_at: float = 0.0


@dataclass(frozen=True, slots=True)
class _Made:
    data: str | None
    reason: str = ""
    question: str | None = None


class Enrichments:
    """All enrichers. `prepare` before the transaction that stores the records, `run` beside everything."""

    def __init__(
        self,
        engine: AsyncEngine,
        archive: Archive,
        datasets: Datasets,
        folder: Path,
        *,
        allowed: Callable[[], Awaitable[None]],
        rest: Rest,
        asks: str = "",
    ) -> None:
        """`folder` takes files of reference data; `allowed` returns when work is not paused, `rest` when it
        is time to look again; `asks` names the geocoder
        that is asked, empty for none."""
        self._engine = engine
        self._reader = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._archive = archive
        self._folder = folder
        self._allowed = allowed
        self._rest = rest
        self._asks = asks
        self._places = [
            _Place(dataset, datasets.id(name), enricher)
            for name, dataset in sorted(datasets.items())
            for enricher in dataset.enrichers
        ]

    async def register(self) -> None:
        """Say which versions run here; needs the migrated tables."""
        async with self._engine.begin() as tx:
            for place in self._places:
                await register_enricher(tx, place.id, place.enricher.name, place.enricher.version)

    async def prepare(self, records: Sequence[CheckedRecord], valid_from: datetime) -> list[Enriched]:
        """What follows from the contents among these that are not stored yet, as far as enrichers are open. The rest is
        made later. `valid_from` is the document's."""
        made: list[Enriched] = []
        for place in self._places:
            opened = place.opened
            some = {one.hash: one for one in records if one.dataset == place.dataset.name}
            if opened is None or not some:
                continue
            new = await self._new(place, list(some.values()))
            answers = await self._make(place, opened, [(one.valid_from or valid_from, one.data) for one in new])
            made += [_enriched(place, opened, one.hash, answer) for one, answer in zip(new, answers, strict=True)]
        return made

    async def run(self) -> None:
        await self.add_missing()
        while True:
            await self._allowed()
            if not await self.look():
                await self._rest(LOOK_EVERY, IDLE)

    async def add_missing(self) -> None:
        """Rows for what was stored before there was the enricher."""
        for place in self._places:
            after: int | None = 0
            while after is not None:
                async with self._engine.begin() as tx:
                    after = await insert_missing(tx, place.id, place.enricher.name, after, MISSING_SLICE)

    async def look(self) -> bool:
        """Open what is new, and make a slice of each enricher's stale rows; whether there was any."""
        worked = False
        for place in self._places:
            async with self._engine.connect() as connection:
                version = await find_registered_version(connection, place.id, place.enricher.name)
                references = await fetch_references(connection, place.enricher.references)
            if version == place.enricher.version and await self._is_open(place, references):
                worked |= await self._renew(place)
        return worked

    async def complaint(self) -> str | None:
        """For readiness: which enrichers cannot be opened, and why."""
        return (
            "; ".join(f"{place.enricher.name}: {place.complaint}" for place in self._places if place.complaint) or None
        )

    async def _is_open(self, place: _Place, references: Sequence[Reference]) -> bool:
        """With exactly these."""
        wanted = stamp(references, self._asks)
        if place.opened and place.opened.reference == wanted:
            return True
        if time.monotonic() < place.open_again_at:
            return False
        try:
            files = await self._fetch(references)
            started = time.monotonic()
            enrichment = await asyncio.to_thread(place.enricher.open, files)
        except Exception as error:  # noqa: BLE001 - a plugin's code, or files that are away: records do without
            place.complaint = f"{type(error).__name__}: {error}"[:REASON_LETTERS]
            place.open_again_at = time.monotonic() + OPEN_AGAIN_SECONDS
            log.error("an enricher cannot be opened", enricher=place.enricher.name, reason=place.complaint)
            return False
        place.opened, place.complaint, place.open_again_at = _Open(enrichment, wanted), "", 0.0
        names = [f"{one.imported.kind} {one.imported.name}" for one in references]
        seconds = round(time.monotonic() - started, 2)
        log.info("enricher opened", enricher=place.enricher.name, references=names, seconds=seconds)
        async with self._engine.begin() as tx:
            await register_reference(tx, place.id, place.enricher.name, wanted)
        await self._tidy()
        return True

    async def _fetch(self, references: Sequence[Reference]) -> dict[str, list[Path]]:
        """The files, by kind."""
        files: dict[str, list[Path]] = {}
        for one in references:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{one.imported.sha256}.csv"
            if not path.exists():
                await self._archive.fetch_to(one.imported.sha256, path)
            files.setdefault(one.imported.kind, []).append(path)
        return files

    async def _tidy(self) -> None:
        """Files of earlier imports go."""
        async with self._engine.connect() as connection:
            used = {f"{one.imported.sha256}.csv" for one in await fetch_references(connection)}
        for path in self._folder.glob("*.csv"):
            if path.name not in used:
                path.unlink()

    async def _renew(self, place: _Place) -> bool:
        opened, enricher = place.opened, place.enricher
        assert opened is not None
        async with self._engine.begin() as tx:
            stale = await take_stale(tx, place.id, enricher.name, enricher.version, opened.reference, SLICE)
            if not stale:
                return False
            answers = await self._make(place, opened, [(one.at, one.data) for one in stale], tx)
            made = [
                (one.content, _enriched(place, opened, b"", answer)) for one, answer in zip(stale, answers, strict=True)
            ]
            await update_enriched(tx, place.id, made)
        place.made += len(stale)
        await self._tell(place, opened)
        return True

    async def _tell(self, place: _Place, opened: _Open) -> None:
        now = time.monotonic()
        if now - place.told_at > TELL_SECONDS:
            place.told_at = now
            enricher = place.enricher
            async with self._engine.connect() as connection:
                total, made, failed = await count_rows(
                    connection, place.id, enricher.name, enricher.version, opened.reference
                )
            log.info("enriching anew", enricher=enricher.name, made=made, total=total, failed=failed, here=place.made)

    async def _new(self, place: _Place, records: Sequence[CheckedRecord]) -> list[CheckedRecord]:
        """Without those that say what is known already; a guess that costs little, for the row decides."""
        async with self._reader.connect() as connection:
            known = await find_by_key(connection, place.id, [one.key for one in records])
        return [one for one in records if one.key not in known or known[one.key].hash != one.hash]

    async def _make(
        self,
        place: _Place,
        opened: _Open,
        contents: Sequence[tuple[datetime, str | None]],
        connection: AsyncConnection | None = None,
    ) -> list[_Made]:
        """Answers for contents, as (time, JSON), in a thread."""
        async with place.lock:
            if not self._asks:
                return await asyncio.to_thread(_read_and_answer, place, opened.enrichment, contents)
            read = await asyncio.to_thread(_read, place, opened.enrichment, contents, asks=True)
            questions = [one.question for one in read if one.question]
            located: Mapping[str, Located | None] = {}
            if questions and connection is not None:
                located = await find_located(connection, questions)
            elif questions:
                async with self._engine.connect() as own:
                    located = await find_located(own, questions)
            return await asyncio.to_thread(_answer, place.enricher, opened.enrichment, read, located)


def _read_and_answer(
    place: _Place, enrichment: Enrichment, contents: Sequence[tuple[datetime, str | None]]
) -> list[_Made]:
    return _answer(place.enricher, enrichment, _read(place, enrichment, contents, asks=False), {})


@dataclass(frozen=True, slots=True)
class _Read:
    """A content, read by its model."""

    at: datetime
    record: Any = None
    question: str = ""
    reason: str = ""
    """Why it cannot be read."""


def _read(
    place: _Place, enrichment: Enrichment, contents: Sequence[tuple[datetime, str | None]], *, asks: bool
) -> list[_Read]:
    read = []
    for at, data in contents:
        if data is None or data in NOTHING:
            read.append(_Read(at))
            continue
        try:
            record = load(place.dataset.model, data)
            read.append(_Read(at, record, enrichment.question(record) if asks else ""))
        except Exception as error:  # noqa: BLE001 - a plugin's code; one record of an older model stops no others
            read.append(_Read(at, reason=_sentence(error)))
    return read


def _answer(
    enricher: Enricher, enrichment: Enrichment, read: Sequence[_Read], located: Mapping[str, Located | None]
) -> list[_Made]:
    subjects = {
        n: Subject(one.record, one.at, located.get(one.question))
        for n, one in enumerate(read)
        if one.record is not None
    }
    answers = _enrich(enricher, enrichment, list(subjects.values()))
    found = dict(zip(subjects, answers, strict=True))
    made = []
    for n, one in enumerate(read):
        answer = found.get(n, _Made(None, one.reason))
        question = one.question if one.question not in located else ""
        made.append(_Made(answer.data, answer.reason, question or None))
    return made


def _enrich(enricher: Enricher, enrichment: Enrichment, subjects: Sequence[Subject]) -> list[_Made]:
    """One by one where the batch fails, so that nobody pays for another."""
    try:
        answers = enrichment.enrich(subjects)
        return [_checked(enricher, answer) for _, answer in zip(subjects, answers, strict=True)]
    except Exception as error:  # noqa: BLE001 - a plugin's code: what it cannot do is noted with the row
        if len(subjects) > 1:
            return [made for one in subjects for made in _enrich(enricher, enrichment, [one])]
        return [_Made(None, _sentence(error)) for _ in subjects]


def _checked(enricher: Enricher, answer: Mapping[str, Any] | None) -> _Made:
    if answer is None:
        return _Made(None)
    values = enricher.model.model_validate(answer).model_dump(mode="json", exclude_none=True)
    return _Made(canonical(values).decode())


def _enriched(place: _Place, opened: _Open, hash: bytes, made: _Made) -> Enriched:
    return Enriched(
        dataset=place.dataset.name,
        hash=hash,
        enricher=place.enricher.name,
        version=place.enricher.version,
        reference=opened.reference,
        data=made.data,
        reason=made.reason,
        question=made.question,
    )


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".replace("\x00", "\ufffd")[:REASON_LETTERS]
