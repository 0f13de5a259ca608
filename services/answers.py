"""Answers: Structs as JSON, said once where the client knows them, compressed where that is worth it."""

import asyncio
import zlib
from collections.abc import Mapping
from functools import lru_cache
from time import monotonic
from typing import Any

import msgspec
from aiohttp import hdrs, web
from multidict import CIMultiDict

# A reader who takes a write for longer than this, or in all fewer bytes a second, is let go.
SLOWEST, SLOWEST_RATE = 30.0, 64 * 1024
COMPRESSED_FROM = 1024
COMPRESSED_ASIDE = 64 * 1024

_COMPRESSIBLE = (
    *("text/", "application/json", "application/geo+json", "application/x-ndjson"),
    "application/vnd.mapbox-vector-tile",
)


def reply(
    value: Any,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    media: str = "application/json",
) -> web.Response:
    """An answer: Structs and the like as JSON, bytes as they are."""
    content = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return web.Response(body=content, status=status, headers={hdrs.CONTENT_TYPE: media, **(headers or {})})


class Reader:
    """Whom a long answer goes to. TimeoutError for one who hardly reads: it holds a turn that others need."""

    def __init__(self, response: web.StreamResponse) -> None:
        self._response = response
        self._waited = 0.0
        self._told = 0

    async def tell(self, data: bytes) -> None:
        """Write; only the time that the reader takes counts."""
        self._told += len(data)
        began, left = monotonic(), SLOWEST + self._told / SLOWEST_RATE - self._waited
        async with asyncio.timeout(min(SLOWEST, left)):
            await self._response.write(data)
        self._waited += monotonic() - began


def precondition(request: web.Request, header: str = hdrs.IF_MATCH) -> frozenset[str] | None:
    """The entity tags of If-Match or If-None-Match, quotes included, or `*`; None without the header."""
    values = request.headers.getall(header, None)
    return None if values is None else _tags(",".join(values))


@lru_cache(4096)
def _tags(header: str) -> frozenset[str]:
    tags = (tag.strip().removeprefix("W/") for tag in header[:4096].split(","))
    return frozenset(tag.replace('-gzip"', '"') for tag in tags if tag)


async def finish(request: web.Request, response: web.Response, *, kept_tag: bool) -> None:
    """Say 304 where the client has the answer already; else compress it where that is worth it.

    Compressed bytes have a tag of their own. A tag that is sent back in If-Match must stay as it is
    (`kept_tag`), so answers that carry one are not compressed.
    """
    tag = response.headers.get(hdrs.ETAG)
    if response.status == 304 or (tag and _known(request, response, tag)):
        response.set_status(304)
        response.body = None
        _vary(response.headers, hdrs.ACCEPT_ENCODING)
        return
    content = response.body
    if not isinstance(content, bytes) or len(content) < COMPRESSED_FROM or (tag and kept_tag):
        return
    if response.status == 206 or hdrs.CONTENT_ENCODING in response.headers:
        return
    if _compressible(response.content_type):
        await _compress(request, response, content)


def _known(request: web.Request, response: web.Response, tag: str) -> bool:
    if response.status != 200 or request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
        return False
    known = precondition(request, hdrs.IF_NONE_MATCH)
    return known is not None and (tag.removeprefix("W/") in known or "*" in known)


async def _compress(request: web.Request, response: web.Response, content: bytes) -> None:
    _vary(response.headers, hdrs.ACCEPT_ENCODING)
    if not _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING)):
        return
    response.body = await _compressed(content)
    response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    tag = response.headers.get(hdrs.ETAG)
    if tag and not tag.startswith("W/"):
        response.headers[hdrs.ETAG] = tag[:-1] + '-gzip"'


async def _compressed(content: bytes) -> bytes:
    # zlib lets go of the interpreter, so that a large answer does not hold up the small ones.
    if len(content) > COMPRESSED_ASIDE:
        return await asyncio.to_thread(zlib.compress, content, 1, 31)
    return zlib.compress(content, 4, 31)


@lru_cache(1024)
def _compressible(media: str) -> bool:
    return media.startswith(_COMPRESSIBLE) or media.endswith(("+json", "+xml", "javascript", "xml"))


@lru_cache(1024)
def _takes_gzip(accept_encoding: str | None) -> bool:
    for entry in (accept_encoding or "")[:200].split(","):
        name, _, weight = entry.replace(" ", "").partition(";")
        if name.lower() in ("gzip", "*"):
            return weight.lower() not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _vary(headers: CIMultiDict[str], name: str) -> None:
    known = headers.get(hdrs.VARY)
    headers[hdrs.VARY] = f"{known}, {name}" if known else name
