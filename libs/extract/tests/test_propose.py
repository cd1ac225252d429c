"""Rules proposed for pages that nobody described: what they find is what stands there."""

from pathlib import Path

import pytest

from tidemill.extract import Page, PageRules, extract
from tidemill.extract.propose import propose_fields, propose_links, propose_paging

FIXTURES = Path(__file__).parent / "fixtures"

SEARCH = """<html><body><nav><a href="/">Home</a><a href="/about">About</a></nav>
<ul><li><a href="/homes/4711-nice-flat">A</a> <a href="/homes/4711-nice-flat#map">map</a></li>
<li><a href="/homes/4712">B</a></li><li><a href="https://other.example/homes/1">C</a></li>
<li><a href="/homes/4713">D</a></li></ul>
<a href="/agents/7">x</a><a href="/agents/8">y</a>
<a href="?city=1&page=2">2</a><a href="?city=1&page=3">3</a></body></html>"""


def page_of(name: str) -> Page:
    return Page.of_bytes((FIXTURES / name / "page.html").read_bytes(), url=f"https://{name}.example/1")


def test_labels_of_a_table_become_typed_fields() -> None:
    found = {one.name: one for one in propose_fields(page_of("table-de-ch"), "de-CH")}
    assert found["kaufpreis"].value == {"amount": "1250000", "currency": "CHF"}
    assert found["wohnflaeche_netto"].rules == {"from": {"label": "Wohnfläche (netto)"}, "type": "area"}
    assert (found["anzahl_zimmer"].value, found["anzahl_zimmer"].rules["type"]) == ("4.5", "rooms")
    assert found["nebenkosten"].value == {"amount": "412.5", "currency": "CHF"}
    assert (found["grundstueck"].value, found["besuche"].value) == ("520", 1204)
    assert found["lift"].value is True
    assert found["bezug"].value == "2027-03-01"
    assert found["objekt_nr"].value == "MU-004711"
    assert "aussicht" not in found  # It is empty.


def test_structured_data_comes_first_and_the_same_value_once() -> None:
    found = {one.name: one for one in propose_fields(page_of("terms-fi"), "fi")}
    assert any("jsonld" in one.rules["from"] for one in found.values())
    values = [str(one.value) for one in found.values()]
    assert len(values) == len(set(values))


@pytest.mark.parametrize("name", ["table-de-ch", "terms-fi", "microdata-fr"])
def test_what_is_proposed_works_as_rules_of_a_source(name: str) -> None:
    page = page_of(name)
    proposals = propose_fields(page, name.split("-", 1)[1])
    rules = PageRules.model_validate(
        {
            "locale": "de-CH" if name == "table-de-ch" else name[-2:],
            "fields": {one.name: one.rules for one in proposals},
        }
    )
    record = extract(page, rules)
    assert proposals
    assert set(record.values) == {one.name for one in proposals}


def test_the_largest_group_of_like_links_is_the_first() -> None:
    page = Page(SEARCH, url="https://homes.example/search?city=1")
    first, second = propose_links(page)
    assert (first.pattern, len(first.urls)) == ("/homes/*", 3)
    assert first.rule == {"css": 'a[href*="/homes/"]', "attribute": "href"}
    assert second.pattern == "/agents/*"


@pytest.mark.parametrize(
    ("hrefs", "pattern", "css"),
    [
        (("../auto/7-golf?pos=1", "../auto/8-zoe?pos=2"), "/de/auto/*", 'a[href*="/auto/"]'),
        (("auto/7", "auto/8"), "/de/autos/auto/*", 'a[href*="auto/"]'),
        (("item.asp?cat=5&id=7", "item.asp?cat=5&id=8"), "/de/autos/item.asp?id=*", 'a[href*="item.asp"]'),
        (("?page=2", "?page=3", "?page=4", "?id=7", "?id=8"), "/de/autos/?id=*", 'a[href*="id="]'),
        (("7", "8"), "/de/autos/*", "a[href]"),
    ],
)
def test_links_are_proposed_however_the_page_writes_them(hrefs: tuple[str, ...], pattern: str, css: str) -> None:
    page = Page("".join(f'<a href="{href}">x</a>' for href in hrefs), url="https://cars.example/de/autos/")
    proposed = propose_links(page)[0]
    assert (proposed.pattern, proposed.rule) == (pattern, {"css": css, "attribute": "href"})


def test_paging_is_known_by_a_next_link_or_by_a_counting_parameter() -> None:
    assert propose_paging(Page(SEARCH, url="https://homes.example/search?city=1")) == {"param": "page", "first": 1}
    assert propose_paging(Page('<a rel="next" href="/s?p=2">more</a>', url="https://x.example/s")) == {
        "next": {"css": "a[rel~=next]", "attribute": "href"}
    }
    assert propose_paging(Page("<p>all there is</p>", url="https://x.example/s")) is None


def test_labels_are_proposed_whatever_their_script_and_markup() -> None:
    page = Page(
        "<table><tr><th>価格</th><td>12,500円</td></tr><tr><th>在庫</th><td>あり</td></tr></table>"
        "<li><strong>Date de parution :</strong> 3 mars 2026<li><b>Auteur&nbsp;:</b> Hugo<p>A <b>very</b> good book."
    )
    found = {one.name: (one.rules["from"], one.value) for one in propose_fields(page, "ja")}
    assert found == {
        "field": ({"label": "価格"}, {"amount": "12500", "currency": "JPY"}),
        "field_2": ({"label": "在庫"}, "あり"),
        "date_de_parution": ({"label": "Date de parution"}, "2026-03-03"),
        "auteur": ({"label": "Auteur"}, "Hugo"),
    }


def test_an_answer_that_is_no_page_proposes_nothing() -> None:
    for source in ("", "{}", "[1,2]", "<html></html>"):
        assert propose_fields(Page(source)) == []
        assert propose_links(Page(source)) == []
