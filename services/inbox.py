"""What RabbitMQ brings of a node's log, until it is applied or the feed is looked at: bounded, not yet believed."""

import asyncio
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from schemas.event import SignedText

# Messages, and bytes of them, that wait to be applied; how many are applied together.
MOST, MOST_BYTES = 2000, 8 * 1024 * 1024
BATCH = 500


class Message(Struct, frozen=True):
    """What RabbitMQ brought, not yet believed."""

    epoch: int
    seq: int
    text: SignedText


class Inbox:
    """What RabbitMQ brings, bounded. A ring of its doorbell means: look at the feed."""

    def __init__(self) -> None:
        self.listening = False
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._rung = False
        self._something = asyncio.Event()

    def put(self, message: Message) -> None:
        """Take a message; where there is no room it is dropped, which is a ring: no other may follow it."""
        size = len(message.text.raw)
        if len(self._messages) >= MOST or self._bytes + size > MOST_BYTES:
            self.ring()
            return
        self._messages.append(message)
        self._bytes += size
        self._something.set()

    def ring(self) -> None:
        """Have the feed looked at, which tells all that these messages could."""
        self._messages.clear()
        self._bytes = 0
        self._rung = True
        self._something.set()

    async def take(self, seconds: float) -> list[Message] | None:
        """What came, in order; None after a ring, or when nothing came for so long."""
        try:
            # Not wait_for: in Python 3.11 it forgets a cancellation that comes with a message.
            async with asyncio.timeout(seconds):
                await self._something.wait()
        except TimeoutError:
            return None
        if self._rung:
            self._rung = False
            self._settle()
            return None
        batch = [self._messages.popleft() for _ in range(min(BATCH, len(self._messages)))]
        self._bytes -= sum(len(message.text.raw) for message in batch)
        self._settle()
        return batch

    def _settle(self) -> None:
        if not self._messages:
            self._something.clear()


def unrepeated(messages: Sequence[Message], size: int) -> list[Message]:
    """Messages beyond a position, without those that repeat what came before them."""
    new: list[Message] = []
    for message in messages:
        if message.seq > size + len(new):
            new.append(message)
    return new
