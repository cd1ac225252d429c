"""Parsers of headers take whatever a server sends."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.http.headers import (
    ContentRange,
    parse_content_range,
    parse_date,
    parse_encodings,
    parse_etag,
    parse_length,
    parse_media_type,
    parse_retry_after,
    sha256_of,
    strong,
)

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
ZERO_SHA = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
"""Of nothing, in base64."""


def test_a_content_range_is_read() -> None:
    assert parse_content_range("bytes 200-999/5000") == ContentRange(200, 999, 5000)
    assert parse_content_range("BYTES 0-0/*") == ContentRange(0, 0, None)
    assert parse_content_range("bytes */5000") == ContentRange(None, None, 5000)


@pytest.mark.parametrize(
    "value",
    [
        *[None, "", "bytes", "bytes 5-4/10", "bytes 0-10/10", "bytes -5/10", "items 0-1/2", "bytes 0-1"],
        *["bytes=0-1/2", "bytes 0-9/10, bytes 20-29/30", "bytes ٣-٤/٩", "bytes 0-9/" + "9" * 30],
    ],
)
def test_a_content_range_that_makes_no_sense_is_none(value: str | None) -> None:
    assert parse_content_range(value) is None


@settings(deadline=None)
@given(st.integers(0, 10**12), st.integers(0, 10**12), st.integers(1, 10**12))
def test_a_content_range_comes_back_as_it_was_written(first: int, length: int, more: int) -> None:
    told = ContentRange(first, first + length, first + length + more)
    assert parse_content_range(f"bytes {told.first}-{told.last}/{told.total}") == told


def test_only_a_quoted_etag_is_one_and_only_a_strong_one_promises_bytes() -> None:
    assert parse_etag(' "abc" ') == '"abc"'
    assert parse_etag('W/"abc"') == 'W/"abc"'
    assert parse_etag("abc") is None
    assert parse_etag('"a b"') is None
    assert parse_etag('"a"\r\nX: y') is None
    assert strong('"abc"') == '"abc"'
    assert strong('W/"abc"') is None
    assert strong(None) is None


def test_retry_after_in_seconds() -> None:
    assert parse_retry_after("120", now=NOW) == timedelta(seconds=120)
    assert parse_retry_after("0", now=NOW) == timedelta(0)
    assert parse_retry_after("9" * 40, now=NOW) == timedelta(days=365)


def test_retry_after_as_a_moment_is_counted_by_the_clock_of_the_host() -> None:
    moment = "Sun, 22 Nov 2026 20:05:00 GMT"
    assert parse_retry_after(moment, now=NOW) == timedelta(minutes=5)
    assert parse_retry_after(moment, now=NOW, date="Sun, 22 Nov 2026 20:04:00 GMT") == timedelta(minutes=1)
    assert parse_retry_after(moment, now=NOW + timedelta(hours=1)) == timedelta(0)
    assert parse_retry_after("Sunday, 22-Nov-26 20:05:00 GMT", now=NOW) == timedelta(minutes=5)


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "٣", "Sun, 99 Nov 2026 20:05:00 GMT"])
def test_retry_after_without_sense_is_none(value: str | None) -> None:
    assert parse_retry_after(value, now=NOW) is None


def test_a_stated_sha256_is_read_in_both_forms() -> None:
    expected = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_of(f"sha-512=:AAAA:, sha-256=:{ZERO_SHA}:", None) == expected
    assert sha256_of(None, f"SHA-256={ZERO_SHA}") == expected
    assert sha256_of("sha-256=:AAAA:", "sha-256=!") is None
    assert sha256_of(None, None) is None


def test_codings_that_change_nothing_are_left_out() -> None:
    assert parse_encodings("GZIP, identity ,, br") == ["gzip", "br"]
    assert parse_encodings(None) == []


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_breaks_a_parser(text: str) -> None:
    parse_content_range(text)
    parse_length(text)
    parse_date(text)
    parse_media_type(text)
    parse_encodings(text)
    sha256_of(text, text)
    wait = parse_retry_after(text, now=NOW, date=text)
    assert wait is None or timedelta(0) <= wait <= timedelta(days=365)
    etag = parse_etag(text)
    assert etag is None or not set("\r\n\0") & set(etag)
