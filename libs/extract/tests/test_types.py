"""Texts of pages to values, and why some of them are none."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.extract import Coordinates, Form, Money, Unreadable, parse
from tidemill.extract.types import Kind
from tidemill.extract.types.dates import _NAMES


def read(text: object, kind: Kind, **form: object) -> object:
    return parse(text, kind, Form(**form))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "form", "amount", "currency"),
    [
        ("295 000 €", {}, 295000, "EUR"),
        ("CHF 1’250’000.–", {"locale": "de-CH"}, 1250000, "CHF"),
        ("ab 1'200.-", {"currency": "CHF"}, 1200, "CHF"),
        ("SFr. 412.50", {"locale": "de-CH"}, "412.5", "CHF"),
        ("45,9 M Ft", {"locale": "hu"}, 45900000, "HUF"),
        ("45 900 000 Ft", {}, 45900000, "HUF"),
        ("45.900.000 HUF", {}, 45900000, "HUF"),
        ("12 millió Ft", {}, 12000000, "HUF"),
        ("1.25 Mio. CHF", {"locale": "de-CH"}, 1250000, "CHF"),
        ("250 k€", {}, 250000, "EUR"),
        ("250 t€", {}, 250000, "EUR"),
        ("250 e Ft", {}, 250000, "HUF"),
        ("CHF 250 pro Monat", {}, 250, "CHF"),
        ("CHF250", {}, 250, "CHF"),
        ("1 200 000 EUR (Euro)", {}, 1200000, "EUR"),
        ("8 400 kr/mån", {"locale": "sv"}, 8400, "SEK"),
        ("8 400 kr.", {"locale": "da"}, 8400, "DKK"),
        ("8 400 kr", {"currency": "NOK"}, 8400, "NOK"),
        ("$1,200,000", {"locale": "en-US"}, 1200000, "USD"),
        ("C$ 900", {}, 900, "CAD"),
        ("£425,000", {"locale": "en-GB"}, 425000, "GBP"),
        ("1.250 EUR", {"from_program": True}, "1.25", "EUR"),
        ("1.250 EUR", {"from_program": True, "locale": "de"}, 1250, "EUR"),
        ("250000.00 EUR", {"from_program": True, "locale": "de"}, 250000, "EUR"),
        ("-850 €", {}, -850, "EUR"),
        ("850 €/m2", {}, 850, "EUR"),
        ("12,500円（税込）", {"locale": "ja"}, 12500, "JPY"),
        ("￥１２，５００", {"locale": "ja"}, 12500, "JPY"),
        ("36.5万円", {"locale": "ja"}, 365000, "JPY"),
        ("2億円", {"currency": "JPY"}, 200000000, "JPY"),
        (950, {"currency": "EUR"}, 950, "EUR"),
        (950.5, {"currency": "EUR"}, "950.5", "EUR"),
    ],
)
def test_an_amount_has_its_currency(text: object, form: dict[str, object], amount: str | int, currency: str) -> None:
    assert read(text, "money", **form) == Money(Decimal(amount), currency)


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        ("money", "1.234 €", "could be"),
        ("integer", "12k", "is shortened"),
        ("integer", "3万km", "is shortened"),
        ("decimal", "4,5 mio", "is shortened"),
        ("money", "8 400 kr", "could be SEK or NOK"),
        ("money", "$900", "could be USD"),
        ("money", "1 200 – 1 400 €", "has 2 numbers"),
        ("money", "200-300 €", "has 2 numbers"),
        ("money", "Preis auf Anfrage", "no currency|no number"),
        ("money", "1 200", "no currency"),
        ("money", 1200, "no currency"),
        ("money", "12 € 13 CHF", "two currencies"),
        ("money", "250 X€", "how many X"),
        ("money", "250 X €", "how many X"),
        ("money", "€ 250 m", "how many m"),
        ("money", "850 € 120", "has 2 numbers"),
        ("money", "Miete 850 € 120 Nebenkosten", "has 2 numbers"),
        ("money", "1 CHF 200", "has 2 numbers"),
        ("money", ".5 €", "no number"),
        ("money", None, "no text"),
        ("money", True, "no text"),
        ("money", float("inf"), "no number"),
        ("money", 10**90, "too long"),
        ("area", "54.5", "no unit"),
        ("area", "85 kpl", "no unit of size"),
        ("area", "54-60 m²", "has 2 numbers"),
        ("area", "-5 m²", "less than nothing"),
        ("area", [], "no size"),
        ("rooms", "0", "no number of rooms"),
        ("rooms", "350", "no number of rooms"),
        ("rooms", "1-2h", "a span"),
        ("rooms", "3 bedrooms", "bedrooms"),
        ("rooms", "3 1/2 or 4 1/2", "more than one number"),
        ("rooms", "on request", "no number"),
        ("rooms", {}, "no number of rooms"),
        ("rooms", "1.234", "no number of rooms"),
        ("year", "1985/1990", "more than one year"),
        ("year", "1985-90", "more than one year"),
        ("year", "1.985", "no year"),
        ("year", "new", "no year"),
        ("year", [], "no year"),
        ("date", "3/4/2026", "could be several days"),
        ("date", "22.11.26", "could be several days"),
        ("date", "31.2.2026", "does not exist"),
        ("date", "1.1.2026 – 3.3.2026", "2 dates"),
        ("date", "heti", "no date"),
        ("date", "11/2026", "no date"),
        ("date", "1.2/2026", "mixes|no date"),
        ("date", "2026.11.2026", "no date"),
        ("date", "123.11.2026", "no date"),
        ("date", 20261122, "no text"),
        ("coordinates", "124.9, 60.1", "swapped"),
        ("coordinates", "224.9, 160.1", "out of range$"),
        ("coordinates", "0.0, 0.0", "Ghana"),
        ("coordinates", "60.1", "two are needed"),
        ("coordinates", "60,1699,24,9384", "two are needed"),
        ("coordinates", "N 60.1 N 24.9", "two are needed"),
        ("coordinates", "60°70'N 24°1'E", "59 minutes"),
        ("coordinates", [1, 2, 3], "3 numbers"),
        ("coordinates", {"lat": 1}, "no longitude"),
        ("coordinates", {"lat": "x", "lon": 1}, "no number of degrees"),
        ("coordinates", 5, "no place"),
        ("boolean", "maybe", "neither yes nor no"),
        ("boolean", None, "neither"),
        ("integer", "2.5", "no whole number"),
        ("integer", [], "no number"),
        ("text", "\u200b ", "is empty"),
        ("text", [], "no text"),
    ],
)
def test_what_is_not_sure_is_refused_with_the_reason(kind: Kind, text: object, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        read(text, kind)


@given(st.integers(1, 999), st.integers(1, 999), st.sampled_from([" ", "", "\u00a0", "’"]))
def test_two_amounts_are_never_read_as_one(one: int, other: int, between: str) -> None:
    with pytest.raises(Unreadable):
        read(f"{one} €{between}{other:03} €", "money")
    with pytest.raises(Unreadable):
        read(f"{one} €{between}{other:03}", "money")


@pytest.mark.parametrize(
    ("text", "form", "metres"),
    [
        ("54,5 m²", {}, "54.5"),
        ("120 m2", {}, 120),
        ("1'204 m²", {}, 1204),
        ("ca.5 qm", {}, 5),
        ("1 ha", {}, 10000),
        ("5,2 a", {}, 520),
        ("2 km²", {}, 2000000),
        ("1,200 sq ft", {"locale": "en"}, "111.483648"),
        ("54", {"unit": "m2"}, 54),
        (54.5, {"unit": "m2"}, "54.5"),
        ("54.5", {"unit": "sqft", "from_program": True}, "5.06321568"),
        ("62 nm", {}, 62),
    ],
)
def test_sizes_become_square_metres(text: object, form: dict[str, object], metres: str | int) -> None:
    assert read(text, "area", **form) == Decimal(metres)


@pytest.mark.parametrize(
    ("text", "rooms"),
    [
        ("3½", "3.5"),
        ("½", "0.5"),
        ("3 1/2-Zimmer-Wohnung", "3.5"),
        ("4.5-Zi.", "4.5"),
        ("3,5", "3.5"),
        ("4 Zimmer", 4),
        ("2h+kk", 2),
        ("2 h, k", 2),
        ("3H + K + S", 3),
        ("T3", 3),
        ("2+kk", 2),
        ("3+1", 3),
        ("2 + 1 fél szoba", "2.5"),
        (3.5, "3.5"),
        (3, 3),
        ("2¾", "2.75"),
    ],
)
def test_rooms_are_counted_as_people_do(text: object, rooms: str | int) -> None:
    assert read(text, "rooms") == Decimal(rooms)


@given(st.dates(date(1970, 1, 1), date(2069, 12, 31)), st.sampled_from(sorted(_NAMES)))
def test_a_day_with_the_name_of_its_month_is_read_in_each_language(day: date, language: str) -> None:
    month = _NAMES[language].split()[day.month - 1] + ("kuuta" if language == "fi" else "")
    forms = {
        "fi": f"{day.day}. {month} {day.year}",
        "de": f"{day.day}. {month.title()} {day.year}",
        "en": f"{month.title()} {day.day}, {day.year}",
        "fr": f"{'1er' if day.day == 1 else day.day} {month} {day.year}",
        "hu": f"{day.year}. {month} {day.day}.",
    }
    assert read(forms.get(language, f"{day.day} {month} {day.year}"), "date") == day


@given(
    st.dates(date(1970, 1, 1), date(2069, 12, 31)),
    st.sampled_from(
        [
            ("fi", "%d.%m.%Y"),
            ("de", "%d.%m.%y"),
            ("fr", "%d/%m/%Y"),
            ("it", "%d-%m-%Y"),
            ("en-US", "%m/%d/%Y"),
            ("en-GB", "%d/%m/%y"),
            ("hu", "%Y. %m. %d."),
            ("auto", "%Y-%m-%d"),
            ("auto", "%Y-%m-%dT12:30:00+02:00"),
            ("auto", "%Y%m%d"),
            ("auto", "%Y/%m/%d"),
        ]
    ),
)
def test_a_day_in_digits_is_read_by_its_locale(day: date, written: tuple[str, str]) -> None:
    locale, form = written
    assert read(day.strftime(form), "date", locale=locale) == day


@given(st.dates(date(1970, 1, 1), date(2069, 12, 31)), st.booleans())
def test_a_day_without_a_locale_is_read_rightly_or_refused(day: date, month_first: bool) -> None:
    try:
        read_day = read(day.strftime("%m/%d/%Y" if month_first else "%d/%m/%Y"), "date")
    except Unreadable:
        assert day.day <= 12
        return
    assert read_day == day


def test_a_day_is_read_as_it_is_printed_in_east_asia() -> None:
    for text in ("2026年3月9日", "２０２６年３月９日（月）", "2026년 3월 9일"):
        assert read(text, "date") == date(2026, 3, 9)
    with pytest.raises(Unreadable, match="no date"):
        read("令和8年3月9日", "date")


def test_the_order_of_a_date_can_be_given() -> None:
    assert read("26/11/22", "date", order="ymd") == date(2026, 11, 22)
    assert read("3/4/26", "date", order="mdy") == date(2026, 3, 4)
    with pytest.raises(Unreadable, match="begin with the year"):
        read("22/11/2026", "date", order="ymd")
    assert read("Sat 22 Nov 2026", "date") == date(2026, 11, 22) == read("2026. nov. 22.", "date")
    assert read("5/5/2026", "date") == date(2026, 5, 5)
    assert read("22.11.2026 (Sun)", "date") - timedelta(0) == date(2026, 11, 22)


PLACES = st.tuples(st.floats(-89, 89).map(lambda at: round(at, 6)), st.floats(-179, 179).map(lambda at: round(at, 6)))


@given(PLACES, st.sampled_from(["{}, {}", "{};{}", "{} {}", "{},{}", "{}° {}°"]))
def test_a_place_in_degrees_is_read(place: tuple[float, float], form: str) -> None:
    lat, lon = (f"{at:.6f}" for at in place)
    if place == (0, 0):
        return
    assert read(form.format(lat, lon), "coordinates") == Coordinates(*place)
    assert read(form.format(lon, lat), "coordinates", order="lon-lat") == Coordinates(*place)


@given(st.integers(0, 89), st.integers(0, 59), st.integers(0, 59), st.sampled_from("NS"), st.sampled_from("EW"))
def test_a_place_in_minutes_and_seconds_is_read(
    degrees: int, minutes: int, seconds: int, side: str, other: str
) -> None:
    at = round(degrees + minutes / 60 + seconds / 3600, 9)
    if at == 0:
        return
    expected = Coordinates(at if side == "N" else -at, at if other == "E" else -at)
    assert (
        read(f"{degrees}°{minutes}'{seconds}\"{side} {degrees}°{minutes}'{seconds}\"{other}", "coordinates") == expected
    )
    assert read(
        f"{other} {degrees}° {minutes}′ {seconds}″, {side} {degrees}° {minutes}′ {seconds}″", "coordinates"
    ) == (expected)


def test_places_of_other_forms_are_read() -> None:
    expected = Coordinates(60.17, 24.94)
    for value in (
        {"lat": 60.17, "lng": "24,94"},
        {"latitude": "60.17", "longitude": 24.94},
        [60.17, 24.94],
        "N60.17 E24.94",
    ):
        assert read(value, "coordinates") == expected
    assert read("60,17 24,94", "coordinates") == expected
    assert read("60.17N, 24.94E", "coordinates") == expected


def test_a_box_tells_places_that_are_swapped_or_elsewhere() -> None:
    finland = (59.0, 19.0, 71.0, 32.0)
    assert read("60.1, 24.9", "coordinates", box=finland) == Coordinates(60.1, 24.9)
    with pytest.raises(Unreadable, match="swapped"):
        read("24.9, 60.1", "coordinates", box=finland)
    with pytest.raises(Unreadable, match=r"outside the box$"):
        read("47.1, 9.5", "coordinates", box=finland)


@pytest.mark.parametrize(
    ("text", "answer"),
    [("kyllä", True), ("Nein", False), ("Oui:", True), (1, True), (0, False), (True, True), ("nem", False)],
)
def test_yes_and_no_are_known_in_some_languages(text: object, answer: bool) -> None:
    assert read(text, "boolean") is answer


def test_texts_and_numbers_of_json_are_taken_as_they_are() -> None:
    assert read(5, "text") == "5"
    assert read(False, "text") == "false"
    assert read(True, "text") == "true"
    assert read("5 kpl", "integer") == 5
    assert read(2016.0, "year") == 2016
    assert read("vuonna 2016", "year") == 2016
    assert read({"a": [1]}, "json") == {"a": [1]}
    assert read("-5 °C", "decimal") == -5
