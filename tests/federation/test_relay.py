"""The fast path: what the relay puts on RabbitMQ, and what a broker that goes away costs."""

import asyncio
from typing import Any

import aio_pika
import msgspec
import pytest
from aio_pika.abc import AbstractChannel
from aiormq.exceptions import ChannelAccessRefused

from demo.rabbitmq import Vhost
from services import run
from services.broker import EXCHANGE, PATIENCE, STREAM
from tests.conftest import Federation
from tests.engines import Broker
from tests.federation import stream
from tests.nodes import Registry, eventually, head_size


def brokered(vhost: Vhost) -> dict[str, Any]:
    """The settings of a node with a broker."""
    return {"amqp_url": vhost.url, "amqp_public_url": vhost.reader_url}


async def signed_lines(registry: Registry) -> list[dict[str, str]]:
    """The lines of the feed, as they are."""
    lines = (await registry.get("/feed?after=0.0&limit=1000")).splitlines()
    return [msgspec.json.decode(line) for line in lines[:-1]]


async def relayed(registry: Registry, seq: int, seconds: float = 60) -> None:
    """Wait until the broker has confirmed everything up to this number."""

    async def confirmed() -> bool:
        return await registry.metric("maillage_relay_published_total") >= seq

    await eventually(confirmed, seconds)


async def test_the_stream_says_what_the_feed_says(federation: Federation, vhost: Vhost) -> None:
    """Same bytes in the same order, each signed, persistent, under an id of its own, routed by where it is."""
    registry = await federation.registry(**brokered(vhost))
    await eventually(lambda: is_connected(registry))
    async with stream.channel(vhost.url) as owner:
        await (await owner.declare_queue("ille-et-vilaine", durable=True)).bind(EXCHANGE, "#.35")
    nowhere = await registry.add(kind="virtual", address=None)
    rennes = await registry.add(address={"postcode": "35000"})
    await registry.change(rennes["id"], address={"postcode": "29200"})
    await registry.withdraw(rennes["id"])
    await registry.claim(nowhere["id"], rennes["id"], "distinct")
    lines = await signed_lines(registry)
    messages = await stream.read(vhost.reader_url, until=len(lines))
    assert [m.body.decode() for m in messages] == [line["raw"] for line in lines]
    assert [(m.headers["kid"], m.headers["sig"]) for m in messages] == [(x["kid"], x["sig"]) for x in lines]
    assert {m.content_type for m in messages} == {"application/cloudevents+json"}
    assert {m.delivery_mode for m in messages} == {aio_pika.DeliveryMode.PERSISTENT}
    assert len({m.message_id for m in messages}) == len(messages)
    assert [m.routing_key for m in messages] == [
        "place.put._",
        "place.put.35",
        "place.put.29",
        "place.withdraw.29",
        "claim.put._",
    ]
    async with stream.channel(vhost.url) as owner:
        queue = await owner.get_queue("ille-et-vilaine")
        heard = [await queue.get() for _ in range(2)]
        assert await queue.get(fail=False) is None
    # Whoever listens to the département that a place has left hears that it left.
    assert [stream.number(m) for m in heard] == [2, 3]
    assert [m.headers.get("CC") for m in heard] == [None, ["place.put.35"]]


async def is_connected(registry: Registry) -> bool:
    """Whether the relay has a broker."""
    return await registry.metric("maillage_relay_connected") == 1


async def test_a_deleted_stream_is_made_again_and_loses_nothing_new(
    federation: Federation, vhost: Vhost
) -> None:
    """An event that no queue takes comes back, and is published again, in order, once there is a queue."""
    registry = await federation.registry(**brokered(vhost))
    await registry.add()
    await relayed(registry, 1)
    async with stream.channel(vhost.url) as owner:
        await owner.queue_delete(STREAM)
    await asyncio.gather(*(registry.add() for _ in range(150)))
    await relayed(registry, 151)
    messages = await stream.read(vhost.reader_url, until=151)
    assert in_order(messages, start=2) == 151
    assert await registry.metric("maillage_relay_failed_total") > 0


def in_order(messages: list[Any], start: int = 1) -> int:
    """The last number of a stream that begins with `start`, repeats at will, and leaves nothing out."""
    last = start - 1
    for message in messages:
        seq = stream.number(message)
        assert seq <= last + 1, f"{seq} comes after {last}"
        last = max(last, seq)
    return last


async def test_outsiders_may_read_the_stream_and_nothing_else(federation: Federation, vhost: Vhost) -> None:
    """The public account can neither publish nor declare nor bind nor read what else there is."""
    registry = await federation.registry(**brokered(vhost))
    await registry.add()
    await relayed(registry, 1)
    assert len(await stream.read(vhost.reader_url, until=1)) == 1

    async def publish(channel: AbstractChannel) -> None:
        exchange = await channel.get_exchange(EXCHANGE, ensure=False)
        await exchange.publish(aio_pika.Message(b"x"), "place.put.35")

    async def publish_to_the_queue(channel: AbstractChannel) -> None:
        await channel.default_exchange.publish(aio_pika.Message(b"x"), STREAM)

    async def declare(channel: AbstractChannel) -> None:
        await channel.declare_queue("mine")

    async def delete(channel: AbstractChannel) -> None:
        await channel.queue_delete(STREAM)

    async def read_another(channel: AbstractChannel) -> None:
        await (await channel.get_queue("other", ensure=False)).consume(print)

    async with stream.channel(vhost.url) as owner:
        await owner.declare_queue("other")
    for attempt in (publish, publish_to_the_queue, declare, delete, read_another):
        async with stream.channel(vhost.reader_url) as reader:
            with pytest.raises(ChannelAccessRefused):
                await attempt(reader)


class Load:
    """Writers that go on adding places until they are told to end, and how long each of them waited."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.done, self.slowest, self.ending = 0, 0.0, False

    async def write(self) -> None:
        """Add places, one after the other."""
        clock = asyncio.get_running_loop().time
        while not self.ending:
            began = clock()
            await self.registry.add()
            self.done += 1
            self.slowest = max(self.slowest, clock() - began)

    async def more(self, count: int) -> None:
        """Wait until so many more are accepted."""
        wanted = self.done + count

        async def there() -> bool:
            return self.done >= wanted

        await eventually(there)


def rows(count: int) -> bytes:
    """A list of so many places."""
    lines = (f"Atelier {n:05};35{n % 1000:03};Commune {n % 500}" for n in range(count))
    return "\n".join(("nom;code postal;ville", *lines)).encode()


async def test_a_broker_that_comes_and_goes_costs_latency_only(
    federation: Federation, private_rabbitmq: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Absent at start, killed in the middle of 5,000 changes, started again: no write waits, nothing is lost."""
    monkeypatch.setattr(run, "LONGEST_PAUSE", 1.0)
    vhost = private_rabbitmq.vhost()
    private_rabbitmq.kill()
    await private_rabbitmq.until_gone()
    registry = await federation.registry(**brokered(vhost))
    sync = await federation.sync([registry])
    load = Load(registry)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(load.write())
        await load.more(100)
        await sync.caught_up([registry])
        assert await sync.metric("maillage_follow_events_total", via="amqp") == 0
        assert await registry.metric("maillage_relay_published_total") == 0
        await private_rabbitmq.start()
        imported = tasks.create_task(registry.list_in(rows(4500)))
        await relayed(registry, 500, 90)
        private_rabbitmq.kill()
        at_the_kill = await registry.metric("maillage_relay_published_total")
        await load.more(10)
        assert 500 <= at_the_kill < await head_size(registry, 0)
        await imported
        load.slowest = 0.0
        await load.more(100)
        without, load.slowest = load.slowest, 0.0
        load.ending = True
    size = await head_size(registry, 0)
    assert size >= 5000
    # Less than any patience with a broker: nobody waits for it.
    assert without < PATIENCE / 2
    await sync.caught_up([registry])
    by_feed = await sync.metric("maillage_follow_events_total", via="feed")
    assert by_feed > 0
    await private_rabbitmq.start()
    # A broker that was killed takes a while for its stream.
    await relayed(registry, size, 120)
    messages = await stream.read(vhost.reader_url, until=size)
    assert in_order(messages) == size
    before = await sync.metric("maillage_follow_events_total", via="amqp")
    await again_by_amqp(registry, sync, before)


async def again_by_amqp(registry: Registry, sync: Any, before: float) -> None:
    """Wait until changes come to the sync through RabbitMQ again."""

    async def came() -> bool:
        await registry.add()
        return await sync.metric("maillage_follow_events_total", via="amqp") > before

    await eventually(came)
    await sync.caught_up([registry])
