"""Numbers in six locales: what was written is read, and what could be two numbers is not."""

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.extract import Form, Unreadable, parse, parse_number
from tidemill.extract.types.numbers import NOTATIONS, known_locale

WRITTEN = {
    "fi": (("\u00a0", "\u202f", " "), ","),
    "de": ((".",), ","),
    "de-CH": (("’", "'"), "."),
    "fr": (("\u202f", "\u00a0"), ","),
    "en": ((",",), "."),
    "hu": (("\u00a0", " ", "."), ","),
}
LOCALES = st.sampled_from(sorted(WRITTEN))
NUMBERS = st.decimals(min_value=0, max_value=10**12, places=2, allow_nan=False, allow_infinity=False)


def written(number: Decimal, group: str, mark: str) -> str:
    whole, _, fraction = f"{number:,.2f}".partition(".")
    whole = whole.replace(",", group)
    return whole if fraction == "00" else f"{whole}{mark}{fraction}"


@given(NUMBERS, LOCALES, st.data())
def test_a_number_as_a_place_writes_it_is_read_as_it_was(number: Decimal, locale: str, data: st.DataObject) -> None:
    groups, mark = WRITTEN[locale]
    text = written(number, data.draw(st.sampled_from(groups)), mark)
    assert parse_number(text, locale) == number


@given(NUMBERS, LOCALES, st.data())
def test_without_a_locale_a_number_is_read_rightly_or_refused(
    number: Decimal, locale: str, data: st.DataObject
) -> None:
    groups, mark = WRITTEN[locale]
    try:
        read = parse_number(written(number, data.draw(st.sampled_from(groups)), mark))
    except Unreadable:
        return
    assert read == number


@given(NUMBERS, LOCALES, LOCALES, st.data())
def test_in_a_wrong_locale_two_decimals_are_never_read_as_thousands(
    number: Decimal, locale: str, other: str, data: st.DataObject
) -> None:
    groups, mark = WRITTEN[locale]
    try:
        read = parse_number(written(number, data.draw(st.sampled_from(groups)), mark), other)
    except Unreadable:
        return
    if number % 1:
        assert read == number


@given(NUMBERS, LOCALES, st.sampled_from(["{} €", "EUR {}", "ab {} €", "{}€/kk", "€ {}"]), st.data())
def test_an_amount_is_read_with_its_currency_wherever_that_stands(
    number: Decimal, locale: str, form: str, data: st.DataObject
) -> None:
    groups, mark = WRITTEN[locale]
    text = form.format(written(number, data.draw(st.sampled_from(groups)), mark))
    money = parse(text, "money", Form(locale=locale))
    assert (money.amount, money.currency) == (number, "EUR")


@given(st.decimals(min_value=0, max_value=99_999, places=1), LOCALES)
def test_a_size_is_read_in_square_metres(number: Decimal, locale: str) -> None:
    groups, mark = WRITTEN[locale]
    text = f"{number:,}".translate({ord(","): groups[0], ord("."): mark})
    assert parse(f"{text} m²", "area", Form(locale=locale)) == number


@pytest.mark.parametrize(
    ("text", "locale", "number"),
    [
        ("1’250’000.–", "de-CH", 1250000),
        ("1'200.-", "auto", 1200),
        ("250,-", "auto", 250),
        ("1.234,50", "auto", "1234.5"),
        ("1,234.50", "auto", "1234.5"),
        ("1.234.567", "auto", 1234567),
        ("1 234", "auto", 1234),
        ("12.5", "fi", "12.5"),
        ("12,5", "en", "12.5"),
        ("1.234", "de", 1234),
        ("1,234", "de", "1.234"),
        ("0.500", "de", "0.5"),
        ("0,500", "auto", "0.5"),
        ("1.234", "en", "1.234"),
        ("−12", "auto", -12),
        ("+12", "auto", 12),
        ("1234.5678", "auto", "1234.5678"),
        ("1e3", "plain", 1000),
    ],
)
def test_numbers_that_are_sure_are_read(text: str, locale: str, number: str | int) -> None:
    assert parse_number(text, locale) == Decimal(number)


@pytest.mark.parametrize(
    ("text", "locale", "reason"),
    [
        ("1.234", "auto", "could be 1234 or 1.234"),
        ("1,234", "auto", "could be"),
        ("1.234", "fi", "could be"),
        ("1,250", "de-CH", "could be"),
        ("1,234.50", "fi", "mixes its marks"),
        ("1.2,3.4", "auto", "mixes its marks"),
        ("1.234'5", "auto", "mixes its marks"),
        ("1'234,5'6", "auto", "mixes its marks"),
        ("12 34", "auto", "not grouped"),
        ("1.2.3", "auto", "not grouped"),
        ("1 234.567.890", "auto", "mixes"),
        ("1,5", "plain", "no plain number"),
        ("", "auto", "no number"),
        ("abc", "auto", "no number"),
        ("1" * 50, "auto", "too long"),
        ("1,5", "xx", "nobody here knows"),
    ],
)
def test_numbers_that_are_not_sure_are_refused_with_the_reason(text: str, locale: str, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        parse_number(text, locale)


@given(st.text("0123456789.,' ’-+ ", max_size=14), st.sampled_from(["auto", "plain", *sorted(NOTATIONS)]))
def test_any_digits_and_marks_are_a_number_or_refused(text: str, locale: str) -> None:
    with suppress(Unreadable):
        assert parse_number(text, locale).is_finite()


def test_a_locale_with_a_country_falls_back_to_its_language() -> None:
    assert parse_number("1.234,5", "de-AT") == Decimal("1234.5")
    assert known_locale("de-AT")
    assert not known_locale("xx")
    assert all(known_locale(locale) for locale in NOTATIONS)
