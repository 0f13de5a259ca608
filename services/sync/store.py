"""Every SQL statement of the sync, one function each."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import date, datetime

from msgspec import Struct, convert

from schemas.event import RECORD_ERASE
from schemas.view import Head
from services.postgres import Connection
from services.sync.records import Said


class Saved(Struct, frozen=True):
    """A place of the view as it is stored: canonical bytes, entry in its bucket, flat feature, what lists go by.

    `words`: what a text search finds, folded, a line each for name, other names, city and summary. `licenses`: those
    of the records that give it values, as `merge.licenses` has them. `said`: of which fields something is said, as
    `observing.said` has them. `hidden`: nobody is told where it is.
    """

    id: str
    bucket: int
    entry: bytes
    body: bytes
    item: bytes
    words: str
    name: str
    folded: str
    kind: str | None
    networks: tuple[str, ...]
    families: tuple[str, ...]
    types: tuple[str, ...]
    services: tuple[str, ...]
    labels: tuple[str, ...]
    status: str
    postcode: str | None
    city: str | None
    country: str | None
    departement: str | None
    insee: str | None
    lat: float | None
    lon: float | None
    precision: str | None
    opened_year: int | None
    closed_year: int | None
    opened_on: str | None
    closed_on: str | None
    verified_on: str | None
    said: tuple[str, ...]
    licenses: tuple[str, ...]
    voices: int
    updated: datetime
    hidden: bool


class Latest(Struct, frozen=True):
    """The latest event of a record. `opaque`: why the version that received it could not use it."""

    record: str
    node: str
    epoch: int
    seq: int
    type: str
    raw: bytes
    leaf: bytes
    opaque: str | None


class Voiced(Struct, frozen=True):
    """A record behind a place, and where its network's log has it."""

    record: str
    node: str
    epoch: int
    seq: int
    version: int
    type: str
    raw: bytes


class Masked(Struct, frozen=True):
    """A record that is hidden: the code of the reason, and since when."""

    record: str
    reason: str
    since: date | None


async def by_key(conn: Connection) -> None:
    """In this transaction rows are found by index: of tables that it fills the planner knows too little to choose."""
    await conn.execute("SET LOCAL enable_seqscan = off")


async def merged(conn: Connection) -> dict[str, Head]:
    """Where each node's log stood when it was last merged."""
    rows = await conn.fetch("SELECT node, epoch, size, log_root, descriptor FROM merged ORDER BY node")
    return {row["node"]: convert(row, Head) for row in rows}


async def drop_merged(conn: Connection, nodes: Sequence[str]) -> None:
    """The view no longer stands on these nodes."""
    await conn.execute("DELETE FROM merged WHERE node = ANY($1::text[])", list(nodes))


async def set_merged(conn: Connection, heads: Sequence[Head]) -> None:
    """The heads at which the view stands from now on."""
    await conn.executemany(
        """INSERT INTO merged (node, epoch, size, log_root, descriptor) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, size = excluded.size,
               log_root = excluded.log_root, descriptor = excluded.descriptor""",
        [(h.node, h.epoch, h.size, h.log_root, h.descriptor) for h in heads],
    )


async def rewinds(conn: Connection) -> dict[str, int]:
    """Which state of what is held of each node was merged."""
    return {row["node"]: row["rewinds"] for row in await conn.fetch("SELECT node, rewinds FROM merged")}


async def set_rewinds(conn: Connection, rewinds: Mapping[str, int]) -> None:
    """What is held of these nodes is merged as it is now."""
    await conn.execute(
        """UPDATE merged m SET rewinds = t.rewinds FROM unnest($1::text[], $2::bigint[]) AS t(node, rewinds)
           WHERE m.node = t.node AND m.rewinds <> t.rewinds""",
        list(rewinds),
        list(rewinds.values()),
    )


async def basis(conn: Connection) -> tuple[str, str] | None:
    """The hash of the followed set and the policy id by which the view was made."""
    row = await conn.fetchrow("SELECT followed, policy FROM merge")
    return None if row is None else (row["followed"], row["policy"])


class Basis(Struct, frozen=True):
    """By what the view is made: the followed set, the policy, its id and itself; a new one in these columns."""

    followed: str
    policy: str
    document: bytes
    columns: int


async def set_basis(conn: Connection, basis: Basis) -> None:
    """By what the view is made from now on."""
    await conn.execute(
        """INSERT INTO merge (followed, policy, document, columns) VALUES ($1, $2, $3, $4)
           ON CONFLICT (singleton) DO UPDATE SET followed = $1, policy = $2, document = $3""",
        basis.followed,
        basis.policy,
        basis.document,
        basis.columns,
    )


async def turn(conn: Connection) -> None:
    """What answers lean on is another from now on, although our log does not say so: rows, words, areas."""
    await conn.execute("UPDATE merge SET turns = turns + 1")


async def standing(conn: Connection) -> tuple[int, int, int]:
    """Where our own log stands, its epoch and size, and how often `turn` was called."""
    (row,) = await conn.fetch(
        "SELECT h.epoch, h.size, coalesce(m.turns, 0) AS turns FROM ledger_head h LEFT JOIN merge m ON true"
    )
    return row["epoch"], row["size"], row["turns"]


async def columns(conn: Connection) -> int | None:
    """Which version of its columns the view is stored in; None before there is a view."""
    version: int | None = await conn.fetchval("SELECT columns FROM merge")
    return version


async def set_columns(conn: Connection, version: int) -> None:
    """In which version of its columns the view is stored from now on."""
    await conn.execute("UPDATE merge SET columns = $1", version)


async def policy_document(conn: Connection) -> bytes | None:
    """The policy by which the view is made; None before there is a view."""
    document: bytes | None = await conn.fetchval("SELECT document FROM merge")
    return document


async def hide_only(conn: Connection, hidden: Sequence[Masked]) -> None:
    """The records that are hidden from now on, and no others."""
    await conn.execute("DELETE FROM hidden WHERE record <> ALL($1::text[])", [h.record for h in hidden])
    await conn.execute(
        """INSERT INTO hidden (record, reason, since)
           SELECT * FROM unnest($1::text[], $2::text[], $3::date[])
           ON CONFLICT (record) DO UPDATE SET reason = excluded.reason, since = excluded.since""",
        [h.record for h in hidden],
        [h.reason for h in hidden],
        [h.since for h in hidden],
    )


async def hidden(conn: Connection) -> frozenset[str]:
    """The records that are hidden."""
    return frozenset(row["record"] for row in await conn.fetch("SELECT record FROM hidden"))


async def masked(conn: Connection, record: str) -> Masked | None:
    """Why a record is hidden, where it is."""
    row = await conn.fetchrow("SELECT record, reason, since FROM hidden WHERE record = $1", record)
    return None if row is None else convert(row, Masked)


async def hidden_counts(conn: Connection) -> dict[str, int]:
    """Records that are hidden, by node."""
    rows = await conn.fetch("SELECT split_part(record, ':', 1) AS node, count(*) AS n FROM hidden GROUP BY 1")
    return {row["node"]: row["n"] for row in rows}


async def merged_hidden(conn: Connection) -> frozenset[str]:
    """The records without which the view stands."""
    return frozenset(row["record"] for row in await conn.fetch("SELECT record FROM merged_hidden"))


async def set_merged_hidden(conn: Connection, records: Iterable[str]) -> None:
    """The records without which the view stands from now on."""
    await conn.execute("DELETE FROM merged_hidden")
    await conn.execute("INSERT INTO merged_hidden (record) SELECT unnest($1::text[])", list(records))


async def changed_records(conn: Connection, node: str, after: int, until: int) -> list[str]:
    """Records of a node whose latest event came after one position, up to another."""
    rows = await conn.fetch(
        "SELECT record FROM follow_record WHERE node = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
        node,
        after,
        until,
    )
    return [row["record"] for row in rows]


async def records_of(conn: Connection, node: str) -> list[str]:
    """All records of a node that the view knows or once read."""
    rows = await conn.fetch(
        """SELECT record FROM member WHERE starts_with(record, $1 || ':')
           UNION SELECT record FROM claim WHERE starts_with(record, $1 || ':')
           UNION SELECT record FROM unread WHERE starts_with(record, $1 || ':')
           UNION SELECT record FROM successor WHERE starts_with(record, $1 || ':')
           UNION SELECT record FROM profile WHERE starts_with(record, $1 || ':')
           UNION SELECT record FROM spoken WHERE starts_with(record, $1 || ':')
           UNION SELECT record FROM follow_record WHERE node = $1""",
        node,
    )
    return [row["record"] for row in rows]


async def erase_events(conn: Connection, node: str, after: int, until: int) -> list[bytes]:
    """The erase events of a node after one position, up to another."""
    rows = await conn.fetch(
        "SELECT raw FROM follow_event WHERE node = $1 AND seq > $2 AND seq <= $3 AND type = $4",
        node,
        after,
        until,
        RECORD_ERASE,
    )
    return [row["raw"] for row in rows]


async def tell(conn: Connection, shown: Sequence[tuple[bytes, int, str]]) -> None:
    """Which leaves of the networks events of our own log show, and of which node each is."""
    if shown:
        await conn.copy_records_to_table("told", records=shown, columns=("leaf", "seq", "node"))


async def told_of(conn: Connection, leaves: Sequence[bytes]) -> list[tuple[str, bytes]]:
    """Events of our own log that show these leaves: the record each is of, and its own leaf."""
    if not leaves:
        return []
    rows = await conn.fetch(
        """SELECT DISTINCT e.record, e.leaf FROM told t JOIN ledger_event e USING (seq)
           WHERE t.leaf = ANY($1::bytea[]) AND e.erasure IS NULL ORDER BY e.record, e.leaf""",
        list(leaves),
    )
    return [(row["record"], row["leaf"]) for row in rows]


async def told_unheld(conn: Connection, node: str) -> list[tuple[str, bytes]]:
    """Events of our own log that show leaves of a node that are not held any more, as by `told_of`."""
    rows = await conn.fetch(
        """SELECT DISTINCT e.record, e.leaf FROM told t JOIN ledger_event e USING (seq)
           WHERE t.node = $1 AND e.erasure IS NULL
             AND NOT EXISTS (SELECT FROM follow_event f WHERE f.node = $1 AND f.leaf = t.leaf)
             AND NOT EXISTS (SELECT FROM follow_dropped d WHERE d.node = $1 AND d.leaf = t.leaf)
           ORDER BY e.record, e.leaf""",
        node,
    )
    return [(row["record"], row["leaf"]) for row in rows]


async def latest(conn: Connection, records: Sequence[str]) -> list[Latest]:
    """The latest events of these records."""
    rows = await conn.fetch(
        """SELECT r.record, r.node, e.epoch, r.seq, r.type, e.raw, e.leaf, e.opaque
           FROM follow_record r JOIN follow_event e USING (node, seq)
           WHERE r.record = ANY($1::text[])""",
        list(records),
    )
    return convert(rows, list[Latest])


async def all_latest(conn: Connection, nodes: Sequence[str]) -> AsyncIterator[Latest]:
    """The latest events of all records of these nodes. Needs an open transaction."""
    rows = conn.cursor(
        """SELECT r.record, r.node, e.epoch, r.seq, r.type, e.raw, e.leaf, e.opaque
           FROM follow_record r JOIN follow_event e USING (node, seq)
           WHERE r.node = ANY($1::text[]) ORDER BY r.record""",
        list(nodes),
        prefetch=500,
    )
    async for row in rows:
        yield convert(row, Latest)


async def set_claims(conn: Connection, claims: Sequence[tuple[str, int, Said]]) -> None:
    """Claims in force: record, position in its log, what is said."""
    await conn.executemany(
        """INSERT INTO claim (record, seq, a, b, verdict, statement) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (record) DO UPDATE SET seq = excluded.seq, a = excluded.a, b = excluded.b,
               verdict = excluded.verdict, statement = excluded.statement""",
        [(record, seq, said.a, said.b, said.verdict, said.statement) for record, seq, said in claims],
    )


async def drop_claims(conn: Connection, records: Sequence[str]) -> None:
    """Claims that are withdrawn or no longer listened to."""
    await conn.execute("DELETE FROM claim WHERE record = ANY($1::text[])", list(records))


async def claimed(conn: Connection, claims: Sequence[str]) -> list[tuple[str, str, str]]:
    """These claims as they were: their own record, and the two that they are about."""
    rows = await conn.fetch("SELECT record, a, b FROM claim WHERE record = ANY($1::text[])", list(claims))
    return [(row["record"], row["a"], row["b"]) for row in rows]


async def claims_about(conn: Connection, records: Sequence[str]) -> list[Said]:
    """Claims in force that name one of these records; for one claimant and pair the latest only."""
    rows = await conn.fetch(
        """SELECT DISTINCT ON (split_part(record, ':', 1), least(a, b), greatest(a, b))
                  split_part(record, ':', 1) AS claimant, a, b, verdict, statement
           FROM claim WHERE a = ANY($1::text[]) OR b = ANY($1::text[])
           ORDER BY split_part(record, ':', 1), least(a, b), greatest(a, b), seq DESC""",
        list(records),
    )
    return convert(rows, list[Said])


async def set_successors(conn: Connection, records: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
    """Which of these records have a successor now."""
    await conn.execute("DELETE FROM successor WHERE record = ANY($1::text[])", list(records))
    if pairs:
        await conn.executemany("INSERT INTO successor (record, successor) VALUES ($1, $2)", pairs)


async def neighbours(conn: Connection, records: Iterable[str], least: int, lifted: int) -> set[str]:
    """Records on which it depends what becomes of these: what all owners say is one place, successors, copies,
    what is alike by `least` points, or by `lifted` where an owner says that it is one, and what is one now.

    What one owner alone says of another's record that is not alike ties nothing: else it could make the work of all.
    """
    # Whoever claims `a`, owns it.
    rows = await conn.fetch(
        """SELECT mine.b AS record FROM claim mine
               JOIN claim theirs ON theirs.a = mine.b AND theirs.b = mine.a AND theirs.verdict = 'same'
               WHERE mine.a = ANY($1::text[]) AND mine.verdict = 'same'
           UNION SELECT b FROM claim WHERE a = ANY($1::text[]) AND verdict = 'same'
                                       AND split_part(a, ':', 1) = split_part(b, ':', 1)
           UNION SELECT a FROM claim WHERE b = ANY($1::text[]) AND verdict = 'same'
                                       AND split_part(a, ':', 1) = split_part(b, ':', 1)
           UNION SELECT successor FROM successor WHERE record = ANY($1::text[])
           UNION SELECT record FROM successor WHERE successor = ANY($1::text[])
           UNION SELECT original FROM copy WHERE record = ANY($1::text[])
           UNION SELECT record FROM copy WHERE original = ANY($1::text[])
           UNION SELECT b FROM alike WHERE a = ANY($1::text[]) AND points >= $2
           UNION SELECT a FROM alike WHERE b = ANY($1::text[]) AND points >= $2
           UNION SELECT c.b FROM claim c JOIN alike l ON l.a = least(c.a, c.b) AND l.b = greatest(c.a, c.b)
               WHERE c.a = ANY($1::text[]) AND c.verdict = 'same' AND l.points >= $3
           UNION SELECT c.a FROM claim c JOIN alike l ON l.a = least(c.a, c.b) AND l.b = greatest(c.a, c.b)
               WHERE c.b = ANY($1::text[]) AND c.verdict = 'same' AND l.points >= $3
           UNION SELECT n.record FROM member m JOIN member n USING (view) WHERE m.record = ANY($1::text[])""",
        list(records),
        least,
        lifted,
    )
    return {row["record"] for row in rows}


async def forget_said(conn: Connection) -> None:
    """Keep nothing of what was read of claims, withdrawals, words, areas and fields."""
    for table in ("claim", "successor", "unread", "spoken", "stated"):
        await conn.execute(f"DELETE FROM {table}")  # noqa: S608 constants


async def set_unread(conn: Connection, read: Sequence[str], unread: Sequence[tuple[str, str]]) -> None:
    """Which of these records could not be read, and why."""
    await conn.execute("DELETE FROM unread WHERE record = ANY($1::text[])", list(read))
    if unread:
        await conn.executemany("INSERT INTO unread (record, why) VALUES ($1, $2)", unread)


async def unread_counts(conn: Connection) -> dict[str, int]:
    """Records that could not be read, by node."""
    rows = await conn.fetch("SELECT split_part(record, ':', 1) AS node, count(*) AS n FROM unread GROUP BY 1")
    return {row["node"]: row["n"] for row in rows}


async def views_of(conn: Connection, records: Sequence[str]) -> dict[str, str]:
    """In which place of the view each of these records is."""
    statement = "SELECT record, view FROM member WHERE record = ANY($1::text[]) AND view IS NOT NULL"
    rows = await conn.fetch(statement, list(records))
    return {row["record"]: row["view"] for row in rows}


async def bodies(conn: Connection, ids: Sequence[str]) -> dict[str, bytes]:
    """Canonical bytes of places by common id."""
    rows = await conn.fetch("SELECT id, body FROM view WHERE id = ANY($1::text[])", list(ids))
    return {row["id"]: row["body"] for row in rows}


async def remove_members(conn: Connection, records: Sequence[str]) -> None:
    """Records that are in no place any more; their ids go on answering that they were."""
    await conn.execute(
        """WITH stays AS (
               INSERT INTO stay (record, seq, view)
               SELECT record, size + 1, NULL FROM unnest($1::text[]) AS t(record), ledger_head
               ON CONFLICT (record, seq) DO UPDATE SET view = NULL
           )
           UPDATE member SET view = NULL WHERE record = ANY($1::text[])""",
        list(records),
    )


async def all_members(conn: Connection) -> list[str]:
    """All records that have ever been in a place."""
    return [row["record"] for row in await conn.fetch("SELECT record FROM member ORDER BY record")]


async def was_member(conn: Connection, record: str) -> bool:
    """Whether a record has ever been in a place of this view."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM member WHERE record = $1)", record))


async def set_members(conn: Connection, views: Mapping[str, str]) -> None:
    """In which place each of these records is now: from the next event of our own log on."""
    await conn.execute(
        """WITH moved AS (
               SELECT * FROM unnest($1::text[], $2::text[]) AS t(record, view)
           ), stays AS (
               INSERT INTO stay (record, seq, view) SELECT record, size + 1, view FROM moved, ledger_head
               ON CONFLICT (record, seq) DO UPDATE SET view = excluded.view
           )
           INSERT INTO member (record, view) SELECT record, view FROM moved
           ON CONFLICT (record) DO UPDATE SET view = excluded.view""",
        list(views),
        list(views.values()),
    )


async def remove_views(conn: Connection, ids: Sequence[str]) -> None:
    """Places that are no longer in the view."""
    if ids:
        await conn.execute(
            """WITH gone AS (DELETE FROM view WHERE id = ANY($1::text[]) RETURNING id)
               INSERT INTO unsearched (id) SELECT id FROM gone""",
            list(ids),
        )


async def save_views(conn: Connection, saved: Sequence[Saved]) -> None:
    """Places as they stand now; they are to be searched anew."""
    await conn.execute(
        SAVE,
        *([_cell(getattr(one, name)) for one in saved] for name in Saved.__struct_fields__),
    )


def _cell(value: object) -> object:
    """A value as `SAVE` takes it: no item of a list has a space in it."""
    return " ".join(value) if isinstance(value, tuple) else value


async def refresh_buckets(conn: Connection, buckets: Sequence[int]) -> None:
    """Hash these buckets again; `entry` begins with H(id), so its order is that of H(id)."""
    await conn.execute(
        """INSERT INTO bucket (bucket, hash)
           SELECT b, sha256(coalesce(string_agg(entry, ''::bytea ORDER BY entry), ''))
           FROM unnest($1::smallint[]) AS t(b) LEFT JOIN view ON view.bucket = b GROUP BY b
           ON CONFLICT (bucket) DO UPDATE SET hash = excluded.hash""",
        list(buckets),
    )


async def buckets(conn: Connection) -> dict[int, bytes]:
    """Hashes of the buckets that hold a place."""
    rows = await conn.fetch("SELECT bucket, hash FROM bucket")
    return {row["bucket"]: row["hash"] for row in rows}


async def entries(conn: Connection, bucket: int) -> list[tuple[str, bytes]]:
    """The places of a bucket with their entries, in the order in which they are hashed."""
    rows = await conn.fetch("SELECT id, entry FROM view WHERE bucket = $1 ORDER BY entry", bucket)
    return [(row["id"], row["entry"]) for row in rows]


async def count_views(conn: Connection) -> int:
    """Places of the view."""
    return int(await conn.fetchval("SELECT count(*) FROM view"))


async def place_counts(conn: Connection) -> dict[str, int]:
    """Records in the view, by network."""
    rows = await conn.fetch("SELECT node, places FROM merged")
    return {row["node"]: row["places"] for row in rows}


async def add_places(conn: Connection, counts: Mapping[str, int]) -> None:
    """So many more records of each network are in the view."""
    await conn.execute(
        """UPDATE merged SET places = places + more FROM unnest($1::text[], $2::bigint[]) AS t(network, more)
           WHERE node = network""",
        list(counts),
        list(counts.values()),
    )


async def recount_places(conn: Connection) -> None:
    """Count the records of each network that are in the view."""
    await conn.execute(
        """UPDATE merged SET places = (
               SELECT count(*) FROM profile JOIN member USING (record) WHERE network = node AND view IS NOT NULL)"""
    )


async def found(conn: Connection, record: str) -> tuple[str, bytes, bytes] | None:
    """The place that any member id finds: common id, canonical bytes, flat feature."""
    row = await conn.fetchrow(
        """SELECT v.id, v.body, v.item FROM member m JOIN view v ON v.id = m.view WHERE m.record = $1""",
        record,
    )
    return None if row is None else (row["id"], row["body"], row["item"])


async def voices(conn: Connection, records: Sequence[str]) -> list[Voiced]:
    """The latest events of these records, where their networks' logs have them."""
    rows = await conn.fetch(
        """SELECT r.record, r.node, e.epoch, r.seq, r.version, r.type, e.raw
           FROM follow_record r JOIN follow_event e USING (node, seq)
           WHERE r.record = ANY($1::text[]) ORDER BY r.record""",
        list(records),
    )
    return convert(rows, list[Voiced])


SAVED = ", ".join(Saved.__struct_fields__)
# Of what type each column of a place is; lists go to the database as text.
TYPES = {
    **dict.fromkeys(("entry", "body", "item"), "bytea"),
    **dict.fromkeys(("opened_year", "closed_year", "voices"), "integer"),
    **dict.fromkeys(("lat", "lon"), "double precision"),
    "bucket": "smallint",
    "updated": "timestamptz",
    "hidden": "boolean",
}
LISTS = ("networks", "families", "types", "services", "labels", "licenses", "said")
SAVE = f"""
    WITH saved AS (
        INSERT INTO view ({SAVED})
        SELECT {", ".join(f"string_to_array({n}, ' ')" if n in LISTS else n for n in Saved.__struct_fields__)}
        FROM unnest({", ".join(f"${i}::{TYPES.get(n, 'text')}[]" for i, n in enumerate(Saved.__struct_fields__, 1))})
             AS t({SAVED})
        ON CONFLICT (id) DO UPDATE SET {", ".join(f"{n} = excluded.{n}" for n in Saved.__struct_fields__)}
        RETURNING id)
    INSERT INTO unsearched (id) SELECT id FROM saved"""  # noqa: S608 constants


async def every_view(conn: Connection) -> AsyncIterator[Saved]:
    """All places of the view, by common id. Needs an open transaction."""
    async for row in conn.cursor(f"SELECT {SAVED} FROM view ORDER BY id", prefetch=500):  # noqa: S608
        yield convert(row, Saved)


async def every_body(conn: Connection) -> AsyncIterator[bytes]:
    """The canonical bytes of all places of the view. Needs an open transaction."""
    async for row in conn.cursor("SELECT body FROM view ORDER BY id", prefetch=500):
        yield row["body"]


async def stored_views(conn: Connection, ids: Sequence[str]) -> dict[str, tuple[bytes, bytes]]:
    """The entries and the bytes of places as they are stored, by common id."""
    rows = await conn.fetch("SELECT id, entry, body FROM view WHERE id = ANY($1::text[])", list(ids))
    return {row["id"]: (row["entry"], row["body"]) for row in rows}


async def unmatched_views(conn: Connection) -> list[str]:
    """Places that no record is in, and places that are not there although a record is in them."""
    rows = await conn.fetch(
        """SELECT coalesce(v.id, m.view) AS id
           FROM (SELECT DISTINCT view FROM member WHERE view IS NOT NULL) AS m FULL JOIN view v ON v.id = m.view
           WHERE v.id IS NULL OR m.view IS NULL ORDER BY 1"""
    )
    return [row["id"] for row in rows]


async def mistaken_buckets(conn: Connection) -> list[int]:
    """Buckets whose hash is not that of their entries."""
    rows = await conn.fetch(
        """SELECT bucket FROM bucket LEFT JOIN (
               SELECT bucket, sha256(string_agg(entry, ''::bytea ORDER BY entry)) AS hash FROM view GROUP BY bucket
           ) AS now USING (bucket)
           WHERE bucket.hash <> coalesce(now.hash, sha256('')) ORDER BY bucket"""
    )
    return [row["bucket"] for row in rows]
