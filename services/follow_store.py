"""Every SQL statement of following a log, one function each."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, convert

from schemas.event import Checkpoint
from services.identity import Identity
from services.merkle import Range
from services.postgres import COPY_FROM, Connection
from services.proofs import Erased, Followed, Position

# A week; more is meant as never, or as mischief.
LONGEST_HEARTBEAT = 7 * 86_400


class Source(Struct, frozen=True):
    """A log to follow: the pinned id of its node, where it is read, what we call it, `follow` or `muted`."""

    node: str
    url: str
    alias: str
    mode: str = "follow"


class Node(Struct, frozen=True):
    """What we know of a followed node.

    `start_*`: the Merkle range from which on its events are held without a hole. `rewinds`: how often what was
    held of it has been replaced.
    """

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
    start_size: int
    start_peaks: tuple[bytes, ...]
    rewinds: int

    @property
    def position(self) -> Position:
        """How far its log is followed."""
        return Position(epoch=self.epoch, tree=Range(self.size, self.peaks), n=self.n)


NODE = """node, url, alias, mode, state, epoch, size, peaks, n, descriptor, created, name, license, contact,
          heartbeat_s, told, heard_at, trouble, opaque, start_size, start_peaks, rewinds"""


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
    await conn.execute(
        "UPDATE follow_node SET mode = 'left' WHERE mode <> 'left' AND node <> ALL($1::text[])", list(nodes)
    )


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
    """How it goes with a node. Of a forked one nothing else is said: a new epoch ends it, or the operator."""
    await conn.execute(
        """UPDATE follow_node SET state = $2, trouble = $3
           WHERE node = $1 AND (state <> 'forked' OR $2 = 'forked')""",
        node,
        state,
        trouble,
    )


async def move(
    conn: Connection, node: str, before: Position, after: Position, *, state: str, at: datetime
) -> bool:
    """Move the cursor of a node; False when it does not stand where we read from, or was found to be forked."""
    result = await conn.execute(
        """UPDATE follow_node SET epoch = $4, size = $5, peaks = $6, n = $7, state = $8, trouble = NULL,
                  told = greatest(told, $5), heard_at = $9
           WHERE node = $1 AND epoch = $2 AND size = $3 AND state <> 'forked'""",
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


async def has_erased(conn: Connection, node: str, record: str) -> bool:
    """Whether versions of a record were erased, so that we do not know how many there are."""
    statement = """SELECT EXISTS (SELECT FROM follow_event
                                  WHERE node = $1 AND record = $2 AND erased_by IS NOT NULL)"""
    return bool(await conn.fetchval(statement, node, record))


COLUMNS = (
    *("node", "seq", "epoch", "record", "version", "type", "raw", "kid", "sig", "leaf", "opaque"),
    *("erased_by", "erased_at"),
)


async def add_events(conn: Connection, node: str, events: Sequence[Followed]) -> None:
    """Keep proven events."""
    values = [_columns(node, e) for e in events]
    if len(values) >= COPY_FROM:
        await conn.copy_records_to_table("follow_event", records=values, columns=COLUMNS)
        return
    await conn.executemany(
        """INSERT INTO follow_event (node, seq, epoch, record, version, type, raw, kid, sig, leaf, opaque,
                                     erased_by, erased_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)""",
        values,
    )


def _columns(node: str, e: Followed) -> tuple[object, ...]:
    """An event as a row of its table, in the order of `COLUMNS`."""
    named: tuple[object, ...] = (e.erased.record if e.erased else None, None, None)
    if e.event:
        named = (e.event.subject, e.event.recordversion, e.event.type)
    by = (e.erased.leaf, e.erased.seq) if e.erased else (None, None)
    return (node, e.seq, e.epoch, *named, e.raw, e.kid, e.sig, e.leaf, e.opaque, *by)


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


async def descriptors(conn: Connection, node: str) -> list[tuple[str, bytes]]:
    """The chain of a node as far as we have it, oldest first: raw text and encoded signatures."""
    rows = await conn.fetch(
        "SELECT raw, signatures FROM follow_descriptor WHERE node = $1 ORDER BY version", node
    )
    return [(row["raw"], row["signatures"]) for row in rows]


async def leaves(conn: Connection, node: str, *, after: int, until: int) -> list[bytes]:
    """The leaves of a node's events after+1..until, in order."""
    rows = await conn.fetch(
        "SELECT leaf FROM follow_event WHERE node = $1 AND seq > $2 AND seq <= $3 ORDER BY seq",
        node,
        after,
        until,
    )
    return [row["leaf"] for row in rows]


async def start_over(conn: Connection, node: str) -> None:
    """Forget what was held of a node's log: it is begun anew from its snapshot.

    What was dropped, and evidence of events, goes as well: of erase events before the snapshot nobody would tell.
    """
    await conn.execute("DELETE FROM follow_event WHERE node = $1", node)
    await conn.execute("DELETE FROM follow_dropped WHERE node = $1", node)
    await conn.execute("DELETE FROM follow_evidence WHERE node = $1 AND kind = 'event'", node)
    await conn.execute("DELETE FROM follow_record WHERE node = $1", node)
    await conn.execute(
        """UPDATE follow_node SET state = 'new', epoch = 0, size = 0, peaks = '{}', n = 0, highest = NULL,
                  trouble = NULL, opaque = 0, told = 0, start_size = 0, start_peaks = '{}', rewinds = rewinds + 1
           WHERE node = $1""",
        node,
    )


async def begin_at(conn: Connection, node: str, start: Range) -> None:
    """From here on the events of a node are held without a hole."""
    await conn.execute(
        "UPDATE follow_node SET start_size = $2, start_peaks = $3 WHERE node = $1",
        node,
        start.size,
        list(start.peaks),
    )


async def rewind(conn: Connection, node: str, there: Position) -> None:
    """Put a node's cursor back, and aside what came after it."""
    await conn.execute(
        """WITH gone AS (DELETE FROM follow_event WHERE node = $1 AND seq > $2 RETURNING *),
                kept AS (INSERT INTO follow_dropped (node, epoch, seq, raw, kid, sig, leaf)
                         SELECT node, epoch, seq, raw, kid, sig, leaf FROM gone ON CONFLICT DO NOTHING)
           UPDATE follow_node SET epoch = $3, size = $2, peaks = $4, told = $2, rewinds = rewinds + 1,
                  trouble = NULL, state = 'lagging',
                  opaque = opaque - (SELECT count(*) FROM gone WHERE opaque IS NOT NULL)
           WHERE node = $1""",
        node,
        there.tree.size,
        there.epoch,
        list(there.tree.peaks),
    )
    await conn.execute(
        """WITH latest AS (
               SELECT DISTINCT ON (record) record, seq, version, type FROM follow_event
               WHERE node = $1 AND version IS NOT NULL
                 AND record IN (SELECT record FROM follow_record WHERE node = $1 AND seq > $2)
               ORDER BY record, seq DESC
           ), gone AS (
               DELETE FROM follow_record WHERE node = $1 AND seq > $2
                   AND record NOT IN (SELECT record FROM latest)
           )
           UPDATE follow_record r SET seq = l.seq, version = l.version, type = l.type
           FROM latest l WHERE l.record = r.record""",
        node,
        there.tree.size,
    )


async def erase(conn: Connection, node: str, record: str, leaves: Sequence[bytes], by: Erased) -> None:
    """Forget the bytes of these leaves of a record, those of dropped events too."""
    await conn.execute(
        """UPDATE follow_event SET raw = '', kid = '', sig = '', version = NULL, type = NULL, opaque = NULL,
                  erased_by = $4, erased_at = $5
           WHERE node = $1 AND record = $2 AND leaf = ANY($3::bytea[])""",
        node,
        record,
        list(leaves),
        by.leaf,
        by.seq,
    )
    await conn.execute(
        "UPDATE follow_dropped SET raw = '', sig = '' WHERE node = $1 AND leaf = ANY($2::bytea[])",
        node,
        list(leaves),
    )


async def unproven_erasure(conn: Connection, node: str, *, size: int) -> int | None:
    """An event that claims to be erased by one that this log, of so many events, does not have."""
    found: int | None = await conn.fetchval(
        """SELECT e.seq FROM follow_event e
           LEFT JOIN follow_event b ON b.node = e.node AND b.seq = e.erased_at
           WHERE e.node = $1 AND e.erased_at IS NOT NULL
             AND (e.erased_at > $2 OR b.leaf <> e.erased_by) LIMIT 1""",
        node,
        size,
    )
    return found


async def keep_checkpoint(conn: Connection, said: Checkpoint, signed: str) -> None:
    """Keep a checkpoint that was believed, as it was served."""
    await conn.execute(
        """INSERT INTO follow_checkpoint (node, epoch, n, size, log_root, signed)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING""",
        said.node,
        said.epoch,
        said.n,
        said.size,
        said.log_root,
        signed,
    )


class Evidence(Struct, frozen=True):
    """Two things that one node signed and that contradict each other, each as it was served (JSON)."""

    id: int
    node: str
    kind: str
    found_at: datetime
    a: str
    b: str


async def add_evidence(conn: Connection, node: str, kind: str, a: str, b: str, at: datetime) -> None:
    """Keep a contradiction, once."""
    await conn.execute(
        """INSERT INTO follow_evidence (node, kind, found_at, a, b) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT DO NOTHING""",
        node,
        kind,
        at,
        a,
        b,
    )


async def evidence(conn: Connection, node: str | None = None) -> list[Evidence]:
    """Contradictions of a node, or of all, oldest first."""
    rows = await conn.fetch(
        """SELECT id, node, kind, found_at, a, b FROM follow_evidence
           WHERE $1::text IS NULL OR node = $1 ORDER BY id""",
        node,
    )
    return convert(rows, list[Evidence])


async def drop_evidence(conn: Connection, ids: Sequence[int]) -> None:
    """Evidence whose content had to go."""
    await conn.execute("DELETE FROM follow_evidence WHERE id = ANY($1::bigint[])", list(ids))
