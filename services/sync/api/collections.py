"""`/collections`: the places as a collection of features, where they lie, and by what they are chosen (OGC API)."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct
from yarl import URL

from services import http
from services.http import Route
from services.openapi import sayable
from services.routes import As
from services.sync import landing_store
from services.sync.api import items
from services.sync.api.items import GEOJSON, public
from services.sync.api.landing import COLLECTION, HTML, JSON, REL, SCHEMA, Hyperlink, Query, hyperlink, itself
from services.sync.api.reading import moment
from services.sync.context import SETTINGS

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
SPDX = "https://spdx.org/licenses"
# Parameters of the items that name no property of a place.
NO_PROPERTIES = frozenset(
    {
        "bbox",
        "bbox-crs",
        "crs",
        "datetime",
        "f",
        "filter",
        "filter-crs",
        "filter-lang",
        "ids",
        "limit",
        "near",
    }
    | {"offset", "page", "properties", "q", "skipGeometry", "sortby", "voice"}
)


class Spatial(Struct, frozen=True):
    """What the places cover: west, south, east, north in degrees."""

    bbox: tuple[tuple[float, float, float, float], ...]
    crs: str = CRS84


class Extent(Struct, frozen=True, omit_defaults=True):
    """Where the places are; of none that has a position nothing is said."""

    spatial: Spatial | None = None


class Collection(Struct, frozen=True, rename="camel"):
    """The places as a collection of features."""

    id: str
    title: str
    description: str
    links: tuple[Hyperlink, ...]
    extent: Extent
    item_type: str = "feature"


class Collections(Struct, frozen=True):
    """The collections of this service: there is one."""

    links: tuple[Hyperlink, ...]
    collections: tuple[Collection, ...]


async def list_collections(request: web.Request) -> web.Response:
    """The collections of features that can be read here: there is one, the places."""
    return _tagged(Collections((itself(request),), (await _collection(request),)))


async def show_collection(request: web.Request) -> web.Response:
    """The places as a collection: what it is, what it covers, and how it is read."""
    return _tagged(await _collection(request))


async def _collection(request: web.Request) -> Collection:
    async with moment(request) as conn:
        box = await landing_store.box(conn)
    settings = request.app[SETTINGS]
    return Collection(
        id="places",
        title=settings.name,
        description=f"Places, each with the networks that speak of it. The database is under {settings.license}.",
        links=_links(request),
        extent=Extent(Spatial((box,))) if box else Extent(),
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


def _tagged(said: Struct) -> web.Response:
    """An answer with the tag of its bytes."""
    body = msgspec.json.encode(said)
    return http.reply(body, headers={"ETag": f'"{sha256(body).hexdigest()[:32]}"'})


async def list_queryables(request: web.Request) -> web.Response:
    """The properties by which places can be chosen, as a JSON Schema; each is a parameter of the items."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": public(request, URL(f"{COLLECTION}/queryables")),
        "type": "object",
        "title": request.app[SETTINGS].name,
        "description": "Properties by which places can be chosen.",
        "properties": queryables(),
        "additionalProperties": False,
    }
    return http.reply(schema, media=SCHEMA)


@cache
def queryables() -> Mapping[str, dict[str, Any]]:
    """The schema of each property by which places can be chosen: of one value, as the parameter takes several."""
    fields = [f for f in msgspec.structs.fields(items.Query) if f.encode_name not in NO_PROPERTIES]
    return {field.encode_name: {"title": field.encode_name, **_value(field.type)} for field in fields}


def _value(annotation: Any) -> dict[str, Any]:
    """The schema of one value of a parameter."""
    schema = sayable(msgspec.json.schema(annotation))
    value = {**schema.get("items", schema)}
    said = schema.get("description")
    return {"type": "string", **value, **({"description": said} if said else {})}


ROUTES = (
    Route("GET", "/collections", list_collections, query=Query, replies={200: Collections}),
    Route("GET", COLLECTION, show_collection, query=Query, replies={200: Collection}),
    Route(
        *("GET", f"{COLLECTION}/queryables", list_queryables),
        query=Query,
        replies={200: As(SCHEMA, dict[str, Any])},
    ),
)
