"""Every SQL statement by which a whole registry leaves its database, and comes into one, one function each."""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime

from msgspec import Struct, convert, structs

from services.connection import Connection
from services.ledger_repair_store import Erasure
from services.ledger_store import Entry, Kept

# What is no log and no view of it, in the order in which it can be written.
TABLES = ("token", "answered", "imported", "import", "import_chunk", "import_line", "report")


class Stored(Entry, frozen=True):
    """An event as it stands in the log; `erasure` is the number of what erased it."""

    erasure: int | None


class Dropped(Struct, frozen=True):
    """An event that an epoch cut off."""

    epoch: int
    seq: int
    record: str
    version: int
    type: str
    time: datetime
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    author: str


EVENT, DROPPED, KEPT = Stored.__struct_fields__, Dropped.__struct_fields__, Kept.__struct_fields__


async def migrations(conn: Connection) -> tuple[str, ...]:
    """By which scripts the tables were made."""
    return tuple(row["name"] for row in await conn.fetch("SELECT name FROM migration ORDER BY name"))


async def erasures(conn: Connection) -> AsyncIterator[tuple[int, Erasure]]:
    """Erase events by which something left, with their numbers. Needs an open transaction, as all below."""
    async for row in conn.cursor("SELECT id, record, raw, kid, sig FROM ledger_erasure ORDER BY id"):
        yield row["id"], convert(row, Erasure)


async def checkpoints(conn: Connection) -> AsyncIterator[Kept]:
    """All checkpoints that are kept, in order."""
    statement = "SELECT n, epoch, size, complete, raw, kid, sig FROM ledger_checkpoint ORDER BY n"
    async for row in conn.cursor(statement, prefetch=500):
        yield convert(row, Kept)


async def events(conn: Connection) -> AsyncIterator[Stored]:
    """All events, in order."""
    statement = """SELECT seq, epoch, record, version, type, time, raw, kid, sig, leaf, routing, also, author, erasure
                   FROM ledger_event ORDER BY seq"""
    async for row in conn.cursor(statement, prefetch=500):
        yield convert(row, Stored)


async def dropped(conn: Connection) -> AsyncIterator[Dropped]:
    """Events that epochs cut off."""
    statement = """SELECT epoch, seq, record, version, type, time, raw, kid, sig, leaf, author
                   FROM ledger_dropped ORDER BY epoch, seq"""
    async for row in conn.cursor(statement, prefetch=500):
        yield convert(row, Dropped)


async def rows(conn: Connection, table: str) -> AsyncIterator[str]:
    """The rows of one of `TABLES` as JSON."""
    assert table in TABLES  # noqa: S101 - a name stands in the statement
    async for row in conn.cursor(f"SELECT to_jsonb(t)::text FROM {table} t", prefetch=50):  # noqa: S608
        yield row[0]


async def add_erasure(conn: Connection, by: Erasure) -> int:
    """Keep an erase event; its number here."""
    statement = "INSERT INTO ledger_erasure (record, raw, kid, sig) VALUES ($1, $2, $3, $4) RETURNING id"
    return int(await conn.fetchval(statement, *structs.astuple(by)))


async def add_checkpoints(conn: Connection, kept: Iterable[Kept]) -> None:
    """Keep checkpoints."""
    await conn.copy_records_to_table("ledger_checkpoint", records=map(structs.astuple, kept), columns=KEPT)


async def add_events(conn: Connection, events: Iterable[Stored]) -> None:
    """Write events as they were."""
    await conn.copy_records_to_table("ledger_event", records=map(structs.astuple, events), columns=EVENT)


async def take_back(conn: Connection, entries: Sequence[Entry]) -> None:
    """Write events that come back from somebody who kept them."""
    columns = Entry.__struct_fields__
    await conn.copy_records_to_table("ledger_event", records=map(structs.astuple, entries), columns=columns)


async def unexplained(conn: Connection) -> int:
    """How many events have neither bytes nor an erase event that says why."""
    return int(await conn.fetchval("SELECT count(*) FROM ledger_event WHERE raw = '' AND erasure IS NULL"))


async def add_dropped(conn: Connection, events: Iterable[Dropped]) -> None:
    """Keep events that epochs cut off."""
    await conn.copy_records_to_table("ledger_dropped", records=map(structs.astuple, events), columns=DROPPED)


async def columns(conn: Connection, table: str) -> set[str]:
    """The columns of a table."""
    rows = await conn.fetch(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
        table,
    )
    return {row["attname"] for row in rows}


async def add_rows(conn: Connection, table: str, columns: Sequence[str], rows: str) -> None:
    """Write rows, given as a JSON list, into these columns of one of `TABLES`."""
    assert table in TABLES  # noqa: S101 - a name stands in the statement
    named = ", ".join(f'"{column}"' for column in columns)
    await conn.execute(
        f"""INSERT INTO {table} ({named})
            SELECT {named} FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)""",  # noqa: S608 known columns
        rows,
    )
