"""Days, as they are printed in a few languages."""

import re
from collections.abc import Mapping
from datetime import date

from tidemill.extract.errors import Unreadable
from tidemill.extract.model import Json
from tidemill.extract.types.form import Form
from tidemill.extract.types.numbers import normal

_NAMES = {
    "fi": "tammi helmi maalis huhti touko kesä heinä elo syys loka marras joulu",
    "sv": "januari februari mars april maj juni juli augusti september oktober november december",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "en": "january february march april may june july august september october november december",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "hu": "január február március április május június július augusztus szeptember október november december",
}
_SHORT = {
    "sv": "jan feb mar apr maj jun jul aug sep okt nov dec",
    "de": "jan feb mrz apr mai jun jul aug sep okt nov dez",
    "en": "jan feb mar apr may jun jul aug sept oct nov dec",
    "fr": "janv févr mars avr mai juin juil août sept oct nov déc",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "hu": "jan feb márc ápr máj jún júl aug szept okt nov dec",
}


def _months() -> Mapping[str, int]:
    """No word means another month in another of these languages."""
    found = {"jänner": 1, "feber": 2, "sep": 9}
    for names in (*_NAMES.values(), *_SHORT.values()):
        for number, name in enumerate(names.split(), 1):
            assert found.setdefault(name, number) == number
    for number, name in enumerate(_NAMES["fi"].split(), 1):
        found |= {f"{name}kuu": number, f"{name}kuuta": number, f"{name}kuun": number}
    return found


MONTHS = _months()
_ISO = re.compile(
    r"(?<![0-9])([0-9]{4})-([0-9]{2})-([0-9]{2})(?![0-9])"
    r"(?:[T ][0-9]{2}:[0-9]{2}[0-9:.,]*(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_EAST_ASIAN = re.compile(r"(?<![0-9])([0-9]{4}) ?[年년] ?([0-9]{1,2}) ?[月월] ?([0-9]{1,2}) ?[日일]")
_COMPACT = re.compile(r"([0-9]{4})([0-9][0-9])([0-9][0-9])")
_DIGITS = re.compile(r"(?<![0-9.])([0-9]{1,4})(\. ?|/|-)([0-9]{1,2})(\. ?|/|-)([0-9]{4}|[0-9]{1,2})(?![0-9])")
_WORD = r"([^\W\d_]{3,15})"
_DAY_FIRST = re.compile(
    rf"(?<![0-9])([0-9]{{1,2}})(?:\.|st|nd|rd|th|er|°|º)?(?: de| of)? {_WORD}\.?,? ([0-9]{{4}})(?![0-9])"
)
_MONTH_FIRST = re.compile(rf"{_WORD}\.? ([0-9]{{1,2}})(?:st|nd|rd|th)?,? ([0-9]{{4}})(?![0-9])")
_YEAR_FIRST = re.compile(rf"(?<![0-9])([0-9]{{4}})\.? {_WORD}\.? ([0-9]{{1,2}})(?![0-9])")
_MONTH_FIRST_COUNTRIES = ("US",)


def parse_date(value: Json, form: Form) -> date:
    """`2026-11-22`, `22.11.2026`, `22 novembre 2026`, `2026. november 22.`, `2026年11月22日`. Raises Unreadable, also
    for `3/4/2026` where neither `order` nor the country of the locale says which is the day.

    Of a time with its zone it is the day as printed. Years of two digits are 1970 to 2069, where the order is sure.
    """
    if not isinstance(value, str):
        raise Unreadable("is no text with a date")
    text = normal(value)
    if found := _COMPACT.fullmatch(text):
        return _day(found[1], found[2], found[3], text)
    days = {_day(found[1], found[2], found[3], text) for found in _ISO.finditer(text)}
    days |= {_day(found[1], found[2], found[3], text) for found in _EAST_ASIAN.finditer(text)}
    rest = _ISO.sub(" ", text)
    days |= {_of_digits(found, form, text) for found in _DIGITS.finditer(rest)}
    days |= _named(rest, text)
    if len(days) != 1:
        raise Unreadable(f"{text[:60] or 'nothing'} has {len(days) or 'no'} date{'s' if days else ''}")
    return days.pop()


def _of_digits(found: "re.Match[str]", form: Form, text: str) -> date:
    one, mark, month, second, last = found.groups()
    if mark.strip() != second.strip():
        raise Unreadable(f"{found[0]} mixes its marks")
    if len(one) == 4:
        if len(last) > 2:
            raise Unreadable(f"{found[0]} is no date")
        return _day(one, month, last, text)
    if len(one) == 3:
        raise Unreadable(f"{found[0]} is no date")
    order = form.order or _order(mark.strip(), one, month, form)
    if order is None or (len(last) == 2 and form.order is None and form.locale in ("auto", "plain")):
        raise Unreadable(f"{found[0]} could be several days; write `order: dmy`, `mdy` or `ymd`")
    if order == "ymd":
        if len(last) == 4:
            raise Unreadable(f"{found[0]} does not begin with the year")
        return _day(_century(one), month, last, text)
    return _day(_century(last), *((one, month) if order == "mdy" else (month, one)), text)


def _order(mark: str, one: str, other: str, form: Form) -> str | None:
    """Points are written only where the day comes first; for the other marks the country decides, or the numbers do."""
    if mark == ".":
        return "dmy"
    language, _, country = form.locale.partition("-")
    if country in _MONTH_FIRST_COUNTRIES:
        return "mdy"
    if country or language not in ("en", "auto", "plain"):
        return "dmy"
    if int(one) > 12:
        return "dmy"
    if int(other) > 12:
        return "mdy"
    return "dmy" if int(one) == int(other) else None


def _named(rest: str, text: str) -> set[date]:
    found = set()
    for pattern, places in ((_DAY_FIRST, (3, 2, 1)), (_MONTH_FIRST, (3, 1, 2)), (_YEAR_FIRST, (1, 2, 3))):
        for match in pattern.finditer(rest):
            year, name, day = (match[place] for place in places)
            month = MONTHS.get(name.lower())
            if month is not None:
                found.add(_day(year, str(month), day, text))
        if found:
            break
    return found


def _century(year: str) -> str:
    if len(year) == 4:
        return year
    return f"{2000 + int(year) if int(year) < 70 else 1900 + int(year)}"


def _day(year: str, month: str, day: str, text: str) -> date:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        raise Unreadable(f"{text[:60]} is a day that does not exist") from None
