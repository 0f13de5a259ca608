"""Two hosts on one machine with a link between them that a test cuts: network namespaces where the machine
lets us have them, else wires that let nothing through."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

from demo.process import url_answers
from tests.federation.wire import Wire, wire
from tests.processes import Part

HOSTS = ("a", "b")


class Link(Protocol):
    """Two hosts, `a` and `b`: how parts run there, and how each is found from the other one."""

    kind: str

    def part(self, host: str, service: str, folder: Path, **settings: object) -> Part:
        """A service of a host."""

    async def seen(self, part: Part, host: str) -> str:
        """The URL of a part as the other host sees it; `host` is its own."""

    async def cut(self) -> None:
        """Let nothing through between the hosts."""

    async def mend(self) -> None:
        """Let everything through again."""

    async def passes(self, url: str, host: str) -> bool:
        """Whether a host gets an answer from this URL within two seconds."""


async def command(*words: str) -> tuple[int, str]:
    """Exit code and complaint of a command."""
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError:
        return 127, f"{words[0]}: not found"
    _, complaint = await process.communicate()
    return process.returncode or 0, complaint.decode(errors="replace")


async def ip(*words: str) -> None:
    """A command of iproute2 that must succeed."""
    code, complaint = await command("ip", *words)
    assert code == 0, (words, complaint)


class Namespaces:
    """Each host is a network namespace of its own; the test sees both, they see each other over one cable."""

    kind = "namespaces"

    def __init__(self) -> None:
        # Addresses that the internet sets aside for tests of networks.
        self.net = f"198.18.{secrets.randbelow(256)}"
        self.tag = f"m{os.getpid() % 10_000}{secrets.token_hex(2)}"

    def name(self, host: str) -> str:
        """The name of a host's namespace."""
        return f"{self.tag}{host}"

    def address(self, host: str) -> str:
        """A host's address for the test."""
        return f"{self.net}.{4 * HOSTS.index(host) + 2}"

    def cabled(self, host: str) -> str:
        """A host's address for the other host."""
        return f"{self.net}.{101 + HOSTS.index(host)}"

    async def open(self) -> None:
        """Make the hosts, their cables to us and the one between them."""
        for number, host in enumerate(HOSTS):
            name, ours, theirs = self.name(host), f"{self.tag}{host}0", f"{self.tag}{host}1"
            await ip("netns", "add", name)
            await ip("-n", name, "link", "set", "lo", "up")
            await ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
            await ip("addr", "add", f"{self.net}.{4 * number + 1}/30", "dev", ours)
            await ip("link", "set", ours, "up")
            await ip("-n", name, "addr", "add", f"{self.address(host)}/30", "dev", theirs)
            await ip("-n", name, "link", "set", theirs, "up")
        ends = [f"{self.tag}{host}2" for host in HOSTS]
        a, b = map(self.name, HOSTS)
        await ip("-n", a, "link", "add", ends[0], "type", "veth", "peer", "name", ends[1], "netns", b)
        for host, end in zip(HOSTS, ends, strict=True):
            await ip("-n", self.name(host), "addr", "add", f"{self.cabled(host)}/30", "dev", end)
            await ip("-n", self.name(host), "link", "set", end, "up")

    async def close(self) -> None:
        """Remove the hosts; their cables go with them."""
        for host in HOSTS:
            await command("ip", "netns", "del", self.name(host))

    def part(self, host: str, service: str, folder: Path, **settings: object) -> Part:
        """A service that listens on all addresses of its host."""
        return _There(self, host, service, folder, settings)

    async def seen(self, part: Part, host: str) -> str:
        """Over the cable."""
        return f"http://{self.cabled(host)}:{part.port}"

    async def cut(self) -> None:
        """Pull the cable."""
        await ip("-n", self.name("a"), "link", "set", f"{self.tag}a2", "down")

    async def mend(self) -> None:
        """Plug it in."""
        await ip("-n", self.name("a"), "link", "set", f"{self.tag}a2", "up")

    async def passes(self, url: str, host: str) -> bool:
        """Whether somebody on that host gets an answer."""
        asking = f"import urllib.request as u; u.urlopen({url + '/livez'!r}, timeout=2)"
        code, _ = await command("ip", "netns", "exec", self.name(host), sys.executable, "-c", asking)
        return code == 0


class _There(Part):
    """A service that runs in a namespace."""

    def __init__(
        self, link: Namespaces, host: str, service: str, folder: Path, settings: dict[str, object]
    ) -> None:
        self.address, self.inside = link.address(host), link.name(host)
        super().__init__(service, folder, host="0.0.0.0", **settings)

    @property
    def url(self) -> str:
        """Where the test finds it."""
        return f"http://{self.address}:{self.port}"

    def words(self, *words: str) -> list[str]:
        """A command of the service, in its namespace."""
        return ["ip", "netns", "exec", self.inside, *super().words(*words)]


class Wires:
    """Both hosts are this one, and find each other over wires only."""

    kind = "wires"

    def __init__(self) -> None:
        self.stack, self.wires = AsyncExitStack(), list[Wire]()

    async def open(self) -> None:
        """Nothing is needed before there are services."""

    async def close(self) -> None:
        """Leave no wire behind."""
        await self.stack.aclose()

    def part(self, host: str, service: str, folder: Path, **settings: object) -> Part:
        """A service of this machine."""
        return Part(service, folder, **settings)

    async def seen(self, part: Part, host: str) -> str:
        """Over a wire."""
        self.wires.append(await self.stack.enter_async_context(wire(part.port)))
        return self.wires[-1].url

    async def cut(self) -> None:
        """Let nothing through."""
        for one in self.wires:
            one.cut()

    async def mend(self) -> None:
        """Let everything through."""
        for one in self.wires:
            one.mend()

    async def passes(self, url: str, host: str) -> bool:
        """Whether there is an answer over the wire."""
        return await url_answers(url + "/livez")


async def can_have_namespaces() -> bool:
    """Whether this machine lets us make hosts of our own, with a cable that can be pulled."""
    link = Namespaces()
    try:
        await link.open()
        await link.cut()
    except AssertionError:
        return False
    finally:
        await link.close()
    return True


@asynccontextmanager
async def linked(kind: type[Namespaces] | type[Wires]) -> AsyncIterator[Link]:
    """Two hosts."""
    link = kind()
    try:
        await link.open()
        yield link
    finally:
        await link.close()
