"""What listings want reported is made of what their views have, what enrichers add among it."""

from tidemill.listings.listing import LISTING
from tidemill.plugin.report_conformance import assert_reports, columns_of


def test_reports_of_listings_conform() -> None:
    assert "footprint" in columns_of(LISTING)
    assert_reports(LISTING)
