"""Messages come early, late, twice, never or forged: what is applied is what the log says, in its order."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from msgspec import structs

from demo.rabbitmq import Vhost
from schemas.event import SignedText
from services import broker, inbox, signing
from services.sync import app
from tests.conftest import Federation
from tests.engines import Broker
from tests.federation import stream
from tests.federation.impostor import Impostor, with_broker
from tests.nodes import Sync, eventually


class Heard:
    """A node whose messages the test publishes by hand, and a sync that listens to it."""

    def __init__(self, node: Impostor, sync: Sync, channel: AbstractChannel) -> None:
        self.node, self.sync, self.channel = node, sync, channel

    async def publish(self, line: dict[str, Any], **headers: str) -> None:
        """Put a line on the stream."""
        signed = {"kid": line["kid"], "sig": line["sig"], **headers}
        message = aio_pika.Message(line["raw"].encode(), headers=signed, message_id=str(uuid4()))
        await broker.publish(self.channel, message, "place.put.35")

    async def came(self, via: str) -> float:
        """How many events came this way."""
        return await self.sync.metric("maillage_follow_events_total", via=via)

    async def stands(self, size: int) -> None:
        """Wait until so much of the log is followed, and the node is well."""

        async def there() -> bool:
            known = (await self.sync.networks())[self.node.node]
            return (known["cursor"], known["state"]) == (f"1.{size}", "live")

        await eventually(there)


@asynccontextmanager
async def heard(federation: Federation, vhost: Vhost, size: int) -> AsyncIterator[Heard]:
    """A node with so many events, followed over RabbitMQ; its feed is read at a doorbell or once a minute."""
    async with (
        Impostor("voix", heartbeat_s=60, amqp=with_broker(vhost.reader_url)).serving() as node,
        broker.connected(vhost.url) as connection,
    ):
        channel = await broker.topology(connection)
        for _ in range(size):
            node.say()
        followed: list[Any] = [node]
        sync = await federation.sync(followed)
        found = Heard(node, sync, channel)

        async def settled() -> bool:
            # One that comes through RabbitMQ alone shows that the follower waits there.
            before, asked = await found.came("amqp"), len(node.asked)
            await found.publish(node.say())
            await found.stands(len(node.lines))
            return await found.came("amqp") == before + 1 and len(node.asked) == asked

        await eventually(settled)
        yield found
        await sync.stop()


async def test_a_lost_message_rings_for_the_feed(federation: Federation, vhost: Vhost) -> None:
    """Where a message is missing the next one is a doorbell: the feed brings both, in order."""
    async with heard(federation, vhost, 2) as it:
        by_feed, by_amqp = await it.came("feed"), await it.came("amqp")
        it.node.say()
        await it.publish(it.node.say())
        await it.stands(len(it.node.lines))
        assert (await it.came("feed"), await it.came("amqp")) == (by_feed + 2, by_amqp)
        # A gap is nobody's lie: nothing was refused.
        assert await it.sync.metric("maillage_follow_refused_total") == 0


async def test_repeats_and_replays_are_dropped(federation: Federation, vhost: Vhost) -> None:
    """Old messages, again and in any order, change nothing and ask nothing; the next new one is applied."""
    async with heard(federation, vhost, 20) as it:
        size, by_amqp = len(it.node.lines), await it.came("amqp")
        it.node.asked.clear()
        old = it.node.lines * 5
        random.Random(1).shuffle(old)
        for line in old:
            await it.publish(line)
        await it.publish(it.node.say())
        await it.publish(it.node.lines[-1])
        await it.stands(size + 1)
        assert await it.came("amqp") == by_amqp + 1
        assert not it.node.asked
        assert (await it.sync.digest())["count"] == size + 1


async def test_a_forged_message_never_enters_and_breaks_nothing(federation: Federation, vhost: Vhost) -> None:
    """Whatever is put on the stream, only what the node signed at that place is believed; the node stays live."""
    async with heard(federation, vhost, 2) as it:

        async def refused(before: float) -> bool:
            return await it.sync.metric("maillage_follow_refused_total") > before

        async def has_asked(before: int) -> bool:
            return any(path.startswith("/feed") for path in it.node.asked[before:])

        other = Impostor("autre")
        for _ in it.node.lines:
            other.say()
        real = it.node.event()
        seq = len(it.node.lines) + 1
        forged = it.node.signed(real.replace(b"Lieu", b"Faux"), signing.EVENT)
        for line, headers in (
            ({**forged, "sig": "A" * 86}, {}),
            ({**it.node.signed(real, signing.EVENT), "raw": forged["raw"]}, {}),
            ({**forged, "sig": "é"}, {}),
        ):
            before = await it.sync.metric("maillage_follow_refused_total")
            await it.publish(line, **headers)
            await eventually(lambda before=before: refused(before))
        # A key that nobody knows may be the node's next one: the feed is asked.
        for line, headers in ((forged, {"kid": other.online.kid}), (other.say(), {})):
            asked = len(it.node.asked)
            await it.publish(line, **headers)
            await eventually(lambda asked=asked: has_asked(asked))
        await it.publish({**forged, "raw": "pas du JSON"})
        await it.publish({**forged, "raw": '{"sequence":"99999999999999999999999999"}'})
        await it.publish({**forged, "raw": '{"sequence":"' + "9" * 5000 + '"}'})
        await it.publish({**forged, "raw": '{"sequence":"' + str(seq) + '","x":' + "[" * 100_000})
        await broker.publish(it.channel, aio_pika.Message(b"\xff\xfe"), "place.put.35")
        await broker.publish(it.channel, aio_pika.Message(real), "place.put.35")
        await it.stands(seq - 1)
        by_amqp = await it.came("amqp")
        it.node.subjects.clear()
        await it.publish(it.node.say(real))
        await it.stands(seq)
        assert await it.came("amqp") + await it.came("feed") > by_amqp
        assert (await it.sync.digest())["count"] == seq
        items = await it.sync.get("/collections/places/items?q=faux")
        assert items["numberMatched"] == 0


async def test_a_sync_may_start_before_its_networks(federation: Federation) -> None:
    """A node that is down when a sync starts is followed as soon as it comes, and again after it was down."""
    registry = await federation.registry()
    await registry.stop()
    sync = await federation.sync([registry])
    assert (await sync.networks())[registry.node]["state"] == "new"
    assert (await sync.digest())["count"] == 0
    await registry.start()
    await registry.add()
    assert (await sync.caught_up([registry]))["count"] == 1
    await registry.cut()
    await registry.start()
    await registry.add()
    assert (await sync.caught_up([registry]))["count"] == 2


async def test_thirty_networks_are_followed_with_the_usual_pool(federation: Federation) -> None:
    """Thirty logs at once leave the sync's own API free to answer."""
    nodes = [Impostor(f"réseau {number}") for number in range(30)]
    for node in nodes:
        for _ in range(40):
            node.say()
    async with asyncio.TaskGroup() as servers:
        ending = asyncio.Event()
        ready: list[Impostor] = []

        async def serve(node: Impostor) -> None:
            async with node.serving():
                ready.append(node)
                await ending.wait()

        for node in nodes:
            servers.create_task(serve(node))
        await eventually(lambda: _all(ready, nodes))
        followed: list[Any] = nodes
        sync = await federation.sync(followed)
        slowest = 0.0

        async def all_live() -> bool:
            nonlocal slowest
            began = asyncio.get_running_loop().time()
            networks = (await sync.networks()).values()
            slowest = max(slowest, asyncio.get_running_loop().time() - began)
            return all((n["state"], n["cursor"]) == ("live", "1.40") for n in networks)

        await eventually(all_live)
        assert (await sync.digest())["count"] == 1200
        assert slowest < 10
        await sync.stop()
        ending.set()


async def _all(ready: list[Impostor], nodes: list[Impostor]) -> bool:
    return len(ready) == len(nodes)


async def test_a_second_process_is_a_hot_spare(federation: Federation) -> None:
    """Two processes on one database follow once; the spare says nothing of the node, and takes over in time."""
    registry = await federation.registry(heartbeat_s=1)
    await registry.add()
    first = await federation.sync([registry])
    await first.caught_up([registry])
    spare = Sync(federation.client, lambda port: app.serving(structs.replace(first.settings, port=port)))
    federation.services.append(spare)
    await spare.start()
    deadline = asyncio.get_running_loop().time() + 4

    async def four_heartbeats() -> bool:
        return asyncio.get_running_loop().time() > deadline

    await eventually(four_heartbeats)
    # By what it hears itself, which is nothing, the node would be stale.
    await spare.hears(registry.node)
    assert await spare.metric("maillage_follow_events_total") == 0
    await first.cut()
    await registry.add()
    assert (await spare.caught_up([registry], 30))["count"] == 2


async def test_a_deleted_stream_is_listened_to_again(federation: Federation, vhost: Vhost) -> None:
    """Who deletes a stream under its readers has them back once it is there again, not at the next heartbeat."""
    registry = await federation.registry(amqp_url=vhost.url, amqp_public_url=vhost.reader_url, heartbeat_s=60)
    sync = await federation.sync([registry])

    async def by_amqp(before: float) -> bool:
        await registry.add()
        return await sync.metric("maillage_follow_events_total", via="amqp") > before

    await eventually(lambda: by_amqp(0), 40)
    async with stream.channel(vhost.url) as owner:
        await owner.queue_delete(broker.STREAM)
    await eventually(lambda: _silent(sync))
    before = await sync.metric("maillage_follow_events_total", via="amqp")
    await eventually(lambda: by_amqp(before), 20)
    await sync.caught_up([registry], 30)


async def _silent(sync: Sync) -> bool:
    return await sync.metric("maillage_follow_listening") == 0


async def test_a_frozen_broker_holds_up_no_end(federation: Federation, private_rabbitmq: Broker) -> None:
    """A broker that hangs with open connections keeps neither registry nor sync from working and from ending."""
    vhost = private_rabbitmq.vhost()
    registry = await federation.registry(amqp_url=vhost.url, amqp_public_url=vhost.reader_url)
    sync = await federation.sync([registry])

    async def listening() -> bool:
        await registry.add()
        return await sync.metric("maillage_follow_events_total", via="amqp") > 0

    await eventually(listening, 40)
    assert private_rabbitmq.pid is not None
    os.kill(private_rabbitmq.pid, signal.SIGSTOP)
    try:
        await registry.add()
        await sync.caught_up([registry], 30)
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.gather(registry.stop(), sync.stop())
        # Half a minute of weather, or a heartbeat of the broker, would be longer.
        assert clock() - began < 14
    finally:
        os.kill(private_rabbitmq.pid, signal.SIGCONT)


async def test_a_full_inbox_rings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message for which there is no room is not forgotten: the feed is looked at, though no other follows it."""

    def message(seq: int, size: int = 10) -> inbox.Message:
        return inbox.Message(epoch=1, seq=seq, text=SignedText(raw="x" * size, kid="k", sig="s"))

    monkeypatch.setattr(inbox, "MOST", 3)
    monkeypatch.setattr(inbox, "MOST_BYTES", 1000)
    box = inbox.Inbox()
    for seq in (1, 2, 3):
        box.put(message(seq))
    taken = await box.take(1)
    assert [m.seq for m in taken or ()] == [1, 2, 3]
    for too_many in ([message(seq) for seq in (4, 5, 6, 7)], [message(4, 600), message(5, 600)]):
        for each in too_many:
            box.put(each)
        assert await box.take(1) is None
        assert await box.take(0.01) is None
        box.put(message(8))
        taken = await box.take(1)
        assert [m.seq for m in taken or ()] == [8]


def test_a_message_that_comes_twice_at_once_is_one() -> None:
    """Repeats within one batch are dropped like those that come later: they are no gap, and no doorbell."""

    def left(*numbers: int) -> list[int]:
        text = SignedText(raw="x", kid="k", sig="s")
        return [m.seq for m in inbox.unrepeated([inbox.Message(1, n, text) for n in numbers], 20)]

    assert left(19, 21, 21, 20, 22, 21, 22) == [21, 22]
    assert left(21, 23, 22) == [21, 23]
    assert left(20, 3) == []
