"""Labels of portals to the fields of a listing."""

import pytest

from tidemill.listings.converter import FIELDS
from tidemill.listings.labels import _CALLED, field_of_label, is_counter


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ("Kaufpreis:", "price"),
        ("Wohnfläche (netto)", "size_m2"),
        ("Velaton hinta", "debt_free_price"),
        ("Yhtiövastike", "monthly_charge"),
        ("Asuinpinta-ala", "size_m2"),
        ("Objekt-Nr.", "portal_id"),
        ("offers.price", "price"),
        ("numberOfRooms", "rooms"),
        ("Grundstück", "plot_m2"),
        ("Année de construction", "year_built"),
        ("Lieblingsfarbe", None),
        ("", None),
    ],
)
def test_a_label_is_known_whatever_its_case_brackets_and_umlauts(label: str, field: str | None) -> None:
    assert field_of_label(label) == field


def test_every_field_is_one_that_a_listing_has() -> None:
    assert set(_CALLED) <= set(FIELDS)


def test_counters_are_told_from_facts() -> None:
    assert is_counter("Aufrufe:")
    assert is_counter("pageViews count")
    assert not is_counter("Aussicht")
