"""The SQL of records, versions and sightings; `store.py` decides what is written."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    DateTime,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    TextClause,
    bindparam,
    text,
)
from sqlalchemy.dialects.postgresql import REAL

from tidemill.common.bus.step import Tx
from tidemill.converter.content import CheckedRecord
from tidemill.converter.history import NOTHING, Page
from tidemill.converter.tables import SCHEMA, partition
from tidemill.plugin import Position

TYPES: dict[str, Any] = {
    "dataset": SmallInteger(),
    "document": BigInteger(),
    "documents": ARRAY(BigInteger),
    "part": Integer(),
    "parts": ARRAY(Integer),
    "keys": ARRAY(Text),
    "ids": ARRAY(BigInteger),
    "records": ARRAY(BigInteger),
    "contents": ARRAY(BigInteger),
    "hashes": ARRAY(LargeBinary),
    "times": ARRAY(DateTime(timezone=True)),
    "time": DateTime(timezone=True),
    "bases": ARRAY(Text),
    "parents": ARRAY(Text),
    "pages": ARRAY(Integer),
    "items": ARRAY(BigInteger),
    "qualities": ARRAY(REAL),
    "lefts": ARRAY(REAL),
    "tops": ARRAY(REAL),
    "rights": ARRAY(REAL),
    "bottoms": ARRAY(REAL),
    "data": ARRAY(Text),
    "raws": ARRAY(Text),
    "believed": ARRAY(Boolean),
    "runs": ARRAY(Text),
    "origin": Text(),
    "count": Integer(),
}


def _sql(statement: str) -> TextClause:
    clause = text(statement.replace("{s}", SCHEMA))
    return clause.bindparams(*(bindparam(name, type_=TYPES[name]) for name in clause._bindparams if name in TYPES))


class Key(NamedTuple):
    """What a record is called."""

    text: str
    base: str | None = None
    """The key it would have, were it the first under it."""
    parent: str | None = None
    """Key of the record under whose key it stands."""


class Known(NamedTuple):
    """A record in the store, and its current version."""

    id: int
    key: str
    content: int
    hash: bytes
    """Empty: no document states it any more."""
    valid_from: datetime


class KnownVersion(NamedTuple):
    id: int
    content: int
    hash: bytes
    valid_from: datetime
    holds: bool
    """Not superseded."""


class KnownSighting(NamedTuple):
    valid_at: datetime
    received_at: datetime
    sha256: str
    document: int
    part: int
    place: int
    content: int
    page: Page


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a document, for one dataset."""

    dataset: int
    document: int
    part: int
    run: str
    origin: Literal["stored", "reconvert", "gone"] = "stored"
    """Of a document that takes the place of one converted before, and of what is gone, everything is decided from all
    that was stated."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What has to be known before something is written."""

    recorded_at: datetime
    newest: Mapping[int, tuple[datetime | None, datetime | None]]
    """By document: the greatest valid times that any other document stated for the dataset, and that it did itself."""
    ids: Sequence[int]
    """Fresh, for versions."""


@dataclass(slots=True)
class Opened:
    """Versions to insert, as columns."""

    documents: list[int] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    records: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    raws: list[str] = field(default_factory=list)
    qualities: list[float] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    believed: list[bool] = field(default_factory=list)

    def add(
        self,
        by: Part,
        id: int,
        record: int,
        content: int,
        valid_from: datetime,
        stated: CheckedRecord,
        *,
        believed: bool = True,
    ) -> None:
        """A version that is not believed is superseded from the start: another document knew better."""
        self.documents.append(by.document)
        self.runs.append(by.run)
        self.ids.append(id)
        self.records.append(record)
        self.contents.append(content)
        self.times.append(valid_from)
        self.hashes.append(stated.hash)
        self.data.append(stated.data)
        self.raws.append(stated.raw)
        self.qualities.append(stated.quality)
        self.positions.append(stated.position)
        self.believed.append(believed)


@dataclass(slots=True)
class Currents:
    """Current versions of records to insert or to update, as columns."""

    records: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    contents: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    keys: list[Key] = field(default_factory=list)

    def add(self, key: Key, record: int, version: int, content: int, hash: bytes, valid_from: datetime) -> None:
        self.keys.append(key)
        self.records.append(record)
        self.ids.append(version)
        self.contents.append(content)
        self.hashes.append(hash)
        self.times.append(valid_from)


Columns = TypeVar("Columns", Opened, Currents)


def joined(several: Sequence[Columns]) -> Columns:
    """The rows of all."""
    first, *others = several
    if not others:
        return first
    names = [each.name for each in fields(first)]
    return type(first)(**{name: [row for one in several for row in getattr(one, name)] for name in names})


LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")


async def lock_datasets(tx: Tx, names: Iterable[str]) -> None:
    """Be the only writer of these datasets until commit. Everybody locks in the order of names, so nobody waits in
    a circle."""
    for name in sorted(set(names)):
        await tx.execute(LOCK, {"name": f"tidemill.dataset.{name}"})


BY_KEY = _sql("""
    SELECT r.id, r.key, r.content, r.hash, r.valid_from
    FROM unnest(:keys) k (key) JOIN {s}.records r ON r.dataset = :dataset AND r.key = k.key
""")


BY_ID = _sql("""
    SELECT id, key, content, hash, valid_from, base, parent FROM {s}.records
    WHERE dataset = :dataset AND id = ANY(:records)
""")


async def find_by_id(tx: Tx, dataset: int, records: Sequence[int]) -> list[tuple[Key, Known]]:
    rows = await tx.execute(BY_ID, {"records": records, "dataset": dataset})
    return [(Key(row[1], row[5], row[6]), Known(*row[:5])) for row in rows.all()]


async def find_by_key(tx: Tx, dataset: int, keys: Sequence[str]) -> dict[str, Known]:
    rows = await tx.execute(BY_KEY, {"keys": keys, "dataset": dataset})
    return {row[1]: Known(*row) for row in rows.all()}


BY_BASE = _sql("""
    SELECT k.base, r.id, r.key, r.content, r.hash, r.valid_from
    FROM unnest(:bases) k (base), LATERAL (
        SELECT * FROM {s}.records WHERE dataset = :dataset AND key = k.base
        UNION ALL
        SELECT * FROM {s}.records WHERE dataset = :dataset AND base = k.base
    ) r ORDER BY r.id
""")


async def find_by_base(tx: Tx, dataset: int, bases: Sequence[str]) -> dict[str, list[Known]]:
    """All records under each base key, the oldest first."""
    found: dict[str, list[Known]] = {}
    for row in (await tx.execute(BY_BASE, {"bases": bases, "dataset": dataset})).all():
        found.setdefault(row[0], []).append(Known(*row[1:]))
    return found


STATED = _sql("""
    SELECT record, hash, data::text FROM {s}.versions
    WHERE dataset = :dataset AND record = ANY(:records) AND recorded_to IS NULL ORDER BY valid_from DESC
""")


async def find_contents(tx: Tx, dataset: int, records: Sequence[int]) -> dict[int, list[tuple[bytes, str]]]:
    """Hash and data of every content that holds at some valid time, the newest first."""
    found: dict[int, list[tuple[bytes, str]]] = {}
    for record, hash, data in await tx.execute(STATED, {"records": records, "dataset": dataset}):
        if hash != NOTHING:
            found.setdefault(record, []).append((hash, data))
    return found


ONCE_STATED = _sql("""
    SELECT record, hash, data::text FROM {s}.versions
    WHERE dataset = :dataset AND record = ANY(:records) ORDER BY valid_from DESC, id DESC
""")


async def find_former_contents(tx: Tx, dataset: int, records: Sequence[int]) -> dict[int, list[tuple[bytes, str]]]:
    """As `find_contents`, of records that no document states any more."""
    found: dict[int, list[tuple[bytes, str]]] = {}
    for record, hash, data in await tx.execute(ONCE_STATED, {"records": records, "dataset": dataset}):
        if hash != NOTHING:
            found.setdefault(record, []).append((hash, data))
    return found


PLAN_BY_INDEX = text("SELECT set_config('enable_seqscan', :on, true)")


@cache
def _in_partition(statement: str, dataset: int) -> TextClause:
    return _sql(statement.replace("{sightings}", f"{SCHEMA}.{partition('sightings', dataset)}"))


@asynccontextmanager
async def _by_index(tx: Tx) -> AsyncIterator[None]:
    """The planner takes an array's `@>` for as cheap as a comparison of numbers: where it may, it reads a table whole
    for each content. So it may not, and has the partition by name, without a condition that another index serves."""
    await tx.execute(PLAN_BY_INDEX, {"on": "off"})
    yield
    await tx.execute(PLAN_BY_INDEX, {"on": "on"})


KEYS_IN_DOCUMENT = """
    WITH stated AS (
        SELECT DISTINCT k.base, r.key, v.content
        FROM unnest(:bases) k (base), LATERAL (
            SELECT id, key FROM {s}.records WHERE dataset = :dataset AND key = k.base
            UNION ALL
            SELECT id, key FROM {s}.records WHERE dataset = :dataset AND base = k.base
        ) r JOIN {s}.versions v ON v.dataset = :dataset AND v.record = r.id
    )
    SELECT stated.base, stated.key
    FROM stated, LATERAL (
        SELECT s.part, array_positions(s.contents, stated.content) AS places
        FROM {sightings} s
        WHERE s.contents @> ARRAY[stated.content] AND s.document = :document AND s.part < :part
    ) s
    ORDER BY s.part, s.places[cardinality(s.places)]
"""


async def find_keys_in_document(tx: Tx, dataset: int, document: int, part: int, bases: Sequence[str]) -> dict[str, str]:
    """Base keys of records that earlier parts of the document stated, to the keys they got; the last one counts."""
    parameters = {"bases": bases, "dataset": dataset, "document": document, "part": part}
    async with _by_index(tx):
        rows = await tx.execute(_in_partition(KEYS_IN_DOCUMENT, dataset), parameters)
    return {row[0]: row[1] for row in rows}


MOMENT = _sql("""
    SELECT clock_timestamp(),
        ARRAY(SELECT (SELECT valid_at FROM {s}.sightings WHERE dataset = :dataset AND document <> d.id
                      ORDER BY valid_at DESC LIMIT 1)
              FROM unnest(:documents) WITH ORDINALITY d (id, place) ORDER BY place),
        ARRAY(SELECT (SELECT max(valid_at) FROM {s}.sightings WHERE dataset = :dataset AND document = d.id)
              FROM unnest(:documents) WITH ORDINALITY d (id, place) ORDER BY place),
        ARRAY(SELECT nextval('{s}.version_ids') FROM generate_series(1, :count))
""")


async def fetch_moment(tx: Tx, dataset: int, documents: Sequence[int], count: int) -> Moment:
    row = (await tx.execute(MOMENT, {"dataset": dataset, "documents": documents, "count": count})).one()
    recorded_at, elsewhere, here, ids = row
    return Moment(recorded_at, dict(zip(documents, zip(elsewhere, here, strict=True), strict=True)), ids)


IDS = _sql("SELECT nextval('{s}.version_ids') FROM generate_series(1, :count)")


async def fetch_ids(tx: Tx, count: int) -> list[int]:
    return list(await tx.scalars(IDS, {"count": count}))


ARRIVAL = _sql("SELECT received_at, sha256, source, path FROM {s}.documents WHERE id = :document")


async def fetch_arrival(tx: Tx, document: int) -> tuple[datetime, str, Page]:
    """When a document was received, its SHA-256, and where it was found."""
    row = (await tx.execute(ARRIVAL, {"document": document})).one()
    return row[0], row[1], (row[2], row[3])


VERSIONS = _sql("""
    SELECT record, id, content, hash, valid_from, recorded_to IS NULL FROM {s}.versions
    WHERE dataset = :dataset AND record = ANY(:records) ORDER BY valid_from
""")


async def find_versions(tx: Tx, dataset: int, records: Sequence[int]) -> dict[int, list[KnownVersion]]:
    """Every version, superseded ones too."""
    found: dict[int, list[KnownVersion]] = {}
    for record, *version in (await tx.execute(VERSIONS, {"records": records, "dataset": dataset})).all():
        found.setdefault(record, []).append(KnownVersion(*version))
    return found


SIGHTINGS = """
    WITH seen AS MATERIALIZED (
        SELECT s.valid_at, s.document, s.part, s.places[cardinality(s.places)] AS place, wanted.content
        FROM unnest(:contents) wanted (content), LATERAL (
            SELECT s.*, array_positions(s.contents, wanted.content) AS places FROM {sightings} s
            WHERE s.contents @> ARRAY[wanted.content]
        ) s
    )
    SELECT s.valid_at, d.received_at, d.sha256, s.document, s.part, s.place, s.content, d.source, d.path
    FROM seen s JOIN {s}.documents d ON d.id = s.document AND d.superseded_by IS NULL
"""
"""Materialized: joined at once, documents would come first, and with them every sighting for each content."""


async def find_sightings(tx: Tx, dataset: int, contents: Sequence[int]) -> list[KnownSighting]:
    async with _by_index(tx):
        rows = await tx.execute(_in_partition(SIGHTINGS, dataset), {"contents": contents})
    return [KnownSighting._make((*seen, (source, path))) for *seen, source, path in rows.all()]


INSERT_VERSIONS = _sql("""
    INSERT INTO {s}.versions (dataset, id, record, content, document, valid_from, recorded_from, recorded_to, page,
        item, quality, box, hash, run, origin, data, raw)
    SELECT :dataset, id, record, content, document, valid_from, :time, CASE WHEN NOT believed THEN :time END, page,
        item, quality, CASE WHEN l IS NOT NULL THEN ARRAY[l, t, r, b] END, hash, run, :origin, data::jsonb, raw
    FROM unnest(:documents, :runs, :ids, :records, :contents, :times, :pages, :items, :qualities, :lefts, :tops,
        :rights, :bottoms, :hashes, :data, :raws, :believed)
        v (document, run, id, record, content, valid_from, page, item, quality, l, t, r, b, hash, data, raw, believed)
""")


async def insert_versions(tx: Tx, dataset: int, recorded_at: datetime, opened: Opened, origin: str) -> None:
    if not opened.ids:
        return
    nowhere = (None, None, None, None)
    boxes = [position.box or nowhere for position in opened.positions]
    await tx.execute(
        INSERT_VERSIONS,
        {
            "dataset": dataset,
            "origin": origin,
            "time": recorded_at,
            "documents": opened.documents,
            "runs": opened.runs,
            "ids": opened.ids,
            "records": opened.records,
            "contents": opened.contents,
            "times": opened.times,
            "pages": [position.page for position in opened.positions],
            "items": [position.item for position in opened.positions],
            "qualities": opened.qualities,
            "lefts": [box[0] for box in boxes],
            "tops": [box[1] for box in boxes],
            "rights": [box[2] for box in boxes],
            "bottoms": [box[3] for box in boxes],
            "hashes": opened.hashes,
            "data": opened.data,
            "raws": opened.raws,
            "believed": opened.believed,
        },
    )


REOPEN = _sql("""
    INSERT INTO {s}.versions (dataset, id, record, content, document, valid_from, recorded_from, page, item, quality,
        box, hash, run, origin, data, raw)
    SELECT dataset, again.id, record, v.content, document, again.valid_from, :time, page, item, quality,
        box, hash, run, :origin, data, raw
    FROM unnest(:ids, :contents, :times) again (id, content, valid_from)
    JOIN {s}.versions v ON v.dataset = :dataset AND v.id = again.content
""")


async def reopen_versions(
    tx: Tx, dataset: int, recorded_at: datetime, again: Sequence[tuple[int, int, datetime]], origin: str
) -> None:
    """Say a content once more from another time on, as (new id, content, valid from); it keeps the document and the
    position where the content stood first."""
    if again:
        ids, contents, times = (list(column) for column in zip(*again, strict=True))
        stated = {"ids": ids, "contents": contents, "times": times, "origin": origin}
        await tx.execute(REOPEN, {"dataset": dataset, "time": recorded_at, **stated})


SUPERSEDE = _sql("""
    UPDATE {s}.versions SET recorded_to = greatest(recorded_from, :time)
    WHERE dataset = :dataset AND id = ANY(:ids)
""")


async def supersede_versions(tx: Tx, dataset: int, recorded_at: datetime, ids: Sequence[int]) -> None:
    if ids:
        await tx.execute(SUPERSEDE, {"dataset": dataset, "time": recorded_at, "ids": ids})


INSERT_RECORDS = _sql("""
    INSERT INTO {s}.records (dataset, id, key, base, parent, version, content, hash, valid_from)
    SELECT :dataset, * FROM unnest(:records, :keys, :bases, :parents, :ids, :contents, :hashes, :times)
""")


async def insert_records(tx: Tx, dataset: int, new: Currents) -> None:
    if new.records:
        keys = {
            "keys": [key.text for key in new.keys],
            "bases": [key.base for key in new.keys],
            "parents": [key.parent for key in new.keys],
        }
        await tx.execute(INSERT_RECORDS, {"dataset": dataset, **keys, **_columns(new)})


UPDATE_RECORDS = _sql("""
    UPDATE {s}.records r
    SET version = c.version, content = c.content, hash = c.hash, valid_from = c.valid_from
    FROM unnest(:records, :ids, :contents, :hashes, :times) c (record, version, content, hash, valid_from)
    WHERE r.dataset = :dataset AND r.id = c.record
""")


async def update_records(tx: Tx, dataset: int, changed: Currents) -> None:
    if changed.records:
        await tx.execute(UPDATE_RECORDS, {"dataset": dataset, **_columns(changed)})


VACATE = _sql("""
    UPDATE {s}.records SET hash = '', valid_from = '1900-01-01+00' WHERE dataset = :dataset AND id = ANY(:records)
""")


async def vacate_records(tx: Tx, dataset: int, records: Sequence[int]) -> None:
    """No document states these any more. Whatever states one again is newer, and other, than nothing."""
    if records:
        await tx.execute(VACATE, {"dataset": dataset, "records": records})


def _columns(currents: Currents) -> dict[str, list[Any]]:
    names = ("records", "ids", "contents", "hashes", "times")
    return {name: getattr(currents, name) for name in names}


INSERT_SIGHTINGS = _sql("""
    INSERT INTO {s}.sightings AS s (dataset, document, part, valid_at, contents)
    SELECT :dataset, document, part, valid_at, array_agg(content ORDER BY place)
    FROM unnest(:documents, :parts, :times, :contents)
        WITH ORDINALITY stated (document, part, valid_at, content, place) GROUP BY document, part, valid_at
    ON CONFLICT (document, part, valid_at, dataset) DO UPDATE SET contents = s.contents || excluded.contents
""")


async def insert_sightings(tx: Tx, dataset: int, stated: Sequence[tuple[Part, datetime, int]]) -> None:
    """(by whom, valid time, content) in the order of their documents; one row for each part and valid time."""
    columns = {
        "documents": [by.document for by, _, _ in stated],
        "parts": [by.part for by, _, _ in stated],
        "times": [valid_at for _, valid_at, _ in stated],
        "contents": [content for _, _, content in stated],
    }
    await tx.execute(INSERT_SIGHTINGS, {"dataset": dataset, **columns})
