"""Changes in and out: by polling, and as a stream."""

import asyncio
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from schemas.subscription import Change, Changes, Filter
from services import http
from services.errors import Conflict, Failure, Fault, Gone, Malformed
from services.http import Route
from services.languages import choose, say
from services.notify import reading
from services.notify.context import FOLLOWING, POOL, SETTINGS, STREAMS
from services.notify.reading import Page, cursor
from services.notify.store import Position
from services.parameters import After
from services.postgres import Pool
from services.routes import RESUMED

SSE = "text/event-stream"
# A page of a stream: with places of the usual size it fits the socket's buffer several times over.
STREAMED = 100


class Polling(Filter, frozen=True):
    """Where to read on from (strictly after), how many changes, how many seconds to wait for one; a filter."""

    since: After = "0.0"
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    wait: Annotated[float, Meta(ge=0, le=30)] = 0


class Streaming(Filter, frozen=True):
    """A filter, and where to go on from for clients that cannot send `Last-Event-ID`; else from now on."""

    since: After | None = None


async def list_changes(request: web.Request) -> web.Response:
    """Changes after a cursor, in order. Poll again with `cursor`; with `wait` the answer comes with the change."""
    asked = http.asked(request, Polling)
    wanted, since = selection(asked), reading.position(asked.since)
    bell = request.app[FOLLOWING].bell
    found = await reading.next_page(request.app[POOL], bell, wanted, since, asked.limit, asked.wait)
    return http.reply(Changes(changes=found.changes, cursor=cursor(found.cursor), more=found.more))


def selection(asked: Filter) -> Filter:
    """The filter of a question; Malformed when its box cannot be."""
    if asked.bbox is not None and not -90 <= asked.bbox[1] <= asked.bbox[3] <= 90:
        fault = Fault("bbox", "Give west,south,east,north in degrees; south is not above north.")
        raise Malformed("The query is not right.", faults=(fault,))
    return Filter(asked.network, asked.departement, asked.family, asked.bbox)


async def stream_changes(request: web.Request) -> web.StreamResponse:
    """Changes as server-sent events as they happen; `id:` is the cursor from which `Last-Event-ID` resumes.

    `change` is a change. `checkpoint` moves the cursor where nothing matched. `reset` says that one cannot go
    on from the cursor that was given: read everything anew, the stream goes on from where it stands now.
    """
    asked = http.asked(request, Streaming)
    wanted = selection(asked)
    stream = Stream(request)
    since, first = await _begin(request, request.headers.get("Last-Event-ID") or asked.since)
    with request.app[STREAMS].track_inprogress():
        await stream.open(first)
        while True:
            since = await stream.tell(wanted, since)


class Stream:
    """A stream of one reader. One who does not read is let go: she resumes by her cursor."""

    def __init__(self, request: web.Request) -> None:
        headers = {"Content-Type": SSE, "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        self.request, self.response = request, web.StreamResponse(headers=headers)
        self.app, self.settings = request.app, request.app[SETTINGS]

    async def open(self, first: bytes) -> None:
        """Begin, with what there is to say first."""
        await self.response.prepare(self.request)
        await self._write(b": bonjour\n\n" + first)

    async def tell(self, wanted: Filter, since: Position) -> Position:
        """Send what comes next, or a sign of life after a silence; where to go on."""
        wait, bell = self.settings.silence_s, self.app[FOLLOWING].bell
        found = await reading.next_page(self.app[POOL], bell, wanted, since, STREAMED, wait)
        await self._write(_blocks(found, since))
        return found.cursor

    async def _write(self, data: bytes) -> None:
        async with asyncio.timeout(self.settings.slow_s):
            await self.response.write(data)


async def _begin(request: web.Request, start: str | None) -> tuple[Position, bytes]:
    """Where a stream starts, and the `reset` that says why it is not where it was asked to."""
    pool: Pool = request.app[POOL]
    async with pool.acquire() as conn:
        here = await reading.known(conn)
    if start is None:
        return here.head, b""
    try:
        since = reading.position(start)
        reading.check(since, here)
    except (Malformed, Conflict, Gone) as failure:
        said = _why(failure, request.headers.get("Accept-Language"))
        data = {**said, "cursor": cursor(here.head), "snapshot": here.snapshot}
        return here.head, _block("reset", here.head, data)
    return since, b""


def _why(failure: Failure, accept_language: str | None) -> dict[str, Any]:
    detail = say(failure.detail, failure.arguments, choose(accept_language))
    return {"code": failure.extra["code"], "detail": detail}


def _blocks(found: Page, since: Position) -> bytes:
    """The events of a page. Browsers ignore an `id:` without data: a moved cursor is an event of its own."""
    told = [_block("change", reading.position(change.cursor), change) for change in found.changes]
    if not told and found.cursor == since:
        return b": toujours la\n\n"
    if not told or reading.position(found.changes[-1].cursor) != found.cursor:
        told.append(_block("checkpoint", found.cursor, {"cursor": cursor(found.cursor)}))
    return b"".join(told)


def _block(kind: str, position: Position, data: Change | dict[str, Any]) -> bytes:
    # Extensions are kept as their sender wrote them, line feeds between their members too.
    lines = b"".join(b"data: %b\n" % line for line in msgspec.json.encode(data).splitlines())
    return f"id: {cursor(position)}\nevent: {kind}\n".encode() + lines + b"\n"


ROUTES = (
    Route("GET", "/changes", list_changes, query=Polling, replies={200: Changes}),
    Route("GET", "/changes/stream", stream_changes, query=Streaming, replies={200: SSE}, headers=(RESUMED,)),
)
