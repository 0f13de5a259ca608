"""Publish the log on RabbitMQ: in order, confirmed, from a watermark that only moves forward."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel
from prometheus_client import CollectorRegistry, Counter, Gauge

from services import broker, ledger_store, postgres, signing
from services.bell import Bell
from services.ledger_store import Entry
from services.postgres import Pool
from services.run import calm, still_wanted

WINDOW = 100
READ = 1000
MEDIA = "application/cloudevents+json"
log = structlog.get_logger()


class Gauges:
    """What operators see of the relay."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.published = Counter(
            "maillage_relay_published_total", "Events confirmed by RabbitMQ", registry=registry
        )
        self.failed = Counter(
            "maillage_relay_failed_total",
            "Events that RabbitMQ did not confirm, tried again",
            registry=registry,
        )
        self.state = "away"
        self.connected = Gauge(
            "maillage_relay_connected", "1 while the relay has a broker", registry=registry
        )

    def tell(self, state: str) -> None:
        """How it goes with the broker: `connected` or `away`."""
        self.state = state
        self.connected.set(state == "connected")


def message(entry: Entry) -> Message:
    """An event as a message; its id is new at each attempt, as one id in flight twice gives false confirms."""
    headers: dict[str, object] = {"kid": entry.kid, "sig": signing.text(entry.sig)}
    if entry.also:
        headers["CC"] = [entry.also]
    return Message(
        entry.raw,
        content_type=MEDIA,
        headers=headers,  # type: ignore[arg-type] # CC is a list, which AMQP allows
        message_id=str(uuid4()),
        delivery_mode=DeliveryMode.PERSISTENT,
    )


async def publish(channel: AbstractChannel, entries: Sequence[Entry]) -> tuple[int, BaseException | None]:
    """Publish one window in order; how many are confirmed without a gap, and the first that was not."""
    answers = await asyncio.gather(
        *(broker.publish(channel, message(e), e.routing) for e in entries),
        return_exceptions=True,
    )
    for confirmed, answer in enumerate(answers):
        if isinstance(answer, BaseException):
            return confirmed, answer
    return len(entries), None


async def _window(pool: Pool, channel: AbstractChannel, entries: Sequence[Entry], gauges: Gauges) -> None:
    confirmed, trouble = await publish(channel, entries)
    if confirmed:
        async with pool.acquire() as conn:
            await ledger_store.set_relayed(conn, entries[confirmed - 1].seq)
        gauges.published.inc(confirmed)
    if trouble is not None:
        gauges.failed.inc(len(entries) - confirmed)
        raise trouble


async def _unrelayed(pool: Pool) -> list[Entry]:
    async with pool.acquire() as conn:
        after = await ledger_store.relayed(conn)
        return await ledger_store.unrelayed(conn, after=after, limit=READ)


async def relay(pool: Pool, url: str, bell: Bell, gauges: Gauges) -> None:
    """Relay until the broker or the database goes away; alone among all processes of this database."""
    async with postgres.locked(pool, "relay"), broker.connected(url) as connection:
        channel = await broker.topology(connection)
        gauges.tell("connected")
        calm()
        try:
            while True:
                still_wanted()
                heard = bell.heard
                entries = await _unrelayed(pool)
                for start in range(0, len(entries), WINDOW):
                    await _window(pool, channel, entries[start : start + WINDOW], gauges)
                if not entries:
                    await bell.wait(heard, 1.0)
                # aio-pika's `is_closed` tells of what we have closed ourselves.
                if not connection.connected.is_set():
                    raise ConnectionError("the broker closed the connection")
        finally:
            gauges.tell("away")
