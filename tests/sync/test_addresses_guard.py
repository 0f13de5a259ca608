"""Where a stranger may send us: nothing is sent to an address that is not public, whatever name it goes by."""

import socket
from collections.abc import Sequence
from ipaddress import ip_network

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from services import addresses
from services.addresses import AddressInfo, Network
from services.errors import Misconfigured

CLOSED = """
    0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254 172.16.0.1
    172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1
    224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:20::1
    2001:db8::1 2002:7f00:1::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fe80::1%1 fec0::1 ff02::1 2a00::1%1
    127.1 2130706433 localhost
"""
OPEN = """
    1.1.1.1 9.255.255.255 11.0.0.1 100.63.255.255 100.128.0.1 126.255.255.255 128.0.0.1 172.15.255.255 172.32.0.1
    192.167.255.255 192.169.0.1 198.17.255.255 198.20.0.1 223.255.255.255 2001:200::1 2606:4700::1111 2a00:1450::1
"""


@pytest.mark.parametrize("address", CLOSED.split())
def test_addresses_that_are_not_public_are_closed(address: str) -> None:
    """Private, loopback, link-local, mapped, translated, documentation, metadata, and what is no address."""
    assert not addresses.open_to_strangers(address)


@pytest.mark.parametrize("address", OPEN.split())
def test_public_addresses_are_open(address: str) -> None:
    """Also those that lie right beside a closed range."""
    assert addresses.open_to_strangers(address)


def test_ranges_are_opened_one_by_one() -> None:
    """A range in the settings opens its addresses and no others; what is no range is named."""
    allowed = addresses.networks(["10.1.0.0/16", "fd00::/8"])
    assert addresses.open_to_strangers("10.1.2.3", allowed)
    assert addresses.open_to_strangers("fd00::1", allowed)
    assert not addresses.open_to_strangers("10.2.0.1", allowed)
    for wrong in ("10.1.0.1/16", "intranet", ""):
        with pytest.raises(Misconfigured) as said:
            addresses.networks([wrong])
        assert said.value.arguments["range"] == wrong


class Names(AbstractResolver):
    """A name service that answers what a test wants, another answer each time."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        self.asked.append(host)
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is open."""


class Sockets:
    """Notes for which addresses a socket was wanted, and makes none: nothing is ever sent."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    def __call__(self, info: AddressInfo) -> socket.socket:
        self.wanted.append(str(info[4][0]))
        raise OSError("no socket in this test")


async def knocked(url: str, names: Names, *allowed: Network) -> list[str]:
    """The addresses for which a socket was wanted when a URL was asked for."""
    sockets = Sockets()
    connector = addresses.connector(allowed, resolver=names, make=sockets)
    async with aiohttp.ClientSession(connector=connector) as client:
        with pytest.raises(aiohttp.ClientError):
            await client.get(url)
    return sockets.wanted


async def test_a_name_is_judged_by_its_addresses() -> None:
    """Of the addresses of a name only the public ones are tried; a literal address is judged without any name."""
    names = Names(["10.0.0.1", "fe80::1", "1.1.1.1", "::1"])
    assert set(await knocked("http://registre.example/", names)) == {"1.1.1.1"}
    assert names.asked == ["registre.example"]
    for literal in (
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "169.254.169.254",
        "2130706433",
        "0x7f.1",
        "127.1",
    ):
        assert await knocked(f"http://{literal}:8400/", Names(["127.0.0.1"])) == []
    assert await knocked("http://1.1.1.1/", Names([])) == ["1.1.1.1"]


async def test_a_name_that_changes_is_judged_each_time() -> None:
    """A name that was public when it was first asked for and is private afterwards leads nowhere then."""
    names = Names(["1.1.1.1"], ["127.0.0.1"])
    sockets = Sockets()
    connector = addresses.connector(resolver=names, make=sockets)
    async with aiohttp.ClientSession(connector=connector) as client:
        for _ in range(2):
            with pytest.raises(aiohttp.ClientError):
                await client.get("http://registre.example/")
            connector.clear_dns_cache()
    assert len(names.asked) == 2
    assert set(sockets.wanted) == {"1.1.1.1"}


async def test_allowed_ranges_are_reached() -> None:
    """An operator whose federation lives in a private network says so, and only that network is reached."""
    names = Names(["10.1.0.7", "10.2.0.7"])
    wanted = await knocked("http://registre.example/", names, ip_network("10.1.0.0/16"))
    assert set(wanted) == {"10.1.0.7"}
