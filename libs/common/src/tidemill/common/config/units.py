"""Lengths of time and amounts of bytes, written with their unit."""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1, "ms": 0.001}
_DURATION = re.compile(rf"({_NUMBER})\s*(ms|s|m|h|d)")
DURATION_FORM = "a number and its unit: 500ms, 2s, 5m, 1h or 7d"

_BYTES: dict[str, int] = {
    "B": 1,
    **{f"{p}B": 1000**n for n, p in enumerate("KMGT", 1)},
    **{f"{p}iB": 1024**n for n, p in enumerate("KMGT", 1)},
}
_SIZE = re.compile(rf"({_NUMBER})\s*({'|'.join(_BYTES)})", re.IGNORECASE)
_UNIT: dict[str, int] = {unit.lower(): size for unit, size in _BYTES.items()}
SIZE_FORM = "a number and its unit: 512B, 64KB, 512MB, 2GB (1000s) or 1GiB (1024s)"


def parse_duration(text: str) -> timedelta:
    """The length of time of `2s` or `1.5h`; ValueError names the form."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a length of time; write {DURATION_FORM}")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than time itself") from None


def duration_text(value: timedelta) -> str:
    """The shortest whole form: `90s`, `5m`, `7d`."""
    milliseconds = round(value / timedelta(milliseconds=1))
    if milliseconds == 0:
        return "0s"
    unit = next(unit for unit, seconds in _SECONDS.items() if milliseconds % round(seconds * 1000) == 0)
    return f"{milliseconds // round(_SECONDS[unit] * 1000)}{unit}"


def parse_size(text: str) -> int:
    """The bytes of `64KB` (64,000) or `1GiB` (1,073,741,824); ValueError names the form."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount of bytes; write {SIZE_FORM}")
    return round(Decimal(match[1]) * _UNIT[match[2].lower()])


def size_text(value: int) -> str:
    """The shortest whole form: `200MB`, `1GiB`, `1234B`."""
    if value == 0:
        return "0B"
    largest_first = sorted(_BYTES.items(), key=lambda unit: -unit[1])
    return next(f"{value // size}{unit}" for unit, size in largest_first if value % size == 0)


def _before(parse: Callable[[str], Any], form: str) -> BeforeValidator:
    def read(value: object) -> object:
        if isinstance(value, str):
            return parse(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            raise ValueError(f"{value} has no unit; write {form}")
        return value

    return BeforeValidator(read)


Duration = Annotated[
    timedelta,
    _before(parse_duration, DURATION_FORM),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "tidemill-duration", "pattern": f"^{_NUMBER} *(ms|s|m|h|d)$"}),
]
"""A setting that is a length of time; a bare number is refused."""

ByteSize = Annotated[
    int,
    _before(parse_size, SIZE_FORM),
    PlainSerializer(size_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "tidemill-size", "pattern": f"^{_NUMBER} *([KMGTkmgt]?[iI]?[Bb])$"}),
]
"""A setting that is an amount of bytes; a bare number is refused."""
