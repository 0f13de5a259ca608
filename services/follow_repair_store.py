"""Every SQL statement by which what is held of followed logs is read again, checked and put right."""

from collections.abc import AsyncIterator, Sequence

from msgspec import Struct, convert

from services.audit import Kept
from services.merkle import Range
from services.postgres import Connection
from services.proofs import Followed


class Stored(Struct, frozen=True):
    """An event of another node as it is stored."""

    seq: int
    epoch: int
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    record: str | None
    version: int | None
    type: str | None
    opaque: str | None
    erased: bool


STORED = "seq, epoch, raw, kid, sig, leaf, record, version, type, opaque, erased_by IS NOT NULL AS erased"


async def hold(conn: Connection, node: str) -> None:
    """Let nobody move the cursor of a node until the transaction ends."""
    await conn.execute("SELECT FROM follow_node WHERE node = $1 FOR UPDATE", node)


async def opaque(conn: Connection, node: str, *, after: int, limit: int) -> list[Stored]:
    """The next events of a node that could not be used when they came."""
    rows = await conn.fetch(
        f"""SELECT {STORED} FROM follow_event WHERE node = $1 AND seq > $2 AND opaque IS NOT NULL
            ORDER BY seq LIMIT $3""",  # noqa: S608 constant
        node,
        after,
        limit,
    )
    return convert(rows, list[Stored])


async def read_again(conn: Connection, node: str, events: Sequence[Followed]) -> None:
    """What these events say, as it is read now."""
    await conn.executemany(
        """UPDATE follow_event SET record = $3, version = $4, type = $5, opaque = $6
           WHERE node = $1 AND seq = $2""",
        [
            (
                node,
                e.seq,
                e.event.subject if e.event else None,
                e.event.recordversion if e.event else None,
                e.event.type if e.event else None,
                e.opaque,
            )
            for e in events
        ],
    )


async def replaced(conn: Connection, node: str) -> None:
    """What is held of a node is other than it was: its records point to their latest events, all is merged again."""
    await conn.execute("DELETE FROM follow_record WHERE node = $1", node)
    await conn.execute(
        """INSERT INTO follow_record (record, node, seq, version, type)
           SELECT DISTINCT ON (record) record, node, seq, version, type FROM follow_event
           WHERE node = $1 AND version IS NOT NULL ORDER BY record, seq DESC""",
        node,
    )
    await conn.execute(
        """UPDATE follow_node SET rewinds = rewinds + 1,
                  opaque = (SELECT count(*) FROM follow_event WHERE node = $1 AND opaque IS NOT NULL)
           WHERE node = $1""",
        node,
    )


async def stored(conn: Connection, node: str) -> AsyncIterator[Stored]:
    """All events of a node that are held, in order. Needs an open transaction."""
    statement = f"SELECT {STORED} FROM follow_event WHERE node = $1 ORDER BY seq"  # noqa: S608 constant
    async for row in conn.cursor(statement, node, prefetch=500):
        yield convert(row, Stored)


async def replace_events(conn: Connection, node: str, events: Sequence[Kept]) -> None:
    """Put the bytes of events right."""
    await conn.executemany(
        "UPDATE follow_event SET raw = $3, kid = $4, sig = $5, leaf = $6 WHERE node = $1 AND seq = $2",
        [(node, e.seq, e.raw, e.kid, e.sig, e.leaf) for e in events],
    )


async def checkpoints(conn: Connection, node: str) -> list[tuple[int, int, str]]:
    """All kept checkpoints of a node, oldest first: epoch, number, and the text as it was served."""
    rows = await conn.fetch(
        "SELECT epoch, n, signed FROM follow_checkpoint WHERE node = $1 ORDER BY epoch, n", node
    )
    return [(row["epoch"], row["n"], row["signed"]) for row in rows]


async def drop_checkpoints(conn: Connection, node: str, numbers: Sequence[tuple[int, int]]) -> None:
    """Checkpoints of a node that are damaged, by epoch and number."""
    await conn.executemany(
        "DELETE FROM follow_checkpoint WHERE node = $1 AND epoch = $2 AND n = $3",
        [(node, epoch, n) for epoch, n in numbers],
    )


async def set_peaks(conn: Connection, node: str, tree: Range) -> None:
    """The Merkle range over what is held of a node."""
    await conn.execute("UPDATE follow_node SET peaks = $2 WHERE node = $1", node, list(tree.peaks))


async def mistaken_records(conn: Connection, node: str) -> list[str]:
    """Records of a node that do not point to their latest event."""
    rows = await conn.fetch(
        """WITH latest AS (
               SELECT DISTINCT ON (record) record, seq, version, type FROM follow_event
               WHERE node = $1 AND version IS NOT NULL ORDER BY record, seq DESC
           ), known AS (SELECT record, seq, version, type FROM follow_record WHERE node = $1)
           SELECT record FROM latest l FULL JOIN known r USING (record)
           WHERE (l.seq, l.version, l.type) IS DISTINCT FROM (r.seq, r.version, r.type) ORDER BY record""",
        node,
    )
    return [row["record"] for row in rows]
