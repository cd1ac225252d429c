"""Sizes in square metres, and counts of rooms."""

import re
from collections.abc import Mapping
from decimal import Decimal

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json
from tidemill.extract.types.form import Form
from tidemill.extract.types.numbers import native, normal, one_number
from tidemill.extract.types.plain import read_number

SQUARE_METRES: Mapping[str, Decimal] = {
    "m2": Decimal(1),
    "sqft": Decimal("0.09290304"),
    "a": Decimal(100),
    "ha": Decimal(10_000),
    "km2": Decimal(1_000_000),
    "acre": Decimal("4046.8564224"),
}
_UNITS: Mapping[str, str] = {
    **dict.fromkeys(("m²", "m2", "m^2", "qm", "sqm", "sq m", "sq. m", "neliötä", "nm", "m 2", "mq", "kvm"), "m2"),
    **dict.fromkeys(("sqft", "sq ft", "sq.ft.", "sq. ft.", "sq.ft", "sq. ft", "ft²", "ft2", "square feet"), "sqft"),
    **dict.fromkeys(("a", "ar", "are", "aaria"), "a"),
    **dict.fromkeys(("ha", "hehtaaria", "hektar", "hectares", "hectare", "hektár"), "ha"),
    **dict.fromkeys(("km²", "km2"), "km2"),
    **dict.fromkeys(("acre", "acres", "ac"), "acre"),
}
_UNIT = re.compile(
    r"\s?-?\s?(" + "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True)) + r")(?![^\W_])",
    re.IGNORECASE,
)
_HALVES = str.maketrans({"½": " 1/2", "¼": " 1/4", "¾": " 3/4"})
_FRACTION = re.compile(r"(?:(?<![0-9.,])([0-9]{1,2})[ \-]?)?\b([13])/([24])(?![0-9])")
_FINNISH = re.compile(r"([0-9]{1,2}(?:[.,]5)?)(?:-[0-9])? ?h(?=[\s+,/]|$)", re.IGNORECASE)
_CZECH = re.compile(r"([0-9])\s?\+\s?(?:kk|1)(?![0-9])", re.IGNORECASE)
_FRENCH = re.compile(r"[TF]([1-9])")
_HUNGARIAN = re.compile(r"([0-9]{1,2}) ?(?:szoba)? ?\+ ?([0-9]) ?(?:fél|félszoba|fél szoba)", re.IGNORECASE)
_BEDROOMS = re.compile(r"\bbed|bedroom|makuuh|schlafzi|chambre|hálószoba|camere da letto", re.IGNORECASE)


def parse_area(value: Json, form: Form) -> Decimal:
    """Square metres of `54,5 m²`, `1,200 sq ft`, `5,2 a`, `1 ha`. Raises Unreadable, also without a unit."""
    number = native(value)
    if number is not None:
        return _metres(number, form.unit, str(number))
    if not isinstance(value, str):
        raise Unreadable("is no size")
    text = normal(value)
    printed = one_number(text)
    unit = _UNIT.match(text, printed.end())
    key = _UNITS[unit[1].lower()] if unit else None
    if unit is None and re.match(r"\s?[^\W\d_]", text[printed.end() :]):
        raise Unreadable(f"{text[:60]} has no unit of size that is known here")
    return _metres(read_number(printed[0], form), key or form.unit, text)


def _metres(number: Decimal, unit: str | None, text: str) -> Decimal:
    if unit is None:
        raise Unreadable(f"{text[:60]} has no unit; write `unit: m2`")
    if number < 0:
        raise Unreadable(f"{text[:60]} is less than nothing")
    return number * SQUARE_METRES[unit]


def parse_rooms(value: Json, _form: Form) -> Decimal:
    """`3½`, `3.5`, `2h+kk`, `4 Zimmer`, `T3`, `2 + 1 fél szoba` as a number of rooms, in halves. Raises Unreadable."""
    number = native(value)
    if number is None:
        if not isinstance(value, str):
            raise Unreadable("is no number of rooms")
        number = _rooms(normal(value.translate(_HALVES)))
    if not 0 < number <= 100 or (number * 4) % 1:
        raise Unreadable(f"{number} is no number of rooms")
    return number


def _rooms(text: str) -> Decimal:
    if found := _FINNISH.match(text):
        if "-" in found[0]:
            raise Unreadable(f"{text[:60]} is a span")
        return Decimal(found[1].replace(",", "."))
    if found := _HUNGARIAN.match(text):
        return Decimal(found[1]) + Decimal(found[2]) / 2
    if found := _CZECH.match(text) or _FRENCH.fullmatch(text):
        return Decimal(found[1])
    if _BEDROOMS.search(text):
        raise Unreadable(f"{text[:60]} counts bedrooms, not rooms; read it as `integer`")
    fraction = _FRACTION.search(text)
    if fraction is not None:
        rest = normal(text[: fraction.start()] + " " + text[fraction.end() :])
        if re.search(r"[0-9]", rest):
            raise Unreadable(f"{text[:60]} has more than one number")
        return Decimal(fraction[1] or 0) + Decimal(fraction[2]) / Decimal(fraction[3])
    digits = one_number(text)[0]
    if not re.fullmatch(r"[0-9]{1,2}(?:[.,][0-9]{1,2})?", digits):
        raise Unreadable(f"{digits} is no number of rooms")
    return Decimal(digits.replace(",", "."))
