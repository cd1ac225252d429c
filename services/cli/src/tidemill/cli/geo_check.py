"""The match rate of listings: how many points stand in or near buildings, and how many random ones would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tidemill.cli.reading import open_store
from tidemill.cli.tables import Column, print_table
from tidemill.listings.address import fold_city
from tidemill.listings.footprints import (
    BANDS_M,
    FLAWS,
    IMPLAUSIBLE,
    VERDICTS,
    Box,
    Checked,
    MatchRate,
    find_flaws,
    match_rate,
    random_points,
)
from tidemill.listings.verdict import Flaw, Verdict

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.listings.placing import Places

CHANCE_POINTS = 10_000
UNNAMED = "(no city)"
ALL = "all"
LISTINGS = """
    SELECT place_city, latitude, longitude, point_latitude, point_longitude, point_from, flaw, footprint, building_m,
        own_address, address, street, number
    FROM listings.listing WHERE (:source = '' OR source = :source)
"""


@dataclass(slots=True)
class Rate:
    """Of one city and one way to points."""

    city: str
    origin: str
    """`portal`: the portal's own points, flawed ones too; `address`: points that the address gave."""
    rate: MatchRate
    unknown: int
    """Points around which no buildings are known, and middles of streets and cities: not among the rate's."""
    own_address: Mapping[str, int]
    """`same` and `other`, where both addresses are known."""
    flaws: Mapping[str, int]
    crowded: int
    """Points that many different addresses share: middles of something."""
    chance: MatchRate | None = None


@dataclass(slots=True)
class Rates:
    cities: list[Rate] = field(default_factory=list)
    without_point: int = 0
    to_be_made: int = 0
    """Rows that are still to be made with the present data."""


async def measure(url: str, archive: str, source: str, city: str) -> Rates:
    """Raises what the archive raises."""
    from tidemill.converter.enriched import fetch_progress
    from tidemill.converter.geodata import fetch_references

    with TemporaryDirectory(prefix="tidemill-geo-") as folder:
        async with open_store(url) as connection:
            rows = await _fetch(connection, source, city)
            references = await fetch_references(connection)
            left = [one["rows"] - one["made"] for one in await fetch_progress(connection) if one["enricher"] == "place"]
        files: dict[str, list[Path]] = {}
        if rows and references:
            await _fetch_files(archive, Path(folder), references, files)
        from tidemill.listings.placing import open_places

        return _rates(rows, open_places(files), sum(left))


async def _fetch_files(url: str, folder: Path, references: Sequence[Any], files: dict[str, list[Path]]) -> None:
    from tidemill.common.archive import Archive

    async with Archive.open(url, make=False) as archive:
        for one in references:
            path = folder / f"{one.imported.sha256}.csv"
            await archive.fetch_to(one.imported.sha256, path)
            files.setdefault(one.imported.kind, []).append(path)


async def _fetch(connection: AsyncConnection, source: str, city: str) -> list[dict[str, Any]]:
    from sqlalchemy import text

    rows = [row._asdict() for row in await connection.execute(text(LISTINGS), {"source": source})]
    return [row for row in rows if not city or fold_city(row["place_city"] or "") == fold_city(city)]


def _rates(rows: Sequence[Mapping[str, Any]], places: Places, left: int) -> Rates:
    rates = Rates(to_be_made=left)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    cities: dict[str, Counter[str]] = {}
    for row in rows:
        name = row["place_city"] or ""
        city = fold_city(name)
        cities.setdefault(city, Counter())[name or UNNAMED] += 1
        if row["latitude"] is not None:
            groups.setdefault((city, "portal"), []).append(row)
        if row["point_from"] in ("addresses", "geocoder"):
            groups.setdefault((city, "address"), []).append(row)
        rates.without_point += row["point_from"] is None
    chances: dict[str, MatchRate | None] = {}
    for (city, origin), some in sorted(groups.items(), key=lambda group: (group[0][0], group[0][1] != "portal")):
        rate = _rate(cities[city].most_common(1)[0][0], origin, some)
        if city not in chances:
            chances[city] = _chance(places, city, some)
        rate.chance = chances[city]
        rates.cities.append(rate)
    for origin in ("portal", "address"):
        some = [row for (_, of), group in groups.items() if of == origin for row in group]
        if some and len(cities) > 1:
            whole = _rate(ALL, origin, some)
            whole.chance = _together([one for one in rates.cities if one.origin == origin])
            rates.cities.append(whole)
    return rates


def _rate(city: str, origin: str, rows: Sequence[Mapping[str, Any]]) -> Rate:
    codes, metres, own, flaws = [], [], Counter[str](), Counter[str]()
    unknown = 0
    for row in rows:
        flawed = origin == "portal" and row["flaw"]
        if flawed:
            flaws[row["flaw"]] += 1
            codes.append(IMPLAUSIBLE)
            metres.append(np.nan)
        elif row["footprint"] is None:
            unknown += 1
        else:
            codes.append(VERDICTS.index(Verdict(row["footprint"])))
            metres.append(np.nan if row["building_m"] is None else float(row["building_m"]))
            if row["own_address"] is not None:
                own["same" if row["own_address"] else "other"] += 1
    count = len(codes)
    nothing = np.zeros(count, dtype=np.uint8)
    checked = Checked(np.array(codes, dtype=np.uint8), np.full(count, -1), np.array(metres, dtype=np.float64), nothing)
    crowded = _crowded(rows) if origin == "portal" else 0
    return Rate(city, origin, match_rate(checked), unknown, own, flaws, crowded)


def _crowded(rows: Sequence[Mapping[str, Any]]) -> int:
    said = [row["address"] or " ".join(filter(None, (row["street"], row["number"]))) for row in rows]
    points = np.array([(row["latitude"], row["longitude"]) for row in rows], dtype=np.float64)
    return int(np.count_nonzero(find_flaws(*points.T, places=said) == FLAWS.index(Flaw.CENTROID)))


def _chance(places: Places, city: str, rows: Sequence[Mapping[str, Any]]) -> MatchRate | None:
    """Of random points in the city's box; without one in the table, in that of its points."""
    if places.footprints is None:
        return None
    box = places.city_box(city)
    if box is None:
        points = np.array(
            [(row["point_latitude"], row["point_longitude"]) for row in rows if row["point_latitude"] is not None],
            dtype=np.float64,
        ).reshape(-1, 2)
        if not len(points):
            return None
        (south, west), (north, east) = points.min(axis=0), points.max(axis=0)
        box = Box(south, west, north, east)
    return match_rate(places.footprints.check(*random_points(box, CHANCE_POINTS, 1)))


def _together(rates: Sequence[Rate]) -> MatchRate | None:
    """As many random points in each city as it has listings."""
    known = [(one.rate.points, one.chance) for one in rates if one.chance is not None and one.rate.points]
    total = sum(points for points, _ in known)
    if not total:
        return None

    def mean(values: Sequence[float]) -> float:
        return sum(points * value for (points, _), value in zip(known, values, strict=True)) / total

    chances = [chance for _, chance in known]
    within = {band: mean([one.within_m[band] for one in chances]) for band in BANDS_M}
    return MatchRate(
        sum(one.points for one in chances),
        mean([one.inside for one in chances]),
        within,
        mean([one.none for one in chances]),
        mean([one.implausible for one in chances]),
    )


def as_json(rates: Rates) -> dict[str, Any]:
    return {
        "rates": [asdict(one) for one in rates.cities],
        "without_point": rates.without_point,
        "to_be_made": rates.to_be_made,
    }


def print_rates(rates: Rates) -> None:
    columns = [Column("city"), Column("points of"), *(Column(name, right=True) for name in ("points", "inside"))]
    columns += [Column(f"≤ {band:g} m", right=True) for band in BANDS_M]
    columns += [Column(name, right=True) for name in ("none", "implausible", "own address", "not judged")]
    rows = []
    for number, one in enumerate(rates.cities):
        known = sum(one.own_address.values())
        own = f"{one.own_address.get('same', 0) / known:.1%}" if known else ""
        rows.append([one.city, one.origin, *_shares(one.rate), own, str(one.unknown)])
        after = rates.cities[number + 1].city if number + 1 < len(rates.cities) else ""
        if one.chance is not None and (after != one.city or one.city == ALL):
            rows.append(["", "chance", *_shares(one.chance), "", ""])
    print_table(columns, rows, ("city", "points of", "points", "inside"))
    flaws = Counter[str]()
    for one in rates.cities:
        if one.origin == "portal" and one.city != ALL:
            flaws.update(one.flaws)
    if flaws:
        print(f"implausible: {', '.join(f'{name} {count}' for name, count in flaws.most_common())}")
    crowded = sum(one.crowded for one in rates.cities if one.city != ALL)
    if crowded:
        print(f"{crowded} points are shared by many addresses: middles of something, whatever the portal says")
    if rates.without_point:
        print(f"{rates.without_point} listings have no point")
    if rates.to_be_made:
        print(f"{rates.to_be_made} are still to be made with the present data")


def _shares(rate: MatchRate) -> list[str]:
    shares = [rate.inside, *(rate.within_m[band] for band in BANDS_M), rate.none, rate.implausible]
    return [f"{rate.points:,}", *(f"{share:.1%}" for share in shares)]
