"""`as_of`: the view as it was, which is at the last position of this sync's own log at or before a time."""

import re
from datetime import UTC, datetime, timedelta

from aiohttp import web

from services import ledger
from services.errors import Fault, Gone, Malformed, NotFound
from services.ledger_store import Head
from services.postgres import Connection
from services.sync import history_store
from services.sync.api.reading import CURSOR
from services.sync.history_store import Position
from services.sync.observing import AsOf

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# In an address that was not encoded, a plus is a space.
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[-+ ][0-9]{2}:[0-9]{2})"
)
LAST = timedelta(milliseconds=1)


def until(text: str) -> datetime:
    """The moment before which events were written at or before a time, or on or before a day in UTC.

    Events tell their time to the millisecond. Malformed for what is neither.
    """
    said = text.upper()
    try:
        if DATE.fullmatch(said):
            return datetime.fromisoformat(said).replace(tzinfo=UTC) + timedelta(days=1)
        if TIME.fullmatch(said):
            said = said if said.endswith("Z") else said[:-6] + said[-6:].replace(" ", "+")
            moment = datetime.fromisoformat(said).astimezone(UTC)
            return moment.replace(microsecond=moment.microsecond // 1000 * 1000) + LAST
    except (ValueError, OverflowError):
        pass
    what = "Give a time like 2026-01-31T12:00:00Z, or a date like 2026-01-31, which is that whole day in UTC."
    raise Malformed("The query is not right.", faults=(Fault("as_of", what),))


async def position(conn: Connection, request: web.Request, text: str) -> Position:
    """The position that a time names; the answer names it in `Merge-Cursor`. NotFound before the log begins."""
    moment = until(text)
    found = await history_store.last(conn)
    if found is not None and found.time >= moment:
        found = await history_store.before(conn, moment)
    if found is None:
        first = await history_store.first(conn)
        if first is None:
            raise NotFound("The log of this view has not begun yet.")
        begun = ledger.stamp(first.time)
        raise NotFound("The log of this view begins at {time}.", {"time": begun}, extra={"begins": begun})
    request[CURSOR] = as_of(found).cursor
    return found


def as_of(found: Position) -> AsOf:
    """A position as answers name it."""
    return AsOf(cursor=f"{found.epoch}.{found.seq}", time=ledger.stamp(found.time))


async def remembered(conn: Connection, head: Head, at: Position, record: str | None = None) -> None:
    """Gone where the log has let go of what a record, or any, was at a position."""
    if head.floor and await history_store.forgotten(conn, at.seq, record):
        floor = f"{head.epoch}.{head.floor}"
        raise Gone(
            "Of the past of this view what comes after {floor} is held.",
            {"floor": floor},
            extra={"code": "cursor-too-old", "floor": floor},
        )
