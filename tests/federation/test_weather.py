"""Bad weather between the parts: what is closed, blocked, returned, refused or thrown away is only late."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import aio_pika
import aiohttp
import asyncpg
import pytest

from demo.rabbitmq import Vhost
from services import broker, fetching, ledger_store
from services.broker import EXCHANGE, STREAM
from tests.conftest import Federation
from tests.engines import Broker
from tests.federation import stream, wishes
from tests.federation.test_crash import every_answer_is_kept
from tests.federation.test_relay import Load, brokered, in_order, relayed, rows
from tests.federation.wire import Wire, wire
from tests.federation.wishes import Door, Person
from tests.nodes import Registry, Sync, eventually, head_size

SOAK = bool(os.environ.get("MAILLAGE_SOAK"))
CHANGES = 20_000 if SOAK else 150
ROUNDS = 15
ALARM_S = 60 if SOAK else 4
EVERY_S = 0.3
PEOPLE = 24


@asynccontextmanager
async def wired(vhost: Vhost) -> AsyncIterator[tuple[Wire, Wire, dict[str, Any]]]:
    """A wire from a registry's relay to its broker, one from its readers, and the settings that use them."""
    async with wire(vhost.port) as relay, wire(vhost.port) as readers:
        yield (
            relay,
            readers,
            {
                "amqp_url": relay.instead(vhost.url),
                "amqp_public_url": readers.instead(vhost.reader_url),
            },
        )


async def by_amqp(registry: Registry, sync: Sync, seconds: float = 60) -> None:
    """Wait until a change comes to a sync through RabbitMQ."""
    before = await sync.metric("maillage_follow_events_total", via="amqp")

    async def came() -> bool:
        await registry.add()
        return await sync.metric("maillage_follow_events_total", via="amqp") > before

    await eventually(came, seconds)


async def equal_to_a_fresh_one(federation: Federation, registry: Registry, sync: Sync) -> Any:
    """The digest of a sync, which one that starts now has as well."""
    fresh = await federation.sync([registry])
    mine, theirs = await sync.caught_up([registry]), await fresh.caught_up([registry])
    assert mine == theirs
    return mine


# --- connections that are closed ----------------------------------------------------------------------------


class Closing:
    """Closes every connection to RabbitMQ and to PostgreSQL, again and again, and counts."""

    def __init__(self, wires: list[Wire], server: asyncpg.Connection, databases: list[str]) -> None:
        self.wires, self.server, self.databases = wires, server, databases
        self.rounds = self.sessions = 0

    async def run(self) -> None:
        """Close them every 300 ms: the sessions under whose locks relay and followers work, and in turn all."""
        while True:
            await asyncio.sleep(EVERY_S)
            for one in self.wires:
                one.close()
            self.sessions += await self.server.fetchval(
                """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = ANY($1::text[])
                   AND ($2 OR pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory'))""",
                self.databases,
                self.rounds % 3 == 0,
            )
            self.rounds += 1


async def test_connections_closed_every_300_ms_cost_nothing_but_time(
    federation: Federation, vhost: Vhost
) -> None:
    """While all connections of relay, writer and followers end three times a second, no change is lost or twice."""
    async with wired(vhost) as (relay, readers, settings), wishes.session() as session:
        registry = await federation.registry(**settings)
        sync = await federation.sync([registry])
        await by_amqp(registry, sync)
        before = await head_size(registry, 0)
        door = Door(session, registry.url, registry.token)
        people = [Person(number, 20190427, door) for number in range(PEOPLE)]
        server = await asyncpg.connect(federation.postgres.url())
        names = [s.settings.database_url.rpartition("/")[2] for s in (registry, sync)]
        closing = Closing([relay, readers], server, names)

        async def write(person: Person) -> None:
            while at(door) < before + CHANGES or closing.rounds < ROUNDS:
                await person.wish()

        task = asyncio.create_task(closing.run())
        try:
            async with asyncio.timeout(3600 if SOAK else 120):
                await asyncio.gather(*(write(person) for person in people))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await server.close()
        assert relay.closed >= 3, "the relay never had a connection to lose"
        assert readers.closed >= 3, "the sync never had a connection to lose"
        assert closing.sessions >= closing.rounds >= ROUNDS
        size = await head_size(registry, 0)
        assert size >= before + CHANGES
        await relayed_to(vhost, registry, size)
        await equal_to_a_fresh_one(federation, registry, sync)
        events = await registry.feed()
        every_answer_is_kept(events, door.accepted)
        await by_amqp(registry, sync)


async def test_what_the_library_says_of_a_lost_connection_is_weather(vhost: Vhost) -> None:
    """A bare Exception, or a cancellation by nobody, is a lost connection; a bug and an end stay what they are."""
    for said in (Exception(), asyncio.CancelledError()):
        with pytest.raises(ConnectionError):
            async with broker.connected(vhost.url):
                raise said
    with pytest.raises(KeyError):
        async with broker.connected(vhost.url):
            raise KeyError
    inside = asyncio.Event()

    async def wait() -> None:
        async with broker.connected(vhost.url):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def at(door: Door) -> int:
    """How far the log is, by the last answer."""
    return int(door.accepted[-1].cursor.partition(".")[2]) if door.accepted else 0


async def relayed_to(vhost: Vhost, registry: Registry, size: int) -> None:
    """Wait until the stream holds everything, in order and without a hole."""
    messages = await stream.read(vhost.reader_url, until=size, seconds=60)
    assert in_order(messages) == size


# --- a broker that takes nothing ----------------------------------------------------------------------------


async def test_a_memory_alarm_holds_up_the_fast_path_only(
    federation: Federation, private_rabbitmq: Broker
) -> None:
    """While RabbitMQ takes no message for want of memory, networks write and syncs follow; then it gets them all."""
    vhost = private_rabbitmq.vhost()
    registry = await federation.registry(**brokered(vhost))
    sync = await federation.sync([registry])
    await by_amqp(registry, sync)
    await asyncio.to_thread(private_rabbitmq.control, "set_vm_memory_high_watermark", "0.00001")
    try:
        load = Load(registry)
        over = monotonic() + ALARM_S
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(load.write())
            await load.more(50)
            stuck = await registry.metric("maillage_relay_published_total")
            while monotonic() < over:
                await load.more(10)
                await sync.caught_up([registry], 30)
            load.ending = True
        assert await registry.metric("maillage_relay_published_total") == stuck
        assert stuck < await head_size(registry, 0) - 50
        assert load.slowest < broker.PATIENCE / 2
    finally:
        await asyncio.to_thread(private_rabbitmq.control, "set_vm_memory_high_watermark", "0.6")
    await relayed_to(vhost, registry, await head_size(registry, 0))
    await by_amqp(registry, sync)
    await equal_to_a_fresh_one(federation, registry, sync)


# --- messages that are returned, refused or thrown away -------------------------------------------------------


async def test_what_reaches_no_queue_does_not_count(federation: Federation, vhost: Vhost) -> None:
    """While no stream can be bound every event comes back and none counts; then all are sent, in order."""
    registry = await federation.registry(**brokered(vhost))
    sync = await federation.sync([registry])
    await by_amqp(registry, sync)
    stands = await head_size(registry, 0)
    await relayed(registry, stands)
    async with stream.channel(vhost.url) as owner:
        await owner.queue_delete(STREAM)
        # What stands in the place of the stream is none, so that the relay cannot put things right by itself.
        await owner.declare_queue(STREAM, durable=True)
        await asyncio.gather(*(registry.add() for _ in range(150)))
        await eventually(lambda: registry.metric("maillage_relay_failed_total"))
        await sync.caught_up([registry], 30)
        assert await registry.metric("maillage_relay_published_total") == stands
        assert await relayed_until(registry) == stands
        await owner.queue_delete(STREAM)
    await relayed(registry, stands + 150)
    messages = await stream.read(vhost.reader_url, until=stands + 150)
    assert in_order(messages, start=stands + 1) == stands + 150
    await by_amqp(registry, sync)
    await equal_to_a_fresh_one(federation, registry, sync)


async def relayed_until(registry: Registry) -> int:
    """The number up to which the registry believes that its broker has everything."""
    conn = await asyncpg.connect(registry.settings.database_url)
    try:
        return await ledger_store.relayed(conn)
    finally:
        await conn.close()


async def test_a_binding_that_is_taken_away_is_made_again(federation: Federation, vhost: Vhost) -> None:
    """Events that are returned as unroutable are sent again once the relay has bound its stream anew."""
    registry = await federation.registry(**brokered(vhost))
    await registry.add()
    await relayed(registry, 1)
    async with stream.channel(vhost.url) as owner:
        queue = await owner.get_queue(STREAM, ensure=False)
        await queue.unbind(EXCHANGE, "#")
        await asyncio.gather(*(registry.add() for _ in range(150)))
        await relayed(registry, 151)
    assert await registry.metric("maillage_relay_failed_total") > 0, "nothing was returned"
    messages = await stream.read(vhost.reader_url, until=151)
    assert in_order(messages) == 151


async def test_a_full_queue_beside_the_stream_loses_nothing(federation: Federation, vhost: Vhost) -> None:
    """What RabbitMQ refuses because of somebody's full queue is not counted; nobody misses it meanwhile."""
    registry = await federation.registry(**brokered(vhost), heartbeat_s=1)
    sync = await federation.sync([registry])
    await by_amqp(registry, sync)
    stands = await head_size(registry, 0)
    await relayed(registry, stands)
    full = {"x-max-length": 3, "x-overflow": "reject-publish"}
    async with stream.channel(vhost.url) as owner:
        queue = await owner.declare_queue("pleine", durable=True, arguments=full)
        await queue.bind(EXCHANGE, "#")
        await asyncio.gather(*(registry.add() for _ in range(150)))
        await eventually(lambda: registry.metric("maillage_relay_failed_total"))
        await sync.caught_up([registry], 20)
        assert await registry.metric("maillage_relay_published_total") < stands + 150
        await owner.queue_delete("pleine")
    await relayed(registry, stands + 150)
    await relayed_to(vhost, registry, stands + 150)
    await equal_to_a_fresh_one(federation, registry, sync)


async def test_what_one_reader_rejects_the_others_have(federation: Federation, vhost: Vhost) -> None:
    """Nothing of a stream is thrown away for all: not what a reader rejects, nor what dies in a queue beside it."""
    registry = await federation.registry(**brokered(vhost))
    sync = await federation.sync([registry])
    await by_amqp(registry, sync)
    rejected: list[int] = []

    async def reject(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        rejected.append(stream.number(message))
        await message.reject(requeue=False)

    async with stream.channel(vhost.reader_url) as reader, stream.channel(vhost.url) as owner:
        dead = {"x-message-ttl": 1, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "mortes"}
        letters = await owner.declare_queue("mortes")
        mortal = await owner.declare_queue("mortelle", durable=True, arguments=dead)
        await mortal.bind(EXCHANGE, "place.#")
        await reader.set_qos(prefetch_count=100)
        queue = await reader.get_queue(STREAM, ensure=False)
        # RabbitMQ ends the connection of a reader that rejects what a stream holds: its own, nobody else's.
        await queue.consume(reject, arguments={"x-stream-offset": "first"})
        await eventually(lambda: any_of(rejected))
        before = await sync.metric("maillage_follow_events_total", via="amqp")
        for _ in range(50):
            await registry.add()
        size = await head_size(registry, 0)
        await sync.caught_up([registry])
        died = [await letters.get() for _ in range(50)]
        assert {message.headers["x-first-death-reason"] for message in died} == {"expired"}
    assert await sync.metric("maillage_follow_refused_total") == 0
    assert await sync.metric("maillage_follow_events_total", via="amqp") > before
    await relayed_to(vhost, registry, size)
    await equal_to_a_fresh_one(federation, registry, sync)


async def any_of(found: list[int]) -> int:
    """How many there are."""
    return len(found)


async def test_what_retention_threw_away_comes_by_the_feed(
    federation: Federation, vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that forgot its beginning while a reader was away costs that reader nothing: the feed fills it."""
    monkeypatch.setattr(broker, "MAX_BYTES", 100_000)
    monkeypatch.setattr(broker, "SEGMENT_BYTES", 50_000)
    registry = await federation.registry(**brokered(vhost))
    sync = await federation.sync([registry])
    await by_amqp(registry, sync)
    before = await sync.caught_up([registry])
    await sync.stop()
    job = await registry.list_in(rows(600), source="liste")
    assert job["state"] == "done", job
    size = await head_size(registry, 0)
    await relayed(registry, size)
    (left, *_) = await stream.read(vhost.reader_url, until=1)
    assert stream.number(left) > before["heads"][0]["size"] + 1, "the stream has forgotten nothing"
    await sync.start()
    await sync.caught_up([registry])
    assert await sync.metric("maillage_follow_events_total", via="feed") >= 600
    await by_amqp(registry, sync)
    await equal_to_a_fresh_one(federation, registry, sync)


# --- connections that are dead and do not know it -------------------------------------------------------------


async def test_a_connection_that_went_deaf_is_found_within_35_seconds(
    federation: Federation, vhost: Vhost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-open connections, to a broker and to a feed, are given up for new ones without anybody's help.

    What is waited for is half of it here, and of the 35 seconds the same five are for a busy machine.
    """
    patience = fetching.ANSWER
    assert patience.sock_read is not None
    shorter = aiohttp.ClientTimeout(patience.total, sock_connect=10, sock_read=patience.sock_read / 2)
    monkeypatch.setattr(fetching, "ANSWER", shorter)
    monkeypatch.setattr(fetching, "LONGEST_WAIT", fetching.LONGEST_WAIT / 2)
    monkeypatch.setattr(broker, "HEARTBEAT_S", broker.HEARTBEAT_S // 2)
    async with wired(vhost) as (relay, readers, settings):
        spoken = await federation.registry(**settings, heartbeat_s=60)
        quiet = await federation.registry(heartbeat_s=60)
        async with wire(quiet.port) as feed:
            heard = Heard(quiet, feed)
            everybody: list[Any] = [spoken, heard]
            sync = await federation.sync(everybody)
            await by_amqp(spoken, sync)
            await sync.caught_up([spoken, quiet])
            await eventually(lambda: waits(feed))
            began = monotonic()
            opened = [one.opened for one in (relay, readers, feed)]
            assert all(one.freeze() for one in (relay, readers, feed))
            late = await quiet.add()
            took = await asyncio.gather(
                *(anew(one, n, began) for one, n in zip((relay, readers, feed), opened, strict=True))
            )
            assert max(took) < 30 / 2 + 5, took
            await sync.caught_up([spoken, quiet], 30)
            assert (await sync.call("GET", f"/places/{late['id']}"))[0] == 200
            await by_amqp(spoken, sync)


class Heard:
    """A registry as a sync knows it that reads it over a wire."""

    def __init__(self, registry: Registry, over: Wire) -> None:
        self.node, self.url = registry.node, over.url


async def waits(over: Wire) -> bool:
    """Whether somebody is connected."""
    return over.links > 0


async def anew(over: Wire, opened: int, began: float) -> float:
    """After how many seconds a new connection was made."""

    async def there() -> bool:
        return over.opened > opened

    await eventually(there, 45)
    return monotonic() - began
