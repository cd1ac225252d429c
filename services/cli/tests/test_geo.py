"""`tidemill geo`: files of others to reference data, and how listings match them."""

import gzip
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest
import shapely
from typer.testing import CliRunner

from tidemill.cli.geo_files import Box, UnreadableGeodata, Written, rewrite
from tidemill.cli.main import app
from tidemill.listings.listing import Listing
from tidemill.listings.metres import metres_per_degree
from tidemill.listings.placing import Places, open_places
from tidemill.plugin import Subject
from tidemill.plugin.reference import read_addresses, read_buildings

NOW = datetime(2025, 6, 1, tzinfo=UTC)
SQUARE = shapely.box(9.5, 47.1, 9.501, 47.101)


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["geo", *words])
    return done.exit_code, " ".join((done.output + done.stderr).split())


def only(path: Path, folder: Path, **more: Any) -> Written:
    (written,) = rewrite(path, folder, more.get("kind"), more.get("within"), more.get("city", ""))
    return written


def test_a_table_of_addresses_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    """As OpenAddresses writes them, with semicolons and a mark of the byte order."""
    path = tmp_path / "town.csv.gz"
    rows = "LON;LAT;NUMBER;STREET;CITY;POSTCODE;ID\n9.5;47.1;1;Am Bach;Vaduz;9490;a\n9.6;47.2;2;Am Bach;Vaduz;9490;b\n"
    path.write_bytes(gzip.compress(rows.encode("utf-8-sig")))
    written = only(path, tmp_path)
    assert [(one.id, one.street, one.number, one.city, one.latitude) for one in read_addresses(written.path)] == [
        ("a", "Am Bach", "1", "Vaduz", 47.1),
        ("b", "Am Bach", "2", "Vaduz", 47.2),
    ]
    assert written.box == Box(9.5, 47.1, 9.6, 47.2)
    assert written.counts()["cities"] == {"Vaduz": 2}


def test_rows_that_place_nothing_are_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "town.csv"
    path.write_text(
        "street,number,city,lat,lon\nA,1,X,47,9\n,2,X,47,9\nB,3,X,,9\nC,4,X,200,9\nD,5,X,48,9\nE,6,X,nan,9\nF,7\n"
    )
    written = only(path, tmp_path, within=Box(8, 46, 10, 47.5))
    assert written.rows == 1
    assert dict(written.left_out) == {"no_street": 1, "no_coordinates": 4, "outside_bbox": 1}


def test_addresses_without_a_city_can_be_given_one(tmp_path: Path) -> None:
    path = tmp_path / "town.csv"
    path.write_text("street,number,city,lat,lon\nA,1,,47,9\nA,2,Y,47,9\n")
    assert only(path, tmp_path, city="X").counts()["cities"] == {"X": 1, "Y": 1}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", b"street,number\nA,1\n", "no column for city"),
        ("a.csv", b"", "has no rows"),
        ("a.csv", b"street,number,city,lat,lon\n\xff\xfe\n", "no CSV in UTF-8"),
        ("a.csv.gz", b"street", "no CSV in UTF-8"),
        ("a.parquet", b"street", "no Parquet file"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableGeodata, match=sentence):
        rewrite(path, tmp_path, None, None, "")


def test_a_file_that_is_not_there_or_a_folder_is_named(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "a.csv", "No such file or directory"), (tmp_path, "Is a directory")):
        status, said = run("import", str(path))
        assert status == 1
        assert f"tidemill: {path} cannot be read: {why}" in said


def geoparquet(path: Path, crs: Any, shapes: list[bytes]) -> None:
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", "crs": crs}}}
    frame = polars.DataFrame({"osm_id": list(range(len(shapes))), "geometry": shapes})
    frame.write_parquet(path, metadata={"geo": json.dumps(geo)})


def test_geoparquet_in_degrees_gives_polygons_and_leaves_other_shapes_out(tmp_path: Path) -> None:
    path = tmp_path / "houses.parquet"
    hole = shapely.MultiPolygon([SQUARE])
    geoparquet(
        path, {"id": {"authority": "EPSG", "code": 4326}}, [SQUARE.wkb, shapely.Point(9, 47).wkb, hole.wkb, b"x"]
    )
    written = only(path, tmp_path)
    assert (written.kind, written.rows, dict(written.left_out)) == ("buildings", 2, {"no_polygon": 2})
    assert [shapely.from_wkb(row.wkb).equals(SQUARE) for row in read_buildings(written.path)] == [True, True]


def test_geoparquet_in_other_coordinates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "houses.parquet"
    geoparquet(path, {"id": {"authority": "EPSG", "code": 3067}}, [SQUARE.wkb])
    with pytest.raises(UnreadableGeodata, match=r"write it in WGS 84"):
        rewrite(path, tmp_path, None, None, "")


@pytest.fixture
def extract(tmp_path: Path) -> Path:
    """A house with an address, one without, a relation with a yard, an entrance, and what is none of these."""
    osmium = pytest.importorskip("osmium")
    path = tmp_path / "town.osm.pbf"
    with osmium.SimpleWriter(str(path)) as writer:
        places: list[tuple[float, float]] = []

        def square(west: float, south: float, size: float) -> list[int]:
            corners = [(west, south), (west + size, south), (west + size, south + size), (west, south + size)]
            first = len(places) + 1
            places.extend(corners)
            return [first, first + 1, first + 2, first + 3, first]

        house, bare = square(9.5, 47.1, 0.001), square(9.51, 47.1, 0.001)
        outer, inner = square(9.52, 47.1, 0.001), square(9.5203, 47.1003, 0.0002)
        place = {"addr:street": "Am Bach", "addr:housenumber": "1", "addr:city": "Vaduz", "addr:postcode": "9490"}
        for number, where in enumerate(places, 1):
            writer.add_node(osmium.osm.mutable.Node(id=number, location=where))
        entrance = {**place, "addr:housenumber": "3"}
        writer.add_node(osmium.osm.mutable.Node(id=900, location=(9.5105, 47.1), tags=entrance))
        writer.add_way(osmium.osm.mutable.Way(id=1, nodes=house, tags={"building": "yes", **place}))
        writer.add_way(osmium.osm.mutable.Way(id=2, nodes=bare, tags={"building": "garage"}))
        writer.add_way(osmium.osm.mutable.Way(id=3, nodes=outer))
        writer.add_way(osmium.osm.mutable.Way(id=4, nodes=inner))
        writer.add_way(osmium.osm.mutable.Way(id=5, nodes=house, tags={"landuse": "residential"}))
        members = [("w", 3, "outer"), ("w", 4, "inner")]
        tags = {"type": "multipolygon", "building": "yes"}
        writer.add_relation(osmium.osm.mutable.Relation(id=7, members=members, tags=tags))
    return path


def test_one_reading_of_openstreetmap_gives_buildings_and_addresses(extract: Path, tmp_path: Path) -> None:
    written = {one.kind: one for one in rewrite(extract, tmp_path, None, None, "")}
    buildings = {row.id: row for row in read_buildings(written["buildings"].path)}
    assert sorted(buildings) == ["r7", "w1", "w2"]
    assert (buildings["w1"].street, buildings["w1"].number) == ("Am Bach", "1")
    assert len(shapely.from_wkb(buildings["r7"].wkb).geoms[0].interiors) == 1
    addresses = {row.id: row for row in read_addresses(written["addresses"].path)}
    assert sorted(addresses) == ["n900", "w1"]
    assert shapely.from_wkb(buildings["w1"].wkb).contains(shapely.Point(addresses["w1"].longitude, 47.1005))
    assert [one.kind for one in rewrite(extract, tmp_path, "buildings", None, "")] == ["buildings"]
    extract.write_bytes(b"no extract")
    with pytest.raises(UnreadableGeodata, match="no file of OpenStreetMap"):
        rewrite(extract, tmp_path, None, None, "")


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "10,47,9,48", "9,48,10,47"])
def test_a_box_that_is_none_is_refused(box: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("x\n")
    status, said = run("import", str(path), "--bbox", box)
    assert status == 1
    assert "west,south,east,north" in said


# Acceptance: the whole files beside the repository.


@pytest.fixture(scope="module")
def whole(shared_osm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Written]:
    folder = tmp_path_factory.mktemp("geo")
    files = ("addresses.csv.gz", "buildings.parquet")
    return {one.kind: one for name in files for one in rewrite(shared_osm / name, folder, None, None, "")}


@pytest.fixture(scope="module")
def shared_osm() -> Path:
    from tidemill.common.testing import shared_data

    found = shared_data()
    if found is None:
        pytest.skip("the development data are not beside the repository")
    return found / "osm"


def test_the_whole_of_openstreetmaps_extracts_has_the_counts_that_are_told_of_it(
    shared_osm: Path, whole: dict[str, Written]
) -> None:
    meta = json.loads((shared_osm / "meta.json").read_text())
    addresses, buildings = whole["addresses"].counts(), whole["buildings"].counts()
    assert sorted(meta) == sorted(addresses["regions"]) == sorted(buildings["regions"])
    for region, told in meta.items():
        ours, theirs = addresses["regions"][region], buildings["regions"][region]
        assert (ours["rows"], ours["postcodes"], ours["streets"]) == (
            told["addresses"],
            told["postcodes"],
            told["streets"],
        )
        assert told["cities"].items() <= ours["cities"].items()
        assert (theirs["rows"], theirs["with_address"]) == (told["buildings"], told["buildings_with_addr_tags"])
    assert whole["addresses"].left_out == whole["buildings"].left_out == {}


@pytest.mark.slow
@pytest.mark.long
def test_2000_listings_are_judged_as_by_brute_force(shared_osm: Path, whole: dict[str, Written]) -> None:
    places = open_places({kind: [one.path] for kind, one in whole.items()})
    columns = ["building_id", "region", "geometry", "lat", "lon"]
    houses = polars.read_parquet(shared_osm / "buildings.parquet", columns=columns)
    rows = houses.to_dicts()
    chance = np.random.default_rng(20250718)
    for region in sorted({row["region"] for row in rows}):
        here = [row for row in rows if row["region"] == region]
        chosen = chance.integers(0, len(here), 400)
        spread = chance.choice([0, 1e-4, 3e-4, 1e-3], (400, 1))
        points = np.array([(here[n]["lat"], here[n]["lon"]) for n in chosen]) + chance.normal(0, 1, (400, 2)) * spread
        _compare(places, here, points)


def _compare(places: Places, here: list[dict[str, Any]], points: Any) -> None:
    subjects = [
        Subject(
            Listing(portal="p", portal_id=f"{n}", url="u", price_kind="sale", latitude=latitude, longitude=longitude),
            NOW,
        )
        for n, (latitude, longitude) in enumerate(points)
    ]
    polygons = shapely.from_wkb([row["geometry"] for row in here])
    corners = shapely.bounds(polygons)
    for found, (latitude, longitude) in zip(places.enrich(subjects), points, strict=True):
        north, east = metres_per_degree(latitude)
        around = np.abs(corners - (longitude, latitude, longitude, latitude)).max(axis=1) < 0.02  # Some kilometres.
        apart = shapely.get_coordinates(polygons[around]) - (longitude, latitude)
        plane = shapely.set_coordinates(polygons[around].copy(), apart * (east, north))
        distances = shapely.distance(plane, shapely.Point(0, 0))
        nearest = float(distances.min())
        if abs(nearest - 50) < 0.1 or 0 < nearest < 1e-3:
            continue  # At an edge, rounding decides.
        assert found["footprint"] == ("inside" if nearest == 0 else "near" if nearest < 50 else "none")
        if nearest < 50:
            assert found["building_m"] == pytest.approx(nearest, rel=1e-3, abs=0.006)
            same = [
                row["building_id"]
                for row, metres in zip(itertools.compress(here, around), distances, strict=True)
                if metres <= nearest + 0.01
            ]
            assert found["building"] in same
