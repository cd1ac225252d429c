"""Typed SQL views of a dataset, from its model: `domain.thing` for what holds now, `domain.thing_history` for all.
What is gone is in the history alone: `gone`, and no fields, from then on.

columns   key, the model's fields, of each name its entity, what enrichers add, then where the value came from
times     valid_from (the source's own), received_at (when the bytes came), recorded_from (when they were processed)
"""

import hashlib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import BaseModel

from tidemill.converter.history import NOTHING
from tidemill.converter.tables import SCHEMA
from tidemill.plugin import Dataset

Reading = Literal["current", "history", "as_of"]

TYPES: dict[Any, str] = {
    str: "text",
    bool: "boolean",
    int: "bigint",
    float: "numeric",
    Decimal: "numeric",
    date: "date",
    datetime: "timestamptz",
    time: "time",
    UUID: "text",
}
FORMATS = {"date-time": "timestamptz", "date": "date", "time": "time"}
KINDS = {"string": "text", "number": "numeric", "integer": "bigint", "boolean": "boolean"}
"""Of JSON schema, for types that pydantic brings."""

NAME_COLUMNS = {"id": "entity", "name": "name", "kind": "kind", "confidence": "confidence", "method": "method"}
"""Ending of the view's column to column of `names`."""

QUALITY = "v.quality"

GONE = f"decode('{NOTHING.hex()}', 'hex')"

ORIGINS = {
    "parent": ("text", "r.parent"),
    "valid_from": ("timestamptz", "v.valid_from"),
    "valid_to": (
        "timestamptz",
        "(SELECT min(n.valid_from) FROM {schema}.versions n WHERE n.dataset = v.dataset AND n.record = v.record"
        " AND n.valid_from > v.valid_from AND n.recorded_to IS NULL)",
    ),
    "received_at": ("timestamptz", "d.received_at"),
    "recorded_from": ("timestamptz", "v.recorded_from"),
    "quality": ("real", QUALITY),
    "source": ("text", "d.source"),
    "document": ("text", "d.sha256"),
    "document_name": ("text", "d.name"),
    "page": ("integer", "v.page"),
    "box": ("real[]", "v.box"),
    "item": ("bigint", "v.item"),
    "raw": ("text", "v.raw"),
    "run": ("text", "v.run"),
    "origin": ("text", "v.origin"),
    "gone": ("boolean", f"v.hash = {GONE}"),
    "converter": ("text", "d.converter"),
    "converter_version": ("text", "d.converter_version"),
    "trace": ("text", "d.trace"),
}
"""Where a value came from. A field of the model that is called so keeps the name; ours is then `record_…`."""

OF_HISTORY = ("valid_to", "gone")

CURRENT = """FROM {schema}.records r
JOIN {schema}.versions v ON v.dataset = {id} AND v.id = r.version AND v.recorded_to IS NULL"""

HISTORY = """FROM {schema}.records r
JOIN {schema}.versions v ON v.dataset = {id} AND v.record = r.id AND v.recorded_to IS NULL"""

AS_OF = """FROM (
    SELECT DISTINCT ON (record) * FROM {schema}.versions
    WHERE dataset = {id} AND valid_from <= :valid AND recorded_from <= :known
        AND (recorded_to IS NULL OR recorded_to > :known)
    ORDER BY record DESC, valid_from DESC
) v JOIN {schema}.records r ON r.dataset = {id} AND r.id = v.record"""


@dataclass(frozen=True, slots=True)
class View:
    """The SQL of a dataset's views."""

    dataset: str
    schema: str
    bodies: Mapping[str, str]
    """By quoted name."""

    @property
    def hash(self) -> str:
        return hashlib.sha256("\n".join(self.bodies.values()).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str
    """Of Postgres."""
    sql: str


def dataset_views(dataset: Dataset, id: int) -> View:
    domain, thing = dataset.name.split(".")
    readings: dict[str, Reading] = {thing: "current", f"{thing}_history": "history"}
    bodies = {f'"{domain}"."{name}"': select_sql(dataset, id, reading) for name, reading in readings.items()}
    return View(dataset.name, domain, bodies)


def select_sql(dataset: Dataset, id: int, reading: Reading) -> str:
    """A SELECT of the typed columns. `as_of` has two parameters: `valid` and `known`, the greatest valid time and
    recorded time to count."""
    source = {"current": CURRENT, "history": HISTORY, "as_of": AS_OF}[reading].format(schema=SCHEMA, id=id)
    selected = ",\n    ".join(f'{column.sql} AS "{column.name}"' for column in columns(dataset, reading))
    conditions = [] if reading == "as_of" else [f"r.dataset = {id}"]
    if reading != "history":
        of = "r" if reading == "current" else "v"
        conditions.append(f"{of}.hash <> {GONE}")
    where = f"\nWHERE {' AND '.join(conditions)}" if conditions else ""
    joins = "".join(_joins(dataset, id))
    return f"SELECT {selected}\n{source}\nJOIN {SCHEMA}.documents d ON d.id = v.document{joins}{where}"


def columns(dataset: Dataset, reading: Reading) -> list[Column]:
    """Key, fields, names, what enrichers add, origins."""
    fields = list(_fields(dataset))
    taken = {column.name for column in fields}
    names = [column for column in _name_columns(dataset) if column.name not in taken]
    taken |= {column.name for column in names}
    added, quality = _enriched(dataset, taken)
    taken |= {column.name for column in added}
    key = Column("record_key" if "key" in taken else "key", "text", "r.key")
    origins = [
        Column(
            f"record_{name}" if name in taken else name, kind, quality if sql == QUALITY else sql.format(schema=SCHEMA)
        )
        for name, (kind, sql) in ORIGINS.items()
        if name not in OF_HISTORY or reading == "history"
    ]
    return [key, *fields, *names, *added, *origins]


def _enriched(dataset: Dataset, taken: set[str]) -> tuple[list[Column], str]:
    """Columns of the enrichers, and the SQL of the quality: theirs, as far as they have said one."""
    added: list[Column] = []
    said: list[str] = []
    for number, enricher in enumerate(dataset.enrichers):
        for column in _model_columns(enricher.model, f"e{number}.data"):
            if column.name == "quality":
                said.append(f"JSON_VALUE(e{number}.data, '$.\"quality\"' RETURNING real NULL ON ERROR)")
                continue
            others = taken | {one.name for one in added}
            name = f"{enricher.name}_{column.name}" if column.name in others else column.name
            added.append(Column(name, column.type, column.sql))
    return added, f"coalesce({', '.join([*said, QUALITY])})" if said else QUALITY


def _fields(dataset: Dataset) -> Iterator[Column]:
    yield from _model_columns(dataset.model, "v.data")
    if dataset.model.model_config.get("extra") == "allow" and "data" not in dataset.model.model_fields:
        yield Column("data", "jsonb", "v.data")  # All of it: what the model does not name has no column.


def _model_columns(model: type[BaseModel], data: str) -> Iterator[Column]:
    properties = model.model_json_schema(by_alias=False, mode="serialization").get("properties", {})
    for name, field in model.model_fields.items():
        kind = _type(field.annotation, properties.get(name, {}))
        if kind == "jsonb":
            yield Column(name, kind, f"{data} -> '{name}'")
        elif kind == "text":
            yield Column(name, kind, f"{data} ->> '{name}'")
        else:
            # What does not fit, because an earlier model stored it, is NULL and not an error of the whole query.
            yield Column(name, kind, f"JSON_VALUE({data}, '$.\"{name}\"' RETURNING {kind} NULL ON ERROR)")


def _type(annotation: Any, schema: Mapping[str, Any]) -> str:
    kinds = {TYPES.get(leaf, "") for leaf in _leaves(annotation)}
    if kinds <= {"bigint", "numeric"} and "numeric" in kinds:
        return "numeric"
    if len(kinds) == 1 and (kind := kinds.pop()):
        return kind
    some = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    if len(some) != 1:
        return "jsonb"
    return FORMATS.get(some[0].get("format", ""), KINDS.get(some[0].get("type", ""), "jsonb"))


def _leaves(annotation: Any) -> Iterator[Any]:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _leaves(parts[0])
    elif origin in (Union, types.UnionType):
        for part in parts:
            yield from _leaves(part)
    elif origin is Literal:
        yield from {type(part) for part in parts}
    elif annotation is not types.NoneType:
        yield annotation


def _name_columns(dataset: Dataset) -> Iterator[Column]:
    for number, field in enumerate(dataset.names):
        for ending, column in NAME_COLUMNS.items():
            kind = "double precision" if column == "confidence" else "text"
            yield Column(f"{field}_{ending}", kind, f"n{number}.{column}")


def _joins(dataset: Dataset, id: int) -> Iterator[str]:
    for number, name in enumerate(dataset.names.values()):
        alias = f"n{number}"
        yield (
            f"\nLEFT JOIN {SCHEMA}.names {alias} ON {alias}.vocabulary = '{name.vocabulary}'"
            f" AND {alias}.raw = v.data ->> '{name.raw}' AND {alias}.scope = coalesce(v.data ->> '{name.scope}', '')"
        )
    for number, enricher in enumerate(dataset.enrichers):
        alias = f"e{number}"
        yield (
            f"\nLEFT JOIN {SCHEMA}.enriched {alias} ON {alias}.dataset = {id}"
            f" AND {alias}.content = v.content AND {alias}.enricher = '{enricher.name}'"
        )
