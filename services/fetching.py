"""Reading over HTTP from other nodes: bounded in time and bytes, following no redirect."""

import aiohttp

from schemas.event import MAX_EVENT, MAX_PAGE
from services import interim
from services.errors import Untrue

# For how long a reader may ask a feed to wait for its next event.
LONGEST_WAIT = 25.0
# Whoever says nothing for longer than we asked to wait has gone, though the connection may not know it.
ANSWER = aiohttp.ClientTimeout(total=LONGEST_WAIT + 30, sock_connect=10, sock_read=LONGEST_WAIT + 5)
STREAMED = aiohttp.ClientTimeout(total=3600, sock_connect=10, sock_read=30)
# As many events of a registry as we ask for, each as long as it may be, with its escapes.
MOST_PAGE = MAX_PAGE * MAX_EVENT * 3 // 2
MOST_DESCRIPTORS = 16 * 1024 * 1024


def client() -> aiohttp.ClientSession:
    """The HTTP client with which logs are read."""
    return aiohttp.ClientSession(
        timeout=ANSWER,
        auto_decompress=True,
        headers={"Accept-Encoding": "gzip", "User-Agent": "maillage"},
        response_class=interim.Response,
        connector=aiohttp.TCPConnector(limit=0, limit_per_host=4),
    )


def opened(
    client: aiohttp.ClientSession, url: str, timeout: aiohttp.ClientTimeout
) -> "aiohttp.client._RequestContextManager":
    """A request that follows no redirect and fails on anything but 200."""
    return client.get(url, timeout=timeout, allow_redirects=False, raise_for_status=_accept)


async def whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of an answer; Untrue once it is longer than so many bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise Untrue("The answer is larger than any page may be.")
    return bytes(body)


async def _accept(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise aiohttp.ClientResponseError(
            response.request_info, response.history, status=response.status, message=response.reason or ""
        )
