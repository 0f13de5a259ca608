"""Questions over HTTP to one address: bounded in time and bytes, following no redirect, patient with bad weather."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import aiohttp
import msgspec
from yarl import URL

from maillage.problems import Failure, Unreachable, Unusable, problem
from maillage.release import __version__
from maillage.weather import Weather

T = TypeVar("T")
Query = Mapping[str, str]

# For how long a server is asked to wait for the next change.
LONGEST_WAIT = 25.0
# Whoever says nothing for longer than we asked to wait has gone, though the connection may not know it.
ANSWER = aiohttp.ClientTimeout(total=300, sock_connect=10, sock_read=LONGEST_WAIT + 10)
FILE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
# What one answer may have: the longest page of a feed, as the protocol has it.
MOST = 72 * 1024 * 1024
MOST_PROBLEM = 64 * 1024

WEATHER = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError, TimeoutError)


class Door:
    """The way to one address. `patience`: for how many seconds bad weather is waited out."""

    def __init__(self, url: str, *, language: str, patience: float) -> None:
        self.base, self.patience = base(url), patience
        self._headers = {
            "User-Agent": f"maillage/{__version__}",
            "Accept": "application/json, */*;q=0.5",
            "Accept-Language": language,
        }
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Be ready for questions."""
        # Services close what is idle for ten seconds: none of those connections may be used again.
        connector = aiohttp.TCPConnector(limit_per_host=4, keepalive_timeout=4)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=ANSWER)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def ask(
        self, path: str, query: Query, read: Callable[[bytes], T], *, patience: float | None = None
    ) -> T:
        """What `read` makes of the answer; Problem, Unreachable or Unusable where there is none."""
        weather = Weather(self.patience if patience is None else patience)
        while True:
            try:
                async with self.opened(path, query) as response:
                    return read(await _whole(response, MOST))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Unusable(f"{self.base.origin()}: {path} is something else: {error}") from error
            except Failure as trouble:
                await weather.outlast(trouble)

    @asynccontextmanager
    async def opened(
        self,
        path: str,
        query: Query,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout = ANSWER,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of success, its body not yet read; a Failure where there is none, or while it is read."""
        if self._session is None:
            raise RuntimeError("A client answers inside its `async with`.")
        url = self.base.joinpath(path, encoded=True)
        try:
            async with self._session.get(
                url, params=query, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                await _accept(response)
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unusable(f"{url.origin()}: {error}") from error
        except WEATHER as error:
            raise Unreachable(f"{url.origin()}: {_why(error)}") from error
        except aiohttp.ClientError as error:
            raise Unusable(f"{url.origin()} does not speak HTTP as we know it: {error}") from error


def base(url: str) -> URL:
    """The address below which everything is asked; ValueError where it cannot be one."""
    found = URL(url)
    if found.scheme not in ("http", "https") or not found.host or found.query_string:
        raise ValueError(f"An address looks like https://vue.exemple.fr, and not like {url!r}.")
    return found.with_fragment(None).with_path(found.path.rstrip("/"))


async def _accept(response: aiohttp.ClientResponse) -> None:
    if response.status in (200, 206):
        return
    if 300 <= response.status < 400:
        where = response.headers.get("Location", "nowhere")
        raise Unusable(f"{response.url} leads to {where}: ask there, if you trust it.")
    body = await _whole(response, MOST_PROBLEM)
    raise problem(response.status, response.reason or "", response.headers, body)


def _why(error: BaseException) -> str:
    """What the weather is, without what only the library that met it wants to know."""
    match error:
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or str(error.os_error)
        case aiohttp.ClientPayloadError():
            return "the answer was cut"
        case TimeoutError():
            return "nothing came for too long"
    return str(error) or type(error).__name__


async def _whole(response: aiohttp.ClientResponse, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise Unusable(f"{response.url} answers more than {most} bytes.")
    return bytes(body)
