"""Addresses to points, by an offline table."""

import csv
import gzip
import random
from collections import Counter

import pytest

from tidemill.common.testing import shared_data
from tidemill.listings.address import Address, fold_street, parse_address
from tidemill.listings.geocode import AddressPoint, AddressTable, Answer
from tidemill.listings.metres import distance_m

DATA = shared_data()
POINTS = [
    *(AddressPoint("Rosenweg", str(number), "9490", "Vaduz", 47.14 + number / 1e5, 9.52) for number in range(2, 42, 2)),
    AddressPoint("Rosenweg", "13", "9490", "Vaduz", 47.1411, 9.5201),
    AddressPoint("Rosenweg", "13a", "9490", "Vaduz", 47.1412, 9.5202),
    AddressPoint("Rosenweg", "80-84", "9490", "Vaduz", 47.1413, 9.5203),
    AddressPoint("Hauptstrasse", "1", "9490", "Vaduz", 47.15, 9.53),
    AddressPoint("Hauptstrasse", "1", "9494", "Schaan", 47.17, 9.51),
    AddressPoint("Landstrasse", "5;7", "9494", "Schaan", 47.171, 9.511),
    AddressPoint("Landstrasse", "9 B", "9494", "Schaan", 47.172, 9.512),
    AddressPoint("Landstrasse", "9 C", "9494", "Schaan", 47.173, 9.513),
    AddressPoint("Sonnenblickstrasse", "3", "9494", "Schaan", 47.174, 9.514),
    AddressPoint("Sonnenblockstrasse", "3", "9494", "Schaan", 47.175, 9.515),
    AddressPoint("Kirchplatz", "Pfarrhaus", "9494", "Schaan", 47.176, 9.516),
    AddressPoint("Quaderstrasse 12", "3", "9494", "Schaan", 47.177, 9.517),
    AddressPoint("", "3", "9494", "Schaan", 47.17, 9.51),
    AddressPoint("Nirgends", "3", "9494", "Schaan", 147.17, 9.51),
]


@pytest.fixture(scope="module")
def table() -> AddressTable:
    return AddressTable(POINTS)


def find(table: AddressTable, text: str) -> Answer:
    return table.find(parse_address(text))


def test_rows_that_are_no_addresses_are_counted(table: AddressTable) -> None:
    assert table.ignored == 2
    assert len(table) == len(POINTS) - 2 + 1  # `5;7` are two


@pytest.mark.parametrize(
    ("text", "number", "point"),
    [
        ("Rosenweg 12, 9490 Vaduz", "12", (47.14012, 9.52)),
        ("Rosenweg 12, Vaduz", "12", (47.14012, 9.52)),
        ("Rosenweg 12, 9490", "12", (47.14012, 9.52)),
        ("ROSENWEG 12, 9490 VADUZ", "12", (47.14012, 9.52)),
        ("Rosenweg 13a, 9490 Vaduz", "13a", (47.1412, 9.5202)),
        ("Rosenweg 13, 9490 Vaduz", "13", (47.1411, 9.5201)),
        ("Rosenweg 82, 9490 Vaduz", "80-84", (47.1413, 9.5203)),
        ("Hauptstr. 1, Schaan", "1", (47.17, 9.51)),
        ("Hauptstr. 1, 9490 Vaduz", "1", (47.15, 9.53)),
        ("Landstrasse 7, Schaan", "7", (47.171, 9.511)),
        ("Landstrasse 9 C 12, Schaan", "9c", (47.173, 9.513)),
        ("Rosenweg 13 C 4, Vaduz", "13", (47.1411, 9.5201)),
    ],
)
def test_a_known_number_is_found(table: AddressTable, text: str, number: str, point: tuple[float, float]) -> None:
    answer = find(table, text)
    assert answer.reason == "" and answer.place is not None
    assert (answer.place.precision, answer.place.number, answer.place.within_m) == ("building", number, 0)
    assert (answer.place.latitude, answer.place.longitude) == pytest.approx(point, abs=1e-7)


def test_a_village_within_its_municipality_is_found_by_the_postcode(table: AddressTable) -> None:
    answer = find(table, "Rosenweg 12, 9490 Ebenholz")
    assert answer.place is not None and answer.place.precision == "building"


def test_a_missing_number_is_placed_at_its_neighbour_on_the_same_side(table: AddressTable) -> None:
    answer = find(table, "Rosenweg 44, 9490 Vaduz")
    assert answer.place is not None
    assert (answer.place.precision, answer.place.number) == ("number", "40")
    assert "no number 44" in answer.reason
    assert find(table, "Rosenweg 12a, 9490 Vaduz").place.number == "12"  # type: ignore[union-attr]


def test_a_number_far_from_all_others_is_placed_in_the_street(table: AddressTable) -> None:
    answer = find(table, "Rosenweg 200, 9490 Vaduz")
    assert answer.place is not None
    assert (answer.place.precision, answer.place.street, answer.place.number) == ("street", "Rosenweg", "")
    assert 20 < answer.place.within_m < 300
    assert find(table, "Rosenweg, 9490 Vaduz").reason == "no house number"


def test_an_unknown_street_is_placed_in_its_postcode_and_marked(table: AddressTable) -> None:
    answer = find(table, "Unbekannte Gasse 4, 9490 Vaduz")
    assert answer.place is not None
    assert (answer.place.precision, answer.place.postcode, answer.place.street) == ("postcode", "9490", "")
    assert "no street" in answer.reason and answer.place.within_m > 50


def test_a_city_alone_is_placed_in_its_middle_and_marked(table: AddressTable) -> None:
    answer = find(table, "Vaduz")
    assert answer.place is not None
    assert (answer.place.precision, answer.place.city, answer.place.postcode) == ("city", "Vaduz", "")
    assert answer.reason == "no street"


def test_what_is_not_in_the_table_has_no_place(table: AddressTable) -> None:
    assert find(table, "Fleminginkatu 3, 00530 Helsinki").place is None
    assert find(table, "").place is None


def test_a_street_of_two_cities_needs_a_city(table: AddressTable) -> None:
    answer = table.find(Address("Hauptstrasse", "1"))
    assert answer.place is None
    assert "2 cities" in answer.reason
    assert table.find(Address("Rosenweg", "2")).place is not None


def test_a_misspelled_street_is_recognised_and_said(table: AddressTable) -> None:
    answer = find(table, "Rosenwegg 12, 9490 Vaduz")
    assert answer.place is not None
    assert (answer.place.street, answer.place.precision) == ("Rosenweg", "building")
    assert 90 <= answer.place.likeness < 100
    assert "taken for 'Rosenweg'" in answer.reason


def test_a_misspelling_between_two_streets_is_neither(table: AddressTable) -> None:
    answer = find(table, "Sonnenbleckstrasse 3, 9494 Schaan")
    assert answer.place is not None and answer.place.precision == "postcode"
    assert "may be" in answer.reason


def test_another_number_in_a_streets_name_is_no_misspelling(table: AddressTable) -> None:
    answer = table.find(Address("Quaderstrasse 13", "3", postcode="9494", city="Schaan"))
    assert answer.place is not None and answer.place.precision == "postcode"


def test_an_unknown_city_falls_back_to_the_streets_of_the_postcode(table: AddressTable) -> None:
    answer = find(table, "Rosenwegg 12, 9490 Nirgendwo")
    assert answer.place is not None and answer.place.street == "Rosenweg"


def test_an_empty_table_finds_nothing() -> None:
    assert AddressTable([]).find(Address("Rosenweg", "1", city="Vaduz")).place is None


@pytest.fixture(scope="module")
def real() -> tuple[list[AddressPoint], AddressTable]:
    if DATA is None:
        pytest.skip("the development data are not beside the repository")
    with gzip.open(DATA / "osm" / "addresses.csv.gz", "rt", encoding="utf-8") as lines:
        points = [
            AddressPoint(r["street"], r["number"], r["postcode"], r["city"], float(r["lat"]), float(r["lon"]))
            for r in csv.DictReader(lines)
        ]
    return points, AddressTable(points)


def test_the_addresses_of_openstreetmap_are_found_where_they_are(
    real: tuple[list[AddressPoint], AddressTable],
) -> None:
    points, table = real
    near = 0
    sample = random.Random(1).sample([point for point in points if point.city], 3000)
    for point in sample:
        place = find(table, f"{point.street} {point.number}, {point.postcode} {point.city}").place
        assert place is not None
        near += distance_m(point.latitude, point.longitude, place.latitude, place.longitude) < 50
    assert near / len(sample) > 0.995


def test_misprints_are_mostly_understood_and_hardly_ever_wrongly(
    real: tuple[list[AddressPoint], AddressTable],
) -> None:
    points, table = real
    chance = random.Random(2)
    counts: Counter[str] = Counter()
    for street, city, postcode in sorted(
        {(point.street, point.city, point.postcode) for point in points if point.city}
    ):
        at = chance.randrange(1, len(street))
        misprint = street[: at - 1] + chance.choice("aeinrst") + street[at:]
        place = table.find(Address(misprint, "1", city=city, postcode=postcode)).place
        found = place.street if place else ""
        same = fold_street(found) == fold_street(street)
        counts["none" if not found else "right" if same else "wrong"] += 1
    assert counts["right"] > 0.5 * counts.total()
    assert counts["wrong"] <= 3
