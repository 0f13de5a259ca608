"""The places of a vector tile: all of them, or one for each cell of a grid where they are too many."""

from msgspec import convert

from services.postgres import Connection
from services.sync.items_store import Asked, Clauses, chosen, in_box
from services.sync.outlines import Box
from services.sync.tiles import Point

SHOWN = "id, name, status, array_to_string(families, ';') AS families, lat, lon"


def _shown(asked: Asked, box: Box) -> Clauses:
    found = chosen(asked)
    found.add(in_box(found, box))
    return found


async def more_than(conn: Connection, asked: Asked, box: Box, most: int) -> bool:
    """Whether more places than so many are to be shown within a box."""
    found = _shown(asked, box)
    limit = found.argument(most + 1)
    statement = f"SELECT count(*) FROM (SELECT FROM view WHERE {found} LIMIT {limit}) AS found"  # noqa: S608
    return bool(await conn.fetchval(statement, *found.arguments) > most)


async def points(conn: Connection, asked: Asked, box: Box) -> list[Point]:
    """All places within a box, by common id."""
    found = _shown(asked, box)
    statement = f"SELECT {SHOWN}, 1 AS count FROM view WHERE {found} ORDER BY id"  # noqa: S608
    return convert(await conn.fetch(statement, *found.arguments), list[Point])


async def thinned(conn: Connection, asked: Asked, box: Box, cells: int) -> list[Point]:
    """One place within a box for each cell of a grid of Web Mercator with so many cells around the world."""
    found = _shown(asked, box)
    many = f"{found.argument(cells)}::float8"
    # Points are found by the index, which takes those that are close for the same.
    rows = await conn.fetch(
        f"""WITH cell AS (
                SELECT floor((lon + 180) / 360 * {many}), floor(ln(tand(45 + lat / 2)) / pi() / 2 * {many}),
                       count(*) AS count, min(ARRAY[lat, lon]) AS first
                FROM view WHERE {found} GROUP BY 1, 2
            )
            SELECT DISTINCT ON (first) {SHOWN}, count FROM cell
                JOIN view ON point(lon, lat) ~= point(first[2], first[1]) AND lat = first[1] AND lon = first[2]
                WHERE {found} ORDER BY first, id""",  # noqa: S608
        *found.arguments,
    )
    return convert(rows, list[Point])
