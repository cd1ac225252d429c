"""What reports say of property listings: prices and footprints by city, and how prices moved."""

from tidemill.plugin import Breakdown, Figure, Movement, Reporting

WHOLE_PRICE = "coalesce(debt_free_price, price)"
"""What a home costs its buyer, or the rent per month."""


def _level(what: str, kind: str, currency: str) -> Figure:
    per_m2 = f"CASE WHEN price_kind = '{kind}' AND currency = '{currency}' THEN {WHOLE_PRICE} / size_m2 END"
    name, title = f"{what}_per_m2_{currency.lower()}", f"Median {what} per m², {currency}"
    return Figure(name, title, per_m2, "median", f"{currency}/m²", measured=True)


LISTINGS = Reporting(
    breakdowns=(
        Breakdown("city", "City", "coalesce(place_city, city)"),
        Breakdown("portal", "Portal", "portal"),
    ),
    figures=(
        _level("price", "sale", "EUR"),
        _level("rent", "rent", "EUR"),
        _level("price", "sale", "CHF"),
        _level("rent", "rent", "CHF"),
        Figure("size_m2", "Median living area", "size_m2", "median", "m²"),
        Figure("priced", "With a price", "price IS NOT NULL", "share", measured=True),
        Figure("points", "Points held against footprints", "footprint", "count"),
        Figure("inside", "Inside a building", "footprint = 'inside'", "share", measured=True),
        Figure("near", "Near a building", "footprint = 'near'", "share"),
        Figure("none", "No building there", "footprint = 'none'", "share"),
        Figure("implausible", "Implausible points", "footprint = 'implausible'", "share"),
    ),
    movements=(Movement("price", "Price", WHOLE_PRICE),),
)
