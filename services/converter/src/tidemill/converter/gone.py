"""What is gone: of the records of its pages it is stated, from then on, that they are nothing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import text

from tidemill.common.bus.step import Tx
from tidemill.common.events import Changes
from tidemill.converter.content import CheckedRecord
from tidemill.converter.datasets import Datasets
from tidemill.converter.documents import DocumentFacts, Finished, begin_document, finish_document, insert_batches
from tidemill.converter.history import NOTHING
from tidemill.converter.statements import store_statements
from tidemill.converter.subjects import Statement, Subject
from tidemill.converter.versions import Part, fetch_arrival, find_by_id, lock_datasets
from tidemill.plugin import Position

CONVERTER = "gone"
"""What made such a document's row; its version is the item, its SHA-256 is empty."""


@dataclass(frozen=True, slots=True)
class Word:
    """That a page is gone."""

    facts: DocumentFacts
    """Of the row for it: `path` is the page, `received_at` since when it is gone."""
    sha256: str
    """Of what we had of it last; empty: nothing."""
    reason: str


@dataclass(frozen=True, slots=True)
class Gone:
    """A page that is gone, as the database has it."""

    document: int
    at: datetime
    run: str


async def record_gone(tx: Tx, words: Sequence[Word], datasets: Datasets) -> list[Mapping[str, Changes]]:
    """What each word changed, by dataset. Until commit nobody else writes records: whoever stores a document of such a
    page meanwhile waits, and sees the word."""
    await lock_datasets(tx, datasets)
    changed: list[Mapping[str, Changes]] = []
    for word in words:
        path = await _find_path(tx, word)
        document = await begin_document(tx, _at(word.facts, path))
        gone = Gone(document, (await fetch_arrival(tx, document))[0], word.facts.run)
        page = {"source": word.facts.source, "path": path, "at": gone.at, "nothing": NOTHING}
        stated = _by_dataset((await tx.execute(STATED_BY_PAGE, page)).all())
        changes = await _state(tx, gone, stated, datasets)
        await insert_batches(tx, [(document, 0, changes)])
        await finish_document(tx, document, Finished(outcome="gone", reason=word.reason))
        changed.append(changes)
    return changed


async def find_gone(tx: Tx, documents: Iterable[int]) -> dict[int, list[Gone]]:
    """Words about the pages of these documents, the oldest first."""
    found: dict[int, list[Gone]] = {}
    rows = await tx.execute(GONE_PAGES, {"documents": sorted(set(documents))})
    for document, *gone in rows:
        found.setdefault(document, []).append(Gone(*gone))
    return found


async def state_gone(
    tx: Tx, document: int, part: int, later: Sequence[Gone], datasets: Datasets
) -> dict[str, Counter[str]]:
    """Words that came before a part of the document they are about: they hold for what it states, too."""
    rows = (await tx.execute(STATED_BY_PART, {"document": document, "part": part, "nothing": NOTHING})).all()
    counts: dict[str, Counter[str]] = {}
    for gone in later:
        for dataset, changes in (await _state(tx, gone, _by_dataset(rows), datasets)).items():
            counts.setdefault(dataset, Counter()).update({"gone": changes.gone, "history": changes.history})
    return counts


async def _state(tx: Tx, gone: Gone, stated: Mapping[int, Sequence[int]], datasets: Datasets) -> dict[str, Changes]:
    names = {datasets.id(name): name for name in datasets}
    changes = {}
    for dataset, records in stated.items():
        if dataset not in names:
            continue  # Its plugin is not installed any more, and has no views.
        subjects = [
            Subject(key, known, [Statement(place, key.parent, key.text, gone.at, _nothing(names[dataset], key.text))])
            for place, (key, known) in enumerate(await find_by_id(tx, dataset, records))
        ]
        part = Part(dataset, gone.document, 0, gone.run, "gone")
        changes[names[dataset]] = Changes(**(await store_statements(tx, part, subjects)).counts)
    return changes


def _nothing(dataset: str, key: str) -> CheckedRecord:
    return CheckedRecord(
        dataset=dataset,
        key=key,
        data="null",
        hash=NOTHING,
        position=Position(),
        valid_from=None,
        parent=None,
        raw="",
        quality=1.0,
    )


def _at(facts: DocumentFacts, path: str) -> DocumentFacts:
    return facts if facts.path == path else replace(facts, path=path)


def _by_dataset(rows: Iterable[Sequence[int]]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for dataset, record in rows:
        found.setdefault(dataset, []).append(record)
    return found


STATED = """
    SELECT DISTINCT s.dataset, v.record
    FROM converter.documents d
    JOIN converter.sightings s ON s.document = d.id
    CROSS JOIN unnest(s.contents) AS stated (content)
    JOIN converter.versions v ON v.dataset = s.dataset AND v.id = stated.content
    WHERE v.hash <> :nothing AND {which} ORDER BY 1, 2
"""
STATED_BY_PAGE = text(
    STATED.format(which="d.source = :source AND d.path = :path AND d.superseded_by IS NULL AND d.received_at <= :at")
)
STATED_BY_PART = text(STATED.format(which="d.id = :document AND s.part = :part"))

GONE_PAGES = text(f"""
    SELECT d.id, g.id, g.received_at, g.run FROM converter.documents d
    JOIN converter.documents g ON g.source = d.source AND g.path = d.path AND g.converter = '{CONVERTER}'
    WHERE d.id = ANY(:documents) AND d.path <> '' ORDER BY d.id, g.received_at, g.id
""")

PATHS = text("""
    SELECT path FROM converter.documents
    WHERE source = :source AND (path = :path OR (sha256 = :sha256 AND sha256 <> '')) AND converter <> :converter
    ORDER BY path = :path DESC, received_at DESC LIMIT 1
""")


async def _find_path(tx: Tx, word: Word) -> str:
    """Where its documents were found. A page may have been linked by another form of its address since."""
    facts = word.facts
    page = {"source": facts.source, "path": facts.path, "sha256": word.sha256, "converter": CONVERTER}
    known: str | None = await tx.scalar(PATHS, page)
    return facts.path if known is None else known
