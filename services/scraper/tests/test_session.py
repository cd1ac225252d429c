"""What hosts are told, without a network."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.scraping import Scrape
from tidemill.extract import Page
from tidemill.scraper.session import NoSecret, NoSessionValue, Session, hosts_of, with_params

TOKENS = {"token": {"css": "meta[name=token]", "attribute": "content"}}


def scrape(**more: object) -> Scrape:
    search = {"url": "https://www.portal.example/search?page={page}", "link": {"css": "a"}, "paging": {}}
    return Scrape.model_validate({"search": search} | more)


def with_session(**more: object) -> Scrape:
    session = {"url": "https://api.portal.example/", "values": TOKENS, "headers": {"X-Token": "t {token}"}} | more
    return scrape(session=session, headers={"Accept-Language": "fi", "X-Key": "${env:PORTAL_KEY}"})


async def page(url: str) -> Page:
    return Page.of_bytes(b'<meta name="token" content="abc123"><p>nothing else', url=url)


async def test_secrets_and_tokens_go_to_the_hosts_of_the_source_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_KEY", "hunter2-of-the-portal")
    session = Session(with_session(params={"t": "{token}"}))
    values = await session.values(page)
    own = session.told("https://portal.example/1?t=old&x=a,b", values)
    assert own.url == "https://portal.example/1?x=a,b&t=abc123"
    assert own.headers == {"accept-language": "fi", "x-key": "hunter2-of-the-portal", "x-token": "t abc123"}
    other = session.told("https://elsewhere.example/1", values)
    assert (other.url, other.headers) == ("https://elsewhere.example/1", {"accept-language": "fi"})
    assert session.without_params(own.url) == "https://portal.example/1?x=a,b"


async def test_a_secret_that_cannot_be_had_is_named() -> None:
    session = Session(with_session())
    with pytest.raises(NoSecret, match=r"env:PORTAL_KEY.*not set"):
        session.told("https://portal.example/1", {})


async def test_a_page_without_the_value_is_named_with_the_rule() -> None:
    session = Session(with_session())

    async def empty(url: str) -> Page:
        return Page.of_bytes(b"<p>we are back soon", url=url)

    with pytest.raises(NoSessionValue) as caught:
        await session.values(empty)
    detail = "https://api.portal.example/ holds no token: css: meta[name=token] finds nothing"
    assert (str(caught.value), caught.value.slug, caught.value.retry) == (detail, "session", True)


async def test_the_same_tokens_again_are_no_use_and_not_read_for_a_while() -> None:
    now = [0.0]
    session = Session(with_session(), clock=lambda: now[0])
    read: list[str] = []

    async def counted(url: str) -> Page:
        read.append(url)
        return await page(url)

    values = await session.values(counted)
    assert await session.renewed(values, counted) is None
    refused = await session.values(counted)
    for _ in range(5):
        assert await session.renewed(refused, counted) is None
    assert len(read) == 2
    now[0] = 301.0
    assert await session.renewed(refused, counted) is None
    assert len(read) == 3


def test_the_hosts_of_a_source_are_those_of_search_links_and_session() -> None:
    assert set(hosts_of(with_session())) == {"www.portal.example", "api.portal.example"}
    search = {"url": "https://{city}.portal.example/", "each": {"city": ["a", "b"]}, "link": {"css": "a"}}
    source = scrape(search=search | {"link_url": "https://page.example:8080/{link}"})
    assert set(hosts_of(source)) == {"a.portal.example", "b.portal.example", "page.example:8080"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://p.example/", "https://p.example/?t=1%262"),
        ("https://p.example/?", "https://p.example/?t=1%262"),
        ("https://p.example/?a=%20&b", "https://p.example/?a=%20&b&t=1%262"),
        ("https://p.example/?t=0&a=1&t=9#t=3", "https://p.example/?a=1&t=1%262#t=3"),
        ("https://p.example/x?t=0", "https://p.example/x?t=1%262"),
    ],
)
def test_parameters_are_added_and_replace_their_namesakes(url: str, expected: str) -> None:
    assert with_params(url, {"t": "1&2"}) == expected


@given(
    st.from_regex(r"https://p\.example/[a-z]{0,3}(\?([a-z]=[a-z0-9%,+]{0,3}(&[a-z]=[0-9]{0,2}){0,3}))?", fullmatch=True)
)
def test_what_was_added_is_taken_away_again(url: str) -> None:
    session = Session(with_session(params={"token": "{token}"}))
    assert session.without_params(with_params(url, {"token": "a b&c"})) == url
