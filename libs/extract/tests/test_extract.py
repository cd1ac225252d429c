"""Which rule gives the value, what is said where none does, and what makes the content hash."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest

from tidemill.extract import (
    Coordinates,
    Money,
    Page,
    PageRules,
    Rule,
    extract,
    extract_items,
    find_text,
    find_texts,
    plain,
    version,
)

ReadRules = Callable[[str], PageRules]


def test_the_first_rule_that_gives_a_value_counts_and_the_others_say_why_not(page_rules: ReadRules) -> None:
    rules = page_rules("fields: {p: {type: money, from: [{css: .none}, {css: .a}, {css: .b}, {css: .c}]}}")
    field = extract(Page("<b class=a>on request</b><b class=b>5 €</b><b class=c>6 €</b>"), rules).fields["p"]
    assert (field.value, field.rule, field.alternative, field.raw) == (Money(Decimal(5), "EUR"), "css: .b", 2, "5 €")
    assert field.problems == ("css: .a: on request has no number",)


def test_a_field_without_a_value_says_why(page_rules: ReadRules) -> None:
    rules = page_rules("fields: {p: {type: money, required: true, from: {css: b}}, q: {from: {css: i}}}")
    record = extract(Page("<b>on request</b>"), rules)
    assert record.missing == ("p",)
    assert record.problems == {"p": ("css: b: on request has no number",)}
    assert (record.values, record.coverage, record.fields["q"].problems) == ({}, 0, ())


def test_a_list_takes_what_it_can_read(page_rules: ReadRules) -> None:
    rules = page_rules("fields: {p: {type: integer, many: true, from: {css: li}}, none: {many: true, from: {css: u}}}")
    record = extract(Page("<li>1<li>two<li>3"), rules)
    assert record.values == {"p": [1, 3]}
    assert len(record.problems["p"]) == 1


def test_defaults_are_typed_and_say_that_they_are_defaults(page_rules: ReadRules) -> None:
    rules = page_rules(
        """
        locale: fi
        fields:
          a: {type: money, from: {css: b}, default: 0 €}
          b: {type: integer, many: true, from: {css: b}, default: [1, "2"]}
          c: {many: true, from: {css: b}, default: none}
        """
    )
    record = extract(Page("<p>"), rules)
    assert record.values == {"a": Money(Decimal(0), "EUR"), "b": [1, 2], "c": ["none"]}
    assert {field.rule for field in record.fields.values()} == {"default"}


def test_a_map_may_say_that_there_is_none(page_rules: ReadRules) -> None:
    rules = page_rules("fields: {a: {type: money, from: [{css: b}, {const: 5 €}], map: {on request: null}}}")
    field = extract(Page("<b>On  REQUEST</b>"), rules).fields["a"]
    assert (field.value, field.rule, field.problems) == (None, "css: b", ())


def test_a_rule_reads_before_its_field_does(page_rules: ReadRules) -> None:
    rules = page_rules(
        """
        fields:
          a: {from: {css: b, match: "x(.*)x", replace: {"(\\\\d)": "<\\\\1>"}}, strip: ["<1>", ab], map: {<2>: two}}
          b: {from: {css: b, match: nothing}}
          c: {from: {css: b, map: {x1ab2x: true}}, type: boolean}
        """
    )
    assert extract(Page("<b>x1ab2x</b>"), rules).values == {"a": "two", "c": True}


def test_a_rule_has_a_locale_of_its_own(page_rules: ReadRules) -> None:
    rules = page_rules("{locale: de, fields: {a: {type: decimal, from: [{css: i}, {css: b, locale: en}]}}}")
    assert extract(Page("<b>1,234.5</b>"), rules).values == {"a": Decimal("1234.5")}


def test_rules_find_what_they_should(page_rules: ReadRules) -> None:
    page = Page(
        '<div class="x"><p>one<p>two <i>2</i></div><p id=e></p><p data-a="attr">three</p><h1 class=t>T</h1><h1>U</h1>'
        "<script>var a = 1;</script>"
    )
    found = {
        "{css: p, pick: last}": "three",
        "{css: p, pick: 1}": "two 2",
        "{css: p, pick: 7}": None,
        "{css: p, within: .y}": None,
        "{css: .x, attribute: html}": "<p>one</p><p>two <i>2</i></p>",
        "{css: p, contains: TWO, text: own}": "two",
        "{css: '#e, p[data-a]'}": "three",
        "{css: p, attribute: data-a}": "attr",
        "{css: 'h1, .t', join: '+'}": "T+U",
        "{css: i, join: '+', within: .none}": None,
        "{label: two, within: .x}": "2",
        "{label: nothing}": None,
        "{label: x, within: .none}": None,
        "{table: true}": None,
        "{xpath: 'count(//p)'}": "4.0",
        "{xpath: '//p/@data-a'}": "attr",
        "{xpath: '//p[3]/text() | //h1'}": "T",
        "{xpath: 'unknown(//p)'}": None,
        "{xpath: '//comment()'}": None,
        "{regex: 'thr..', within: .x}": None,
        "{regex: '<h1>(.)', search: html}": "U",
        "{regex: 't(w|h)', pick: last}": "h",
        "{regex: 'a = (.)', search: scripts}": "1",
        "{regex: nothing}": None,
        "{concat: [{css: .none}, '!']}": None,
        "{concat: [{css: i}, '!', {const: x}, {const: true}], join: '-'}": "2-!-x",
        "{jsonpath: a}": None,
        "{jsonpath: a, script: .none}": None,
        "{const: 5}": "5",
    }
    for rule, value in found.items():
        assert extract(page, page_rules(f"fields: {{f: {{from: {rule}}}}}")).values.get("f") == value, rule


@pytest.mark.parametrize(
    ("html", "value"),
    [
        ("<p>Rooms: 3", "3"),
        ("<li><b>Rooms</b> 3</li>", "3"),
        ("<li><b>Rooms:</b><i>3</i></li>", "3"),
        ("<div><span>Rooms</span><span>3</span></div>", "3"),
        ("<div><div><h4>Rooms</h4></div><div>3</div></div>", "3"),
        ("<div>Rooms<br>3</div>", "3"),
        ("<p>Many rooms here<p>3", None),
        ("<div><p>Rooms</p></div>", None),
        ("<script>Rooms: 3</script>", None),
        ("<td>Rooms", None),
        ("<p><i>x</i><b>Rooms</b></p><p>3", None),
    ],
)
def test_a_value_stands_beside_its_label_in_many_ways(html: str, value: str | None, page_rules: ReadRules) -> None:
    rules = (
        page_rules("fields: {f: {from: {label: ['rooms*']}}}")
        if "Many" not in html
        else page_rules("fields: {f: {from: {label: rooms}}}")
    )
    assert extract(Page(html), rules).values.get("f") == value


def test_tokens_are_found_by_a_rule_alone() -> None:
    page = Page('<meta name="api-token" content=" abc "><p>5</p>')
    assert find_text(Rule(css='meta[name="api-token"]', attribute="content"), page) == "abc"
    assert find_text(Rule(css="meta[name=cuid]", attribute="content"), page) == ""
    assert find_texts(Rule(const=5.50), page) == ["5.5"]
    assert find_texts(Rule(const=True), page) == []


def test_a_regular_expression_that_takes_for_ever_is_a_problem(page_rules: ReadRules) -> None:
    rules = page_rules("fields: {f: {from: [{regex: '(a|aa)+$'}, {css: p, replace: {'(a|aa)+$': ''}}, {const: x}]}}")
    field = extract(Page(f"<p>{'a' * 60}c"), rules).fields["f"]
    assert field.value == "x"
    assert len(field.problems) == 2
    assert "takes more than" in field.problems[0]


def test_a_page_of_many_records_gives_each(page_rules: ReadRules) -> None:
    rules = page_rules("{items: {css: .card}, fields: {a: {from: {css: b}}, b: {from: {xpath: 'string(//i)'}}}}")
    records = extract_items(Page("<p class=card><b>1</b><i>x</i><p class=card><b>2</b><b>y</b>"), rules)
    assert [record.values for record in records] == [{"a": "1", "b": "x"}, {"a": "2"}]
    rules = page_rules("{items: {jsonpath: ['$.cards[*]', '$.more[*]']}, fields: {a: {from: {jsonpath: id}}}}")
    records = extract_items(Page('{"cards": [], "more": [{"id": 1}, {"id": 2}]}'), rules)
    assert [record.values for record in records] == [{"a": "1"}, {"a": "2"}]
    assert extract_items(Page("<p>"), rules) == []
    assert extract_items(Page("{}"), page_rules("{items: {css: p}, fields: {a: {from: {css: b}}}}")) == []
    assert len(extract_items(Page("<p>"), page_rules("fields: {a: {from: {css: b}}}"))) == 1


def test_the_content_hash_is_of_the_values_alone(page_rules: ReadRules) -> None:
    rules = page_rules("fields: {p: {type: money, from: {css: b}}, n: {from: {css: i}}}")
    turned = page_rules("fields: {n: {from: {css: i}}, more: {from: {css: u}}, p: {type: money, from: {label: Price}}}")
    one = extract(Page("<b>1 200,50 €</b><i>x</i>"), rules)
    other = extract(Page("<i> x </i><dl><dt>Price<dd>1200.5 EUR</dl>"), turned)
    assert one.content_hash == other.content_hash
    assert extract(Page("<b>1 200,51 €</b><i>x</i>"), rules).content_hash != one.content_hash


def test_values_are_plain_in_json() -> None:
    assert plain(Decimal("1250.00")) == "1250"
    assert plain(Decimal("0E+3")) == "0"
    assert plain(Decimal("1E+3")) == "1000"
    assert plain([date(2026, 1, 2), Money(Decimal("1.50"), "EUR")]) == [
        "2026-01-02",
        {"amount": "1.5", "currency": "EUR"},
    ]
    assert plain(Coordinates(60.1, 24.9)) == {"lat": 60.1, "lon": 24.9}
    assert plain({"a": (1, True, None)}) == {"a": [1, True, None]}


def test_what_the_entry_said_fills_fields_and_counts_as_content(page_rules: ReadRules) -> None:
    rules = page_rules("""\
locale: fi
items: {css: li}
fields:
  price: {from: [{css: b}, {carried: price}], type: money, currency: EUR}
  place: {from: {concat: [{carried: city}, ", ", {css: i}]}}
""")
    assert rules.carried == {"price", "city"}
    html = "<li><b>1 €</b><i>North</i><li><i>South</i>"
    first, second = extract_items(Page(html, context={"price": "295 000,50", "city": "Malli"}), rules)
    assert plain(first.values["price"]) == {"amount": "1", "currency": "EUR"}
    assert plain(second.values["price"]) == {"amount": "295000.5", "currency": "EUR"}
    assert [one.values["place"] for one in (first, second)] == ["Malli, North", "Malli, South"]
    assert second.fields["price"].rule == "carried: price"
    _, cheaper = extract_items(Page(html, context={"price": "285 000", "city": "Malli"}), rules)
    assert cheaper.content_hash != second.content_hash
    _, unknown = extract_items(Page(html), rules)
    assert unknown.fields["price"].value is None


def test_rules_that_carry_are_another_version(page_rules: ReadRules) -> None:
    without = page_rules("fields: {price: {from: {css: b}}}")
    with_carried = page_rules("fields: {price: {from: [{css: b}, {carried: price}]}}")
    assert version(without) != version(with_carried)
