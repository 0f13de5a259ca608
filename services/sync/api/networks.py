"""`/networks`, `/trust`: whom this sync listens to and how it goes with them, who asks to be heard, who is known."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from schemas.node import Peer
from services import follow_store, http, ledger
from services.errors import Conflict
from services.follow_store import Node
from services.http import Route
from services.identity import Identity
from services.ledger import stamp
from services.postgres import Connection
from services.sync import asking, asking_store, store
from services.sync.api.reading import moment
from services.sync.asking_store import Asked
from services.sync.context import DOOR, FOLLOWING, POOL, TRUST
from services.sync.trust import Trust

MOST_SEEN = 1000


class Network(Struct, frozen=True):
    """How it goes with a followed node.

    `cursor`: how far its log is merged (of a muted one: kept); `head`: how long it says that it is; `lag`: events
    in between; `opaque` and `refused`: events and records that this version cannot read; `hidden`: records that
    the operator of this sync hides.
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
    hidden: int
    trouble: str | None
    license: str
    contact: str


class Asking(Struct, frozen=True):
    """A node that asked to be heard, and what the operator answered: `code` says why where she refused."""

    node: str
    name: str
    url: str
    state: Literal["asking", "accepted", "refused"]
    code: str | None
    asked_at: str
    answered_at: str | None


class Seen(Struct, frozen=True):
    """A node that followed ones name as their peer, and that was neither followed nor answered."""

    node: str
    url: str
    named_by: tuple[str, ...]


class Networks(Struct, frozen=True):
    """The nodes that this sync listens to, those that ask it to, and those that it only heard of."""

    networks: list[Network]
    asking: list[Asking]
    seen: list[Seen]


class Ask(Struct, frozen=True):
    """Where the node that asks to be heard answers."""

    url: Annotated[
        str,
        Meta(pattern=r"^https?://", max_length=asking.LONGEST_URL, examples=["https://registre.exemple.fr"]),
    ]


class Counts(Struct, frozen=True):
    """Numbers of records by node: in the view, not readable, hidden."""

    places: Mapping[str, int]
    refused: Mapping[str, int]
    hidden: Mapping[str, int]


async def list_networks(request: web.Request) -> web.Response:
    """Every node that this sync listens to, with how it goes; every one that asks it to, and its answer."""
    async with moment(request) as conn:
        return http.reply(await read(conn))


async def read(conn: Connection) -> Networks:
    """How it goes with every node that is listened to, that asks or that was heard of."""
    nodes = await follow_store.nodes(conn)
    merged = {node: head.size for node, head in (await store.merged(conn)).items()}
    counts = Counts(
        places=await store.place_counts(conn),
        refused=await store.unread_counts(conn),
        hidden=await store.hidden_counts(conn),
    )
    asked = await asking_store.everybody(conn)
    named = await asking_store.descriptors(conn)
    own = await ledger.node_of(conn)
    settled = {own, *(n.node for n in nodes), *(a.node for a in asked if a.state != "asking")}
    return Networks(
        networks=[_network(n, n.size if n.mode == "muted" else merged.get(n.node, 0), counts) for n in nodes],
        asking=[_asking(a) for a in asked],
        seen=seen(((each.node, each.raw) for each in named), settled),
    )


def _network(node: Node, size: int, counts: Counts) -> Network:
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
        places=counts.places.get(node.node, 0),
        opaque=node.opaque,
        refused=counts.refused.get(node.node, 0),
        hidden=counts.hidden.get(node.node, 0),
        trouble=node.trouble,
        license=node.license,
        contact=node.contact,
    )


def _asking(asked: Asked) -> Asking:
    answered = stamp(asked.answered_at) if asked.answered_at else None
    return Asking(
        node=asked.node,
        name=asked.name,
        url=asked.url,
        state=asked.state,  # type: ignore[arg-type] # written by asking_store alone
        code=asked.code,
        asked_at=stamp(asked.asked_at),
        answered_at=answered,
    )


class _Peers(Struct):
    peers: tuple[Peer, ...]


def seen(descriptors: Iterable[tuple[str, str]], settled: set[str | None]) -> list[Seen]:
    """Peers that descriptors (by node) name and that are not settled, by id; a thousand at most."""
    found: dict[tuple[str, str], list[str]] = {}
    for node, raw in descriptors:
        for peer in msgspec.json.decode(raw, type=_Peers).peers:
            # What a node says of another is its own word only: no page may link to a script.
            web_address = peer.url.startswith(("http://", "https://")) and len(peer.url) <= asking.LONGEST_URL
            if (
                web_address
                and peer.node not in settled
                and node not in found.setdefault((peer.node, peer.url), [])
            ):
                found[peer.node, peer.url].append(node)
    listed = sorted((key, named) for key, named in found.items() if named)[:MOST_SEEN]
    return [Seen(node=node, url=url, named_by=tuple(sorted(named))) for (node, url), named in listed]


async def ask(request: web.Request) -> web.Response:
    """Ask this sync to listen to a node; its operator answers, and the answer is public.

    The node has to answer at that address: who it is, is read from its signed descriptors. Asking again changes
    nothing but its name and address.
    """
    url = asking.tidy((await http.read(request, Ask)).url)
    request.app[DOOR].admit()
    whose = await request.app[DOOR].meet(url)
    async with request.app[POOL].acquire() as conn, conn.transaction():
        await asking_store.alone(conn)
        await _note(request, conn, whose, url)
        asked = await asking_store.asked(conn, whose.node)
    assert asked is not None  # noqa: S101 - it was written a line above
    return http.reply(_asking(asked), 202 if asked.state == "asking" else 200)


async def _note(request: web.Request, conn: Connection, whose: Identity, url: str) -> None:
    """Write down who asks. Anybody may copy a node's descriptors: the address that it names itself stays."""
    if whose.node == await ledger.node_of(conn):
        raise Conflict("This is the sync itself.")
    known = await asking_store.asked(conn, whose.node)
    if known is None and await asking_store.unanswered(conn) >= asking.MOST_WAITING:
        raise asking.full()
    own = whose.descriptor.url.rstrip("/")
    kept = known.url if known is not None and known.url == own else url
    now = request.app[FOLLOWING].now()
    await asking_store.ask(conn, whose.node, name=whose.descriptor.name, url=kept, at=now)
    await asking_store.settle(conn, now)


async def show_trust(request: web.Request) -> web.Response:
    """The nodes that this sync's operator chose to listen to, her witnesses, and the records that she hides."""
    async with moment(request):
        return http.reply(request.app[TRUST].now)


ROUTES = (
    Route("GET", "/networks", list_networks, replies={200: Networks}),
    Route(
        "POST",
        "/networks",
        ask,
        body=Ask,
        replies={200: Asking, 202: Asking, 409: None, 429: None},
        limit=4096,
    ),
    Route("GET", "/trust", show_trust, replies={200: Trust}),
)
