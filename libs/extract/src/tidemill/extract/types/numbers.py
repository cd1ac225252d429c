"""Numbers as people of a place write them. What could be two numbers is refused."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json

LONGEST = 40
"""Characters of a number; longer ones are no prices or sizes."""


@dataclass(frozen=True, slots=True)
class Notation:
    """Which of the two marks is decimal, and whether the other one groups thousands, too. Spaces and apostrophes group
    everywhere: they can mean nothing else."""

    decimal: Literal[",", "."]
    other_groups: bool


_COMMA_POINT = Notation(",", True)
_COMMA = Notation(",", False)
_POINT_COMMA = Notation(".", True)
_POINT = Notation(".", False)

NOTATIONS: Mapping[str, Notation] = {
    **dict.fromkeys(("de", "it", "es", "nl", "pt", "da", "el", "hr", "hu", "is", "ro", "sl", "tr"), _COMMA_POINT),
    **dict.fromkeys(("fi", "sv", "nb", "nn", "no", "fr", "cs", "sk", "pl", "et", "lv", "lt", "bg", "uk"), _COMMA),
    **dict.fromkeys(("en", "ga", "he", "ja", "ko", "th", "zh"), _POINT_COMMA),
    **dict.fromkeys(("de-CH", "fr-CH", "it-CH", "rm", "de-LI"), _POINT),
}
"""By language, or language and country."""

_FULL_WIDTH = {0xFF00 + code: 0x20 + code for code in range(1, 95)} | {ord("￥"): "¥", ord("￡"): "£"}
_SAME_MARKS = str.maketrans(_FULL_WIDTH | dict.fromkeys(map(ord, "’‘ʼ′´`"), "'") | dict.fromkeys(map(ord, "−‒–—"), "-"))
_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_SHAPE = re.compile(r"([+-]?)\s?([0-9](?:[0-9.,' ]*[0-9])?)")
_IN_TEXT = re.compile(
    r"(?<![^\W\d_])(?:(?<![0-9'.,)] )(?<![0-9])[+-]\s?)?(?:(?<![^\W_])[.,])?[0-9](?:[0-9.,' ]*[0-9])?"
)
_DASH_END = re.compile(r"(?<=[0-9])[.,]\s?-{1,2}(?![0-9])")


def normal(text: str) -> str:
    """One kind of apostrophe, dash, space and width (`１２`); the dash that stands for no cents (`1'200.–`) is gone."""
    return _DASH_END.sub("", " ".join(text.translate(_SAME_MARKS).split()))


def notation_of(locale: str) -> Notation:
    """Of a locale such as `fi` or `de-CH`. Raises Unreadable for an unknown one."""
    found = NOTATIONS.get(locale) or NOTATIONS.get(locale.partition("-")[0])
    if found is None:
        raise Unreadable(f"nobody here knows how numbers are written in {locale}")
    return found


def known_locale(locale: str) -> bool:
    return locale in ("auto", "plain") or locale in NOTATIONS or locale.partition("-")[0] in NOTATIONS


def parse_number(text: str, locale: str = "auto") -> Decimal:
    """`1’250’000`, `1 234,50`, `1.234,50` as a number. Raises Unreadable with the reason.

    `auto` takes what has one meaning everywhere and refuses `1.234`; `plain` is how programs write: `1234.5`.
    """
    text = normal(text)
    if len(text) > LONGEST:
        raise Unreadable(f"{text[:LONGEST]}… is too long for a number")
    if locale == "plain":
        if not _PLAIN.fullmatch(text):
            raise Unreadable(f"{text or 'nothing'} is no plain number such as 1234.5")
        return Decimal(text)
    shape = _SHAPE.fullmatch(text)
    if shape is None:
        raise Unreadable(f"{text or 'nothing'} is no number")
    sign, digits = shape.groups()
    whole, fraction = _split(digits, None if locale == "auto" else notation_of(locale), text)
    return Decimal(f"{sign}{whole}.{fraction or '0'}") if fraction else Decimal(f"{sign}{whole}")


def _split(digits: str, notation: Notation | None, text: str) -> tuple[str, str]:
    """Whole part and fraction."""
    marks = [char for char in digits if not char.isdigit()]
    kinds = list(dict.fromkeys(marks))
    if not marks:
        return digits, ""
    last = kinds[-1]
    if len(kinds) > 1:
        if len(kinds) > 2 or last not in ".," or marks.count(last) > 1 or _contradicts(notation, kinds):
            raise Unreadable(f"{text} mixes its marks")
        whole, _, fraction = digits.partition(last)
        if not fraction.isdigit():
            raise Unreadable(f"{text} mixes its marks")
        return _ungrouped(whole, kinds[0], text), fraction
    if last not in ".," or len(marks) > 1:
        return _ungrouped(digits, last, text), ""
    whole, _, fraction = digits.partition(last)
    # What does not group by thousands can only be a decimal mark.
    if (notation is not None and last == notation.decimal) or not _is_grouped(digits, last):
        return whole, fraction
    if notation is not None and notation.other_groups:
        return whole + fraction, ""
    raise Unreadable(f"{text} could be {whole}{fraction} or {whole}.{fraction}; give the locale in which it is written")


def _contradicts(notation: Notation | None, kinds: list[str]) -> bool:
    """`1,234.50` where the comma is decimal: a number of another place, so nothing is sure."""
    return notation is not None and kinds[0] == notation.decimal


def _ungrouped(digits: str, mark: str, text: str) -> str:
    if not _is_grouped(digits, mark):
        raise Unreadable(f"{text} is not grouped by thousands")
    return digits.replace(mark, "")


def _is_grouped(digits: str, mark: str) -> bool:
    first, *others = digits.split(mark)
    return 1 <= len(first) <= 3 and not first.startswith("0") and all(len(group) == 3 for group in others)


def numbers_in(text: str) -> list["re.Match[str]"]:
    """The numbers in a `normal` text. Digits after a letter (`m2`) belong to the word."""
    return list(_IN_TEXT.finditer(text))


def one_number(text: str) -> "re.Match[str]":
    """The only number of a `normal` text. Raises Unreadable."""
    found = numbers_in(text)
    if not found:
        raise Unreadable(f"{_short(text)} has no number")
    if len(found) > 1:
        listed = ", ".join(number[0] for number in found[:4])
        raise Unreadable(f"{_short(text)} has {len(found)} numbers ({listed}); choose one with `match`")
    return found[0]


def native(value: Json) -> Decimal | None:
    """A number of JSON; None for anything else. Raises Unreadable for infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return None
    if isinstance(value, int) and value.bit_length() > 200:
        raise Unreadable("the number is too long")
    number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not number.is_finite() or abs(number.adjusted()) > LONGEST:
        raise Unreadable(f"{value} is no number that is kept")
    return number


def _short(text: str) -> str:
    return (text if len(text) <= 60 else f"{text[:59]}…") or "nothing"
