"""What RabbitMQ brings of a followed log, put into an inbox: never believed here, never waited for."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from aio_pika.abc import AbstractIncomingMessage
from msgspec import Struct
from prometheus_client import Gauge

from schemas.event import SignedText
from schemas.node import Amqp
from services import broker, foreign
from services.inbox import Inbox, Message
from services.run import calm

MOST_MESSAGE = 320 * 1024


class Receiver:
    """Receives where a node says that its messages are read, once it has said so."""

    def __init__(self, alias: str, inbox: Inbox, listening: Gauge) -> None:
        self.alias, self.inbox, self.listening = alias, inbox, listening
        self._amqp: Amqp | None = None
        self._told = asyncio.Event()

    def tell(self, amqp: Amqp | None) -> None:
        """Where the node says now that its messages are read; a node without a broker never does."""
        self._amqp = amqp
        self._told.set()

    async def listen(self) -> None:
        """Put what RabbitMQ brings into the inbox, while the node has a broker."""
        amqp = await self._broker()
        async with broker.connected(broker.stranger(amqp.url)) as connection:
            messages = await broker.reading(connection, amqp.stream)
            self.listening.labels(self.alias).set(1)
            self.inbox.listening = True
            self.inbox.ring()
            try:
                calm()
                await self._receive(messages)
            finally:
                self.inbox.listening = False
                self.inbox.ring()
                self.listening.labels(self.alias).set(0)
        raise ConnectionError("the broker ended the stream")

    async def _broker(self) -> Amqp:
        while self._amqp is None:
            await self._told.wait()
            self._told.clear()
        return self._amqp

    async def _receive(self, messages: AsyncIterator[AbstractIncomingMessage]) -> None:
        waiting = 0
        async for message in messages:
            self.take(message)
            waiting += 1
            # Credit is given back in batches; the stream keeps no state of readers.
            if waiting == broker.PREFETCH // 5:
                await message.ack(multiple=True)
                waiting = 0

    def take(self, message: AbstractIncomingMessage) -> None:
        """A message as a candidate for what comes next; one that cannot be is a ring of the doorbell."""
        try:
            if len(message.body) > MOST_MESSAGE:
                raise ValueError("no event is that long")
            place = msgspec.json.decode(message.body, type=_Place)
            seq, epoch = int(place.sequence), place.epoch
            raw, headers = message.body.decode(), message.headers
            text = SignedText(raw=raw, kid=str(headers["kid"]), sig=str(headers["sig"]))
        except (*foreign.UNREADABLE, KeyError):
            self.inbox.ring()
            return
        self.inbox.put(Message(epoch=epoch, seq=seq, text=text))


class _Place(Struct):
    sequence: str
    epoch: int
