"""Where requests may go: to the public internet, and to what is allowed by name. Judged on the very address that is
connected to, so that no name can point elsewhere a moment later."""

import asyncio
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from tidemill.common.http.errors import NetworkFailure, PrivateAddress

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, in the order in which they are to be tried. Raises OSError."""

_REFUSED_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # "this network": Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # behind a carrier's NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local; clouds tell their secrets here
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
    )
]
_PUBLIC_6 = IPv6Network("2000::/3")
_REFUSED_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo and other protocols of the IETF
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
]
_NAT64 = IPv6Network("64:ff9b::/96")
_PRIVATE_NAMES = (
    "localhost local internal intranet lan home corp private test invalid onion home.arpa localdomain".split()
)
"""Names that no public host has, nor one that ends with them."""
_NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)", re.IGNORECASE)
JUDGED_SECONDS = 300.0
"""So long a judgement about a host behind a proxy holds: a look-up may take seconds where only the proxy has DNS."""
_JUDGED = 10_000


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet. Forms that hide an IPv4 address are not believed, but for
    NAT64, by which networks without IPv4 reach the rest; there the hidden address counts."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _PUBLIC_6 and not any(address in network for network in _REFUSED_6)


def literal(host: str) -> Address | None:
    """The address that a host is written as, in any of the forms that systems know; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):  # ValueError: what is not ASCII.
        return None


def is_public_name(host: str) -> bool:
    """Whether a name may be one of the public internet: it has a dot, and its end is none of a private network."""
    name = host.rstrip(".").lower()
    last = name.rpartition(".")[2]
    return (
        "." in name and not _NUMBER.fullmatch(last) and not f".{name}".endswith(tuple(f".{n}" for n in _PRIVATE_NAMES))
    )


async def resolve(host: str, port: int) -> Sequence[str]:
    """As the system does it, with all the forms it knows: `0x7f.1`, `2130706433`, `localhost`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """`allowed` names the exceptions as `host:port`, as URLs write them; `[::1]:8080` for IPv6."""

    def __init__(
        self, allowed: Iterable[str] = (), *, resolve: Resolve = resolve, setting: str = "politeness.allow_private"
    ) -> None:
        self._setting = setting
        self._allowed = frozenset(entry.lower() for entry in allowed)
        self._resolve = resolve
        self._judged: dict[tuple[str, int], float] = {}
        """Hosts that were let through, and until when that holds."""

    async def addresses(self, host: str, port: int) -> list[str]:
        """What a host may be connected at, at least one. Raises PrivateAddress, and NetworkFailure for a name without
        addresses."""
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise NetworkFailure(f"{host} has no address: {error.strerror or error}") from error
        except UnicodeError as error:  # A label of over 63 characters.
            raise NetworkFailure(f"{host} is no host name") from error
        if host_port(host, port) in self._allowed:
            return list(found)
        public = [address for address in found if is_public(ip_address(address))]
        if not public:
            raise PrivateAddress(
                f"{host} is at {', '.join(found) or 'no address'}, which is not on the public internet; "
                f"if that is meant, set {self._setting}: [{host_port(host, port)}]"
            )
        return public

    async def judge(self, host: str, port: int, *, seconds: float) -> None:
        """For a host that a proxy connects to, at an address that it finds itself. What counts is the address that the
        host is written as, or those that its name has here, of which none may be private; where it has none within so
        many seconds, the name. Raises PrivateAddress."""
        if host_port(host, port) in self._allowed or self._judged.get((host, port), 0.0) > time.monotonic():
            return
        written = literal(host)
        found = [written] if written is not None else await self._look_up(host, port, seconds)
        if not (all(is_public(address) for address in found) if found else is_public_name(host)):
            raise PrivateAddress(
                f"{host} is at {', '.join(map(str, found)) or 'no address that is known here'}, which is not on the "
                f"public internet; if that is meant, set {self._setting}: [{host_port(host, port)}]"
            )
        if len(self._judged) >= _JUDGED:
            self._judged.clear()
        self._judged[host, port] = time.monotonic() + JUDGED_SECONDS

    async def _look_up(self, host: str, port: int, seconds: float) -> list[Address]:
        try:
            async with asyncio.timeout(seconds):
                return [ip_address(address) for address in await self._resolve(host, port)]
        except (OSError, UnicodeError):  # TimeoutError is an OSError.
            return []


def host_port(host: str, port: int) -> str:
    """As `allow_private` writes it."""
    return f"[{host}]:{port}".lower() if ":" in host else f"{host}:{port}".lower()
