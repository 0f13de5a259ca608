"""A service that is told to end ends, even where a library forgets that it was told."""

import asyncio

from aiohttp import web
from msgspec import Struct

from services.run import at_work, keep


class Anywhere(Struct):
    """Where the service of this test listens."""

    host: str = "127.0.0.1"
    port: int = 0
    max_connections: int = 10


async def test_a_forgotten_cancellation_is_remembered() -> None:
    """A loop whose cancellation was turned into weather ends with its service all the same."""
    begun, forgotten = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            forgotten.set()
            raise ConnectionError("as wait_for does when its future fails at that moment") from None

    async def loop(app: web.Application) -> None:
        await keep("forgetful", wait, (ConnectionError,))

    async with asyncio.timeout(10):
        async with at_work(web.Application(), {"forgetful": loop}, Anywhere()):
            await begun.wait()
    assert forgotten.is_set()
