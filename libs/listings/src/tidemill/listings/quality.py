"""How good a listing is, from 0 to 1, and what it lacks."""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tidemill.listings.listing import Country, Listing, Precision, PriceKind, age_days
from tidemill.listings.verdict import Verdict

WEIGHTS: Mapping[str, float] = {
    "completeness": 0.35,
    "validity": 0.20,
    "plausibility": 0.20,
    "freshness": 0.10,
    "geocoding": 0.15,
}
"""Of the five parts; they add up to 1."""

FIELDS: Mapping[str, float] = {
    "price": 3,
    "size_m2": 3,
    "rooms": 2,
    "city": 2,
    "street": 2,
    "number": 1,
    "postcode": 1,
    "year_built": 1,
    "type": 1,
    "published": 1,
    "floor": 0.5,
    "condition": 0.5,
    "energy_class": 0.5,
    "agent_or_company": 0.5,
}
"""What each field counts for completeness."""

PLACED: Mapping[Precision, float] = {
    "building": 1.0,
    "number": 0.9,
    "street": 0.6,
    "postcode": 0.3,
    "city": 0.1,
    "unknown": 0.5,
}
"""What a point counts by what it stands for."""
STANDING: Mapping[Verdict, float] = {
    Verdict.INSIDE: 1.0,
    Verdict.NEAR: 0.9,
    Verdict.NONE: 0.5,
    Verdict.IMPLAUSIBLE: 0.0,
}
"""By what the footprints say, multiplied with PLACED."""

FRESH_DAYS = 90.0
STALE_DAYS = 730.0
"""Freshness falls in a straight line from 1 at FRESH_DAYS to 0 at STALE_DAYS."""


class Band(NamedTuple):
    """What is usual, and beyond which limits a value is surely wrong. Between them the plausibility falls in a straight
    line from 1 to 0."""

    impossible_below: float
    usual_from: float
    usual_to: float
    impossible_above: float

    def plausibility(self, value: float) -> float:
        """0 to 1."""
        if value < self.usual_from:
            return _share(value, self.impossible_below, self.usual_from)
        if value > self.usual_to:
            return 1 - _share(value, self.usual_to, self.impossible_above)
        return 1.0


@dataclass(frozen=True, slots=True)
class Ranges:
    """The bands of a source or city."""

    price_per_m2: Mapping[tuple[PriceKind, str], Band]
    """By price kind and currency, per m² (and month, for a rent); another currency is not judged."""
    size_m2: Band
    m2_per_room: Band
    rooms: Band
    floor: Band
    year_built: Band


RANGES = Ranges(
    price_per_m2={
        ("sale", "EUR"): Band(50, 400, 15_000, 60_000),
        ("sale", "CHF"): Band(200, 1_500, 25_000, 90_000),
        ("rent", "EUR"): Band(1, 4, 50, 200),
        ("rent", "CHF"): Band(2, 8, 80, 300),
    },
    size_m2=Band(4, 12, 400, 3_000),
    m2_per_room=Band(4, 9, 70, 300),
    rooms=Band(0.5, 1, 12, 60),
    floor=Band(-6, -2, 30, 100),
    year_built=Band(1_000, 1_600, 2_200, 2_201),  # What lies ahead is a rule's matter, which knows the time.
)
"""Our own judgement, wide on purpose: from a village in eastern Finland to the middle of Munich or Zürich. They find
slips of a decimal point, not bargains; a source that knows its market replaces them."""


@dataclass(frozen=True, slots=True)
class Quality:
    """A listing's score, the parts it comes from, and what a person would say about it."""

    score: float
    """0 (unusable) to 1."""
    parts: Mapping[str, float]
    """By WEIGHTS, each 0 to 1; a part of which nothing can be said is missing."""
    remarks: tuple[str, ...]
    """For instance `no price`, `price per m² 12 EUR is implausible`."""


def assess(
    listing: Listing,
    now: dt.datetime,
    *,
    country: Country | None = None,
    verdict: Verdict | None = None,
    own_address: bool | None = None,
    ranges: Ranges = RANGES,
) -> Quality:
    """The quality of a listing at a time (with zone).

    score = Σ weight·part / Σ weight over the parts of which something can be said, with
    completeness = Σ FIELDS of what is there / Σ FIELDS;
    validity = share of the rules that hold among those that apply (see RULES);
    plausibility = the product of the bands' plausibilities, so that one impossible value makes it 0;
    freshness = 1 up to FRESH_DAYS after publication, 0 from STALE_DAYS on;
    geocoding = PLACED · STANDING, times 0.7 where the building is known to have another address; 0 without a point.

    `country` is the source's, where the listing names none. `verdict` and `own_address` are those of the footprint
    check; without one the point is taken as it is.
    """
    remarks: list[str] = []
    found = {
        "completeness": _completeness(listing, remarks),
        "validity": _validity(listing, country or listing.country, now, remarks),
        "plausibility": _plausibility(listing, ranges, remarks),
        "freshness": _freshness(listing, now, remarks),
        "geocoding": _geocoding(listing, verdict, own_address, remarks),
    }
    parts = {name: part for name, part in found.items() if part is not None}
    score = sum(WEIGHTS[name] * part for name, part in parts.items()) / sum(WEIGHTS[name] for name in parts)
    return Quality(round(score, 4), parts, tuple(remarks))


def mean_parts(qualities: Sequence[Quality]) -> dict[str, float]:
    """`score` and each part as means over a run, a part over the listings that have it; empty without listings."""
    values: dict[str, list[float]] = {}
    for quality in qualities:
        for name, part in {"score": quality.score, **quality.parts}.items():
            values.setdefault(name, []).append(part)
    return {name: sum(some) / len(some) for name, some in values.items()}


def _completeness(listing: Listing, remarks: list[str]) -> float:
    said = {name: getattr(listing, name, None) for name in FIELDS}
    said["agent_or_company"] = listing.agent or listing.company
    missing = [name for name, value in said.items() if value in (None, "")]
    remarks += [f"no {name}" for name in missing if FIELDS[name] >= 1]
    return 1 - sum(FIELDS[name] for name in missing) / sum(FIELDS.values())


Rule = Callable[[Listing, Country | None, dt.datetime], bool | None]
"""Whether a rule holds; None where it does not apply."""


def _postcode_fits(listing: Listing, country: Country | None, _: dt.datetime) -> bool | None:
    if not listing.postcode or country is None:
        return None
    digits = listing.postcode
    if country == "LI":
        return digits.isdecimal() and 9485 <= int(digits) <= 9498
    return digits.isdecimal() and len(digits) == (5 if country in ("FI", "DE") else 4)


def _floor_fits(listing: Listing, _: Country | None, __: dt.datetime) -> bool | None:
    return None if listing.floor is None or listing.floors is None else listing.floor <= listing.floors


def _debt_free_fits(listing: Listing, _: Country | None, __: dt.datetime) -> bool | None:
    if listing.debt_free_price is None or listing.price is None:
        return None
    return listing.debt_free_price >= listing.price


def _year_fits(listing: Listing, _: Country | None, now: dt.datetime) -> bool | None:
    return None if listing.year_built is None else listing.year_built <= now.year + 5


def _published_fits(listing: Listing, _: Country | None, now: dt.datetime) -> bool | None:
    age = age_days(listing, now)
    return None if age is None else age >= -1


def _priced(listing: Listing, _: Country | None, __: dt.datetime) -> bool | None:
    return None if listing.price is None else listing.price > 0


RULES: Mapping[str, Rule] = {
    "the postcode is not one of its country": _postcode_fits,
    "the floor is above the last": _floor_fits,
    "the debt-free price is below the asking price": _debt_free_fits,
    "built more than five years ahead": _year_fits,
    "published in the future": _published_fits,
    "the price is zero": _priced,
}
"""What is said when a rule does not hold."""


def _validity(listing: Listing, country: Country | None, now: dt.datetime, remarks: list[str]) -> float | None:
    results = {remark: rule(listing, country, now) for remark, rule in RULES.items()}
    applied = [holds for holds in results.values() if holds is not None]
    remarks += [remark for remark, holds in results.items() if holds is False]
    return sum(applied) / len(applied) if applied else None


def _plausibility(listing: Listing, ranges: Ranges, remarks: list[str]) -> float | None:
    product: float | None = None
    for name, value, band in _measured(listing, ranges):
        plausible = band.plausibility(value)
        if plausible < 0.5:
            remarks.append(f"{name} {value:g} is implausible (usual: {band.usual_from:g} to {band.usual_to:g})")
        product = plausible if product is None else product * plausible
    return product


def _measured(listing: Listing, ranges: Ranges) -> list[tuple[str, float, Band]]:
    per_m2 = ranges.price_per_m2.get((listing.price_kind, listing.currency or ""))
    per_room = listing.size_m2 / listing.rooms if listing.size_m2 and listing.rooms else None
    values = (
        (f"price per m² in {listing.currency}", listing.price_per_m2, per_m2),
        ("size in m²", listing.size_m2, ranges.size_m2),
        ("m² per room", per_room, ranges.m2_per_room),
        ("number of rooms", listing.rooms, ranges.rooms),
        ("floor", listing.floor, ranges.floor),
        ("year built", listing.year_built, ranges.year_built),
    )
    return [(name, value, band) for name, value, band in values if value is not None and band is not None]


def _freshness(listing: Listing, now: dt.datetime, remarks: list[str]) -> float | None:
    age = age_days(listing, now)
    if age is None:
        return None
    if age > STALE_DAYS:
        remarks.append(f"published {age:.0f} days ago")
    return 1 - _share(age, FRESH_DAYS, STALE_DAYS)


def _geocoding(listing: Listing, verdict: Verdict | None, own_address: bool | None, remarks: list[str]) -> float:
    if listing.point is None:
        remarks.append("no coordinates")
        return 0.0
    placed = PLACED[listing.precision or "unknown"]
    if verdict is Verdict.IMPLAUSIBLE:
        remarks.append("implausible coordinates")
    elif verdict is Verdict.NONE:
        remarks.append("no building near its coordinates")
    if own_address is False:
        remarks.append("the building at its coordinates has another address")
    return placed * (STANDING[verdict] if verdict else 1.0) * (0.7 if own_address is False else 1.0)


def _share(value: float, low: float, high: float) -> float:
    """How far a value is from low to high, within 0 and 1."""
    return min(1.0, max(0.0, (value - low) / (high - low)))
