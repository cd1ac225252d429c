"""What a page is, and what it was told by."""

from collections.abc import Callable

import pytest

from tidemill.extract import Page, PageRules, extract, judge

ReadRules = Callable[[str], PageRules]
RULES = "fields: {price: {from: {css: .price}, required: true}, size: {from: {css: .size}}}"
PRICE = "<b class=price>295 000 €</b>"
FILLER = "<p>" + "Text that people read on a page of this site. " * 20


def state(page: Page, rules: PageRules) -> tuple[str, set[str]]:
    judgement = judge(page, rules, extract(page, rules))
    return judgement.state, {why.name for why in judgement.why}


@pytest.mark.parametrize(
    ("html", "status", "expected", "why"),
    [
        (PRICE, 200, "ok", set()),
        (f"{PRICE}<div class=g-recaptcha></div> no longer available", 200, "ok", set()),
        (PRICE, 404, "gone", {"status"}),
        ("", 410, "gone", {"status"}),
        (PRICE, 403, "blocked", {"status"}),
        ("<title>Access denied</title>", 429, "blocked", {"status", "bot_wall"}),
        (FILLER, 200, "incomplete", {"required_missing"}),
        (f"<div class=g-recaptcha></div>{FILLER * 3}", 200, "incomplete", {"required_missing"}),
        ("", 200, "incomplete", {"empty"}),
        (" \n", 200, "incomplete", {"empty"}),
        ("<div>" * 5000, 200, "incomplete", {"unreadable"}),
        (
            "<title>Just a moment...</title><script>cf_chl_opt</script>",
            200,
            "blocked",
            {"bot_wall", "required_missing"},
        ),
        ("<p>Bitte bestätigen Sie: kein Roboter", 200, "blocked", {"bot_wall", "required_missing"}),
        (f"<p>Kohde on poistunut{FILLER}", 200, "gone", {"gone_words", "required_missing"}),
        (f"<p>Das Inserat wurde deaktiviert.{FILLER}", 200, "gone", {"gone_words", "required_missing"}),
        (f"<p>Cette annonce n’est plus disponible{FILLER}", 200, "gone", {"gone_words", "required_missing"}),
        (f"<h1>Sivua ei löytynyt</h1>{FILLER}", 200, "soft_404", {"not_found_words", "required_missing"}),
        (f"<title>404</title>{FILLER}", 200, "soft_404", {"not_found_words", "required_missing"}),
        ('<div id="root"></div><script src=a.js></script>', 200, "shell", {"javascript_shell", "required_missing"}),
        (
            f"<noscript>Please enable JavaScript</noscript><script>1</script>{FILLER}",
            200,
            "shell",
            {"javascript_shell", "required_missing"},
        ),
        (f"<script>{'x = 1;' * 500}</script><p>Loading", 200, "shell", {"javascript_shell", "required_missing"}),
    ],
)
def test_a_page_is_what_its_signs_say(
    html: str, status: int, expected: str, why: set[str], page_rules: ReadRules
) -> None:
    assert state(Page(html, status=status), page_rules(RULES)) == (expected, why)


def test_a_portal_that_only_javascript_fills_is_a_shell_and_never_empty(page_rules: ReadRules) -> None:
    html = (
        "<title>Myytävät asunnot: kerrostalo 32926 kpl</title><meta name=api-token content=x>"
        f"<script>{'var a = 1;' * 5000}</script><div ng-app=x></div><p>Hups. Tapahtui virhe"
    )
    assert state(Page(html), page_rules(RULES))[0] == "shell"


@pytest.mark.parametrize(
    ("sign", "holds"),
    [
        ("{text: SOLD out}", True),
        ("{text: let}", False),
        ("{css: .banner}", True),
        ("{css: .none}", False),
        ("{title: '^Home'}", True),
        ("{title: '^Away'}", False),
        ("{html: '<i>'}", True),
        ("{url: 'removed=1'}", True),
        ("{status: 200}", True),
        ("{status: 500}", False),
        ("{css: .banner, text: sold}", True),
        ("{css: .banner, text: let}", False),
        ("{jsonpath: $.a}", False),
        ("{html: '(a|aa)+$'}", False),
    ],
)
def test_signs_of_ones_own_count_even_when_all_fields_are_there(sign: str, holds: bool, page_rules: ReadRules) -> None:
    rules = page_rules(f"{{{RULES}, states: {{gone: [{sign}]}}}}")
    page = Page(
        f"<title>Home</title>{PRICE}<i></i><p class=banner>Sold  out</p><u>{'a' * 60}b",
        url="https://a.example/?removed=1",
    )
    assert judge(page, rules, extract(page, rules)).state == ("gone" if holds else "ok")


def test_signs_are_looked_for_in_json_too(page_rules: ReadRules) -> None:
    rules = page_rules(
        "{fields: {id: {from: {jsonpath: id}}}, states: {gone: [{jsonpath: \"$[?(@.code == 'gone')]\"}]}}"
    )
    gone = Page('{"error": {"code": "gone"}}')
    assert state(gone, rules) == ("gone", {"sign"})
    assert state(Page('{"id": 5}'), rules) == ("ok", set())
    assert state(Page("{}"), rules) == ("incomplete", {"nothing_found"})
    assert state(Page("{broken"), rules) == ("incomplete", {"unreadable"})


def test_signs_have_an_order_and_known_ones_can_be_left_out(page_rules: ReadRules) -> None:
    both = page_rules(f"{{{RULES}, states: {{gone: [{{text: a}}], blocked: [{{text: a}}, {{text: b}}]}}}}")
    judgement = judge(Page("<p>a b"), both)
    assert judgement.state == "blocked"
    assert [str(why) for why in judgement.why] == ["sign: text: a", "sign: text: b"]
    alone = page_rules(f"{{{RULES}, states: {{known_signs: false}}}}")
    assert state(Page("<p>Kohde on poistunut"), alone) == ("incomplete", {"required_missing"})
    assert judge(Page("<p>anything"), alone).ok  # Without a record no field is missed.
