"""One form for each address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.extract import InvalidUrl, UrlRules, canonical


@pytest.mark.parametrize(
    ("url", "same"),
    [
        ("HTTP://Example.ORG:80/a/../b/./%7euser/?b=2&a=1&utm_source=x#f", "https://example.org/b/~user?a=1&b=2"),
        ("https://example.org", "https://example.org/"),
        ("https://example.org.:443/", "https://example.org/"),
        ("http://example.org:443/", "https://example.org/"),
        ("http://127.0.0.1:8123/a/", "https://127.0.0.1:8123/a"),
        ("https://[::1]:443/", "https://[::1]/"),
        ("https://münchen.de/ä?q=%c3%a4+b", "https://xn--mnchen-3ya.de/%C3%A4?q=%C3%A4%20b"),
        ("https://XN--MNCHEN-3YA.de/", "https://xn--mnchen-3ya.de/"),
        ("https://example.org/a%2Fb/%zz", "https://example.org/a%2Fb/%25zz"),
        ("https://example.org/a;jsessionid=12?x=1&PHPSESSID=3", "https://example.org/a?x=1"),
        ("https://example.org/?a[]=2&a[]=1&&=", "https://example.org/?a[]=2&a[]=1"),
        ("https://example.org/?a=&b", "https://example.org/?a=&b"),
        (" https://example.org/a\n/b\t ", "https://example.org/a/b"),
        ("https://example.org/a/..", "https://example.org/"),
        ("https://user@example.org/", "https://example.org/"),
    ],
)
def test_addresses_of_one_page_have_one_form(url: str, same: str) -> None:
    assert canonical(url) == same


def test_what_counts_can_be_said() -> None:
    url = "http://www.example.org/a/?id=1&from_top=2&Ref=3#part?x"
    assert canonical(url, UrlRules(keep=("id",))) == "https://www.example.org/a?id=1"
    assert canonical(url, UrlRules(drop=("from_*", "ref"), www=False)) == "https://example.org/a?id=1"
    assert canonical(url, UrlRules(fragment=True, keep=())) == "https://www.example.org/a#part?x"
    assert canonical(url, UrlRules(trailing_slash=True, scheme=True, keep=())) == "http://www.example.org/a/"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "mailto:a@b",
        "javascript:void(0)",
        "https://",
        "https://a:99999/",
        "https://[::1",
        "https://ex ample.org/",
        f"https://example.org/{'a' * 9000}",
        "https://\u2028/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl):
        canonical(url)


RULES = st.builds(
    UrlRules,
    keep=st.none() | st.just(("a", "b*")),
    drop=st.sampled_from([(), ("a",)]),
    fragment=st.booleans(),
    trailing_slash=st.booleans(),
    scheme=st.booleans(),
    www=st.booleans(),
)
HARD = st.text(st.sampled_from("abc/?&=#%.+;:@ä~ 2F[]'\"<>") | st.characters(), max_size=40)


@given(HARD, RULES, st.sampled_from(["https://example.org/", "http://WWW.example.org:80", "https://"]))
def test_the_form_of_a_form_is_itself(rest: str, rules: UrlRules, beginning: str) -> None:
    try:
        once = canonical(beginning + rest, rules)
    except InvalidUrl:
        return
    assert canonical(once, rules) == once
    assert once.isascii()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=5)), max_size=5), st.randoms())
def test_the_order_of_different_parameters_does_not_matter(pairs: list[tuple[str, str]], random: object) -> None:
    from urllib.parse import urlencode

    unique = list(dict(pairs).items())
    assert canonical(f"https://example.org/?{urlencode(unique)}") == canonical(
        f"https://example.org/?{urlencode(unique[::-1])}"
    )
