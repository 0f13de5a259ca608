"""What all answers of the sync share: one consistent moment, and where in the log it stands."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from schemas import event
from schemas.event import Event, Withdrawal
from schemas.view import ViewRemove
from services import follow_store, foreign, ledger, ledger_store
from services.errors import Failure, Gone, NotFound, Untrue
from services.postgres import Connection
from services.sync import store
from services.sync.context import POOL
from services.sync.store import Masked

CURSOR = web.RequestKey("cursor", str)


@asynccontextmanager
async def moment(request: web.Request) -> AsyncIterator[Connection]:
    """A connection on one moment of the view; the answer, a problem too, names it in `Merge-Cursor`."""
    pool = request.app[POOL]
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        head = await ledger.current(conn)
        request[CURSOR] = f"{head.epoch}.{head.size}"
        yield conn


async def name_moment(request: web.Request, response: web.StreamResponse) -> None:
    """Say in the headers of an answer where in the log of this sync it stands."""
    if (cursor := request.get(CURSOR)) is not None:
        response.headers["Merge-Cursor"] = cursor


async def why_not(conn: Connection, id: str) -> Failure:
    """Gone for an id that was in the view, with why and where to; NotFound for one that never was."""
    node = await ledger.node_of(conn)
    last = await ledger_store.last(conn, f"{node}:{id}")
    left = _removal(last.raw) if last is not None and last.type == event.VIEW_REMOVE else None
    if (masked := await store.masked(conn, id)) is not None:
        return await _hidden(conn, masked, left.moved_to if left else None)
    if last is not None and left is not None:
        extra = {"reason": left.reason, "since": ledger.stamp(last.time), "moved_to": left.moved_to}
        taken = await _withdrawal(conn, id)
        return Gone("It left this view: {reason}.", {"reason": left.reason}, extra={**extra, **taken})
    if taken := await _withdrawal(conn, id):
        return Gone("Its network has withdrawn it: {reason}.", {"reason": str(taken["reason"])}, extra=taken)
    if await store.was_member(conn, id):
        followed = id.partition(":")[0] in {
            n.node for n in await follow_store.nodes(conn) if n.mode == "follow"
        }
        reason = "unreadable" if followed else "no-longer-followed"
        return Gone("It left this view: {reason}.", {"reason": reason}, extra={"reason": reason})
    return NotFound("There is no such place in this view.")


def _removal(raw: bytes) -> ViewRemove:
    return msgspec.json.decode(msgspec.json.decode(raw, type=Event).data, type=ViewRemove)


async def _hidden(conn: Connection, masked: Masked, moved_to: str | None) -> Gone:
    """What to say of a record that this view hides: why, and whom to ask what it says."""
    network = masked.record.partition(":")[0]
    known = await follow_store.node(conn, network)
    name, contact = (known.name or known.alias, known.contact) if known else (network, "")
    return Gone(
        "Hidden by this view: {reason}. It is a record of {name}.",
        {"reason": masked.reason, "name": name},
        extra={
            "reason": "hidden",
            "why": masked.reason,
            "since": masked.since,
            "network": network,
            "name": name,
            "contact": contact,
            "moved_to": moved_to,
        },
    )


async def _withdrawal(conn: Connection, id: str) -> dict[str, object]:
    """What the network said when it took this record back; nothing where it did not, or cannot be read."""
    for voiced in await store.voices(conn, [id]):
        if voiced.type == event.RECORD_ERASE:
            return {"reason": "erased", "since": foreign.decoded(voiced.raw, Event).time}
        if voiced.type == event.PLACE_WITHDRAW:
            try:
                found = foreign.decoded(voiced.raw, Event)
                taken = foreign.decoded(bytes(found.data), Withdrawal)
            except Untrue:
                return {"reason": "withdrawn"}
            return {"reason": taken.reason, "since": found.time, "successor": taken.successor}
    return {}
