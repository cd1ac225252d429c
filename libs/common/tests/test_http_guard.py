"""The guard: no address that is not public is connected to, whatever a name, a form or a redirect says."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.common.config import Politeness
from tidemill.common.http import NetworkFailure, Patience, PrivateAddress, TimedOut, UnfetchableUrl, host_of
from tidemill.common.http.guard import Guard, is_public, resolve
from tidemill.common.http.wire import parse_url, printable_url
from tidemill.common.testing.hostile import hostile_server, polite_client

REFUSED = """
    127.0.0.1 127.255.255.255 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 0.0.0.0 0.1.2.3
    100.64.0.1 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255
    ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd12::1 fec0::1 ff02::1 ::ffff:127.0.0.1 ::ffff:93.184.216.34 ::127.0.0.1
    64:ff9b::7f00:1 64:ff9b::10.0.0.1 64:ff9b:1::1 2001:db8::1 2002:7f00:1:: 2001::1 100::1 3fff::1 4000::1
""".split()
ALLOWED = (
    "93.184.216.34 1.1.1.1 172.15.0.1 172.32.0.1 100.128.0.1 223.255.255.255 2606:4700::1111 64:ff9b::5db8:d822".split()
)


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_is_let_through(address: str) -> None:
    assert is_public(ip_address(address))


NAT64 = IPv6Network("64:ff9b::/96")


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_is_let_through_that_python_calls_private(address: IPv4Address | IPv6Address) -> None:
    if is_public(address) and address not in NAT64:
        assert address.is_global
        assert not address.is_multicast


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0x7f.1", "2130706433", "017700000001", "127.1", "0", "localhost", "::1"]
)
async def test_every_way_to_write_this_machine_is_refused(host: str) -> None:
    with pytest.raises((PrivateAddress, NetworkFailure)):
        await Guard().addresses(host, 80)


async def test_a_name_with_several_addresses_is_asked_at_the_public_ones() -> None:
    async def both(host: str, port: int) -> Sequence[str]:
        return ["10.0.0.1", "93.184.216.34", "::1"]

    assert await Guard(resolve=both).addresses("example.org", 443) == ["93.184.216.34"]


async def test_an_exception_is_for_one_host_and_port() -> None:
    guard = Guard(["127.0.0.1:8123", "[::1]:80"])
    assert await guard.addresses("127.0.0.1", 8123) == ["127.0.0.1"]
    assert await guard.addresses("::1", 80) == ["::1"]
    with pytest.raises(PrivateAddress, match=r"set politeness.allow_private: \[127.0.0.1:8124\]"):
        await guard.addresses("127.0.0.1", 8124)


async def test_a_name_without_address_is_a_failure_of_the_network() -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise OSError(8, "no such name")

    with pytest.raises(NetworkFailure, match="no such name"):
        await Guard(resolve=nowhere).addresses("example.invalid", 80)
    with pytest.raises(NetworkFailure, match="is no host name"):
        await Guard(resolve=resolve).addresses("a" * 70 + ".example", 80)


async def test_a_name_that_changes_its_mind_is_connected_where_it_was_judged() -> None:
    """DNS rebinding: the first look-up is public, every later one is this machine."""
    looked_up: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        looked_up.append(host)
        return ["192.0.2.1"] if len(looked_up) == 1 else ["127.0.0.1"]

    async with hostile_server() as server, polite_client(resolve=rebinding) as client:
        politeness = server.politeness(obey_robots=False)
        for _ in range(3):
            with pytest.raises(PrivateAddress):
                async with client.open(f"http://rebind.example:{server.port}/", source="s", politeness=politeness):
                    pass
        assert looked_up == ["rebind.example"] * 3
        assert not server.asked


async def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    async def two(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.9", "127.0.0.1"]

    async with hostile_server() as server, polite_client(resolve=two) as client:
        server.says("/", 200, "yes")
        politeness = server.politeness(allow_private=[f"demo.example:{server.port}"])
        async with client.open(f"http://demo.example:{server.port}/", source="s", politeness=politeness) as answer:
            assert await answer.read() == b"yes"


async def test_a_look_up_that_takes_too_long_is_given_up() -> None:
    async def slow(host: str, port: int) -> Sequence[str]:
        await asyncio.sleep(60)
        return []

    patience = Patience(connect=timedelta(milliseconds=100))
    async with polite_client(resolve=slow) as client:
        with pytest.raises(TimedOut, match=r"no connection within 0.1 s"):
            async with client.open(
                "http://slow.example/", source="s", politeness=Politeness(obey_robots=False), patience=patience
            ):
                pass


async def test_the_host_header_stays_the_name_when_the_connection_goes_to_the_judged_address() -> None:
    async def here(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    async with hostile_server() as server, polite_client(resolve=here) as client:
        server.says("/", 200, "yes")
        politeness = server.politeness(allow_private=[f"demo.example:{server.port}"])
        async with client.open(f"http://demo.example:{server.port}/", source="s", politeness=politeness) as answer:
            assert await answer.read() == b"yes"
        assert {asked.headers["host"] for asked in server.asked} == {f"demo.example:{server.port}"}


async def test_a_redirect_to_a_private_address_is_refused_and_nothing_is_asked_there() -> None:
    async with hostile_server() as secret, hostile_server() as server, polite_client() as client:
        server.says("/", 302, location=f"{secret.url}/latest/meta-data")
        with pytest.raises(PrivateAddress):
            async with client.open(server.url, source="s", politeness=server.politeness()):
                pass
        assert secret.connections == 0


async def test_a_source_cannot_use_the_connection_of_one_that_may_go_further() -> None:
    async with hostile_server() as server, polite_client() as client:
        server.says("/", 200, "inside")
        async with client.open(server.url, source="trusted", politeness=server.politeness()) as answer:
            await answer.read()
        with pytest.raises(PrivateAddress):
            async with client.open(server.url, source="other", politeness=server.politeness(allow_private=[])):
                pass
        assert len(server.pages) == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "/relative",
        "gopher://x/",
        "http://a:99999/",
        "http://a b/",
    ],
)
def test_what_is_no_address_on_the_web_is_refused(url: str) -> None:
    with pytest.raises(UnfetchableUrl):
        parse_url(url)


def test_a_password_in_a_url_is_not_printed() -> None:
    assert printable_url(parse_url("https://user:hunter2@example.org/x?token=hunter2#part")).count("hunter2") == 0
    with pytest.raises(UnfetchableUrl) as caught:
        parse_url("ftp://user:hunter2@example.org/")
    assert "hunter2" not in str(caught.value)


def test_limits_know_a_host_by_its_name_and_unusual_port() -> None:
    assert host_of("https://Example.org:443/x") == "example.org"
    assert host_of("http://example.org.:8080/") == "example.org:8080"
    assert host_of("http://example.org./") == "example.org"
    assert host_of("http://[::1]:8080/") == "[::1]:8080"
    assert host_of("http://[::1]/") == "[::1]"


@settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_url_or_refused(text: str) -> None:
    try:
        url = parse_url(text)
    except UnfetchableUrl:
        return
    assert url.scheme in ("http", "https")
    assert printable_url(url)
