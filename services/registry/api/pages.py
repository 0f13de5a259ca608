"""The network's own pages: the map of its places, each place, and the map as a frame in other sites."""

from typing import Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from schemas import event
from schemas.place import Place
from services import atlas, http, pages, portrait
from services.atlas import Framed, Listed, Paged, Shown, Tiles
from services.http import Route
from services.portrait import Network, Portrait, Step, Target
from services.registry import store
from services.registry.api import points, records
from services.registry.api.places import Version, stored, versions
from services.registry.api.vocabulary import terms
from services.registry.context import NODE, POOL, SETTINGS
from services.registry.exporting import stored_place

# So many versions are listed; all are at `/places/{id}/history`.
MOST_STEPS = 100


class Photos(Struct, frozen=True):
    """`photos=1` shows the photos of the place, from the sites where they are."""

    photos: Literal["1"] | None = None


async def show_map(request: web.Request) -> web.StreamResponse:
    """The map of the network's places for browsers; for programs, the way to what can be asked here."""
    if not pages.wanted(request):
        return await pages.enter(request)
    asked = http.asked(request, Paged)
    return atlas.show(request, await shown(request, asked), asked, tiles(request))


async def show_frame(request: web.Request) -> web.Response:
    """The map of the network's places, to stand inside other sites."""
    asked = http.asked(request, Framed)
    found = await shown(request, asked)
    return atlas.show_framed(request, found, asked, tiles(request), name=asked.name, colour=asked.color)


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
    place = portrait.record(said.place)
    settings = request.app[SETTINGS]
    here = Network(request.app[NODE], settings.name, "", settings.contact)
    facts = portrait.plain({name: value for name, value in place.items() if name != "extensions"})
    told, whole = await _steps(request, said.id)
    shown = Portrait(
        id=said.id,
        here=f"/p/{said.id}",
        place=place,
        facts=facts,
        steps=told,
        whole=whole,
        targets=_targets(request, here, said.id, tuple(facts)),
        licenses=[place["license"]] if "license" in place else [],
        updated=said.updated_at,
        words=await _words(request),
        prefix="/p/",
    )
    return portrait.show(request, shown, {here.node: here})


def _targets(request: web.Request, here: Network, record: str, fields: tuple[str, ...]) -> list[Target]:
    """The network itself, where it takes reports."""
    if "/reports" not in request.app[pages.SITE].paths:
        return []
    return [Target(here.name, "/reports", record, here.contact, fields)]


async def _words(request: web.Request) -> dict[str, str]:
    """What the network's own words are called in the reader's language."""
    language = pages.spoken(request)
    async with request.app[POOL].acquire() as conn:
        said = await terms(conn)
    return {
        f"{term.namespace}:{term.code}": term.labels.get(language)
        or next(iter(term.labels.values()), term.code)
        for term in said
    }


async def _steps(request: web.Request, id: str) -> tuple[list[Step], bool]:
    """The first versions of a place, the latest first, and whether these are all."""
    told: list[Step] = []
    async for version in versions(request.app[POOL], id):
        if len(told) == MOST_STEPS:
            return told[::-1], False
        told.append(_step(version))
    return told[::-1], True


def _step(version: Version) -> Step:
    kind = "changed" if version.type == event.PLACE_PUT else "removed"
    changed = {
        name: (msgspec.json.decode(each.before), msgspec.json.decode(each.after))
        for name, each in version.changed.items()
    }
    return portrait.step(version.time, "erased" if version.erased else kind, changed)


ROUTES = (
    Route("GET", "/", show_map, query=Paged, replies={200: "text/html", 303: None}),
    Route("GET", "/embed", show_frame, query=Framed, replies={200: "text/html"}),
    Route("GET", "/p/{id}", show_place, query=Photos, replies={200: "text/html", 410: None}),
)
