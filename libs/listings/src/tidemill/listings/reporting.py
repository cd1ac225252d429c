"""What reports say of property listings: prices and footprints by city, and how prices moved."""

from tidemill.plugin import Breakdown, Figure, Movement, Reporting

WHOLE_PRICE = "coalesce(debt_free_price, price)"
"""What a home costs its buyer, or the rent per month."""


def _per_m2(kind: str, currency: str) -> str:
    return f"CASE WHEN price_kind = '{kind}' AND currency = '{currency}' THEN {WHOLE_PRICE} / size_m2 END"


LISTINGS = Reporting(
    breakdowns=(
        Breakdown("city", "City", "coalesce(place_city, city)"),
        Breakdown("portal", "Portal", "portal"),
    ),
    figures=(
        Figure("price_per_m2_eur", "Median price per m²", _per_m2("sale", "EUR"), "median", "EUR/m²", measured=True),
        Figure("rent_per_m2_eur", "Median rent per m²", _per_m2("rent", "EUR"), "median", "EUR/m²", measured=True),
        Figure("price_per_m2_chf", "Median price per m²", _per_m2("sale", "CHF"), "median", "CHF/m²", measured=True),
        Figure("rent_per_m2_chf", "Median rent per m²", _per_m2("rent", "CHF"), "median", "CHF/m²", measured=True),
        Figure("size_m2", "Median living area", "size_m2", "median", "m²"),
        Figure("priced", "With a price", "price IS NOT NULL", "share"),
        Figure("points", "Points held against footprints", "footprint", "count"),
        Figure("inside", "Inside a building", "footprint = 'inside'", "share", measured=True),
        Figure("near", "Near a building", "footprint = 'near'", "share"),
        Figure("none", "No building there", "footprint = 'none'", "share"),
        Figure("implausible", "Implausible points", "footprint = 'implausible'", "share"),
    ),
    movements=(Movement("price", "Price", WHOLE_PRICE),),
)
