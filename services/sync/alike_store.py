"""SQL of what the matcher keeps: profiles of records, where they meet, which pairs are alike."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct, convert

from services.postgres import Connection
from services.sync.explaining import Alike
from services.sync.matching import Score
from services.sync.pairing import number
from services.sync.profiles import Profile
from services.sync.records import Pair, Why, owner

Features = tuple[tuple[str, str, int], ...]


class Open(Struct, frozen=True):
    """A pair that may be one place and is none: the two places, why, what the owners of `a` and of `b` say of it.

    `rank` orders pairs: their points, and less than any points where there are none.
    """

    a: str
    b: str
    view_a: str
    view_b: str
    points: int | None
    features: bytes | None
    why: str
    said_a: str | None
    said_b: str | None
    rank: int


class Sought(Struct, frozen=True):
    """Which open pairs: with a record of this node, with this record; `least`: the points of a proposal."""

    least: int
    network: str | None = None
    record: str | None = None


async def save_profiles(conn: Connection, profiles: Sequence[Profile], before: Mapping[str, Profile]) -> None:
    """Keep profiles, in the place of those that these records had before; what these were alike with is forgotten."""
    if not profiles:
        return
    rows = await conn.fetch(
        """INSERT INTO profile (record, network, hints, body)
           SELECT record, network, string_to_array(hints, ' ')::bigint[], body
           FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS t(record, network, hints, body)
           ON CONFLICT (record) DO UPDATE SET hints = excluded.hints, body = excluded.body
           RETURNING no, record""",
        [p.record for p in profiles],
        [owner(p.record) for p in profiles],
        [" ".join(str(number(hint)) for hint in p.hints) for p in profiles],
        [msgspec.json.encode(p) for p in profiles],
    )
    no = {row["record"]: row["no"] for row in rows}
    now = {(key, no[p.record]) for p in profiles for key in _reach(p)}
    old = {(key, no[p.record]) for p in profiles if p.record in before for key in _reach(before[p.record])}
    if gone := old - now:
        await conn.execute(
            "DELETE FROM reach USING unnest($1::bigint[], $2::bigint[]) AS t(k, n) WHERE key = k AND no = n",
            [key for key, _ in gone],
            [no for _, no in gone],
        )
    await conn.copy_records_to_table("reach", records=sorted(now - old), columns=("key", "no"))
    await _unlike(conn, [p.record for p in profiles if p.record in before])


def _reach(profile: Profile) -> set[int]:
    """Under which keys others meet it."""
    return {number(key) for key in profile.keys} if profile.automatic else set()


async def drop_profiles(conn: Connection, records: Sequence[str]) -> None:
    """Forget profiles, where they meet others, and what they are alike with."""
    if records:
        statement = """WITH gone AS (DELETE FROM profile WHERE record = ANY($1::text[]) RETURNING no)
                       DELETE FROM reach USING gone WHERE reach.no = gone.no"""
        await conn.execute(statement, records)
        await _unlike(conn, records)


async def _unlike(conn: Connection, records: Sequence[str]) -> None:
    if records:
        await conn.execute("DELETE FROM alike WHERE a = ANY($1::text[])", records)
        await conn.execute("DELETE FROM alike WHERE b = ANY($1::text[])", records)


async def profiles(conn: Connection, records: Iterable[str]) -> dict[str, Profile]:
    """The profiles of those of these records that are there."""
    rows = await conn.fetch("SELECT record, body FROM profile WHERE record = ANY($1::text[])", list(records))
    return {row["record"]: msgspec.json.decode(row["body"], type=Profile) for row in rows}


async def met(conn: Connection, records: Sequence[str]) -> list[Pair]:
    """Pairs of these records with others of other networks, with which they share a key and a hint."""
    rows = await conn.fetch(
        # OFFSET 0: row by row, whatever the planner makes of tables that it knows nothing of.
        """SELECT mine.record AS a, other.record AS b
           FROM profile mine CROSS JOIN LATERAL (
               SELECT DISTINCT there.no
               FROM reach here CROSS JOIN LATERAL (SELECT no FROM reach WHERE key = here.key OFFSET 0) AS there
               WHERE here.no = mine.no AND there.no <> mine.no
           ) AS met CROSS JOIN LATERAL (
               SELECT record, network, hints FROM profile WHERE no = met.no OFFSET 0
           ) AS other
           WHERE mine.record = ANY($1::text[]) AND other.network <> mine.network AND other.hints && mine.hints""",
        list(records),
    )
    return [(row["a"], row["b"]) for row in rows]


async def save_alike(conn: Connection, found: Mapping[Pair, Score]) -> None:
    """Keep pairs that are alike."""
    if not found:
        return
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
    if not gone:
        return
    await conn.execute(
        "DELETE FROM alike USING unnest($1::text[], $2::text[]) AS t(x, y) WHERE a = x AND b = y",
        [a for a, _ in gone],
        [b for _, b in gone],
    )


# Pairs of which both are among some records. Asked for both at once, an index of (a, b) is looked up for each two.
AMONG = """unnest($1::text[]) AS one CROSS JOIN LATERAL (SELECT * FROM alike WHERE a = one OFFSET 0) AS pair
           WHERE b IN (SELECT unnest($1::text[]))"""


async def points(conn: Connection, records: Sequence[str]) -> dict[Pair, int | None]:
    """The points of pairs among these records that are alike."""
    rows = await conn.fetch(
        f"SELECT a, b, points FROM {AMONG}",  # noqa: S608 constant
        list(records),
    )
    return {(row["a"], row["b"]): row["points"] for row in rows}


async def best(conn: Connection, records: Sequence[str], limit: int) -> dict[Pair, Alike]:
    """How pairs among these records are alike, of so many with most points."""
    rows = await conn.fetch(
        f"""SELECT a, b, points, features, why FROM {AMONG}
           ORDER BY points DESC, a, b LIMIT $2""",  # noqa: S608 constant
        list(records),
        limit,
    )
    return {(row["a"], row["b"]): Alike(row["points"], features(row["features"]), row["why"]) for row in rows}


def features(kept: bytes) -> Features:
    """What is kept of how two records compare: (feature, level, points)."""
    return msgspec.json.decode(kept, type=Features)


async def set_why(conn: Connection, records: Sequence[str], left: Mapping[Pair, Why]) -> None:
    """Why pairs among these records are not one place; nothing is said of the others."""
    await conn.execute(
        f"""UPDATE alike SET why = now.why
           FROM (SELECT a, b, why FROM {AMONG} OFFSET 0) AS was
               LEFT JOIN unnest($2::text[], $3::text[], $4::text[]) AS now(a, b, why) USING (a, b)
           WHERE alike.a = was.a AND alike.b = was.b AND was.why IS DISTINCT FROM now.why""",  # noqa: S608 constant
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


async def open_pairs(
    conn: Connection, sought: Sought, *, after: tuple[int, str, str] | None, limit: int
) -> list[Open]:
    """Pairs to propose, one for each two places, best first; from after this rank, `a` and `b`.

    Those alike by enough points, or that one owner says are one place, which are not, and of which no owner has
    said that they are two. Whoever has joined hers with another record of the same network, has answered.
    """
    rows = await conn.fetch(OPEN, *_asked(sought, after, limit), sought.least)
    return convert(rows, list[Open])


async def disputed_pairs(
    conn: Connection, sought: Sought, *, after: tuple[int, str, str] | None, limit: int
) -> list[Open]:
    """Pairs of which one owner says that they are one place, and the other that they are not; in the same order."""
    return convert(await conn.fetch(DISPUTED, *_asked(sought, after, limit)), list[Open])


def _asked(sought: Sought, after: tuple[int, str, str] | None, limit: int) -> tuple[object, ...]:
    return sought.network, sought.record, *(after or (None, None, None)), limit


# Whoever claims `a`, owns it.
WORD = """WITH word AS (
        SELECT DISTINCT ON (a, b) a, b, verdict FROM claim ORDER BY a, b, seq DESC
    )"""
# What owners say of likely pairs that are not one place.
SPOKEN = """spoken AS (
        SELECT l.a, l.b, pa.network AS network_a, pb.network AS network_b, ma.view AS view_a, mb.view AS view_b,
               k.points, k.features, k.why, mine.verdict AS said_a, theirs.verdict AS said_b,
               coalesce('same' IN (mine.verdict, theirs.verdict), false) AS wished,
               pa.no AS no_a, pb.no AS no_b
        FROM likely l JOIN member ma ON ma.record = l.a JOIN member mb ON mb.record = l.b
            JOIN profile pa ON pa.record = l.a JOIN profile pb ON pb.record = l.b
            LEFT JOIN alike k ON k.a = l.a AND k.b = l.b
            LEFT JOIN word mine ON mine.a = l.a AND mine.b = l.b
            LEFT JOIN word theirs ON theirs.a = l.b AND theirs.b = l.a
        WHERE ma.view <> mb.view AND ($1::text IS NULL OR $1 IN (pa.network, pb.network))
          AND ($2::text IS NULL OR $2 IN (l.a, l.b))
    )"""
# What a record is like would tell where it is. One that is not open to all has no keys.
TOLD = """CASE WHEN NOT EXISTS (SELECT FROM view WHERE id IN (view_a, view_b) AND hidden)
                     AND (NOT wished OR EXISTS (SELECT FROM reach WHERE no = no_a)
                                        AND EXISTS (SELECT FROM reach WHERE no = no_b)) THEN points END AS told"""
SHOWN = """a, b, view_a, view_b, said_a, said_b, told AS points,
               CASE WHEN told IS NOT NULL THEN features END AS features, coalesce(told, -2147483648) AS rank"""
PAGE = """SELECT * FROM open WHERE $3::integer IS NULL OR rank < $3 OR rank = $3 AND (a, b) > ($4::text, $5::text)
    ORDER BY rank DESC, a, b LIMIT $6"""

OPEN = f"""{WORD}, joined AS (
        SELECT x.a, x.b, p.network FROM word x JOIN word y ON y.a = x.b AND y.b = x.a JOIN profile p ON p.record = x.b
        WHERE x.verdict = 'same' AND y.verdict = 'same'
    ), likely AS (
        SELECT a, b FROM alike WHERE points >= $7
        UNION SELECT least(a, b), greatest(a, b) FROM word
            WHERE verdict = 'same' AND split_part(a, ':', 1) <> split_part(b, ':', 1)
    ), {SPOKEN}, unanswered AS (
        SELECT *, {TOLD} FROM spoken s
        WHERE coalesce(said_a NOT IN ('distinct', 'part-of'), true)
          AND coalesce(said_b NOT IN ('distinct', 'part-of'), true)
          AND NOT coalesce(said_a = 'same' AND said_b = 'same', false)
          AND NOT EXISTS (SELECT FROM joined j WHERE j.a = s.a AND j.network = s.network_b AND j.b <> s.b)
          AND NOT EXISTS (SELECT FROM joined j WHERE j.a = s.b AND j.network = s.network_a AND j.b <> s.a)
    ), open AS (
        SELECT DISTINCT ON (least(view_a, view_b), greatest(view_a, view_b)) {SHOWN},
               CASE WHEN wished AND coalesce(why, 'close') = 'close' THEN 'claimed' ELSE coalesce(why, 'close') END
                   AS why
        FROM unanswered
        ORDER BY least(view_a, view_b), greatest(view_a, view_b), rank DESC, a, b
    ) {PAGE}"""  # noqa: S608 constants

DISPUTED = f"""{WORD}, likely AS (
        SELECT least(x.a, x.b) AS a, greatest(x.a, x.b) AS b
        FROM word x JOIN word y ON y.a = x.b AND y.b = x.a
        WHERE x.verdict = 'same' AND y.verdict IN ('distinct', 'part-of')
          AND split_part(x.a, ':', 1) <> split_part(x.b, ':', 1)
    ), {SPOKEN}, open AS (
        SELECT {SHOWN}, 'disputed' AS why FROM (SELECT *, {TOLD} FROM spoken) contradicted
    ) {PAGE}"""  # noqa: S608 constants


async def forget_all(conn: Connection) -> None:
    """Keep nothing of the matcher."""
    # Not TRUNCATE, which readers would wait for, and see whatever their moment is.
    for table in ("profile", "reach", "alike", "copy"):
        await conn.execute(f"DELETE FROM {table}")  # noqa: S608 constants
