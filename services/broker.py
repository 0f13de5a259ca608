"""RabbitMQ: the fast path. One exchange and one bounded stream for each network, on its own broker."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage
from aiormq.exceptions import AMQPError
from yarl import URL

from schemas.node import Amqp
from services.identity import About
from services.run import still_wanted

EXCHANGE = "maillage.events"
STREAM = "maillage.feed"
MAX_BYTES = 1024 * 1024 * 1024
MAX_AGE = "7D"
# What is thrown away is whole segments.
SEGMENT_BYTES = 50_000_000
PATIENCE = 15.0
FAREWELL = 3.0
PREFETCH = 500
# A half-open connection is given up after three beats and a second for each, asked about every half a beat:
# within 31 s. It would be three minutes with the default.
HEARTBEAT_S = 8
LONGEST_NAME = 255
_CLOSED = "the connection to the broker was closed"

# What a broker that is away, restarting, blocked or being set up looks like from here.
WEATHER: tuple[type[BaseException], ...] = (
    AMQPError,
    aio_pika.exceptions.AMQPException,
    ConnectionError,
    OSError,
    TimeoutError,
    asyncio.InvalidStateError,
    aio_pika.exceptions.ChannelInvalidStateError,
)


class Card(Protocol):
    """The settings that a genesis descriptor is made from."""

    @property
    def slug(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def license(self) -> str: ...
    @property
    def contact(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def amqp_public_url(self) -> str | None: ...
    @property
    def heartbeat_s(self) -> int: ...


def about(card: Card, emits: tuple[str, ...]) -> About:
    """What a node says of itself when it is born, and where its messages are read."""
    public = card.amqp_public_url
    return About(
        slug=card.slug,
        name=card.name,
        license=card.license,
        contact=card.contact,
        url=card.url,
        amqp=Amqp(url=public, exchange=EXCHANGE, stream=STREAM) if public else None,
        heartbeat_s=card.heartbeat_s,
        emits=emits,
    )


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AbstractConnection]:
    """A plain connection with a short heartbeat; whoever uses it decides when to open it again."""
    address = URL(url).update_query(heartbeat=str(HEARTBEAT_S))
    async with _honest():
        connection = await aio_pika.connect(str(address), timeout=PATIENCE)
        try:
            still_wanted()
            yield connection
        finally:
            # A broker that hangs must not replace the reason why we leave, least of all that we were told to end.
            with suppress(*WEATHER):
                async with _honest(), asyncio.timeout(FAREWELL):
                    await connection.close()


@asynccontextmanager
async def _honest() -> AsyncIterator[None]:
    """Inside, what aiormq says when its connection goes in the middle of a request is ConnectionError.

    It says `Exception` and no more, or that we were cancelled, which nobody has done: a loop would take the
    one for a bug, and end by the other without a word.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        raise ConnectionError(_CLOSED) from error
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ConnectionError(_CLOSED) from error


def stranger(url: str) -> str:
    """The address of somebody else's broker without options, which could name files of ours.

    ConnectionError when there is no such address: its node may put it right.
    """
    try:
        address = URL(url).with_query(None).with_fragment(None)
        usable = address.scheme in ("amqp", "amqps") and bool(address.host)
    except ValueError as error:
        raise ConnectionError(f"no address of a broker: {error}") from error
    if not usable:
        raise ConnectionError("no address of a broker")
    return str(address)


async def topology(connection: AbstractConnection) -> AbstractChannel:
    """Declare the durable exchange and its stream; a channel whose publishes are confirmed and must route."""
    async with asyncio.timeout(PATIENCE):
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.declare_exchange(
        EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, timeout=PATIENCE
    )
    arguments: dict[str, Any] = {
        "x-queue-type": "stream",
        "x-max-length-bytes": MAX_BYTES,
        "x-max-age": MAX_AGE,
        "x-stream-max-segment-size-bytes": SEGMENT_BYTES,
    }
    stream = await channel.declare_queue(STREAM, durable=True, arguments=arguments, timeout=PATIENCE)
    await stream.bind(exchange, "#", timeout=PATIENCE)
    return channel


async def publish(channel: AbstractChannel, message: aio_pika.Message, routing: str) -> None:
    """Publish a message that has to reach a queue, and wait until the broker confirms it.

    Many go out at once: aio-pika's own `publish` has each wait until the socket has taken the one before.
    """
    underlay = await channel.get_underlay_channel()
    await underlay.basic_publish(
        message.body,
        exchange=EXCHANGE,
        routing_key=routing,
        properties=message.properties,
        mandatory=True,
        timeout=PATIENCE,
        wait=False,  # type: ignore[call-arg] # which its abstract class does not tell
    )


async def missing(connection: AbstractConnection) -> str | None:
    """Which of exchange and stream is not there; nothing is declared."""
    for name, look in ((EXCHANGE, _exchange), (STREAM, _stream)):
        async with asyncio.timeout(PATIENCE):
            # One each: a broker closes the channel on which something was asked for that is not there.
            channel = await connection.channel()
        try:
            await look(channel, name)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return name
    return None


async def _exchange(channel: AbstractChannel, name: str) -> None:
    await channel.declare_exchange(name, passive=True, timeout=PATIENCE)


async def _stream(channel: AbstractChannel, name: str) -> None:
    await channel.declare_queue(name, passive=True, timeout=PATIENCE)


class _Arrivals:
    """Messages in the order in which they came. (aio-pika's own iterator waits for the broker to let it go.)"""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """A message; aio-pika runs this in a task for each of them, in order as long as it does not wait."""
        self._arrived.put_nowait(message)

    def end(self, *_: object) -> None:
        """Nothing more comes: the broker cancelled it, or the channel is closed."""
        self._arrived.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[AbstractIncomingMessage]:
        return self

    async def __anext__(self) -> AbstractIncomingMessage:
        if (message := await self._arrived.get()) is None:
            raise StopAsyncIteration
        return message


async def reading(connection: AbstractConnection, stream: str) -> AsyncIterator[AbstractIncomingMessage]:
    """The messages that reach a stream from now on, in order, until the connection ends."""
    if not 0 < len(stream.encode()) <= LONGEST_NAME:
        raise ConnectionError("no name of a stream")
    async with asyncio.timeout(PATIENCE):
        channel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH, timeout=PATIENCE)
    # A passive declaration would need a right that an outside reader does not have.
    queue = await channel.get_queue(stream, ensure=False)
    arrivals = _Arrivals()
    channel.close_callbacks.add(arrivals.end)
    # A stream that is deleted ends its readers but not their channels, and aio-pika keeps that for itself.
    (await channel.get_underlay_channel()).on_consumer_cancel_callbacks.add(arrivals.end)
    await queue.consume(arrivals.take, arguments={"x-stream-offset": "next"}, timeout=PATIENCE)
    still_wanted()
    return arrivals
