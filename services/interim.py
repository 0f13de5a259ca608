"""Answers of strangers, of which a server may send some before the one that counts (1xx): few, or it is an attack."""

import aiohttp
from aiohttp.connector import Connection

MOST = 10


class Response(aiohttp.ClientResponse):
    """aiohttp's answer, that waits for no more than a few interim ones.

    aiohttp reads them for ever, and lets nobody else work while they come quickly.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the answer; ClientConnectionError where there are too many before it."""
        protocol = connection.protocol
        assert protocol is not None  # noqa: S101 - a connection that is handed out has one
        read, left = protocol.read, MOST + 1

        async def bounded() -> object:
            nonlocal left
            left -= 1
            if left < 0:
                raise aiohttp.ClientConnectionError("the server sends interim answers without end")
            return await read()

        protocol.read = bounded  # type: ignore[method-assign, assignment] # this connection's alone
        try:
            return await super().start(connection)
        finally:
            del protocol.read
