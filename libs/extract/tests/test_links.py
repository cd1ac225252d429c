"""Search pages: what they link to, how they go on, when it is enough, and whether all was seen."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.extract import Link, Page, Position, SearchRules, Step, Stop, advance, all_seen, begin, find_links, starts

ReadRules = Callable[[str], SearchRules]

NUMBERED = """
url: "https://a.example/{town}?page={page}"
each: {town: [x y, z]}
link: {css: .card, attribute: href}
found: {css: .count}
paging: {first: 1}
"""


def cards(*numbers: int, more: str = "") -> str:
    return "".join(f"<a class=card href=/home/{number}>x</a>" for number in numbers) + more


def walk(search: SearchRules, answer: Callable[[str], str], limit: int = 50) -> tuple[list[str], Step]:
    """All links of the first search, asked for page by page."""
    position = begin(search, next(starts(search)))
    found: list[str] = []
    for _ in range(limit):
        step = advance(search, position, Page(answer(position.url), url=position.url))
        found += [link.url for link in step.links]
        position = step.position
        if step.stop is not None:
            return found, step
    raise AssertionError("does not end")


def test_searches_are_all_combinations_of_what_is_searched_for(search_rules: ReadRules) -> None:
    search = search_rules(
        """
        url: ["https://a.example/{kind}/{town}", "https://a.example/all"]
        each: {kind: [rent, sale], town: {Helsinki: "64", Éspoo: 'a&b "c"'}}
        link: {css: a, attribute: href}
        """
    )
    assert [(start.url, dict(start.values)) for start in starts(search)] == [
        ("https://a.example/rent/64", {"kind": "rent", "town": "Helsinki"}),
        ("https://a.example/rent/a%26b%20%22c%22", {"kind": "rent", "town": "Éspoo"}),
        ("https://a.example/sale/64", {"kind": "sale", "town": "Helsinki"}),
        ("https://a.example/sale/a%26b%20%22c%22", {"kind": "sale", "town": "Éspoo"}),
        ("https://a.example/all", {}),
    ]


def test_numbered_pages_go_on_until_all_that_the_site_counts_were_seen(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED)
    asked = []

    def answer(url: str) -> str:
        asked.append(url)
        page = int(url.rpartition("=")[2])
        return cards(*range(page * 10, page * 10 + (10 if page < 3 else 5)), more="<b class=count>25 homes</b>")

    found, step = walk(search, answer)
    assert asked == [f"https://a.example/x%20y?page={page}" for page in (1, 2, 3)]
    assert (len(found), step.stop, step.complete) == (25, Stop.LAST_PAGE, True)
    assert (step.position.page, step.position.seen, step.position.found) == (3, 25, 25)


def test_numbered_pages_without_a_count_end_with_an_empty_one(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED.replace("found: {css: .count}", ""))
    found, step = walk(search, lambda url: cards(1, 2) if url.endswith("=1") else "<p>")
    assert (len(found), step.stop, step.complete) == (2, Stop.EMPTY, True)


def test_a_last_page_that_comes_again_ends_the_search_and_counts_once(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED.replace("found: {css: .count}", ""))
    found, step = walk(search, lambda url: cards(1) if url.endswith("=1") else cards(2, 3))
    assert (len(found), step.stop, step.complete, step.position.seen) == (3, Stop.REPEATED, True, 3)


def test_a_site_that_shows_less_than_it_counts_is_not_complete(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED)
    count = "<b class=count>1 432</b>"
    for last in ("<p>", cards(1, 2)):
        _, step = walk(search, lambda url, last=last: (cards(1, 2) if url.endswith("=1") else last) + count)
        assert (step.stop, step.complete) == (Stop.RESULT_CAP, False)


def test_entries_that_come_and_go_while_pages_are_read_do_not_matter(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED)
    assert all_seen(search, 99, 100)
    assert not all_seen(search, 98, 100)
    assert all_seen(search, 0, None)


def test_a_first_page_without_entries_is_a_failure_unless_it_says_so(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED + "nothing: [{text: Keine Treffer}]")
    for html, stop in (
        ("<p>Loading", Stop.NO_ENTRIES),
        ("<b class=count>12</b>", Stop.NO_ENTRIES),
        ("<p>Keine Treffer", Stop.EMPTY),
        ("<b class=count>0</b>", Stop.EMPTY),
    ):
        step = walk(search, lambda _url, html=html: html)[1]
        assert (step.stop, step.complete) == (stop, stop is Stop.EMPTY)


@pytest.mark.parametrize(
    "html",
    [
        "<title>Just a moment...</title>",
        "<div id=root></div><script src=a.js></script>",
        "",
        "<div>" * 5000,
    ],
)
def test_a_wall_in_the_middle_of_a_search_is_not_its_end(html: str, search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED.replace("found: {css: .count}", ""))
    _, step = walk(search, lambda url: cards(1, 2) if url.endswith("=1") else html)
    assert (step.stop, step.complete, step.position.page) == (Stop.NO_ENTRIES, False, 2)


def test_a_next_link_is_followed_until_there_is_none_or_it_leads_to_itself(search_rules: ReadRules) -> None:
    search = search_rules(
        """
        url: "https://a.example/s"
        link: {css: .card, attribute: href}
        paging: {next: {css: .next, attribute: href}}
        """
    )
    pages = {
        "https://a.example/s": cards(1, more="<base href=/deep/><a class=next href=two>n</a>"),
        "https://a.example/deep/two": cards(2, more="<a class=next href=/deep/two>n</a>"),
    }
    found, step = walk(search, pages.__getitem__)
    assert found == ["https://a.example/home/1", "https://a.example/home/2"]
    assert (step.stop, step.position.url) == (Stop.LAST_PAGE, "https://a.example/deep/two")


def test_a_cursor_is_followed_until_there_is_none(search_rules: ReadRules) -> None:
    search = search_rules(
        """
        url: "https://a.example/api?after={cursor}&n=2"
        items: {jsonpath: "$.data[*]"}
        link: {jsonpath: id}
        link_url: "https://a.example/home/{link}"
        key: {jsonpath: id}
        hint: [{jsonpath: price}, {jsonpath: "tags[*]"}]
        paging: {cursor: {jsonpath: $.next}}
        """
    )
    answers = {
        "https://a.example/api?after=&n=2": {
            "data": [{"id": 1, "price": 5, "tags": ["a", "b"]}, {"id": "a/b"}],
            "next": "x=",
        },
        "https://a.example/api?after=x%3D&n=2": {
            "data": [{"id": 1, "price": 6, "tags": ["a", "b"]}, {"no": 1}],
            "next": None,
        },
    }
    position = begin(search, next(starts(search)))
    first = advance(search, position, Page(json.dumps(answers[position.url]), url=position.url))
    second = advance(search, first.position, Page(json.dumps(answers[first.position.url]), url=first.position.url))
    assert [link.url for link in first.links] == ["https://a.example/home/1", "https://a.example/home/a%2Fb"]
    assert [link.key for link in first.links] == ["1", "a/b"]
    assert first.links[1].hint == ""
    assert first.links[0].hint != second.links[0].hint
    assert (second.stop, second.complete, len(second.links)) == (Stop.LAST_PAGE, True, 1)


def test_an_offset_grows_by_the_entries_of_a_page(search_rules: ReadRules) -> None:
    search = search_rules(
        """
        url: "https://a.example/api?limit=24&offset={offset}"
        items: {jsonpath: ["$.cards[*]", "$.secondaryCards[*]"]}
        link: {jsonpath: url}
        found: {jsonpath: $.found}
        paging: {step: 24}
        max_pages: 2
        """
    )
    asked = []

    def answer(url: str) -> str:
        asked.append(url)
        cards = [{"url": f"/home/{len(asked)}-{number}"} for number in range(24)]
        return json.dumps({"found": 100, "cards": [], "secondaryCards": cards})

    found, step = walk(search, answer)
    assert asked == [f"https://a.example/api?limit=24&offset={offset}" for offset in (0, 24)]
    assert (len(found), step.stop, step.complete) == (48, Stop.LIMIT, False)


def test_one_page_is_a_search_too(search_rules: ReadRules) -> None:
    search = search_rules("{url: 'https://a.example/', link: {css: a, attribute: href, match: '(.*?)#'}}")
    html = "<a href='/1#x'>a</a><a href='/1#y'>b</a><a href='mailto:x#'>c</a><a href='http://[#'>d</a><a>e</a>"
    found, step = walk(search, lambda _url: html)
    assert (found, step.stop) == (["https://a.example/1"], Stop.LAST_PAGE)
    assert step.problems == ("link: mailto:x leads nowhere", "link: http://[ leads nowhere")


def test_a_count_that_cannot_be_read_is_a_problem_and_no_end(search_rules: ReadRules) -> None:
    search = search_rules(NUMBERED.replace("css: .count", "css: .count, match: 'of (.*)', locale: de"))
    position = begin(search, next(starts(search)))
    html = cards(1) + "<b class=count>{}</b>"
    for text, found, problems in (("1 of 1.432", 1432, 0), ("1 of many", None, 1), ("", None, 1)):
        step = advance(search, position, Page(html.format(text), url=position.url))
        assert (step.position.found, len(step.problems), step.stop) == (found, problems, None)


def test_rules_that_take_for_ever_end_a_search_as_not_complete(search_rules: ReadRules) -> None:
    html = cards(1) + f"<p>{'a' * 60}b"
    slow = "{css: p, match: '(a|aa)+$'}"
    next_page = search_rules(
        f"{{url: 'https://a.example/', link: {{css: .card, attribute: href}}, paging: {{next: {slow}}}}}"
    )
    step = walk(next_page, lambda _url: html)[1]
    assert (step.stop, step.complete, len(step.links)) == (Stop.NO_NEXT, False, 1)
    link = search_rules(f"{{url: 'https://a.example/', link: {slow}, found: {slow}}}")
    links, problems = find_links(link, Page(html))
    assert (links, len(problems)) == ([], 1)


@given(
    st.lists(
        st.sampled_from(["<p>", cards(1), cards(2, 3), "{}", "<b class=count>9</b>", "\x00"]), min_size=1, max_size=6
    )
)
def test_every_search_ends(answers: list[str]) -> None:
    search = SearchRules.model_validate(
        {
            "url": "https://a.example/?p={page}",
            "link": {"css": ".card", "attribute": "href"},
            "found": {"css": ".count"},
            "paging": {},
            "max_pages": 20,
        }
    )
    left = iter(answers)
    step = walk(search, lambda _url: next(left, "<a class=card href=/last>"))[1]
    assert step.position.page <= 20


def test_a_position_is_plain_enough_to_be_kept() -> None:
    from dataclasses import asdict

    position = Position("https://a.example/", "https://a.example/{page}", 2, 10, None, ("ab",))
    kept = json.loads(json.dumps(asdict(position)))
    assert Position(**kept | {"pages": tuple(kept["pages"])}) == position
    assert Link("https://a.example/").hint == ""


@pytest.mark.parametrize("html", ["<div>" * 5000, "", "{"])
def test_a_page_that_cannot_be_read_is_a_search_without_entries(html: str, search_rules: ReadRules) -> None:
    assert walk(search_rules(NUMBERED), lambda _url: html)[1].stop == Stop.NO_ENTRIES


def test_an_entry_carries_what_its_page_will_not_say(search_rules: ReadRules) -> None:
    search = search_rules("""\
url: https://example.org/api
items: {jsonpath: "$.cards[*]"}
link: {jsonpath: url}
carry:
  place: {jsonpath: place}
  price: {jsonpath: price, replace: {"\\\\s": ""}}
  size: {jsonpath: size}
  lift: {jsonpath: lift}
  none: {jsonpath: nothing}
""")
    page = Page(
        '{"cards": [{"url": "/7", "price": "295 000 €", "size": 54.5, "lift": false,'
        ' "place": {"lat": 60.1, "lon": 24.9}}]}',
        url="https://example.org/api",
    )
    links, problems = find_links(search, page)
    assert problems == []
    assert links[0].carried == {
        "place": '{"lat":60.1,"lon":24.9}',
        "price": "295000€",
        "size": "54.5",
        "lift": "false",
    }


def test_carry_needs_entries_to_look_inside(problem: Callable[..., str]) -> None:
    written = {"url": "https://example.org", "link": {"css": "a"}, "carry": {"price": {"css": "b"}}}
    assert "carry needs items" in problem(SearchRules, written)
