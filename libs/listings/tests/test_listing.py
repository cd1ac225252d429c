"""What a listing holds."""

from importlib.metadata import entry_points
from typing import Any

import pytest
from pydantic import ValidationError

from tidemill.listings.listing import LISTING, Listing

LEAST: dict[str, Any] = {"portal": "oikotie", "portal_id": "17", "url": "https://example.com/17", "price_kind": "rent"}


def test_the_dataset_is_found_by_entry_point() -> None:
    [point] = entry_points(group="tidemill.datasets", name="listings.listing")
    assert point.load() is LISTING
    assert set(LISTING.summary) <= set(Listing.model_fields)
    assert LISTING.disappears == "by_run"


def test_a_listing_needs_little_and_guesses_nothing() -> None:
    listing = Listing.model_validate(LEAST)
    assert listing.key == "oikotie/17"
    assert listing.model_dump(exclude_none=True) == LEAST | {"status": "active"}
    assert (listing.point, listing.price_per_m2, listing.whole_price) == (None, None, None)


def test_the_price_per_square_metre_is_of_what_the_home_costs() -> None:
    said = LEAST | {"price": 100_000, "debt_free_price": 150_000, "currency": "EUR", "size_m2": 50}
    assert Listing.model_validate(said).price_per_m2 == 3_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"portal_id": ""},
        {"price": -1, "currency": "EUR"},
        {"price": 100},
        {"currency": "€"},
        {"latitude": 60.1},
        {"latitude": 160.1, "longitude": 24.9},
        {"size_m2": 0},
        {"size_m2": float("nan")},
        {"rooms": 2.3},
        {"published": "2026-01-01T00:00:00"},
        {"status": "perhaps"},
        {"description_hash": "none"},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Listing.model_validate(LEAST | wrong)


def test_half_rooms_of_switzerland_are_rooms() -> None:
    assert Listing.model_validate(LEAST | {"rooms": 3.5}).rooms == 3.5
