"""What stands on a network's stream, read as an outsider would."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from services.broker import STREAM


@asynccontextmanager
async def channel(url: str) -> AsyncIterator[AbstractChannel]:
    """A channel of one's own."""
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)


def number(message: AbstractIncomingMessage) -> int:
    """The sequence number of the event in a message."""
    return int(msgspec.json.decode(message.body)["sequence"])


async def read(url: str, *, until: int, seconds: float = 60) -> list[AbstractIncomingMessage]:
    """All messages from the first one on, until event `until` has come."""
    found: list[AbstractIncomingMessage] = []
    there = asyncio.Event()

    async def take(message: AbstractIncomingMessage) -> None:
        found.append(message)
        if number(message) >= until:
            there.set()
        await message.ack()

    async with channel(url) as here:
        await here.set_qos(prefetch_count=200)
        queue = await here.get_queue(STREAM, ensure=False)
        await queue.consume(take, arguments={"x-stream-offset": "first"})
        async with asyncio.timeout(seconds):
            await there.wait()
    last = next(n for n, message in enumerate(found) if number(message) >= until)
    return found[: last + 1]
