"""Rules that cannot work are refused, with the key and what would be right."""

from collections.abc import Callable
from typing import Any

import pytest

from tidemill.extract import FieldRules, PageRules, Rule, SearchRules, StateRules, version
from tidemill.extract.model import Model

Problem = Callable[[type[Model], Any], str]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({}, "no kind of rule; write one of css, label"),
        ({"css": "a", "label": "b"}, "has css and label"),
        ({"csss": "a"}, "csss"),
        ({"css": "a["}, "no CSS selector"),
        ({"css": 'a:contains("x")'}, "write `contains`"),
        ({"css": "a", "script": "b"}, "script does not belong to css. Valid keys beside it: attribute, contains"),
        ({"label": []}, "empty list"),
        ({"label": "a", "rows": "p"}, "rows, labels and values belong together"),
        ({"xpath": "//["}, "no XPath"),
        ({"jsonpath": "$["}, "no path"),
        ({"jsonpath": "$.a", "script": "a", "variable": "b"}, "has script and variable"),
        ({"jsonpath": "$.a", "attribute": "b"}, "attribute needs script"),
        ({"regex": "("}, "no regular expression"),
        ({"css": "a", "match": "[("}, "no regular expression"),
        ({"css": "a", "replace": {"(": ""}}, "no regular expression"),
        ({"css": "a", "replace": {"(b)": "\\2"}}, "has 1 groups"),
        ({"css": "a", "locale": "xx"}, "nobody here knows how numbers are written in xx"),
        ({"css": "a", "currency": "EURO"}, "EURO is no currency"),
        ({"css": "a", "unit": "miles"}, "'m2'"),
        ({"concat": [{"csss": "a"}]}, "csss"),
        ({"css": "a", "pick": "second"}, "pick"),
        ({"css": 5}, "css"),
    ],
)
def test_a_rule_that_cannot_work_is_explained(rule: dict[str, Any], said: str, problem: Problem) -> None:
    assert said in problem(FieldRules, {"from": rule})


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({}, "from"),
        ({"from": []}, "empty list"),
        ({"from": {"css": "a"}, "type": "mony"}, "'money'"),
        ({"from": {"css": "a"}, "type": "money", "default": "much"}, "default is no money: much has no number"),
        ({"from": {"css": "a"}, "required": True, "default": "x"}, "required and has a default"),
    ],
)
def test_a_field_that_cannot_work_is_explained(field: dict[str, Any], said: str, problem: Problem) -> None:
    assert said in problem(PageRules, {"fields": {"price": field}})


def test_signs_and_items_must_say_something(problem: Problem) -> None:
    assert "says nothing; write one of text, title" in problem(StateRules, {"gone": [{}]})
    assert "has both or neither" in problem(PageRules, {"fields": {"a": {"from": {"css": "a"}}}, "items": {}})
    assert "fields" in problem(PageRules, {"fields": {}})
    assert "pattern" in problem(PageRules, {"fields": {"A b": {"from": {"css": "a"}}}})


LINK = {"link": {"css": "a", "attribute": "href"}}


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"url": "https://a/{town}"}, "url has {town}. Valid names: cursor, offset, page; write %7B"),
        ({"url": "https://a/{"}, "single brace"),
        ({"url": "https://a/?p={page}"}, "url has {page}, and there is no paging"),
        ({"url": "https://a/", "paging": {}}, "paging needs {page} or {offset} in url, or next, or cursor"),
        ({"url": "https://a/?a={page}&b={offset}", "paging": {}}, "paging needs"),
        ({"url": "https://a/", "paging": {"cursor": {"jsonpath": "a"}}}, "no {cursor}"),
        ({"url": "https://a/", "paging": {"cursor": {"jsonpath": "a"}, "next": {"css": "a"}}}, "has next and cursor"),
        ({"url": "https://a/", "link_url": "https://a/{id}"}, "link_url needs {link}"),
        ({"url": "https://a/", "hint": [{"css": "b"}]}, "hint needs items"),
    ],
)
def test_a_search_that_cannot_work_is_explained(search: dict[str, Any], said: str, problem: Problem) -> None:
    assert said in problem(SearchRules, LINK | search)


def test_a_rule_has_a_name_for_people() -> None:
    assert Rule(label=("Price", "Cost")).name == "label: Price | Cost"
    assert Rule(jsonld="offers.price", of=("Offer",)).name == "jsonld: Offer.offers.price"
    assert Rule(concat=(Rule(css="a"), ", ", Rule(const=5))).name == "concat: css: a + ,  + const: 5"


def test_the_version_is_of_what_the_rules_say(page_rules: Callable[[str], PageRules]) -> None:
    rules = page_rules("fields: {a: {from: {css: h1}}, b: {from: {label: [x]}}}")
    same = page_rules(
        "{locale: auto, fields: {b: {from: [{label: x}]}, a: {type: text, from: {css: h1, pick: first}}}}"
    )
    other = page_rules("fields: {a: {from: {css: h2}}, b: {from: {label: x}}}")
    swapped = page_rules("fields: {a: {from: [{css: h1}, {css: h2}]}, b: {from: {label: x}}}")
    turned = page_rules("fields: {a: {from: [{css: h2}, {css: h1}]}, b: {from: {label: x}}}")
    assert version(rules) == version(same)
    replaced, otherwise = (
        page_rules(f"fields: {{a: {{from: {{css: p}}, replace: {order}}}}}")
        for order in ("{a: b, b: c}", "{b: c, a: b}")
    )
    assert version(replaced) != version(otherwise)
    assert len({version(rules), version(other), version(swapped), version(turned), version(rules, rules)}) == 5
    assert len(version(rules)) == 12
