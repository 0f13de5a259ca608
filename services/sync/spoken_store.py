"""Every SQL statement of the words and areas that networks publish, one function each."""

from collections.abc import Collection, Mapping, Sequence

from services.postgres import Connection


async def keep(conn: Connection, kind: str, bodies: Mapping[str, bytes]) -> None:
    """Words (`word`) or areas (`area`) as they are now, by record."""
    await conn.execute(
        """INSERT INTO spoken (record, kind, body) SELECT record, $1, body
           FROM unnest($2::text[], $3::bytea[]) AS t(record, body)
           ON CONFLICT (record) DO UPDATE SET kind = excluded.kind, body = excluded.body""",
        kind,
        list(bodies),
        list(bodies.values()),
    )


async def drop(conn: Connection, records: Sequence[str]) -> None:
    """Records that say no word and no area any more."""
    await conn.execute("DELETE FROM spoken WHERE record = ANY($1::text[])", list(records))


async def all_of(conn: Connection, kind: str) -> list[tuple[str, bytes]]:
    """All words, or all areas, by record."""
    rows = await conn.fetch("SELECT record, body FROM spoken WHERE kind = $1 ORDER BY record", kind)
    return [(row["record"], row["body"]) for row in rows]


async def area(conn: Connection, record: str) -> bytes | None:
    """An area by its record id."""
    body: bytes | None = await conn.fetchval(
        "SELECT body FROM spoken WHERE record = $1 AND kind = 'area'", record
    )
    return body


async def known(conn: Connection, records: Collection[str]) -> set[str]:
    """Those of these records that say a word or an area."""
    rows = await conn.fetch("SELECT record FROM spoken WHERE record = ANY($1::text[])", list(records))
    return {row["record"] for row in rows}
