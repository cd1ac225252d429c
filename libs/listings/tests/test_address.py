"""Printed addresses to their parts: a gold table, round trips, and what two spellings have in common."""

import csv
import gzip
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.testing import shared_data
from tidemill.listings.address import (
    Address,
    HouseNumber,
    comparable,
    fold_city,
    fold_street,
    format_address,
    listing_fields,
    parse_address,
    parse_numbers,
    same_address,
)

DATA = shared_data()
LINES = (Path(__file__).parent / "addresses.psv").read_text(encoding="utf-8").splitlines()
GOLD = [[cell.strip() for cell in line.split("|")] for line in LINES if not line.startswith("#")]
PARTS = ("street", "number", "stair", "flat", "postcode", "city", "district")


@pytest.mark.parametrize("row", GOLD, ids=lambda row: row[0])
def test_a_printed_address_has_the_parts_of_the_gold_table(row: list[str]) -> None:
    text, country, *parts = row
    address = parse_address(text, country or None)  # type: ignore[arg-type]
    assert {name: getattr(address, name) for name in PARTS} == dict(zip(PARTS, parts, strict=True))


def test_the_gold_table_is_large_and_without_repetition() -> None:
    assert len({(text, country) for text, country, *_ in GOLD}) == len(GOLD) >= 150


NORDIC = ("Fleminginkatu", "Mannerheimintie", "Alvar Aallon katu", "Norra esplanaden", "Länsiväylä", "Kolmas linja")
GERMAN = ("Hauptstraße", "Am Ängerlein", "Dr. Josef Hoop-Strasse", "Im alten Riet", "Weidgasse", "Straße des 17. Juni")
number = st.integers(1, 999)
numbers = st.one_of(
    number.map(str),
    st.builds("{}{}".format, number, st.sampled_from("abcde")),
    st.builds(lambda low, more: f"{low}-{low + more}", number, st.integers(1, 9)),
)
finnish = st.builds(
    lambda street, house, stair, flat, district: Address(
        street, house, stair, flat if stair else "", "00530", "Helsinki", district, country="FI"
    ),
    st.sampled_from(NORDIC),
    numbers,
    st.sampled_from(["", "A", "B", "K"]),
    st.one_of(st.just(""), number.map(str)),
    st.sampled_from(["", "Kallio", "Vuores"]),
)
germanic = st.builds(
    lambda street, house, place: Address(street, house, postcode=place[0], city=place[1], country=place[2]),
    st.sampled_from(GERMAN),
    numbers,
    st.sampled_from(
        [
            ("10827", "Berlin", "DE"),
            ("3500", "Krems an der Donau", "AT"),
            ("8001", "Zürich", "CH"),
            ("9490", "Vaduz", "LI"),
        ]
    ),
)
austrian = st.builds(
    lambda house, stair, flat: Address("Wiener Straße", str(house), stair, str(flat), "1060", "Wien", country="AT"),
    number,
    st.one_of(st.just(""), st.integers(1, 20).map(str)),
    number,
)


@given(st.one_of(finnish, germanic, austrian))
def test_what_is_formatted_is_read_back(address: Address) -> None:
    assert parse_address(format_address(address)) == address


@given(st.one_of(finnish, germanic), st.sampled_from([", ", " ", "\n", " ,  "]))
def test_a_house_number_is_never_a_postcode(address: Address, separator: str) -> None:
    text = f"{address.street} {address.number}{separator}{address.postcode} {address.city}"
    found = parse_address(text, address.country)
    assert (found.number, found.postcode) == (address.number, address.postcode)


@given(st.integers(1, 9999), st.sampled_from(GERMAN + NORDIC))
def test_the_only_number_of_an_address_without_postcode_is_the_house(house: int, street: str) -> None:
    found = parse_address(f"{street} {house}, Zürich")
    assert (found.number, found.postcode) == (str(house), "")


@given(st.text(max_size=80))
def test_any_text_gives_an_address(text: str) -> None:
    address = parse_address(text)
    assert parse_numbers(address.number) or not address.number
    assert all(isinstance(part, str) for part in comparable(address))


@given(st.lists(st.sampled_from([*"0123456789 ,.-/;AabB", "Katu", "str.", "FI-", "Top", "as ", "00530"]), max_size=25))
def test_any_mixture_of_the_words_of_addresses_is_read(words: list[str]) -> None:
    address = parse_address("".join(words))
    assert address.postcode == "" or len(address.postcode) in (4, 5)


@pytest.mark.skipif(DATA is None, reason="the development data are not beside the repository")
def test_the_addresses_of_openstreetmap_are_read_and_read_back() -> None:
    assert DATA is not None
    with gzip.open(DATA / "osm" / "addresses.csv.gz", "rt", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    read = again = 0
    for row in rows:
        address = parse_address(f"{row['street']} {row['number']}, {row['postcode']} {row['city']}")
        house = f"{address.number}{address.stair}{address.flat}".lower()
        printed = (row["street"], row["number"].replace(" ", "").lower(), row["postcode"], row["city"])
        read += (address.street, house, address.postcode, address.city) == printed
        again += parse_address(format_address(address)) == replace(address, rest=())
    assert len(rows) == 14_331
    assert read / len(rows) >= 0.998
    assert again == len(rows)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Josef Rheinberger Strasse", "Josef-Rheinberger-Str."),
        ("Josef Rheinberger Straße", "JOSEF-RHEINBERGER-STRASSE"),
        ("Müllerweg", "Muellerweg"),
        ("Zum Sankt Johanner", "Zum St. Johanner"),
        ("Fleminginkatu", "Fleminginkatu "),
        ("Fleminginkatu", "Fleminginkatu".upper()),
        ("Mannerheimintie", "Mannerheimint."),
        ("Fleminginkatu", "Flemingink."),
        ("Schloßplatz", "Schlosspl."),
    ],
)
def test_spellings_of_one_street_are_alike(one: str, other: str) -> None:
    assert fold_street(one) == fold_street(other)


def test_streets_of_two_names_stay_two() -> None:
    names = ["Hauptstraße", "Hauptgasse", "Am Weg", "Weg", "Fleminginkatu", "Fleminginkuja", "Bahnhofstrasse"]
    assert len({fold_street(name) for name in names}) == len(names)


def test_a_canton_does_not_make_another_city() -> None:
    assert fold_city("Wil SG") == fold_city("Wil (SG)") == fold_city("wil")
    assert fold_city("Krems an der Donau") != fold_city("Krems")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Yrjönkatu 23 B 5, 00120 Helsinki", "Yrjönkatu 23, 00120 Helsinki", True),
        ("Yrjönkatu 23 B 5, 00120 Helsinki", "Yrjönkatu 23b, Helsinki", True),
        ("Yrjönkatu 23b, Helsinki", "Yrjönkatu 23 A 3, Helsinki", False),
        ("Yrjönkatu 8, Helsinki", "Yrjönkatu 8-10, Helsinki", True),
        ("Yrjönkatu 9, Helsinki", "Yrjönkatu 8-10, Helsinki", False),
        ("Rosenweg 12, 80331 München", "Rosenweg 12a, 80331 München", False),
        ("Rosenweg 12b, 80331 München", "Rosenweg 12a-c, 80331 München", True),
        ("Rosenweg 12d, 80331 München", "Rosenweg 12a-c, 80331 München", False),
        ("Rosenweg 12a, 80331 München", "Rosenweg 12b, 80331 München", False),
        ("Rosenweg 12, 80331 München", "Rosenweg 12, 80333 München", False),
        ("Rosenweg 12, München", "Rosenweg 12, Berlin", False),
        ("Rosenweg 12", "Rosenweg 12, 80333 München", True),
        ("Rosenweg 68, Vaduz", "Rosenweg 66;68, Vaduz", True),
        ("Rosenweg, Vaduz", "Rosenweg, Vaduz", False),
        ("Vaduz", "Vaduz", False),
    ],
)
def test_two_addresses_mean_one_house(one: str, other: str, same: bool) -> None:
    assert same_address(parse_address(one), parse_address(other)) is same
    assert same_address(parse_address(other), parse_address(one)) is same


def test_numbers_are_read_as_ranges() -> None:
    assert parse_numbers("12a-c") == (HouseNumber(12, 12, "a", "c"),)
    assert parse_numbers("7;9") == (HouseNumber(7, 7), HouseNumber(9, 9))
    assert HouseNumber(7, 10).covers(8)
    assert not HouseNumber(7, 11).covers(8)


def test_who_receives_the_post_is_kept_apart() -> None:
    address = parse_address("c/o Virtanen, Koskelantie 6 A 2, PL 12, 00610 Helsinki, Suomi")
    assert (address.care_of, address.rest, address.country) == ("Virtanen", ("PL 12",), "FI")


@pytest.mark.parametrize(
    ("text", "country"),
    [
        ("Fleminginkatu 15, 00530 Helsinki", "FI"),
        ("Hauptstr. 12, 10827 Berlin", "DE"),
        ("Wuhrstrasse 17a, 9490 Vaduz", "LI"),
        ("Bahnhofstrasse 45, CH-8001 Zürich", "CH"),
        ("Bahnhofstrasse 45, 8001 Zürich", None),
        ("Rue de la Turbie 12, 98000 Monaco", None),
    ],
)
def test_the_country_is_named_where_it_is_certain(text: str, country: str | None) -> None:
    assert parse_address(text).country == country


def test_an_address_fills_the_fields_of_a_listing() -> None:
    assert listing_fields(parse_address("Koskelantie 6 A 2, 00610 Helsinki")) == {
        "street": "Koskelantie",
        "number": "6",
        "stair": "A",
        "flat": "2",
        "postcode": "00610",
        "city": "Helsinki",
        "country": "FI",
    }


def test_a_whole_page_is_no_address() -> None:
    text = "Koskelantie 6, 00610 Helsinki, " * 20
    assert parse_address(text) == Address(rest=(text,))
