"""`/points` and `/facets`: the network's own places for its map."""

from hashlib import sha256

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from services import atlas, http, ledger_store, pages
from services.atlas import Facets, Option, Points, Query
from services.canonical import fold
from services.http import Route
from services.postgres import Connection
from services.registry import store
from services.registry.api import records
from services.registry.context import POOL, SETTINGS
from services.registry.store import Asked

COUNTED = ("family", "status", "departement", "license", "type")
# The choice that a facet is counted without.
OWN = {"family": "families", "status": "statuses", "departement": "departements", "license": "licenses"}


class Named(Struct, frozen=True):
    """What a map says of a place."""

    name: str
    status: str


def selection(request: web.Request, query: Query) -> Asked:
    """The places that a query asks for."""
    return Asked(
        statuses=query.status,
        families=query.family,
        words=tuple(fold(query.q or "").split()),
        departements=query.departement,
        licenses=query.license,
        near=atlas.near(query),
        home=request.app[SETTINGS].license,
    )


async def cursor(conn: Connection) -> str:
    """The position of the log that is shown."""
    head = await ledger_store.head(conn)
    return f"{head.epoch}.{head.size}" if head else "0.0"


async def show_points(request: web.Request) -> web.Response:
    """Places that have a position, for a map."""
    asked = selection(request, http.asked(request, Query))
    async with request.app[POOL].acquire() as conn:
        at = await cursor(conn)
        tag = f'"{sha256(f"{at} {request.query_string}".encode()).hexdigest()[:32]}"'
        if tag in (http.precondition(request, "If-None-Match") or ()):
            return web.Response(status=304, headers={"ETag": tag})
        matched, unplaced = await store.matched(conn, asked)
        found = await store.points(conn, asked, atlas.MOST_POINTS)
    told = Points(
        cursor=at, matched=matched, unplaced=unplaced, points=[_point(request, one) for one in found]
    )
    return http.reply(told, headers={"ETag": tag})


def _point(request: web.Request, one: store.Point) -> tuple[float, float, str, str, str, str]:
    named = msgspec.json.decode(one.body, type=Named)
    id = records.full_id(request, one.id)
    return one.lon, one.lat, id, named.name, named.status, ";".join(one.families)


async def facets(request: web.Request, conn: Connection, asked: Asked) -> dict[str, list[Option]]:
    """What these places can be chosen by."""
    found = {}
    for facet in COUNTED:
        without = structs.replace(asked, **{OWN[facet]: ()}) if facet in OWN else asked
        counts = await store.counted(conn, without, facet, atlas.MOST_OPTIONS)
        found[facet] = atlas.options(facet, counts, pages.spoken(request))
    return found


async def show_facets(request: web.Request) -> web.Response:
    """What the places can be chosen by, with how many there are of each."""
    asked = selection(request, http.asked(request, Query))
    async with request.app[POOL].acquire() as conn:
        matched, _ = await store.matched(conn, asked)
        return http.reply(Facets(matched=matched, facets=await facets(request, conn, asked)))


ROUTES = (
    Route("GET", "/points", show_points, query=Query, replies={200: Points}),
    Route("GET", "/facets", show_facets, query=Query, replies={200: Facets}),
)
