"""The places of a vector tile: all of them, or one for each cell of a grid where they are too many."""

from msgspec import Struct, convert

from services.postgres import Connection
from services.sync import store
from services.sync.store import Asked


class Spot(Struct, frozen=True):
    """A place on the map, in degrees, with its flat feature; `count` tells for how many it stands."""

    id: str
    lat: float
    lon: float
    item: bytes
    count: int


async def more_than(conn: Connection, asked: Asked, most: int) -> bool:
    """Whether more places than so many are asked for."""
    clause, arguments = store._selection(asked)
    statement = f"SELECT count(*) FROM (SELECT FROM view WHERE {clause} LIMIT $13) AS found"  # noqa: S608 constant
    return bool(await conn.fetchval(statement, *arguments, most + 1) > most)


async def spots(conn: Connection, asked: Asked) -> list[Spot]:
    """All places that are asked for, by common id."""
    clause, arguments = store._selection(asked)
    statement = f"SELECT id, lat, lon, item, 1 AS count FROM view WHERE {clause} ORDER BY id"  # noqa: S608 constant
    return convert(await conn.fetch(statement, *arguments), list[Spot])


async def thinned(conn: Connection, asked: Asked, cells: int) -> list[Spot]:
    """One place for each cell of a grid of Web Mercator that has so many cells around the world."""
    clause, arguments = store._selection(asked)
    # The positions stand in an index: places are read for the few that are shown.
    rows = await conn.fetch(
        f"""WITH cell AS (
                SELECT floor((lon + 180) / 360 * $13), floor(ln(tan(pi() / 4 + radians(lat) / 2)) / pi() / 2 * $13),
                       count(*) AS count, min(ARRAY[lat, lon]) AS first
                FROM view WHERE {clause} GROUP BY 1, 2
            )
            SELECT DISTINCT ON (first) id, lat, lon, item, count FROM cell
                JOIN view ON lat = first[1] AND lon = first[2] WHERE {clause} ORDER BY first, id""",  # noqa: S608 constant
        *arguments,
        cells,
    )
    return convert(rows, list[Spot])
