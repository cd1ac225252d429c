"""Points against building footprints: inside, near, none, implausible; and what chance alone would give."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from tidemill.listings.address import Address, same_address
from tidemill.listings.metres import ECCENTRICITY_SQUARED, SEMI_MAJOR_M, Floats
from tidemill.listings.verdict import Flaw, Verdict

Indices = NDArray[np.int64]
Codes = NDArray[np.uint8]

NEAR_M = 50.0
"""Farther from every building, a point is at none."""
BANDS_M = (5.0, 10.0, 25.0, 50.0)
FIRST_LOOK_M = 10.0
"""Most points near a building are this near, and so small a look-up has few candidates."""
CROWD = 5
"""As many different addresses at one point are the middle of a postcode or city, not buildings."""
NEIGHBOURHOOD_M = 200.0
AT_ONCE = 8192
"""Points whose geometries fit into a processor's cache."""
SAME_POINT = 1e-6
"""Degrees, a tenth of a metre: closer points are one."""


VERDICTS = tuple(Verdict)
FLAWS = tuple(Flaw)
INSIDE, NEAR, NONE, IMPLAUSIBLE = range(4)


class Box(NamedTuple):
    """Degrees, WGS 84; does not cross the date line."""

    south: float
    west: float
    north: float
    east: float

    def holds(self, latitudes: Any, longitudes: Any) -> Any:
        """Whether points lie within or on the edge; for numbers or arrays."""
        across = (latitudes >= self.south) & (latitudes <= self.north)
        return across & (longitudes >= self.west) & (longitudes <= self.east)


class Footing(NamedTuple):
    """One point's result."""

    verdict: Verdict
    building: int | None
    """Index among the polygons."""
    distance_m: float | None
    """0 inside; None where no building is near."""
    flaw: Flaw


@dataclass(frozen=True, slots=True)
class Checked:
    """The results for an array of points, in its order."""

    verdicts: Codes
    """Index into VERDICTS."""
    buildings: Indices
    """Index among the polygons, -1 for none. Where footprints overlap, the lowest index."""
    distances_m: Floats
    """0 inside, NaN for none."""
    flaws: Codes
    """Index into FLAWS."""

    def __len__(self) -> int:
        return len(self.verdicts)

    def __getitem__(self, number: int) -> Footing:
        verdict = VERDICTS[self.verdicts[number]]
        if verdict in (Verdict.INSIDE, Verdict.NEAR):
            found = int(self.buildings[number]), float(self.distances_m[number])
            return Footing(verdict, *found, Flaw.SOUND)
        return Footing(verdict, None, None, FLAWS[self.flaws[number]])


class Footprints:
    """Building polygons, ready for points in bulk. Immutable.

    `polygons`: shapely polygons or multipolygons, x the longitude and y the latitude in degrees (EPSG:4326); None and
    empty ones are never matched, invalid ones are repaired. `addresses`: by index of the polygon, its own addresses.
    Takes about 1 kB per building, beside its polygon and addresses.
    """

    def __init__(
        self, polygons: Sequence[Any] | NDArray[Any], addresses: Mapping[int, Sequence[Address]] | None = None
    ) -> None:
        plane = shapely.transform(np.asarray(polygons, dtype=object), _projected)
        broken = ~shapely.is_valid(plane)
        broken &= ~shapely.is_missing(plane)
        plane[broken] = shapely.make_valid(plane[broken])
        shapely.prepare(plane)
        self._plane = plane
        self._bounds = shapely.bounds(plane)
        self._tree = shapely.STRtree(plane)
        self._addresses = addresses or {}

    def __len__(self) -> int:
        return len(self._plane)

    def with_addresses(self, addresses: Mapping[int, Sequence[Address]]) -> "Footprints":
        """The same buildings with these addresses, by index of the polygon; shares what was built."""
        other = copy(self)
        other._addresses = addresses
        return other

    def check(
        self, latitudes: ArrayLike, longitudes: ArrayLike, flaws: Codes | None = None, *, near_m: float = NEAR_M
    ) -> Checked:
        """Verdict, building and distance of points in degrees; `flaws` as `find_flaws` gives them, else only points
        that are missing or not on Earth are implausible.

        Distances are measured on the ellipsoidal Mercator plane and divided by its scale at the point (see
        `_projected`): for `near_m` up to 1 km right to 0.1 %.
        """
        latitude, longitude = _arrays(latitudes, longitudes)
        given = find_flaws(latitude, longitude) if flaws is None else flaws
        verdicts = np.full(len(latitude), IMPLAUSIBLE, dtype=np.uint8)
        buildings = np.full(len(latitude), -1, dtype=np.int64)
        distances = np.full(len(latitude), np.nan)
        sound = np.flatnonzero(given == 0)
        plane = _projected(np.column_stack([longitude[sound], latitude[sound]]))
        together = _by_neighbourhood(plane)
        for start in range(0, len(sound), AT_ONCE):
            some = together[start : start + AT_ONCE]
            rows = sound[some]
            buildings[rows], distances[rows] = self._stand(plane[some], _scale(latitude[rows]), near_m)
            verdicts[rows] = np.where(buildings[rows] < 0, NONE, np.where(distances[rows] == 0, INSIDE, NEAR))
        return Checked(verdicts, buildings, distances, given)

    def _stand(self, plane: Floats, scale: Floats, near_m: float) -> tuple[Indices, Floats]:
        """The building of each point of the plane and the metres to it; -1 and NaN for none."""
        points = shapely.points(plane)
        buildings = self._inside(plane, points)
        distances = np.where(buildings >= 0, 0.0, np.nan)
        outside = np.flatnonzero(buildings < 0)
        nearest, apart = self._nearest(plane[outside], points[outside], scale[outside], near_m)
        buildings[outside], distances[outside] = nearest, apart
        return buildings, distances

    def _inside(self, plane: Floats, points: NDArray[Any]) -> Indices:
        """The building around each point of the plane, or -1."""
        point, building = self._tree.query(points)
        hit = shapely.intersects_xy(self._plane[building], plane[point, 0], plane[point, 1])
        return _lowest(point[hit], building[hit], len(plane))

    def _nearest(self, plane: Floats, points: NDArray[Any], scale: Floats, near_m: float) -> tuple[Indices, Floats]:
        """The building nearest to each point and its metres, up to `near_m`; else -1 and NaN."""
        nearest = np.full(len(plane), -1, dtype=np.int64)
        metres = np.full(len(plane), np.nan)
        left = np.arange(len(plane))
        for reach in sorted({min(FIRST_LOOK_M, near_m), near_m}):
            found, apart = self._look(plane[left], points[left], scale[left], reach)
            nearest[left], metres[left] = found, apart
            left = left[nearest[left] < 0]
        return nearest, metres

    def _look(self, plane: Floats, points: NDArray[Any], scale: Floats, reach_m: float) -> tuple[Indices, Floats]:
        """Like `_nearest`, within one reach: all that can be nearer touches the square around the point."""
        x, y = plane.T
        reach = reach_m * scale
        at, building = self._tree.query(shapely.box(x - reach, y - reach, x + reach, y + reach))
        west, south, east, north = self._bounds[building].T
        x, y, reach = x[at], y[at], reach[at]
        at_least = np.hypot(
            np.maximum(np.maximum(west - x, x - east), 0), np.maximum(np.maximum(south - y, y - north), 0)
        )
        apart = np.full(len(at), np.inf)
        best = np.full(len(points), np.inf)

        def measure(pairs: Indices) -> None:
            apart[pairs] = shapely.distance(points[at[pairs]], self._plane[building[pairs]])
            np.minimum.at(best, at[pairs], apart[pairs])

        # First the building with the nearest bounds, then only what may be as near as that.
        nearest_bounds = np.full(len(points), np.inf)
        np.minimum.at(nearest_bounds, at, at_least)
        measure(np.flatnonzero((at_least == nearest_bounds[at]) & (at_least <= reach)))
        measure(np.flatnonzero((at_least <= best[at]) & np.isinf(apart) & (at_least <= reach)))
        tied = np.flatnonzero(np.isfinite(apart) & (apart == best[at]))
        ground = best / scale
        near = ground <= reach_m
        return np.where(near, _lowest(at[tied], building[tied], len(points)), -1), np.where(near, ground, np.nan)

    def own_address(self, checked: Checked, addresses: Sequence[Address | None]) -> list[bool | None]:
        """For each point whether its building's own address is the listing's; None where either is not known."""
        return [self._is_own(building, address) for building, address in zip(checked.buildings, addresses, strict=True)]

    def _is_own(self, building: int, address: Address | None) -> bool | None:
        own = self._addresses.get(int(building), ())
        if not own or address is None or not (address.street and address.number):
            return None
        return any(same_address(address, one) for one in own)


def find_flaws(
    latitudes: ArrayLike,
    longitudes: ArrayLike,
    box: Box | None = None,
    *,
    centroids: ArrayLike = (),
    places: Sequence[str] | None = None,
) -> Codes:
    """For each point the index into FLAWS.

    `box`: of the city, with some room. `centroids`: known middles of postcodes and cities, shape (n, 2), latitude
    first. `places`: what each listing says its address is; a point that `CROWD` different ones share is a middle (many
    flats of one house share a point, rightly).
    """
    latitude, longitude = _arrays(latitudes, longitudes)
    flaws = np.zeros(len(latitude), dtype=np.uint8)
    middles = np.asarray(centroids, dtype=np.float64).reshape(-1, 2)
    if len(middles):
        flaws[np.isin(_keys(latitude, longitude), _keys(*middles.T))] = FLAWS.index(Flaw.CENTROID)
    if places is not None:
        flaws[_crowded(_keys(latitude, longitude), places)] = FLAWS.index(Flaw.CENTROID)
    if box is not None:
        inside = box.holds(latitude, longitude)
        flaws[~inside] = FLAWS.index(Flaw.OUTSIDE)
        flaws[~inside & box.holds(longitude, latitude)] = FLAWS.index(Flaw.SWAPPED)
    flaws[(np.abs(latitude) < SAME_POINT) & (np.abs(longitude) < SAME_POINT)] = FLAWS.index(Flaw.ZERO)
    on_earth = np.isfinite(latitude) & np.isfinite(longitude) & (np.abs(latitude) < 90) & (np.abs(longitude) <= 180)
    missing = ~on_earth & (flaws != FLAWS.index(Flaw.SWAPPED))
    flaws[missing] = FLAWS.index(Flaw.MISSING)
    return flaws


def _crowded(keys: Indices, places: Sequence[str]) -> NDArray[np.bool_]:
    pairs = np.unique(np.rec.fromarrays([keys, np.unique(np.asarray(places), return_inverse=True)[1]]))
    points, counts = np.unique(pairs["f0"], return_counts=True)
    return np.isin(keys, points[counts >= CROWD])


def _keys(latitudes: Floats, longitudes: Floats) -> Indices:
    """One number per point, the same for points that round to the same `SAME_POINT`."""
    whole = [
        np.nan_to_num(np.round(one / SAME_POINT), nan=-1e9, posinf=-1e9, neginf=-1e9) for one in (latitudes, longitudes)
    ]
    return (whole[0].astype(np.int64) << 32) ^ (whole[1].astype(np.int64) & 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class MatchRate:
    """Shares (0 to 1) of all points of a check; `points` is their number."""

    points: int
    inside: float
    within_m: Mapping[float, float]
    """Share inside or at most so many metres away, by band."""
    none: float
    implausible: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A match rate next to that of random points in the same box: what is not above chance says nothing."""

    listings: MatchRate
    chance: MatchRate


def match_rate(checked: Checked, bands_m: Sequence[float] = BANDS_M) -> MatchRate:
    """How many points are inside a building and how many within each distance of one; all 0 without points."""
    count = max(len(checked), 1)
    shares = np.bincount(checked.verdicts, minlength=len(VERDICTS)) / count
    within = {band: float(np.count_nonzero(checked.distances_m <= band) / count) for band in bands_m}
    return MatchRate(len(checked), float(shares[INSIDE]), within, float(shares[NONE]), float(shares[IMPLAUSIBLE]))


def compare_with_chance(
    footprints: Footprints, checked: Checked, box: Box, *, points: int = 10_000, seed: int = 1
) -> Comparison:
    """The match rate, and that of `points` random points in the box. The same seed gives the same points."""
    chance = footprints.check(*random_points(box, points, seed))
    return Comparison(match_rate(checked), match_rate(chance))


def random_points(box: Box, count: int, seed: int) -> tuple[Floats, Floats]:
    """(latitudes, longitudes) of points spread evenly over a box's ground: even in the sine of the latitude."""
    chance = np.random.default_rng(seed)
    south, north = np.sin(np.radians([box.south, box.north]))
    return np.degrees(np.arcsin(chance.uniform(south, north, count))), chance.uniform(box.west, box.east, count)


def _arrays(latitudes: ArrayLike, longitudes: ArrayLike) -> tuple[Floats, Floats]:
    latitude, longitude = np.asarray(latitudes, dtype=np.float64), np.asarray(longitudes, dtype=np.float64)
    if latitude.ndim != 1 or latitude.shape != longitude.shape:
        raise ValueError(
            f"latitudes and longitudes are two rows of one length, not {latitude.shape} and {longitude.shape}"
        )
    return latitude, longitude


def _by_neighbourhood(plane: Floats) -> Indices:
    """An order in which points come with those around them: what the tree has just read is read again."""
    column, row = np.floor(plane / NEIGHBOURHOOD_M).astype(np.int64).T
    return np.argsort((row << 32) + column)


def _lowest(point: Indices, building: Indices, count: int) -> Indices:
    """The lowest building of each point, -1 for points without. The points ascend."""
    if len(point) < 2 or (np.diff(point) > 0).all():
        only = np.full(count, -1, dtype=np.int64)
        only[point] = building
        return only
    lowest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(lowest, point, building)
    lowest[lowest == np.iinfo(np.int64).max] = -1
    return lowest


def _projected(points: Floats) -> Floats:
    """Longitude and latitude in degrees to the ellipsoidal Mercator plane, shape (n, 2).

    x = aλ, y = a(artanh(sin φ) - e artanh(e sin φ)) (Snyder, USGS Professional Paper 1395, equations 7-6 and 7-7).
    Conformal: around each point, the plane is the ground times `_scale`, in all directions alike. So one tree serves
    all cities.
    """
    eccentricity = np.sqrt(ECCENTRICITY_SQUARED)
    sine = np.sin(np.radians(points[:, 1]))
    north = np.arctanh(sine) - eccentricity * np.arctanh(eccentricity * sine)
    return SEMI_MAJOR_M * np.column_stack([np.radians(points[:, 0]), north])


def _scale(latitudes: Floats) -> Floats:
    """Metres of the plane per metre of ground: √(1 - e² sin²φ) / cos φ (Snyder, equation 7-8)."""
    radians = np.radians(latitudes)
    return np.sqrt(1 - ECCENTRICITY_SQUARED * np.sin(radians) ** 2) / np.cos(radians)
