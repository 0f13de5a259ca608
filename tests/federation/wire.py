"""A wire between two parts that a test cuts, freezes or closes: what goes over it is real TCP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from yarl import URL


class Wire:
    """A port that leads to another one.

    `open` says whether anything gets through: while it is not, new connections are taken and hear nothing.
    """

    def __init__(self, to: int) -> None:
        self.to, self.port = to, 0
        self.open = True
        self.opened = self.closed = 0
        self._links: set[_Link] = set()
        self._carrying: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The wire's end as the URL of a service."""
        return f"http://127.0.0.1:{self.port}"

    def instead(self, url: str) -> str:
        """The same URL, over this wire."""
        return str(URL(url).with_port(self.port))

    @property
    def links(self) -> int:
        """How many connections are open."""
        return len(self._links)

    def close(self) -> int:
        """End every connection at once, as a machine does that loses its state; how many."""
        ended = len(self._links)
        for link in list(self._links):
            link.abort()
        self.closed += ended
        return ended

    def freeze(self) -> int:
        """Forward nothing more on the connections there are, and close none of them; how many."""
        for link in self._links:
            link.flows.clear()
        return len(self._links)

    def cut(self) -> int:
        """Let nothing through any more, on no connection; how many there were."""
        self.open = False
        return self.freeze()

    def mend(self) -> None:
        """Let everything through again, what was held up first."""
        self.open = True
        for link in self._links:
            link.flows.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what comes over one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        self.opened += 1
        link = _Link(reader, writer)
        if not self.open:
            link.flows.clear()
        self._links.add(link)
        try:
            await link.carry(self.to)
        finally:
            link.abort()
            self._links.discard(link)
            self._carrying.discard(task)

    async def end(self) -> None:
        """Leave nothing behind."""
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)


class _Link:
    """One connection and the one it leads to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.other: asyncio.StreamWriter | None = None
        self.flows = asyncio.Event()
        self.flows.set()

    async def carry(self, port: int) -> None:
        """Both ways, until either side ends."""
        with suppress(OSError):
            await self.flows.wait()
            far, self.other = await asyncio.open_connection("127.0.0.1", port)
            ways = [
                asyncio.create_task(self._carry(self.reader, self.other)),
                asyncio.create_task(self._carry(far, self.writer)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await self.flows.wait()
            writer.write(data)
            await writer.drain()

    def abort(self) -> None:
        """End both sides without a word."""
        for writer in (self.writer, self.other):
            if writer is not None:
                writer.transport.abort()


@asynccontextmanager
async def wire(to: int) -> AsyncIterator[Wire]:
    """A wire to a port of this machine."""
    made = Wire(to)
    server = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.end()
