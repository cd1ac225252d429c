"""A listing's place: the portal's point or its address's, what stands there, and a quality that knows it."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.listings.coverage import Coverage
from tidemill.listings.listing import Listing
from tidemill.listings.metres import metres_per_degree
from tidemill.listings.place import Place, PlaceEnricher
from tidemill.listings.placing import Places, address_of, open_places
from tidemill.plugin import Enricher, Located, Subject
from tidemill.plugin.enricher_conformance import assert_enriches
from tidemill.plugin.reference import COLUMNS, AddressRow, BuildingRow

NOW = datetime(2025, 6, 1, tzinfo=UTC)
LATITUDE, LONGITUDE = 60.17, 24.94
NORTH, EAST = metres_per_degree(LATITUDE)


def at(east: float, north: float) -> tuple[float, float]:
    """(latitude, longitude) so many metres from the middle of the town."""
    return LATITUDE + north / NORTH, LONGITUDE + east / EAST


def house(id: str, east: float, *address: str) -> BuildingRow:
    """20 m wide."""
    (south, west), (north, right) = at(east - 10, -10), at(east + 10, 10)
    return BuildingRow(id, *(address or ("", "", "", "")), shapely.box(west, south, right, north).wkb)


def address(id: str, street: str, number: str, east: float, north: float = 0, city: str = "Helsinki") -> AddressRow:
    return AddressRow(id, street, number, "00100", city, *at(east, north))


ADDRESSES = [
    address("1", "Iso katu", "1", 0),
    address("2", "Iso katu", "3", 100, 12),  # At the wall of its building.
    address("3", "Iso katu", "9", 400),
    address("4", "Pikku tie", "2", 5000),
]
BUILDINGS = [house("w1", 0), house("w2", 100), house("w3", 200, "Pikku tie", "7", "00100", "Helsinki")]


def write(folder: Path, kind: str, rows: Sequence[Any]) -> Path:
    path = folder / f"{kind}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS[kind])
        writer.writerows([*row[:-1], row[-1].hex()] if isinstance(row, BuildingRow) else row for row in rows)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("reference")
    return {
        "addresses": [write(folder, "addresses", ADDRESSES)],
        "buildings": [write(folder, "buildings", BUILDINGS)],
    }


@pytest.fixture(scope="module")
def places(files: dict[str, list[Path]]) -> Places:
    return open_places(files)


def listing(**fields: Any) -> Listing:
    return Listing(portal="p", portal_id="1", url="https://p.example/1", price_kind="sale", **fields)


def flat(address: str = "Iso katu 1 A 4, 00100 Helsinki", **fields: Any) -> Listing:
    return listing(address=address, **fields)


def located(east: float, north: float = 0) -> dict[str, float]:
    latitude, longitude = at(east, north)
    return {"latitude": latitude, "longitude": longitude}


def place(places: Places, one: Listing, answer: Located | None = None) -> Place:
    (found,) = places.enrich([Subject(one, NOW, answer)])
    return Place.model_validate(found)


def test_an_address_without_a_point_is_placed_in_its_building(places: Places) -> None:
    found = place(places, flat())
    assert (found.point_from, found.point_precision, found.footprint) == ("addresses", "building", "inside")
    assert (found.building, found.building_m, found.own_address) == ("w1", 0, True)
    assert (found.place_street, found.place_number, found.place_city) == ("Iso katu", "1", "Helsinki")
    assert found.flaw is None


def test_a_portals_point_is_kept_and_judged(places: Places) -> None:
    found = place(places, flat(**located(15)))
    assert (found.point_from, found.footprint, found.building) == ("portal", "near", "w1")
    assert found.building_m == pytest.approx(5, abs=0.05)
    assert found.own_address is True


def test_an_address_at_a_wall_is_the_buildings_own(places: Places) -> None:
    assert place(places, flat("Iso katu 3, 00100 Helsinki", **located(100))).own_address is True
    assert place(places, flat("Pikku tie 7, 00100 Helsinki", **located(200))).own_address is True


def test_a_point_in_another_house_is_told_and_costs_quality(places: Places) -> None:
    right, wrong = place(places, flat(**located(0))), place(places, flat(**located(200)))
    assert wrong.own_address is False
    assert wrong.quality < right.quality
    assert "the building at its coordinates has another address" in wrong.remarks


@pytest.mark.parametrize(
    ("point", "flaw"),
    [
        ({"latitude": 0, "longitude": 0}, "zero"),
        ({"latitude": LONGITUDE, "longitude": LATITUDE}, "swapped"),
        ({"latitude": 61.5, "longitude": 23.7}, "outside"),
        ({**located(0), "precision": "postcode"}, "centroid"),
    ],
)
def test_a_flawed_point_gives_way_to_the_address(places: Places, point: dict[str, Any], flaw: str) -> None:
    found = place(places, flat(**point))
    assert (found.flaw, found.point_from, found.footprint) == (flaw, "addresses", "inside")
    assert f"the portal's coordinates are no place: {flaw}" in found.remarks


def test_a_flawed_point_without_an_address_is_implausible(places: Places) -> None:
    found = place(places, listing(latitude=0, longitude=0))
    assert (found.flaw, found.point_from, found.footprint) == ("zero", None, "implausible")
    assert found.quality_parts["geocoding"] == 0


def test_a_city_alone_gives_its_middle_and_no_building(places: Places) -> None:
    found = place(places, listing(city="Helsinki"))
    assert (found.point_precision, found.footprint, found.building) == ("city", None, None)
    assert found.point_within_m and found.point_within_m > 1000
    assert found.point_reason == "no street"


def test_a_neighbour_is_no_houses_point(places: Places) -> None:
    found = place(places, flat("Iso katu 7, 00100 Helsinki"))
    assert (found.point_precision, found.footprint) == ("number", None)


def test_no_building_near_means_something_only_where_buildings_are_known(places: Places) -> None:
    assert place(places, flat(**located(300))).footprint == "none"
    assert place(places, listing(city="Tampere", latitude=61.5, longitude=23.7)).footprint is None


def test_a_part_of_a_city_in_the_table_makes_no_point_beside_it_implausible(places: Places) -> None:
    assert place(places, flat(**located(0, 9000))).flaw is None
    assert place(places, flat(**located(0, 11000))).flaw == "outside"


def test_a_city_that_is_not_in_the_table_has_no_outside(places: Places) -> None:
    assert place(places, listing(city="Rovaniemi", latitude=66.5, longitude=25.7)).flaw is None
    swapped = place(places, listing(city="Kauniainen", latitude=LONGITUDE, longitude=LATITUDE))
    assert swapped.flaw == "swapped"


def test_without_reference_data_the_portals_word_is_all_there_is() -> None:
    places = open_places({})
    found = place(places, flat(**located(0)))
    assert (found.point_from, found.footprint, found.flaw) == ("portal", None, None)
    assert place(places, flat()).point_from is None
    assert places.question(flat()) != ""


def test_addresses_without_buildings_place_and_buildings_without_addresses_judge(files: dict[str, list[Path]]) -> None:
    found = place(open_places({"addresses": files["addresses"]}), flat())
    assert (found.point_precision, found.footprint) == ("building", None)
    found = place(open_places({"buildings": files["buildings"]}), flat(**located(200)))
    assert (found.footprint, found.own_address) == ("inside", False)


def test_a_geocoders_answer_counts_where_the_table_has_nothing_as_fine(places: Places) -> None:
    answer = Located(*at(200, 0), "building")
    unknown = flat("Uusi katu 5, 00100 Helsinki")
    assert places.question(unknown) == "Uusi katu 5, 00100 Helsinki, Suomi"
    found = place(places, unknown, answer)
    assert (found.point_from, found.point_precision, found.building) == ("geocoder", "building", "w3")
    assert place(places, flat(), answer).point_from == "addresses"
    assert place(places, unknown, replace(answer, precision="?")).point_precision == "unknown"


@pytest.mark.parametrize("one", [flat(), flat(**located(0)), listing(city="Helsinki"), listing()])
def test_nobody_is_asked_for_what_is_known_or_cannot_be(places: Places, one: Listing) -> None:
    assert places.question(one) == ""


def test_fields_count_before_the_printed_address() -> None:
    said = address_of(flat("Iso katu 1 A 4, 00100 Helsinki", city="Espoo", street="Iso katu"))
    assert (said.street, said.number, said.flat, said.postcode, said.city) == ("Iso katu", "1", "4", "00100", "Espoo")
    other = address_of(flat("Iso katu 1, Helsinki", street="Pikku tie"))
    assert (other.street, other.number, other.city) == ("Pikku tie", "", "Helsinki")


def test_what_an_address_says_counts_as_complete(places: Places) -> None:
    assert "no street" not in place(places, flat()).remarks
    assert "no city" in place(places, listing(**located(0))).remarks


def test_it_conforms(files: dict[str, list[Path]]) -> None:
    subjects = [
        Subject(one, NOW)
        for one in (flat(), flat(**located(15)), flat(latitude=0, longitude=0), listing(), listing(city="Helsinki"))
    ]
    assert isinstance(PlaceEnricher(), Enricher)
    assert_enriches(PlaceEnricher(), subjects, files)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-400, 400), st.sampled_from(["Helsinki", "Espoo", None]), st.booleans()),
        min_size=1,
        max_size=8,
    )
)
def test_the_answer_for_one_depends_on_no_other(
    files: dict[str, list[Path]], some: list[tuple[float, str, bool]]
) -> None:
    places = open_places(files)
    subjects = [
        Subject(listing(city=city, address="Iso katu 3", **(located(east) if there else {})), NOW)
        for east, city, there in some
    ]
    assert places.enrich(subjects) == [places.enrich([one])[0] for one in subjects]


def test_buildings_are_known_around_a_cell_but_not_beyond() -> None:
    coverage = Coverage([60.17], [24.94])
    known = coverage.holds([60.17, 60.2, 60.17, 60.3, float("nan")], [24.94, 24.99, 24.8, 24.94, 24.9])
    assert known.tolist() == [True, True, False, False, False]
    assert not Coverage([], []).holds([60.0], [25.0]).any()


def test_a_file_of_another_kind_is_refused(files: dict[str, list[Path]]) -> None:
    with pytest.raises(ValueError, match="is no file of buildings"):
        open_places({"buildings": files["addresses"]})
