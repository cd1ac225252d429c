"""Amounts with their currency."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json
from tidemill.extract.types.form import Form
from tidemill.extract.types.numbers import native, normal, one_number
from tidemill.extract.types.plain import read_number


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in whole units of its currency (ISO 4217)."""

    amount: Decimal
    currency: str


CODES = frozenset(
    (
        "EUR CHF USD GBP HUF SEK NOK DKK ISK CZK PLN RON BGN RSD TRY UAH CAD AUD NZD JPY CNY INR HKD SGD ZAR BRL MXN "
        "ILS AED"
    ).split()
)
_SIGNS: Mapping[str, str] = {
    "€": "EUR",
    "euro": "EUR",
    "euroa": "EUR",
    "euros": "EUR",
    "sfr.": "CHF",
    "sfr": "CHF",
    "fr.": "CHF",
    "fr": "CHF",
    "franken": "CHF",
    "£": "GBP",
    "ft": "HUF",
    "ft.": "HUF",
    "forint": "HUF",
    "kč": "CZK",
    "zł": "PLN",
    "us$": "USD",
    "ca$": "CAD",
    "c$": "CAD",
    "au$": "AUD",
    "a$": "AUD",
    "nz$": "NZD",
    "₺": "TRY",
    "₴": "UAH",
    "₪": "ILS",
    "₹": "INR",
    "円": "JPY",
}
_SHARED: Mapping[str, Mapping[str, str]] = {
    "$": {"US": "USD", "CA": "CAD", "AU": "AUD", "NZ": "NZD", "HK": "HKD", "SG": "SGD", "MX": "MXN"},
    "kr": {"sv": "SEK", "SE": "SEK", "nb": "NOK", "nn": "NOK", "no": "NOK", "da": "DKK", "is": "ISK", "FI": "SEK"},
    "¥": {"ja": "JPY", "JP": "JPY", "zh": "CNY", "CN": "CNY"},
}
"""Signs of several currencies, told apart by language or country of the locale."""
_SAME = {"kr.": "kr", ":-": "kr"}

_KNOWN = {code.lower() for code in CODES} | _SIGNS.keys() | _SHARED.keys() | _SAME.keys()
# No space stands before 円, so that it is a word of its own within 万円.
_WORD = re.compile(r"[^\W\d_]{1,2}\$|[^\W\d_円]+\.?|:-|[€£¥$₺₴₪₹円]")


def _signs(text: str) -> list["re.Match[str]"]:
    """What of a text is a currency: whole words (`kr` is none within `krs`), and signs wherever they stand (`k€`)."""
    return [word for word in _WORD.finditer(text) if _known(word[0]) is not None]


def _known(word: str) -> str | None:
    """The word as the tables have it."""
    word = word.lower()
    return next((each for each in (word, word.rstrip(".")) if each in _KNOWN), None)


_TIMES: Mapping[str, int] = {
    **dict.fromkeys(("k", "t", "tsd", "tuhat", "ezer", "e"), 1_000),
    **dict.fromkeys(
        ("m", "mio", "mill", "million", "millions", "millionen", "millió", "milj", "miljoonaa", "mn"), 10**6
    ),
    **dict.fromkeys(("mrd", "milliard", "milliards", "milliarden", "milliárd", "bn"), 10**9),
    "万": 10_000,
    "億": 10**8,
}
_SIGN = "¤"
_FACTOR = re.compile(rf"\s?([^\W\d_]+)\.?(?:\s?({_SIGN})|(?=[\s/]|$))")


def parse_money(value: Json, form: Form) -> Money:
    """`295 000 €`, `CHF 1’250’000.–`, `ab 1'200.-`, `45,9 M Ft`. Raises Unreadable, also where it is not sure in which
    currency."""
    number = native(value)
    if number is not None:
        if form.currency is None:
            raise Unreadable(f"{number} has no currency; write `currency`")
        return Money(number, form.currency)
    if not isinstance(value, str):
        raise Unreadable("is no text with an amount")
    text = normal(value)
    found = _signs(text)
    currencies = list(dict.fromkeys(_currency(sign[0], form) for sign in found))
    if len(currencies) > 1:
        raise Unreadable(f"{text[:60]} has two currencies ({', '.join(currencies)})")
    # What stands in place of a sign keeps the numbers around it apart.
    bare = text
    for sign in found:
        bare = f"{bare[: sign.start()]}{_SIGN * len(sign[0])}{bare[sign.end() :]}"
    printed = one_number(bare)
    currency = currencies[0] if currencies else form.currency
    if currency is None:
        raise Unreadable(f"{text[:60]} has no currency; write `currency`")
    return Money(read_number(printed[0], form) * _times(bare[printed.end() :]), currency)


def _currency(sign: str, form: Form) -> str:
    sign = _known(sign) or sign
    if sign.upper() in CODES:
        return sign.upper()
    sign = _SAME.get(sign, sign)
    if sign in _SIGNS:
        return _SIGNS[sign]
    shared = _SHARED[sign]
    if form.currency in shared.values():
        return str(form.currency)
    language, _, country = form.locale.partition("-")
    found = shared.get(country) or shared.get(language)
    if found is None:
        raise Unreadable(f"{sign} could be {' or '.join(dict.fromkeys(shared.values()))}; write `currency`")
    return found


def _times(after: str) -> int:
    """What the word right after the number multiplies it by."""
    word = _FACTOR.match(after)
    if word is None:
        return 1
    known = _TIMES.get(word[1].lower())
    if known is not None and (word[2] or len(word[1]) > 1 or word[1] in ("M", "k", "万", "億")):
        return known
    if known is not None or word[2]:
        raise Unreadable(f"nobody here knows how many {word[1]} are")
    return 1
