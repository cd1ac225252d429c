"""Where requests may go: to the public internet, and to what is allowed by name. Judged on the very address that is
connected to, so that no name can point elsewhere a moment later."""

import asyncio
import socket
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


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet. Forms that hide an IPv4 address are not believed, but for
    NAT64, by which networks without IPv4 reach the rest; there the hidden address counts."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _REFUSED_4)
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _PUBLIC_6 and not any(address in network for network in _REFUSED_6)


async def resolve(host: str, port: int) -> Sequence[str]:
    """As the system does it, with all the forms it knows: `0x7f.1`, `2130706433`, `localhost`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """`allowed` names the exceptions as `host:port`, as URLs write them; `[::1]:8080` for IPv6."""

    def __init__(self, allowed: Iterable[str] = (), *, resolve: Resolve = resolve) -> None:
        self._allowed = frozenset(entry.lower() for entry in allowed)
        self._resolve = resolve

    async def addresses(self, host: str, port: int) -> list[str]:
        """What a host may be connected at, at least one. Raises PrivateAddress, and NetworkFailure for a name without
        addresses."""
        try:
            found = await self._resolve(host, port)
        except OSError as error:
            raise NetworkFailure(f"{host} has no address: {error.strerror or error}") from error
        except UnicodeError as error:  # A label of over 63 characters.
            raise NetworkFailure(f"{host} is no host name") from error
        if _host_port(host, port) in self._allowed:
            return list(found)
        public = [address for address in found if is_public(ip_address(address))]
        if not public:
            raise PrivateAddress(
                f"{host} is at {', '.join(found) or 'no address'}, which is not on the public internet; "
                f"if that is meant, set politeness.allow_private: [{_host_port(host, port)}]"
            )
        return public


def _host_port(host: str, port: int) -> str:
    return f"[{host}]:{port}".lower() if ":" in host else f"{host}:{port}".lower()
