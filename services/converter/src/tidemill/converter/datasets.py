"""The installed datasets, and their place in the database: an id, partitions, typed views."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.converter.tables import SCHEMA, datasets, partition
from tidemill.converter.views import View, dataset_views
from tidemill.plugin import API_VERSION, Dataset, Enricher, Vocabulary

DATASETS, VOCABULARIES, ENRICHERS = "tidemill.datasets", "tidemill.vocabularies", "tidemill.enrichers"
PARTITIONED = ("records", "versions", "sightings")
NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
ENRICHER = re.compile(r"[a-z][a-z0-9_]{0,39}")
NAME_LETTERS = 40
"""With `_history` behind it, and a table's name before it, still an identifier of Postgres."""


class InvalidDataset(Exception):
    """A plugin brings a dataset, or something for it, that cannot live here; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Datasets(Mapping[str, Dataset]):
    """The datasets that have a place in the database, by name."""

    known: Mapping[str, Dataset]
    ids: Mapping[str, int]
    stale_views: tuple[str, ...] = ()
    """Sentences about views that could not be renewed, because others stand on them."""

    def __getitem__(self, name: str) -> Dataset:
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def __len__(self) -> int:
        return len(self.known)

    def id(self, name: str) -> int:
        return self.ids[name]


def find_datasets() -> list[Dataset]:
    """Those of the entry point group `tidemill.datasets`, with their enrichers; raises InvalidDataset."""
    found = []
    enrichers = find_enrichers()
    for point in entry_points(group=DATASETS):
        dataset = point.load()
        if not isinstance(dataset, Dataset) or dataset.name != point.name:
            raise InvalidDataset(f"entry point {point.name} = {point.value} is not the dataset of that name")
        found.append(replace(dataset, enrichers=[one for one in enrichers if one.dataset == dataset.name]))
    return sorted(found, key=lambda dataset: dataset.name)


def find_enrichers() -> list[Enricher]:
    """Those of the entry point group `tidemill.enrichers`, by name; raises InvalidDataset."""
    found: list[Enricher] = []
    for point in sorted(entry_points(group=ENRICHERS), key=lambda point: point.name):
        loaded = point.load()
        enricher = loaded() if isinstance(loaded, type) else loaded
        if not isinstance(enricher, Enricher) or enricher.name != point.name:
            raise InvalidDataset(f"entry point {point.name} = {point.value} is not the enricher of that name")
        if not ENRICHER.fullmatch(enricher.name) or not enricher.version:
            raise InvalidDataset(f"an enricher has a name like price_index and a version, unlike {point.value}")
        if enricher.api_version != API_VERSION:
            raise InvalidDataset(
                f"enricher {enricher.name} is for version {enricher.api_version} of the interface, not {API_VERSION}"
            )
        found.append(enricher)
    return found


def find_vocabularies() -> list[Vocabulary]:
    """Those of the entry point group `tidemill.vocabularies`."""
    return [point.load() for point in sorted(entry_points(group=VOCABULARIES), key=lambda point: point.name)]


LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('tidemill.datasets', 0))")


async def register_datasets(engine: AsyncEngine, wanted: Iterable[Dataset]) -> Datasets:
    """Give each dataset an id, partitions and views, where it has not got them or its model changed. Replicas may call
    it at once; needs the migrated tables."""
    by_name = {dataset.name: dataset for dataset in wanted}
    for dataset in by_name.values():
        _refuse_invalid(dataset)
    stale: list[str] = []
    async with engine.begin() as tx:
        await tx.execute(LOCK)
        ids = {name: await _register(tx, dataset, stale) for name, dataset in sorted(by_name.items())}
    return Datasets(by_name, ids, tuple(stale))


def _refuse_invalid(dataset: Dataset) -> None:
    name = dataset.name
    if not NAME.fullmatch(name) or len(name) > NAME_LETTERS:
        raise InvalidDataset(
            f"a dataset is named domain.thing in lower case, with up to {NAME_LETTERS} letters, not {name!r}"
        )
    fields = dataset.model.model_fields
    for name_field, names in dataset.names.items():
        missing = {names.raw, names.scope} - set(fields)
        if missing:
            raise InvalidDataset(
                f"{name}: {name_field} names fields that the model lacks: {', '.join(sorted(missing))}"
            )


async def _register(tx: Tx, dataset: Dataset, stale: list[str]) -> int:
    title = dataset.title or dataset.name
    columns = (datasets.c.id, datasets.c.views_hash)
    found = update(datasets).where(datasets.c.name == dataset.name).values(title=title).returning(*columns)
    row = (await tx.execute(found)).one_or_none()
    if row is None:
        # An upsert would burn one of the 32,767 numbers at every start.
        row = (await tx.execute(insert(datasets).values(name=dataset.name, title=title).returning(*columns))).one()
    for table in PARTITIONED:
        storage = " WITH (fillfactor = 85)" if table == "records" else ""  # Room to update beside the old row.
        name = f"{SCHEMA}.{partition(table, row.id)}"
        if await tx.scalar(PRESENT, {"table": name}):
            continue  # A role that may not make tables works with those that a migration made.
        of = f"PARTITION OF {SCHEMA}.{table} FOR VALUES IN ({row.id}){storage}"
        await tx.execute(text(f"CREATE TABLE IF NOT EXISTS {name} {of}"))
        await tx.execute(text(f"COMMENT ON TABLE {name} IS '{dataset.name}'"))
    view = dataset_views(dataset, row.id)
    if view.hash != row.views_hash and await _make(tx, view, stale):
        await tx.execute(update(datasets).where(datasets.c.id == row.id).values(views_hash=view.hash))
    return int(row.id)


PRESENT = text("SELECT to_regclass(:table) IS NOT NULL")


async def _make(tx: Tx, view: View, stale: list[str]) -> bool:
    if await tx.scalar(PRESENT, {"table": f"{view.schema}.alembic_version"}):
        raise InvalidDataset(f"schema {view.schema} is a service's; the dataset needs another domain")
    await tx.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{view.schema}"'))
    try:
        async with tx.begin_nested():
            for name, body in view.bodies.items():
                await tx.execute(text(f"DROP VIEW IF EXISTS {name}"))
                await tx.exec_driver_sql(f"CREATE VIEW {name} AS {body}")
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", "") != "2BP01":  # dependent_objects_still_exist
            raise
        stale.append(f"the views of {view.dataset} stay as they were, because others stand on them: {error.orig}")
        return False
    return True


async def fetch_registered(tx: Tx, wanted: Iterable[Dataset]) -> Datasets:
    """The datasets that are registered already, for those who only read."""
    rows = (await tx.execute(select(datasets.c.name, datasets.c.id))).all()
    ids = {name: int(id) for name, id in rows}
    return Datasets({dataset.name: dataset for dataset in wanted if dataset.name in ids}, ids)
