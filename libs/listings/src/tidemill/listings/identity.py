"""Which advertisements mean one home: proposals with evidence, never a silent merge; and the line of its prices."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from rapidfuzz import fuzz

from tidemill.listings.address import Address, fold_city, fold_street, parse_numbers, same_address
from tidemill.listings.listing import Listing
from tidemill.listings.metres import distance_m

SIZE_TOLERANCE = 0.02
"""Of the larger size. Portals round: 54.5 m² is 54 and 55."""
SAME_PLACE_M = 30.0
EXACT = frozenset({"building", "number"})
"""Precisions of points that tell one building from its neighbour."""
RELISTED_WITHIN = dt.timedelta(days=180)
"""A home that comes back later than this is sold again."""

WEIGHTS: Mapping[str, float] = {
    "size": 0.25,
    "place": 0.30,
    "rooms": 0.10,
    "price": 0.15,
    "floor": 0.10,
    "year": 0.05,
    "text": 0.05,
}
"""What each kind of evidence counts; they add up to 1."""


class Kinship(StrEnum):
    """What a pair is proposed to be."""

    DUPLICATE = "duplicate"
    """The same home on two portals, or twice on one."""
    RELISTED = "relisted"
    """The same home on the same portal under a new id, after the old one ended."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An advertisement with what is known beyond its own words."""

    listing: Listing
    first_seen: dt.datetime
    last_seen: dt.datetime
    """Still there, if this is the newest run."""
    building: int | None = None
    """Index of the footprint around its point."""
    gone: bool = False

    @property
    def address(self) -> Address:
        one = self.listing
        return Address(
            one.street or "", one.number or "", one.stair or "", one.flat or "", one.postcode or "", one.city or ""
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """One comparison."""

    kind: str
    """Of WEIGHTS."""
    agreement: float
    """0 (contradicts) to 1 (equal)."""
    detail: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """Two advertisements that a person may find to be one home."""

    keys: tuple[str, str]
    """Of the listings, the earlier seen first."""
    kinship: Kinship
    score: float
    """0 to 1: the mean of the agreements by WEIGHTS, over what both say."""
    evidence: tuple[Evidence, ...]
    price_change: float | None
    """Of the later against the earlier, as a share (-0.1: ten per cent less), where both have one in one currency."""


def propose(sightings: Iterable[Sighting], least: float = 0.7) -> list[Proposal]:
    """Pairs that pass the gate (size within 2 %, rooms equal, one place) with a score of at least `least`, the best
    first.

    The gate needs what it compares: a listing without size or place is paired with none. What else is said only
    corroborates or weakens. Only listings that share a place are compared, so the work grows with the number of
    listings, not with its square.
    """
    seen: set[tuple[str, str]] = set()
    proposals = []
    for one, other in _neighbours(list(sightings)):
        earlier, later = sorted((one, other), key=lambda each: (each.first_seen, each.listing.key))
        keys = earlier.listing.key, later.listing.key
        if keys[0] == keys[1] or keys in seen:
            continue
        seen.add(keys)
        if (proposal := compare(earlier, later)) is not None and proposal.score >= least:
            proposals.append(proposal)
    return sorted(proposals, key=lambda each: (-each.score, each.keys))


def compare(earlier: Sighting, later: Sighting) -> Proposal | None:
    """What speaks for two advertisements being one home; None where the gate keeps them apart."""
    one, other = earlier.listing, later.listing
    place = _place(earlier, later)
    size = _size(one, other)
    if place is None or size is None or one.price_kind != other.price_kind or _contradict(one, other):
        return None
    kinship = _kinship(earlier, later)
    if kinship is None:
        return None
    evidence = (place, size, *_corroborate(one, other, kinship))
    weight = sum(WEIGHTS[each.kind] for each in evidence)
    score = sum(WEIGHTS[each.kind] * each.agreement for each in evidence) / weight
    return Proposal((one.key, other.key), kinship, round(score, 4), evidence, _price_change(one, other))


def _neighbours(sightings: Sequence[Sighting]) -> Iterator[tuple[Sighting, Sighting]]:
    """Pairs of nearly one size that share a building, an address or a square of ground; some come twice."""
    blocks: dict[object, list[tuple[float, Sighting]]] = defaultdict(list)
    for one in sightings:
        if (size := one.listing.size_m2) is not None:
            for block in _blocks(one):
                blocks[block].append((size, one))
    for members in blocks.values():
        members.sort(key=lambda member: member[0])
        for number, (size, one) in enumerate(members):
            for other_size, other in islice(members, number + 1, None):
                if other_size > size * (1 + 2 * SIZE_TOLERANCE):
                    break
                yield one, other


def _blocks(one: Sighting) -> Iterator[object]:
    if one.building is not None:
        yield "building", one.building
    address = one.address
    if address.street and (numbers := parse_numbers(address.number)):
        for house in numbers:
            yield from (("address", fold_street(address.street), n) for n in range(house.low, house.high + 1)[:20])
    if one.listing.precision in EXACT and (point := one.listing.point):
        # Squares of at least SAME_PLACE_M: a pair within it shares one of the four around the nearer corner.
        north, east = point[0] * 2000, point[1] * 800
        for row in (int(north // 1), int(north // 1) + (1 if north % 1 >= 0.5 else -1)):
            for column in (int(east // 1), int(east // 1) + (1 if east % 1 >= 0.5 else -1)):
                yield "square", row, column


def _place(one: Sighting, other: Sighting) -> Evidence | None:
    """One address, one building, or points that tell buildings apart and lie together. Two numbers of one street are
    two places, whatever the points say; a corner house may have addresses in two streets."""
    left, right = one.address, other.address
    complete = all((each.street and each.number) for each in (left, right))
    if complete and same_address(left, right):
        flats = {left.flat, right.flat} - {""}
        stairs = {left.stair, right.stair} - {""}
        if len(flats) > 1 or len(stairs) > 1:
            return None
        return Evidence("place", 1.0, f"{left.street} {left.number}" + (f", flat {flats.pop()}" if flats else ""))
    streets = {fold_street(left.street), fold_street(right.street)}
    differ = complete and _same_city(left, right)
    if differ and len(streets) == 1:
        return None
    if one.building is not None and one.building == other.building:
        return Evidence("place", 0.6 if differ else 0.9, "the same building")
    if (
        not differ
        and {one.listing.precision, other.listing.precision} <= EXACT
        and one.listing.point
        and other.listing.point
    ):
        apart = float(distance_m(*one.listing.point, *other.listing.point))
        if apart <= SAME_PLACE_M:
            return Evidence("place", 0.8 - 0.3 * apart / SAME_PLACE_M, f"{apart:.0f} m apart")
    return None


def _same_city(left: Address, right: Address) -> bool:
    return not (left.city and right.city) or fold_city(left.city) == fold_city(right.city)


def _size(one: Listing, other: Listing) -> Evidence | None:
    if one.size_m2 is None or other.size_m2 is None:
        return None
    apart = abs(one.size_m2 - other.size_m2) / max(one.size_m2, other.size_m2)
    if apart > SIZE_TOLERANCE + 1e-9:
        return None
    return Evidence("size", 1 - apart / SIZE_TOLERANCE / 2, f"{one.size_m2:g} and {other.size_m2:g} m²")


def _contradict(one: Listing, other: Listing) -> bool:
    """What two advertisements of one home cannot say differently."""
    rooms = one.rooms is not None and other.rooms is not None and one.rooms != other.rooms
    floors = one.floor is not None and other.floor is not None and abs(one.floor - other.floor) > 1
    return rooms or floors  # One floor apart: some portals count the ground floor as 1.


def _kinship(earlier: Sighting, later: Sighting) -> Kinship | None:
    if earlier.listing.portal != later.listing.portal or later.first_seen <= earlier.last_seen:
        return Kinship.DUPLICATE
    if not earlier.gone or later.first_seen - earlier.last_seen > RELISTED_WITHIN:
        return None
    return Kinship.RELISTED


def _corroborate(one: Listing, other: Listing, kinship: Kinship) -> Iterator[Evidence]:
    if one.rooms is not None and other.rooms is not None:
        yield Evidence("rooms", 1.0, f"{one.rooms:g} rooms")
    prices = one.whole_price, other.whole_price
    if prices[0] and prices[1] and one.currency == other.currency:
        apart = abs(prices[0] - prices[1]) / max(prices[0], prices[1])
        room = 0.3 if kinship is Kinship.RELISTED else 0.1  # Who lists again, often asks less.
        yield Evidence("price", max(0.0, 1 - apart / room), f"{prices[0]:g} and {prices[1]:g} {one.currency}")
    if one.floor is not None and other.floor is not None:
        yield Evidence("floor", 1.0 if one.floor == other.floor else 0.5, f"floors {one.floor} and {other.floor}")
    if one.year_built is not None and other.year_built is not None:
        apart_years = abs(one.year_built - other.year_built)
        detail = f"built {one.year_built} and {other.year_built}"
        yield Evidence("year", max(0.0, 1 - apart_years / 5), detail)
    if one.description_hash and other.description_hash and one.description_hash == other.description_hash:
        yield Evidence("text", 1.0, "the same description")
    elif one.title and other.title:
        likeness = fuzz.token_set_ratio(one.title.casefold(), other.title.casefold()) / 100
        yield Evidence("text", likeness, f"titles {likeness:.0%} alike")


def _price_change(earlier: Listing, later: Listing) -> float | None:
    before, after = earlier.whole_price, later.whole_price
    if not before or after is None or earlier.currency != later.currency:
        return None
    return round(after / before - 1, 6)


@dataclass(frozen=True, slots=True)
class PriceChange:
    """From one price to the next."""

    at: dt.datetime
    """When the new price was first seen."""
    key: str
    """Of the listing that asked it: another one's after a re-listing."""
    before: float
    after: float
    currency: str

    @property
    def share(self) -> float:
        """-0.1: ten per cent less."""
        return self.after / self.before - 1 if self.before else 0.0


def price_changes(versions: Iterable[tuple[dt.datetime, Listing]]) -> list[PriceChange]:
    """The changes of what a home costs over the versions of its listing or, after a re-listing, of its listings.

    Versions come in any order; one without price, or in another currency or price kind than the one before, changes
    nothing: it neither counts nor is compared with.
    """
    changes: list[PriceChange] = []
    last: Listing | None = None
    for at, listing in sorted(versions, key=lambda version: (version[0], version[1].key)):
        price = listing.whole_price
        if price is None or listing.currency is None:
            continue
        if last is not None and (listing.currency, listing.price_kind) != (last.currency, last.price_kind):
            continue
        if last is not None and last.whole_price is not None and price != last.whole_price:
            changes.append(PriceChange(at, listing.key, last.whole_price, price, listing.currency))
        last = listing
    return changes
