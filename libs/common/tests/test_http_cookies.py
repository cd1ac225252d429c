"""Cookies: told to the hosts of their source, and to nobody else."""

from collections.abc import AsyncIterator

import pytest

from tidemill.common.http import Cookies, PoliteClient, UnfetchableUrl
from tidemill.common.http.wire import COOKIES, Headers, parse_url
from tidemill.common.testing.hostile import Hostile, hostile_server, polite_client


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        yield server


async def ask(client: PoliteClient, server: Hostile, path: str, cookies: Cookies, *allowed: str) -> str:
    """What was told as cookies with the last request that this brought."""
    politeness = server.politeness(allow_private=[server.host, *allowed])
    async with client.open(f"{server.url}{path}", source="s", politeness=politeness, cookies=cookies):
        pass
    return server.asked[-1].headers.get("cookie", "")


async def test_given_cookies_are_told_and_set_ones_are_kept(server: Hostile) -> None:
    server.says("/", 200, set_cookie="session=1; Path=/; HttpOnly")
    server.says("/a/x", 200, set_cookie="consent=all")
    server.says("/robots.txt", 200)
    cookies = Cookies([server.host], {"consent": "yes"})
    async with polite_client() as client:
        assert await ask(client, server, "/", cookies) == "consent=yes"
        assert await ask(client, server, "/a/x", cookies) == "consent=yes; session=1"
        assert await ask(client, server, "/a/x", cookies) == "consent=all; session=1"
        assert await ask(client, server, "/", cookies) == "consent=yes; session=1"
    assert "cookie" not in server.asked[0].headers


async def test_what_is_set_is_forgotten_where_nothing_shall_be_kept(server: Hostile) -> None:
    server.says("/", 200, set_cookie="session=1")
    cookies = Cookies([server.host], {"consent": "yes"}, keep=False)
    async with polite_client() as client:
        for _ in range(2):
            assert await ask(client, server, "/", cookies) == "consent=yes"


async def test_no_cookie_follows_a_redirect_to_another_host_and_none_comes_back(server: Hostile) -> None:
    async with hostile_server() as elsewhere, polite_client() as client:
        server.says("/", 302, location=f"{elsewhere.url}/x", set_cookie="session=1")
        elsewhere.says("/x", 302, location=f"{server.url}/back", set_cookie="planted=1")
        server.says("/back", 200)
        cookies = Cookies([server.host], {"consent": "yes"})
        assert await ask(client, server, "/", cookies, elsewhere.host) == "consent=yes; session=1"
        assert "cookie" not in elsewhere.pages[0].headers


async def test_a_header_with_a_line_end_is_refused_without_its_value(server: Hostile) -> None:
    async with polite_client() as client:
        with pytest.raises(UnfetchableUrl, match="the header cookie has line ends") as caught:
            await ask(client, server, "/", Cookies([server.host], {"a": "hunter2\r\nX: y"}))
    assert "hunter2" not in str(caught.value)
    assert not server.pages


def test_hosts_are_the_same_with_and_without_www() -> None:
    cookies = Cookies(["www.portal.example"], {"a": "1"})
    assert cookies.pairs("https://portal.example/x") == {"a": "1"}
    assert cookies.pairs("https://www.portal.example/x") == {"a": "1"}
    assert cookies.pairs("https://evil.example/x") == {}
    assert cookies.pairs("https://portal.example.evil.example/x") == {}


def test_paths_ends_and_safety_of_cookies_count() -> None:
    cookies = Cookies(["portal.example"])
    url = parse_url("https://portal.example/a/b")
    for line in ("a=1; Path=/a", "b=2; Path=/b", "c=3; Secure", "d=4; Max-Age=0", "e=5; Domain=other.example"):
        cookies.take(url, Headers([("set-cookie", line)]))
    assert cookies.pairs("https://portal.example/a/b") == {"a": "1", "c": "3"}
    assert cookies.pairs("http://portal.example/a/b") == {"a": "1"}
    assert cookies.pairs("https://portal.example/b") == {"b": "2"}


def test_a_host_that_sets_cookies_without_end_begins_anew() -> None:
    cookies = Cookies(["portal.example"])
    url = parse_url("https://portal.example/")
    for number in range(10 * COOKIES):
        cookies.take(url, Headers([("set-cookie", f"n{number}=1")]))
        assert len(cookies.pairs(url)) <= COOKIES


def test_values_laid_over_count_most_and_share_what_is_kept() -> None:
    cookies = Cookies(["portal.example"], {"a": "given", "b": "given"})
    over = cookies.over({"a": "over"})
    over.take(parse_url("https://portal.example/"), Headers([("set-cookie", "c=set")]))
    assert over.pairs("https://portal.example/") == {"a": "over", "b": "given", "c": "set"}
    assert cookies.pairs("https://portal.example/") == {"a": "given", "b": "given", "c": "set"}
