"""One polite GET, against a server that misbehaves in every way we know."""

import asyncio
import gzip
import logging
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tidemill.common.cache import open_cache
from tidemill.common.http import (
    Answer,
    BadStatus,
    Blocked,
    Entry,
    FetchFailure,
    Held,
    NetworkFailure,
    NotWhatItShouldBe,
    Patience,
    PoliteClient,
    RedirectLoop,
    Sizes,
    TimedOut,
    TooLarge,
    Truncated,
    UnfetchableUrl,
    Usage,
    open_limits,
)
from tidemill.common.http.hop import HOSTS
from tidemill.common.telemetry.metrics import Metrics, value
from tidemill.common.testing.hostile import Asked, Connection, Hostile, hostile_server, polite_client

MOMENT = timedelta(milliseconds=300)


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        yield server


@pytest.fixture
def ledger() -> list[Entry]:
    return []


@pytest.fixture
async def client(ledger: list[Entry]) -> AsyncIterator[PoliteClient]:
    async with polite_client(ledger) as client:
        yield client


async def get(client: PoliteClient, server: Hostile, path: str = "/", **options: object) -> tuple[Answer, bytes]:
    options = {"source": "s", "politeness": server.politeness()} | options
    async with client.open(f"{server.url}{path}", **options) as answer:  # type: ignore[arg-type]
        return answer, await answer.read()


async def failure(client: PoliteClient, server: Hostile, path: str = "/", **options: object) -> FetchFailure:
    with pytest.raises(FetchFailure) as caught:
        await get(client, server, path, **options)
    return caught.value


async def test_a_page_comes_with_who_we_are_and_is_accounted_for(
    client: PoliteClient, server: Hostile, ledger: list[Entry]
) -> None:
    server.says("/page", 200, "tides", etag='"1"', content_type="Text/HTML; charset=utf-8")
    usage = Usage()
    politeness = server.politeness(user_agent="Bot/1.0", contact="mail@example.org", zone="Pacific/Kiritimati")
    answer, content = await get(client, server, "/page?q=1", usage=usage, politeness=politeness)
    assert (answer.status, content, answer.media_type, answer.etag) == (200, b"tides", "text/html", '"1"')
    assert server.pages[0].headers["user-agent"] == "Bot/1.0 (+mail@example.org)"
    assert server.pages[0].headers["host"] == server.host
    assert [entry.purpose for entry in ledger] == ["robots", "page"]
    page = ledger[1]
    assert (page.source, page.host, page.status, page.bytes_received) == ("s", server.host, 200, 5)
    assert (page.robots, page.failure, page.url) == ("allowed", None, f"{server.url}/page?q=1")
    assert (page.day - page.at.date()).days in (0, 1)
    assert (usage.requests, usage.bytes_received) == (2, 5 + len("User-agent: *\nAllow: /\n"))


async def test_connections_are_used_again_also_after_redirects_304_and_errors(
    client: PoliteClient, server: Hostile
) -> None:
    server.says("/moved", 301, "gone there", location="/page")
    server.says("/page", 200, "tides")
    server.says("/same", 304)
    await get(client, server, "/moved")
    await get(client, server, "/same")
    await failure(client, server, "/nowhere")
    async with client.open(f"{server.url}/page", source="s", politeness=server.politeness()):
        pass  # Nobody reads it.
    await get(client, server, "/page")
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed_one_request_each(client: PoliteClient, server: Hostile, status: int) -> None:
    server.says("/a", status, location="b?x=1#part")
    server.says("/b", status, location=f"//{server.host}/c")
    server.says("/c", 200, "there")
    answer, content = await get(client, server, "/a")
    assert content == b"there"
    assert answer.url == f"{server.url}/c"
    assert answer.redirects == (f"{server.url}/a", f"{server.url}/b?x=1")


async def test_a_redirect_loop_is_named(client: PoliteClient, server: Hostile, ledger: list[Entry]) -> None:
    server.says("/a", 302, location="/b")
    server.says("/b", 302, location="/a")
    server.says("/self", 302, location="/self")
    assert isinstance(await failure(client, server, "/a"), RedirectLoop)
    assert isinstance(await failure(client, server, "/self"), RedirectLoop)
    assert [entry.failure for entry in ledger if entry.purpose != "robots"] == [None, "redirect_loop", "redirect_loop"]


async def test_redirects_without_end_are_a_loop_too(client: PoliteClient, server: Hostile) -> None:
    async def further(asked: Asked, connection: Connection) -> None:
        await connection.answer(302, location=f"/further?{len(server.asked)}")

    server.on("/further")(further)
    error = await failure(client, server, "/further")
    assert (error.slug, error.retry) == ("redirect_loop", False)
    assert len(server.pages) == 11


@pytest.mark.parametrize("location", ["ftp://example.org/", "javascript:alert(1)", "http://[::1"])
async def test_a_redirect_to_what_cannot_be_asked_for_is_refused(
    client: PoliteClient, server: Hostile, location: str
) -> None:
    server.says("/", 302, location=location)
    assert isinstance(await failure(client, server), UnfetchableUrl)


async def test_secrets_stay_at_home_when_a_redirect_leads_elsewhere(client: PoliteClient, server: Hostile) -> None:
    async with hostile_server() as elsewhere:
        server.says("/", 302, location=f"{elsewhere.url}/x")
        server.says("/home", 302, location="/inside")
        server.says("/inside", 200)
        elsewhere.says("/x", 200, "there")
        politeness = server.politeness(allow_private=[server.host, elsewhere.host])
        secrets = {"Cookie": "session=hunter2", "X-Key": "hunter2", "If-None-Match": '"1"'}
        url = server.url.replace("://", "://user:hunter2@")
        async with client.open(f"{url}/", source="s", politeness=politeness, headers=secrets) as answer:
            assert "hunter2" not in answer.url + str(answer.redirects)
        told = elsewhere.pages[0].headers
        assert "hunter2" not in str(told)
        assert "authorization" not in told
        assert told["if-none-match"] == '"1"'
        async with client.open(f"{url}/home", source="s", politeness=politeness, headers=secrets):
            pass
        assert server.asked[-1].path == "/inside"
        assert server.asked[-1].headers["cookie"] == "session=hunter2"
        assert server.asked[-1].headers["authorization"] == "Basic dXNlcjpodW50ZXIy"


async def test_no_password_reaches_logs_errors_or_ledger(
    client: PoliteClient, server: Hostile, ledger: list[Entry], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.says("/", 503)
    with pytest.raises(BadStatus) as caught:
        async with client.open(
            f"{server.url.replace('://', '://user:hunter2@')}/?token=hunter2",
            source="s",
            politeness=server.politeness(),
        ):
            pass
    assert "hunter2" not in str(caught.value) + str(ledger)
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("status", "kind", "slug", "retry"),
    [
        (400, BadStatus, "http", False),
        (401, Blocked, "blocked", False),
        (403, Blocked, "blocked", True),
        (404, BadStatus, "http", False),
        (408, BadStatus, "http", True),
        (410, BadStatus, "http", False),
        (429, Blocked, "blocked", True),
        (451, Blocked, "blocked", False),
        (500, BadStatus, "http", True),
        (503, BadStatus, "http", True),
        (599, BadStatus, "http", True),
        (300, BadStatus, "http", False),
        (302, BadStatus, "http", False),
    ],
)
async def test_a_status_that_says_no_is_a_failure_that_knows_whether_to_try_again(
    client: PoliteClient, server: Hostile, status: int, kind: type[BadStatus], slug: str, retry: bool
) -> None:
    server.says("/", status, "sorry")
    error = await failure(client, server)
    assert type(error) is kind
    assert isinstance(error, BadStatus)
    assert (error.status, error.slug, error.retry, error.after) == (status, slug, retry, None)


@pytest.mark.parametrize("form", ["seconds", "moment"])
async def test_429_with_retry_after_is_obeyed_in_both_forms(
    client: PoliteClient, server: Hostile, ledger: list[Entry], form: str
) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=2)
    server.says("/", 429, retry_after="120" if form == "seconds" else format_datetime(until, usegmt=True))
    error = await failure(client, server)
    assert error.after is not None
    assert abs(error.after - until) < timedelta(seconds=10)
    assert ledger[-1].retry_after is not None
    with pytest.raises(Held) as caught:
        await get(client, server, "/other")
    assert caught.value.reason == "not_before"
    assert caught.value.until is not None
    assert abs(caught.value.until - until) < timedelta(seconds=10)
    assert len(server.pages) == 1


async def test_a_host_that_fails_again_and_again_is_left_alone(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 500)
    for _ in range(5):
        await failure(client, server)
    with pytest.raises(Held) as caught:
        await get(client, server)
    assert caught.value.reason == "breaker_open"
    assert len(server.pages) == 5


async def test_pages_that_are_not_there_are_no_sign_of_trouble(client: PoliteClient, server: Hostile) -> None:
    for _ in range(8):
        await failure(client, server, "/nowhere")
    assert len(server.pages) == 8


async def test_redirects_and_robots_txt_are_paid_from_the_budget(client: PoliteClient, server: Hostile) -> None:
    server.says("/a", 302, location="/b")
    server.says("/b", 200)
    politeness = server.politeness(daily_budget=4)
    await get(client, server, "/a", politeness=politeness)
    with pytest.raises(Held) as caught:
        await get(client, server, "/a", politeness=politeness)
    assert caught.value.reason == "budget_spent"
    assert [asked.path for asked in server.asked] == ["/robots.txt", "/a", "/b", "/a"]


async def test_a_304_saves_what_was_known(client: PoliteClient, server: Hostile, ledger: list[Entry]) -> None:
    server.says("/", 304, etag='"1"')
    answer, content = await get(client, server, headers={"If-None-Match": '"1"'}, known_bytes=1234)
    assert (answer.status, content) == (304, b"")
    assert ledger[-1].bytes_saved == 1234
    assert server.pages[0].headers["if-none-match"] == '"1"'


async def test_compressed_pages_are_decoded(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 200, gzip.compress(b"tides " * 100), content_encoding="gzip")
    _, content = await get(client, server)
    assert content == b"tides " * 100
    assert "zstd" in server.pages[0].headers["accept-encoding"]
    await get(client, server, identity=True)
    assert server.pages[1].headers["accept-encoding"] == "identity"


async def test_a_gzip_bomb_is_refused_long_before_it_is_whole(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 200, gzip.compress(bytes(100 << 20)), content_encoding="gzip")
    error = await failure(client, server, sizes=Sizes(decoded=1 << 20))
    assert isinstance(error, TooLarge)


async def test_an_unknown_or_damaged_coding_is_refused(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 200, b"nonsense", content_encoding="gzip")
    assert isinstance(await failure(client, server), NotWhatItShouldBe)
    server.says("/", 200, b"nonsense", content_encoding="x-secret")
    assert isinstance(await failure(client, server), NotWhatItShouldBe)


async def test_5_gb_declared_are_refused_before_a_byte_is_read(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 200, b"x" * 1000, content_length=5 * 10**9)
    usage = Usage()
    error = await failure(client, server, usage=usage, politeness=server.politeness(obey_robots=False))
    assert isinstance(error, TooLarge)
    assert "5000000000 bytes are announced" in str(error)
    assert usage.bytes_received == 0


async def test_a_body_without_end_is_cut_at_the_limit(client: PoliteClient, server: Hostile) -> None:
    @server.on("/")
    async def endless(asked: Asked, connection: Connection) -> None:
        await connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(200):
            await connection.send("10000\r\n", bytes(0x10000), "\r\n")

    usage = Usage()
    error = await failure(client, server, sizes=Sizes(received=1_000_000), usage=usage)
    assert isinstance(error, TooLarge)
    assert usage.bytes_received < 1_500_000


async def test_a_truncated_body_is_noticed(client: PoliteClient, server: Hostile, ledger: list[Entry]) -> None:
    @server.on("/")
    async def half(asked: Asked, connection: Connection) -> None:
        await connection.answer(200, b"x" * 100, content_length=200)
        connection.hang_up()

    error = await failure(client, server)
    assert isinstance(error, Truncated)
    assert (error.slug, error.retry) == ("network", True)
    assert (ledger[-1].failure, ledger[-1].status, ledger[-1].bytes_received) == ("network", 200, 100)


RUBBISH = {
    "a chunk that breaks off": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "a chunk without sense": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "no HTTP at all": "220 ftp.example.org ready\r\n",
    "nothing": "",
    "half a head": "HTTP/1.1 200 OK\r\nContent-Len",
    "huge headers": "HTTP/1.1 200 OK\r\nX: " + "y" * 300_000 + "\r\n\r\n",
    "endless small headers": "HTTP/1.1 200 OK\r\n" + "".join(f"X-{n}: y\r\n" for n in range(20_000)) + "\r\n",
    "a negative length": "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
    "two lengths": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabc",
    "a status without sense": "HTTP/1.1 2000 OK\r\n\r\n",
    "binary": "\x16\x03\x01\x02\x00\x01\x00\x01",
}


@pytest.mark.parametrize("rubbish", RUBBISH)
async def test_rubbish_is_a_failure_of_the_network(client: PoliteClient, server: Hostile, rubbish: str) -> None:
    @server.on("/")
    async def answer(asked: Asked, connection: Connection) -> None:
        await connection.send(RUBBISH[rubbish])
        connection.hang_up()

    error = await failure(client, server)
    assert isinstance(error, NetworkFailure)
    assert error.retry


async def test_a_reset_in_the_middle_is_a_failure_of_the_network(client: PoliteClient, server: Hostile) -> None:
    @server.on("/")
    async def cut(asked: Asked, connection: Connection) -> None:
        await connection.answer(200, b"x" * 100, content_length=200)
        connection.reset()

    assert isinstance(await failure(client, server), NetworkFailure)


async def test_a_host_that_is_not_there_is_a_failure_of_the_network(client: PoliteClient, ledger: list[Entry]) -> None:
    async with hostile_server() as gone:
        politeness = gone.politeness(obey_robots=False)
    assert isinstance(await failure(client, gone, politeness=politeness), NetworkFailure)
    assert (ledger[-1].requests, ledger[-1].failure) == (0, "network")


async def test_a_silent_server_is_given_up(client: PoliteClient, server: Hostile) -> None:
    @server.on("/")
    async def silent(asked: Asked, connection: Connection) -> None:
        await asyncio.sleep(60)

    assert isinstance(await failure(client, server, patience=Patience(answer=MOMENT)), TimedOut)


async def test_a_head_that_drips_is_given_up(client: PoliteClient, server: Hostile) -> None:
    """Slow loris: every single wait is short."""

    @server.on("/")
    async def drip(asked: Asked, connection: Connection) -> None:
        await connection.drip(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10_000, seconds=0.02)

    assert isinstance(await failure(client, server, patience=Patience(answer=MOMENT)), TimedOut)


async def test_a_body_that_drips_is_given_up(client: PoliteClient, server: Hostile) -> None:
    @server.on("/")
    async def drip(asked: Asked, connection: Connection) -> None:
        await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        await connection.drip(bytes(10_000), seconds=0.02)

    error = await failure(client, server, patience=Patience(slow_for=MOMENT))
    assert isinstance(error, TimedOut)
    assert "bytes a second" in str(error)


async def test_a_body_that_stops_is_given_up(client: PoliteClient, server: Hostile) -> None:
    @server.on("/")
    async def stop(asked: Asked, connection: Connection) -> None:
        await connection.answer(200, b"x" * 10, content_length=100)
        await asyncio.sleep(60)

    assert "silence" in str(await failure(client, server, patience=Patience(silence=MOMENT)))


async def test_the_whole_has_a_limit_of_time(client: PoliteClient, server: Hostile) -> None:
    @server.on("/")
    async def steady(asked: Asked, connection: Connection) -> None:
        await connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(1000):
            await connection.send(bytes(1000))
            await asyncio.sleep(0.02)

    error = await failure(client, server, patience=Patience(total=MOMENT))
    assert "not complete within 0.3 s" in str(error)


async def test_a_reader_who_takes_his_time_is_not_the_hosts_fault(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 200, bytes(300_000))
    patience = Patience(slow_for=MOMENT)
    async with client.open(server.url, source="s", politeness=server.politeness(), patience=patience) as answer:
        async for _ in answer.chunks():
            await asyncio.sleep(0.1)


async def test_an_error_of_the_reader_gives_the_place_back(
    client: PoliteClient, server: Hostile, ledger: list[Entry]
) -> None:
    server.says("/", 200, bytes(300_000))
    politeness = server.politeness(concurrency=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with client.open(server.url, source="s", politeness=politeness) as answer:
                async for _chunk in answer.chunks():
                    _ = 1 / 0
    assert [entry.failure for entry in ledger[1:]] == [None] * 3


async def test_a_cancelled_request_gives_the_place_back_and_is_accounted_for(
    client: PoliteClient, server: Hostile, ledger: list[Entry]
) -> None:
    @server.on("/")
    async def silent(asked: Asked, connection: Connection) -> None:
        await asyncio.sleep(60)

    server.says("/quick", 200)
    politeness = server.politeness(concurrency=1)
    asking = asyncio.create_task(get(client, server, politeness=politeness))
    while not server.pages:
        await asyncio.sleep(0.01)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    await get(client, server, "/quick", politeness=politeness)
    assert [(entry.failure, entry.requests) for entry in ledger[1:]] == [("cancelled", 1), (None, 1)]


async def test_what_is_asked_is_counted(client: PoliteClient, server: Hostile) -> None:
    server.says("/", 200, "tides")
    labels = {
        "service": "http-test",
        "source": "counted",
        "purpose": "page",
        "host": HOSTS.name(server.url.removeprefix("http://").rstrip("/")),
    }
    await get(client, server, source="counted")
    await failure(client, server, "/nowhere", source="counted")
    assert value("tidemill_http_requests_total", outcome="2xx", **labels) == 1
    assert value("tidemill_http_requests_total", outcome="4xx", **labels) == 1
    assert value("tidemill_http_bytes_total", service="http-test", source="counted") > 5
    allowed = {"service": "http-test", "source": "counted", "decision": "allowed"}
    assert value("tidemill_robots_decisions_total", **allowed) == 2


async def test_without_a_limiter_nothing_is_asked(server: Hostile) -> None:
    metrics = Metrics("http-test")
    limits, cache = open_limits("redis://127.0.0.1:9/0", metrics), open_cache(None, metrics)
    async with PoliteClient(limits, cache, metrics) as client:
        with pytest.raises(Held) as caught:
            await get(client, server)
    assert caught.value.reason == "limiter_unavailable"
    assert server.connections == 0
    await limits.close()


async def test_tls_is_checked_against_the_name_and_not_the_address(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server_side, client_side = tls

    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async with hostile_server(server_side) as server:
        server.says("/", 200, "safe")
        async with polite_client(resolve=here, ssl_context=client_side) as client:
            for name, good in (("demo.example", True), ("other.example", False)):
                politeness = server.politeness(allow_private=[f"{name}:{server.port}"], obey_robots=False)
                url = f"https://{name}:{server.port}/"
                if good:
                    async with client.open(url, source="s", politeness=politeness) as answer:
                        assert await answer.read() == b"safe"
                else:
                    with pytest.raises(NetworkFailure, match="certificate"):
                        async with client.open(url, source="s", politeness=politeness):
                            pass
    assert [asked.headers["host"] for asked in server.asked] == [f"demo.example:{server.port}"]


async def test_leave_can_be_asked_for_without_asking_for_the_page(
    client: PoliteClient, server: Hostile, ledger: list[Entry]
) -> None:
    server.says("/robots.txt", 200, "User-agent: *\nDisallow: /private\n")
    usage = Usage()
    for path, good in (("/page", True), ("/private/1", False), ("/page", True)):
        allowed = await client.allowed(f"{server.url}{path}", source="s", politeness=server.politeness(), usage=usage)
        assert allowed is good
    assert [asked.path for asked in server.asked] == ["/robots.txt"]
    assert usage.requests == 1
    assert [(entry.purpose, entry.requests, entry.robots) for entry in ledger] == [
        ("robots", 1, None),
        ("page", 0, "disallowed"),
    ]


async def test_leave_is_held_where_the_host_does_not_say(client: PoliteClient, server: Hostile) -> None:
    server.says("/robots.txt", 503)
    with pytest.raises(Held) as caught:
        await client.allowed(f"{server.url}/page", source="s", politeness=server.politeness())
    assert caught.value.reason == "robots_unreachable"
    assert await client.allowed(f"{server.url}/", source="s", politeness=server.politeness(obey_robots=False))
