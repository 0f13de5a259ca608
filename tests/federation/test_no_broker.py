"""The federation without RabbitMQ: over the feed alone it is the same, and hardly slower."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from demo.process import free_port
from demo.rabbitmq import Vhost
from services.notify import app as notify_app
from services.notify.settings import Settings
from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually
from tests.notify.test_changes import Notify

# A third of what a heartbeat is here.
SOON_S = 20.0


@asynccontextmanager
async def notify_of(sync: Sync, federation: Federation) -> AsyncIterator[Notify]:
    """A notify that follows a sync, and has begun to."""
    settings = Settings(database_url=await federation.database(), follow=sync.url, port=0)
    async with notify_app.serving(settings) as port, aiohttp.ClientSession() as client:
        notify = Notify(f"http://127.0.0.1:{port}", client)

        async def live() -> bool:
            return bool((await notify.ask("/readyz"))[1]["log"] == "live")

        await eventually(live)
        yield notify


async def seen(sync: Sync, id: str) -> None:
    """Wait until a sync shows a place."""

    async def there() -> bool:
        return (await sync.call("GET", f"/places/{id}"))[0] == 200

    await eventually(there, SOON_S)


async def test_changes_arrive_at_once_at_everybody(federation: Federation) -> None:
    """Without any broker, a place opened in a network is soon in two common views and told to subscribers."""
    registries = [await federation.registry(heartbeat_s=60) for _ in range(3)]
    syncs = [await federation.sync(registries, heartbeat_s=60) for _ in range(2)]
    for sync in syncs:
        await sync.caught_up(registries)
    async with notify_of(syncs[0], federation) as notify, notify.stream("departement=35") as stream:
        for registry in (*registries, *registries):
            id = (await registry.add())["id"]
            for sync in syncs:
                await seen(sync, id)
            kind, _, change = await stream.event()
            assert (kind, change["view"], change["id"]) == ("change", "entered", id)
    for registry in registries:
        assert await registry.metric("maillage_relay_published_total") == 0
    for sync in syncs:
        assert await sync.metric("maillage_follow_events_total", via="feed") >= 6
        assert await sync.metric("maillage_follow_events_total", via="amqp") == 0


async def test_networks_with_and_without_a_broker_live_together(federation: Federation, vhost: Vhost) -> None:
    """One network has a broker, one none, the broker of the third cannot be reached: both views are the same."""
    there = {"amqp_url": vhost.url, "amqp_public_url": vhost.reader_url}
    away = f"amqp://reader:reader@127.0.0.1:{free_port()}/nowhere"
    registries = [
        await federation.registry(**there),
        await federation.registry(),
        await federation.registry(amqp_url=away, amqp_public_url=away),
    ]
    syncs = [await federation.sync(registries) for _ in range(2)]
    for sync in syncs:
        await sync.caught_up(registries)
        await eventually(lambda sync=sync: sync.metric("maillage_follow_listening", node="reseau-0"))
    await everything_happens(registries)
    digests = [await sync.caught_up(registries) for sync in syncs]
    assert digests[0] == digests[1]
    assert digests[0]["count"] == 2
    for sync in syncs:
        ways = [
            await sync.metric("maillage_follow_events_total", node=f"reseau-{n}", via="amqp")
            for n in range(3)
        ]
        assert (ways[0] > 0, ways[1:]) == (True, [0, 0])


async def everything_happens(registries: list[Registry]) -> None:
    """Places open, change, go, come back, and are said to be the same; each network has the same two places."""
    first = [await registry.add(name="La Forge", summary="un") for registry in registries]
    second = [await registry.add(name="La Serre") for registry in registries]
    for registry, place in zip(registries, first, strict=True):
        await registry.change(place["id"], summary="deux")
    for registry, place in zip(registries, second, strict=True):
        await registry.withdraw(place["id"])
    for registry, place in zip(registries, second, strict=True):
        status, _, _ = await registry.call("POST", f"/places/{place['id']}/reopen")
        assert status == 200
    await registries[0].claim(first[0]["id"], first[1]["id"])
    await registries[1].claim(first[1]["id"], first[0]["id"])
