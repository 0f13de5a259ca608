"""Every SQL statement of notify, one function each."""

from collections.abc import Sequence

from msgspec import Struct, convert

from services.postgres import Connection

Position = tuple[int, int]


class Stored(Struct, frozen=True):
    """A change as it is kept: its traits before and after and its body are JSON."""

    epoch: int
    seq: int
    id: str
    leaf: bytes
    before: bytes | None
    after: bytes | None
    erased: bool
    body: bytes


class Glimpse(Struct, frozen=True):
    """As much of a change as matching needs; `size` is that of its body, in bytes."""

    epoch: int
    seq: int
    before: bytes | None
    after: bytes | None
    erased: bool
    size: int


async def add(conn: Connection, changes: Sequence[Stored]) -> None:
    """Keep changes."""
    await conn.executemany(
        """INSERT INTO change (epoch, seq, id, leaf, before, after, erased, body)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8)""",
        [(c.epoch, c.seq, c.id, c.leaf, c.before, c.after, c.erased, c.body) for c in changes],
    )


async def after(conn: Connection, since: Position, *, limit: int) -> list[Glimpse]:
    """What stands after a position, in order, as far as matching needs it."""
    rows = await conn.fetch(
        """SELECT epoch, seq, before, after, erased, octet_length(body) AS size FROM change
           WHERE (epoch, seq) > ($1, $2) ORDER BY epoch, seq LIMIT $3""",
        *since,
        limit,
    )
    return convert(rows, list[Glimpse])


async def bodies(conn: Connection, positions: Sequence[Position]) -> dict[Position, tuple[str, bytes]]:
    """Id and body of the changes at these positions."""
    rows = await conn.fetch(
        """SELECT epoch, seq, id, body FROM change
           JOIN unnest($1::integer[], $2::bigint[]) AS wanted(epoch, seq) USING (epoch, seq)""",
        [epoch for epoch, _ in positions],
        [seq for _, seq in positions],
    )
    return {(row["epoch"], row["seq"]): (row["id"], row["body"]) for row in rows}


async def latest(conn: Connection, ids: Sequence[str]) -> list[Stored]:
    """The last change of each of these places."""
    rows = await conn.fetch(
        """SELECT DISTINCT ON (id) epoch, seq, id, leaf, before, after, erased, body FROM change
           WHERE id = ANY($1::text[]) ORDER BY id, epoch DESC, seq DESC""",
        list(ids),
    )
    return convert(rows, list[Stored])


async def of(conn: Connection, id: str) -> list[Stored]:
    """All changes of a place, oldest first."""
    rows = await conn.fetch(
        """SELECT epoch, seq, id, leaf, before, after, erased, body FROM change
           WHERE id = $1 ORDER BY epoch, seq""",
        id,
    )
    return convert(rows, list[Stored])


async def replace(conn: Connection, change: Stored) -> None:
    """Keep another content of a change."""
    await conn.execute(
        "UPDATE change SET before = $3, after = $4, body = $5 WHERE epoch = $1 AND seq = $2",
        change.epoch,
        change.seq,
        change.before,
        change.after,
        change.body,
    )


async def drop_after(conn: Connection, size: int) -> None:
    """Forget changes after a size; what a snapshot began with goes with the whole log."""
    await conn.execute("DELETE FROM change WHERE seq > $1 AND (epoch > 0 OR $1 = 0)", size)


async def has_changes(conn: Connection) -> bool:
    """Whether there is anything to tell."""
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM change)"))


async def last_first(conn: Connection) -> int:
    """How many changes a snapshot began with so far."""
    count: int = await conn.fetchval("SELECT coalesce(max(seq), 0) FROM change WHERE epoch = 0")
    return count


async def raise_floor(conn: Connection, floor: Position) -> None:
    """Changes are complete only after this position."""
    await conn.execute(
        """INSERT INTO floor (epoch, seq) VALUES ($1, $2)
           ON CONFLICT (one) DO UPDATE SET epoch = $1, seq = $2
           WHERE (floor.epoch, floor.seq) < ($1, $2)""",
        *floor,
    )


async def floor(conn: Connection) -> Position:
    """The first position after which no change is missing."""
    row = await conn.fetchrow("SELECT epoch, seq FROM floor")
    return (row["epoch"], row["seq"]) if row else (0, 0)
