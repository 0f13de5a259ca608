"""What all resources of the registry share: ids in paths, versions in headers, answers of the writer."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol, TypeVar
from uuid import UUID

from aiohttp import web
from msgspec import Struct
from uuid_utils import uuid7

from schemas.event import WithdrawReason
from schemas.place import RecordId
from services import http
from services.errors import Fault, Malformed, Missing, NotFound, Stale
from services.languages import choose, say
from services.registry import decide, store
from services.registry.context import NODE, POOL, WRITER
from services.registry.decide import Row, Wish, gone
from services.registry.writer import Answer, Asked, Kind, Once


class Warned(Struct, frozen=True):
    """A doubt about what was sent; it was accepted all the same."""

    pointer: str
    detail: str


class WithdrawBody(Struct, frozen=True, omit_defaults=True):
    """Why a record is taken back, as a code, and the record that takes its place, if any."""

    reason: WithdrawReason = "other"
    successor: RecordId | None = None


def mint() -> str:
    """A new UUIDv7."""
    return str(uuid7())


def own_id(request: web.Request) -> str:
    """The UUID in the path; the full id of a record of this network works as well."""
    return decide.own_id(request.app[NODE], request.match_info["id"])


def full_id(request: web.Request, id: str) -> str:
    """The id under which the federation knows an own record."""
    return f"{request.app[NODE]}:{id}"


def author(request: web.Request) -> str:
    """Who writes: role and name of the token. Stays at home."""
    who = http.principal(request)
    return f"{who.role.value}:{who.name}"


def expected_version(request: web.Request) -> int | None:
    """The version in If-Match; None for `*`. Missing without the header, Stale where it can be no version."""
    tags = http.precondition(request)
    if tags is None:
        raise Missing("Send If-Match with the ETag that you read.")
    if tags == {"*"}:
        return None
    versions = [t.strip('"') for t in tags]
    if len(versions) != 1 or not versions[0].isascii() or not versions[0].isdigit():
        raise Stale("If-Match does not hold an ETag of this record.")
    return int(versions[0])


def creates(request: web.Request) -> bool:
    """Whether the request says If-None-Match: *."""
    return "*" in (http.precondition(request, "If-None-Match") or ())


def once(request: web.Request, body: bytes) -> Once | None:
    """The request's Idempotency-Key, bound to its token and content."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not key.isprintable():
        raise Malformed("An Idempotency-Key has 1 to 255 printable characters.")
    return Once(token=http.principal(request).id, key=key, request=sha256(body).digest())


async def written(
    request: web.Request, kind: Kind, wish: Wish, *, key: str | None = None, once: Once | None = None
) -> Answer:
    """What became of a wish."""
    asked = Asked(kind=kind, wish=wish, author=author(request), key=key, once=once)
    return await request.app[WRITER].write(asked)


def warned(request: web.Request, warnings: Sequence[Fault]) -> list[Warned]:
    """Doubts in the reader's language."""
    language = choose(request.headers.get("Accept-Language"))
    return [Warned(pointer=w.where, detail=say(w.what, w.args, language)) for w in warnings]


def etag(row: Row) -> dict[str, str]:
    """The ETag of a record is its version."""
    return {"ETag": f'"{row.version}"'}


class Identified(Protocol):
    """What has a UUID, by which lists of it go on."""

    @property
    def id(self) -> str | UUID: ...


R = TypeVar("R", bound=Identified)


def paged(rows: Sequence[R], limit: int) -> tuple[Sequence[R], str | None]:
    """Of one row more than was asked for, the page and the token of the next one, if there is one."""
    page = rows[:limit]
    return page, _token(UUID(str(page[-1].id))) if len(rows) > limit else None


def _token(id: UUID) -> str:
    return urlsafe_b64encode(id.bytes).rstrip(b"=").decode()


def after_page(token: str | None) -> str | None:
    """The record after which a page starts; Malformed where the token is not one of ours."""
    if token is None:
        return None
    try:
        found = UUID(bytes=urlsafe_b64decode(token + "=="))
    except ValueError:
        found = None
    # The decoder passes over characters that are none of its own.
    if found is None or _token(found) != token:
        raise Malformed(
            "This page does not exist.",
            faults=(Fault("page", "Use the token that the page before gave as `next`."),),
        )
    return str(found)


async def withdrawal(request: web.Request) -> WithdrawBody:
    """The body of a DELETE; none is needed."""
    if not request.can_read_body:
        return WithdrawBody()
    return await http.read(request, WithdrawBody)


def query_mistake(fault: Fault) -> Malformed:
    """A parameter that is well formed and cannot be meant."""
    return Malformed("The query is not right.", faults=(fault,))


def preferred(request: web.Request, offers: Sequence[str]) -> str:
    """Which of these media types the client likes best; the first where it does not say."""
    best, most = offers[0], 0.0
    for entry in request.headers.get("Accept", "*/*")[:1000].split(","):
        media, *parameters = (part.strip().lower() for part in entry.split(";"))
        weight = next((_weight(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        kind = media.partition("/")[0]
        for offer in offers:
            if weight > most and media in (offer, "*/*", f"{kind}/*") and offer.startswith(kind.strip("*")):
                best, most = offer, weight
                break
    return best


def _weight(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


async def other(request: web.Request, id: str, kind: str) -> Row:
    """A claim, term or area as it stands; Gone or NotFound."""
    async with request.app[POOL].acquire() as conn:
        row = await store.other(conn, kind, id)
    if row is None:
        raise NotFound("This network has no such record.")
    if row.withdrawn is not None:
        raise gone(row)
    return row
