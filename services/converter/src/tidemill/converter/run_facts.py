"""The SQL of what is known of a run, and of the records that its source states now."""

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from sqlalchemy import text

from tidemill.common.bus.step import Tx
from tidemill.common.checks import Past
from tidemill.common.config.checks import Check
from tidemill.converter.datasets import Datasets
from tidemill.converter.views import columns
from tidemill.plugin import Dataset

EARLIER = 400
"""Runs before it that are looked at, for those of the same weekday."""
EXAMPLES = 3
PLACED = ("inside", "near")
"""What `footprint` says of points that stand where a building does."""

DATASETS = text("""
    SELECT DISTINCT b.dataset FROM converter.batches b JOIN converter.documents d ON d.id = b.document
    WHERE d.source = :source ORDER BY 1
""")
COUNT = text("""
    SELECT coalesce(sum(b.new + b.changed + b.unchanged + b.history), 0) FROM converter.batches b
    JOIN converter.documents d ON d.id = b.document WHERE d.run = :run AND d.superseded_by IS NULL
""")
# Of a run with a document that was refused nobody knows what is usual.
HISTORY = text("""
    SELECT min(d.received_at), coalesce(sum(counted.records), 0) FROM converter.documents d
    LEFT JOIN LATERAL (
        SELECT sum(b.new + b.changed + b.unchanged + b.history) AS records FROM converter.batches b
        WHERE b.document = d.id
    ) counted ON true
    WHERE d.source = :source AND d.run <> :run AND d.state = 'finished' AND d.superseded_by IS NULL
        AND d.sha256 <> '' AND d.run NOT LIKE 'reconvert-%'
    GROUP BY d.run HAVING bool_and(d.outcome = 'converted') ORDER BY 1 DESC LIMIT :earlier
""")
STATED = text("""
    SELECT count(DISTINCT v.record), count(DISTINCT v.record) FILTER (WHERE v.data ->> :field IS NOT NULL)
    FROM converter.documents d JOIN converter.sightings s ON s.document = d.id AND s.dataset = :dataset
    CROSS JOIN unnest(s.contents) AS stated (content)
    JOIN converter.versions v ON v.dataset = s.dataset AND v.id = stated.content
    WHERE d.run = :run AND d.superseded_by IS NULL AND d.sha256 <> ''
""")


async def find_datasets(tx: Tx, source: str) -> list[str]:
    """Those of which a source ever stated something."""
    return list((await tx.scalars(DATASETS, {"source": source})).all())


async def count_records(tx: Tx, run: str) -> int:
    return int(await tx.scalar(COUNT, {"run": run}) or 0)


async def find_history(tx: Tx, source: str, run: str, zone: tzinfo) -> list[Past]:
    rows = await tx.execute(HISTORY, {"source": source, "run": run, "earlier": EARLIER})
    return [Past(row[0].astimezone(zone), int(row[1])) for row in rows]


async def count_fields(tx: Tx, run: str, fields: Sequence[str], datasets: Datasets) -> dict[str, tuple[int, int]]:
    """Records of the run that have each field, and of how many; of datasets whose model has it."""
    found = {}
    for field in fields:
        have = of = 0
        for name, dataset in datasets.items():
            if field in dataset.model.model_fields:
                said = {"run": run, "field": field, "dataset": datasets.id(name)}
                row = (await tx.execute(STATED, said)).one()
                of, have = of + row[0], have + row[1]
        found[field] = (have, of)
    return found


async def find_shared(tx: Tx, source: str, check: Check, views: Mapping[str, Dataset]) -> tuple[int, list[str]]:
    """How many records of the source say the same as another one in the check's fields, and some of them."""
    count = 0
    examples: list[str] = []
    for name, dataset in views.items():
        known = {column.name for column in columns(dataset, "current")}
        if check.dataset not in ("", name) or not {*check.fields, *check.when} <= known:
            continue
        fields = ", ".join(f'"{field}"' for field in check.fields)
        missing = " AND ".join(f'"{field}" IS NOT NULL' for field in check.fields)
        only = "".join(f""" AND "{field}"::text = :when_{n}""" for n, field in enumerate(check.when))
        query = text(f"""
            SELECT key FROM (
                SELECT {_key(dataset)} AS key, count(*) OVER (PARTITION BY {fields}) AS alike FROM {_view(name)}
                WHERE {_column(dataset, "source")} = :source AND {missing}{only}
            ) listed WHERE alike > 1 ORDER BY key
        """)
        said = {f"when_{n}": _written(value) for n, value in enumerate(check.when.values())}
        keys = (await tx.scalars(query, {"source": source, **said})).all()
        count += len(keys)
        examples += keys[:EXAMPLES]
    return count, examples[:EXAMPLES]


async def count_placed(tx: Tx, source: str, views: Mapping[str, Dataset]) -> tuple[int, int] | None:
    """Points of the source's records that were held against footprints, and those that stand where a building does;
    None where no enricher says a `footprint`."""
    points = placed = 0
    known = False
    for name, dataset in views.items():
        if "footprint" not in {column.name for column in columns(dataset, "current")}:
            continue
        known = True
        query = text(f"""
            SELECT count(footprint), count(*) FILTER (WHERE footprint = ANY(:placed)) FROM {_view(name)}
            WHERE {_column(dataset, "source")} = :source
        """)
        row = (await tx.execute(query, {"source": source, "placed": list(PLACED)})).one()
        points, placed = points + row[0], placed + row[1]
    return (points, placed) if known else None


async def mean_quality(tx: Tx, source: str, views: Mapping[str, Dataset]) -> float | None:
    """Over what the source's records say now."""
    total, count = 0.0, 0
    for name, dataset in views.items():
        quality = _column(dataset, "quality")
        query = text(f"SELECT sum({quality}), count(*) FROM {_view(name)} WHERE {_column(dataset, 'source')} = :source")
        row = (await tx.execute(query, {"source": source})).one()
        total, count = total + float(row[0] or 0), count + row[1]
    return total / count if count else None


def _view(name: str) -> str:
    domain, thing = name.split(".")
    return f'"{domain}"."{thing}"'


def _key(dataset: Dataset) -> str:
    return "record_key" if "key" in dataset.model.model_fields else "key"


def _column(dataset: Dataset, origin: str) -> str:
    """Ours, where the model has a field that is called so."""
    return f"record_{origin}" if origin in dataset.model.model_fields else origin


def _written(value: str | bool | float) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else value
