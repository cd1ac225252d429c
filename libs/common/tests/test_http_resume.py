"""How to ask for the rest of a file and what to make of the answer: the five rules, without network."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.http.kinds import kind_of, mismatch
from tidemill.common.http.resume import (
    WHOLE,
    Append,
    AskWhole,
    Complete,
    Part,
    Senseless,
    StartOver,
    Unchanged,
    Validators,
    Verdict,
    how_to_ask,
    judge,
)

URL = "https://example.org/issue.pdf"
PART = Part(URL, 100, 500, '"1"', "Sun, 22 Nov 2026 20:00:00 GMT")
REST = how_to_ask(URL, PART)
RANGE = {"content-range": "bytes 100-499/500", "content-length": "400", "etag": '"1"'}


def test_a_part_with_a_strong_etag_is_resumed() -> None:
    assert REST.kind == "rest"
    assert REST.headers == {"Range": "bytes=100-", "If-Range": '"1"'}
    assert how_to_ask(URL, replace(PART, total=None)).kind == "rest"


@pytest.mark.parametrize(
    "part",
    [
        None,
        replace(PART, etag='W/"1"'),
        replace(PART, etag=None),
        replace(PART, size=0),
        replace(PART, size=501),
        replace(PART, url="https://example.org/other.pdf"),
    ],
)
def test_without_a_strong_etag_or_for_another_address_the_whole_is_asked_for(part: Part | None) -> None:
    assert how_to_ask(URL, part) is WHOLE


def test_a_part_that_is_whole_is_only_confirmed() -> None:
    assert how_to_ask(URL, replace(PART, size=500)).headers == {"If-None-Match": '"1"'}


def test_a_known_file_is_asked_for_only_if_it_changed_by_etag_first() -> None:
    assert how_to_ask(URL, None, Validators('W/"1"', "then")).headers == {"If-None-Match": 'W/"1"'}
    assert how_to_ask(URL, None, Validators(None, "then")).headers == {"If-Modified-Since": "then"}
    assert how_to_ask(URL, None, Validators()) is WHOLE
    assert how_to_ask(URL, PART, Validators('"old"')).kind == "rest"


def verdict(status: int, headers: Mapping[str, str], part: Part = PART) -> Verdict:
    return judge(how_to_ask(URL, part), part, status, headers)


def test_the_right_range_is_appended() -> None:
    assert verdict(206, RANGE) == Append(500)
    assert verdict(206, RANGE | {"content-range": "bytes 100-499/*"}) == Append(500)
    shorter = {"content-range": "bytes 100-199/500", "content-length": "100"}
    assert verdict(206, RANGE | shorter) == Append(500)
    assert verdict(206, RANGE, replace(PART, total=None)) == Append(500)


@pytest.mark.parametrize(
    ("wrong", "because"),
    [
        ({"content-range": "bytes 0-399/500"}, "a range from 0 came, and from 100 was asked for"),
        ({"content-range": "bytes 101-499/500"}, "a range from 101 came"),
        ({"content-range": "bytes 100-599/600"}, "the file has 600 bytes now, and had 500"),
        ({"content-range": "bytes */500"}, "without saying which"),
        ({"content-range": ""}, "without saying which"),
        ({"content-range": "bytes 100-99/500"}, "without saying which"),
        ({"content-length": "399"}, "a range of 400 bytes came in 399"),
        ({"etag": '"2"'}, 'the file is "2" now, and was "1"'),
        ({"etag": 'W/"1"'}, 'the file is W/"1" now'),
        ({"etag": ""}, "now, and was"),
        ({"content-type": "multipart/byteranges; boundary=x"}, "several ranges"),
        ({"content-encoding": "gzip"}, "a range of encoded bytes"),
    ],
)
def test_a_range_that_is_not_exactly_right_is_never_appended(wrong: dict[str, str], because: str) -> None:
    result = verdict(206, RANGE | wrong)
    assert isinstance(result, AskWhole)
    assert because in result.reason


def test_a_range_of_unknown_total_is_never_appended() -> None:
    assert isinstance(verdict(206, RANGE | {"content-range": "bytes 100-499/*"}, replace(PART, total=None)), AskWhole)


def test_a_200_starts_over() -> None:
    assert verdict(200, {"content-length": "700", "etag": '"2"'}) == StartOver(700, resumable=True)
    assert verdict(200, {"content-length": "700", "etag": 'W/"2"'}) == StartOver(700, resumable=False)
    assert verdict(200, {"transfer-encoding": "chunked", "etag": '"2"'}) == StartOver(None, resumable=True)
    encoded = {"content-length": "70", "content-encoding": "gzip", "etag": '"2"'}
    assert verdict(200, encoded) == StartOver(None, resumable=False)


def test_a_416_asks_for_the_whole_once() -> None:
    assert isinstance(verdict(416, {"content-range": "bytes */50"}), AskWhole)
    assert isinstance(judge(WHOLE, None, 416, {}), Senseless)


def test_a_304_means_what_was_asked() -> None:
    assert verdict(304, {}, replace(PART, size=500)) == Complete()
    assert judge(how_to_ask(URL, None, Validators('"1"')), None, 304, {}) == Unchanged()
    assert isinstance(verdict(304, {}), AskWhole)
    assert isinstance(judge(WHOLE, None, 304, {}), Senseless)


@pytest.mark.parametrize("status", [201, 202, 204, 205, 206])
def test_what_nobody_asked_for_is_no_file(status: int) -> None:
    assert isinstance(judge(WHOLE, None, status, RANGE), Senseless)


NUMBERS = st.integers(0, 12)
ETAGS = st.sampled_from(['"1"', '"2"', 'W/"1"', ""])


@settings(deadline=None)
@given(
    st.sampled_from([200, 203, 204, 206, 304, 416]),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    ETAGS,
    ETAGS,
    st.integers(1, 10),
    st.none() | st.integers(1, 10),
)
def test_nothing_is_ever_appended_but_the_next_bytes_of_the_same_file(
    status: int, told: tuple[int, int, int], etag: str, known: str, size: int, total: int | None
) -> None:
    first, last, whole = told
    part = Part(URL, size, total, known or None, None)
    ask = how_to_ask(URL, part)
    result = judge(ask, part, status, {"content-range": f"bytes {first}-{last}/{whole}", "etag": etag})
    if isinstance(result, Append):
        assert (status, ask.kind) == (206, "rest")
        assert first == size <= last < whole
        assert etag == known == '"1"' or etag == known == '"2"'
        assert total in (None, whole)
        assert result.total == whole


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.org/a/Issue%201.PDF?x=1", "pdf"),
        ("https://example.org/book.xlsx", "zip"),
        ("https://example.org/data.json.gz", "gzip"),
        ("https://example.org/download?id=5", "any"),
        ("https://example.org/", "any"),
    ],
)
def test_the_kind_goes_by_the_end_of_the_name(url: str, kind: str) -> None:
    assert kind_of(url, "auto") == kind
    assert kind_of(url, "xml") == "xml"


GOOD = {
    "pdf": [b"%PDF-1.7\n", b"\xef\xbb\xbf\n%PDF-1.4"],
    "zip": [b"PK\x03\x04rest", b"PK\x05\x06"],
    "gzip": [b"\x1f\x8b\x08\x00"],
    "json": [b'{"a": 1}', b"\xef\xbb\xbf [1]", b'"x"', b"-1", b"null"],
    "xml": [b'<?xml version="1.0"?><a/>', b"\n<rss>"],
    "html": [b"<!DOCTYPE html>", b"hello <html>", b"<p>"],
}


@pytest.mark.parametrize(("kind", "head"), [(kind, head) for kind, heads in GOOD.items() for head in heads])
def test_the_first_bytes_fit_their_kind(kind: str, head: bytes) -> None:
    assert mismatch(kind, head) is None  # type: ignore[arg-type]
    assert mismatch("any", head) is None


@pytest.mark.parametrize(
    ("kind", "head", "said"),
    [
        ("pdf", b"<html><title>Please\n log in</title>", "an HTML page titled 'Please log in' came where a PDF"),
        ("pdf", b"\n<!doctype HTML>", "an HTML page came where a PDF was expected"),
        ("pdf", b"", "nothing came where a PDF was expected"),
        ("zip", b"%PDF-1.4", "a PDF came where a ZIP file was expected"),
        ("json", b"<html>", "an HTML page came where JSON was expected"),
        ("xml", b"<!DOCTYPE html><html>", "an HTML page came where XML was expected"),
        ("gzip", b'{"error": "no"}', "JSON came where a gzip file was expected"),
        ("pdf", b"\x00\x01\x02", "something that begins with"),
        ("html", b"PK\x03\x04", "a ZIP file came where HTML was expected"),
    ],
)
def test_what_does_not_fit_is_described(kind: str, head: bytes, said: str) -> None:
    assert said in str(mismatch(kind, head))  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.sampled_from(list(GOOD)), st.binary(max_size=100))
def test_any_bytes_can_be_judged(kind: str, head: bytes) -> None:
    reason = mismatch(kind, head)  # type: ignore[arg-type]
    assert reason is None or "was expected" in reason
