"""`/collections`: the places as a collection of features, what they cover, and by what they are chosen (OGC API)."""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct
from yarl import URL

from services import http, ledger
from services.http import Route
from services.postgres import Connection
from services.routes import As
from services.sync import cql, items_store
from services.sync.api.items import GEOJSON, public
from services.sync.api.landing import COLLECTION, HTML, JSON, REL, SCHEMA, Hyperlink, Query, hyperlink, itself
from services.sync.api.reading import kept
from services.sync.context import SETTINGS
from services.sync.crs import CRS84, SYSTEMS
from services.sync.items import QUERYABLES, Kind, Property

SPDX = "https://spdx.org/licenses"
GREGORIAN = "http://www.opengis.net/def/uom/ISO-8601/0/Gregorian"
FORMS: Mapping[Kind, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "date-time": {"type": "string", "format": "date-time", "x-ogc-role": "primary-instant"},
}
GEOMETRY = {"title": "geometry", "format": "geometry-point", "x-ogc-role": "primary-geometry"}


class Spatial(Struct, frozen=True):
    """What the places cover: west, south, east, north in degrees."""

    bbox: tuple[tuple[float, float, float, float], ...]
    crs: str = CRS84


class Temporal(Struct, frozen=True):
    """When networks said something of the places: first, and last."""

    interval: tuple[tuple[str, str], ...]
    trs: str = GREGORIAN


class Extent(Struct, frozen=True, omit_defaults=True):
    """What the places cover; while none has a position nothing is said."""

    spatial: Spatial | None = None
    temporal: Temporal | None = None


class Collection(Struct, frozen=True, rename={"item_type": "itemType", "storage_crs": "storageCrs"}):
    """The places as a collection of features; `crs` are the reference systems in which their positions are told."""

    id: str
    title: str
    description: str
    links: tuple[Hyperlink, ...]
    extent: Extent
    item_type: str = "feature"
    crs: tuple[str, ...] = SYSTEMS
    storage_crs: str = CRS84


class Collections(Struct, frozen=True):
    """The collections of this service: there is one."""

    links: tuple[Hyperlink, ...]
    collections: tuple[Collection, ...]


async def list_collections(request: web.Request) -> web.Response:
    """The collections of features that can be read here: there is one, the places."""

    async def answer(conn: Connection) -> bytes:
        return msgspec.json.encode(Collections((itself(request),), (await _collection(request, conn),)))

    return await kept(request, answer)


async def show_collection(request: web.Request) -> web.Response:
    """The places as a collection: what it is, what it covers, and how it is read."""

    async def answer(conn: Connection) -> bytes:
        return msgspec.json.encode(await _collection(request, conn))

    return await kept(request, answer)


async def _collection(request: web.Request, conn: Connection) -> Collection:
    settings, extent = request.app[SETTINGS], await items_store.extent(conn)
    return Collection(
        id="places",
        title=settings.name,
        description=f"Places, each with the networks that speak of it. The database is under {settings.license}.",
        links=_links(request),
        extent=_covered(extent) if extent else Extent(),
    )


def _covered(extent: items_store.Extent) -> Extent:
    return Extent(
        Spatial((extent.box,)),
        Temporal(((ledger.stamp(extent.since), ledger.stamp(extent.until)),)),
    )


def _links(request: web.Request) -> tuple[Hyperlink, ...]:
    license = request.app[SETTINGS].license
    return (
        hyperlink(request, COLLECTION, "self", JSON, "This collection"),
        hyperlink(request, f"{COLLECTION}/items", "items", GEOJSON, "The places"),
        hyperlink(request, f"{COLLECTION}/queryables", "queryables", SCHEMA, "By what places are chosen"),
        hyperlink(
            request, f"{COLLECTION}/queryables", f"{REL}/queryables", SCHEMA, "By what places are chosen"
        ),
        hyperlink(request, "/tiles.json", f"{REL}/tilesets-vector", JSON, "The places as vector tiles"),
        Hyperlink(f"{SPDX}/{license}.html", "license", HTML, license),
    )


async def list_queryables(request: web.Request) -> web.Response:
    """The properties by which places can be chosen, as a JSON Schema.

    Each is a parameter of the items, and a name in their `filter`; the position is one in `filter`.
    """
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": public(request, URL(f"{COLLECTION}/queryables")),
        "type": "object",
        "title": request.app[SETTINGS].name,
        "description": "Properties by which places can be chosen.",
        "properties": {
            cql.GEOMETRY: GEOMETRY,
            **{name: _queryable(each) for name, each in QUERYABLES.items()},
        },
        "additionalProperties": False,
    }
    return http.reply(schema, media=SCHEMA)


def _queryable(found: Property) -> dict[str, Any]:
    return {"title": found.name, "description": found.description, **FORMS[found.kind]}


ROUTES = (
    Route("GET", "/collections", list_collections, query=Query, replies={200: Collections}),
    Route("GET", COLLECTION, show_collection, query=Query, replies={200: Collection}),
    Route(
        *("GET", f"{COLLECTION}/queryables", list_queryables),
        query=Query,
        replies={200: As(SCHEMA, dict[str, Any])},
    ),
)
