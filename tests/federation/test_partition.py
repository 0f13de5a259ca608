"""A link between two hosts is cut for a while: both sides work on, and agree again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.postgres import Postgres
from tests.engines import postgres_in, reachable_folder
from tests.federation.hosts import HOSTS, Link, Namespaces, Wires, can_have_namespaces, linked
from tests.federation.house import not_ours
from tests.nodes import Registry, Sync, eventually, new_registry
from tests.processes import Part


@pytest.fixture
async def socketed() -> AsyncIterator[Postgres]:
    """A server that is reached through a socket of the file system, which every namespace sees."""
    with reachable_folder() as folder:
        server = postgres_in(folder / "postgres")
        (folder / "sockets").mkdir()
        (folder / "sockets").chmod(0o777)
        server.settings = {**server.settings, "unix_socket_directories": str(folder / "sockets")}
        await server.start()
        yield server
        await server.stop()


async def database(server: Postgres) -> str:
    """An empty database, through the socket."""
    url = await server.create_database()
    before, name = url.rsplit("/", 1)
    where = f"host={server.settings['unix_socket_directories']}&port={server.port}"
    return f"{before.rpartition('@')[0]}@/{name}?{where}"


class Host:
    """A registry and a sync on one host, and how the test sees them."""

    def __init__(self, name: str, registry: Part, sync: Part, client: aiohttp.ClientSession) -> None:
        self.name, self.parts = name, [registry, sync]
        self.registry, self.sync = Seen(client, registry.url), SeenSync(client, sync.url)


class Seen(Registry):
    """A registry that runs as a process, wherever it is."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        super().__init__(client, not_ours)
        self._url = url

    @property
    def url(self) -> str:
        """Where the test finds it."""
        return self._url


class SeenSync(Sync):
    """A sync that runs as a process, wherever it is."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        super().__init__(client, not_ours)
        self._url = url

    @property
    def url(self) -> str:
        """Where the test finds it."""
        return self._url


async def settled(
    link: Link, name: str, server: Postgres, folder: Path, client: aiohttp.ClientSession
) -> Host:
    """A host with a founded registry at work, and a sync that is not started."""
    at, url = folder / name, await database(server)
    founded = await new_registry(client, url, at)
    registry = link.part(
        name, "registry", at / "registry", database_url=url, key_dir=at / "keys", heartbeat_s=1
    )
    sync = link.part(
        name,
        "sync",
        at / "sync",
        database_url=await database(server),
        key_dir=at / "keys-2",
        trust=at / "trust.toml",
        heartbeat_s=1,
    )
    host = Host(name, registry, sync, client)
    host.registry.node, host.registry.token = founded.node, founded.token
    await registry.start()
    return host


@asynccontextmanager
async def two_hosts(link: Link, server: Postgres, folder: Path) -> AsyncIterator[tuple[Host, Host]]:
    """Two hosts whose syncs listen to both registries: to their own at home, to the other over the link."""
    async with aiohttp.ClientSession() as client:
        hosts = await asyncio.gather(*(settled(link, name, server, folder, client) for name in HOSTS))
        try:
            abroad = {host.name: await link.seen(host.parts[0], host.name) for host in hosts}
            for host in hosts:
                urls = {o.registry.node: o.registry.url if o is host else abroad[o.name] for o in hosts}
                tables = (
                    f'[[node]]\nnode = "{node}"\nurl = "{url}"\nalias = "reseau-{n}"\n'
                    for n, (node, url) in enumerate(sorted(urls.items()))
                )
                (folder / host.name / "trust.toml").write_text("\n".join(tables))
            await asyncio.gather(*(host.parts[1].start() for host in hosts))
            yield hosts[0], hosts[1]
        finally:
            await asyncio.gather(*(part.stop() for host in hosts for part in host.parts))


async def hears(host: Host, other: Host) -> tuple[str, str]:
    """How a host's sync stands with its own registry, and with the other's."""
    networks = await host.sync.networks()
    return networks[host.registry.node]["state"], networks[other.registry.node]["state"]


async def parted(link: Link, a: Host, b: Host) -> None:
    """While the link is down each side writes and shows its own, and has no news of the other side."""
    abroad = {host.name: await link.seen(host.parts[0], host.name) for host in (a, b)}
    for here, there in ((a, b), (b, a)):
        assert await link.passes(abroad[there.name], here.name)
    await link.cut()
    for here, there in ((a, b), (b, a)):
        assert not await link.passes(abroad[there.name], here.name), "the link was not cut"
    for here, there in ((a, b), (b, a)):
        before = (await here.sync.digest())["count"]
        for _ in range(20):
            await here.registry.add()
        changed = await here.registry.add(summary="avant")
        await here.registry.change(changed["id"], summary="après")
        await here.sync.caught_up([here.registry], 20)
        assert (await here.sync.digest())["count"] == before + 21
        await eventually(lambda here=here, there=there: stands(here, there, ("live", "stale")), 30)
    digests = [await host.sync.digest() for host in (a, b)]
    assert digests[0]["view_root"] != digests[1]["view_root"]
    await link.mend()


async def stands(here: Host, there: Host, wanted: tuple[str, str]) -> bool:
    """Whether a host's sync stands like that with the two registries."""
    return await hears(here, there) == wanted


async def same(a: Host, b: Host) -> Any:
    """Wait until both syncs have everything; what they agree upon."""
    both = [a.registry, b.registry]
    one, other = [await host.sync.caught_up(both, 60) for host in (a, b)]
    assert one == other
    return one


async def heals(link: Link, server: Postgres, folder: Path) -> None:
    """From agreement through a partition to agreement."""
    async with two_hosts(link, server, folder) as (a, b):
        for host in (a, b):
            await host.registry.add()
        before = await same(a, b)
        await parted(link, a, b)
        after = await same(a, b)
        assert after["count"] == before["count"] + 42
        for here, there in ((a, b), (b, a)):
            await eventually(lambda here=here, there=there: stands(here, there, ("live", "live")), 30)


async def test_two_sides_of_a_cut_link_work_on_and_agree_again(socketed: Postgres, tmp_path: Path) -> None:
    """Two hosts, each with a registry and a sync: while the cable is out both work, afterwards the views are equal."""
    allowed = await can_have_namespaces()
    print("hosts are", "network namespaces" if allowed else "wires: this machine allows no namespaces")
    async with linked(Namespaces if allowed else Wires) as link:
        assert link.kind == ("namespaces" if allowed else "wires")
        await heals(link, socketed, tmp_path)
