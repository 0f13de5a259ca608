"""The log over HTTP: who we are, the feed, the snapshot, the checkpoint. Registry and sync serve the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from schemas.event import MAX_PAGE, SignedText
from schemas.node import Signed as SignedDescriptor
from services import http, ledger, ledger_store
from services.answers import SLOWEST, Reader
from services.bell import Bell
from services.errors import Unavailable
from services.http import Route
from services.ledger import Page, Pen
from services.ledger_store import Signed
from services.parameters import After
from services.postgres import Pool
from services.routes import RESUMED

NDJSON = "application/x-ndjson"
SSE = "text/event-stream"
SILENCE = 15.0
PATIENCE = 10.0
# Another process may have written: its bell is not ours.
GLANCE = 1.0


class Published(Struct, frozen=True):
    """What serving a log needs."""

    pool: Pool
    pen: Pen
    bell: Bell
    snapshots: asyncio.Semaphore


LEDGER = web.AppKey("ledger", Published)


class Reading(Struct, frozen=True):
    """Where to read from (`<epoch>.<seq>`, strictly after), how many events, how many seconds to wait for one."""

    after: After = "0.0"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE
    wait: Annotated[float, Meta(ge=0, le=30)] = 0


class Resuming(Struct, frozen=True):
    """Where to go on from, for clients that cannot send `Last-Event-ID`."""

    after: After | None = None


async def show_descriptor(request: web.Request) -> web.Response:
    """The descriptor in force: name, keys, addresses."""
    async with request.app[LEDGER].pool.acquire() as conn:
        chain = await ledger.descriptors(conn)
    if not chain:
        raise Unavailable("This node has no identity yet: run `key init` first.")
    return http.reply(chain[-1])


async def list_descriptors(request: web.Request) -> web.Response:
    """All descriptors, one a line, oldest first."""
    async with request.app[LEDGER].pool.acquire() as conn:
        chain = await ledger.descriptors(conn)
    return http.reply(b"".join(msgspec.json.encode(d) + b"\n" for d in chain), media=NDJSON)


async def next_page(served: Published, after: tuple[int, int], limit: int, wait: float) -> Page:
    """A page after a position; where it would be empty, the first that is not within `wait` seconds."""
    deadline = monotonic() + wait
    page = await ledger.page(served.pool, after=after, limit=limit)
    if page.events or wait <= 0:
        return page
    await _grown(served, after[1], deadline)
    return await ledger.page(served.pool, after=after, limit=limit)


async def _grown(served: Published, size: int, deadline: float) -> None:
    """Return when the log is longer than this, or time is up. However many wait, each looks at the head only."""
    while (left := deadline - monotonic()) > 0:
        heard = served.bell.heard
        async with served.pool.acquire() as conn:
            if await ledger_store.size(conn) > size:
                return
        await served.bell.wait(heard, min(GLANCE, left))


async def read_feed(request: web.Request) -> web.Response:
    """Events after a position, in order, closed by a signed checkpoint."""
    asked = http.asked(request, Reading)
    after = ledger.position(asked.after)
    page = await next_page(request.app[LEDGER], after, asked.limit, asked.wait)
    return http.reply(b"".join(page.lines()), media=NDJSON)


async def show_checkpoint(request: web.Request) -> web.Response:
    """The latest checkpoint with a state root."""
    async with request.app[LEDGER].pool.acquire() as conn:
        kept = await ledger_store.complete_checkpoint(conn)
    if kept is None:
        raise Unavailable("This node has no identity yet: run `key init` first.")
    return http.reply(ledger.signed_text(kept))


async def read_snapshot(request: web.Request) -> web.StreamResponse:
    """The latest event of every record at one moment; go on with the feed after its size."""
    served = request.app[LEDGER]
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    async with turn(served), ledger.snapshot(served.pool, served.pen) as (head, lines):
        await response.prepare(request)
        reader = Reader(response)
        await reader.tell(msgspec.json.encode(head) + b"\n")
        async for chunk in joined(lines):
            await reader.tell(chunk)
    await response.write_eof()
    return response


@asynccontextmanager
async def turn(served: Published) -> AsyncIterator[None]:
    """One of the few that read a snapshot: each holds a connection to the database. Unavailable for the rest."""
    try:
        async with asyncio.timeout(PATIENCE):
            await served.snapshots.acquire()
    except TimeoutError:
        raise Unavailable("Try again in a moment.", extra={"retry_after": 30}) from None
    try:
        yield
    finally:
        served.snapshots.release()


async def joined(lines: AsyncIterator[bytes], size: int = 256 * 1024) -> AsyncIterator[bytes]:
    """Lines in chunks of about so many bytes."""
    chunk = bytearray()
    async for line in lines:
        chunk += line
        if len(chunk) >= size:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


async def _write(response: web.StreamResponse, data: bytes) -> None:
    """Write, and let go of a reader that does not read: it resumes by its cursor."""
    async with asyncio.timeout(SLOWEST):
        await response.write(data)


async def stream_feed(request: web.Request) -> web.StreamResponse:
    """The feed as server-sent events: each line as it is written, `id:` is the cursor to resume from."""
    served = request.app[LEDGER]
    start = request.headers.get("Last-Event-ID") or http.asked(request, Resuming).after
    after = await _now(served) if start is None else ledger.position(start)
    await ledger.page(served.pool, after=after, limit=1)
    response = web.StreamResponse(headers={"Content-Type": SSE, "Cache-Control": "no-cache"})
    await response.prepare(request)
    await _write(response, b": bonjour\n\n")
    while True:
        page = await next_page(served, after, 200, SILENCE)
        await _write(response, b"".join(map(_block, page.events)) or b": toujours la\n\n")
        if page.events:
            after = (page.events[-1].epoch, page.events[-1].seq)


async def _now(served: Published) -> tuple[int, int]:
    async with served.pool.acquire() as conn:
        head = await ledger_store.head(conn)
    return (head.epoch, head.size) if head else (0, 0)


def _block(event: Signed) -> bytes:
    return b"id: %d.%d\nevent: event\ndata: %b\n" % (event.epoch, event.seq, ledger.line(event))


ROUTES = (
    Route("GET", "/.well-known/maillage", show_descriptor, replies={200: SignedDescriptor}),
    Route("GET", "/descriptors", list_descriptors, replies={200: NDJSON}),
    Route("GET", "/feed", read_feed, query=Reading, replies={200: NDJSON}),
    Route("GET", "/feed/live", stream_feed, query=Resuming, replies={200: SSE}, headers=(RESUMED,)),
    Route("GET", "/snapshot", read_snapshot, replies={200: NDJSON}),
    Route("GET", "/checkpoint", show_checkpoint, replies={200: SignedText}),
)
