"""Read on from a cursor: which changes concern a subscriber, and how far that reaches."""

from time import monotonic

import msgspec
from msgspec import Struct

from schemas.node import Descriptor, Epoch
from schemas.subscription import Change, Filter, Selection
from schemas.view import Traits
from services import follow_store
from services.bell import Bell
from services.errors import Conflict, Gone, Malformed, Unavailable
from services.identity import base_of
from services.notify import store
from services.notify.match import view_of
from services.notify.recording import Body
from services.notify.store import Glimpse, Position
from services.postgres import Connection, Pool

SCANNED = 10_000
# However long the places are, a page is no longer than this and one change.
MOST_BYTES = 1024 * 1024
CHUNK = 500
# Another process may have followed: its bell is not ours.
GLANCE = 1.0


class Page(Struct, frozen=True):
    """Changes that match, where to go on, and whether more is known after that."""

    changes: tuple[Change, ...]
    cursor: Position
    more: bool


class Known(Struct, frozen=True):
    """How far the followed log is known, from where on without a gap, and where its snapshot is."""

    head: Position
    floor: Position
    snapshot: str
    epochs: tuple[Epoch, ...] = ()


def position(text: str) -> Position:
    """(epoch, seq) of a cursor; Malformed when it is not `<epoch>.<seq>`."""
    epoch, dot, seq = text.partition(".")
    plain = all(p.isascii() and p.isdigit() and len(p) <= 16 and str(int(p)) == p for p in (epoch, seq))
    if not dot or not plain or len(epoch) > 10:
        raise Malformed(
            "A cursor looks like <epoch>.<seq>, for instance 1.42.", extra={"code": "cursor-malformed"}
        )
    return int(epoch), int(seq)


def cursor(position: Position) -> str:
    """A position as text."""
    return f"{position[0]}.{position[1]}"


def check(since: Position, known: Known) -> None:
    """Conflict or Gone when one cannot read on from a position without a gap, with what to do instead.

    Positions of epoch 0 lie before the log: they page through what a snapshot began with.
    """
    if since[0] == 0:
        return
    if known.head[0] == 0:
        raise Unavailable("The followed log has not been read yet.", extra={"retry_after": 5})
    if since > known.head:
        head = cursor(known.head)
        raise Conflict(
            "This log stands at {head}.", {"head": head}, extra={"code": "cursor-in-future", "head": head}
        )
    ended = [base_of(e) for e in known.epochs if since[0] < e.epoch <= known.head[0]]
    if ended and since[1] > min(ended):
        raise Conflict(
            "Epoch {epoch} ended at {last}: rewind to there, or begin with the snapshot.",
            {"epoch": since[0], "last": min(ended)},
            extra={
                "code": "epoch-changed",
                "epochs": [msgspec.to_builtins(e) for e in known.epochs],
                "snapshot": known.snapshot,
            },
        )
    if since < known.floor:
        floor = cursor(known.floor)
        extra = {"code": "cursor-too-old", "floor": floor, "snapshot": known.snapshot}
        raise Gone(
            "Changes are complete after {floor} only: begin with the snapshot.", {"floor": floor}, extra=extra
        )


async def known(conn: Connection) -> Known:
    """How far the followed log is known."""
    nodes = await follow_store.nodes(conn)
    if not nodes:
        return Known(head=(0, 0), floor=(0, 0), snapshot="")
    (one,) = nodes
    floor = await store.floor(conn)
    chain = await follow_store.descriptors(conn, one.node)
    epochs = msgspec.json.decode(chain[-1][0], type=Descriptor).epochs if chain and one.epoch > 1 else ()
    snapshot = one.url.rstrip("/") + "/snapshot"
    return Known(head=(one.epoch, one.size), floor=floor, snapshot=snapshot, epochs=epochs)


async def page(pool: Pool, wanted: Filter, since: Position, limit: int) -> Page:
    """Up to `limit` changes that match after a position, looking at a bounded stretch of the log."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        here = await known(conn)
        check(since, here)
        return await _scanned(conn, wanted, since, limit, here.head)


async def next_page(pool: Pool, bell: Bell, wanted: Filter, since: Position, limit: int, wait: float) -> Page:
    """A page; where it would be empty, the first that is not within `wait` seconds."""
    deadline = monotonic() + wait
    while True:
        heard = bell.heard
        found = await page(pool, wanted, since, limit)
        left = deadline - monotonic()
        if found.changes or found.more or left <= 0:
            return found
        since = found.cursor
        await bell.wait(heard, min(GLANCE, left))


async def _scanned(conn: Connection, wanted: Filter, since: Position, limit: int, head: Position) -> Page:
    hits: list[tuple[Glimpse, Selection]] = []
    here, scanned, size, more = since, 0, 0, True
    while more and len(hits) < limit and scanned < SCANNED and size < MOST_BYTES:
        chunk = await store.after(conn, here, limit=CHUNK)
        for glimpse in chunk:
            here, scanned = (glimpse.epoch, glimpse.seq), scanned + 1
            if (view := _view(wanted, glimpse)) is not None:
                hits.append((glimpse, view))
                size += glimpse.size
                if len(hits) == limit or size >= MOST_BYTES:
                    break
        else:
            more = len(chunk) == CHUNK
    # What comes next in the log may be no change at all: the cursor passes over it.
    end = here if more else max(here, head)
    return Page(changes=await _changes(conn, hits), cursor=end, more=end < head)


def _view(wanted: Filter, glimpse: Glimpse) -> Selection | None:
    before, after = _traits(glimpse.before), _traits(glimpse.after)
    return view_of(wanted, before, after, erased=glimpse.erased)


def _traits(encoded: bytes | None) -> Traits | None:
    return None if encoded is None else msgspec.json.decode(encoded, type=Traits)


async def _changes(conn: Connection, hits: list[tuple[Glimpse, Selection]]) -> tuple[Change, ...]:
    bodies = await store.bodies(conn, [(g.epoch, g.seq) for g, _ in hits])
    return tuple(_change(g, view, *bodies[g.epoch, g.seq]) for g, view in hits)


def _change(glimpse: Glimpse, view: Selection, id: str, body: bytes) -> Change:
    told = msgspec.json.decode(body, type=Body)
    return Change(
        cursor=cursor((glimpse.epoch, glimpse.seq)),
        id=id,
        time=told.time,
        view=view,
        place=told.place,
        changed=told.changed,
        cause=told.cause,
        reason=told.reason,
        moved_to=told.moved_to,
        dataref=told.dataref,
    )
