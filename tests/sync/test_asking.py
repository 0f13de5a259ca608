"""A node asks to be heard: anybody may, nobody is sent anywhere by it, and the answer is public."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace

from schemas.node import Descriptor, Peer
from services import identity, signing
from services.errors import TooMany
from services.sync import asking
from services.sync.api import networks
from services.sync.asking import Door
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.nodes import Sync, eventually
from tests.sync.trusting import command, in_force, table, write

LOOPBACK = {"private_addresses": ("127.0.0.0/8",)}


@asynccontextmanager
async def stranger(name: str, **said: Any) -> AsyncIterator[Impostor]:
    """A node that nobody chose, with a descriptor that says this."""
    node = Impostor(name)
    genesis = msgspec.json.decode(node.chain[0].raw, type=Descriptor)
    node.chain = [identity.signed(msgspec.json.encode(replace(genesis, **said)), [node.root])]
    node.node = signing.node_id(node.chain[0].raw.encode())
    async with node.serving():
        yield node


async def ask(sync: Sync, url: str, expected: int = 202) -> Any:
    """Ask the sync to listen to who answers at a URL."""
    status, said, _ = await sync.call("POST", "/networks", json={"url": url})
    assert status == expected, said
    return said


async def listed(sync: Sync) -> dict[str, Any]:
    """Who asked, by id."""
    return {a["node"]: a for a in (await sync.get("/networks"))["asking"]}


async def answered(sync: Sync, node: str, state: str) -> Any:
    """Wait until a node has this answer; what is listed of it."""

    async def there() -> Any:
        known = (await listed(sync))[node]
        return known if known["state"] == state else None

    return await eventually(there)


async def test_a_node_asks_and_is_answered(federation: Federation) -> None:
    """Asked twice it is listed once; refused, followed, left: each answer is public with its code and its date."""
    sync = await federation.sync([], **LOOPBACK)
    async with stranger("Les Faux") as node:
        first = await ask(sync, node.url + "/")
        assert (first["node"], first["name"], first["url"]) == (node.node, "Les Faux", node.url)
        assert (first["state"], first["code"], first["answered_at"]) == ("asking", None, None)
        assert await ask(sync, node.url) == first
        assert await listed(sync) == {node.node: first}
        code, said = await command(sync, "asking")
        assert (code, f"{node.node}  " in said, "Les Faux" in said) == (0, True, True)
        code, said = await command(sync, "answer", node.node, "--refuse", "unclear")
        assert (code, said) == (0, f"{node.node} is refused (unclear).\n")
        refused = (await listed(sync))[node.node]
        assert (refused["state"], refused["code"]) == ("refused", "unclear")
        assert refused["answered_at"] >= refused["asked_at"] == first["asked_at"]
        assert (await ask(sync, node.url, 200))["state"] == "refused"
        assert (await command(sync, "follow", node.url))[0] == 0
        assert (await answered(sync, node.node, "accepted"))["code"] is None
        assert (await ask(sync, node.url, 200))["state"] == "accepted"
        code, said = await command(sync, "answer", node.node, "--refuse", "spam")
        assert (code, "leave it first" in said) == (2, True)
        write(sync)
        assert (await answered(sync, node.node, "refused"))["code"] == "left"


async def test_a_node_that_is_heard_already_is_told_so(federation: Federation) -> None:
    """Who asks although she is listened to reads that she is."""
    here = await federation.registry()
    sync = await federation.sync([here], **LOOPBACK)
    said = await ask(sync, here.url, 200)
    assert (said["node"], said["state"]) == (here.node, "accepted")


async def test_nobody_is_sent_to_an_address_that_is_not_public(federation: Federation) -> None:
    """Without leave in the settings a node on this machine is never knocked at, by number or by name."""
    sync = await federation.sync([])
    async with stranger("Ici même") as node:
        port = node.url.rpartition(":")[2]
        hosts = ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433")
        said = [await ask(sync, f"http://{host}:{port}", 422) for host in hosts]
        assert node.asked == []
    assert {s["errors"][0]["pointer"] for s in said} == {"/url"}
    # Nobody learns by it what is there and what is not.
    assert await ask(sync, "http://127.0.0.1:9", 422) == said[0]
    assert await listed(sync) == {}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a.example",
        "http://",
        "http://a.example:99999",
        "http://user:word@a.example",
        "https://a.example/?x=1",
        "https://a.example/#x",
        "https://a.example/" + "x" * 300,
        f"http://{'x' * 64}.invalid",
        "http://[::1",
    ],
)
async def test_what_is_no_address_of_a_node_is_named(federation: Federation, url: str) -> None:
    """An address that cannot be meant is a mistake in the body, with its place."""
    sync = await federation.sync([])
    said = await ask(sync, url, 422)
    assert said["errors"][0]["pointer"] == "/url"


async def test_what_answers_must_be_a_node(federation: Federation) -> None:
    """A redirect is not followed; too much, too slow, unsigned or something else is no node."""
    sync = await federation.sync([], **LOOPBACK)
    async with stranger("Là-bas") as there, stranger("Ici") as node:
        node.says("/descriptors", b"", status=302, Location=there.url + "/descriptors")
        assert "302" in (await ask(sync, node.url, 422))["errors"][0]["detail"]
        assert there.asked == []
        node.says("/descriptors", b" " * (identity.MAX_BYTES + 1))
        assert "longer" in (await ask(sync, node.url, 422))["errors"][0]["detail"]
        for body in (b"", b"[]", b"<html>", b'{"raw":"{}","signatures":[]}\n', b"\x00", b"\xff\xfe"):
            node.says("/descriptors", body)
            assert "not signed" in (await ask(sync, node.url, 422))["errors"][0]["detail"]
        forged = there.chain[0].raw.replace("Là-bas", "Là-haut")
        node.says("/descriptors", msgspec.json.encode(replace(there.chain[0], raw=forged)))
        await ask(sync, node.url, 422)
        node.says("/descriptors", b"\x1f\x8b", **{"Content-Encoding": "gzip"})
        await ask(sync, node.url, 422)
    assert await listed(sync) == {}


async def test_who_never_answers_is_not_waited_for(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that takes its time is given up; the sync goes on meanwhile."""
    monkeypatch.setattr(asking, "WITHIN", aiohttp.ClientTimeout(total=0.3))
    sync = await federation.sync([], **LOOPBACK)
    async with stranger("Lente") as node:
        slept = 0

        async def slow(request: web.Request) -> web.StreamResponse:
            nonlocal slept
            slept += 1
            response = web.StreamResponse()
            await response.prepare(request)
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.02)

        node.answers["/descriptors"] = slow
        assert "No answer" in (await ask(sync, node.url, 422))["errors"][0]["detail"]
        assert slept == 1


def test_one_may_not_ask_all_the_time() -> None:
    """Twenty questions a minute, then a wait that is told, and no longer than it."""
    now = 1000.0
    door = Door(None, lambda: now)  # type: ignore[arg-type] # nobody goes out in this test
    for second in range(asking.MOST_ASKED):
        now = 1000.0 + second
        door.admit()
    with pytest.raises(TooMany) as told:
        door.admit()
    wait = told.value.extra["retry_after"]
    assert wait == 60 - (asking.MOST_ASKED - 1)
    now += wait - 0.5
    with pytest.raises(TooMany):
        door.admit()
    now += 0.5
    door.admit()
    with pytest.raises(TooMany):
        door.admit()


async def test_questions_are_bounded(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too fast, or too many that wait: 429 with when to come back; who waits already may ask again."""
    monkeypatch.setattr(asking, "MOST_WAITING", 1)
    monkeypatch.setattr(asking, "MOST_ASKED", 3)
    sync = await federation.sync([], **LOOPBACK)
    async with stranger("Une") as one, stranger("Deux") as two:
        await ask(sync, one.url)
        status, said, headers = await sync.call("POST", "/networks", json={"url": two.url})
        assert (status, headers["Retry-After"]) == (429, "86400"), said
        await ask(sync, one.url)
        knocked = len(one.asked)
        status, said, headers = await sync.call("POST", "/networks", json={"url": one.url})
        assert (status, 0 < int(headers["Retry-After"]) <= 60) == (429, True), said
        assert len(one.asked) == knocked
    assert list(await listed(sync)) == [one.node]


async def test_a_copy_does_not_take_a_node_s_address(federation: Federation) -> None:
    """Whoever serves a copy of a node's descriptors does not replace the address that the node names itself."""
    sync = await federation.sync([], **LOOPBACK)
    async with stranger("Copie") as copy, stranger("Vraie") as node:
        genesis = replace(msgspec.json.decode(node.chain[0].raw, type=Descriptor), url=node.url + "/")
        node.chain = copy.chain = [identity.signed(msgspec.json.encode(genesis), [node.root])]
        first = await ask(sync, copy.url)
        assert first["url"] == copy.url
        assert (await ask(sync, node.url))["url"] == node.url
        assert (await ask(sync, copy.url))["url"] == node.url
        assert list(await listed(sync)) == [first["node"]]


async def test_a_sync_does_not_ask_itself(federation: Federation) -> None:
    """A sync has an identity too; its own is refused."""
    sync = await federation.sync([], **LOOPBACK)
    await ask(sync, sync.url, 409)


async def test_peers_of_followed_nodes_are_offered(federation: Federation) -> None:
    """Who is named by followed nodes is shown with who names it, until it is followed or answered."""
    async with stranger("Voisine") as peer:
        mine = Peer(peer.node, peer.url)
        bad = Peer("a" * 26, "javascript:alert(1)")
        async with stranger("Ici", peers=(mine, bad)) as here, stranger("Là", peers=(mine,)) as there:
            sync = await federation.sync([], **LOOPBACK)
            tables = []
            for alias, node in (("ici", here), ("la", there)):
                tables.append(table(node, alias))  # type: ignore[arg-type] # it has an id and a URL as well
            write(sync, *tables)
            await in_force(sync, node=2)

            async def offered() -> Any:
                found = (await sync.get("/networks"))["seen"]
                return found if found and len(found[0]["named_by"]) == 2 else None

            both = sorted((here.node, there.node))
            assert await eventually(offered) == [{"node": peer.node, "url": peer.url, "named_by": both}]
            await ask(sync, peer.url)
            assert (await sync.get("/networks"))["seen"]
            await command(sync, "answer", peer.node, "--refuse", "duplicate")
            assert (await sync.get("/networks"))["seen"] == []


def test_one_node_cannot_fill_the_list_of_peers() -> None:
    """However many peers are named, a thousand are shown."""
    digits = "abcdefghijklmnopqrstuvwxyz234567"
    names = [("a" * 23) + x + y + z for x in digits[:2] for y in digits for z in digits]
    raw = msgspec.json.encode({"peers": [{"node": n, "url": "https://a.example"} for n in names]}).decode()
    assert len(networks.seen([("b" * 26, raw)], set())) == networks.MOST_SEEN < len(names)
