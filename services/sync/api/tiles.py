"""`/tiles`: the places as vector tiles, for maps of very many."""

import re
from html import escape
from typing import Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from services import http
from services.errors import NotFound
from services.http import Route
from services.postgres import Connection
from services.sync import items_store, tiles, tiles_store
from services.sync.api.reading import Form, kept
from services.sync.api.selecting import Filters, selection
from services.sync.context import SETTINGS
from services.sync.items_store import Asked, Extent
from services.sync.tiles import DEEPEST, LAYER, Point, Tile

MVT = "application/vnd.mapbox-vector-tile"
NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")
# A map moves over the same tiles again and again; each is asked about once a minute.
KEPT = "public, max-age=60"


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
    tile, query = _tile(request), http.asked(request, Filters)

    async def answer(conn: Connection) -> bytes:
        asked = await selection(request, conn, query)
        return tiles.encoded(tile, await _points(conn, asked, tile))

    response = await kept(request, answer, Form(media=MVT))
    response.headers["Cache-Control"] = KEPT
    return response


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


async def _points(conn: Connection, asked: Asked, tile: Tile) -> list[Point]:
    box = tiles.box(tile)
    if await tiles_store.more_than(conn, asked, box, tiles.MOST):
        return await tiles_store.thinned(conn, asked, box, tile.side * tiles.CELLS)
    return await tiles_store.points(conn, asked, box)


async def show_tilejson(request: web.Request) -> web.Response:
    """Where the tiles are and what is in them, as maps read it (TileJSON 3.0); with filters, theirs."""

    async def answer(conn: Connection) -> bytes:
        return msgspec.json.encode(_told(request, await items_store.extent(conn)))

    return await kept(request, answer)


def _told(request: web.Request, extent: Extent | None) -> TileJSON:
    settings, asked = request.app[SETTINGS], request.rel_url.raw_query_string
    where = settings.url.rstrip("/") + "/tiles/{z}/{x}/{y}.mvt"
    return TileJSON(
        tilejson="3.0.0",
        name=settings.name,
        description="Places as points.",
        attribution=f"{escape(settings.name)} ({settings.license})",
        scheme="xyz",
        tiles=(f"{where}?{asked}" if asked else where,),
        minzoom=0,
        maxzoom=DEEPEST,
        bounds=extent.box if extent else WORLD,
        vector_layers=(Layer(LAYER, "Places; `count` tells for how many one stands.", FIELDS),),
    )


WORLD = (-180.0, -tiles.END, 180.0, tiles.END)
FIELDS = {name: "Number" if name == "count" else "String" for name in tiles.KEYS}
ROUTES = (
    Route("GET", "/tiles.json", show_tilejson, query=Filters, replies={200: TileJSON}),
    Route("GET", "/tiles/{z}/{x}/{y}.mvt", show_tile, query=Filters, replies={200: MVT}),
)
