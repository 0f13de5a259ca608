"""Every SQL statement about what was seen of followed nodes, and what they contradict themselves by."""

from collections.abc import Mapping, Sequence

from msgspec import convert

from services.ledger_store import Signed
from services.postgres import Connection


async def highest(conn: Connection) -> dict[str, str]:
    """The highest checkpoint that was believed of each node that is listened to, as it was served, by id."""
    rows = await conn.fetch(
        "SELECT node, highest FROM follow_node WHERE mode <> 'left' AND highest IS NOT NULL ORDER BY node"
    )
    return {row["node"]: row["highest"] for row in rows}


async def checkpoints(conn: Connection, node: str, *, after: tuple[int, int], limit: int) -> list[str]:
    """Checkpoints of a node after an (epoch, n), oldest first, as they were served."""
    rows = await conn.fetch(
        """SELECT signed FROM follow_checkpoint WHERE node = $1 AND (epoch, n) > ($2, $3)
           ORDER BY epoch, n LIMIT $4""",
        node,
        *after,
        limit,
    )
    return [row["signed"] for row in rows]


async def checkpoint_within(
    conn: Connection, node: str, *, after: int, until: int, lasts: Mapping[int, int]
) -> tuple[int, str] | None:
    """Size and text of the last checkpoint in after+1..until; `lasts`: up to where each epoch is in the chain."""
    row = await conn.fetchrow(
        """SELECT c.size, c.signed
           FROM follow_checkpoint c JOIN unnest($4::int[], $5::bigint[]) AS t(epoch, last) USING (epoch)
           WHERE c.node = $1 AND c.size > $2 AND c.size <= least($3, last)
           ORDER BY c.size DESC, c.epoch DESC, c.n DESC LIMIT 1""",
        node,
        after,
        until,
        list(lasts),
        list(lasts.values()),
    )
    return None if row is None else (row["size"], row["signed"])


async def near(conn: Connection, node: str, *, epoch: int, n: int, size: int) -> list[str]:
    """The checkpoints that one of this epoch, number and size is compared with: of its number and size, next to it."""
    rows = await conn.fetch(
        """(SELECT signed FROM follow_checkpoint WHERE node = $1 AND epoch = $2 AND n <= $3
            ORDER BY n DESC LIMIT 1)
           UNION (SELECT signed FROM follow_checkpoint WHERE node = $1 AND epoch = $2 AND n > $3
            ORDER BY n LIMIT 1)
           UNION (SELECT signed FROM follow_checkpoint WHERE node = $1 AND epoch = $2 AND size = $4
            ORDER BY n DESC LIMIT 1)""",
        node,
        epoch,
        n,
        size,
    )
    return [row["signed"] for row in rows]


async def page(conn: Connection, node: str, *, after: int, until: int, most: int) -> list[Signed]:
    """Events after+1..until in order: the first, and as many more as have at most so many bytes together."""
    rows = await conn.fetch(
        """SELECT epoch, seq, raw, kid, sig, leaf, by_raw, by_kid, by_sig
           FROM (SELECT e.epoch, e.seq, e.raw, e.kid, e.sig, e.leaf,
                        b.raw AS by_raw, b.kid AS by_kid, b.sig AS by_sig,
                        sum(octet_length(e.raw) + coalesce(octet_length(b.raw), 0))
                            OVER (ORDER BY e.seq ROWS UNBOUNDED PRECEDING) AS bytes
                 FROM follow_event e LEFT JOIN LATERAL (
                     SELECT x.raw, x.kid, x.sig FROM follow_event x
                     WHERE x.node = e.node AND x.seq = e.erased_at AND x.leaf = e.erased_by
                     UNION ALL SELECT d.raw, d.kid, d.sig FROM follow_dropped d
                     WHERE d.node = e.node AND d.leaf = e.erased_by
                     LIMIT 1
                 ) AS b ON e.erased_by IS NOT NULL
                 WHERE e.node = $1 AND e.seq > $2 AND e.seq <= $3) AS event
           WHERE bytes <= $4 OR seq = $2 + 1 ORDER BY seq""",
        node,
        after,
        until,
        most,
    )
    return convert(rows, list[Signed])


async def stored(conn: Connection, node: str, seqs: Sequence[int]) -> dict[int, Signed]:
    """These events of a node as they are held; of erased ones the bytes are empty."""
    rows = await conn.fetch(
        """SELECT epoch, seq, raw, kid, sig, leaf FROM follow_event
           WHERE node = $1 AND seq = ANY($2::bigint[]) ORDER BY seq""",
        node,
        list(seqs),
    )
    return {row["seq"]: convert(row, Signed) for row in rows}


async def is_erased(conn: Connection, node: str, *, epoch: int, seq: int) -> bool:
    """Whether the content of an event of a node was erased."""
    return bool(
        await conn.fetchval(
            """SELECT EXISTS (SELECT FROM follow_event
                              WHERE node = $1 AND epoch = $2 AND seq = $3 AND erased_by IS NOT NULL)
                   OR EXISTS (SELECT FROM follow_dropped
                              WHERE node = $1 AND epoch = $2 AND seq = $3 AND raw = '')""",
            node,
            epoch,
            seq,
        )
    )


async def thin_checkpoints(conn: Connection, *, every: int, keep: int) -> int:
    """Of each node leave the last `keep` checkpoints, before them one in `every` events; how many went."""
    result: str = await conn.execute(
        """DELETE FROM follow_checkpoint c USING (
               SELECT node, epoch, n,
                      row_number() OVER (PARTITION BY node ORDER BY epoch DESC, n DESC) AS age,
                      lead(n) OVER (PARTITION BY node, epoch, size / $1 ORDER BY n) AS next
               FROM follow_checkpoint
           ) AS old
           WHERE (c.node, c.epoch, c.n) = (old.node, old.epoch, old.n) AND age > $2 AND next IS NOT NULL""",
        every,
        keep,
    )
    return int(result.rpartition(" ")[2])
