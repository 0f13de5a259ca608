"""Another holder of a log: its node, or a sync that follows it. Nothing that it says is believed unproven."""

from typing import Protocol

import aiohttp

from schemas.event import MAX_PAGE, Line
from services import fetching, proofs
from services.errors import Unavailable, Untrue

ANSWER = aiohttp.ClientTimeout(total=60, sock_connect=10)
AWAY = (aiohttp.ClientError, TimeoutError, OSError)


class Holder(Protocol):
    """Where events can be had."""

    async def events(self, cursor: str, limit: int) -> list[Line]:
        """Up to so many lines after a cursor; none where it has none."""
        ...


class Remote:
    """A holder at a URL."""

    def __init__(self, client: aiohttp.ClientSession, url: str, node: str) -> None:
        self.client, self.url, self.node = client, url.rstrip("/"), node

    async def events(self, cursor: str, limit: int) -> list[Line]:
        """Lines after a cursor, from what a sync observed, else from the node's own feed."""
        body = await self._read(f"/observed/{self.node}/feed?after={cursor}&limit={min(limit, MAX_PAGE)}")
        body = body or await self._read(f"/feed?after={cursor}&limit={min(limit, MAX_PAGE)}")
        try:
            return list(proofs.page(body).lines) if body else []
        except Untrue:
            return []

    async def _read(self, path: str) -> bytes | None:
        try:
            async with self.client.get(self.url + path, timeout=ANSWER, allow_redirects=False) as response:
                body = await fetching.whole(response, fetching.MOST_PAGE)
        except AWAY as error:
            raise Unavailable(
                "{url} did not answer: {why}", {"url": self.url, "why": str(error) or type(error).__name__}
            ) from error
        return body if response.status == 200 else None
