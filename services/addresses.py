"""Where a stranger may send us: public addresses only, decided at the socket, when a name is an address at last."""

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver

from services.errors import Misconfigured

Network = IPv4Network | IPv6Network
# As `getaddrinfo` gives it: family, kind, protocol, name, address.
AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
MakeSocket = Callable[[AddressInfo], socket.socket]

# By an explicit list, as `is_global` of Python 3.11 is true for several of them. The special-purpose registries of
# the IANA, and what clouds tell their own machines at addresses that look like anybody's.
CLOSED: tuple[Network, ...] = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by the customers of a provider; a cloud's metadata
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # a cloud's metadata
            "169.254.0.0/16",  # link-local, metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; a cloud's metadata
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
            "::/3",  # unspecified, loopback, IPv4 mapped, compatible and translated (NAT64)
            "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4, which hides an IPv4 address
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
            "4000::/2",  # not given out yet; segment routing
            "8000::/1",  # not given out yet; private, link-local, site-local, multicast
        ),
    )
)


class NotPublic(OSError):
    """An address to which no stranger may send us."""


def networks(ranges: Iterable[str]) -> tuple[Network, ...]:
    """Ranges like 10.1.0.0/16 or fd00::/8; Misconfigured names the one that is none."""
    found: list[Network] = []
    for text in ranges:
        try:
            found.append(ip_network(text))
        except ValueError:
            raise Misconfigured(
                "{range} is no range of addresses: write it like 10.1.0.0/16.", {"range": text}
            ) from None
    return tuple(found)


def open_to_strangers(address: str, allowed: Iterable[Network] = ()) -> bool:
    """Whether a stranger may send us to this IP address: a public one, or one in a range that is allowed."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    # A zone names an interface of this machine; an address in a range has none.
    if getattr(found, "scope_id", None) is not None:
        return False
    return any(found in each for each in allowed) or not any(found in each for each in CLOSED)


def sender(peer: str, forwarded: str, proxies: Iterable[Network]) -> str:
    """Who sent a request that came from `peer`: the last on its way (`X-Forwarded-For`) who is none of our proxies.

    What stands before that one is anybody's word. Of IPv6 it is the /64, which a single household has whole.
    """
    found, known = None, tuple(proxies)
    for text in reversed([*forwarded.split(","), peer]):
        try:
            found = _plain(ip_address(text.strip()))
        except ValueError:
            break
        if not any(found in each for each in known):
            break
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), 64), strict=False))
    return str(found)


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return getattr(address, "ipv4_mapped", None) or address


def _socket(info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, _ = info
    return socket.socket(family, kind, protocol)


def connector(
    allowed: Iterable[Network] = (), *, resolver: AbstractResolver | None = None, make: MakeSocket = _socket
) -> aiohttp.TCPConnector:
    """Connects to where strangers may send us; anything else is a NotPublic before there is a socket.

    The final address is looked at, since a resolver is never asked for a literal one, and since a name may be
    another address when it is asked for again.
    """
    ranges = tuple(allowed)

    def guarded(info: AddressInfo) -> socket.socket:
        address = str(info[4][0])
        if not open_to_strangers(address, ranges):
            raise NotPublic(f"{address} is not public")
        return make(info)

    return aiohttp.TCPConnector(resolver=resolver, socket_factory=guarded, force_close=True)
