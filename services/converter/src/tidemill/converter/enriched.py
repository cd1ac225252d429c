"""The SQL of what follows from records: a row for each content and enricher, made or still to be made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.types import BigInteger, DateTime, SmallInteger, Text

from tidemill.common.bus.step import Tx
from tidemill.converter.tables import SCHEMA, datasets, enriched, enrichers, geocoded
from tidemill.converter.versions import Opened
from tidemill.plugin import Dataset, Located

TYPES: Mapping[str, Any] = {
    "dataset": SmallInteger(),
    "enricher": Text(),
    "contents": ARRAY(BigInteger),
    "enrichers": ARRAY(Text),
    "times": ARRAY(DateTime(timezone=True)),
    "versions": ARRAY(Text),
    "references": ARRAY(Text),
    "version": Text(),
    "reference": Text(),
    "data": ARRAY(Text),
    "reasons": ARRAY(Text),
    "questions": ARRAY(Text),
    "after": BigInteger(),
}


NOTHING = (None, "", "null")
"""Data of a record that is gone: nothing follows from it."""


def _sql(statement: str) -> TextClause:
    clause = text(statement.replace("{s}", SCHEMA))
    return clause.bindparams(*(bindparam(name, type_=TYPES[name]) for name in clause._bindparams if name in TYPES))


@dataclass(frozen=True, slots=True)
class Enriched:
    """What one enricher says of one content, and what made it."""

    dataset: str
    hash: bytes
    """Of the content."""
    enricher: str
    version: str
    reference: str
    data: str | None
    """JSON; None where nothing follows."""
    reason: str = ""
    question: str | None = None


@dataclass(frozen=True, slots=True)
class Stale:
    """A row to make anew. Locked until commit."""

    content: int
    at: datetime
    data: str | None
    """Of the record."""


INSERT = _sql("""
    INSERT INTO {s}.enriched (dataset, content, enricher, at, version, reference, data, reason, question, made_at)
    SELECT :dataset, content, enricher, at, version, reference, data::jsonb, reason, question,
        CASE WHEN version <> '' THEN clock_timestamp() END
    FROM unnest(:contents, :enrichers, :times, :versions, :references, :data, :reasons, :questions)
        e (content, enricher, at, version, reference, data, reason, question)
    ON CONFLICT DO NOTHING
""")


async def insert_enriched(
    tx: Tx, dataset: Dataset, id: int, stored: Iterable[tuple[Opened, Iterable[Enriched]]]
) -> None:
    """A row for every content that is new; what is not worked out yet is made later, by whoever sees it first."""
    rows = [row for opened, made in stored for row in _rows(dataset, opened, made)]
    if not rows:
        return
    found = [answer for *_, answer in rows]
    await tx.execute(
        INSERT,
        {
            "dataset": id,
            "contents": [content for content, *_ in rows],
            "enrichers": [enricher for _, enricher, *_ in rows],
            "times": [at for _, _, at, _ in rows],
            "versions": [one.version if one else "" for one in found],
            "references": [one.reference if one else "" for one in found],
            "data": [one and one.data for one in found],
            "reasons": [one.reason if one else "" for one in found],
            "questions": [one and one.question for one in found],
        },
    )


def _rows(
    dataset: Dataset, opened: Opened, made: Iterable[Enriched]
) -> list[tuple[int, str, datetime, Enriched | None]]:
    """(content, enricher, time, answer) for what was opened by one part."""
    answers = {(one.hash, one.enricher): one for one in made if one.dataset == dataset.name}
    return [
        (content, enricher.name, at, answers.get((hash, enricher.name)))
        for version, content, hash, at, data in zip(
            opened.ids, opened.contents, opened.hashes, opened.times, opened.data, strict=True
        )
        if version == content and data not in NOTHING
        for enricher in dataset.enrichers
    ]


async def register_enricher(tx: Tx, dataset: int, name: str, version: str) -> None:
    """Whoever starts last has the version that counts: in an update, replicas of both do not undo each other's work."""
    values = {"version": version, "registered_at": func.now()}
    statement = insert(enrichers).values(dataset=dataset, name=name, **values)
    await tx.execute(statement.on_conflict_do_update(index_elements=["dataset", "name"], set_=values))


async def find_registered_version(tx: Tx, dataset: int, name: str) -> str | None:
    query = select(enrichers.c.version).where(enrichers.c.dataset == dataset, enrichers.c.name == name)
    version: str | None = await tx.scalar(query)
    return version


async def register_reference(tx: Tx, dataset: int, name: str, reference: str) -> None:
    """With which reference data an enricher is open somewhere, for those who look on."""
    mine = (enrichers.c.dataset == dataset) & (enrichers.c.name == name)
    await tx.execute(update(enrichers).where(mine).values(reference=reference))


async def fetch_progress(tx: Tx) -> list[dict[str, Any]]:
    """By enricher: its rows, those made with the present data, those that cannot be made."""
    query = select(enrichers, datasets.c.name.label("called")).join(datasets, datasets.c.id == enrichers.c.dataset)
    progress = []
    for row in (await tx.execute(query.order_by(datasets.c.name, enrichers.c.name))).all():
        rows, made, failed = await count_rows(tx, row.dataset, row.name, row.version, row.reference)
        progress.append(
            {
                "dataset": row.called,
                "enricher": row.name,
                "version": row.version,
                "rows": rows,
                "made": made,
                "failed": failed,
            }
        )
    return progress


LAST_OF_SLICE = _sql("""
    SELECT max(id) FROM (
        SELECT id FROM {s}.versions WHERE dataset = :dataset AND id > :after ORDER BY id LIMIT :slice) s
""")
MISSING = _sql("""
    INSERT INTO {s}.enriched (dataset, content, enricher, at, version, reference)
    SELECT v.dataset, v.id, :enricher, v.valid_from, '', '' FROM {s}.versions v
    WHERE v.dataset = :dataset AND v.id > :after AND v.id <= :last AND v.content = v.id AND v.data <> 'null'
        AND NOT EXISTS (SELECT 1 FROM {s}.enriched e
            WHERE e.dataset = v.dataset AND e.content = v.id AND e.enricher = :enricher)
    ORDER BY v.id ON CONFLICT DO NOTHING
""")


async def insert_missing(tx: Tx, dataset: int, enricher: str, after: int, slice: int) -> int | None:
    """Rows for contents that were stored before there was the enricher: one slice, behind the id `after`. The id up to
    which it went; None at the end."""
    last: int | None = await tx.scalar(LAST_OF_SLICE, {"dataset": dataset, "after": after, "slice": slice})
    if last is not None:
        await tx.execute(MISSING, {"dataset": dataset, "enricher": enricher, "after": after, "last": last})
    return last


def _take(sign: str) -> TextClause:
    return _sql(f"""
        SELECT e.content, e.at, v.data::text FROM {{s}}.enriched e
        LEFT JOIN {{s}}.versions v ON v.dataset = e.dataset AND v.id = e.content
        WHERE e.dataset = :dataset AND e.enricher = :enricher AND (e.version, e.reference) {sign} (:version, :reference)
        ORDER BY e.version, e.reference LIMIT :slice FOR UPDATE OF e SKIP LOCKED
    """)


TAKE = (_take("<"), _take(">"))
"""Not `<>`, which no index serves."""


async def take_stale(tx: Tx, dataset: int, enricher: str, version: str, reference: str, slice: int) -> Sequence[Stale]:
    """Rows that another version or other reference data made, and that nobody has in hand."""
    said = {"dataset": dataset, "enricher": enricher, "version": version, "reference": reference}
    found: list[Stale] = []
    for statement in TAKE:
        if len(found) < slice:
            rows = await tx.execute(statement, {**said, "slice": slice - len(found)})
            found += [Stale(*row) for row in rows]
    return found


UPDATE = _sql("""
    UPDATE {s}.enriched e SET version = :version, reference = :reference, data = n.data::jsonb, reason = n.reason,
        question = n.question, made_at = clock_timestamp()
    FROM unnest(:contents, :data, :reasons, :questions) n (content, data, reason, question)
    WHERE e.dataset = :dataset AND e.enricher = :enricher AND e.content = n.content
""")


async def update_enriched(tx: Tx, dataset: int, made: Sequence[tuple[int, Enriched]]) -> None:
    """(content, answer) of one enricher."""
    if not made:
        return
    first = made[0][1]
    await tx.execute(
        UPDATE,
        {
            "dataset": dataset,
            "enricher": first.enricher,
            "version": first.version,
            "reference": first.reference,
            "contents": [content for content, _ in made],
            "data": [one.data for _, one in made],
            "reasons": [one.reason for _, one in made],
            "questions": [one.question for _, one in made],
        },
    )


async def count_rows(tx: Tx, dataset: int, enricher: str, version: str, reference: str) -> tuple[int, int, int]:
    """(all, made with these, could not be made)."""
    current = (enriched.c.version == version) & (enriched.c.reference == reference)
    counted = func.count().filter(current), func.count().filter(enriched.c.reason != "")
    query = select(func.count(), *counted).where(enriched.c.dataset == dataset, enriched.c.enricher == enricher)
    row = (await tx.execute(query)).one()
    return int(row[0]), int(row[1]), int(row[2])


async def find_located(tx: Tx, questions: Iterable[str]) -> dict[str, Located | None]:
    """What the geocoder answered; None where it knows no such place. What was not asked is missing."""
    query = select(geocoded).where(geocoded.c.question.in_(sorted(set(questions))))
    return {
        row.question: None if row.latitude is None else Located(row.latitude, row.longitude, row.precision)
        for row in await tx.execute(query)
    }


async def make_stale(tx: Tx, question: str) -> None:
    """What waits for the answer to a question is made anew."""
    await tx.execute(update(enriched).where(enriched.c.question == question).values(version="", question=None))
