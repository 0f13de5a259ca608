"""Every SQL statement by which the signed log is cut, erased, checked and let go of, one function each."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from msgspec import Struct, convert

from services.ledger_store import Kept
from services.postgres import Connection


class Stored(Struct, frozen=True):
    """An event as far as a proof of the log needs it."""

    seq: int
    epoch: int
    record: str
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    erased: bool


class Erasure(Struct, frozen=True):
    """An erase event: the record, and the event as it was signed."""

    record: str
    raw: bytes
    kid: str
    sig: bytes


async def leaves(conn: Connection, *, after: int, until: int) -> AsyncIterator[bytes]:
    """The leaves of events after+1..until, in order. Needs an open transaction."""
    statement = "SELECT leaf FROM ledger_event WHERE seq > $1 AND seq <= $2 ORDER BY seq"
    async for row in conn.cursor(statement, after, until, prefetch=2000):
        yield row["leaf"]


async def stored(conn: Connection, *, after: int = 0) -> AsyncIterator[Stored]:
    """Events after a position as they are stored, in order. Needs an open transaction."""
    statement = """SELECT seq, epoch, record, raw, kid, sig, leaf, erasure IS NOT NULL AS erased
                   FROM ledger_event WHERE seq > $1 ORDER BY seq"""
    async for row in conn.cursor(statement, after, prefetch=500):
        yield convert(row, Stored)


async def cut(conn: Connection, size: int) -> list[str]:
    """Keep the events up to a size, and the rest aside; the records of which something went."""
    rows = await conn.fetch("SELECT DISTINCT record FROM ledger_event WHERE seq > $1", size)
    await conn.execute(
        """WITH gone AS (DELETE FROM ledger_event WHERE seq > $1 RETURNING *)
           INSERT INTO ledger_dropped (epoch, seq, record, version, type, time, raw, kid, sig, leaf, author)
           SELECT epoch, seq, record, version, type, time, raw, kid, sig, leaf, author FROM gone""",
        size,
    )
    await conn.execute("DELETE FROM ledger_checkpoint WHERE size > $1", size)
    await conn.execute("UPDATE ledger_relay SET confirmed = least(confirmed, $1)", size)
    records = [row["record"] for row in rows]
    await point(conn, records)
    return records


async def point(conn: Connection, records: Sequence[str]) -> None:
    """Point records to their latest events, or forget those that have none; all buckets are hashed anew."""
    await conn.execute("DELETE FROM ledger_bucket")
    await conn.execute(
        """WITH latest AS (
               SELECT DISTINCT ON (record) record, seq, version, leaf FROM ledger_event
               WHERE record = ANY($1::text[]) ORDER BY record, seq DESC
           ), gone AS (
               DELETE FROM ledger_record r WHERE record = ANY($1::text[])
                   AND NOT EXISTS (SELECT FROM latest l WHERE l.record = r.record)
           )
           UPDATE ledger_record r SET seq = l.seq, version = l.version, leaf = l.leaf
           FROM latest l WHERE l.record = r.record""",
        list(records),
    )


async def index(conn: Connection, *, after: int) -> None:
    """Point the records of events after a position to their latest ones."""
    await conn.execute(
        """INSERT INTO ledger_record (record, bucket, seq, version, leaf)
           SELECT DISTINCT ON (record) record, get_byte(sha256(convert_to(record, 'UTF8')), 0), seq, version, leaf
           FROM ledger_event WHERE seq > $1 ORDER BY record, seq DESC
           ON CONFLICT (record) DO UPDATE
           SET seq = excluded.seq, version = excluded.version, leaf = excluded.leaf""",
        after,
    )


async def dropped(conn: Connection) -> int:
    """How many events epochs have cut off."""
    return int(await conn.fetchval("SELECT count(*) FROM ledger_dropped"))


async def erasable(conn: Connection, record: str, *, first: int, last: int) -> list[bytes]:
    """The leaves of these versions of a record, dropped ones included, whose content is still there."""
    rows = await conn.fetch(
        """SELECT leaf FROM (
               SELECT version, seq, leaf FROM ledger_event
               WHERE record = $1 AND version BETWEEN $2 AND $3 AND erasure IS NULL AND type <> $4
               UNION ALL SELECT version, seq, leaf FROM ledger_dropped
               WHERE record = $1 AND version BETWEEN $2 AND $3 AND raw <> '' AND type <> $4
           ) AS event ORDER BY version, seq""",
        record,
        first,
        last,
        "org.maillage.record.erase.v1",
    )
    return [row["leaf"] for row in rows]


async def erase(conn: Connection, by: Erasure, gone: Sequence[bytes]) -> int:
    """Forget the bytes of these leaves of a record, in the log and beside it; how many events of the log."""
    id = await conn.fetchval(
        "INSERT INTO ledger_erasure (record, raw, kid, sig) VALUES ($1, $2, $3, $4) RETURNING id",
        by.record,
        by.raw,
        by.kid,
        by.sig,
    )
    told: str = await conn.execute(
        """UPDATE ledger_event SET raw = '', sig = '', erasure = $1
           WHERE record = $2 AND leaf = ANY($3::bytea[])""",
        id,
        by.record,
        list(gone),
    )
    await conn.execute(
        "UPDATE ledger_dropped SET raw = '', sig = '' WHERE record = $1 AND leaf = ANY($2::bytea[])",
        by.record,
        list(gone),
    )
    return int(told.rpartition(" ")[2])


async def unsaid_erasures(conn: Connection) -> list[Erasure]:
    """Erase events that stand in the log no more, or not yet again, for it to say again: an epoch has cut them off,
    or a backup was older than they."""
    rows = await conn.fetch(
        """SELECT DISTINCT ON (b.record, b.raw) b.record, b.raw, b.kid, b.sig FROM ledger_erasure b
           WHERE (EXISTS (SELECT FROM ledger_event h WHERE h.erasure = b.id)
                  OR EXISTS (SELECT FROM ledger_dropped d WHERE d.record = b.record AND d.raw = b.raw))
             AND NOT EXISTS (SELECT FROM ledger_event e WHERE e.record = b.record AND e.raw = b.raw)
           ORDER BY b.record, b.raw"""
    )
    return convert(rows, list[Erasure])


async def drop_erasure(conn: Connection, said: Erasure) -> None:
    """Let go of an erase event that was said again, and by which nothing is hidden any more."""
    await conn.execute("DELETE FROM ledger_erasure WHERE record = $1 AND raw = $2", said.record, said.raw)


async def erasures(conn: Connection) -> list[Erasure]:
    """All erase events by which something left, oldest first."""
    return convert(
        await conn.fetch("SELECT record, raw, kid, sig FROM ledger_erasure ORDER BY id"), list[Erasure]
    )


async def count_erasures(conn: Connection) -> int:
    """How many erase events there were so far."""
    return int(await conn.fetchval("SELECT coalesce(max(id), 0) FROM ledger_erasure"))


async def replace_event(conn: Connection, seq: int, *, raw: bytes, kid: str, sig: bytes, leaf: bytes) -> None:
    """Put the bytes of an event right."""
    await conn.execute(
        "UPDATE ledger_event SET raw = $2, kid = $3, sig = $4, leaf = $5 WHERE seq = $1",
        seq,
        raw,
        kid,
        sig,
        leaf,
    )


async def let_go(conn: Connection, floor: int) -> None:
    """Forget events up to a floor, except the latest of each record, and the checkpoints below it."""
    await conn.execute(
        """DELETE FROM ledger_event e WHERE seq <= $1
           AND NOT EXISTS (SELECT FROM ledger_record r WHERE r.record = e.record AND r.seq = e.seq)""",
        floor,
    )
    await conn.execute("DELETE FROM ledger_checkpoint WHERE size < $1 AND NOT complete", floor)


class Standing(Struct, frozen=True):
    """A record by its latest event, and by the latest that gave it content (`null` bytes where that is erased)."""

    record: str
    type: str
    version: int
    epoch: int
    seq: int
    time: datetime
    raw: bytes
    put: bytes


async def standing(conn: Connection, records: Sequence[str]) -> list[Standing]:
    """These records as the log has them; those that it has not are missing."""
    rows = await conn.fetch(
        """SELECT r.record, e.type, e.version, e.epoch, e.seq, e.time, e.raw,
                  coalesce((SELECT p.raw FROM ledger_event p
                            WHERE p.record = r.record AND p.type LIKE '%.put.%'
                            ORDER BY p.version DESC LIMIT 1), '') AS put
           FROM ledger_record r JOIN ledger_event e USING (seq) WHERE r.record = ANY($1::text[])""",
        list(records),
    )
    return convert(rows, list[Standing])


async def records_after(conn: Connection, record: str, limit: int) -> list[str]:
    """The next records of the log, by id."""
    rows = await conn.fetch(
        "SELECT record FROM ledger_record WHERE record > $1 ORDER BY record LIMIT $2", record, limit
    )
    return [row["record"] for row in rows]


class Told(Struct, frozen=True):
    """What the columns of an event say beside its bytes."""

    seq: int
    epoch: int
    record: str
    version: int
    type: str
    time: datetime
    raw: bytes
    leaf: bytes


async def told(conn: Connection) -> AsyncIterator[Told]:
    """Events that are not erased, with what their columns say. Needs an open transaction."""
    statement = """SELECT seq, epoch, record, version, type, time, raw, leaf FROM ledger_event
                   WHERE erasure IS NULL ORDER BY seq"""
    async for row in conn.cursor(statement, prefetch=500):
        yield convert(row, Told)


async def tell_again(conn: Connection, told: Sequence[Told]) -> None:
    """Put the columns of events right."""
    await conn.executemany(
        """UPDATE ledger_event SET epoch = $2, record = $3, version = $4, type = $5, time = $6
           WHERE seq = $1""",
        [(t.seq, t.epoch, t.record, t.version, t.type, t.time) for t in told],
    )


async def checkpoints(conn: Connection) -> list[Kept]:
    """All kept checkpoints, oldest first."""
    rows = await conn.fetch(
        "SELECT n, epoch, size, complete, raw, kid, sig FROM ledger_checkpoint ORDER BY n"
    )
    return convert(rows, list[Kept])


async def drop_checkpoints(conn: Connection, numbers: Sequence[int]) -> None:
    """Checkpoints that are damaged."""
    await conn.execute("DELETE FROM ledger_checkpoint WHERE n = ANY($1::bigint[])", list(numbers))


async def mistaken_records(conn: Connection) -> list[str]:
    """Records that do not point to their latest event, or are in the wrong bucket."""
    rows = await conn.fetch(
        """WITH latest AS (
               SELECT DISTINCT ON (record) record, seq, version, leaf FROM ledger_event
               ORDER BY record, seq DESC
           )
           SELECT record FROM latest l FULL JOIN ledger_record r USING (record)
           WHERE (l.seq, l.version, l.leaf) IS DISTINCT FROM (r.seq, r.version, r.leaf)
              OR r.bucket <> get_byte(sha256(convert_to(record, 'UTF8')), 0)
           ORDER BY record"""
    )
    return [row["record"] for row in rows]


async def renew_records(conn: Connection, records: Sequence[str]) -> None:
    """Point records to their latest events, whatever stood there; all buckets are hashed anew."""
    await conn.execute("DELETE FROM ledger_bucket")
    await conn.execute("DELETE FROM ledger_record WHERE record = ANY($1::text[])", list(records))
    await conn.execute(
        """INSERT INTO ledger_record (record, bucket, seq, version, leaf)
           SELECT DISTINCT ON (record) record, get_byte(sha256(convert_to(record, 'UTF8')), 0), seq, version, leaf
           FROM ledger_event WHERE record = ANY($1::text[]) ORDER BY record, seq DESC""",
        list(records),
    )


async def mistaken_buckets(conn: Connection, *, after: int) -> list[int]:
    """Buckets whose hash or count is not that of their records; those that changed after this seq wait anyway."""
    rows = await conn.fetch(
        """SELECT bucket FROM (
               SELECT bucket, count(*) AS count,
                      sha256(string_agg(sha256(convert_to(record, 'UTF8')) || leaf, ''::bytea ORDER BY record))
                          AS hash
               FROM ledger_record GROUP BY bucket HAVING max(seq) <= $1
           ) AS now JOIN ledger_bucket b USING (bucket)
           WHERE (b.hash, b.count) IS DISTINCT FROM (now.hash, now.count) ORDER BY bucket""",
        after,
    )
    return [row["bucket"] for row in rows]


async def drop_buckets(conn: Connection) -> None:
    """Have all buckets hashed anew."""
    await conn.execute("DELETE FROM ledger_bucket")
