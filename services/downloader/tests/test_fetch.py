from datetime import UTC, datetime

import pytest

from tidemill.downloader.fetch import find_checksum, parse_date

SUM, OTHER = "a" * 64, "B" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SUM, SUM),
        (f"{OTHER}  mix.pdf\n", OTHER.lower()),
        (f"{SUM} *mix.pdf\n{OTHER}  other.pdf\n", SUM),
        (f"SHA256 (mix.pdf) = {SUM}\nSHA256 (other.pdf) = {OTHER}\n", SUM),
        (f"{SUM}  a.pdf\n{OTHER}  b.pdf\n", None),
        (f"{SUM}{SUM}", None),
        ("<html>not found</html>", None),
    ],
)
def test_a_published_checksum_is_found_by_the_name_of_the_file(text: str, found: str | None) -> None:
    assert find_checksum(text, "mix.pdf") == found


def test_dates_of_http_are_read_and_others_are_none() -> None:
    assert parse_date("Fri, 24 Jul 2026 05:00:00 GMT") == datetime(2026, 7, 24, 5, tzinfo=UTC)
    assert parse_date("Fri, 24 Jul 2026 05:00:00 -0000") == datetime(2026, 7, 24, 5, tzinfo=UTC)
    assert parse_date("yesterday") is None
    assert parse_date(None) is None
