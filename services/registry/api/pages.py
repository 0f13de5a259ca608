"""The network's own pages: the map of its places, each place, and the map as a frame in other sites."""

import json

import msgspec
from aiohttp import web
from markupsafe import Markup

from schemas.place import Address, Place
from services import atlas, http, pages
from services.atlas import Framed, Listed, Paged, Shown, Tiles
from services.http import Route
from services.registry import rendering, store
from services.registry.api import points, records
from services.registry.api.places import stored
from services.registry.context import NODE, POOL, SETTINGS
from services.registry.exporting import stored_place


async def show_map(request: web.Request) -> web.StreamResponse:
    """The map of the network's places for browsers; for programs, the way to what can be asked here."""
    if not pages.wanted(request):
        return await pages.enter(request)
    asked = http.asked(request, Paged)
    return atlas.show(request, await shown(request, asked), asked, tiles(request))


async def show_frame(request: web.Request) -> web.Response:
    """The map of the network's places, to stand inside other sites."""
    asked = http.asked(request, Framed)
    return atlas.show_framed(request, await shown(request, asked), asked, tiles(request))


def tiles(request: web.Request) -> Tiles | None:
    """The background that the operator chose."""
    settings = request.app[SETTINGS]
    return Tiles(settings.tiles_url, settings.tiles_attribution) if settings.tiles_url else None


async def shown(request: web.Request, query: Paged) -> Shown:
    """What the map page shows."""
    asked = points.selection(request, query)
    async with request.app[POOL].acquire() as conn:
        matched, unplaced = await store.matched(conn, asked)
        rows = await store.by_name(conn, asked, after=records.after_page(query.page), limit=atlas.PAGE + 1)
        facets = await points.facets(request, conn, asked)
    page, token = records.paged(rows, atlas.PAGE)
    return Shown(
        title=request.app[SETTINGS].name,
        places=[
            _listed(records.full_id(request, row.id), msgspec.json.decode(row.body, type=Place))
            for row in page
        ],
        matched=matched,
        unplaced=unplaced,
        next=token,
        facets=facets,
        prefix="/p/",
    )


def _listed(id: str, place: Place) -> Listed:
    return Listed(
        id=id,
        href=f"/p/{id}",
        name=place.name,
        status=place.status,
        families=place.families,
        city=place.address.city if place.address else None,
        placed=place.position is not None,
    )


async def show_place(request: web.Request) -> web.Response:
    """A place of the network as a page."""
    row = await stored(request, records.own_id(request))
    said = stored_place(request.app[NODE], row)
    linked = {"@context": "https://schema.org", **rendering.node(said)}
    # Inside of a script element, no text may end it.
    graph = json.dumps(linked, ensure_ascii=False).replace("<", "\\u003c")
    return pages.page(
        request,
        "p.html",
        place=said.place,
        title=request.app[SETTINGS].name,
        contact=request.app[SETTINGS].contact,
        graph=Markup(graph),  # noqa: S704 - escaped above
        address=said.place.address or Address(),
        label=lambda facet, value: atlas.label(facet, value, pages.spoken(request)),
    )


ROUTES = (
    Route("GET", "/", show_map, query=Paged, replies={200: "text/html", 303: None}),
    Route("GET", "/embed", show_frame, query=Framed, replies={200: "text/html"}),
    Route("GET", "/p/{id}", show_place, replies={200: "text/html", 410: None}),
)
