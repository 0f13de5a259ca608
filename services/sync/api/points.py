"""`/points` and `/facets`: the places of the view for maps and forms."""

import msgspec
from aiohttp import web
from msgspec import structs

from services import atlas, follow_store, http, pages
from services.atlas import Facets, Option, Points
from services.http import Route
from services.postgres import Connection
from services.sync import items_store, spoken
from services.sync.api.reading import CURSOR, Form, kept, matched
from services.sync.api.selecting import Filters, selection
from services.sync.items_store import Asked

# What is asked for in each facet, without which it is counted, so that others can be added.
OWN = {
    "family": "families",
    "status": "statuses",
    "departement": "departements",
    "network": "networks",
    "license": "licenses",
    "type": "words",
    "label": "labels",
}


async def show_points(request: web.Request) -> web.Response:
    """Places that have a position, for a map, by name."""
    query = http.asked(request, Filters)

    async def answer(conn: Connection) -> bytes:
        asked = await selection(request, conn, query)
        told = Points(
            cursor=request[CURSOR],
            matched=await matched(request, conn, asked),
            unplaced=await items_store.unplaced(conn, asked),
            points=[
                structs.astuple(spot) for spot in await items_store.spots(conn, asked, atlas.MOST_POINTS)
            ],
        )
        return msgspec.json.encode(told)

    return await kept(request, answer)


async def show_facets(request: web.Request) -> web.Response:
    """What the places can be chosen by, with how many there are of each, most first."""
    query = http.asked(request, Filters)

    async def answer(conn: Connection) -> bytes:
        asked = await selection(request, conn, query)
        return msgspec.json.encode(
            Facets(matched=await matched(request, conn, asked), facets=await facets(request, conn, asked))
        )

    return await kept(request, answer, Form(language=pages.spoken(request)))


async def facets(request: web.Request, conn: Connection, asked: Asked) -> dict[str, list[Option]]:
    """What these places can be chosen by, in the reader's language."""
    language = pages.spoken(request)
    named = {"network": await networks(conn), "type": await spoken.labels(conn, language)}
    found = {}
    for facet, own in OWN.items():
        without = structs.replace(asked, **{own: None if own == "words" else ()})
        counts = await items_store.counts(conn, without, facet, atlas.MOST_OPTIONS)
        found[facet] = atlas.options(facet, counts, language, named.get(facet, {}))
    return found


async def networks(conn: Connection) -> dict[str, str]:
    """The names of the networks that are listened to, as they call themselves."""
    return {node.node: node.name or node.alias for node in await follow_store.nodes(conn)}


ROUTES = (
    Route("GET", "/points", show_points, query=Filters, replies={200: Points}),
    Route("GET", "/facets", show_facets, query=Filters, replies={200: Facets}),
)
