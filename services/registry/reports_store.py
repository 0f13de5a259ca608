"""Every SQL statement about what people report of places, one function each."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct, convert, structs

from services.postgres import Connection

State = Literal["open", "accepted", "declined"]


class Report(Struct, frozen=True):
    """A report as it is kept; `place` is the UUID of an own place, `closed_by` role and name of who answered."""

    id: UUID
    place: UUID | None
    kind: str
    field: str | None
    text: str
    proposed: str | None
    contact: str | None
    language: str
    page: str | None
    sent_at: datetime
    state: State
    answer: str | None
    closed_at: datetime | None
    closed_by: str | None


class Waiting(Struct, frozen=True):
    """How many reports wait for an answer, those on one place among them, and since when."""

    count: int
    here: int
    since: datetime | None


COLUMNS = ", ".join(Report.__struct_fields__)


async def alone(conn: Connection) -> None:
    """Until the transaction ends, nobody else sends or answers a report: they are counted."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('reports', 0))")


async def waiting(conn: Connection, place: UUID | None = None) -> Waiting:
    """The reports that wait for an answer."""
    row = await conn.fetchrow(
        """SELECT count(*), count(*) FILTER (WHERE place = $1) AS here, min(sent_at) AS since
           FROM report WHERE state = 'open'""",
        place,
    )
    return convert(row, Waiting)


async def add(conn: Connection, report: Report, hash: bytes) -> None:
    """Keep a report, with the hash of the key that opens its outcome."""
    await conn.execute(
        f"""INSERT INTO report ({COLUMNS}, hash)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)""",  # noqa: S608 constant
        *structs.astuple(report),
        hash,
    )


async def report(conn: Connection, id: str) -> Report | None:
    """A report, for the desk."""
    row = await conn.fetchrow(f"SELECT {COLUMNS} FROM report WHERE id = $1", id)  # noqa: S608 constant
    return None if row is None else convert(row, Report)


async def opened(conn: Connection, id: str, hash: bytes) -> Report | None:
    """A report, for whoever holds the key of this hash."""
    row = await conn.fetchrow(f"SELECT {COLUMNS} FROM report WHERE id = $1 AND hash = $2", id, hash)  # noqa: S608
    return None if row is None else convert(row, Report)


async def listed(conn: Connection, state: State | None, *, after: str | None, limit: int) -> list[Report]:
    """Reports, all or of one state, the first that was sent first."""
    rows = await conn.fetch(
        f"""SELECT {COLUMNS} FROM report
            WHERE ($1::text IS NULL OR state = $1) AND ($2::uuid IS NULL OR id > $2)
            ORDER BY id LIMIT $3""",  # noqa: S608 constant
        state,
        after,
        limit,
    )
    return convert(rows, list[Report])


async def settle(conn: Connection, report: Report) -> None:
    """Keep how a report was answered."""
    await conn.execute(
        "UPDATE report SET state = $2, answer = $3, closed_at = $4, closed_by = $5 WHERE id = $1",
        report.id,
        report.state,
        report.answer,
        report.closed_at,
        report.closed_by,
    )


async def forget(conn: Connection, *, closed: datetime, sent: datetime) -> None:
    """Delete reports that were closed before then, or were sent before then and never answered."""
    await conn.execute(
        "DELETE FROM report WHERE closed_at < $1 OR (state = 'open' AND sent_at < $2)", closed, sent
    )


async def drop_about(conn: Connection, places: Sequence[str]) -> None:
    """Delete the reports on these places."""
    await conn.execute("DELETE FROM report WHERE place = ANY($1::uuid[])", list(places))
