"""Pages of real sockets, with what a source says: sessions, headers, cookies, a proxy."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tidemill.common.config.sources import SourceFile
from tidemill.common.http import BadStatus, Entry, TooLarge, Usage, Validators
from tidemill.common.testing.hostile import Asked, Connection, Hostile, hostile_server, polite_client
from tidemill.common.testing.proxy import forward_proxy
from tidemill.scraper.fetch import Fetched, PoliteFetch
from tidemill.scraper.session import NoSecret, NoSessionValue

TOKEN = {"token": {"css": "meta[name=token]", "attribute": "content"}}


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        yield server


@pytest.fixture
def ledger() -> list[Entry]:
    return []


@pytest.fixture
async def fetch(ledger: list[Entry]) -> AsyncIterator[PoliteFetch]:
    async with polite_client(ledger) as client:
        yield PoliteFetch(client)


def source(server: Hostile, *allowed: str, **scrape: Any) -> SourceFile:
    search = {"url": f"{server.url}/search", "link": {"css": "a"}}
    return SourceFile.model_validate(
        {
            "source": "portal",
            "politeness": server.politeness(allow_private=[server.host, *allowed]).model_dump(),
            "scrape": {"search": search} | scrape,
            "extract": {"fields": {"title": {"from": {"css": "h1"}, "required": True}}},
        }
    )


def with_session(server: Hostile, **session: Any) -> SourceFile:
    return source(
        server,
        session={"url": f"{server.url}/start", "values": TOKEN, "headers": {"OTA-token": "{token}"}} | session,
    )


async def get(fetch: PoliteFetch, source: SourceFile, url: str, **options: Any) -> Fetched:
    page = await fetch.page(source, url, options.pop("usage", Usage()), **options)
    assert page is not None
    return page


class Api:
    """An API that wants the token of its front page."""

    def __init__(self, server: Hostile) -> None:
        self.token = 1
        self.wants: int | None = None
        """The only token that is good; else the latest."""
        server.on("/start")(self.start)
        server.on("/api")(self.api)

    async def start(self, asked: Asked, connection: Connection) -> None:
        await connection.answer(200, f'<meta name="token" content="token-{self.token}">')

    async def api(self, asked: Asked, connection: Connection) -> None:
        good = asked.headers.get("ota-token") == f"token-{self.wants or self.token}"
        await connection.answer(200 if good else 401, "{}", content_type="application/json")


def paths(server: Hostile) -> list[str]:
    return [asked.path for asked in server.pages]


async def test_a_page_comes_with_headers_and_validators_and_without_cookies(
    fetch: PoliteFetch, server: Hostile
) -> None:
    server.says("/1", 200, "<h1>x", etag='"1"', last_modified="Fri, 24 Jul 2026 05:00:00 GMT", set_cookie="a=1")
    page = await get(fetch, source(server), f"{server.url}/1?token=abc#part")
    assert page.url == f"{server.url}/1?token=abc#part"
    assert (page.status, page.content, page.etag, page.redirects) == (200, b"<h1>x", '"1"', ())
    assert page.last_modified == "Fri, 24 Jul 2026 05:00:00 GMT"
    assert "set-cookie" not in page.headers
    assert page.headers["etag"] == '"1"'


async def test_a_known_page_is_none(fetch: PoliteFetch, server: Hostile, ledger: list[Entry]) -> None:
    server.says("/1", 304)
    known = Validators('"1"', None)
    assert await fetch.page(source(server), f"{server.url}/1", Usage(), known, 123) is None
    assert server.pages[0].headers["if-none-match"] == '"1"'
    assert ledger[-1].bytes_saved == 123


async def test_a_redirect_tells_where_the_page_is(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/old", 301, location="/new?signature=x")
    server.says("/new", 200, "<h1>x")
    page = await get(fetch, source(server), f"{server.url}/old")
    assert (page.url, page.redirects) == (f"{server.url}/new?signature=x", (f"{server.url}/old",))


async def test_a_page_that_is_not_there_tells_its_status(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/1", 410)
    with pytest.raises(BadStatus) as caught:
        await get(fetch, source(server), f"{server.url}/1")
    assert caught.value.status == 410


async def test_a_larger_page_is_refused(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/1", 200, b"x" * 2000)
    with pytest.raises(TooLarge):
        await get(fetch, source(server, max_size="1KB"), f"{server.url}/1")


async def test_secrets_in_headers_and_cookies_are_fetched_when_they_are_used(
    fetch: PoliteFetch, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.says("/1", 200, "<h1>x")
    portal = source(server, headers={"X-Key": "key ${env:PORTAL_KEY}"}, cookies={"consent": "${env:PORTAL_COOKIE}"})
    with pytest.raises(NoSecret):
        await get(fetch, portal, f"{server.url}/1")
    for number in (1, 2):
        monkeypatch.setenv("PORTAL_KEY", f"hunter2-{number}")
        monkeypatch.setenv("PORTAL_COOKIE", f"hunter3-{number}")
        await get(fetch, portal, f"{server.url}/1")
        assert server.pages[-1].headers["x-key"] == f"key hunter2-{number}"
        assert server.pages[-1].headers["cookie"] == f"consent=hunter3-{number}"


async def test_a_link_to_another_host_takes_no_secret_there(
    fetch: PoliteFetch, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_KEY", "hunter2-of-the-portal")
    Api(server)
    async with hostile_server() as elsewhere:
        elsewhere.says("/1", 401)
        portal = source(
            server,
            elsewhere.host,
            session={"url": f"{server.url}/start", "values": TOKEN, "headers": {"OTA-token": "{token}"}},
            headers={"X-Key": "${env:PORTAL_KEY}", "Accept-Language": "fi"},
            cookies={"consent": "yes"},
        )
        await get(fetch, portal, f"{server.url}/api")
        with pytest.raises(BadStatus):
            await get(fetch, portal, f"{elsewhere.url}/1")
        told = elsewhere.pages[0].headers
    assert len(elsewhere.pages) == 1
    assert not {"x-key", "ota-token", "cookie"} & told.keys()
    assert told["accept-language"] == "fi"
    assert paths(server) == ["/start", "/api"]


async def test_the_cookies_of_a_session_are_kept(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/start", 200, '<meta name="token" content="t">', set_cookie="sid=7; HttpOnly")
    server.says("/api", 200, "{}")
    await get(fetch, with_session(server), f"{server.url}/api")
    assert server.pages[-1].headers["cookie"] == "sid=7"


async def test_tokens_are_read_once_for_all_who_ask_at_the_same_time(fetch: PoliteFetch, server: Hostile) -> None:
    Api(server)
    usage = Usage()
    portal = with_session(server)
    await asyncio.gather(*(get(fetch, portal, f"{server.url}/api", usage=usage) for _ in range(6)))
    assert sorted(paths(server)) == ["/api"] * 6 + ["/start"]
    assert usage.requests == 8


async def test_a_refused_token_is_read_again_once_and_the_request_repeated(fetch: PoliteFetch, server: Hostile) -> None:
    api, portal = Api(server), with_session(server)
    await get(fetch, portal, f"{server.url}/api")
    api.token = 2
    await asyncio.gather(*(get(fetch, portal, f"{server.url}/api") for _ in range(4)))
    assert paths(server).count("/start") == 2
    assert paths(server).count("/api") <= 1 + 2 * 4
    assert server.pages[-1].headers["ota-token"] == "token-2"


async def test_a_wall_is_not_run_against_with_ever_new_tokens(fetch: PoliteFetch, server: Hostile) -> None:
    api, portal = Api(server), with_session(server)
    api.wants = 99
    await get_refused(fetch, portal, server)
    assert paths(server) == ["/start", "/api", "/start"], "the page has the same token as before"
    api.token = 2
    for _ in range(3):
        await get_refused(fetch, portal, server)
    assert paths(server)[3:] == ["/api"] * 3


async def get_refused(fetch: PoliteFetch, portal: SourceFile, server: Hostile) -> None:
    with pytest.raises(BadStatus) as caught:
        await get(fetch, portal, f"{server.url}/api")
    assert caught.value.status == 401


async def test_a_start_page_without_the_token_fails_all_who_wait_with_one_request(
    fetch: PoliteFetch, server: Hostile
) -> None:
    server.says("/start", 200, "<p>we are back soon")
    portal = with_session(server)
    asking = (get(fetch, portal, f"{server.url}/api") for _ in range(5))
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(failure) for failure in failures} == {NoSessionValue}
    assert "css: meta[name=token]" in str(failures[0])
    assert paths(server) == ["/start"]
    Api(server)
    await get(fetch, portal, f"{server.url}/api")


async def test_who_gives_up_while_the_tokens_are_read_leaves_it_to_the_next(
    fetch: PoliteFetch, server: Hostile
) -> None:
    came = asyncio.Event()

    @server.on("/start")
    async def slow(asked: Asked, connection: Connection) -> None:
        came.set()
        await asyncio.sleep(60)

    portal = with_session(server)
    first = asyncio.create_task(get(fetch, portal, f"{server.url}/api"))
    await came.wait()
    second = asyncio.create_task(get(fetch, portal, f"{server.url}/api"))
    Api(server)
    first.cancel()
    assert (await second).status == 200


async def test_tokens_in_parameters_are_in_no_address_that_is_kept(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/start", 200, '<meta name="token" content="abc123">')
    server.says("/moved", 302, location="/api?page=2&auth=abc123")
    server.says("/api", 200, "{}")
    portal = with_session(server, headers={}, params={"auth": "{token}"})
    page = await get(fetch, portal, f"{server.url}/moved?page=2")
    assert paths(server)[1:] == ["/moved?page=2&auth=abc123", "/api?page=2&auth=abc123"]
    assert page.url == f"{server.url}/api?page=2"
    assert "abc123" not in str(page.redirects)


async def test_a_source_whose_file_changed_begins_anew(fetch: PoliteFetch, server: Hostile) -> None:
    Api(server)
    await get(fetch, with_session(server), f"{server.url}/api")
    await get(fetch, with_session(server, headers={"OTA-token": "{token}", "X-More": "1"}), f"{server.url}/api")
    assert paths(server) == ["/start", "/api"] * 2


async def test_everything_goes_over_the_proxy_of_the_source(
    fetch: PoliteFetch, server: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROXY_PASSWORD", "hunter2-of-the-proxy")
    Api(server)
    async with forward_proxy(login="user:hunter2-of-the-proxy") as proxy:
        portal = source(
            server,
            session={"url": f"{server.url}/start", "values": TOKEN, "headers": {"OTA-token": "{token}"}},
            proxy=f"http://user:${{env:PROXY_PASSWORD}}@{proxy.host}",
        )
        assert await fetch.allowed(portal, f"{server.url}/api", Usage())
        await get(fetch, portal, f"{server.url}/api")
        assert [line.split("/", 3)[3].split(" ")[0] for line in proxy.asked] == ["robots.txt", "start", "api"]


async def test_leave_is_asked_for_alone(fetch: PoliteFetch, server: Hostile) -> None:
    server.says("/robots.txt", 200, "User-agent: *\nDisallow: /private\n")
    usage = Usage()
    assert await fetch.allowed(source(server), f"{server.url}/1", usage)
    assert not await fetch.allowed(source(server), f"{server.url}/private/1", usage)
    assert usage.requests == 1
    assert not server.pages
