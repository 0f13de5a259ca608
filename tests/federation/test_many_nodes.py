"""Thirty networks at once, networks that fall silent, and old copies of what a network said."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
from aiohttp import web

from demo.process import free_port
from tests.conftest import Federation
from tests.federation.impostor import Impostor, ndjson
from tests.federation.test_hostile import all_stand, federated, served
from tests.nodes import Sync, eventually

NODES, EVENTS = 30, 40
# The connection that holds the locks is beside the pool.
BESIDE = 1


class Counting:
    """Looks again and again how many clients a database has, and at most had."""

    def __init__(self, url: str, server: asyncpg.Connection) -> None:
        self.name, self.server = url.rpartition("/")[2], server
        self.most = self.looks = 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            # The server's own vacuum workers have sessions in it as well.
            statement = """SELECT count(*) FROM pg_stat_activity
                WHERE datname = $1 AND backend_type = 'client backend'"""
            self.most = max(self.most, await self.server.fetchval(statement, self.name))
            self.looks += 1
            await asyncio.sleep(0.005)


def late(node: Impostor) -> Impostor:
    """A node that will listen where nobody listens yet."""
    node.url = f"http://127.0.0.1:{free_port()}"
    return node


async def appear(stack: AsyncExitStack, node: Impostor) -> None:
    """Listen, from now until the stack ends."""
    runner = web.AppRunner(node.app(), handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", int(node.url.rpartition(":")[2])).start()


async def test_thirty_networks_that_start_at_once_share_a_few_connections(federation: Federation) -> None:
    """A sync that starts cold with thirty cold networks is soon live with all, within its pool of connections."""
    nodes = [late(Impostor(f"réseau {number}")) for number in range(NODES)]
    for node in nodes:
        for _ in range(EVENTS):
            node.say()
    everybody: list[Any] = nodes
    sync = await federation.sync(everybody, database_pool=8)
    server = await asyncpg.connect(federation.postgres.url())
    counting = Counting(sync.settings.database_url, server)
    task = asyncio.create_task(counting.run())
    try:
        async with AsyncExitStack() as stack:
            await eventually(lambda: states(sync, {"new"}))
            await asyncio.gather(*(appear(stack, node) for node in nodes))
            await all_stand(sync, by_name(nodes), dict.fromkeys(by_name(nodes), ("live", f"1.{EVENTS}")))
            assert (await sync.digest())["count"] == NODES * EVENTS
            await asyncio.gather(*(said_more(node) for node in nodes))
            wanted = dict.fromkeys(by_name(nodes), ("live", f"1.{EVENTS + 1}"))
            await all_stand(sync, by_name(nodes), wanted)
            await sync.stop()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.close()
    assert counting.looks > 20
    assert 2 <= counting.most <= 8 + BESIDE


async def said_more(node: Impostor) -> None:
    """One more event."""
    node.say()


def by_name(nodes: Sequence[Impostor]) -> dict[str, Impostor]:
    """Nodes by their names."""
    return {node.name: node for node in nodes}


async def states(sync: Sync, wanted: set[str]) -> bool:
    """Whether these are the states that nodes are in."""
    return {n["state"] for n in (await sync.networks()).values()} == wanted


async def test_a_silent_node_and_a_dead_one_are_stale_and_their_places_stay(federation: Federation) -> None:
    """One answers and signs nothing new, one answers no more: of both one has no news, and keeps what they said."""
    async with AsyncExitStack() as stack:
        silent, dead = late(Impostor("muet")), late(Impostor("mort"))
        nodes, lives = by_name([silent, dead]), AsyncExitStack()
        await appear(stack, silent)
        await appear(lives, dead)
        for node in nodes.values():
            node.say()
            node.say()
        honest, sync, _ = await federated(federation, nodes)
        await all_stand(sync, nodes, dict.fromkeys(nodes, ("live", "1.2")))
        before = await sync.caught_up([honest])
        known = await sync.networks()
        last = {"silent": silent.checkpoint()}
        await all_stand(sync, nodes, dict.fromkeys(nodes, ("live", "1.2")))
        silent.says("/feed", lambda: ndjson([{"checkpoint": last["silent"]}]))
        await lives.aclose()
        asked = len(silent.asked)
        await all_stand(sync, nodes, dict.fromkeys(nodes, ("stale", "1.2")))
        assert len(silent.asked) > asked, "nobody asked the silent one"
        now = await sync.networks()
        for node in nodes.values():
            one, other = known[node.node], now[node.node]
            kept = ("cursor", "head", "lag", "places", "name", "trouble")
            assert {k: one[k] for k in kept} == {k: other[k] for k in kept}
            assert (other["places"], other["lag"], other["trouble"]) == (2, 0, None)
            heard, at = one["heard_at"], other["heard_at"]
            assert heard <= at, "it was heard before it fell silent"
            await eventually(lambda node=node, at=at: heard_at(sync, node, at))
            for subject in node.subjects.values():
                shown = await sync.get(f"/places/{subject}")
                assert shown["place"]["name"].startswith("Lieu")
                assert shown["freshness"][node.node]["state"] == "stale"
        await sync.hears(honest.node)
        assert (await sync.digest())["view_root"] == before["view_root"]
        assert await sync.metric("maillage_follow_refused_total") == 0
        silent.answers.clear()
        await appear(stack, dead)
        for node in nodes.values():
            node.say()
        await all_stand(sync, nodes, dict.fromkeys(nodes, ("live", "1.3")))


async def heard_at(sync: Sync, node: Impostor, at: str) -> bool:
    """Whether a node was last heard at this time."""
    return bool((await sync.networks())[node.node]["heard_at"] == at)


def remembering(node: Impostor, turn: int) -> None:
    """A cache before a node: of every so many answers one is what it has kept of an earlier one, of any address."""
    kept: list[bytes] = []
    count = 0

    async def reply(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        after = int(request.query["after"].partition(".")[2])
        fresh = ndjson(node.page(after))
        kept.append(fresh)
        node.stale_answers += count % turn == 0
        return web.Response(body=kept[(count * 7) % len(kept)] if count % turn == 0 else fresh)

    node.answers["/feed"] = reply


async def test_a_cache_of_old_answers_makes_no_fork(federation: Federation) -> None:
    """Old pages and old checkpoints between the new ones, of any address: late at worst, and never a fork."""
    async with served([Impostor("cache"), Impostor("miroir")]) as nodes:
        for turn, node in zip((2, 3), nodes.values(), strict=True):
            node.say()
            remembering(node, turn)
        honest, sync, _ = await federated(federation, nodes)
        seen: set[str] = set()

        async def stands(size: int) -> bool:
            networks = await sync.networks()
            now = [networks[node.node] for node in nodes.values()]
            seen.update(n["state"] for n in now)
            return all(n["cursor"] == f"1.{size}" for n in now)

        for size in range(2, 8):
            for node in nodes.values():
                node.say()
            await eventually(lambda size=size: stands(size))
        assert all(node.stale_answers > 2 for node in nodes.values())
        assert "forked" not in seen
        await sync.caught_up([honest])
        everybody: list[Any] = [*nodes.values(), honest]
        fresh = await federation.sync(everybody)
        await all_stand(fresh, nodes, dict.fromkeys(nodes, ("live", "1.7")))
        await all_stand(sync, nodes, dict.fromkeys(nodes, ("live", "1.7")))
        digests = [await each.caught_up([honest]) for each in (sync, fresh)]
        assert digests[0]["view_root"] == digests[1]["view_root"]
