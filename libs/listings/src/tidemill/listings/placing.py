"""Listings to places, in bulk: address, point, flaws, building, quality."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, cast, get_args

import numpy as np
import shapely

from tidemill.listings.address import Address, fold_city, fold_street, format_address, parse_address
from tidemill.listings.coverage import Coverage
from tidemill.listings.footprints import FLAWS, INSIDE, NEAR, Box, Checked, Codes, Footprints, find_flaws
from tidemill.listings.geocode import AddressPoint, AddressTable
from tidemill.listings.listing import Listing, Precision
from tidemill.listings.metres import Floats, metres_per_degree
from tidemill.listings.place import Place
from tidemill.listings.quality import assess
from tidemill.listings.verdict import Flaw, Verdict
from tidemill.plugin import Located, References, Subject
from tidemill.plugin.reference import read_addresses, read_buildings

CITY_MARGIN_M = 10_000.0
"""A table may hold a part of a city: so far around its addresses, a point may still be in it."""
ENTRANCE_M = 5.0
"""An address that is so near to a building is the building's: entrances are drawn on outlines, which are rounded."""
AT_ONCE = 50_000
AREAS: frozenset[Precision] = frozenset({"postcode", "city"})
HOUSES: frozenset[Precision] = frozenset({"building", "unknown"})
"""What may be asked for its building. The middle of a street stands in some house, which says nothing."""
FINE: frozenset[Precision] = frozenset({"building", "number"})


@dataclass(frozen=True, slots=True)
class Point:
    """A point to use for a listing."""

    latitude: float
    longitude: float
    origin: str
    precision: Precision
    within_m: float | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Places:
    """What is known of addresses and buildings. Without both, the portal's word is all there is."""

    table: AddressTable | None
    footprints: Footprints | None
    buildings: Sequence[str]
    """Ids, by index of the footprints."""
    coverage: Coverage

    def enrich(self, subjects: Sequence[Subject]) -> list[Mapping[str, Any]]:
        listings = [cast(Listing, one.record) for one in subjects]
        addresses = [address_of(listing) for listing in listings]
        flaws = self.flaws(listings, addresses)
        points = [
            self._point(listing, address, FLAWS[flaw], one.located)
            for listing, address, flaw, one in zip(listings, addresses, flaws, subjects, strict=True)
        ]
        checked, known = self._check(points)
        own = self.footprints.own_address(checked, addresses) if self.footprints else [None] * len(points)
        return [
            self._describe(
                subject, addresses[n], FLAWS[flaws[n]], points[n], checked, n, known=bool(known[n]), own=own[n]
            )
            for n, subject in enumerate(subjects)
        ]

    def question(self, record: Any) -> str:
        """The address, where neither the portal nor the table has a point as fine as a house number."""
        address = address_of(record)
        flaw = FLAWS[self.flaws([record], [address])[0]]
        point = self._point(record, address, flaw, None)
        fine = point is not None and (point.origin == "portal" or point.precision in FINE)
        return "" if fine or not (address.street and (address.city or address.postcode)) else format_address(address)

    def flaws(self, listings: Sequence[Listing], addresses: Sequence[Address]) -> Codes:
        """Of the portal's points, by index into FLAWS; a listing without one has the flaw `missing`."""
        latitudes, longitudes = _points([listing.point for listing in listings])
        found = np.zeros(len(listings), dtype=np.uint8)
        cities: dict[str, list[int]] = {}
        for number, address in enumerate(addresses):
            cities.setdefault(fold_city(address.city), []).append(number)
        for city, numbers in cities.items():
            box = self.city_box(city)
            around = box or (self.box() if self.table else None)
            some = find_flaws(latitudes[numbers], longitudes[numbers], _wider(around) if around else None)
            if box is None:
                # Of a city that is not in the table nothing is known but that it is no other part of the Earth's.
                some[some == FLAWS.index(Flaw.OUTSIDE)] = 0
            found[numbers] = some
        areas = np.array([listing.precision in AREAS for listing in listings], dtype=bool)
        found[areas & (found == 0)] = FLAWS.index(Flaw.CENTROID)
        return found

    def city_box(self, city: str) -> Box | None:
        """Around a city's addresses; None for one that the table does not know."""
        found = self.table.city_bounds(city) if self.table else None
        return Box(*found) if found else None

    def box(self) -> Box | None:
        """Around all addresses."""
        found = self.table.bounds() if self.table else None
        return Box(*found) if found else None

    def _point(self, listing: Listing, address: Address, flaw: Flaw, located: Located | None) -> Point | None:
        point = listing.point
        if point and not flaw:
            return Point(*point, "portal", listing.precision or "unknown")
        answer = self.table.find(address) if self.table else None
        place = answer.place if answer else None
        reason = answer.reason if answer else ""
        if located and not (place and place.precision in FINE):
            told = located.precision if located.precision in get_args(Precision) else "unknown"
            return Point(located.latitude, located.longitude, "geocoder", cast(Precision, told), None, reason)
        if place:
            within = round(place.within_m, 1)
            return Point(place.latitude, place.longitude, "addresses", place.precision, within, reason)
        return None

    def _check(self, points: Sequence[Point | None]) -> tuple[Checked, Any]:
        """Results, and for which points buildings are known around."""
        houses = [(one.latitude, one.longitude) if one and one.precision in HOUSES else None for one in points]
        latitudes, longitudes = _points(houses)
        if self.footprints is None:
            nothing = np.zeros(len(points), dtype=np.uint8)
            return Checked(nothing, np.full(len(points), -1), np.full(len(points), np.nan), nothing), nothing
        return self.footprints.check(latitudes, longitudes), self.coverage.holds(latitudes, longitudes)

    def _describe(
        self,
        subject: Subject,
        address: Address,
        flaw: Flaw,
        point: Point | None,
        checked: Checked,
        number: int,
        *,
        known: bool,
        own: bool | None,
    ) -> Mapping[str, Any]:
        listing = cast(Listing, subject.record)
        footing = checked[number] if known else None
        verdict = footing.verdict if footing else None
        building = footing.building if footing else None
        if point is None and listing.point:
            verdict = Verdict.IMPLAUSIBLE
        quality = assess(
            _completed(listing, address, point),
            subject.at,
            country=address.country or listing.country,
            verdict=verdict,
            own_address=own if known else None,
        )
        remarks = quality.remarks
        if point and listing.point and flaw:
            remarks = (*remarks, f"the portal's coordinates are no place: {flaw}")
        place = Place(
            place_street=address.street or None,
            place_number=address.number or None,
            place_postcode=address.postcode or None,
            place_city=address.city or None,
            place_country=address.country,
            point_latitude=point and point.latitude,
            point_longitude=point and point.longitude,
            point_from=point and point.origin,
            point_precision=point and point.precision,
            point_within_m=point and point.within_m,
            point_reason=(point and point.reason) or None,
            flaw=str(flaw) if flaw and listing.point else None,
            footprint=str(verdict) if verdict else None,
            building=None if building is None else self.buildings[building],
            building_m=round(footing.distance_m, 2) if footing and footing.distance_m is not None else None,
            own_address=own if known else None,
            quality=quality.score,
            quality_parts={name: round(part, 4) for name, part in quality.parts.items()},
            remarks=remarks,
        )
        return place.model_dump(mode="json", exclude_none=True)


def address_of(listing: Listing) -> Address:
    """From its fields, and from the printed address where they say less."""
    said = Address(
        street=listing.street or "",
        number=listing.number or "",
        stair=listing.stair or "",
        flat=listing.flat or "",
        postcode=listing.postcode or "",
        city=listing.city or "",
        district=listing.district or "",
        country=listing.country,
    )
    if not listing.address or (said.street and said.number and said.city):
        return said
    read = parse_address(listing.address, listing.country)
    if not said.street or fold_street(said.street) == fold_street(read.street):
        house = {name: getattr(said, name) or getattr(read, name) for name in ("street", "number", "stair", "flat")}
        said = replace(said, **house)
    return replace(
        said,
        postcode=said.postcode or read.postcode,
        city=said.city or read.city,
        district=said.district or read.district,
        country=said.country or read.country,
    )


def open_places(references: References) -> Places:
    """Raises OSError and ValueError for files that cannot be read."""
    table = AddressTable(_addresses(references))
    ids: list[str] = []
    shapes: list[bytes] = []
    own: dict[int, list[Address]] = {}
    for row in chain.from_iterable(map(read_buildings, references.get("buildings", ()))):
        if row.street and row.number:
            own[len(ids)] = [Address(street=row.street, number=row.number, postcode=row.postcode, city=row.city)]
        ids.append(row.id)
        shapes.append(row.wkb)
    known = table if len(table) else None
    if not ids:
        return Places(known, None, (), Coverage((), ()))
    polygons = shapely.from_wkb(shapes)
    footprints = Footprints(polygons)
    addresses = _addresses(references)
    while some := list(islice(addresses, AT_ONCE)):
        _attach(own, some, footprints)
    west, south, east, north = shapely.bounds(polygons).T
    return Places(known, footprints.with_addresses(own), ids, Coverage((south + north) / 2, (west + east) / 2))


def _addresses(references: References) -> Iterator[AddressPoint]:
    """From the files: they are read twice rather than kept."""
    for path in references.get("addresses", ()):
        for row in read_addresses(path):
            yield AddressPoint(*row[1:])


def _attach(own: dict[int, list[Address]], points: Sequence[AddressPoint], footprints: Footprints) -> None:
    """To each building the addresses within it or at its walls."""
    latitudes, longitudes = _points([(point.latitude, point.longitude) for point in points])
    checked = footprints.check(latitudes, longitudes, near_m=ENTRANCE_M)
    for number in map(int, np.flatnonzero((checked.verdicts == INSIDE) | (checked.verdicts == NEAR))):
        point = points[number]
        address = Address(street=point.street, number=point.number, postcode=point.postcode, city=point.city)
        own.setdefault(int(checked.buildings[number]), []).append(address)


def _points(points: Iterable[tuple[float, float] | None]) -> tuple[Floats, Floats]:
    """(latitudes, longitudes); NaN for none."""
    given = np.array([point or (np.nan, np.nan) for point in points], dtype=np.float64).reshape(-1, 2)
    return given[:, 0], given[:, 1]


def _wider(box: Box) -> Box:
    north, east = metres_per_degree((box.south + box.north) / 2)
    up, aside = CITY_MARGIN_M / north, CITY_MARGIN_M / east
    return Box(box.south - up, box.west - aside, box.north + up, box.east + aside)


def _completed(listing: Listing, address: Address, point: Point | None) -> Listing:
    """With what its address says, at the point to use."""
    parts: dict[str, Any] = {
        name: getattr(address, name) or None for name in ("street", "number", "postcode", "city", "country")
    }
    if point:
        parts |= {"latitude": point.latitude, "longitude": point.longitude, "precision": point.precision}
    return listing.model_copy(update=parts)
