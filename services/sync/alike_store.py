"""SQL of what the matcher keeps: profiles of records, where they meet, which pairs are alike."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from services.postgres import Connection
from services.sync.matching import Score
from services.sync.pairing import number
from services.sync.profiles import Profile
from services.sync.records import Pair, Why, owner


async def save_profiles(conn: Connection, profiles: Sequence[Profile]) -> None:
    """Keep profiles, of records that have none."""
    rows = await conn.fetch(
        """INSERT INTO profile (record, network, hints, body)
           SELECT record, network, string_to_array(hints, ' ')::bigint[], body
           FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS t(record, network, hints, body)
           RETURNING no, record""",
        [p.record for p in profiles],
        [owner(p.record) for p in profiles],
        [" ".join(str(number(hint)) for hint in p.hints) for p in profiles],
        [msgspec.json.encode(p) for p in profiles],
    )
    no = {row["record"]: row["no"] for row in rows}
    met = [(number(key), no[p.record]) for p in profiles if p.automatic for key in p.keys]
    await conn.copy_records_to_table("reach", records=sorted(set(met)), columns=("key", "no"))


async def drop_profiles(conn: Connection, records: Sequence[str]) -> None:
    """Forget profiles, where they meet others, and what they are alike with."""
    await conn.execute("DELETE FROM profile WHERE record = ANY($1::text[])", list(records))
    await conn.execute("DELETE FROM alike WHERE a = ANY($1::text[])", list(records))
    await conn.execute("DELETE FROM alike WHERE b = ANY($1::text[])", list(records))


async def profiles(conn: Connection, records: Iterable[str]) -> dict[str, Profile]:
    """The profiles of those of these records that are there."""
    rows = await conn.fetch("SELECT record, body FROM profile WHERE record = ANY($1::text[])", list(records))
    return {row["record"]: msgspec.json.decode(row["body"], type=Profile) for row in rows}


async def met(conn: Connection, records: Sequence[str]) -> list[Pair]:
    """Pairs of these records with others of other networks, with which they share a key and a hint."""
    rows = await conn.fetch(
        """SELECT DISTINCT mine.record AS a, other.record AS b
           FROM profile mine JOIN reach here USING (no)
               JOIN reach there ON there.key = here.key AND there.no <> here.no
               JOIN profile other ON other.no = there.no
           WHERE mine.record = ANY($1::text[]) AND other.network <> mine.network AND other.hints && mine.hints""",
        list(records),
    )
    return [(row["a"], row["b"]) for row in rows]


async def save_alike(conn: Connection, found: Mapping[Pair, Score]) -> None:
    """Keep pairs that are alike."""
    await conn.execute(
        """INSERT INTO alike (a, b, points, features)
           SELECT * FROM unnest($1::text[], $2::text[], $3::integer[], $4::bytea[])
           ON CONFLICT (a, b) DO UPDATE SET points = excluded.points, features = excluded.features, why = NULL""",
        [a for a, _ in found],
        [b for _, b in found],
        [score.points for score in found.values()],
        [msgspec.json.encode(score.features) for score in found.values()],
    )


async def drop_alike(conn: Connection, pairs: Iterable[Pair]) -> None:
    """Forget that these pairs are alike."""
    gone = list(pairs)
    await conn.execute(
        "DELETE FROM alike USING unnest($1::text[], $2::text[]) AS t(x, y) WHERE a = x AND b = y",
        [a for a, _ in gone],
        [b for _, b in gone],
    )


async def points(conn: Connection, records: Sequence[str]) -> dict[Pair, int | None]:
    """The points of pairs among these records that are alike."""
    rows = await conn.fetch(
        "SELECT a, b, points FROM alike WHERE a = ANY($1::text[]) AND b = ANY($1::text[])", list(records)
    )
    return {(row["a"], row["b"]): row["points"] for row in rows}


async def set_why(conn: Connection, records: Sequence[str], left: Mapping[Pair, Why]) -> None:
    """Why pairs among these records are not one place; nothing is said of the others."""
    await conn.execute(
        """UPDATE alike SET why = now.why
           FROM alike was LEFT JOIN unnest($2::text[], $3::text[], $4::text[]) AS now(a, b, why)
               ON now.a = was.a AND now.b = was.b
           WHERE alike.a = was.a AND alike.b = was.b AND was.a = ANY($1::text[]) AND was.b = ANY($1::text[])
             AND was.why IS DISTINCT FROM now.why""",
        list(records),
        [a for a, _ in left],
        [b for _, b in left],
        list(left.values()),
    )


async def set_copies(conn: Connection, records: Sequence[str], pairs: Sequence[Pair]) -> None:
    """Which of these records say now what they were copied from."""
    await conn.execute("DELETE FROM copy WHERE record = ANY($1::text[])", list(records))
    if pairs:
        await conn.executemany("INSERT INTO copy (record, original) VALUES ($1, $2)", pairs)


async def forget_all(conn: Connection) -> None:
    """Keep nothing of the matcher."""
    await conn.execute("TRUNCATE profile, reach, alike, copy")
