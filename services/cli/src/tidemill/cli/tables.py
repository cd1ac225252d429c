"""Tables for people: one line a row, in the width there is; what has no room is left out and named."""

from __future__ import annotations

import json
import shutil
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

GAP = 2
LEAST = 18
"""A column with less room than this, where it needs more, says nothing."""
UNLIMITED = 100_000
NOTE_LETTERS = 100
"""A longer line is tiring."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    whole: bool = False
    """Never cut: somebody will copy it."""
    right: bool = False
    """Numbers stand below each other."""
    most: int = 40
    """A longer cell is cut, however much room there is."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A table as it is printed."""

    head: str
    lines: Sequence[str]
    left_out: Sequence[str]
    """Names of the columns for which there was no room."""


def width_here() -> int:
    """Of the terminal, or as COLUMNS says; a file or another program has room for everything."""
    return shutil.get_terminal_size((UNLIMITED, 24)).columns


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, important: Sequence[str] = ()) -> Fitted:
    """Columns stand in their order; the `important` ones, the first the most, and then those further left are chosen
    first, each with as much room as its cells can do with. What is left widens them in the same order."""
    rows = [[_line(cell) for cell in row] for row in rows]
    needs = [
        max([_width(column.name), *(min(_width(row[n]), UNLIMITED if column.whole else column.most) for row in rows)])
        for n, column in enumerate(columns)
    ]
    order = sorted(range(len(columns)), key=lambda n: _rank(columns[n].name, important))
    widths: dict[int, int] = {}
    room = width + GAP
    for n in order:
        least = needs[n] if columns[n].whole else min(needs[n], max(LEAST, _width(columns[n].name)))
        if widths and least + GAP > room:
            break
        widths[n] = least
        room -= least + GAP
    for n in [n for n in order if n in widths]:
        more = max(0, min(room, needs[n] - widths[n]))
        widths[n] += more
        room -= more
    chosen = sorted(widths)
    head = _joined([columns[n].name for n in chosen], [columns[n] for n in chosen], [widths[n] for n in chosen])
    lines = [
        _joined([row[n] for n in chosen], [columns[n] for n in chosen], [widths[n] for n in chosen]) for row in rows
    ]
    return Fitted(head, lines, [column.name for n, column in enumerate(columns) if n not in widths])


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    important: Sequence[str] = (),
    *,
    alarming: Collection[int] = (),
    notes: Sequence[str] = (),
) -> Sequence[str]:
    """Print it as wide as there is room, some rows in red, below each its note; returns the names of the columns that
    were left out."""
    import typer

    width = width_here()
    fitted = fit(columns, rows, width, important)
    typer.secho(fitted.head, bold=True)
    for number, line in enumerate(fitted.lines):
        typer.secho(line, fg="red" if number in alarming else None)
        if notes:
            for part in textwrap.wrap(_line(notes[number]), min(width, NOTE_LETTERS) - GAP):
                typer.echo(" " * GAP + part)
    return fitted.left_out


def cell(value: Any) -> str:
    """A value as people read it; times in UTC."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    if isinstance(value, dict) and not any(isinstance(each, dict | list) for each in value.values()):
        return ", ".join(f"{name} {cell(each)}" for name, each in value.items())
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float | Decimal) for value in values if value is not None)


def _rank(name: str, important: Sequence[str]) -> int:
    return important.index(name) if name in important else len(important)


def _line(text: str) -> str:
    """On one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _width(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)


def _joined(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    return (
        (" " * GAP)
        .join(_set(cell, width, right=column.right) for cell, column, width in zip(cells, columns, widths, strict=True))
        .rstrip()
    )


def _set(text: str, width: int, *, right: bool) -> str:
    from rich.cells import set_cell_size

    if _width(text) > width:
        return set_cell_size(set_cell_size(text, width - 1).rstrip() + "…", width)
    padding = " " * (width - _width(text))
    return padding + text if right else text + padding
