"""Points against building footprints."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.testing import shared_data
from tidemill.listings.address import Address, parse_address
from tidemill.listings.footprints import (
    CROWD,
    FLAWS,
    Box,
    Footprints,
    compare_with_chance,
    find_flaws,
    match_rate,
    random_points,
)
from tidemill.listings.metres import distance_m, metres_per_degree
from tidemill.listings.verdict import Flaw, Verdict

DATA = shared_data()
VADUZ = Box(47.10, 9.48, 47.18, 9.56)
LATITUDE, LONGITUDE = 47.14, 9.52
NORTH, EAST = metres_per_degree(LATITUDE)


def at(north_m: float, east_m: float) -> tuple[float, float]:
    """Latitude and longitude so many metres from the middle."""
    return LATITUDE + north_m / NORTH, LONGITUDE + east_m / EAST


def house(north_m: float, east_m: float, size_m: float = 10) -> Any:
    south, west = at(north_m, east_m)
    north, east = at(north_m + size_m, east_m + size_m)
    return shapely.box(west, south, east, north)


def check(footprints: Footprints, *points: tuple[float, float]) -> list[tuple[str, int | None, float | None]]:
    checked = footprints.check(*np.array(points).reshape(-1, 2).T)
    return [(one.verdict, one.building, one.distance_m) for one in (checked[number] for number in range(len(points)))]


@pytest.fixture(scope="module")
def two() -> Footprints:
    """Houses of 10 m, the second 40 m east of the first."""
    own = {0: [parse_address("Rosenweg 12, 9490 Vaduz"), parse_address("Hauptstrasse 1, 9490 Vaduz")]}
    return Footprints([house(0, 0), house(0, 50), None, shapely.Polygon()], own)


def test_a_point_in_a_footprint_is_inside(two: Footprints) -> None:
    assert check(two, at(5, 5), at(5, 55)) == [("inside", 0, 0.0), ("inside", 1, 0.0)]


def test_a_point_beside_a_footprint_is_near_and_its_metres_are_said(two: Footprints) -> None:
    [(verdict, building, distance), (_, other, diagonal)] = check(two, at(5, 13), at(-30, 90))
    assert (verdict, building) == ("near", 0)
    assert distance == pytest.approx(3, rel=1e-3)
    assert other == 1 and diagonal == pytest.approx(np.hypot(30, 30), rel=1e-3)


def test_a_point_far_from_all_footprints_is_at_none(two: Footprints) -> None:
    assert check(two, at(5, -51), at(1000, 1000)) == [("none", None, None)] * 2
    assert check(two, at(5, -49))[0][0] == "near"


def test_near_can_mean_another_distance(two: Footprints) -> None:
    latitudes, longitudes = np.array([at(5, -7), at(5, -9), at(5, -200)]).T
    assert [two.check(latitudes, longitudes, near_m=8)[n].verdict for n in range(3)] == ["near", "none", "none"]
    assert two.check(latitudes, longitudes, near_m=300)[2].distance_m == pytest.approx(200, rel=1e-3)


def test_the_lower_of_two_footprints_at_one_place_is_meant() -> None:
    footprints = Footprints([house(0, 100), house(0, 0), house(0, 0), house(5, 5)])
    assert check(footprints, at(7, 7), at(-5, 5)) == [
        ("inside", 1, 0.0),
        ("near", 1, pytest.approx(5, rel=1e-3)),
    ]


def test_a_courtyard_is_beside_its_building() -> None:
    yard = shapely.difference(house(0, 0, 40), house(10, 10, 20))
    assert check(Footprints([yard]), at(20, 14))[0] == ("near", 0, pytest.approx(4, rel=1e-3))


def test_a_broken_polygon_is_repaired() -> None:
    (south, west), (north, east) = at(0, 0), at(10, 10)
    bow = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    assert check(Footprints([bow]), at(5, 9))[0] == ("inside", 0, 0.0)


def test_points_that_are_none_are_implausible(two: Footprints) -> None:
    checked = two.check([np.nan, 91, 47.0, 0.0], [9.5, 9.5, 181, np.inf])
    assert [checked[number] for number in range(4)] == [(Verdict.IMPLAUSIBLE, None, None, Flaw.MISSING)] * 4


def test_no_points_and_no_buildings_are_no_trouble(two: Footprints) -> None:
    assert len(two.check([], [])) == 0
    assert match_rate(two.check([], [])).inside == 0
    assert check(Footprints([]), at(0, 0)) == [("none", None, None)]
    assert len(two) == 4


def test_rows_of_two_lengths_are_refused(two: Footprints) -> None:
    with pytest.raises(ValueError, match="one length"):
        two.check([1.0, 2.0], [1.0])


def flaws(points: list[tuple[float, float]], **options: Any) -> list[str]:
    return [FLAWS[code] for code in find_flaws(*np.array(points).T, **options)]


def test_implausible_points_are_told_apart() -> None:
    points = [(0.0, 0.0), (9.52, 47.14), (47.14, 9.52), (48.2, 16.3), (47.141, 9.521), (np.nan, 9.5)]
    assert flaws(points, box=VADUZ, centroids=[(47.141, 9.521)]) == [
        "zero",
        "swapped",
        "",
        "outside",
        "centroid",
        "missing",
    ]


def test_without_a_box_only_what_is_certain_is_implausible() -> None:
    assert flaws([(0.0, 0.0), (9.52, 47.14), (48.2, 16.3)]) == ["zero", "", ""]


def test_longitudes_beyond_latitudes_are_swapped_not_missing() -> None:
    fiji = Box(-18, 177, -17, 179)
    assert flaws([(178.0, -17.5)], box=fiji) == ["swapped"]


def test_a_point_of_many_addresses_is_a_centroid_but_not_one_of_many_flats() -> None:
    points = [(47.14, 9.52)] * CROWD + [(47.15, 9.53)] * 20
    places = [f"Rosenweg {number}" for number in range(CROWD)] + ["Hauptstrasse 1"] * 20
    assert flaws(points, places=places) == ["centroid"] * CROWD + [""] * 20
    assert flaws(points[1:], places=places[1:]) == [""] * (CROWD + 19)


def test_flaws_keep_a_point_from_being_checked(two: Footprints) -> None:
    latitudes, longitudes = np.array([at(5, 5), at(5, 5)[::-1], (0.0, 0.0)]).T
    checked = two.check(latitudes, longitudes, find_flaws(latitudes, longitudes, VADUZ))
    assert [checked[number].flaw for number in range(3)] == ["", "swapped", "zero"]
    rate = match_rate(checked)
    assert (rate.points, rate.inside, rate.implausible) == (3, pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_a_building_has_addresses_of_its_own(two: Footprints) -> None:
    latitudes, longitudes = np.array([at(5, 5)] * 5 + [at(5, 55), at(900, 900)]).T
    listings = [
        parse_address("Rosenweg 12 B 3, Vaduz"),
        parse_address("Hauptstr. 1, 9490 Vaduz"),
        parse_address("Rosenweg 14, 9490 Vaduz"),
        parse_address("Rosenweg, 9490 Vaduz"),
        None,
        Address("Rosenweg", "12"),
        Address("Rosenweg", "12"),
    ]
    assert two.own_address(two.check(latitudes, longitudes), listings) == [True, True, False, None, None, None, None]


def test_rates_stand_next_to_what_chance_gives(two: Footprints) -> None:
    latitudes, longitudes = np.array([at(5, 5), at(5, 13), at(5, 22), at(900, 900)]).T
    checked = two.check(latitudes, longitudes)
    (south, west), (north, east) = at(-45, -20), at(55, 80)
    compared = compare_with_chance(two, checked, Box(south, west, north, east), points=20_000)
    assert compared.listings.inside == 0.25
    assert compared.listings.within_m == {5.0: 0.5, 10.0: 0.5, 25.0: 0.75, 50.0: 0.75}
    assert compared.listings.none == 0.25
    assert compared.chance.inside == pytest.approx(0.02, abs=0.004)
    assert compared == compare_with_chance(two, checked, Box(south, west, north, east), points=20_000)


def test_random_points_are_spread_evenly_over_the_ground() -> None:
    latitudes, longitudes = random_points(Box(0, 0, 80, 10), 20_000, seed=3)
    assert np.mean(latitudes < 30) == pytest.approx(0.5 / np.sin(np.radians(80)), abs=0.02)
    assert Box(0, 0, 80, 10).holds(latitudes, longitudes).all()


@pytest.mark.parametrize("degrees", [0, 30, 47.14, 60.17, 70])
def test_metres_per_degree_are_those_of_the_ellipsoid(degrees: float) -> None:
    # The series for WGS 84 that the US National Geospatial-Intelligence Agency's calculator uses.
    latitude = np.radians(degrees)
    meridian = 111_132.92 - 559.82 * np.cos(2 * latitude) + 1.175 * np.cos(4 * latitude)
    parallel = 111_412.84 * np.cos(latitude) - 93.5 * np.cos(3 * latitude) + 0.118 * np.cos(5 * latitude)
    assert metres_per_degree(degrees) == pytest.approx((meridian, parallel), rel=1e-5)
    assert distance_m(degrees, 9.5, degrees, 9.6) == pytest.approx(parallel / 10, rel=1e-5)
    assert distance_m(degrees - 0.05, 9.5, degrees + 0.05, 9.5) == pytest.approx(meridian / 10, rel=1e-5)


def brute_force(polygons: Any, latitude: float, longitude: float, near_m: float = 50) -> tuple[str, int | None, float]:
    """One point against every polygon that is not too far to matter, on a plane of its own."""
    north, east = metres_per_degree(latitude)
    west, south, right, top = shapely.bounds(polygons).T
    room = 2 * near_m / north, 2 * near_m / east
    maybe = np.flatnonzero(
        (south - room[0] <= latitude)
        & (latitude <= top + room[0])
        & (west - room[1] <= longitude)
        & (longitude <= right + room[1])
    )
    if len(maybe) == 0:
        return "none", None, np.nan
    there = shapely.transform(polygons[maybe], lambda points: (points - (longitude, latitude)) * (east, north))
    distances = shapely.distance(there, shapely.Point(0, 0))
    nearest = int(np.argmin(distances))
    if distances[nearest] > near_m:
        return "none", None, np.nan
    verdict = "inside" if distances[nearest] == 0 else "near"
    return verdict, int(maybe[nearest]), float(distances[nearest])


def assert_like_brute_force(polygons: Any, latitudes: Any, longitudes: Any) -> None:
    checked = Footprints(polygons).check(latitudes, longitudes)
    for number, (latitude, longitude) in enumerate(zip(latitudes, longitudes, strict=True)):
        verdict, building, distance = brute_force(polygons, latitude, longitude)
        found = checked[number]
        if abs(distance - 50) > 0.1 and not 0 < distance < 1e-3:  # On the edge, rounding decides.
            assert found.verdict == verdict, number
        if found.verdict == verdict == "inside":
            assert found.building == building
        elif found.verdict == verdict == "near":
            assert found.distance_m == pytest.approx(distance, rel=1e-3, abs=1e-6)


corner = st.tuples(st.floats(-150, 150), st.floats(-150, 150))


@settings(max_examples=60)
@given(
    st.lists(st.tuples(corner, st.floats(2, 60)), min_size=1, max_size=12), st.lists(corner, min_size=1, max_size=12)
)
def test_any_houses_and_points_are_judged_as_by_brute_force(houses: Any, points: Any) -> None:
    polygons = np.array([house(*where, size) for where, size in houses], dtype=object)
    assert_like_brute_force(polygons, *np.array([at(*point) for point in points]).T)


def read_buildings(folder: Path) -> tuple[Any, list[str], Any]:
    """(polygons, regions, representative points as (lat, lon))."""
    query = "SELECT geometry, region, lat, lon FROM read_parquet(?)"
    rows = duckdb.execute(query, [str(folder / "buildings.parquet")]).fetchall()
    polygons = shapely.from_wkb([row[0] for row in rows])
    return polygons, [row[1] for row in rows], np.array([row[2:] for row in rows])


@pytest.fixture(scope="module")
def real() -> tuple[Any, list[str], Any]:
    if DATA is None:
        pytest.skip("the development data are not beside the repository")
    return read_buildings(DATA / "osm")


def test_2000_points_among_the_buildings_of_openstreetmap_are_judged_as_by_brute_force(
    real: tuple[Any, list[str], Any],
) -> None:
    polygons, _, middles = real
    chance = np.random.default_rng(7)
    chosen = middles[chance.integers(0, len(middles), 2000)]
    moved = chosen + chance.normal(0, 1, (2000, 2)) * chance.choice([0, 1e-4, 3e-4, 2e-3], (2000, 1))
    assert_like_brute_force(polygons, *moved.T)


def test_the_addresses_of_openstreetmap_are_at_their_buildings(real: tuple[Any, list[str], Any]) -> None:
    assert DATA is not None
    polygons, regions, _ = real
    with gzip.open(DATA / "osm" / "addresses.csv.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["region"] == "helsinki"]
    west, south, east, north = json.loads((DATA / "osm" / "meta.json").read_text())["helsinki"]["bbox"]
    here = polygons[[region == "helsinki" for region in regions]]
    footprints = Footprints(here)
    box = Box(south, west, north, east)
    points = np.array([(float(row["lat"]), float(row["lon"])) for row in rows])
    compared = compare_with_chance(footprints, footprints.check(*points.T, find_flaws(*points.T, box)), box)
    assert compared.listings.within_m[5.0] > 0.99
    assert compared.chance.inside < 0.35
