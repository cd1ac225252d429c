"""A table of a report: typed columns, and rows of plain JSON values."""

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, model_validator

Value = StrictStr | StrictInt | StrictFloat | None
"""As JSON has it: a day as 2025-06-17, a time as 2025-06-17T04:00:00Z; `None` is what nobody knows."""

ValueType = Literal["text", "integer", "decimal", "percent", "money", "date", "time", "duration", "bytes"]


class Part(BaseModel):
    """What every part of a report is: immutable, and of no other fields than those named here."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ColumnOf(Part):
    """What stands in a column of a table."""

    name: str
    """For programs: the head of the CSV file."""
    title: str
    """For people."""
    type: ValueType = "text"
    """`percent` is a fraction (0.25 is 25 %), `time` a moment with its zone, `duration` seconds, `bytes` a number of
    bytes, `money` an amount in `unit`."""
    unit: str = ""
    """As it is printed behind a figure, for instance `EUR` or `EUR/m²`."""


class Table(Part):
    """Rows under typed columns. A value that does not suit its column is an error where the table is made, not where it
    is shown; numbers, days and times of Python are taken, and kept as JSON has them."""

    title: str
    note: str = ""
    """A sentence that a reader needs to understand the figures."""
    columns: tuple[ColumnOf, ...] = Field(min_length=1)
    rows: tuple[tuple[Value, ...], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, given: Any) -> Any:
        if not isinstance(given, Mapping) or "rows" not in given:
            return given
        columns = [ColumnOf.model_validate(column) for column in given.get("columns", ())]
        return {**given, "columns": columns, "rows": [_plain_row(columns, row) for row in given["rows"]]}


def plain(value: Any, type: ValueType) -> Value:
    """The value as JSON has it. Raises `ValueError` for what is no value of this type."""
    if value is None:
        return None
    try:
        return PLAIN[type](value)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        raise ValueError(f"{value!r} is no {type}") from None


def _plain_row(columns: list[ColumnOf], row: Any) -> tuple[Value, ...]:
    if len(row) != len(columns):
        raise ValueError(f"a row of {len(row)} values under {len(columns)} columns: {row!r}")
    return tuple(plain(value, column.type) for value, column in zip(row, columns, strict=True))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return str(value)
    raise TypeError


def _integer(value: Any) -> int:
    number = int(value)
    if isinstance(value, (bool, str)) or number != value:
        raise TypeError
    return number


def _number(value: Any) -> float:
    """Always a float, and never -0.0: 3 and Decimal("3.00") are one value, and give one report."""
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float, Decimal)) or not math.isfinite(value):
        raise TypeError
    return float(value) + 0.0


def _seconds(value: Any) -> float:
    return _number(value.total_seconds() if isinstance(value, timedelta) else value)


def _day(value: Any) -> str:
    if isinstance(value, datetime):
        raise TypeError
    return (date.fromisoformat(value) if isinstance(value, str) else value).isoformat()


def _moment(value: Any) -> str:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if moment.tzinfo is None:
        raise ValueError
    return str(moment.astimezone(UTC).isoformat()).replace("+00:00", "Z")


PLAIN: Mapping[ValueType, Callable[[Any], Value]] = {
    "text": _text,
    "integer": _integer,
    "decimal": _number,
    "percent": _number,
    "money": _number,
    "date": _day,
    "time": _moment,
    "duration": _seconds,
    "bytes": _integer,
}
