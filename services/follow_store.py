"""Every SQL statement of following a log, one function each."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, convert

from services.identity import Identity
from services.merkle import Range
from services.postgres import COPY_FROM, Connection
from services.proofs import Followed, Position

# A week; more is meant as never, or as mischief.
LONGEST_HEARTBEAT = 7 * 86_400


class Source(Struct, frozen=True):
    """A log to follow: the pinned id of its node, where it is read, what we call it, `follow` or `muted`."""

    node: str
    url: str
    alias: str
    mode: str = "follow"


class Node(Struct, frozen=True):
    """What we know of a followed node."""

    node: str
    url: str
    alias: str
    mode: str
    state: str
    epoch: int
    size: int
    peaks: tuple[bytes, ...]
    n: int
    descriptor: str
    created: str
    name: str
    license: str
    contact: str
    heartbeat_s: int
    told: int
    heard_at: datetime | None
    trouble: str | None
    opaque: int

    @property
    def position(self) -> Position:
        """How far its log is followed."""
        return Position(epoch=self.epoch, tree=Range(self.size, self.peaks), n=self.n)


NODE = """node, url, alias, mode, state, epoch, size, peaks, n, descriptor, created, name, license, contact,
          heartbeat_s, told, heard_at, trouble, opaque"""


async def follow(conn: Connection, source: Source) -> None:
    """Remember whom we follow, and where."""
    await conn.execute(
        """INSERT INTO follow_node (node, url, alias, mode) VALUES ($1, $2, $3, $4)
           ON CONFLICT (node) DO UPDATE SET url = $2, alias = $3, mode = $4""",
        source.node,
        source.url,
        source.alias,
        source.mode,
    )


async def leave_others(conn: Connection, nodes: Sequence[str]) -> None:
    """Nodes that are no longer followed: their events stay, unused."""
    await conn.execute("UPDATE follow_node SET mode = 'left' WHERE node <> ALL($1::text[])", list(nodes))


async def node(conn: Connection, node: str) -> Node | None:
    """A followed node."""
    row = await conn.fetchrow(f"SELECT {NODE} FROM follow_node WHERE node = $1", node)  # noqa: S608 constant
    return None if row is None else convert(row, Node)


async def nodes(conn: Connection) -> list[Node]:
    """All nodes that we listen to, by id."""
    rows = await conn.fetch(f"SELECT {NODE} FROM follow_node WHERE mode <> 'left' ORDER BY node")  # noqa: S608
    return convert(rows, list[Node])


async def set_identity(conn: Connection, whose: Identity) -> None:
    """What the node says of itself now."""
    d = whose.descriptor
    await conn.execute(
        """UPDATE follow_node SET descriptor = $2, created = $3, name = $4, license = $5, contact = $6,
                  heartbeat_s = $7 WHERE node = $1""",
        whose.node,
        whose.hash,
        whose.created,
        d.name,
        d.license,
        d.contact,
        min(d.heartbeat_s, LONGEST_HEARTBEAT),
    )


async def add_descriptor(conn: Connection, node: str, version: int, raw: str, signatures: bytes) -> None:
    """Keep a version of a node's descriptor."""
    await conn.execute(
        """INSERT INTO follow_descriptor (node, version, raw, signatures) VALUES ($1, $2, $3, $4)
           ON CONFLICT DO NOTHING""",
        node,
        version,
        raw,
        signatures,
    )


async def set_state(conn: Connection, node: str, state: str, trouble: str | None = None) -> None:
    """How it goes with a node."""
    await conn.execute(
        "UPDATE follow_node SET state = $2, trouble = $3 WHERE node = $1", node, state, trouble
    )


async def move(
    conn: Connection, node: str, before: Position, after: Position, *, state: str, at: datetime
) -> bool:
    """Move the cursor of a node; False when it does not stand where we read from."""
    result = await conn.execute(
        """UPDATE follow_node SET epoch = $4, size = $5, peaks = $6, n = $7, state = $8, trouble = NULL,
                  told = greatest(told, $5), heard_at = $9
           WHERE node = $1 AND epoch = $2 AND size = $3""",
        node,
        before.epoch,
        before.tree.size,
        after.epoch,
        after.tree.size,
        list(after.tree.peaks),
        after.n,
        state,
        at,
    )
    return str(result).endswith(" 1")


async def stands(conn: Connection, node: str, here: Position) -> bool:
    """Whether the cursor of a node stands here; nobody else moves it until the transaction ends."""
    row = await conn.fetchrow("SELECT epoch, size FROM follow_node WHERE node = $1 FOR UPDATE", node)
    return row is not None and (row["epoch"], row["size"]) == (here.epoch, here.tree.size)


async def heard(conn: Connection, node: str, *, told: int, highest: str, at: datetime) -> None:
    """The node gave a sign of life: how long it says its log is, by what checkpoint."""
    await conn.execute(
        "UPDATE follow_node SET told = $2, highest = $3, heard_at = $4 WHERE node = $1",
        node,
        told,
        highest,
        at,
    )


async def highest(conn: Connection, node: str) -> str | None:
    """The highest checkpoint of a node that was believed, as it was served."""
    found: str | None = await conn.fetchval("SELECT highest FROM follow_node WHERE node = $1", node)
    return found


async def versions(conn: Connection, records: Sequence[str]) -> dict[str, int]:
    """The latest version that we hold of each of these records."""
    rows = await conn.fetch(
        "SELECT record, version FROM follow_record WHERE record = ANY($1::text[])", list(records)
    )
    return {row["record"]: row["version"] for row in rows}


async def has_unreadable(conn: Connection, node: str) -> bool:
    """Whether there are events of a node of which we cannot even read whose they are."""
    statement = "SELECT EXISTS (SELECT FROM follow_event WHERE node = $1 AND record IS NULL)"
    return bool(await conn.fetchval(statement, node))


COLUMNS = ("node", "seq", "epoch", "record", "version", "type", "raw", "kid", "sig", "leaf", "opaque")


async def add_events(conn: Connection, node: str, events: Sequence[Followed]) -> None:
    """Keep proven events."""
    values = [
        (
            node,
            e.seq,
            e.epoch,
            e.event.subject if e.event else None,
            e.event.recordversion if e.event else None,
            e.event.type if e.event else None,
            e.raw,
            e.kid,
            e.sig,
            e.leaf,
            e.opaque,
        )
        for e in events
    ]
    if len(values) >= COPY_FROM:
        await conn.copy_records_to_table("follow_event", records=values, columns=COLUMNS)
        return
    await conn.executemany(
        """INSERT INTO follow_event (node, seq, epoch, record, version, type, raw, kid, sig, leaf, opaque)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)""",
        values,
    )


async def set_records(conn: Connection, node: str, events: Sequence[Followed]) -> None:
    """Point each record to its latest event."""
    latest = {e.event.subject: (e, e.event) for e in events if e.event is not None}
    await conn.execute(
        """INSERT INTO follow_record (record, node, seq, version, type)
           SELECT record, $2, seq, version, type
           FROM unnest($1::text[], $3::bigint[], $4::bigint[], $5::text[]) AS t(record, seq, version, type)
           ON CONFLICT (record) DO UPDATE
           SET seq = excluded.seq, version = excluded.version, type = excluded.type""",
        list(latest),
        node,
        [e.seq for e, _ in latest.values()],
        [event.recordversion for _, event in latest.values()],
        [event.type for _, event in latest.values()],
    )


async def count_opaque(conn: Connection, node: str, opaque: int) -> None:
    """Events that this version cannot read."""
    await conn.execute("UPDATE follow_node SET opaque = opaque + $2 WHERE node = $1", node, opaque)
