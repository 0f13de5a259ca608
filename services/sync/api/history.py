"""`/places/{id}/history`, and a place as it was: what this sync's own log told of it."""

from typing import Annotated, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Raw, Struct

from schemas.event import RECORD_ERASE, VIEW_PUT, VIEW_REMOVE, Event
from schemas.view import Traits, ViewPut, ViewRemove
from services import http, ledger
from services.errors import Gone, NotFound
from services.http import Route
from services.parameters import After
from services.sync import history_store, store
from services.sync.api import past
from services.sync.api.reading import moment, why_not
from services.sync.history_store import Told
from services.sync.observing import AsOf

T = TypeVar("T")
Kind = Literal["put", "remove", "erase"]
# A page holds this many bytes of events, or one event.
MOST = 1024 * 1024


class Query(Struct, frozen=True):
    """How many changes, and the token of the page."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: After = "0.0"


class Change(Struct, frozen=True, omit_defaults=True):
    """One event of a place: where and when it stands in this sync's own log, and the common id that it is told of.

    `put`: the place was shown, with what `changed` and what it was `before` and `after`; where that is too long,
    `dataref` says where to read it. `remove`: it left the view, why, and where it `moved_to`. `erase`: earlier
    ones lost their content, and are `erased`. `cause` names the events of the networks that did it.
    """

    cursor: str
    time: str
    id: str
    kind: Kind
    erased: bool = False
    networks: tuple[str, ...] = ()
    changed: Raw | None = None
    dataref: str | None = None
    reason: str | None = None
    moved_to: str | None = None
    cause: tuple[str, ...] = ()


class History(Struct, frozen=True):
    """Changes of a place, oldest first; `next` is the token of the next page."""

    id: str
    changes: list[Change]
    next: str | None


class Past(Struct, frozen=True):
    """A place as the view showed it at a position: as the event at `cursor` told it, at `time`.

    Where it was too long for an event, `place` is null and `dataref` says where to read what it is now.
    """

    id: str
    as_of: AsOf
    cursor: str
    time: str
    networks: tuple[str, ...]
    traits: Traits
    place: Raw
    dataref: str | None
    cause: tuple[str, ...]


async def show_history(request: web.Request) -> web.Response:
    """What became of a place in this view, oldest first, page by page; any id that it has ever had finds it."""
    id, asked = request.match_info["id"], http.asked(request, Query)
    after = ledger.position(asked.page)[1]
    async with moment(request) as conn:
        if await store.masked(conn, id) is not None:
            raise await why_not(conn, id)
        head = await ledger.current(conn)
        found, more = await history_store.history(
            conn, head.node, id, after=after, limit=asked.limit, most=MOST
        )
        if not found and not after:
            raise await why_not(conn, id)
    changes = [change(each) for each in found]
    return http.reply(History(id=id, changes=changes, next=changes[-1].cursor if more else None))


def change(told: Told) -> Change:
    """An event of a place as answers tell it."""
    kind = KINDS[told.type]
    change = Change(
        cursor=f"{told.epoch}.{told.seq}",
        time=ledger.stamp(told.time),
        id=told.id,
        kind=kind,
        erased=told.erased,
    )
    if told.erased or kind == "erase":
        return change
    if kind == "put":
        put = said(told.raw, ViewPut)
        return msgspec.structs.replace(
            change, networks=put.networks, changed=put.changed, dataref=put.dataref, cause=put.cause
        )
    gone = said(told.raw, ViewRemove)
    return msgspec.structs.replace(change, reason=gone.reason, moved_to=gone.moved_to, cause=gone.cause)


KINDS: dict[str, Kind] = {VIEW_PUT: "put", VIEW_REMOVE: "remove", RECORD_ERASE: "erase"}


def said(raw: bytes, what: type[T]) -> T:
    """The data of an event of our own."""
    return msgspec.json.decode(msgspec.json.decode(raw, type=Event).data, type=what)


async def show_past(request: web.Request, text: str) -> web.Response:
    """A place as it was at a time, as JSON."""
    return http.reply(await past_of(request, text), headers={"Vary": "Accept"})


async def past_of(request: web.Request, text: str) -> Past:
    """A place as it was at a time; the id of any record that was in it then finds it."""
    id = request.match_info["id"]
    async with moment(request) as conn:
        at = await past.position(conn, request, text)
        head = await ledger.current(conn)
        where = await history_store.place_of(conn, id, at.seq) or id
        for each in (id, where):
            if await store.masked(conn, each) is not None:
                raise await why_not(conn, each)
        await past.remembered(conn, head, at, f"{head.node}:{where}")
        told = await history_store.told(conn, head.node, where, at.seq)
    return _past(told, past.as_of(at))


def _past(told: Told | None, as_of: AsOf) -> Past:
    """The place that the last event told; NotFound before there was one, Gone after it left."""
    if told is None:
        raise NotFound("There was no such place in this view then.", extra={"as_of": as_of})
    since = ledger.stamp(told.time)
    if told.erased or told.type == RECORD_ERASE:
        extra = {"as_of": as_of, "reason": "erased"}
        raise Gone("What it was then has been erased.", extra=extra)
    if told.type == VIEW_REMOVE:
        gone = said(told.raw, ViewRemove)
        extra = {"as_of": as_of, "reason": gone.reason, "since": since, "moved_to": gone.moved_to}
        raise Gone("It had left this view: {reason}.", {"reason": gone.reason}, extra=extra)
    put = said(told.raw, ViewPut)
    return Past(
        id=put.id,
        as_of=as_of,
        cursor=f"{told.epoch}.{told.seq}",
        time=since,
        networks=put.networks,
        traits=put.traits,
        place=put.after,
        dataref=put.dataref,
        cause=put.cause,
    )


ROUTES = (Route("GET", "/places/{id}/history", show_history, query=Query, replies={200: History, 410: None}),)
