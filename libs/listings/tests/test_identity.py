"""Which advertisements mean one home."""

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.listings.identity import WEIGHTS, Kinship, Proposal, Sighting, compare, price_changes, propose
from tidemill.listings.listing import Listing, hash_description
from tidemill.listings.metres import distance_m, metres_per_degree

NOW = dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
FLAT: dict[str, Any] = {
    "portal": "oikotie",
    "portal_id": "1",
    "url": "https://example.com/1",
    "price_kind": "sale",
    "price": 295_000,
    "currency": "EUR",
    "size_m2": 54.5,
    "rooms": 2,
    "street": "Fleminginkatu",
    "number": "15",
    "postcode": "00530",
    "city": "Helsinki",
}


def sighting(building: int | None = None, seen: tuple[int, int] = (0, 10), gone: bool = False, **said: Any) -> Sighting:
    listing = Listing.model_validate(FLAT | said)
    return Sighting(listing, NOW + seen[0] * DAY, NOW + seen[1] * DAY, building, gone)


def other(**said: Any) -> Sighting:
    return sighting(**({"portal": "etuovi", "portal_id": "9"} | said))


def evidence(proposal: Proposal | None) -> dict[str, float]:
    assert proposal is not None
    return {each.kind: each.agreement for each in proposal.evidence}


def test_one_flat_on_two_portals_is_proposed_with_its_evidence() -> None:
    [proposal] = propose([sighting(), other(size_m2=55, street="FLEMINGINKATU", price=299_000)])
    assert proposal.keys == ("etuovi/9", "oikotie/1")
    assert proposal.kinship is Kinship.DUPLICATE
    assert proposal.score > 0.8
    assert evidence(proposal).keys() == {"place", "size", "rooms", "price"}
    assert "54.5" in " ".join(each.detail for each in proposal.evidence)


def test_weights_add_up() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "said",
    [
        {"size_m2": 57},
        {"size_m2": None},
        {"rooms": 3},
        {"price_kind": "rent"},
        {"number": "17"},
        {"street": "Vaasankatu"},
        {"city": "Turku", "postcode": "20100"},
        {"floor": 5},
        {"stair": "B"},
    ],
)
def test_what_contradicts_keeps_two_advertisements_apart(said: dict[str, Any]) -> None:
    assert compare(sighting(floor=2, stair="A"), other(**({"floor": 2} | said))) is None
    assert propose([sighting(floor=2, stair="A"), other(**({"floor": 2} | said))]) == []


def test_two_flats_of_one_house_are_two() -> None:
    assert compare(sighting(stair="A", flat="3"), other(stair="A", flat="4")) is None
    assert compare(sighting(stair="A", flat="3"), other(stair="A")) is not None


def test_the_size_may_differ_by_two_per_cent() -> None:
    assert compare(sighting(size_m2=100), other(size_m2=98)) is not None
    assert compare(sighting(size_m2=100), other(size_m2=97.9)) is None


def test_points_of_one_place_stand_for_a_missing_address() -> None:
    north, east = metres_per_degree(60.187)
    nowhere = {"street": None, "number": None, "latitude": 60.187, "longitude": 24.951, "precision": "building"}
    beside = nowhere | {"latitude": 60.187 + 20 / north}
    apart = nowhere | {"longitude": 24.951 + 40 / east}
    assert "20 m apart" in str(compare(sighting(**nowhere), other(**beside)))
    assert compare(sighting(**nowhere), other(**apart)) is None
    assert compare(sighting(**nowhere), other(**beside | {"precision": "city"})) is None
    assert len(propose([sighting(**nowhere), other(**beside), other(**apart)])) == 1


def test_one_building_is_one_place_but_two_numbers_of_a_street_are_not() -> None:
    assert evidence(compare(sighting(building=7), other(building=7, street=None, number=None)))["place"] == 0.9
    assert evidence(compare(sighting(building=7), other(building=7, street="Vaasankatu", number="2")))["place"] == 0.6
    assert compare(sighting(building=7), other(building=7, number="17")) is None
    assert len(propose([sighting(building=7), other(building=7, street=None, number=None)])) == 1


def test_a_pair_that_agrees_in_little_is_not_proposed() -> None:
    far = other(price=400_000, floor=3, year_built=1990, title="Merinäköala", size_m2=53.5)
    near = sighting(floor=2, year_built=1930, title="Kaksio Kalliossa")
    assert propose([near, far]) == []
    assert len(propose([near, far], least=0.4)) == 1


def test_the_same_text_corroborates() -> None:
    text = hash_description("Valoisa kaksio  Kalliossa.")
    assert hash_description("valoisa KAKSIO\nKalliossa.") == text
    with_text = compare(sighting(description_hash=text), other(description_hash=text))
    assert evidence(with_text)["text"] == 1
    titled = compare(sighting(title="Valoisa kaksio"), other(title="Kaksio, valoisa"))
    assert evidence(titled)["text"] > 0.8


def test_a_flat_under_a_new_id_after_the_old_one_went_is_relisted() -> None:
    old = sighting(seen=(0, 20), gone=True)
    [proposal] = propose([sighting(portal_id="2", seen=(40, 50), price=270_000), old])
    assert (proposal.kinship, proposal.keys) == (Kinship.RELISTED, ("oikotie/1", "oikotie/2"))
    assert proposal.price_change == pytest.approx(-25_000 / 295_000, abs=1e-6)
    assert proposal.score > 0.85


def test_what_comes_back_after_long_is_another_sale() -> None:
    assert propose([sighting(seen=(0, 20), gone=True), sighting(portal_id="2", seen=(300, 310))]) == []


def test_two_ids_at_one_time_are_a_duplicate() -> None:
    [proposal] = propose([sighting(), sighting(portal_id="2", seen=(5, 10))])
    assert proposal.kinship is Kinship.DUPLICATE


def test_the_same_advertisement_is_no_pair() -> None:
    assert propose([sighting(), sighting(seen=(3, 10))]) == []


def test_prices_in_two_currencies_are_not_compared() -> None:
    proposal = compare(sighting(), other(currency="CHF"))
    assert proposal is not None and proposal.price_change is None
    assert "price" not in evidence(proposal)


@given(
    st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=2, max_size=8), st.sampled_from([0, 47.14, 69])
)
def test_every_pair_within_thirty_metres_is_compared(places: list[tuple[float, float]], latitude: float) -> None:
    north, east = metres_per_degree(latitude)
    points = [(latitude + y / north, 24.951 + x / east) for y, x in places]
    nowhere = {"street": None, "number": None, "precision": "building"}
    seen = [
        sighting(portal=f"p{n}", latitude=point[0], longitude=point[1], **nowhere) for n, point in enumerate(points)
    ]
    expected = {
        (f"p{one}/1", f"p{two}/1")
        for one in range(len(points))
        for two in range(one + 1, len(points))
        if distance_m(*points[one], *points[two]) <= 30
    }
    assert {proposal.keys for proposal in propose(seen, least=0)} == expected


def test_ten_thousand_listings_of_one_city_are_compared_by_place_alone() -> None:
    chance = random.Random(5)
    streets = [f"Testikatu{chr(97 + n % 26)}{chr(97 + n // 26)}katu" for n in range(200)]
    seen = [
        sighting(
            portal=("oikotie", "etuovi")[n % 2],
            portal_id=str(n),
            street=streets[n // 2 % 200],
            number=str(1 + n // 400),
            size_m2=20 + chance.random() * 100 if n % 2 == 0 else None,
        )
        for n in range(10_000)
    ]
    assert propose(seen) == []


def version(day: int, price: float | None, **said: Any) -> tuple[dt.datetime, Listing]:
    return NOW + day * DAY, Listing.model_validate(FLAT | {"price": price} | said)


def test_a_price_history_holds_changes_alone() -> None:
    versions = [version(9, 280_000, portal_id="2"), version(0, 300_000), version(1, 300_000), version(5, 290_000)]
    first, second = price_changes(versions)
    assert (first.before, first.after, first.at, first.key) == (300_000, 290_000, NOW + 5 * DAY, "oikotie/1")
    assert (second.key, second.share) == ("oikotie/2", pytest.approx(-1 / 29))


def test_a_missing_price_and_another_currency_are_no_change() -> None:
    assert price_changes([version(0, 300_000), version(1, None), version(2, 300_000)]) == []
    assert price_changes([version(0, 300_000), version(1, 1_000, price_kind="rent"), version(2, 300_000)]) == []
    assert price_changes([version(0, 300_000), version(1, 280_000, currency="CHF")]) == []
    assert price_changes([]) == []


def test_the_debt_free_price_is_what_a_home_costs() -> None:
    [change] = price_changes([version(0, 300_000), version(1, 250_000, debt_free_price=310_000)])
    assert change.after == 310_000


def test_a_change_from_nothing_has_no_share() -> None:
    [change] = price_changes([version(0, 0), version(1, 10)])
    assert change.share == 0
