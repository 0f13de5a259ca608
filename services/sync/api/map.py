"""`/` and `/embed`: the places of the view on a map, beside their list."""

from typing import Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from schemas.place import AnyCode
from services import atlas, http, pages
from services.atlas import Colour, Listed, Named, Option, Shown, Tiles
from services.http import Route
from services.postgres import Connection
from services.sync import items_store, spoken
from services.sync.api import landing, points
from services.sync.api.items import after, token
from services.sync.api.reading import matched, moment
from services.sync.api.selecting import Filters, Short, Year, selection
from services.sync.context import SETTINGS, TRUST
from services.sync.items_store import Order, Page
from services.sync.observing import Field

BY_NAME = (Order("name"),)


class Chosen(atlas.Paged, frozen=True):
    """Which places a map shows, and which page of their list."""

    network: tuple[str, ...] = ()
    type: tuple[AnyCode, ...] = ()
    area: str | None = None
    label: tuple[AnyCode, ...] = ()
    insee: tuple[str, ...] = ()
    opened_year: Year | None = None
    closed_year: Year | None = None
    said: tuple[Field, ...] = ()
    unsaid: tuple[Field, ...] = ()
    verified: Short | None = None
    datetime: Short | None = None


class Mapped(Chosen, frozen=True):
    """Which places the map shows, and which page of their list; `f=json` is for programs."""

    f: Literal["json"] | None = None


class Framed(Chosen, frozen=True):
    """Which places a framed map shows, under which name and in which colour (`#0b5d51`, with or without `#`)."""

    name: Named | None = None
    color: Colour | None = None


ASKED = tuple(name for name in Filters.__struct_fields__ if name in Chosen.__struct_fields__)


class _Named(Struct):
    name: str
    status: str
    families: str | None
    city: str | None


class _Feature(Struct):
    id: str
    geometry: msgspec.Raw
    properties: _Named


async def show_map(request: web.Request) -> web.Response:
    """The map of the view for browsers; for programs, the way to what can be asked here."""
    query = http.asked(request, Mapped)
    if query.f == "json" or not pages.wanted(request):
        return landing.landed(request)
    return atlas.show(request, await shown(request, query), query, tiles(request))


async def show_frame(request: web.Request) -> web.Response:
    """The map of the view, to stand inside other sites."""
    query = http.asked(request, Framed)
    found = await shown(request, query)
    return atlas.show_framed(request, found, query, tiles(request), name=query.name, colour=query.color)


def tiles(request: web.Request) -> Tiles | None:
    """The background that the operator chose."""
    settings = request.app[SETTINGS]
    return Tiles(settings.tiles_url, settings.tiles_attribution) if settings.tiles_url else None


async def shown(request: web.Request, query: Chosen) -> Shown:
    """What the map page shows."""
    # Without scripts a form sends what is left empty as well.
    filters = Filters(**{name: said for name in ASKED if (said := getattr(query, name))})
    page = Page(order=BY_NAME, after=after(query.page, BY_NAME), limit=atlas.PAGE + 1)
    async with moment(request) as conn:
        asked = await selection(request, conn, filters)
        rows = await items_store.page(conn, asked, page)
        return Shown(
            title=request.app[SETTINGS].name,
            places=[_listed(row.item) for row in rows[: atlas.PAGE]],
            matched=await matched(request, conn, asked),
            unplaced=await items_store.unplaced(conn, asked),
            next=token(rows[atlas.PAGE - 1]) if len(rows) > atlas.PAGE else None,
            facets=await points.facets(request, conn, asked),
            prefix="/places/",
            areas=await areas(conn),
            networks=sum(node.mode == "follow" for node in request.app[TRUST].now.nodes),
        )


async def areas(conn: Connection) -> list[Option]:
    """The named areas that can be chosen."""
    return [Option(value=record, label=name, count=0) for record, name in await spoken.titles(conn)]


def _listed(item: bytes) -> Listed:
    found = msgspec.json.decode(item, type=_Feature)
    said = found.properties
    return Listed(
        id=found.id,
        href=f"/places/{found.id}",
        name=said.name,
        status=said.status,
        families=tuple((said.families or "").split(";")) if said.families else (),
        city=said.city,
        placed=bytes(found.geometry) != b"null",
    )


ROUTES = (
    Route("GET", "/", show_map, query=Mapped, replies={200: (landing.Landing, "text/html")}),
    Route("GET", "/embed", show_frame, query=Framed, replies={200: "text/html"}),
)
