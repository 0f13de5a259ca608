"""Every SQL statement by which the signed log grows and is read, one function each."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct, convert, structs

from services.postgres import COPY_FROM, Connection


class Head(Struct, frozen=True):
    """Where the log stands; nothing of it lives only in memory.

    `hold`: why nothing may be written, as a code. `floor`: from where on readers may read, and the Merkle range
    up to there.
    """

    node: str
    epoch: int
    size: int
    n: int
    kid: str
    descriptor: str
    peaks: tuple[bytes, ...]
    full_size: int
    signed_at: datetime
    hold: str | None = None
    floor: int = 0
    floor_peaks: tuple[bytes, ...] = ()


class Entry(Struct, frozen=True):
    """One event as it stands in the log. `routing` and `also` are RabbitMQ routing keys."""

    seq: int
    epoch: int
    record: str
    version: int
    type: str
    time: datetime
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    routing: str
    also: str | None
    author: str


class Kept(Struct, frozen=True):
    """A signed checkpoint as it is kept."""

    n: int
    epoch: int
    size: int
    complete: bool
    raw: str
    kid: str
    sig: bytes


class Written(Struct, frozen=True):
    """One version of a record: where it stands, when and by whom it was written."""

    seq: int
    epoch: int
    version: int
    type: str
    time: datetime
    raw: bytes
    author: str
    erased: bool = False


HEAD = "node, epoch, size, n, kid, descriptor, peaks, full_size, signed_at, hold, floor, floor_peaks"
WRITTEN = "seq, epoch, version, type, time, raw, author, erasure IS NOT NULL AS erased"


async def reserve(conn: Connection) -> None:
    """Let nobody else found a node or write until the transaction ends."""
    await conn.execute("LOCK TABLE ledger_head IN SHARE ROW EXCLUSIVE MODE")


async def found(conn: Connection, head: Head) -> None:
    """Write the first head of a new node."""
    await conn.execute(
        f"""INSERT INTO ledger_head ({HEAD})
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",  # noqa: S608 constant
        *structs.astuple(head),
    )


async def replace_head(conn: Connection, head: Head) -> None:
    """Save a head that has more than grown: another key, descriptor, epoch or hold."""
    await conn.execute(
        f"""UPDATE ledger_head SET ({HEAD}) = ROW ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)""",  # noqa: S608
        *structs.astuple(head),
    )


async def head(conn: Connection) -> Head | None:
    """The head, unlocked; None before the node has an identity."""
    row = await conn.fetchrow(f"SELECT {HEAD} FROM ledger_head")  # noqa: S608 constant
    return None if row is None else convert(row, Head)


async def size(conn: Connection) -> int:
    """How many events the log has: 0 before the node has an identity."""
    return int(await conn.fetchval("SELECT max(size) FROM ledger_head") or 0)


async def locked_head(conn: Connection) -> Head | None:
    """The head, locked until the transaction ends: batches of all processes queue up here."""
    row = await conn.fetchrow(f"SELECT {HEAD} FROM ledger_head FOR UPDATE")  # noqa: S608 constant
    return None if row is None else convert(row, Head)


async def move_head(conn: Connection, head: Head) -> None:
    """Save where the log stands now."""
    await conn.execute(
        "UPDATE ledger_head SET size = $1, n = $2, peaks = $3, full_size = $4, signed_at = $5", *_moved(head)
    )


async def add_descriptor(conn: Connection, *, version: int, hash: str, raw: str, signatures: bytes) -> None:
    """Keep a version of the descriptor."""
    await conn.execute(
        "INSERT INTO ledger_descriptor (version, hash, raw, signatures) VALUES ($1, $2, $3, $4)",
        version,
        hash,
        raw,
        signatures,
    )


async def descriptors(conn: Connection) -> list[tuple[str, bytes]]:
    """All descriptors, oldest first: raw text and encoded signatures."""
    rows = await conn.fetch("SELECT raw, signatures FROM ledger_descriptor ORDER BY version")
    return [(row["raw"], row["signatures"]) for row in rows]


async def versions(conn: Connection, records: Sequence[str]) -> dict[str, int]:
    """The latest version of each of these records that exists."""
    rows = await conn.fetch(
        "SELECT record, version FROM ledger_record WHERE record = ANY($1::text[])", list(records)
    )
    return {row["record"]: row["version"] for row in rows}


async def append(
    conn: Connection, entries: Sequence[Entry], buckets: Mapping[str, int], kept: Kept, head: Head
) -> None:
    """Append events, point their records (with their buckets) to them, keep the checkpoint, move the head."""
    # One statement, as each costs a round trip in which all other batches wait; many rows go faster by COPY.
    latest = {e.record: e for e in entries}
    if len(entries) >= COPY_FROM:
        await conn.copy_records_to_table("ledger_event", records=map(structs.astuple, entries), columns=EVENT)
        entries = ()
        new = [e for e in latest.values() if e.version == 1]
        rows = [(e.record, buckets[e.record], e.seq, e.version, e.leaf) for e in new]
        await conn.copy_records_to_table("ledger_record", records=rows, columns=RECORD)
        latest = {record: e for record, e in latest.items() if e.version != 1}
    await conn.execute(
        """WITH events AS (
               INSERT INTO ledger_event (seq, epoch, record, version, type, time, raw, kid, sig, leaf,
                                         routing, also, author)
               SELECT * FROM unnest($1::bigint[], $2::int[], $3::text[], $4::bigint[], $5::text[],
                                    $6::timestamptz[], $7::bytea[], $8::text[], $9::bytea[], $10::bytea[],
                                    $11::text[], $12::text[], $13::text[])
           ), records AS (
               INSERT INTO ledger_record (record, bucket, seq, version, leaf)
               SELECT * FROM unnest($14::text[], $15::smallint[], $16::bigint[], $17::bigint[], $18::bytea[])
               ON CONFLICT (record) DO UPDATE
               SET seq = excluded.seq, version = excluded.version, leaf = excluded.leaf
           ), checkpoints AS (
               INSERT INTO ledger_checkpoint (n, epoch, size, complete, raw, kid, sig)
               VALUES ($19, $20, $21, $22, $23, $24, $25)
           )
           UPDATE ledger_head SET size = $26, n = $27, peaks = $28, full_size = $29, signed_at = $30""",
        *([getattr(e, column) for e in entries] for column in EVENT),
        list(latest),
        [buckets[record] for record in latest],
        [e.seq for e in latest.values()],
        [e.version for e in latest.values()],
        [e.leaf for e in latest.values()],
        *structs.astuple(kept),
        *_moved(head),
    )


EVENT = Entry.__struct_fields__
RECORD = ("record", "bucket", "seq", "version", "leaf")


def _moved(head: Head) -> tuple[object, ...]:
    return head.size, head.n, list(head.peaks), head.full_size, head.signed_at


async def add_checkpoint(conn: Connection, kept: Kept) -> None:
    """Keep a signed checkpoint."""
    await conn.execute(
        """INSERT INTO ledger_checkpoint (n, epoch, size, complete, raw, kid, sig)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        kept.n,
        kept.epoch,
        kept.size,
        kept.complete,
        kept.raw,
        kept.kid,
        kept.sig,
    )


async def refresh_buckets(conn: Connection, *, after: int) -> None:
    """Hash again the buckets in which a record changed after this seq."""
    await conn.execute(
        """INSERT INTO ledger_bucket (bucket, hash, count)
           SELECT bucket,
                  sha256(string_agg(sha256(convert_to(record, 'UTF8')) || leaf, ''::bytea ORDER BY record)),
                  count(*)
           FROM ledger_record
           WHERE bucket IN (SELECT DISTINCT bucket FROM ledger_record WHERE seq > $1)
           GROUP BY bucket
           ON CONFLICT (bucket) DO UPDATE SET hash = excluded.hash, count = excluded.count""",
        after,
    )


async def buckets(conn: Connection) -> dict[int, tuple[bytes, int]]:
    """Hash and number of records of each bucket that has any."""
    rows = await conn.fetch("SELECT bucket, hash, count FROM ledger_bucket")
    return {row["bucket"]: (row["hash"], row["count"]) for row in rows}


async def complete_checkpoint(conn: Connection) -> Kept | None:
    """The latest checkpoint that has a state root."""
    row = await conn.fetchrow(
        """SELECT n, epoch, size, complete, raw, kid, sig FROM ledger_checkpoint
           WHERE complete ORDER BY n DESC LIMIT 1"""
    )
    return None if row is None else convert(row, Kept)


async def latest_checkpoint(conn: Connection) -> Kept | None:
    """The checkpoint with the highest n."""
    row = await conn.fetchrow(
        "SELECT n, epoch, size, complete, raw, kid, sig FROM ledger_checkpoint ORDER BY n DESC LIMIT 1"
    )
    return None if row is None else convert(row, Kept)


async def checkpoint_within(conn: Connection, *, after: int, until: int) -> Kept | None:
    """The last kept checkpoint whose size is in after+1..until."""
    row = await conn.fetchrow(
        """SELECT n, epoch, size, complete, raw, kid, sig FROM ledger_checkpoint
           WHERE size > $1 AND size <= $2 ORDER BY size DESC, n DESC LIMIT 1""",
        after,
        until,
    )
    return None if row is None else convert(row, Kept)


async def thin_checkpoints(conn: Connection, *, every: int, keep: int) -> int:
    """Leave the last checkpoint of each size, and up to size `keep` one in `every` events; how many went."""
    result: str = await conn.execute(
        """DELETE FROM ledger_checkpoint WHERE n IN (
               SELECT n FROM (
                   SELECT n, size, complete,
                          lead(n) OVER same AS next,
                          bool_or(complete) OVER (same ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING)
                              AS proven,
                          lead(n) OVER (PARTITION BY size <= $2, size / $1 ORDER BY n) AS near
                   FROM ledger_checkpoint WINDOW same AS (PARTITION BY size ORDER BY n)
               ) AS checkpoint
               WHERE CASE WHEN complete THEN proven ELSE next IS NOT NULL END
                  OR (size <= $2 AND near IS NOT NULL))
           AND n <> (SELECT max(n) FROM ledger_checkpoint WHERE complete)""",
        every,
        keep,
    )
    return int(result.rpartition(" ")[2])


class Signed(Struct, frozen=True):
    """An event as it is served: its position, bytes and signature; `by_*` is the event that erased it."""

    epoch: int
    seq: int
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    by_raw: bytes | None = None
    by_kid: str | None = None
    by_sig: bytes | None = None


SIGNED = "e.epoch, e.seq, e.raw, e.kid, e.sig, e.leaf, b.raw AS by_raw, b.kid AS by_kid, b.sig AS by_sig"


async def page(conn: Connection, *, after: int, until: int, most: int) -> list[Signed]:
    """Events after+1..until in order: the first, and as many more as have at most so many bytes together."""
    rows = await conn.fetch(
        f"""SELECT epoch, seq, raw, kid, sig, leaf, by_raw, by_kid, by_sig
            FROM (SELECT {SIGNED},
                         sum(octet_length(e.raw) + coalesce(octet_length(b.raw), 0))
                             OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes
                  FROM ledger_event e LEFT JOIN ledger_erasure b ON b.id = e.erasure
                  WHERE seq > $1 AND seq <= $2) AS event
            WHERE bytes <= $3 OR seq = $1 + 1 ORDER BY seq""",  # noqa: S608 constant
        after,
        until,
        most,
    )
    return convert(rows, list[Signed])


async def latest_events(conn: Connection) -> AsyncIterator[Signed]:
    """The latest event of every record by record id. Needs an open transaction."""
    statement = f"""SELECT {SIGNED}
                    FROM ledger_record r JOIN ledger_event e USING (seq)
                         LEFT JOIN ledger_erasure b ON b.id = e.erasure
                    ORDER BY r.record"""  # noqa: S608 constant
    async for row in conn.cursor(statement, prefetch=500):
        yield convert(row, Signed)


async def written(conn: Connection, record: str, *, after: int, limit: int) -> list[Written]:
    """Versions of a record after one of them, oldest first."""
    rows = await conn.fetch(
        f"""SELECT {WRITTEN} FROM ledger_event
            WHERE record = $1 AND version > $2 ORDER BY version LIMIT $3""",  # noqa: S608 constant
        record,
        after,
        limit,
    )
    return convert(rows, list[Written])


async def last(conn: Connection, record: str) -> Written | None:
    """The latest event of a record."""
    row = await conn.fetchrow(
        f"""SELECT {WRITTEN} FROM ledger_event
            WHERE seq = (SELECT seq FROM ledger_record WHERE record = $1)""",  # noqa: S608 constant
        record,
    )
    return None if row is None else convert(row, Written)


async def at_versions(conn: Connection, wanted: Sequence[tuple[str, int]]) -> list[Written]:
    """These versions of records, where the log holds them."""
    rows = await conn.fetch(
        f"""SELECT {WRITTEN} FROM ledger_event
            WHERE (record, version) IN (SELECT * FROM unnest($1::text[], $2::bigint[]))""",  # noqa: S608
        [record for record, _ in wanted],
        [version for _, version in wanted],
    )
    return convert(rows, list[Written])


async def event(conn: Connection, seq: int) -> Written | None:
    """One event of the log."""
    row = await conn.fetchrow(
        f"SELECT {WRITTEN} FROM ledger_event WHERE seq = $1",  # noqa: S608 constant
        seq,
    )
    return None if row is None else convert(row, Written)


async def unrelayed(conn: Connection, *, after: int, limit: int) -> list[Entry]:
    """Events after the relay's watermark, in order."""
    rows = await conn.fetch(
        """SELECT seq, epoch, record, version, type, time, raw, kid, sig, leaf, routing, also, author
           FROM ledger_event WHERE seq > $1 AND erasure IS NULL ORDER BY seq LIMIT $2""",
        after,
        limit,
    )
    return convert(rows, list[Entry])


async def relayed(conn: Connection) -> int:
    """The highest seq such that it and all before are confirmed by the broker."""
    return int(await conn.fetchval("SELECT confirmed FROM ledger_relay"))


async def set_relayed(conn: Connection, seq: int) -> None:
    """Remember the relay's watermark; it never goes back."""
    await conn.execute("UPDATE ledger_relay SET confirmed = $1 WHERE confirmed < $1", seq)
