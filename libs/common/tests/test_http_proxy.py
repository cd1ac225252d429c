"""Requests over a real proxy: the same manners, the same guard, and its password nowhere."""

import logging
import ssl
from collections.abc import AsyncIterator, Sequence

import pytest

from tidemill.common.config import Politeness
from tidemill.common.config.references import resolved
from tidemill.common.http import (
    BadStatus,
    Blocked,
    Entry,
    Held,
    NetworkFailure,
    PrivateAddress,
    ProxyFailure,
    UnfetchableUrl,
    Usage,
)
from tidemill.common.http.guard import Guard, is_public_name
from tidemill.common.testing.hostile import Hostile, hostile_server, polite_client
from tidemill.common.testing.proxy import forward_proxy

PASSWORD = "hunter2-of-the-proxy"


@pytest.fixture
async def server() -> AsyncIterator[Hostile]:
    async with hostile_server() as server:
        yield server


async def nowhere(host: str, port: int) -> Sequence[str]:
    """A machine without DNS, as behind many proxies."""
    if host == "127.0.0.1":
        return ["127.0.0.1"]
    raise OSError(8, "no such name")


async def test_everything_goes_over_the_proxy_with_its_password(server: Hostile) -> None:
    server.says("/page", 200, "tides")
    usage, ledger = Usage(), list[Entry]()
    async with forward_proxy(login=f"user:{PASSWORD}") as proxy, polite_client(ledger) as client:
        for _ in range(2):
            async with client.open(
                f"{server.url}/page?q=1", source="s", politeness=server.politeness(), proxy=proxy.url, usage=usage
            ) as answer:
                assert await answer.read() == b"tides"
        assert [line.split(" ")[1] for line in proxy.asked] == [
            f"{server.url}/robots.txt",
            *[f"{server.url}/page?q=1"] * 2,
        ]
        assert proxy.connections == 1
    assert "proxy-authorization" not in server.pages[0].headers
    assert server.pages[0].headers["host"] == server.host
    assert usage.requests == 3
    assert {entry.host for entry in ledger} == {server.host}


async def test_the_rate_is_that_of_the_host_and_not_of_the_proxy(server: Hostile) -> None:
    server.says("/", 200)
    async with forward_proxy() as proxy, polite_client() as client:
        politeness = server.politeness("1/h", obey_robots=False)
        for way in (None, proxy.url):
            if way is None:
                async with client.open(server.url, source="s", politeness=politeness):
                    continue
            with pytest.raises(Held) as caught:
                async with client.open(server.url, source="s", politeness=politeness, proxy=way):
                    pass
            assert (caught.value.reason, caught.value.host) == ("rate", server.host)


@pytest.mark.parametrize("url", ["{}/latest/meta-data", "http://localhost:9/", "http://0x7f.1/", "http://[::1]/"])
async def test_no_private_address_is_asked_of_the_proxy(url: str, server: Hostile) -> None:
    async with forward_proxy() as proxy, polite_client() as client:
        with pytest.raises(PrivateAddress):
            async with client.open(url.format(server.url), source="s", politeness=Politeness(), proxy=proxy.url):
                pass
        assert not proxy.asked
        assert not server.asked


async def test_a_redirect_to_a_private_address_is_refused_behind_a_proxy_too(server: Hostile) -> None:
    async with hostile_server() as secret, forward_proxy() as proxy, polite_client() as client:
        server.says("/", 302, location=f"{secret.url}/latest/meta-data")
        with pytest.raises(PrivateAddress):
            async with client.open(server.url, source="s", politeness=server.politeness(), proxy=proxy.url):
                pass
        assert secret.connections == 0


async def test_a_name_with_one_private_address_is_refused_because_the_proxy_may_take_that(server: Hostile) -> None:
    async def both(host: str, port: int) -> Sequence[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(PrivateAddress, match=r"10\.0\.0\.1"):
        await Guard(resolve=both).judge("example.org", 443, seconds=1)


async def test_a_host_that_only_the_proxy_knows_is_judged_by_its_name(server: Hostile) -> None:
    server.says("/", 200, "tides")
    names = {"listings.example": "127.0.0.1", "files.intern.local": "127.0.0.1"}
    async with forward_proxy(names=names) as proxy, polite_client(resolve=nowhere) as client:
        politeness = Politeness(rate="500/s", concurrency=8)
        url = f"http://listings.example:{server.port}/"
        async with client.open(url, source="s", politeness=politeness, proxy=proxy.url) as answer:
            assert await answer.read() == b"tides"
        for host in ("files.intern.local", "127.0.0.1", "0x7f.1", "2130706433"):
            with pytest.raises(PrivateAddress):
                async with client.open(
                    f"http://{host}:{server.port}/", source="s", politeness=politeness, proxy=proxy.url
                ):
                    pass
    assert {asked.headers["host"] for asked in server.asked} == {f"listings.example:{server.port}"}


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("example.org", True),
        ("example.org.", True),
        ("local.example", True),
        ("intranet", False),
        ("localhost", False),
        ("a.LOCALHOST.", False),
        ("db.internal", False),
        ("router.home.arpa", False),
        ("1.2.3.0x7f", False),
    ],
)
def test_names_of_private_networks_are_known(name: str, public: bool) -> None:
    assert is_public_name(name) is public


async def test_a_wrong_password_is_a_failure_of_the_proxy_and_not_held_against_the_host(server: Hostile) -> None:
    server.says("/", 200, "tides")
    politeness = server.politeness(obey_robots=False)
    async with forward_proxy(login=f"user:{PASSWORD}") as proxy, polite_client() as client:
        for _ in range(6):
            with pytest.raises(ProxyFailure, match="407") as caught:
                async with client.open(server.url, source="s", politeness=politeness, proxy=f"http://{proxy.host}"):
                    pass
        assert (caught.value.slug, caught.value.retry) == ("proxy", True)
        async with client.open(server.url, source="s", politeness=politeness) as answer:
            assert await answer.read() == b"tides"


async def test_a_proxy_that_is_not_there_is_named_without_its_password(
    server: Hostile, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with forward_proxy(login=f"user:{PASSWORD}") as proxy:
        gone = proxy.url
    ledger = list[Entry]()
    async with polite_client(ledger) as client:
        politeness = server.politeness(obey_robots=False)
        with pytest.raises(ProxyFailure, match=f"the proxy {proxy.host} cannot be reached") as caught:
            async with client.open(server.url, source="s", politeness=politeness, proxy=gone):
                pass
    assert PASSWORD not in f"{caught.value!r} {caught.value.__cause__!r} {ledger} {caplog.text}"
    assert (ledger[-1].requests, ledger[-1].failure) == (0, "proxy")


async def test_no_secret_of_a_proxy_is_printed(
    server: Hostile, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PROXY_PASSWORD", "pass/word@of:the=proxy")
    server.says("/", 503)
    ledger = list[Entry]()
    async with forward_proxy(login="user:pass/word@of:the=proxy") as proxy, polite_client(ledger) as client:
        address = resolved(f"http://user:${{env:PROXY_PASSWORD}}@{proxy.host}")
        with pytest.raises(BadStatus) as caught:
            async with client.open(server.url, source="s", politeness=server.politeness(), proxy=address):
                pass
        sent = proxy.headers[-1]["proxy-authorization"].removeprefix("Basic ")
    printed = f"{caught.value!r} {ledger} {caplog.text}"
    assert "word@of" not in printed
    assert "word%40of" not in printed
    assert sent not in printed


@pytest.mark.parametrize("text", ["socks5://127.0.0.1:1080", "http://user:hunter2@/", "nonsense"])
async def test_an_address_that_is_no_proxy_is_refused(text: str, server: Hostile) -> None:
    async with polite_client() as client:
        with pytest.raises(UnfetchableUrl) as caught:
            async with client.open(server.url, source="s", politeness=server.politeness(), proxy=text):
                pass
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("tls_to_the_proxy", [False, True])
async def test_tls_goes_through_a_tunnel_and_is_checked_against_the_host(
    tls: tuple[ssl.SSLContext, ssl.SSLContext], tls_to_the_proxy: bool
) -> None:
    server_side, client_side = tls
    names = {"demo.example": "127.0.0.1", "other.example": "127.0.0.1"}
    async with (
        hostile_server(server_side) as server,
        forward_proxy(server_side if tls_to_the_proxy else None, login=f"user:{PASSWORD}", names=names) as proxy,
        polite_client(resolve=here if tls_to_the_proxy else nowhere, ssl_context=client_side) as client,
    ):
        server.says("/", 200, "safe")
        way = f"https://user:{PASSWORD}@demo.example:{proxy.port}" if tls_to_the_proxy else proxy.url
        allowed = [f"{name}:{server.port}" for name in names]
        politeness = Politeness(rate="500/s", obey_robots=False, allow_private=tuple(allowed))
        usage = Usage()
        for _ in range(2):
            async with client.open(
                f"https://demo.example:{server.port}/", source="s", politeness=politeness, proxy=way, usage=usage
            ) as answer:
                assert await answer.read() == b"safe"
        assert usage.requests == 2
        with pytest.raises(NetworkFailure, match="certificate"):
            async with client.open(
                f"https://other.example:{server.port}/", source="s", politeness=politeness, proxy=way
            ):
                pass
        assert proxy.asked == [f"CONNECT {name}:{server.port} HTTP/1.1" for name in names]
        assert "proxy-authorization" not in server.pages[0].headers


async def here(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize(("refusal", "kind"), [("502 Bad Gateway", NetworkFailure), ("403 Forbidden", ProxyFailure)])
async def test_a_tunnel_that_is_refused_says_whose_fault_it_is(refusal: str, kind: type[NetworkFailure]) -> None:
    async with forward_proxy(refusal=refusal) as proxy, polite_client(resolve=nowhere) as client:
        with pytest.raises(NetworkFailure, match=refusal) as caught:
            async with client.open(
                "https://demo.example/", source="s", politeness=Politeness(obey_robots=False), proxy=proxy.url
            ):
                pass
        assert type(caught.value) is kind


async def test_a_407_of_the_host_itself_is_its_own(server: Hostile) -> None:
    server.says("/", 407)
    async with polite_client() as client:
        with pytest.raises(Blocked):
            async with client.open(server.url, source="s", politeness=server.politeness()):
                pass
