"""Peers that attack whoever listens to them: what they cost is bounded, and the others are heard meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
import pytest
from aiohttp import web

from services import fetching, follow, identity, signing
from tests.conftest import Federation
from tests.federation.house import not_ours
from tests.federation.impostor import Impostor, ndjson
from tests.federation.test_hostile import all_stand, served
from tests.nodes import Sync, listen_to
from tests.processes import Part

MEGABYTE = 1024 * 1024
# Some pages as large as any may be, at a time; of what is sent and unpacked it is nothing.
MOST_GROWTH = 400 * MEGABYTE
Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


class Attacker:
    """A peer that speaks whatever bytes it likes, on a connection of its own kind."""

    def __init__(self, name: str, attack: Attack, awake: asyncio.Event) -> None:
        """It lets everybody wait until it is `awake`."""
        self.name, self.attack, self.awake, self.calls = name, attack, awake, 0
        self.node, self.url = Impostor(name).node, ""
        self._busy: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a question, and attack."""
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                await self.awake.wait()
                self.calls += 1
                await self.attack(reader, writer)
        finally:
            self._busy.discard(task)
            writer.transport.abort()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Attacker]:
        """At work on a free port."""
        server = await asyncio.start_server(self.talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._busy):
                task.cancel()
            await asyncio.gather(*self._busy, return_exceptions=True)


async def pour(writer: asyncio.StreamWriter, head: bytes, more: bytes, pause: float = 0) -> None:
    """Say this, and then that for ever."""
    writer.write(head)
    while True:
        writer.write(more)
        await writer.drain()
        await asyncio.sleep(pause)


OK = b"HTTP/1.1 200 OK\r\n"
ZEROS = 128 * MEGABYTE


@cache
def bomb(kind: int) -> bytes:
    """More zeros than any page may have, in a few bytes: gzip (31) or deflate (15)."""
    made = zlib.compressobj(9, zlib.DEFLATED, kind)
    return b"".join([*(made.compress(bytes(MEGABYTE)) for _ in range(ZEROS // MEGABYTE)), made.flush()])


def endless_body(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"\r\n", b"x" * 65536)


def endless_chunks(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n")


def endless_lines(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"\r\n", b"\n" * 65536)


def endless_headers(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK, b"X-A: " + b"x" * 1000 + b"\r\n")


def endless_header(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"X-A: ", b"x" * 65536)


def endless_status(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, b"HTTP/1.1 200 ", b"O" * 65536)


def endless_patience(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500)


def endless_chunk_size(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 65536)


def slow_headers(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK, b"X-A: x\r\n", 0.2)


def slow_body(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"Content-Length: 100000\r\n\r\n", b"{", 0.2)


def huge_length(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, OK + b"Content-Length: 99999999999999999\r\n\r\n", b"x" * 65536)


def no_http(r: Any, w: asyncio.StreamWriter) -> Any:
    return pour(w, b"", b"\x16\x03\x01\x00\xa5" * 1000)


async def redirects_to_itself(r: Any, w: asyncio.StreamWriter) -> None:
    w.write(b"HTTP/1.1 301 Moved\r\nLocation: /encore\r\nContent-Length: 0\r\n\r\n")
    await w.drain()
    await asyncio.sleep(3600)


async def bombs(w: asyncio.StreamWriter, body: bytes, encoding: bytes) -> None:
    head = OK + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    w.write(head + body)
    await w.drain()
    await asyncio.sleep(3600)


def gzip_bomb(r: Any, w: asyncio.StreamWriter) -> Any:
    return bombs(w, bomb(31), b"gzip")


def gzip_bombs_in_a_row(r: Any, w: asyncio.StreamWriter) -> Any:
    return bombs(w, bomb(31) * 40, b"gzip")


def gzip_bomb_in_a_bomb(r: Any, w: asyncio.StreamWriter) -> Any:
    return bombs(w, gzip.compress(bomb(31) * 40, 1), b"gzip, gzip")


def deflate_bomb(r: Any, w: asyncio.StreamWriter) -> Any:
    return bombs(w, bomb(15), b"deflate")


ATTACKS: tuple[Attack, ...] = (
    endless_body,
    endless_chunks,
    endless_lines,
    endless_headers,
    endless_header,
    endless_status,
    endless_patience,
    endless_chunk_size,
    slow_headers,
    slow_body,
    huge_length,
    no_http,
    redirects_to_itself,
    gzip_bomb,
    gzip_bombs_in_a_row,
    gzip_bomb_in_a_bomb,
    deflate_bomb,
)


def resident(part: Part) -> int:
    """How many bytes of memory a process has taken at most."""
    status = Path(f"/proc/{part.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


async def test_attacking_peers_cost_a_bounded_amount_of_memory(
    federation: Federation, tmp_path: Path
) -> None:
    """Bodies, headers and bombs without end: the listener stays small, and hears an honest network at once."""
    honest, awake = await federation.registry(heartbeat_s=1), asyncio.Event()
    attackers = [Attacker(attack.__name__.replace("_", "-"), attack, awake) for attack in ATTACKS]
    assert ZEROS > fetching.MOST_PAGE > 100 * len(bomb(31) + bomb(15))
    part = Part(
        "sync",
        tmp_path / "sync",
        database_url=await federation.database(),
        key_dir=tmp_path / "keys",
        trust=tmp_path / "trust.toml",
    )
    async with AsyncExitStack() as stack:
        for attacker in attackers:
            await stack.enter_async_context(attacker.serving())
        everybody: list[Any] = [*attackers, honest]
        listen_to(tmp_path, everybody)
        await part.start()
        stack.push_async_callback(part.stop)
        sync = Sync(federation.client, not_ours)
        sync.port = part.port
        await honest.add()
        await sync.caught_up([honest])
        calm = resident(part)
        awake.set()
        until = monotonic() + 5
        while monotonic() < until or not all(attacker.calls for attacker in attackers):
            await honest.add()
            await sync.caught_up([honest], 30)
        grown = resident(part) - calm
        networks = await sync.networks()
        assert {networks[a.node]["cursor"] for a in attackers} == {"0.0"}
        assert {networks[a.node]["state"] for a in attackers} <= {"new", "stale", "broken"}
        await sync.hears(honest.node)
        assert grown < MOST_GROWTH, f"grown by {grown // MEGABYTE} MB"
    assert part.process.returncode == 0, part.process.tail()


def crowd(i: Impostor, peers: int) -> None:
    """A descriptor that names so many peers."""
    said = msgspec.json.decode(i.chain[0].raw)
    said["peers"] = [{"node": i.node, "url": f"https://n{n}.exemple.fr"} for n in range(peers)]
    i.chain[0] = identity.signed(msgspec.json.encode(said), [i.root])
    i.node = signing.node_id(i.chain[0].raw.encode())


async def endless_snapshot(request: web.Request) -> web.StreamResponse:
    """A snapshot that never ends."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionResetError):
        while True:
            await response.write(b"x" * 65536)
    return response


def repeats_itself(i: Impostor) -> None:
    """Serve pages of a million times their first line."""

    async def reply(request: web.Request) -> web.StreamResponse:
        after = int(request.query["after"].partition(".")[2])
        response, line = web.StreamResponse(), ndjson(i.page(after)[:1])
        await response.prepare(request)
        with suppress(ConnectionResetError):
            for _ in range(1000):
                await response.write(line * 1000)
        return response

    i.answers["/feed"] = reply


async def test_more_than_anybody_needs_is_refused(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand peers in a descriptor, a snapshot without end, pages of a million lines: broken, and no more."""
    monkeypatch.setattr(follow, "MOST_SNAPSHOT", 8 * MEGABYTE)
    names = ("a thousand peers", "ten thousand peers", "snapshot", "lines")
    async with served([Impostor(name) for name in names]) as nodes:
        crowd(nodes["a thousand peers"], 1000)
        crowd(nodes["ten thousand peers"], 10_000)
        nodes["snapshot"].answers["/snapshot"] = endless_snapshot
        repeats_itself(nodes["lines"])
        for node in nodes.values():
            node.say()
        honest = await federation.registry()
        await honest.add()
        everybody: list[Any] = [*nodes.values(), honest]
        sync = await federation.sync(everybody)
        wanted = {
            "a thousand peers": ("live", "1.1"),
            "ten thousand peers": ("broken", "0.0"),
            "snapshot": ("broken", "0.0"),
            "lines": ("broken", "1.1"),
        }
        await all_stand(sync, nodes, wanted)
        await sync.caught_up([honest])
        await sync.hears(honest.node)


def test_a_bomb_is_one() -> None:
    """What is sent is small, and what it holds is not."""
    assert len(gzip.decompress(bomb(31))) == len(zlib.decompress(bomb(15))) == ZEROS
