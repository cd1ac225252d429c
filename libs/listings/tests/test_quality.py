"""How good a listing is."""

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.listings.listing import Listing
from tidemill.listings.quality import RANGES, WEIGHTS, Band, Quality, assess, mean_parts
from tidemill.listings.verdict import Verdict

NOW = dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC)
GOOD: dict[str, Any] = {
    "portal": "oikotie",
    "portal_id": "1",
    "url": "https://example.com/1",
    "price_kind": "sale",
    "price": 295_000,
    "currency": "EUR",
    "debt_free_price": 300_000,
    "size_m2": 54.5,
    "rooms": 2,
    "floor": 3,
    "floors": 5,
    "year_built": 1936,
    "type": "flat",
    "condition": "good",
    "energy_class": "D",
    "street": "Fleminginkatu",
    "number": "15",
    "postcode": "00530",
    "city": "Helsinki",
    "country": "FI",
    "latitude": 60.187,
    "longitude": 24.951,
    "precision": "building",
    "company": "Kiinteistö Oy",
    "published": "2026-10-20T10:00:00+02:00",
}


def assessed(verdict: Verdict | None = Verdict.INSIDE, own: bool | None = True, **said: Any) -> Quality:
    return assess(Listing.model_validate(GOOD | said), NOW, verdict=verdict, own_address=own)


def test_a_listing_that_says_all_and_stands_in_its_building_is_perfect() -> None:
    quality = assessed()
    assert quality.score == 1
    assert quality.parts == dict.fromkeys(WEIGHTS, 1)
    assert quality.remarks == ()


def test_weights_add_up() -> None:
    assert sum(WEIGHTS.values()) == pytest.approx(1)


def test_the_score_is_the_weighted_mean_of_its_parts() -> None:
    quality = assessed(verdict=Verdict.NEAR, own=False, floor=9, year_built=None)
    expected = sum(WEIGHTS[name] * part for name, part in quality.parts.items())
    assert quality.score == pytest.approx(expected, abs=1e-4)
    assert quality.parts["geocoding"] == pytest.approx(0.9 * 0.7)
    assert quality.parts["validity"] == pytest.approx(4 / 5)
    assert quality.parts["completeness"] == pytest.approx(1 - 1 / 19)


@pytest.mark.parametrize(
    ("said", "part", "remark"),
    [
        ({"price": None, "debt_free_price": None}, "completeness", "no price"),
        ({"postcode": "8001"}, "validity", "the postcode is not one of its country"),
        ({"country": "LI", "postcode": "9500"}, "validity", "the postcode is not one of its country"),
        ({"floor": 6}, "validity", "the floor is above the last"),
        ({"debt_free_price": 200_000}, "validity", "the debt-free price is below the asking price"),
        ({"year_built": 2036}, "validity", "built more than five years ahead"),
        ({"published": "2026-12-01T00:00:00Z"}, "validity", "published in the future"),
        ({"price": 0}, "validity", "the price is zero"),
        (
            {"debt_free_price": 3_000},
            "plausibility",
            "price per m² in EUR 55.0459 is implausible (usual: 400 to 15000)",
        ),
        ({"size_m2": 5450}, "plausibility", "size in m² 5450 is implausible (usual: 12 to 400)"),
        ({"rooms": 50}, "plausibility", "m² per room 1.09 is implausible (usual: 9 to 70)"),
        ({"published": "2020-01-01T00:00:00Z"}, "freshness", "published 2496 days ago"),
        ({"latitude": None, "longitude": None}, "geocoding", "no coordinates"),
    ],
)
def test_what_is_wrong_lowers_its_part_and_is_said(said: dict[str, Any], part: str, remark: str) -> None:
    quality = assessed(**said)
    assert quality.parts[part] < 1
    assert quality.score < 1
    assert remark in quality.remarks


@pytest.mark.parametrize(
    ("verdict", "own", "share", "remark"),
    [
        (None, None, 1.0, None),
        (Verdict.NONE, None, 0.5, "no building near its coordinates"),
        (Verdict.IMPLAUSIBLE, None, 0.0, "implausible coordinates"),
        (Verdict.INSIDE, False, 0.7, "the building at its coordinates has another address"),
    ],
)
def test_geocoding_follows_the_footprints(verdict: Verdict | None, own: bool | None, share: float, remark: str) -> None:
    quality = assessed(verdict, own)
    assert quality.parts["geocoding"] == pytest.approx(share)
    assert quality.remarks == ((remark,) if remark else ())


def test_a_city_centre_counts_little_as_a_point() -> None:
    assert assessed(None, None, precision="city").parts["geocoding"] == 0.1
    assert assessed(None, None, precision=None).parts["geocoding"] == 0.5


def test_nothing_is_made_of_what_nobody_said() -> None:
    bare = {key: GOOD[key] for key in ("portal", "portal_id", "url", "price_kind")}
    quality = assess(Listing.model_validate(bare), NOW)
    assert quality.parts == {"completeness": 0.0, "geocoding": 0.0}
    assert quality.score == 0


def test_the_sources_country_is_used_where_a_listing_names_none() -> None:
    listing = Listing.model_validate(GOOD | {"country": None, "postcode": "8001"})
    assert "the postcode is not one of its country" in assess(listing, NOW, country="FI").remarks
    assert assess(listing, NOW, country="CH").parts["validity"] == 1


def test_a_source_may_have_its_own_ranges() -> None:
    ranges = replace(RANGES, price_per_m2={("sale", "EUR"): Band(5_500, 6_000, 7_000, 8_000)})
    assert assess(Listing.model_validate(GOOD), NOW, ranges=ranges).parts["plausibility"] == pytest.approx(
        0.00917, 1e-2
    )


def test_another_currency_is_not_measured_by_euros() -> None:
    assert assessed(currency="SEK", price=9_000_000).parts["plausibility"] == 1


def test_a_run_has_the_means_of_its_listings() -> None:
    means = mean_parts([assessed(), assessed(published=None), assessed(None, None, latitude=None, longitude=None)])
    assert means["freshness"] == 1
    assert means["geocoding"] == pytest.approx(2 / 3)
    assert mean_parts([]) == {}


@given(st.floats(-1e9, 1e9))
def test_plausibility_is_a_share_that_falls_off_on_both_sides(value: float) -> None:
    band = RANGES.size_m2
    assert 0 <= band.plausibility(value) <= 1
    if value >= band.usual_to:
        assert band.plausibility(value) >= band.plausibility(value + 1)
    if value <= band.usual_from:
        assert band.plausibility(value) >= band.plausibility(value - 1)
