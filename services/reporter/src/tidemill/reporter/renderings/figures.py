"""Figures as people read them: the same in every form that is read and not computed with."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

from tidemill.reporter.renderings.visible import visible
from tidemill.reporter.table import Value, ValueType

UNKNOWN = "–"
NUMERIC: frozenset[ValueType] = frozenset({"integer", "decimal", "percent", "money", "duration", "bytes"})


def figure(value: Value, type: ValueType, unit: str = "", zone: str = "UTC") -> str:
    """`1,234`, `95.3 %`, `1,234.50 EUR`, `2 h 05 min`, `1.2 MB`, `2025-06-17 06:00`; – for what nobody knows."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return _moment(value, zone) if type == "time" else visible(value)
    shown = FIGURES[type](value)
    return f"{shown} {visible(unit)}" if unit and type in {"integer", "decimal", "money"} else shown


def day_in_words(day: date) -> str:
    """`Tuesday, 17 June 2025`: of English words whatever the locale."""
    return f"{WEEKDAYS[day.weekday()]}, {day.day} {MONTHS[day.month - 1]} {day.year}"


WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()


def counted(count: int, one: str, several: str = "") -> str:
    """`1 source`, `2 sources`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def _moment(value: str, zone: str) -> str:
    return datetime.fromisoformat(value).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def _integer(value: float) -> str:
    """A mean of integers has a decimal."""
    return f"{value:,.1f}".removesuffix(".0")


def _decimal(value: float) -> str:
    if 0 < abs(value) < 0.001:
        return f"{value:.2g}"
    decimals = 3 if abs(value) < 100 else 2 if abs(value) < 1000 else 1
    return f"{value:,.{decimals}f}".rstrip("0").rstrip(".")


def _percent(value: float) -> str:
    return f"{_decimal(round(value * 100, 1) + 0.0)} %"


def _money(value: float) -> str:
    return f"{value:,.2f}".removesuffix(".00")


def _duration(value: float) -> str:
    seconds = round(abs(value))
    sign = "-" if value < 0 else ""
    if abs(value) < 59.5:
        return f"{value:.3g} s"
    if seconds < 3600:
        return f"{sign}{seconds // 60} min {seconds % 60:02} s"
    if seconds < 2 * 86400:
        return f"{sign}{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{sign}{seconds // 86400} d {seconds % 86400 // 3600} h"


def _bytes(value: float) -> str:
    size = float(value)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 999.5 or unit == "TB":
            return f"{size:.3g} {unit}" if abs(size) < 999.5 else f"{size:,.0f} {unit}"
        size /= 1000
    raise AssertionError


FIGURES: Mapping[ValueType, Callable[[float], str]] = {
    "integer": _integer,
    "decimal": _decimal,
    "percent": _percent,
    "money": _money,
    "duration": _duration,
    "bytes": _bytes,
}
