"""Bytes to the parts of a page that rules look at."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.extract import InvalidRule, Page
from tidemill.extract.embedded import read_json, read_literal, read_variable
from tidemill.extract.nodes import text_of
from tidemill.extract.page import Part
from tidemill.extract.paths import path_of
from tidemill.extract.structured import of_type
from tidemill.extract.text import fold, tidy


@pytest.mark.parametrize(
    ("body", "content_type", "encoding"),
    [
        ("<p>Ääkköset", "", "utf-8"),
        ("<p>Ääkköset", "text/html; charset=utf-8", "utf-8"),
        ("<p>Ääkköset", "text/html; charset=ISO-8859-1", "cp1252"),
        ("<meta charset=iso-8859-2><p>Őrség", "", "iso-8859-2"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=windows-1250"><p>Őrség', "", "windows-1250"),
        ("<p>“Ääkköset” €", "", "cp1252"),
        ("<p>Őrség", "text/html; charset=utf-16-le", "utf-16-le"),
        ("<p>日本 ①㈱", "text/html; charset=shift_jis", "cp932"),
        ("<p>价格 镕", "text/html; charset=gb2312", "gb18030"),
        ("<p>가격 뷁", "text/html; charset=euc-kr", "cp949"),
        ("<p>中古カメラ、あり", "", "cp932"),
        ("<p>中古カメラ、あり", "text/html", "euc-jp"),
    ],
)
def test_a_page_is_read_in_the_encoding_it_is_in(body: str, content_type: str, encoding: str) -> None:
    page = Page.of_bytes(body.encode(encoding), headers={"Content-Type": content_type})
    assert page.source == body
    assert page.encoding == encoding


def test_utf_8_wins_over_a_header_that_lies() -> None:
    page = Page.of_bytes("<p>Ä".encode(), headers={"content-type": "text/html; charset=latin1"})
    assert page.text == "Ä"


def test_a_byte_order_mark_wins_over_everything() -> None:
    assert Page.of_bytes("<p>Ä".encode("utf-8-sig"), headers={"content-type": "x; charset=koi8-r"}).source == "<p>Ä"
    assert Page.of_bytes("<p>Ä".encode("utf-16")).source == "<p>Ä"


def test_encodings_that_are_none_or_unknown_are_passed_over() -> None:
    for name in ("rot13", "idna", "unicode_escape", "nonsense", "utf-16"):
        assert Page.of_bytes(b"<p>\xc4", headers={"content-type": f"text/html; charset={name}"}).text == "Ä"


@pytest.mark.parametrize(
    ("text", "declared", "encoding"),
    [
        ("Œuvre à Genève, 3 août", "utf-8", "utf-8"),
        ("Œuvre à Genève, 3 août", "", "utf-8"),
        ("中古カメラ", "shift_jis", "cp932"),
    ],
)
def test_a_character_that_was_cut_in_two_spoils_no_other(text: str, declared: str, encoding: str) -> None:
    cut = text[-1].encode(encoding)[:1] if declared == "shift_jis" else "é".encode(encoding)[:1]
    page = Page.of_bytes(
        b"<p>" + text.encode(encoding) + cut + b"</p>", headers={"content-type": f"text/html; charset={declared}"}
    )
    assert page.text.startswith(text)
    assert page.encoding == encoding


def test_a_page_that_is_not_in_the_encoding_it_names_is_read_as_western() -> None:
    page = Page.of_bytes("<p>Prix : 3 €, déjà".encode("cp1252"), headers={"content-type": "text/html; charset=utf-8"})
    assert page.text == "Prix : 3 €, déjà"


@given(st.text(alphabet="aeinrst ,.-’«»éèêàçüöäßñÀÉÜ€œ", max_size=200))
def test_no_western_text_is_taken_for_japanese(text: str) -> None:
    assert Page.of_bytes(text.encode("cp1252")).encoding in ("cp1252", "utf-8")


def test_json_is_told_by_its_header_or_its_beginning() -> None:
    assert Page.of_bytes(b'{"a": 1}').value == {"a": 1}
    assert Page.of_bytes(b"5", headers={"content-type": "application/json"}).value == 5
    assert Page.of_bytes(b'{"a": 1}', headers={"content-type": "application/vnd.api+json"}).is_json
    assert not Page.of_bytes(b'{"a": 1}', headers={"content-type": "text/html"}).is_json
    broken = Page("{not json")
    assert (broken.is_json, broken.unread, broken.value, broken.node) == (True, "it is no JSON", None, None)
    assert Page("null", content_type="application/json").unread is None


def test_parts_of_a_json_page_are_empty() -> None:
    page = Page("{}")
    assert (page.text, page.html, page.title, page.scripts, page.lxml) == ("", "", "", [], None)
    assert (page.json_ld, page.micro_data, page.labelled, page.words) == ([], [], {}, {})
    assert page.below("p").node is None
    assert Page("{}", url="https://a.example/").base_url == "https://a.example/"


def test_what_is_seen_is_read_and_what_is_not_is_left() -> None:
    page = Page(
        "<title> A  page</title><p>1<b>000</b>&nbsp;€</p><p>next<!-- no --><script>no</script><style>no</style><br>x"
    )
    assert page.text == "A page 1000 € next x"
    assert page.title == "A page"


def test_blocks_are_set_apart_and_parts_of_a_line_are_not() -> None:
    page = Page("<div><div>Price</div>100<ul><li>a<li>b</ul><span>c</span><i>d</i></div>")
    node = page.node.css_first("div") if page.node else None
    assert node is not None
    assert text_of(node) == "Price 100 a b cd"


def test_text_is_tidied_of_what_is_not_seen() -> None:
    assert tidy("\u202f1\u00a0\u00a0000\u00ad\u200b \ud800e\u0301\n\x00") == "1 000 é"
    assert tidy("a\x07b") == "ab"
    assert fold(" Pinta-ALA\u00a0: ") == "pinta-ala"


@given(st.text())
def test_tidying_twice_changes_nothing(text: str) -> None:
    assert tidy(tidy(text)) == tidy(text)


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 50_000,
        "".join(f"<b id={at}><p>" for at in range(3000)),
        "</b>" * 3000 + "".join(f"<b id={at}><p>" for at in range(3000)),
        f"<p {' '.join(f'a{at}=1' for at in range(20_000))}>",
        "<p>x</p>" * 1_100_000,
    ],
    ids=["deep", "unclosed", "closed before", "attributes", "long"],
)
def test_pages_that_would_take_minutes_are_not_parsed(html: str) -> None:
    started = time.process_time()
    page = Page(html)
    assert page.unread
    assert page.text == ""
    assert time.process_time() - started < 2


def test_large_pages_of_real_sites_are_parsed() -> None:
    html = "<div class=card><a href=/1><img src=1.jpg><p>Text<br>more</a></div>" * 20_000
    assert Page(html).unread is None


def test_json_is_taken_from_scripts_attributes_and_variables() -> None:
    assert read_json(' {"a": 1};\n') == {"a": 1}
    assert read_json('{"a": 1} trailing') is None
    assert read_json("[" * 5000 + "]" * 5000) is None
    assert read_json('{"a": "' + "[" * 5000 + '"}') == {"a": "[" * 5000}
    assert read_json('{"a": NaN, "b": Infinity}') == {"a": None, "b": None}
    assert read_json("1" * 5000) is None
    scripts = ["var other = 1;", "window.STATE = {a: 'x\\'y', 'b': [1, .5, -2e3,], c: undefined, /* no */ d: name, };"]
    assert read_variable(scripts, "window.STATE") == {"a": "x'y", "b": [1, 0.5, -2000.0], "c": None, "d": None}
    assert read_variable(["window['STATE'] = {\"a\": 1};"], "STATE") == {"a": 1}
    assert read_variable(['{"STATE": {"a": 1}}'], "STATE") == {"a": 1}
    assert read_variable(["STATE == {a: 1}; OSTATE = {a: 1}; STATE = function () {}"], "STATE") is None
    assert read_variable(["x"], "STATE") is None
    assert read_literal('JSON.parse("{\\"a\\": \\u0031}")') == {"a": 1}
    assert read_literal("JSON.parse(name)") is None
    assert read_literal("'\\x41\\u0042\\n\\q'") == "AB\nq"
    assert read_literal("`text`") == "text"
    assert read_literal("{a: 1") is None
    assert read_literal("{a: f(1)}") is None
    assert read_literal("[" * 5000) is None
    assert read_literal("") is None


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_json_that_is_given_to_a_variable_is_read_as_it_is(value: object) -> None:
    assert read_variable([f"x = 1; STATE = {json.dumps([value])}; y()"], "STATE") == [value]


JSON_LD = """
<script type="application/ld+json"><!--
[{"@context": "x", "@graph": [
  {"@type": "Product", "@id": "#p", "offers": {"@id": "#o"},
   "also": [{"@id": "#o"}, {"@id": "#none"}], "name": {"@value": "A"}},
  {"@type": ["Thing", "https://schema.org/Offer"], "@id": "#o", "price": 5, "of": {"@id": "#p"}}]},
 {"list": [{"@type": "Event", "place": {"@type": "Place", "name": "Hall"}}]}]
--></script>
<script type="application/ld+json">{broken</script>
<script type="application/LD+JSON">//<![CDATA[
{"@type": "WebSite", "name": "W\nX"}
//]]></script>
"""


def test_json_ld_is_found_in_graphs_lists_and_objects_and_references_are_followed() -> None:
    things = Page(JSON_LD).json_ld
    assert [thing["@type"] for thing in things] == [
        "Product",
        ["Thing", "https://schema.org/Offer"],
        "Event",
        "Place",
        "WebSite",
    ]
    product = of_type(things, ("Product",))[0]
    assert product["offers"]["price"] == 5
    assert product["also"] == [product["offers"], {"@id": "#none"}]
    assert len(of_type(things, ("offer", "schema:Event"))) == 2
    json.dumps(things)  # Nothing ends in a circle.


MICRODATA = """
<b itemprop="stray">no</b>
<div itemscope itemtype="http://schema.org/A http://schema.org/B">
  <a itemprop="url" href="/1">x</a>
  <p itemprop="inner" itemscope><img itemprop="image thumb" src="i.png"></p>
  <time itemprop="at" datetime="2026-01-02">t</time>
  <span itemprop="name" content="N">x</span><meta itemprop="empty"><data itemprop="n" value="3">three</data>
</div>
"""


def test_microdata_items_hold_their_own_properties_only() -> None:
    outer, inner = Page(MICRODATA).micro_data
    assert outer == {
        "@type": ["http://schema.org/A", "http://schema.org/B"],
        "url": ["/1"],
        "inner": [inner],
        "at": ["2026-01-02"],
        "name": ["N"],
        "empty": [""],
        "n": ["3"],
    }
    assert inner == {"@type": [], "image": ["i.png"], "thumb": ["i.png"]}


def test_labels_stand_in_lists_rows_and_columns() -> None:
    page = Page(
        "<dl><dt>A<dd>1<dt>B<dt>C<dd>2</dl><table><tr><th>D<td>3<tr><td>E</td><td>4</td><td>F</td><td>5</td></tr>"
        "<tr><td>odd</td><td>row</td><td>of three</td></tr></table>"
        "<table><thead><tr><th>G<th>H<th>K</thead><tbody><tr><td>6<td>7<td>9</table>"
        f"<table><tr><th>I<th>J</tr><tr><td>only one</table><dl><dt>{'long ' * 40}<dd>8</dl>"
    )
    values = {label: text_of(pairs[0][1]) for label, pairs in page.labelled.items()}
    assert values == {"a": "1", "c": "2", "d": "3", "e": "4", "f": "5", "g": "6", "h": "7", "k": "9"}


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("$", {"a": 1}, [{"a": 1}]),
        ("a.b", {"a": {"b": 1}}, [1]),
        ("$.a[0]", {"a": [1, 2]}, [1]),
        ("$.a[-1]", {"a": [1, 2]}, [2]),
        ("$.a[5]", {"a": [1, 2]}, []),
        ("$.a[1:]", {"a": [1, 2, 3]}, [2, 3]),
        ("$.a[:2]", {"a": [1, 2, 3]}, [1, 2]),
        ("$.a[:2]", {"a": "text"}, []),
        ("$.a[*].b", {"a": [{"b": 1}, {}, {"b": 2}]}, [1, 2]),
        ("$.*", {"a": 1, "b": 2}, [1, 2]),
        ('$[\'a b\']["c\\"d"]', {"a b": {'c"d': 1}}, [1]),
        ("$..id", {"id": 1, "a": [{"id": 2}], "b": {"c": {"id": 3}}}, [1, 2, 3]),
        ("$..[0]", [[1], 2], [[1], 1]),
        ("$[?(@.a == 'x')].b", [{"a": "x", "b": 1}, {"a": "y", "b": 2}], [1]),
        ('$[?@.a == "x"].b', [{"a": "x", "b": 1}], [1]),
        ("$[?(@.a != 'x')].b", [{"a": "x", "b": 1}, {"a": "y", "b": 2}, {"b": 3}], [2]),
        ("$[?(@.a >= 2)].a", [{"a": 1}, {"a": 2}, {"a": "3"}, {"a": 3.5}], [2, 3.5]),
        ("$[?(@.a < 2)].a", [{"a": 1}, {"a": True}], [1]),
        ("$[?(@.a)].a", [{"a": None}, {}], [None]),
        ("$[?(@.a == true)].a", [{"a": True}, {"a": 1}], [True]),
        ("$[?(@.a.b == null)].c", [{"a": {"b": None}, "c": 1}], [1]),
        ("$.a.b", {"a": 5}, []),
        ("$.@id", {"@id": 1}, [1]),
    ],
)
def test_a_path_finds_what_is_there(path: str, value: object, found: list[object]) -> None:
    assert path_of(path).find(value) == found


@pytest.mark.parametrize("path", ["$.", "$[", "a b", "$[?(@.a ~ 1)]", "$.a[", "(", "$..", "a..", "$$"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(InvalidRule, match="is no path"):
        path_of(path)


def test_a_path_ends_on_wide_values_and_deep_ones() -> None:
    deep: list[object] = []
    for _ in range(20_000):
        deep = [deep]
    assert len(path_of("$..*").find(deep)) <= 10_000
    assert len(path_of("$[*]").find(list(range(50_000)))) == 10_000


def test_lxml_reads_what_lexbor_read() -> None:
    assert Page("<p>Ä&nbsp;<b>x").lxml.xpath("string(//p)") == "Ä\u00a0x"
    assert Part(None).lxml is None
