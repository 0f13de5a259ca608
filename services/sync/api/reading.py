"""What all answers of the sync share: one consistent moment, and where in the log it stands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from schemas import event
from schemas.event import Event, Withdrawal
from schemas.view import ViewRemove
from services import follow_store, foreign, http, ledger, ledger_store
from services.errors import Failure, Gone, NotFound, Unavailable, Untrue
from services.postgres import Connection
from services.sync import items_store, store
from services.sync.context import ANSWERS, POOL, POSITION
from services.sync.items_store import Asked
from services.sync.position import Standing
from services.sync.store import Masked

CURSOR = web.RequestKey("cursor", str)
STANDING = web.RequestKey("standing", Standing)
# Seconds that an answer may take.
WITHIN = 20.0
Make = Callable[[Connection], Awaitable[bytes]]
T = TypeVar("T")


@asynccontextmanager
async def moment(request: web.Request) -> AsyncIterator[Connection]:
    """A connection on one moment of the view; the answer, a problem too, names it in `Merge-Cursor`."""
    pool = request.app[POOL]
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        at = Standing(*await store.standing(conn))
        request.app[POSITION].seen(at)
        _stand(request, at)
        yield conn


def _stand(request: web.Request, at: Standing) -> None:
    request[STANDING], request[CURSOR] = at, at.cursor


class Form(Struct, frozen=True):
    """In what form an answer is given: its media type, the language of its words, the system of its positions."""

    media: str = "application/json"
    language: str | None = None
    crs: str | None = None

    def headers(self, tag: str) -> dict[str, str]:
        """What is said of an answer in this form."""
        spoken = (
            {"Content-Language": self.language, "Vary": "Accept-Language, Cookie"} if self.language else {}
        )
        placed = {"Content-Crs": f"<{self.crs}>"} if self.crs else {}
        return {"ETag": tag, "Content-Type": self.media, **spoken, **placed}

    def unchanged(self, tag: str) -> dict[str, str]:
        """What is said where the client has the answer: of its headers those that a 304 has as well (RFC 9110)."""
        return {k: v for k, v in self.headers(tag).items() if k in ("ETag", "Vary")}


PLAIN = Form()


async def kept(request: web.Request, make: Make, form: Form = PLAIN) -> web.Response:
    """An answer that stays as it is while the view stands where it does: its ETag is of position, query and format.

    What is known of it, to us or to the client, is answered without the database.
    """
    if (at := request.app[POSITION].now) is not None and (known := _known(request, at, form)):
        return known
    async with moment(request) as conn:
        at = request[STANDING]
        if known := _known(request, at, form):
            return known
        body = await made(make, conn)
    request.app[ANSWERS].keep(at, tag := _tag(request, at, form), body)
    return web.Response(body=body, headers=form.headers(tag))


async def made(make: Callable[[Connection], Awaitable[T]], conn: Connection) -> T:
    """The answer; Unavailable where it takes longer than others should wait for their turn."""
    try:
        async with asyncio.timeout(WITHIN):
            return await make(conn)
    except TimeoutError:
        raise Unavailable("This takes too long to answer: ask for less.", extra={"retry_after": 60}) from None


def _known(request: web.Request, at: Standing, form: Form) -> web.Response | None:
    tag = _tag(request, at, form)
    if tag in (http.precondition(request, "If-None-Match") or ()):
        _stand(request, at)
        return web.Response(status=304, headers=form.unchanged(tag))
    body = request.app[ANSWERS].find(at, tag)
    if body is None:
        return None
    _stand(request, at)
    return web.Response(body=body, headers=form.headers(tag))


def etag(body: bytes) -> str:
    """The ETag of an answer that is made anew each time: of what it says."""
    return f'"{sha256(body).hexdigest()[:32]}"'


def _tag(request: web.Request, at: Standing, form: Form) -> str:
    said = f"{at} {request.raw_path} {form.media} {form.language}"
    return f'"{sha256(said.encode()).hexdigest()[:32]}"'


async def matched(request: web.Request, conn: Connection, asked: Asked) -> int:
    """How many places a list has in all: counted once while the view stands where it does."""
    # By its hash: what is asked for may be a drawing of a thousand points.
    key = f"matched {sha256(repr(asked).encode(errors='surrogatepass')).hexdigest()}"
    answers, at = request.app[ANSWERS], request[STANDING]
    if (known := answers.find(at, key)) is not None:
        return int(known)
    number = await items_store.matched(conn, asked)
    answers.keep(at, key, b"%d" % number)
    return number


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
