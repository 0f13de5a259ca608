"""Positions that are none: on every face, each is refused with the same status and the same word."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from services.notify import app as notify_app
from services.notify.settings import Settings
from tests.conftest import Federation
from tests.federation.test_no_broker import notify_of
from tests.nodes import Registry, Service, Sync
from tests.notify.test_changes import Notify, Stream

MALFORMED = (
    "hier",
    "1",
    "1.",
    ".1",
    ".",
    "..",
    "1.1.1",
    "1.1.",
    "1,1",
    "1:1",
    # Negative, signed, padded, in another base, not whole.
    "-1.0",
    "1.-1",
    "-1.-1",
    "+1.1",
    "1.+1",
    "01.1",
    "1.01",
    "00.0",
    "1_0.1",
    "0x1.1",
    "1e0.1",
    "1.1e3",
    "NaN.1",
    "inf.1",
    "null",
    " 1.1",
    "1.1 ",
    "1. 1",
    "1.1\n",
    "1.1\t",
    # Digits, for Python, of other scripts.
    "²².1",
    "1.²",
    "١.٢",
    "1.１",
    "𝟙.𝟚",
    # Larger than any position that can be.
    "1.9" + "9" * 16,
    "1" + "0" * 16 + ".1",
    "9" * 400 + ".1",
    "1." + "9" * 5000,
)
# Well written, and ahead of a log that stands at 1.3: in its epoch, in another, at the edges of number types.
FUTURE = (
    "1.4",
    "1.2147483648",
    "1.4294967296",
    "1.9007199254740992",
    "1.9007199254740993",
    "1.9999999999999999",
    "2.0",
    "2.1",
    "3.2",
    "2147483647.1",
    "2147483648.1",
    "4294967296.0",
    "9999999999.9999999999999999",
)
PROBLEM = "urn:maillage:problem:"


def told(answer: tuple[int, Any, Any]) -> tuple[int, str]:
    """Status and word of a refusal."""
    status, body, _ = answer
    word = body["type"] if isinstance(body, dict) else repr(body[:200])
    return status, word.removeprefix(PROBLEM)


async def at_three(registry: Registry, sync: Sync) -> None:
    """Both logs stand at 1.3."""
    for _ in range(3):
        await registry.add()
        await sync.caught_up([registry])
    for service in (registry, sync):
        line = (await service.get("/feed?after=1.2")).splitlines()[0]
        assert msgspec.json.decode(msgspec.json.decode(line)["raw"])["id"] == f"1-{3:016d}"


async def refusals(service: Service, cursor: str) -> dict[str, tuple[int, Any, Any]]:
    """What is said to a cursor wherever a log is read: as a parameter, and in the header of a stream."""
    escaped, header = quote(cursor, safe=""), {"Last-Event-ID": cursor}
    found = {
        f"{path}?after=": await service.call("GET", f"{path}?after={escaped}", token=None)
        for path in ("/feed", "/feed/live")
    }
    if not set(cursor) & set("\n\t "):
        found["Last-Event-ID"] = await service.call("GET", "/feed/live", token=None, headers=header)
        # The header is what the browser adds; the address is the one that the page began with.
        found["both"] = await service.call("GET", "/feed/live?after=1.1", token=None, headers=header)
    return found


async def test_a_log_refuses_every_cursor_that_means_nothing(federation: Federation) -> None:
    """Registry and sync, feed and stream, parameter and header: 400 for what is no position, 409 for the future."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await at_three(registry, sync)
    for service in (registry, sync):
        for cursor in MALFORMED:
            for face, answer in (await refusals(service, cursor)).items():
                assert told(answer) == (400, "cursor-malformed"), (face, cursor[:40])
        for cursor in FUTURE:
            for face, answer in (await refusals(service, cursor)).items():
                assert told(answer) == (409, "cursor-in-future"), (face, cursor)
                assert answer[1]["head"] == "1.3"
        for path in ("/feed", "/feed/live"):
            async with asyncio.timeout(30):
                answer = await service.call("GET", f"{path}?after=", token=None)
            assert told(answer) == (400, "cursor-malformed"), path
            for query in ("after=%00", "after=1.1%00", "after=1.1&after=1.2", "after=%ff"):
                assert (await service.call("GET", f"{path}?{query}", token=None))[0] == 400, (path, query)
        # None of it has cost the log anything, and the ends are positions.
        for cursor, lines in (("0.0", 4), ("1.0", 4), ("1.2", 2), ("1.3", 1)):
            assert len((await service.get(f"/feed?after={cursor}")).splitlines()) == lines, cursor


async def test_a_stream_refuses_bytes_that_are_no_text(registry: Registry) -> None:
    """A header of any bytes at all is answered with 400, or not taken as HTTP; nothing is logged as a fault."""
    await registry.add()
    for value in (b"\xff\xfe", b"1.1\xc3\xa9", b"\xc2\xb2.1", b"1.1\x00", b"1.1\x7f", b"1." + b"9" * 7000):
        assert await spoken(registry.port, value) == b"400", value[:20]


async def spoken(port: int, value: bytes) -> bytes:
    """The status that a stream gives to these bytes as its Last-Event-ID."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        head = b"GET /feed/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nLast-Event-ID: "
        await loop.sock_sendall(sock, head + value + b"\r\n\r\n")
        async with asyncio.timeout(30):
            answer = await loop.sock_recv(sock, 4096)
    return answer[9:12]


async def ask(notify: Notify, cursor: str) -> tuple[int, Any, Any]:
    """What `/changes` says to a cursor."""
    return (*await notify.ask(f"/changes?since={quote(cursor, safe='')}"), None)


async def resets(notify: Notify, cursor: str) -> list[tuple[str, str]]:
    """What `/changes/stream` says to a cursor in its address and in its header: the word, and where it goes on."""
    query, found = f"since={quote(cursor, safe='')}", []
    headers = {} if set(cursor) & set("\n\t ") or not cursor else {"Last-Event-ID": cursor}
    ways: list[tuple[str, dict[str, str]]] = [(query, {})] + ([("", headers)] if headers else [])
    for asked, sent in ways:
        url = f"{notify.url}/changes/stream?{asked}"
        async with notify.client.get(url, headers=sent) as answer:
            assert answer.status == 200, (cursor[:40], answer.status)
            stream = Stream(answer)
            assert await stream.comment() == "bonjour"
            kind, id, data = await stream.event()
            assert (kind, data["cursor"]) == ("reset", id), cursor[:40]
            found.append((data["code"], id))
    return found


async def test_a_notify_refuses_every_cursor_that_means_nothing(federation: Federation) -> None:
    """Polls get 400, 409 or 410; streams, which a browser cannot be refused, a `reset` with the same word."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await at_three(registry, sync)
    async with notify_of(sync, federation) as notify:
        cases = dict.fromkeys(MALFORMED, (400, "cursor-malformed"))
        cases |= dict.fromkeys(FUTURE, (409, "cursor-in-future"))
        cases |= dict.fromkeys(("1.0", "1.1", "1.2"), (410, "cursor-too-old"))
        cases |= {"": (400, "cursor-malformed")}
        for cursor, (status, code) in cases.items():
            assert told(await ask(notify, cursor)) == (status, code), cursor[:40]
            for found in await resets(notify, cursor):
                assert found == (code, "1.3"), cursor[:40]
        for query in ("since=1.1%00", "since=%00", "since=%ff", "since=1.3&since=1.3"):
            assert (await notify.ask(f"/changes?{query}"))[0] == 400, query
        future = (await ask(notify, "2.0"))[1]
        assert future["head"] == "1.3"
        old = (await ask(notify, "1.1"))[1]
        assert (old["floor"], old["snapshot"]) == ("1.3", sync.url + "/snapshot")
        # Positions before the log page through what its snapshot began with, as far as one likes.
        first = await notify.changes("since=0.0")
        assert len(first["changes"]) == 3
        beyond = await notify.changes("since=0.999999999")
        assert (beyond["changes"], beyond["cursor"]) == ([], "1.3")
        await registry.add()
        await notify.at("1.4")
        assert len((await notify.changes("since=1.3"))["changes"]) == 1


async def test_a_notify_that_has_read_nothing_yet_refuses_alike(federation: Federation) -> None:
    """Before its log ever answered, what is no position is 400 all the same, and any other is asked to wait."""
    settings = Settings(database_url=await federation.database(), follow="http://127.0.0.1:1", port=0)
    async with notify_app.serving(settings) as port, aiohttp.ClientSession() as client:
        notify = Notify(f"http://127.0.0.1:{port}", client)
        for cursor in MALFORMED:
            assert told(await ask(notify, cursor)) == (400, "cursor-malformed"), cursor[:40]
        for cursor in (*FUTURE, "1.0"):
            assert (await ask(notify, cursor))[0] == 503, cursor
