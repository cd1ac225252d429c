"""Rows of a dataset as its typed views show them, from a cursor on the server: memory does not grow with them."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidemill.converter.views import Column, Reading, columns, select_sql
from tidemill.plugin import Dataset

BATCH_ROWS = 1000

Row = Sequence[Any]

SELECTED_BY = ("r.key", "r.parent", "v.valid_from", "v.recorded_from")

END_OF_TIME = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which versions of which records. Without anything: what holds now."""

    history: bool = False
    """Every version that holds at some valid time, instead of the current one of each record."""
    as_of: datetime | None = None
    """Valid time: what was true then, by what is known today (or was at `known_at`)."""
    known_at: datetime | None = None
    """Recorded time: what we had recorded by then, right or wrong."""
    since: datetime | None = None
    """Only versions recorded at that time or later: what changed since."""
    key: str | None = None
    """This record, and those under its key."""
    match: str | None = None
    """Records in whose key, print or names this text is, in upper or lower case."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Records with exactly these values, by column; texts in upper or lower case. Of the history: every version of
    those that have, or had, them."""
    limit: int | None = None


class UnknownField(ValueError):
    """A column that is not there, or a value that it cannot hold; the sentence says what is valid."""


class Contradiction(ValueError):
    """A selection that asks for two things at once."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns, and batches of rows in their order."""

    columns: Sequence[Column]
    batches: AsyncGenerator[Sequence[Row], None]
    """Whoever leaves before the end closes it, so that the cursor on the server ends with it."""


def read_rows(connection: AsyncConnection, dataset: Dataset, id: int, wanted: Selection) -> Rows:
    """Sorted by key and valid time, so that the same state gives the same rows in the same order."""
    reading, parameters = _reading(wanted)
    selected = columns(dataset, reading)
    key, parent, valid_from, recorded_from = (_named(selected, sql) for sql in SELECTED_BY)
    conditions = []
    if wanted.key is not None:
        conditions.append(f'("{key}" = :key OR "{parent}" = :key)')
        parameters["key"] = wanted.key
    if wanted.match is not None:
        printed = [_named(selected, "v.raw"), *(f"{name}_name" for name in dataset.names)]
        searched = " || ' ' || ".join(f"""coalesce("{name}", '')""" for name in (key, *printed))
        conditions.append(f"strpos(lower({searched}), lower(:match)) > 0")
        parameters["match"] = wanted.match
    if wanted.fields:
        held = [_equal(name, said, selected, parameters) for name, said in wanted.fields.items()]
        having = " AND ".join(held)
        if reading == "history":
            having = f'"{key}" IN (SELECT "{key}" FROM ({select_sql(dataset, id, reading)}) had WHERE {having})'
        conditions.append(having)
    if wanted.since is not None:
        conditions.append(f'"{recorded_from}" >= :since')
        parameters["since"] = wanted.since
    statement = f"SELECT {_shortest(selected)} FROM (\n{select_sql(dataset, id, reading)}\n) wanted"
    if conditions:
        statement += f"\nWHERE {' AND '.join(conditions)}"
    statement += f'\nORDER BY "{key}", "{valid_from}"'
    if wanted.limit is not None:
        statement += "\nLIMIT :limit"
        parameters["limit"] = wanted.limit
    return Rows(selected, _batches(connection, statement, parameters))


def _equal(name: str, said: str, selected: Sequence[Column], parameters: dict[str, Any]) -> str:
    """The condition that a column has a value as a person wrote it. Raises UnknownField."""
    column = next((one for one in selected if one.name == name and one.type in _READ), None)
    if column is None:
        valid = ", ".join(one.name for one in selected if one.type in _READ)
        raise UnknownField(f"there is no field {name!r} to choose by; valid: {valid}")
    try:
        value = _READ[column.type](said)
    except (ValueError, ArithmeticError):
        raise UnknownField(f"{name} is {_CALLED[column.type]}, unlike {said!r}") from None
    parameters[f"field_{name}"] = value
    of, given = f'"{name}"', f"CAST(:field_{name} AS {column.type})"
    if column.type == "text":
        return f"lower({of}) = lower({given})"
    if column.type == "timestamptz" and len(said) == len("2025-06-17"):
        return f"{of} >= {given} AND {of} < {given} + interval '1 day'"
    return f"{of} = {given}"


def _truth(said: str) -> bool:
    if said.lower() not in ("true", "false"):
        raise ValueError(said)
    return said.lower() == "true"


def _moment(said: str) -> datetime:
    found = datetime.fromisoformat(said)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


_READ: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "bigint": int,
    "integer": int,
    "numeric": Decimal,
    "boolean": _truth,
    "date": date.fromisoformat,
    "timestamptz": _moment,
}
_CALLED: Mapping[str, str] = {
    "bigint": "a whole number",
    "integer": "a whole number",
    "numeric": "a number",
    "boolean": "true or false",
    "date": "a day such as 2025-06-17",
    "timestamptz": "a time such as 2025-06-17 or 2025-06-17T19:00+02:00",
}


async def read_with_children(
    connection: AsyncConnection,
    parents: tuple[Dataset, int],
    children: tuple[Dataset, int],
    wanted: Selection,
    order: Sequence[str] = (),
) -> AsyncGenerator[tuple[dict[str, Any], list[dict[str, Any]]], None]:
    """Each record of one dataset, sorted by these of its fields, with the records of another that stand under it, in
    their order on the page. Of a selection its times count."""
    reading, parameters = _reading(wanted)
    outer, inner = columns(parents[0], reading), columns(children[0], reading)
    page, box, parent = (_named(inner, sql) for sql in ("v.page", "v.box", "r.parent"))
    keys = [*order, _named(outer, "r.key")]
    statement = f"""
        WITH child AS ({select_sql(*children, reading)}), wanted AS ({select_sql(*parents, reading)})
        SELECT {_shortest(outer, "wanted.")}, family.children
        FROM wanted LEFT JOIN (
            SELECT child."{parent}" AS parent,
                json_agg(child ORDER BY child."{page}", child."{box}"[2], child."{_named(inner, "r.key")}") AS children
            FROM child GROUP BY 1
        ) family ON family.parent = wanted."{keys[-1]}"
        ORDER BY {", ".join(f'wanted."{name}"' for name in keys)}
    """
    async with aclosing(_batches(connection, statement, parameters)) as batches:
        async for batch in batches:
            for *row, family in batch:
                yield dict(zip((column.name for column in outer), row, strict=True)), family or []


def _reading(wanted: Selection) -> tuple[Reading, dict[str, Any]]:
    if wanted.as_of is None and wanted.known_at is None:
        return ("history" if wanted.history else "current"), {}
    if wanted.history:
        raise Contradiction("history is every version, as of is one of each record: choose one")
    return "as_of", {"valid": wanted.as_of or END_OF_TIME, "known": wanted.known_at or END_OF_TIME}


def _shortest(selected: Sequence[Column], of: str = "") -> str:
    """The columns; a `real` as the number that was meant and not as the nearest 32 bits: 123.46, not
    123.45999908447266."""
    return ", ".join(
        f'CAST(CAST({of}"{column.name}" AS text) AS {column.type.replace("real", "float8")}) AS "{column.name}"'
        if column.type in ("real", "real[]")
        else f'{of}"{column.name}"'
        for column in selected
    )


def _named(selected: Sequence[Column], sql: str) -> str:
    return next(column.name for column in selected if column.sql == sql)


async def _batches(
    connection: AsyncConnection, statement: str, parameters: dict[str, Any]
) -> AsyncGenerator[Sequence[Row], None]:
    # A condition of a path in JSON is no parameter, so only ours have colons.
    async with connection.stream(text(statement), parameters) as result:
        async for batch in result.partitions(BATCH_ROWS):
            yield batch
