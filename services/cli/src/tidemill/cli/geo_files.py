"""Files of addresses and buildings as others publish them, to the form that enrichers read; row by row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

from tidemill.plugin.reference import COLUMNS, FIELD_LETTERS

ALIASES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "address_id", "building_id", "osm_id", "hash"),
    "street": ("street", "addr:street", "street_name", "road"),
    "number": ("number", "addr:housenumber", "housenumber", "house_number"),
    "postcode": ("postcode", "addr:postcode", "postal_code", "zip", "plz"),
    "city": ("city", "addr:city", "municipality", "town"),
    "latitude": ("latitude", "lat", "y"),
    "longitude": ("longitude", "lon", "lng", "long", "x"),
    "wkb": ("wkb", "geometry", "geom"),
    "region": ("region",),
}
"""What columns are called, whatever the case of letters; the first that is there counts."""
NEEDED: Mapping[str, tuple[str, ...]] = {
    "addresses": ("street", "number", "city", "latitude", "longitude"),
    "buildings": ("wkb",),
}
CITIES_SHOWN = 100
BATCH = 20_000
WGS84 = {("EPSG", "4326"), ("OGC", "CRS84")}
OSM_ATTRIBUTION, OSM_LICENCE = "© OpenStreetMap contributors", "ODbL 1.0"


class UnreadableGeodata(Exception):
    """The file cannot be imported; the sentence says why."""


class Box(NamedTuple):
    """Degrees."""

    west: float
    south: float
    east: float
    north: float

    def meets(self, other: Box) -> bool:
        across = self.west <= other.east and other.west <= self.east
        return across and self.south <= other.north and other.south <= self.north


class Row(NamedTuple):
    """An address or a building."""

    id: str
    street: str
    number: str
    postcode: str
    city: str
    box: Box | None
    """Of a point or a polygon; None for one that is no place on Earth."""
    wkb: bytes = b""
    region: str = ""


@dataclass(slots=True)
class _Group:
    rows: int = 0
    with_address: int = 0
    cities: Counter[str] = field(default_factory=Counter)
    streets: set[str] = field(default_factory=set)
    postcodes: set[str] = field(default_factory=set)

    def add(self, row: Row) -> None:
        self.rows += 1
        self.with_address += bool(row.street and row.number)
        if row.city:
            self.cities[row.city] += 1
        if row.street:
            self.streets.add(row.street)
        if row.postcode:
            self.postcodes.add(row.postcode)

    def counts(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "with_address": self.with_address,
            "streets": len(self.streets),
            "postcodes": len(self.postcodes),
            "cities": dict(self.cities.most_common(CITIES_SHOWN)),
        }


@dataclass(slots=True)
class Written:
    """One file in the form that enrichers read, and what is in it."""

    kind: str
    path: Path
    whole: _Group = field(default_factory=_Group)
    regions: dict[str, _Group] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    box: Box | None = None

    @property
    def rows(self) -> int:
        return self.whole.rows

    def counts(self) -> dict[str, Any]:
        regions = {name: group.counts() for name, group in sorted(self.regions.items())}
        return {**self.whole.counts(), "regions": regions, "left_out": dict(sorted(self.left_out.items()))}


class Writer:
    """Writes rows of one kind, and counts them."""

    def __init__(self, kind: str, path: Path, within: Box | None, city: str) -> None:
        self.written = Written(kind, path)
        self._within = within
        self._city = city

    @contextmanager
    def open(self) -> Iterator[Writer]:
        with self.written.path.open("w", encoding="utf-8", newline="") as file:
            self._rows = csv.writer(file, lineterminator="\n")
            self._rows.writerow(COLUMNS[self.written.kind])
            yield self

    def add(self, row: Row) -> None:
        written, box = self.written, row.box
        row = row if row.city else row._replace(city=self._city)
        reason = self._left_out(row)
        if reason or box is None:
            written.left_out[reason] += 1
            return
        place = (box.south, box.west) if written.kind == "addresses" else (row.wkb.hex(),)
        self._rows.writerow((*row[:5], *place))
        written.whole.add(row)
        if row.region:
            written.regions.setdefault(row.region, _Group()).add(row)
        known = written.box or box
        west, south = min(known.west, box.west), min(known.south, box.south)
        written.box = Box(west, south, max(known.east, box.east), max(known.north, box.north))

    def _left_out(self, row: Row) -> str:
        if row.box is None:
            return "no_polygon" if self.written.kind == "buildings" else "no_coordinates"
        if self._within and not self._within.meets(row.box):
            return "outside_bbox"
        return "no_street" if self.written.kind == "addresses" and not row.street else ""


def rewrite(path: Path, folder: Path, kind: str | None, within: Box | None, city: str) -> list[Written]:
    """Files in `folder`, one for each kind that is in the file. Raises UnreadableGeodata, OSError."""
    if path.name.endswith((".osm.pbf", ".osm", ".osm.gz", ".osm.bz2")):
        from tidemill.cli.geo_osm import read_osm

        kinds = [kind] if kind else list(COLUMNS)
        writers = {each: Writer(each, folder / f"{each}.csv", within, city) for each in kinds}
        with ExitStack() as stack:
            for writer in writers.values():
                stack.enter_context(writer.open())
            for of, row in read_osm(path, set(kinds)):
                writers[of].add(row)
        return [writer.written for writer in writers.values() if writer.written.rows or kind]
    batches = _parquet(path) if path.suffix in (".parquet", ".geoparquet") else _csv(path)
    first = next(batches, None)
    if first is None:
        raise UnreadableGeodata(f"{path.name} has no rows")
    found = _columns(first[0])
    chosen = kind or ("buildings" if "wkb" in found else "addresses")
    missing = [name for name in NEEDED[chosen] if name not in found]
    if missing:
        known = "; ".join(f"{name} ({', '.join(ALIASES[name])})" for name in missing)
        raise UnreadableGeodata(f"{path.name} has no column for {known}; it has {', '.join(first[0])[:300]}")
    writer = Writer(chosen, folder / f"{chosen}.csv", within, city)
    read = _buildings if chosen == "buildings" else _addresses
    with writer.open():
        for _, rows in _again(first, batches):
            for row in read(found, rows):
                writer.add(row)
    return [writer.written]


Batch = tuple[Sequence[str], Sequence[Sequence[Any]]]
"""Names of columns, and rows."""


def _again(first: Batch, others: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from others


def _columns(names: Sequence[str]) -> dict[str, int]:
    """Place of each column that we know."""
    lower = [name.strip().casefold() for name in names]
    return {
        ours: lower.index(found)
        for ours, theirs in ALIASES.items()
        if (found := next((name for name in theirs if name in lower), None))
    }


def _addresses(found: Mapping[str, int], rows: Sequence[Sequence[Any]]) -> Iterator[Row]:
    for row in rows:
        yield Row(
            *_texts(found, row), _point(row[found["latitude"]], row[found["longitude"]]), b"", _region(found, row)
        )


def _buildings(found: Mapping[str, int], rows: Sequence[Sequence[Any]]) -> Iterator[Row]:
    shapes = [_bytes(row[found["wkb"]]) for row in rows]
    for row, (box, wkb) in zip(rows, boxes_of(shapes), strict=True):
        yield Row(*_texts(found, row), box, wkb, _region(found, row))


def boxes_of(shapes: Sequence[bytes]) -> list[tuple[Box | None, bytes]]:
    """Bounds of polygons and multipolygons, and their well-known binary in one form; None for anything else."""
    import shapely

    polygons = shapely.force_2d(shapely.from_wkb(shapes, on_invalid="ignore"))
    wkb = shapely.to_wkb(polygons, byte_order=1, include_srid=False)
    kinds, bounds, empty = shapely.get_type_id(polygons), shapely.bounds(polygons), shapely.is_empty(polygons)
    found: list[tuple[Box | None, bytes]] = []
    for kind, (west, south, east, north), nothing, one in zip(kinds, bounds.tolist(), empty, wkb, strict=True):
        good = kind in (3, 6) and not nothing and _point(south, west) and _point(north, east)
        found.append((Box(west, south, east, north), one) if good else (None, b""))
    return found


def _texts(found: Mapping[str, int], row: Sequence[Any]) -> tuple[str, str, str, str, str]:
    id, street, number, postcode, city = (
        _text(row[found[name]]) if name in found else "" for name in ("id", "street", "number", "postcode", "city")
    )
    return id, street, number, postcode, city


def _region(found: Mapping[str, int], row: Sequence[Any]) -> str:
    return _text(row[found["region"]]) if "region" in found else ""


def _text(value: Any) -> str:
    return "" if value is None else " ".join(str(value).replace("\x00", "").split())


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(value or "")
    except (TypeError, ValueError):
        return b""


def _point(latitude: Any, longitude: Any) -> Box | None:
    try:
        y, x = float(latitude), float(longitude)
    except (TypeError, ValueError):
        return None
    return Box(x, y, x, y) if abs(y) <= 90 and abs(x) <= 180 else None  # NaN is neither.


def _csv(path: Path) -> Iterator[Batch]:
    csv.field_size_limit(min(FIELD_LETTERS, sys.maxsize))
    try:
        with _text_of(path) as file:
            head = file.readline()
            delimiter = max(",;\t|", key=head.count)
            names = next(csv.reader([head], delimiter=delimiter), [])
            rows: list[list[str]] = []
            for row in csv.reader(file, delimiter=delimiter):
                if row:
                    rows.append([*row, *[""] * (len(names) - len(row))])
                if len(rows) == BATCH:
                    yield names, rows
                    rows = []
            if rows:
                yield names, rows
    except (UnicodeDecodeError, csv.Error, EOFError, gzip.BadGzipFile) as error:
        raise UnreadableGeodata(f"{path.name} is no CSV in UTF-8: {error}") from error


@contextmanager
def _text_of(path: Path) -> Iterator[IO[str]]:
    with ExitStack() as stack:
        opened: Any = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # noqa: SIM115 - closed by the stack
        raw = stack.enter_context(opened)
        yield stack.enter_context(io.TextIOWrapper(raw, encoding="utf-8-sig", newline=""))


def _parquet(path: Path) -> Iterator[Batch]:
    import polars
    from polars.exceptions import PolarsError

    try:
        _refuse_other_systems(path.name, polars.read_parquet_metadata(path).get("geo"))
        frame = polars.scan_parquet(path)
        names = frame.collect_schema().names()
        known = [names[place] for place in sorted(_columns(names).values())]
        offset = 0
        while True:
            rows = frame.select(known or names).slice(offset, BATCH).collect().rows()
            if not rows:
                return
            yield known or names, rows
            offset += BATCH
    except PolarsError as error:
        raise UnreadableGeodata(f"{path.name} is no Parquet file: {error}") from error


def _refuse_other_systems(name: str, geo: str | None) -> None:
    """GeoParquet says in which coordinates and encoding a geometry is."""
    columns = json.loads(geo).get("columns", {}) if geo else {}
    for column, described in columns.items():
        if described.get("encoding", "WKB") != "WKB":
            raise UnreadableGeodata(f"{name}: {column} is encoded as {described['encoding']}; write it as WKB")
        crs = described.get("crs", {})
        id = crs.get("id", {}) if isinstance(crs, dict) else {}
        if id and (id.get("authority"), str(id.get("code"))) not in WGS84:
            raise UnreadableGeodata(f"{name}: {column} is in {id}; write it in WGS 84 (EPSG:4326)")
