"""Every SQL statement about nodes that ask to be heard, one function each."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct, convert

from services.postgres import Connection

COLUMNS = "node, name, url, state, code, asked_at, answered_at"


class Asked(Struct, frozen=True):
    """A node that asked to be heard: `asking`, `accepted` or `refused`; the code of a refusal, and when."""

    node: str
    name: str
    url: str
    state: str
    code: str | None
    asked_at: datetime
    answered_at: datetime | None


class Named(Struct, frozen=True):
    """A followed node and its descriptor in force, as it was signed."""

    node: str
    raw: str


async def asked(conn: Connection, node: str) -> Asked | None:
    """What is known of a node that asked."""
    row = await conn.fetchrow(f"SELECT {COLUMNS} FROM asking WHERE node = $1", node)  # noqa: S608 constant
    return None if row is None else convert(row, Asked)


async def everybody(conn: Connection) -> list[Asked]:
    """All nodes that asked, the first first."""
    rows = await conn.fetch(f"SELECT {COLUMNS} FROM asking ORDER BY asked_at, node")  # noqa: S608 constant
    return convert(rows, list[Asked])


async def unanswered(conn: Connection) -> int:
    """How many nodes wait for an answer."""
    return int(await conn.fetchval("SELECT count(*) FROM asking WHERE state = 'asking'"))


async def ask(conn: Connection, node: str, *, name: str, url: str, at: datetime) -> None:
    """A node asks; one that did before is known by its present name and address, and keeps its answer."""
    await conn.execute(
        """INSERT INTO asking (node, name, url, asked_at, state) VALUES ($1, $2, $3, $4, 'asking')
           ON CONFLICT (node) DO UPDATE SET name = $2, url = $3""",
        node,
        name,
        url,
        at,
    )


async def refuse(conn: Connection, node: str, code: str, at: datetime) -> None:
    """Refuse a node that asked."""
    await conn.execute(
        "UPDATE asking SET state = 'refused', code = $2, answered_at = $3 WHERE node = $1", node, code, at
    )


async def settle(conn: Connection, at: datetime) -> None:
    """Following a node that asked answers it; so does leaving one that was accepted."""
    await conn.execute(
        """UPDATE asking SET state = 'accepted', code = NULL, answered_at = $1
           WHERE state <> 'accepted' AND node IN (SELECT node FROM follow_node WHERE mode <> 'left')""",
        at,
    )
    await conn.execute(
        """UPDATE asking SET state = 'refused', code = 'left', answered_at = $1
           WHERE state = 'accepted' AND node NOT IN (SELECT node FROM follow_node WHERE mode <> 'left')""",
        at,
    )


async def alone(conn: Connection) -> None:
    """Until the transaction ends, no other process changes whom we listen to or who asks."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('trust', 0))")


async def descriptors(conn: Connection) -> Sequence[Named]:
    """The descriptor in force of each followed node."""
    rows = await conn.fetch(
        """SELECT DISTINCT ON (node) node, raw FROM follow_descriptor JOIN follow_node USING (node)
           WHERE mode <> 'left' ORDER BY node, version DESC"""
    )
    return convert(rows, list[Named])
