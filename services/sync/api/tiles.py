"""`/tiles`: the places as vector tiles, for maps of very many."""

import re
from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.place import Status
from schemas.subscription import Departement
from services import http
from services.errors import NotFound
from services.http import Route
from services.postgres import Connection
from services.sync import landing_store, tiles, tiles_store
from services.sync.api import items
from services.sync.api.reading import CURSOR, moment
from services.sync.context import SETTINGS
from services.sync.tiles import CELLS, DEEPEST, LAYER, MOST, Point, Tile
from services.sync.tiles_store import Spot

MVT = "application/vnd.mapbox-vector-tile"
NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
# A map moves over the same tiles again and again; each is asked about once a minute.
KEPT = "public, max-age=60"


class Query(Struct, frozen=True):
    """Which places, as at `/collections/places/items`."""

    network: tuple[str, ...] = ()
    family: tuple[str, ...] = ()
    status: tuple[Status, ...] = ()
    departement: tuple[Departement, ...] = ()
    insee: tuple[str, ...] = ()
    q: Annotated[str, Meta(max_length=200)] | None = None


class Layer(Struct, frozen=True):
    """The layer of the tiles, and the types of its attributes."""

    id: str
    description: str
    fields: dict[str, str]


class TileJSON(Struct, frozen=True):
    """Where the tiles are, and what is in them (TileJSON 3.0). `{z}`, `{x}`, `{y}` stand for a tile's numbers."""

    tilejson: Literal["3.0.0"]
    name: str
    description: str
    attribution: str
    scheme: Literal["xyz"]
    tiles: tuple[str, ...]
    minzoom: int
    maxzoom: int
    bounds: tuple[float, float, float, float]
    vector_layers: tuple[Layer, ...]


async def show_tile(request: web.Request) -> web.Response:
    """The places of a tile as points: Mapbox Vector Tile 2.1, layer `places`.

    A tile of very many places has one for each cell of a grid; its `count` tells for how many it stands.
    """
    tile, query = _tile(request), http.asked(request, Query)
    async with moment(request) as conn:
        named = f"{request[CURSOR]} {request.rel_url}"
        headers = {"ETag": f'"{sha256(named.encode()).hexdigest()[:32]}"', "Cache-Control": KEPT}
        if headers["ETag"] in (http.precondition(request, "If-None-Match") or ()):
            return web.Response(status=304, headers=headers)
        spots = await _spots(conn, query, tile)
    return http.reply(tiles.encoded(tile, _points(spots)), media=MVT, headers=headers)


def _tile(request: web.Request) -> Tile:
    """The tile of an address; NotFound says which there are."""
    numbers = [request.match_info[name] for name in "zxy"]
    if all(NUMBER.fullmatch(number) for number in numbers):
        tile = Tile(*map(int, numbers))
        if tile.exists:
            return tile
    raise NotFound(
        "There is no such tile: z is 0 to {deepest}, x and y are 0 to 2^z - 1.", {"deepest": DEEPEST}
    )


async def _spots(conn: Connection, query: Query, tile: Tile) -> list[Spot]:
    selected = await items.selection(conn, items.Query(**msgspec.structs.asdict(query)))
    asked = replace(selected, bbox=tiles.box(tile))
    if await tiles_store.more_than(conn, asked, MOST):
        return await tiles_store.thinned(conn, asked, tile.side * CELLS)
    return await tiles_store.spots(conn, asked)


class _Said(Struct):
    name: str
    status: str
    families: str | None = None


class _Item(Struct):
    properties: _Said


def _points(spots: Sequence[Spot]) -> list[Point]:
    decode = msgspec.json.Decoder(_Item).decode
    said = [decode(spot.item).properties for spot in spots]
    return [
        Point(spot.id, its.name, its.status, its.families or "", spot.lat, spot.lon, spot.count)
        for spot, its in zip(spots, said, strict=True)
    ]


async def show_tilejson(request: web.Request) -> web.Response:
    """Where the tiles are and what is in them, as maps read it (TileJSON 3.0); with filters, theirs."""
    async with moment(request) as conn:
        box = await landing_store.box(conn)
    settings, asked = request.app[SETTINGS], request.rel_url.raw_query_string
    where = settings.url.rstrip("/") + "/tiles/{z}/{x}/{y}.mvt"
    said = TileJSON(
        tilejson="3.0.0",
        name=settings.name,
        description="Places as points.",
        attribution=settings.name,
        scheme="xyz",
        tiles=(f"{where}?{asked}" if asked else where,),
        minzoom=0,
        maxzoom=DEEPEST,
        bounds=box or (-180, -tiles.END, 180, tiles.END),
        vector_layers=(Layer(LAYER, "Places; `count` tells for how many one stands.", FIELDS),),
    )
    return http.reply(said)


FIELDS = {name: "Number" if name == "count" else "String" for name in tiles.KEYS}
ROUTES = (
    Route("GET", "/tiles.json", show_tilejson, query=Query, replies={200: TileJSON}),
    Route("GET", "/tiles/{z}/{x}/{y}.mvt", show_tile, query=Query, replies={200: MVT}),
)
