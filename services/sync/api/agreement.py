"""`/digest`: how far this sync is, and what it holds, as hashes that two syncs compare."""

from aiohttp import web
from msgspec import Struct

from schemas.view import Digest
from services import http
from services.errors import NotFound
from services.http import Route
from services.merkle import EMPTY
from services.postgres import Connection
from services.sync import merge, policy, store
from services.sync.api.reading import moment
from services.sync.context import POLICY
from services.sync.policy import Policy


class Buckets(Struct, frozen=True):
    """The hash of each of the 256 buckets."""

    buckets: list[str]


class Entry(Struct, frozen=True):
    """A place in its bucket: its common id, and the hash of its bytes."""

    id: str
    hash: str


class Entries(Struct, frozen=True):
    """The places of a bucket."""

    entries: list[Entry]


async def show_digest(request: web.Request) -> web.Response:
    """Policy, followed set and heads of this view, and its root: what two syncs compare."""
    async with moment(request) as conn:
        return http.reply(await standing(request, conn))


async def standing(request: web.Request, conn: Connection) -> Digest:
    """What two syncs compare, as this view stands."""
    known = await store.buckets(conn)
    heads = await store.merged(conn)
    basis = await store.basis(conn)
    count = await store.count_views(conn)
    followed, rules = basis or (merge.followed_hash((), ()), request.app[POLICY].id)
    hashes = [known.get(b, EMPTY) for b in range(256)]
    return Digest(
        policy_id=rules,
        followed=followed,
        view_root=merge.view_root(rules, followed, hashes).hex(),
        count=count,
        heads=tuple(heads.values()),
    )


async def show_policy(request: web.Request) -> web.Response:
    """The policy by which this view is made, whole: SHA-256 of these bytes is `policy_id`."""
    async with moment(request) as conn:
        return http.reply(await rules_of(request, conn))


async def rules_of(request: web.Request, conn: Connection) -> bytes:
    """The canonical bytes of the policy by which the view was made."""
    return await store.policy_document(conn) or policy.document(request.app[POLICY].policy)


async def list_buckets(request: web.Request) -> web.Response:
    """The 256 hashes under the view root."""
    async with moment(request) as conn:
        known = await store.buckets(conn)
    return http.reply(Buckets([known.get(b, EMPTY).hex() for b in range(256)]))


async def show_bucket(request: web.Request) -> web.Response:
    """The entries of one bucket, 0 to 255."""
    text = request.match_info["bucket"]
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 256):
        raise NotFound("Buckets are numbered 0 to 255.")
    async with moment(request) as conn:
        entries = await store.entries(conn, int(text))
    found = [Entry(id=id, hash=entry[32:].hex()) for id, entry in entries]
    return http.reply(Entries(entries=found))


ROUTES = (
    Route("GET", "/digest", show_digest, replies={200: Digest}),
    Route("GET", "/policy", show_policy, replies={200: Policy}),
    Route("GET", "/digest/buckets", list_buckets, replies={200: Buckets}),
    Route("GET", "/digest/buckets/{bucket}", show_bucket, replies={200: Entries}),
)
