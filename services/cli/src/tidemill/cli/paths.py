"""What records said over time, and what stands under them: the path of each value that moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.converter.datasets import Datasets

Value = tuple[str, Any]
"""Dotted name of a field, and what it holds."""


@dataclass(frozen=True, slots=True)
class Path:
    """One record, and what it said from when on."""

    dataset: str
    key: str
    said: Sequence[tuple[datetime, Mapping[str, Any]]]

    def steps(self) -> Iterator[tuple[datetime, list[str]]]:
        """When which of its values became what; of the first version those that moved later."""
        flat = [(at, dict(_flat(data))) for at, data in self.said]
        moved = [name for name in _names(flat) if len({repr(values.get(name)) for _, values in flat}) > 1]
        before: Mapping[str, Any] | None = None
        for at, values in flat:
            if before is None:
                told = [f"{name} {_text(values.get(name))}" for name in moved]
            else:
                told = [
                    f"{name} {_text(before.get(name))} → {_text(values.get(name))}"
                    for name in moved
                    if before.get(name) != values.get(name)
                ]
            yield at, told
            before = values


async def print_paths(connection: AsyncConnection, known: Datasets, name: str, keys: Sequence[str]) -> None:
    """Of these records of a dataset, and of all that stands under them."""
    for key in keys:
        paths = [path async for path in _under(connection, known, name, key)]
        typer.secho(f"\n{key}", bold=True)
        still = 0
        for path in paths:
            if len(path.said) < 2:
                still += path.key != key
                continue
            typer.echo(f"  {path.key.removeprefix(f'{key}/') if path.key != key else path.dataset}")
            for at, told in path.steps():
                typer.echo(f"    {at.astimezone(UTC):%Y-%m-%d %H:%M}  {' · '.join(told)}")
        if still:
            typer.echo(f"  {still} under it never moved")
        elif len(paths) == 1 and len(paths[0].said) < 2:
            typer.echo("  never moved")


async def _under(connection: AsyncConnection, known: Datasets, name: str, key: str) -> Any:
    from tidemill.converter.reading import Selection, read_rows

    for dataset in sorted(known, key=lambda other: (other != name, other)):
        rows = read_rows(connection, known[dataset], known.id(dataset), Selection(key=key, history=True))
        columns = [column.name for column in rows.columns]
        ours = "record_key" if "record_key" in columns else "key"
        since = "record_valid_from" if "record_valid_from" in columns else "valid_from"
        fields = list(known[dataset].model.model_fields)
        # Of a dataset that takes any fields, this column holds those that its model does not name.
        free = "data" in columns and "data" not in fields
        said: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = {}
        async for batch in rows.batches:
            for values in batch:
                row = dict(zip(columns, values, strict=True))
                unnamed = row["data"] if free and isinstance(row["data"], Mapping) else {}
                said.setdefault(row[ours], []).append((row[since], {**unnamed, **{name: row[name] for name in fields}}))
        for one, versions in said.items():
            yield Path(dataset, one, versions)


def _flat(value: Any, name: str = "") -> Iterator[Value]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def _names(flat: Sequence[tuple[datetime, Mapping[str, Any]]]) -> list[str]:
    return list(dict.fromkeys(name for _, values in flat for name in values))


def _text(value: Any) -> str:
    return "–" if value is None else str(value)
