"""`/exports`: all places of the view as a file, now or at a past time."""

from collections.abc import AsyncIterator

from aiohttp import web

from schemas.view import ViewPut
from services import http, ledger
from services.answers import Reader
from services.http import Route
from services.ledger_http import LEDGER, NDJSON, joined, turn
from services.postgres import Connection
from services.sync import history_store, items
from services.sync.api import past
from services.sync.api.history import said
from services.sync.api.reading import moment
from services.sync.api.stats import Query
from services.sync.history_store import Shown


async def export_places(request: web.Request) -> web.StreamResponse:
    """All places as flat GeoJSON features, one a line, by common id.

    `Merge-Cursor` says at which position of the log, so that reading on after it misses nothing and repeats
    nothing; with `as_of`, `As-Of` says at which time.
    """
    when = http.asked(request, Query).as_of
    headers = {
        "Content-Type": NDJSON,
        "Content-Disposition": 'attachment; filename="places.geojsonl"',
    }
    async with turn(request.app[LEDGER]), moment(request) as conn:
        lines = history_store.every_item(conn)
        if when is not None:
            lines, headers["As-Of"] = await _then(conn, request, when)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        reader = Reader(response)
        async for chunk in joined(line + b"\n" async for line in lines):
            await reader.tell(chunk)
    await response.write_eof()
    return response


async def _then(conn: Connection, request: web.Request, when: str) -> tuple[AsyncIterator[bytes], str]:
    """The places at a time, and the time of the last event until then."""
    at = await past.position(conn, request, when)
    head = await ledger.current(conn)
    time = ledger.stamp(at.time)
    if at.seq == head.size:
        return history_store.every_item(conn), time
    await past.remembered(conn, head, at)
    shown = history_store.every_place(conn, head.node, at.seq)
    return (_line(place) async for place in shown), time


def _line(place: Shown) -> bytes:
    if place.raw is None or place.time is None:
        return place.item or b""
    return items.told(said(place.raw, ViewPut), ledger.stamp(place.time))


ROUTES = (Route("GET", "/exports/places.geojsonl", export_places, query=Query, replies={200: NDJSON}),)
