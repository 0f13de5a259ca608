"""What is asked of the database about the collection of places as a whole."""

from services.postgres import Connection


async def box(conn: Connection) -> tuple[float, float, float, float] | None:
    """West, south, east and north of what the places cover; None where none of them has a position."""
    # Both columns stand in one index, so that no place is read for it.
    row = await conn.fetchrow("SELECT min(lon), min(lat), max(lon), max(lat) FROM view WHERE lat IS NOT NULL")
    return None if row is None or row[0] is None else (row[0], row[1], row[2], row[3])
