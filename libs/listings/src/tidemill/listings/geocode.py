"""An address to a point, from a table of addresses: no request, and no finer than what is known."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from tidemill.listings.address import Address, HouseNumber, fold_city, fold_street, parse_numbers
from tidemill.listings.listing import Precision
from tidemill.listings.metres import distance_m

LIKENESS = 90.0
"""From this likeness on (rapidfuzz `ratio` of folded names, 0 to 100), a street that is not in the table is another's
misspelling. Measured over the addresses of OpenStreetMap, see test_geocode.py."""
MARGIN = 4.0
"""By which the most alike must be ahead of the next."""
NEIGHBOUR = 4
"""Difference in house numbers up to which a neighbour stands for the number asked for."""
SCALE = 1e7
"""Coordinates are kept as OpenStreetMap does: whole 10⁻⁷ degrees, about a centimetre."""

Indices = NDArray[np.int64]


class AddressPoint(NamedTuple):
    """A row of a register of addresses."""

    street: str
    number: str
    postcode: str
    city: str
    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Place:
    """A point and how well it stands for the address asked for."""

    latitude: float
    longitude: float
    precision: Precision
    """`building`: this number; `number`: a neighbour of it; `street`, `postcode`, `city`: an address in the middle."""
    within_m: float
    """0 for `building`; else how far the addresses that it stands for are at most (for `number`: unknown, so the
    distance of the next on the street)."""
    street: str = ""
    """As the table prints it."""
    number: str = ""
    postcode: str = ""
    city: str = ""
    likeness: float = 100.0
    """Of the street's name asked for and found; below 100 the name was misspelled."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A place, or none; and why it is no finer."""

    place: Place | None
    reason: str = ""
    """Empty for precision `building`."""


class AddressTable:
    """Addresses by street and city. About 30 bytes per address and 700 per street; immutable, so safe to share.

    Rows without coordinates on Earth, without street or without city are left out and counted in `ignored`.
    """

    def __init__(self, points: Iterable[AddressPoint]) -> None:
        self.ignored = 0
        self._letters: dict[str, int] = {"": 0}
        self._postcode_ids: dict[str, int] = {"": 0}
        self._streets: dict[tuple[str, str], int] = {}
        self._printed: list[tuple[str, str]] = []
        self._fill(points)
        self._by_name: dict[str, list[int]] = defaultdict(list)
        self._by_city: dict[str, list[int]] = defaultdict(list)
        for (street, city), number in self._streets.items():
            self._by_name[street].append(number)
            self._by_city[city].append(number)
        self._names = [street for street, _ in self._streets]
        self._letter_names = list(self._letters)
        self._postcode_names = list(self._postcode_ids)
        self._by_postcode = np.argsort(self._postcodes, kind="stable")
        self._postcode_starts = np.searchsorted(
            self._postcodes[self._by_postcode], np.arange(len(self._postcode_names) + 1)
        )

    def __len__(self) -> int:
        return len(self._low)

    def _fill(self, points: Iterable[AddressPoint]) -> None:
        streets, places, latitudes, longitudes = array("i"), array("i"), array("i"), array("i")
        lows, highs, letters = array("i"), array("i"), array("H")
        for point in points:
            key = fold_street(point.street), fold_city(point.city)
            if not (all(key) and abs(point.latitude) <= 90 and abs(point.longitude) <= 180):
                self.ignored += 1
                continue
            street = self._streets.setdefault(key, len(self._streets))
            if street == len(self._printed):
                self._printed.append((point.street, point.city))
            place = self._postcode_ids.setdefault(point.postcode, len(self._postcode_ids))
            for house in parse_numbers(point.number) or (HouseNumber(0, 0),):
                streets.append(street)
                places.append(place)
                latitudes.append(round(point.latitude * SCALE))
                longitudes.append(round(point.longitude * SCALE))
                lows.append(house.low)
                highs.append(house.high)
                letters.append(self._letters.setdefault(house.letter, len(self._letters)))
        order = np.lexsort((np.array(letters), np.array(lows), np.array(streets)))
        self._latitude = np.array(latitudes, dtype=np.int32)[order]
        self._longitude = np.array(longitudes, dtype=np.int32)[order]
        self._low, self._high = np.array(lows, dtype=np.int32)[order], np.array(highs, dtype=np.int32)[order]
        self._letter = np.array(letters, dtype=np.uint16)[order]
        self._postcodes = np.array(places, dtype=np.int32)[order]
        self._starts = np.searchsorted(np.array(streets, dtype=np.int32)[order], np.arange(len(self._streets) + 1))

    def bounds(self) -> tuple[float, float, float, float] | None:
        """(south, west, north, east) of all addresses, in degrees; None for an empty table."""
        return self._bounds(np.arange(len(self)))

    def city_bounds(self, city: str) -> tuple[float, float, float, float] | None:
        """(south, west, north, east) of a city's addresses; None for one that is not in the table."""
        return self._bounds(self._rows_of_city(fold_city(city)))

    def _bounds(self, rows: Indices) -> tuple[float, float, float, float] | None:
        if not len(rows):
            return None
        edges = [edge(axis[rows]) / SCALE for edge in (np.min, np.max) for axis in (self._latitude, self._longitude)]
        south, west, north, east = map(float, edges)
        return south, west, north, east

    def find(self, address: Address) -> Answer:
        """Where an address is: its number, else a neighbour, else the middle of its street, postcode or city.

        A street is looked for in its city, else in its postcode (portals name the municipality where a register names
        the village). Without both it must be the only one of its name. Nothing is guessed beyond `LIKENESS`.
        """
        city = fold_city(address.city)
        if not address.street:
            return self._middle(address, city, "no street")
        streets, likeness, reason = self._streets_of(address, city)
        if not streets:
            return self._middle(address, city, reason)
        rows = np.concatenate([np.arange(self._starts[one], self._starts[one + 1]) for one in streets])
        if (place := self._postcode_ids.get(address.postcode, 0)) and (within := self._postcodes[rows] == place).any():
            rows = rows[within]
        spread = self._spread(rows)
        houses = parse_numbers(address.number)
        if not houses:
            return Answer(self._place(*spread, "street", likeness), "no house number")
        wanted = houses[0]
        if exact := self._exact(rows, wanted, address.stair.lower()):
            return Answer(self._place(exact[0], 0.0, "building", likeness), reason)
        near = rows[np.abs(self._low[rows] - wanted.low) <= NEIGHBOUR]
        if len(near):
            return self._neighbour(near, wanted, likeness)
        return Answer(self._place(*spread, "street", likeness), f"no number near {address.number} on the street")

    def _streets_of(self, address: Address, city: str) -> tuple[list[int], float, str]:
        """Numbers of the streets meant (one street may have two registers' cities), likeness, and what is to be said
        of them."""
        name = fold_street(address.street)
        known = self._by_name.get(name, [])
        if meant := self._within(known, address, city):
            return meant, 100.0, ""
        if known and not (city or address.postcode):
            return [], 0.0, f"{len(known)} cities have a street {address.street!r}"
        return self._alike(name, address, city)

    def _within(self, streets: Sequence[int], address: Address, city: str) -> list[int]:
        in_city = [one for one in streets if city and self._city_of(one) == city]
        if in_city:
            return in_city
        if place := self._postcode_ids.get(address.postcode, 0):
            return [
                one for one in streets if (self._postcodes[self._starts[one] : self._starts[one + 1]] == place).any()
            ]
        return list(streets) if len(streets) == 1 and not (city or address.postcode) else []

    def _alike(self, name: str, address: Address, city: str) -> tuple[list[int], float, str]:
        candidates = self._by_city.get(city) or self._in_postcode(address.postcode)
        if not candidates:
            return [], 0.0, f"neither city nor postcode of {address.street!r} is in the table"
        names = [self._names[one] for one in candidates]
        first, second = (*process.extract(name, names, scorer=fuzz.ratio, limit=2), ("", 0.0, 0))[:2]
        printed = self._printed[candidates[first[2]]][0]
        if first[1] < LIKENESS or _digits(name) != _digits(first[0]):
            return [], first[1], f"no street {address.street!r}; the most alike is {printed!r} ({first[1]:.0f} %)"
        if first[1] - second[1] < MARGIN:
            other = self._printed[candidates[second[2]]][0]
            return [], first[1], f"{address.street!r} may be {printed!r} or {other!r}"
        return [candidates[first[2]]], first[1], f"{address.street!r} taken for {printed!r} ({first[1]:.0f} % alike)"

    def _in_postcode(self, postcode: str) -> list[int]:
        rows = self._rows_of_postcode(postcode)
        return sorted({int(one) for one in np.searchsorted(self._starts, rows, side="right") - 1})

    def _rows_of_postcode(self, postcode: str) -> Indices:
        if not (place := self._postcode_ids.get(postcode, 0)):
            return np.empty(0, dtype=np.int64)
        return self._by_postcode[self._postcode_starts[place] : self._postcode_starts[place + 1]]

    def _exact(self, rows: Indices, wanted: HouseNumber, stair: str) -> list[int]:
        """Rows of this number, the best first: the same letter, the stair's letter; a number within a range last."""
        inside = rows[(self._low[rows] <= wanted.high) & (self._high[rows] >= wanted.low)]
        found = []
        for row in map(int, inside):
            kept = HouseNumber(int(self._low[row]), int(self._high[row]), self._letter_names[self._letter[row]])
            if not (kept.covers(wanted.low) or wanted.covers(kept.low)):
                continue
            start = kept.low == wanted.low
            letter = wanted.letter or stair
            if start and kept.letter not in {wanted.letter, letter}:
                continue
            found.append((not start, kept.letter != letter, row))
        return [row for *_, row in sorted(found)]

    def _neighbour(self, near: Indices, wanted: HouseNumber, likeness: float) -> Answer:
        apart = np.abs(self._low[near] - wanted.low)
        other_side = apart % 2
        order = np.lexsort((apart, other_side))
        row = int(near[order[0]])
        place = self._place(row, self._spread(near, row)[1], "number", likeness)
        return Answer(place, f"the table has no number {wanted.low}{wanted.letter}; {place.number} is next to it")

    def _middle(self, address: Address, city: str, reason: str) -> Answer:
        """The middle of postcode or city, marked as such."""
        rows = self._rows_of_postcode(address.postcode)
        if len(rows):
            return Answer(self._place(*self._spread(rows), "postcode"), reason)
        rows = self._rows_of_city(city)
        if len(rows):
            return Answer(self._place(*self._spread(rows), "city"), reason)
        return Answer(None, reason)

    def _rows_of_city(self, city: str) -> Indices:
        streets = self._by_city.get(city, ())
        ranges = [np.arange(self._starts[one], self._starts[one + 1]) for one in streets]
        return np.concatenate(ranges) if ranges else np.empty(0, dtype=np.int64)

    def _spread(self, rows: Indices, centre: int | None = None) -> tuple[int, float]:
        """The row in the middle of some, and metres to the farthest of them."""
        latitudes, longitudes = self._latitude[rows] / SCALE, self._longitude[rows] / SCALE
        if centre is None:
            middle = np.median(latitudes), np.median(longitudes)
            centre = int(rows[np.argmin(distance_m(latitudes, longitudes, *middle))])
        distances = distance_m(latitudes, longitudes, self._latitude[centre] / SCALE, self._longitude[centre] / SCALE)
        return centre, float(distances.max())

    def _place(self, row: int, within_m: float, precision: Precision, likeness: float = 100.0) -> Place:
        street, city = self._printed[int(np.searchsorted(self._starts, row, side="right")) - 1]
        low, high = int(self._low[row]), int(self._high[row])
        number = f"{low}{self._letter_names[self._letter[row]]}" + (f"-{high}" if high > low else "")
        named = precision in ("building", "number", "street")
        return Place(
            float(self._latitude[row] / SCALE),
            float(self._longitude[row] / SCALE),
            precision,
            within_m,
            street=street if named else "",
            number=number if precision in ("building", "number") else "",
            postcode="" if precision == "city" else self._postcode_names[self._postcodes[row]],
            city=city,
            likeness=likeness,
        )

    def _city_of(self, street: int) -> str:
        return fold_city(self._printed[street][1])


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))
