"""Texts and JSON values into typed ones. What is not sure is refused with a reason, never guessed."""

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Literal

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json
from tidemill.extract.types.dates import parse_date
from tidemill.extract.types.form import Form
from tidemill.extract.types.measures import SQUARE_METRES, parse_area, parse_rooms
from tidemill.extract.types.money import CODES, Money, parse_money
from tidemill.extract.types.numbers import known_locale, parse_number
from tidemill.extract.types.places import Coordinates, parse_coordinates
from tidemill.extract.types.plain import parse_boolean, parse_decimal, parse_integer, parse_text, parse_year

Kind = Literal["text", "integer", "decimal", "money", "area", "rooms", "year", "date", "coordinates", "boolean", "json"]
Single = str | int | Decimal | Money | date | Coordinates | bool | Json
"""By kind: text is str; integer and year are int; decimal, area (m²) and rooms are Decimal; json is as it was found."""


def _as_it_is(value: Json, _form: Form) -> Json:
    return value


_PARSERS: Mapping[str, Callable[[Json, Form], Single]] = {
    "text": parse_text,
    "integer": parse_integer,
    "decimal": parse_decimal,
    "money": parse_money,
    "area": parse_area,
    "rooms": parse_rooms,
    "year": parse_year,
    "date": parse_date,
    "coordinates": parse_coordinates,
    "boolean": parse_boolean,
    "json": _as_it_is,
}


def parse(value: Json, kind: Kind, form: Form) -> Single:
    """The value of this kind in a text or a JSON value. Raises Unreadable with the reason."""
    return _PARSERS[kind](value, form)


__all__ = [
    "CODES",
    "SQUARE_METRES",
    "Coordinates",
    "Form",
    "Kind",
    "Money",
    "Single",
    "Unreadable",
    "known_locale",
    "parse",
    "parse_number",
]
