"""Every SQL statement that reads the past of the view out of the sync's own log, one function each."""

from collections.abc import AsyncIterator
from datetime import datetime

from msgspec import Struct, convert

from schemas.event import RECORD_ERASE, VIEW_PUT, VIEW_REMOVE
from services.postgres import Connection

OF_VIEWS = [VIEW_PUT, VIEW_REMOVE, RECORD_ERASE]
# How far back in the log a time may stand before others that are earlier: clocks are set back by little.
ASTRAY = 1000


class Position(Struct, frozen=True):
    """A position of the log and the time of the event there."""

    epoch: int
    seq: int
    time: datetime


class Told(Struct, frozen=True):
    """An event of a place: under which common id, where it stands, and its bytes, empty where they are erased."""

    id: str
    epoch: int
    seq: int
    time: datetime
    type: str
    raw: bytes
    erased: bool


class Shown(Struct, frozen=True):
    """A place of the view at a position: as the view has it where it is the same now, else the event that told it."""

    id: str
    item: bytes | None = None
    networks: tuple[str, ...] | None = None
    licenses: tuple[str, ...] | None = None
    raw: bytes | None = None
    time: datetime | None = None


TOLD = "epoch, seq, time, type, raw, erasure IS NOT NULL AS erased"


async def last(conn: Connection) -> Position | None:
    """The last event of the log; None where it has none."""
    row = await conn.fetchrow("SELECT epoch, seq, time FROM ledger_event ORDER BY seq DESC LIMIT 1")
    return None if row is None else convert(row, Position)


async def first(conn: Connection) -> Position | None:
    """The first event that the log still has."""
    row = await conn.fetchrow("SELECT epoch, seq, time FROM ledger_event ORDER BY seq LIMIT 1")
    return None if row is None else convert(row, Position)


async def before(conn: Connection, moment: datetime) -> Position | None:
    """The last event that was written before a moment; None where the log begins later."""
    row = await conn.fetchrow(
        """SELECT epoch, seq, time FROM ledger_event WHERE seq = (
               SELECT max(seq) FROM (
                   SELECT seq FROM ledger_event WHERE time < $1 ORDER BY time DESC LIMIT $2) AS near)""",
        moment,
        ASTRAY,
    )
    return None if row is None else convert(row, Position)


async def forgotten(conn: Connection, at: int, record: str | None = None) -> bool:
    """Whether the log has let go of what a record, or any, was at a position."""
    return bool(
        await conn.fetchval(
            """SELECT EXISTS (
                   SELECT FROM ledger_record r CROSS JOIN LATERAL (
                       SELECT seq, version FROM ledger_event e WHERE e.record = r.record ORDER BY seq LIMIT 1
                   ) AS oldest
                   WHERE r.seq > $1 AND oldest.seq > $1 AND oldest.version > 1
                         AND ($2::text IS NULL OR r.record = $2))""",
            at,
            record,
        )
    )


async def place_of(conn: Connection, record: str, at: int) -> str | None:
    """In which place a record was at a position."""
    view: str | None = await conn.fetchval(
        "SELECT view FROM stay WHERE record = $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1", record, at
    )
    return view


async def told(conn: Connection, node: str, id: str, at: int) -> Told | None:
    """The last event of a place at a position."""
    row = await conn.fetchrow(
        f"""SELECT $2::text AS id, {TOLD} FROM ledger_event
            WHERE record = $1 || ':' || $2 AND seq <= $3 AND type = ANY($4::text[])
            ORDER BY seq DESC LIMIT 1""",  # noqa: S608 constant
        node,
        id,
        at,
        OF_VIEWS,
    )
    return None if row is None else convert(row, Told)


async def history(
    conn: Connection, node: str, id: str, *, after: int, limit: int, most: int
) -> tuple[list[Told], bool]:
    """Events of a place after a position, `limit` and `most` bytes at most but for one; whether there are more.

    Those of all ids that find what this id finds now, and those of the places that its record was in while it was.
    """
    rows = await conn.fetch(
        f"""WITH own AS (
                SELECT $2::text AS view
                UNION SELECT record FROM member WHERE view = (SELECT view FROM member WHERE record = $2)
            ), span AS (
                SELECT view, 0::bigint AS first, NULL::bigint AS until FROM own
                UNION ALL SELECT view, seq, next FROM (
                    SELECT view, seq, lead(seq) OVER (ORDER BY seq) AS next FROM stay WHERE record = $2) AS stays
                WHERE view NOT IN (SELECT view FROM own) AND NOT EXISTS (SELECT FROM hidden WHERE record = view)
            ), event AS (
                SELECT span.view AS id, e.* FROM span CROSS JOIN LATERAL (
                    SELECT {TOLD} FROM ledger_event
                    WHERE record = $1 || ':' || span.view AND type = ANY($6::text[])
                          AND seq > $3 AND seq >= span.first AND (span.until IS NULL OR seq < span.until)
                    ORDER BY seq LIMIT $4 + 1) AS e
                ORDER BY seq LIMIT $4 + 1
            )
            SELECT * FROM (SELECT *, row_number() OVER (ORDER BY seq) AS no,
                                  sum(octet_length(raw)) OVER (ORDER BY seq) AS bytes,
                                  count(*) OVER () AS found FROM event) AS numbered
            WHERE no = 1 OR (no <= $4 AND bytes <= $5) ORDER BY seq""",  # noqa: S608 constant
        node,
        id,
        after,
        limit,
        most,
        OF_VIEWS,
    )
    return convert(rows, list[Told]), bool(rows) and rows[0]["found"] > len(rows)


# What a record that has changed since position $1 was there; of any other, the view knows it.
CHANGED = f"""LATERAL (
    SELECT type, time, erasure, raw FROM ledger_event e
    WHERE e.record = r.record AND e.seq <= $1 AND r.seq > $1
          AND type IN ('{VIEW_PUT}', '{VIEW_REMOVE}', '{RECORD_ERASE}')
    ORDER BY e.seq DESC LIMIT 1)"""  # noqa: S608 constant


async def licenses(conn: Connection) -> list[str]:
    """The licences under which places of the view are, by code."""
    rows = await conn.fetch('SELECT DISTINCT unnest(licenses) COLLATE "C" AS license FROM view ORDER BY 1')
    return [row["license"] for row in rows]


async def every_place(conn: Connection, chunk: int) -> AsyncIterator[list[Shown]]:
    """The places of the view by common id, so many at a time. Needs an open transaction."""
    cursor = await conn.cursor("SELECT id, item, networks, licenses FROM view ORDER BY id")
    while rows := await cursor.fetch(chunk):
        yield convert(rows, list[Shown])


async def every_place_at(conn: Connection, node: str, at: int, chunk: int) -> AsyncIterator[list[Shown]]:
    """The places of the view at a position by common id, without those that are erased or hidden since.

    So many at a time; needs an open transaction.
    """
    statement = f"""SELECT substr(r.record, length($2::text) + 2) AS id, v.item, v.networks,
                           v.licenses, e.raw, e.time
                    FROM ledger_record r LEFT JOIN {CHANGED} AS e ON true
                         LEFT JOIN view v ON r.seq <= $1 AND v.id = substr(r.record, length($2::text) + 2)
                    WHERE v.id IS NOT NULL
                       OR (e.type = '{VIEW_PUT}' AND e.erasure IS NULL
                           AND NOT EXISTS (SELECT FROM hidden h
                                           WHERE h.record = substr(r.record, length($2::text) + 2)))
                    ORDER BY r.record"""  # noqa: S608 constant
    cursor = await conn.cursor(statement, at, node)
    while rows := await cursor.fetch(chunk):
        yield convert(rows, list[Shown])
