"""Whatever a server answers: no exception, and an end."""

import json
import time
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.extract import Page, PageRules, SearchRules, advance, begin, extract, judge, plain, starts

FIXTURES = Path(__file__).parent / "fixtures"
BODIES = [next(site.glob("page.*")).read_bytes() for site in sorted(FIXTURES.iterdir())]
PIECES = st.sampled_from(
    [
        *b"< > </ <dl><dt> <dd> <table><tr><td> </script> { [ Kaufpreis 1'2 <!-- <template> <svg>".split(),
        *(b"&#x110000;", b"&nbsp;"),
        *(b"<script type=application/ld+json>", b'"@type":', b'"', b"<div itemscope itemtype=Apartment>", b"\xc2\xa0"),
        *(b"<b itemprop=price>", b"\xff", b"\x00", b"\\ud800", b"window.__ETAT__ =", b"<base href='http://['>"),
    ]
)
KINDS = ("text", "integer", "decimal", "money", "area", "rooms", "year", "date", "coordinates", "boolean", "json")
RULES = (
    {"css": "b, dd, td"},
    {"css": "b", "text": "own", "pick": "all", "join": " "},
    {"label": ["Kaufpreis", "h*"]},
    {"table": True},
    {"xpath": "//td | //b/text()"},
    {"jsonld": "offers.price"},
    {"microdata": "price"},
    {"jsonpath": "$..price"},
    {"jsonpath": "$", "variable": "__ETAT__"},
    {"jsonpath": "$", "script": "script"},
    {"regex": "([0-9]+)[^0-9]*([0-9]+)?"},
    {"regex": "t(.)", "search": "html"},
    {"concat": [{"css": "b"}, {"css": "td"}]},
)
EVERYTHING = PageRules.model_validate(
    {
        "fields": {
            f"f{place}_{kind}": {"from": rule, "type": kind, "many": place % 2 == 0, "required": place == 3}
            for place, rule in enumerate(RULES)
            for kind in KINDS
        }
    }
)
SEARCH = SearchRules.model_validate(
    {
        "url": "https://a.example/?{cursor}",
        "items": {"css": "tr, dl"},
        "link": {"css": "a, td"},
        "hint": [{"css": "td"}],
        "found": {"css": "td"},
        "paging": {"cursor": {"jsonpath": "$..next"}},
    }
)


def read_all(body: bytes) -> None:
    page = Page.of_bytes(body, url="https://a.example/1")
    record = extract(page, EVERYTHING)
    json.dumps([plain(value) for value in record.values.values()])
    assert len(record.content_hash) == 64
    assert judge(page, EVERYTHING, record).state
    advance(SEARCH, begin(SEARCH, next(starts(SEARCH))), page)


@given(st.binary(max_size=300))
def test_bytes_that_mean_nothing_give_nothing(body: bytes) -> None:
    read_all(body)


@settings(max_examples=60)
@given(st.lists(PIECES, max_size=40))
def test_pieces_of_pages_in_any_order_give_no_exception(pieces: list[bytes]) -> None:
    read_all(b"".join(pieces))


@settings(max_examples=60)
@given(st.sampled_from(BODIES), st.data())
def test_pages_that_are_cut_and_changed_give_no_exception(body: bytes, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(body)))
    last = data.draw(st.integers(first, len(body)))
    read_all(body[:first] + data.draw(st.binary(max_size=20)) + body[last:])


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["price", "next", "a"]), inner),
)


@settings(max_examples=60)
@given(ANY_JSON)
def test_any_json_gives_no_exception(value: object) -> None:
    read_all(json.dumps({"a": value}).encode("utf-8", "surrogatepass"))


def test_hard_pages_end_soon() -> None:
    hard = [
        b"<div>" * 100_000,
        b"<dl><dt>Kaufpreis<dd>" * 3_000,
        b"<table><tr><td>" * 2_000,
        b"<div itemscope><b itemprop=price>" * 200,
        b"<script type=application/ld+json>" + b"[" * 100_000,
        b"<script type=application/ld+json>" + b'{"@type":"A","a":' * 150 + b"1" + b"}" * 150 + b"</script>",
        b"[" * 100_000,
        b'{"a":' * 1_000,
        b"<script>__ETAT__ = " + b"{a:" * 10_000,
        b"<script>" + b"__ETAT__ = {" * 3_000,
        b"<p>" + b"1 " * 20_000,
        b"<p>" + b"1'" * 20_000,
        b"<b>" + b"Kaufpreis:" * 5_000,
        b"\xff" * 100_000,
    ]
    for body in hard:
        started = time.process_time()
        read_all(body)
        assert time.process_time() - started < 10, body[:40]
