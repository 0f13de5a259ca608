"""Readers who open a stream and never read: whoever serves them stays small, and lets them go in the end."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import msgspec

from tests.conftest import Federation
from tests.federation.house import not_ours
from tests.federation.test_hostile_peers import MEGABYTE, resident
from tests.nodes import Registry, Sync, eventually, listen_to, new_registry
from tests.processes import Part

SOAK = bool(os.environ.get("MAILLAGE_SOAK"))
READERS = 100 if SOAK else 30
EVENTS, LISTED, LONG = 200, 25, 190
# What one reader may have us hold: a page of a megabyte, read and written out.
EACH = 4 * MEGABYTE
SLOW_S = 3


async def long_places(registry: Registry) -> None:
    """Fill a log with places as long as they may be."""
    names = [f"{n:0200}" for n in range(LONG)]
    row = {"status": "open", "kind": "virtual", "alternate_names": names}
    lines = [msgspec.json.encode({"name": f"Grand {n}", **row}) for n in range(EVENTS)]
    for start in range(0, EVENTS, LISTED):
        body = b"\n".join(lines[start : start + LISTED])
        job = await registry.list_in(body, "application/x-ndjson", source=f"liste-{start}")
        assert job["counts"]["new"] == LISTED, job


async def open_unread(stack: AsyncExitStack, port: int, path: str) -> socket.socket:
    """A reader who asks for a stream, and takes nothing that comes."""
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    await loop.sock_sendall(sock, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return sock


def begun(sock: socket.socket) -> bool:
    """Whether an answer with something in it has begun to come."""
    try:
        said = sock.recv(4096, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return said.startswith(b"HTTP/1.1 200") and b"data: " in said


async def read(client: aiohttp.ClientSession, url: str, blocks: int) -> None:
    """Read so many events of a stream."""
    async with client.get(url) as answer:
        found = 0
        while found < blocks:
            line = await answer.content.readuntil(b"\n")
            found += line.startswith(b"data: ")


async def settle(
    client: aiohttp.ClientSession, federation: Federation, folder: Path, stack: AsyncExitStack
) -> list[Part]:
    """A registry, a sync that listens to it and a notify that follows the sync, each a process of its own."""
    urls = [await federation.database() for _ in range(3)]
    founded = await new_registry(client, urls[0], folder)
    registry = Part("registry", folder / "r", database_url=urls[0], key_dir=folder / "keys")
    sync = Part(
        "sync", folder / "s", database_url=urls[1], key_dir=folder / "k2", trust=folder / "trust.toml"
    )
    notify = Part("notify", folder / "n", database_url=urls[2], follow=sync.url, slow_s=SLOW_S)
    seen = Registry(client, not_ours)
    seen.port, seen.node, seen.token = registry.port, founded.node, founded.token
    listen_to(folder, [seen])
    for part in (registry, sync, notify):
        stack.push_async_callback(part.stop)
    await asyncio.gather(*(part.start() for part in (registry, sync, notify)))
    view = Sync(client, not_ours)
    view.port = sync.port

    async def begun_with_nothing() -> bool:
        async with client.get(notify.url + "/readyz") as answer:
            return bool((await answer.json())["log"] == "live")

    # Before there is anything in its log, so that it has every change.
    await eventually(begun_with_nothing)
    await long_places(seen)
    await view.caught_up([seen])

    async def told() -> bool:
        async with client.get(notify.url + f"/changes?since=1.{EVENTS}") as answer:
            return answer.status == 200

    await eventually(told)
    return [registry, sync, notify]


async def test_readers_who_never_read_cost_a_page_each(federation: Federation, tmp_path: Path) -> None:
    """However many open a stream of everything and take nothing, a service holds little for each, and serves others."""
    async with aiohttp.ClientSession(read_bufsize=MEGABYTE) as client, AsyncExitStack() as stack:
        parts = await settle(client, federation, tmp_path, stack)
        paths = ("/feed/live?after=0.0", "/feed/live?after=0.0", "/changes/stream?since=1.0")
        for part, path in zip(parts, paths, strict=True):
            # Once for somebody who reads, so that what serving costs at all is not counted.
            await read(client, part.url + path, EVENTS)
        small = [resident(part) for part in parts]
        waiting = [
            await asyncio.gather(*(open_unread(stack, part.port, path) for _ in range(READERS)))
            for part, path in zip(parts, paths, strict=True)
        ]

        async def all_begun() -> bool:
            return all(begun(sock) for socks in waiting for sock in socks)

        await eventually(all_begun)
        for part, path in zip(parts, paths, strict=True):
            async with asyncio.timeout(60):
                await read(client, part.url + path, EVENTS)
        grown = [resident(part) - before for part, before in zip(parts, small, strict=True)]
        assert READERS * EACH < READERS * EVENTS * LONG * 200 * 0.6
        assert all(more < READERS * EACH for more in grown), [more // MEGABYTE for more in grown]
        # A notify is told how long to be patient, in these tests; the others have half a minute.
        gone = parts if SOAK else parts[2:]
        for part in gone:
            await eventually(lambda part=part: let_go(part), 60)


async def let_go(part: Part) -> bool:
    """Whether a service holds no connection any more but ours to ask, and that of somebody who follows it."""
    fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = f"0100007F:{part.port:04X}"
    return sum(local == mine and state == "01" for _, local, _, state, *_ in fields) < READERS // 2
