"""Text, numbers, years and yes or no."""

import re
from decimal import Decimal

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json
from tidemill.extract.text import fold, tidy
from tidemill.extract.types.form import Form
from tidemill.extract.types.numbers import native, normal, notation_of, one_number, parse_number

_GROUP_SHAPED = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_YEAR = re.compile(r"(?<![0-9.,'])[12][0-9]{3}(?![0-9'])(?![.,][0-9])")
_SPAN = re.compile(r"\s?[-/]\s?[0-9][0-9](?![0-9])")
_SHORTENED = re.compile(r"(?:[kKM]|\s?(?i:mio|mrd))(?![^\W_])|[万億]")
_YES = frozenset("true yes y ja kyllä on oui si sì sí igen van tak ano 1 ✓ ✔ x".split())
_NO = frozenset("false no n nein ei non nem nincs nie ne nej 0 ✗ ✘ - –".split())


def parse_text(value: Json, _form: Form) -> str:
    """The tidy text. Numbers of JSON become their digits. Raises Unreadable for nothing but space, and for objects."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(native(value))
    if not isinstance(value, str):
        raise Unreadable("is no text")
    text = tidy(value)
    if not text:
        raise Unreadable("is empty")
    return text


def read_number(text: str, form: Form) -> Decimal:
    """A number without anything around it, as the form says."""
    text = normal(text)
    if form.from_program and _PLAIN.fullmatch(text) and not _could_be_grouped(text, form.locale):
        return Decimal(text)
    return parse_number(text, form.locale)


def _could_be_grouped(text: str, locale: str) -> bool:
    """`1.250` of a program in a place where the point groups."""
    if not _GROUP_SHAPED.fullmatch(text):
        return False
    if locale in ("auto", "plain"):
        return False
    notation = notation_of(locale)
    return notation.decimal == "," and notation.other_groups


def parse_decimal(value: Json, form: Form) -> Decimal:
    """The only number in a text: `54,5 kpl`. Raises Unreadable, also for `12k`, which is not 12."""
    number = native(value)
    if number is not None:
        return number
    if not isinstance(value, str):
        raise Unreadable("is no number")
    text = normal(value)
    printed = one_number(text)
    if short := _SHORTENED.match(text, printed.end()):
        raise Unreadable(f"{printed[0]}{short[0]} is shortened; choose the number with `match`")
    return read_number(printed[0], form)


def parse_integer(value: Json, form: Form) -> int:
    """Raises Unreadable for 2.5: nothing is cut off."""
    number = parse_decimal(value, form)
    if number != number.to_integral_value():
        raise Unreadable(f"{number} is no whole number")
    return int(number)


def parse_year(value: Json, form: Form) -> int:
    """The only year, 1000 to 2999, in a text."""
    number = native(value)
    if number is not None:
        value = str(parse_integer(value, form))
    if not isinstance(value, str):
        raise Unreadable("is no year")
    text = normal(value)
    found = list(_YEAR.finditer(text))
    years = list(dict.fromkeys(year[0] for year in found))
    if not years:
        raise Unreadable(f"{text[:60] or 'nothing'} has no year")
    if len(years) > 1 or _SPAN.match(text, found[0].end()):
        raise Unreadable(f"{text[:60]} has more than one year; choose one with `match`")
    return int(years[0])


def parse_boolean(value: Json, _form: Form) -> bool:
    """Yes or no in the languages of our pages; other words belong into `map`."""
    if isinstance(value, bool):
        return value
    word = fold(str(value)) if isinstance(value, (str, int)) else ""
    if word in _YES or word in _NO:
        return word in _YES
    raise Unreadable(f"{word[:60] or 'this'} is neither yes nor no; say with `map` which it is")
