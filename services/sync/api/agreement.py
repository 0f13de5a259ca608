"""`/networks`, `/digest`, `/trust`: whom this sync listens to, how far it is, and what it holds."""

from aiohttp import web
from msgspec import Struct

from schemas.view import Digest
from services import follow_store, http
from services.errors import NotFound
from services.follow_store import Node
from services.http import Route
from services.ledger import stamp
from services.merkle import EMPTY
from services.sync import merge, store
from services.sync.api.reading import moment
from services.sync.context import TRUST
from services.sync.trust import Trust


class Network(Struct, frozen=True):
    """How it goes with a followed node.

    `cursor`: how far its log is merged (of a muted one: kept); `head`: how long it says that it is; `lag`: events
    in between; `opaque` and `refused`: events and records that this version cannot read.
    """

    node: str
    alias: str
    name: str
    url: str
    mode: str
    state: str
    cursor: str
    head: int
    lag: int
    heard_at: str | None
    places: int
    opaque: int
    refused: int
    trouble: str | None
    license: str
    contact: str


class Networks(Struct, frozen=True):
    """The nodes that this sync listens to."""

    networks: list[Network]


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


async def list_networks(request: web.Request) -> web.Response:
    """Every node that this sync listens to: state, position, lag, last heard, counts."""
    async with moment(request) as conn:
        nodes = await follow_store.nodes(conn)
        merged, places, refused = (
            await store.merged(conn),
            await store.place_counts(conn),
            await store.unread_counts(conn),
        )
    listed = [
        _network(
            n,
            size=n.size if n.mode == "muted" else merged[n.node].size if n.node in merged else 0,
            places=places.get(n.node, 0),
            refused=refused.get(n.node, 0),
        )
        for n in nodes
    ]
    return http.reply(Networks(networks=listed))


def _network(node: Node, *, size: int, places: int, refused: int) -> Network:
    return Network(
        node=node.node,
        alias=node.alias,
        name=node.name,
        url=node.url,
        mode=node.mode,
        state="muted" if node.mode == "muted" and node.state == "live" else node.state,
        cursor=f"{node.epoch}.{size}",
        head=node.told,
        lag=max(0, node.told - size),
        heard_at=stamp(node.heard_at) if node.heard_at else None,
        places=places,
        opaque=node.opaque,
        refused=refused,
        trouble=node.trouble,
        license=node.license,
        contact=node.contact,
    )


async def show_digest(request: web.Request) -> web.Response:
    """Policy, followed set and heads of this view, and its root: what two syncs compare."""
    async with moment(request) as conn:
        known = await store.buckets(conn)
        heads = await store.merged(conn)
        basis = await store.basis(conn)
        count = await store.count_views(conn)
    followed, policy = basis or (merge.followed_hash((), ()), merge.policy_id())
    hashes = [known.get(b, EMPTY) for b in range(256)]
    digest = Digest(
        policy_id=policy,
        followed=followed,
        view_root=merge.view_root(policy, followed, hashes).hex(),
        count=count,
        heads=tuple(heads.values()),
    )
    return http.reply(digest)


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


async def show_trust(request: web.Request) -> web.Response:
    """The nodes that this sync's operator chose to listen to."""
    async with moment(request):
        return http.reply(request.app[TRUST])


ROUTES = (
    Route("GET", "/networks", list_networks, replies={200: Networks}),
    Route("GET", "/digest", show_digest, replies={200: Digest}),
    Route("GET", "/digest/buckets", list_buckets, replies={200: Buckets}),
    Route("GET", "/digest/buckets/{bucket}", show_bucket, replies={200: Entries}),
    Route("GET", "/trust", show_trust, replies={200: Trust}),
)
