"""`/collections/places/items`: the view as flat GeoJSON features."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta
from yarl import URL

from services import http
from services.http import Route
from services.postgres import Connection
from services.sync import changes, items_store, store
from services.sync.api import places
from services.sync.api.reading import Form, etag, kept, matched, moment, why_not
from services.sync.api.seen import as_asked, asked_for
from services.sync.api.selecting import RENAMED, Count, Filters, mistake, selection
from services.sync.context import POLICY, SETTINGS
from services.sync.crs import CRS84, System
from services.sync.items import PROPERTIES, Shape, shaped
from services.sync.items_store import Order, Page, Row
from services.sync.merge import WHOLE

GEOJSON = "application/geo+json"
MOST = 10_000
# Places that are worked out again for their reader.
MOST_REREAD = 1_000
MOST_KEYS = 4
RECORD = re.compile(r"[a-z2-7]{26}:[0-9a-f-]{36}")
NAMES = tuple(each.name for each in PROPERTIES)
# The values by which places are sorted, as a page token tells them.
SORTS: dict[str, Any] = {
    **dict.fromkeys(("name", "city", "postcode", "departement", "status"), str),
    **dict.fromkeys(("opened_year", "closed_year", "voices"), Count),
    **dict.fromkeys(("distance", "relevance"), float),
    "updated": datetime,
}


class Query(Filters, frozen=True, rename={**RENAMED, "skip_geometry": "skipGeometry"}):
    """Which places, and how to show them.

    With `voice` that network's values are shown first; with `license` only what records under one of these licences
    say. `limit` is clamped to 1,000 then, and the other parameters choose among the places as they are shown without.
    """

    # Said, so that GIS programs take large pages, and not refused.
    limit: Annotated[
        int,
        Meta(
            description="How many at most: clamped to 1 to 10,000.",
            extra_json_schema={"minimum": 1, "maximum": MOST},
        ),
    ] = 100
    page: Annotated[
        str | None, Meta(description="The token that the page before gave in its `next` link.")
    ] = None
    offset: Annotated[
        int, Meta(ge=0, le=10_000, description="How many to pass over; `next` links need none.")
    ] = 0
    sortby: Annotated[
        tuple[str, ...],
        Meta(
            max_length=MOST_KEYS,
            description="Keys, downwards after a `-`: "
            + ", ".join(SORTS)
            + ". Without it by distance after `near`, by relevance after `q`, else by id.",
        ),
    ] = ()
    properties: Annotated[tuple[str, ...] | None, Meta(description="Which properties to tell.")] = None
    skip_geometry: Annotated[bool, Meta(description="Whether to leave the position out.")] = False
    voice: Annotated[
        str | None, Meta(description="A network whose values go first, by node id or our name.")
    ] = None
    crs: Annotated[System, Meta(description="The reference system of the answer.")] = CRS84
    f: Literal["json", "geojson"] = "json"


class Plain(places.Query, frozen=True):
    """How to show a place, in which reference system, and the format of the answer."""

    crs: Annotated[System, Meta(description="The reference system of the answer.")] = CRS84
    f: Literal["json", "geojson"] = "json"


def orders(query: Query) -> tuple[Order, ...]:
    """By what a list is sorted, before common ids."""
    given = query.sortby or (("distance",) if query.near else ("-relevance",) if query.q else ())
    # In an address that was not encoded, a plus is a space.
    found = tuple(
        Order(key.lstrip("+ -"), down=key.startswith("-")) for key in given if key.lstrip("+ ") != "id"
    )
    for order in found:
        if order.key not in SORTS:
            raise mistake("sortby", "One can sort by {keys}.", {"keys": ", ".join(SORTS)})
        if order.key == "distance" and query.near is None:
            raise mistake("sortby", "A distance is one from somewhere: give `near` as well.")
    return found


def token(row: Row) -> str:
    """The token of the page after this place."""
    return urlsafe_b64encode(msgspec.json.encode(row.keys)).rstrip(b"=").decode()


def after(page: str | None, order: Sequence[Order]) -> tuple[Any, ...] | None:
    """The place after which a page starts, by its keys and its common id."""
    if page is None:
        return None
    types = (*(SORTS[each.key] for each in order), str)
    try:
        raw = urlsafe_b64decode(page + "=" * (-len(page) % 4))
        found: tuple[Any, ...] = msgspec.json.decode(raw, type=tuple[types])  # type: ignore[valid-type]
    except (ValueError, RecursionError):
        found = ("",)
    # The decoder passes over characters that are none of its own.
    if not RECORD.fullmatch(found[-1]) or token(Row("", b"", found)) != page or not all(map(_kept, found)):
        raise mistake(
            "page", "Use the token that the page before gave in its `next` link, with the same query."
        )
    return found


def _kept(key: Any) -> bool:
    """Whether a key is one that the database can have: a text without NUL, a time in UTC."""
    if isinstance(key, datetime):
        return key.utcoffset() == timedelta(0)
    return not isinstance(key, str) or "\0" not in key


async def list_items(request: web.Request) -> web.Response:
    """Places of the view as a GeoJSON FeatureCollection."""
    query = http.asked(request, Query)
    order = orders(query)
    most = MOST_REREAD if query.voice or query.license else MOST
    limit = max(1, min(query.limit, most))
    page = Page(order=order, after=after(query.page, order), offset=query.offset, limit=limit + 1)
    shape = _shape(query)

    async def answer(conn: Connection) -> bytes:
        asked = await selection(request, conn, query)
        rows = await items_store.page(conn, asked, page)
        features = await _features(request, conn, rows[:limit], query)
        number = await matched(request, conn, asked)
        following = token(rows[limit - 1]) if len(rows) > limit else None
        return _collection(request, [shaped(each, shape) for each in features], number, following)

    return await kept(request, answer, Form(media=GEOJSON, crs=query.crs))


def _shape(query: Query) -> Shape:
    """What is told of a feature, and where."""
    if query.properties is not None and (unknown := sorted(set(query.properties).difference(NAMES))):
        args = {"unknown": ", ".join(unknown), "names": ", ".join(NAMES)}
        raise mistake("properties", "There is no {unknown}; there are {names}.", args)
    return Shape(names=query.properties, placed=not query.skip_geometry, system=query.crs)


async def _features(request: web.Request, conn: Connection, page: Sequence[Row], query: Query) -> list[bytes]:
    """The features of a page, worked out again where the query asks for it."""
    reading = await asked_for(conn, query.voice, query.license)
    if reading == WHOLE:
        return [row.item for row in page]
    bodies = await store.bodies(conn, [row.id for row in page])
    views = await as_asked(
        conn, [bodies[row.id] for row in page if row.id in bodies], request.app[POLICY].policy, reading
    )
    return [changes.feature(view) for view in views]


def _collection(request: web.Request, features: Sequence[bytes], matched: int, page: str | None) -> bytes:
    links = [_link("self", public(request, request.rel_url))]
    if page is not None:
        query = {k: v for k, v in request.query.items() if k not in ("page", "offset")}
        links.append(_link("next", public(request, request.rel_url.with_query({**query, "page": page}))))
    links.append(_link("collection", public(request, URL("/collections/places")), "application/json"))
    return (
        b'{"type":"FeatureCollection","features":[%b],"numberMatched":%d,"numberReturned":%d,"links":[%b]}'
        % (b",".join(features), matched, len(features), b",".join(links))
    )


def public(request: web.Request, where: URL) -> str:
    """An address as the world knows it: the Host header is the client's to choose."""
    return request.app[SETTINGS].url.rstrip("/") + str(where)


def _link(rel: str, href: str, media: str = GEOJSON) -> bytes:
    return msgspec.json.encode({"rel": rel, "type": media, "href": href})


async def show_item(request: web.Request) -> web.Response:
    """One place as a flat feature; any id that it has ever had finds it."""
    id, plain = request.match_info["id"], http.asked(request, Plain)
    headers = {"Content-Crs": f"<{plain.crs}>"}

    async def answer(conn: Connection) -> bytes:
        found = await store.found(conn, id)
        if found is None:
            raise await why_not(conn, id)
        headers["Link"] = f'</collections/places/items/{found[0]}>; rel="canonical"'
        whole = plain.voice is None and not plain.license
        item = found[2] if whole else changes.feature(await places.seen(request, conn, found[1], plain))
        return shaped(item, Shape(system=plain.crs))

    async with moment(request) as conn:
        body = await answer(conn)
    return http.reply(body, media=GEOJSON, headers={**headers, "ETag": etag(body)})


ROUTES = (
    Route("GET", "/collections/places/items", list_items, query=Query, replies={200: GEOJSON}),
    Route("GET", "/collections/places/items/{id}", show_item, query=Plain, replies={200: GEOJSON}),
)
