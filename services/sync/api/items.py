"""`/collections/places/items`: the view as flat GeoJSON features."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from yarl import URL

from schemas.place import License, Status
from schemas.subscription import Departement
from services import follow_store, http
from services.canonical import fold
from services.errors import Fault, Malformed
from services.http import Route
from services.postgres import Connection, literal
from services.sync import changes, store
from services.sync.api import places
from services.sync.api.reading import CURSOR, moment, why_not
from services.sync.api.seen import as_asked, asked_for
from services.sync.context import POLICY, SETTINGS
from services.sync.merge import WHOLE

GEOJSON = "application/geo+json"
MOST = 10_000
# Places that are worked out again for their reader.
MOST_REREAD = 1_000
RECORD = re.compile(r"[a-z2-7]{26}:[0-9a-f-]{36}")


class Query(Struct, frozen=True):
    """Which places, and how to show them. `limit` is clamped to 1 to 10,000; `bbox` has 4 or 6 numbers; `q` is
    accent-blind.

    With `voice` that network's values are shown first; with `license` only what records under one of these
    licences say, and only places that have such a record. `limit` is clamped to 1,000 then, and the other
    parameters choose among the places as they are shown without.
    """

    limit: int = 100
    page: str | None = None
    offset: Annotated[int, Meta(ge=0, le=10_000)] = 0
    bbox: tuple[float, ...] | None = None
    ids: tuple[str, ...] | None = None
    network: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    status: tuple[Status, ...] = ()
    departement: tuple[Departement, ...] = ()
    insee: tuple[str, ...] = ()
    q: Annotated[str, Meta(max_length=200)] | None = None
    voice: str | None = None
    license: tuple[License, ...] = ()
    f: Literal["json", "geojson"] = "json"


class Plain(places.Query, frozen=True):
    """How to show a place, and the format of the answer."""

    f: Literal["json", "geojson"] = "json"


def mistake(where: str, what: str) -> Malformed:
    """A parameter that is well formed and cannot be meant."""
    return Malformed("The query is not right.", faults=(Fault(where, what),))


def box(numbers: Sequence[float] | None) -> tuple[float, float, float, float] | None:
    """West, south, east, north of a bbox of 4 numbers, or of 6 with heights, which are left out."""
    if numbers is None:
        return None
    if len(numbers) not in (4, 6):
        raise mistake("bbox", "A bbox has 4 or 6 numbers.")
    half = len(numbers) // 2
    west, south, east, north = numbers[0], numbers[1], numbers[half], numbers[half + 1]
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise mistake("bbox", "A bbox is west,south,east,north in degrees, south not above north.")
    return west, south, east, north


async def networks(conn: Connection, names: Sequence[str]) -> tuple[str, ...]:
    """Node ids of networks given by id or alias."""
    known = {n.alias: n.node for n in await follow_store.nodes(conn)}
    return tuple(known.get(name, name) for name in names)


async def selection(conn: Connection, query: Query) -> store.Asked:
    """The places that a query asks for."""
    words = tuple(literal(w) for w in fold(query.q or "").split())
    return store.Asked(
        ids=query.ids,
        networks=await networks(conn, query.network),
        families=query.family,
        statuses=query.status,
        departements=query.departement,
        insee=query.insee,
        bbox=box(query.bbox),
        words=words,
        licenses=query.license,
    )


def token(id: str) -> str:
    """The token of the page after this place."""
    return urlsafe_b64encode(id.encode()).rstrip(b"=").decode()


def after(page: str | None) -> str | None:
    """The common id after which a page starts."""
    if page is None:
        return None
    try:
        found = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode()
    except ValueError:
        found = ""
    # The decoder passes over characters that are none of its own.
    if not RECORD.fullmatch(found) or token(found) != page:
        raise mistake("page", "Use the token that the page before gave in its `next` link.")
    return found


async def list_items(request: web.Request) -> web.Response:
    """Places of the view as a GeoJSON FeatureCollection, by common id."""
    query = http.asked(request, Query)
    most = MOST_REREAD if query.voice or query.license else MOST
    limit = max(1, min(query.limit, most))
    async with moment(request) as conn:
        tag = {"ETag": _tag(request[CURSOR], request.query_string)}
        if tag["ETag"] in (http.precondition(request, "If-None-Match") or ()):
            return web.Response(status=304, headers=tag)
        asked = await selection(conn, query)
        rows = await store.items(conn, asked, after=after(query.page), offset=query.offset, limit=limit + 1)
        matched = await store.matched(conn, asked)
        features = await _features(request, conn, rows[:limit], query)
    following = token(rows[limit - 1][0]) if len(rows) > limit else None
    return http.reply(
        _collection(request, features, matched, following),
        media=GEOJSON,
        headers=tag,
    )


async def _features(
    request: web.Request, conn: Connection, page: Sequence[tuple[str, bytes]], query: Query
) -> list[bytes]:
    """The features of a page, worked out again where the query asks for it."""
    reading = await asked_for(conn, query.voice, query.license)
    if reading == WHOLE:
        return [item for _, item in page]
    bodies = await store.bodies(conn, [id for id, _ in page])
    views = await as_asked(
        conn, [bodies[id] for id, _ in page if id in bodies], request.app[POLICY].policy, reading
    )
    return [changes.feature(view) for view in views]


def _tag(cursor: str, query: str) -> str:
    return f'"{sha256(f"{cursor} {query}".encode()).hexdigest()[:32]}"'


def _collection(request: web.Request, features: Sequence[bytes], matched: int, page: str | None) -> bytes:
    links = [_link("self", public(request, request.rel_url))]
    if page is not None:
        query = {k: v for k, v in request.query.items() if k not in ("page", "offset")}
        links.append(_link("next", public(request, request.rel_url.with_query({**query, "page": page}))))
    return (
        b'{"type":"FeatureCollection","features":[%b],"numberMatched":%d,"numberReturned":%d,"links":%b}'
        % (
            b",".join(features),
            matched,
            len(features),
            b"[" + b",".join(links) + b"]",
        )
    )


def public(request: web.Request, where: URL) -> str:
    """An address as the world knows it: the Host header is the client's to choose."""
    return request.app[SETTINGS].url.rstrip("/") + str(where)


def _link(rel: str, href: str) -> bytes:
    return msgspec.json.encode({"rel": rel, "type": GEOJSON, "href": href})


async def show_item(request: web.Request) -> web.Response:
    """One place as a flat feature; any id that it has ever had finds it."""
    async with moment(request) as conn:
        found = await store.found(conn, request.match_info["id"])
        if found is None:
            raise await why_not(conn, request.match_info["id"])
        view = await places.seen(request, conn, found[1], http.asked(request, Plain))
    link = f'</collections/places/items/{view.id}>; rel="canonical"'
    return http.reply(changes.feature(view), media=GEOJSON, headers={"Link": link})


ROUTES = (
    Route("GET", "/collections/places/items", list_items, query=Query, replies={200: GEOJSON}),
    Route("GET", "/collections/places/items/{id}", show_item, query=Plain, replies={200: GEOJSON}),
)
