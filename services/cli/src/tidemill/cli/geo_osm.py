"""Buildings and addresses of an OpenStreetMap file, in one reading."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tidemill.cli.geo_files import Box, Row, UnreadableGeodata, boxes_of

BATCH = 5_000
NO_BUILDING = {"no", "proposed", "demolished", "razed"}


def read_osm(path: Path, kinds: set[str]) -> Iterator[tuple[str, Row]]:
    """(kind, row). An address is a node's, or that of a building, at a point within it. Raises UnreadableGeodata."""
    try:
        import osmium
    except ModuleNotFoundError as missing:
        raise UnreadableGeodata(
            f"{path.name} needs the package osmium: install tidemill-cli[osm], or `pip install osmium`"
        ) from missing
    factory = osmium.geom.WKBFactory()
    wanted = osmium.filter.KeyFilter("building", "addr:housenumber")
    polygons: list[tuple[str, Mapping[str, str], bytes]] = []
    thing: Any  # A node, way, relation, or an area made of ways.
    try:
        reading = osmium.FileProcessor(str(path)).with_areas(osmium.filter.KeyFilter("building")).with_filter(wanted)
        for thing in reading:
            tags = thing.tags
            if thing.is_node() and "addr:housenumber" in tags and "addresses" in kinds:
                point = Box(thing.lon, thing.lat, thing.lon, thing.lat)
                yield "addresses", Row(f"n{thing.id}", *_address(tags), point)
            elif thing.is_area() and tags.get("building", "no") not in NO_BUILDING:
                id = f"{'w' if thing.from_way() else 'r'}{thing.orig_id()}"
                polygons.append((id, dict(tags), _polygon(factory, thing)))
                if len(polygons) == BATCH:
                    yield from _buildings(polygons, kinds)
                    polygons = []
        yield from _buildings(polygons, kinds)
    except (RuntimeError, OSError) as error:
        raise UnreadableGeodata(f"{path.name} is no file of OpenStreetMap: {error}") from error


def _polygon(factory: Any, area: Any) -> bytes:
    try:
        return bytes.fromhex(factory.create_multipolygon(area))
    except RuntimeError:  # A ring of a building at the edge of an extract may lack nodes.
        return b""


def _buildings(polygons: list[tuple[str, Mapping[str, str], bytes]], kinds: set[str]) -> Iterator[tuple[str, Row]]:
    import shapely

    boxes = boxes_of([wkb for *_, wkb in polygons])
    for (id, tags, _), (box, wkb) in zip(polygons, boxes, strict=True):
        if "buildings" in kinds:
            yield "buildings", Row(id, *_address(tags), box, wkb)
        if "addresses" in kinds and box and tags.get("addr:housenumber"):
            inside = shapely.point_on_surface(shapely.from_wkb(wkb))
            x, y = round(inside.x, 7), round(inside.y, 7)
            yield "addresses", Row(id, *_address(tags), Box(x, y, x, y))


def _address(tags: Any) -> tuple[str, str, str, str]:
    street = tags.get("addr:street") or tags.get("addr:place") or ""
    number, postcode = tags.get("addr:housenumber") or "", tags.get("addr:postcode") or ""
    return street, number, postcode, tags.get("addr:city") or ""
