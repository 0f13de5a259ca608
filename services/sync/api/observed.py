"""`/observed`, `/evidence`: what this sync saw of the nodes that it listens to, for whoever compares or lost it."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from schemas.event import MAX_PAGE, Checkpoint, SignedText
from schemas.evidence import AllEvidence, Observation, Observed, ObservedCheckpoints
from schemas.node import Descriptor, Epoch, Signed
from services import contradictions, follow_store, http, identity, ledger, observed_store
from services.errors import Conflict, Gone, NotFound, Unavailable
from services.follow_store import Node
from services.http import Route
from services.ledger_http import NDJSON
from services.ledger_store import Signed as Stored
from services.parameters import After
from services.postgres import Connection
from services.sync.context import POOL

# So many signed checkpoints are less than a megabyte.
MAX_CHECKPOINTS = 500


class Since(Struct, frozen=True):
    """Which checkpoints: those after `<epoch>.<n>`, and how many."""

    after: After = "0.0"
    limit: Annotated[int, Meta(ge=1, le=MAX_CHECKPOINTS)] = MAX_CHECKPOINTS


class Stretch(Struct, frozen=True):
    """Where to read from (`<epoch>.<seq>`, strictly after), and how many events."""

    after: After = "0.0"
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = MAX_PAGE


async def list_observed(request: web.Request) -> web.Response:
    """The highest checkpoint of each node that this sync listens to, as it believed it."""
    async with request.app[POOL].acquire() as conn:
        highest = await observed_store.highest(conn)
    return http.reply(Observed(observed=tuple(_observation(*each) for each in highest.items())))


def _observation(node: str, highest: str) -> Observation:
    signed = msgspec.json.decode(highest, type=SignedText)
    said = msgspec.json.decode(signed.raw, type=Checkpoint)
    return Observation(node=node, epoch=said.epoch, size=said.size, n=said.n, checkpoint=signed)


async def _held(conn: Connection, request: web.Request) -> Node:
    held = await contradictions.held_of(conn, request.match_info["node"])
    if held is None:
        raise NotFound("This sync does not listen to that node.")
    return held


async def list_checkpoints(request: web.Request) -> web.Response:
    """Checkpoints of one node that are kept, oldest first; go on after the last one's `<epoch>.<n>`."""
    asked = http.asked(request, Since)
    after = ledger.position(asked.after)
    async with request.app[POOL].acquire() as conn:
        held = await _held(conn, request)
        kept = await observed_store.checkpoints(conn, held.node, after=after, limit=asked.limit)
    return http.reply(
        ObservedCheckpoints(checkpoints=tuple(msgspec.json.decode(one, type=SignedText) for one in kept))
    )


async def list_descriptors(request: web.Request) -> web.Response:
    """All descriptors of one node, one a line, oldest first."""
    async with request.app[POOL].acquire() as conn:
        held = await _held(conn, request)
        chain = await contradictions.chain_of(conn, held.node)
    return http.reply(b"".join(msgspec.json.encode(d) + b"\n" for d in chain), media=NDJSON)


async def read_feed(request: web.Request) -> web.Response:
    """The events of one node that are held, as the node itself serves them, closed by one of its checkpoints."""
    asked = http.asked(request, Stretch)
    after = ledger.position(asked.after)
    pool = request.app[POOL]
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        held = await _held(conn, request)
        chain = await contradictions.chain_of(conn, held.node)
        highest = await follow_store.highest(conn, held.node)
        if not chain or highest is None:
            raise Unavailable("Nothing of that node was read yet.")
        lasts = _lasts(held, chain)
        _check_cursor(after, held, lasts, chain)
        events, close = await _page(conn, held, after[1], asked.limit, lasts)
    lines = b"".join(map(_line, events)) + b'{"checkpoint":%b}\n' % (close or highest).encode()
    return http.reply(lines, media=NDJSON)


def _lasts(held: Node, chain: Sequence[Signed]) -> dict[int, int]:
    """Up to where each epoch is in the chain that is held."""
    epochs = _epochs(held, chain)
    lasts = {
        e.epoch: min(
            (identity.base_of(later) for later in epochs if later.epoch > e.epoch), default=held.size
        )
        for e in epochs
    }
    return {epoch: min(last, held.size) for epoch, last in lasts.items()}


def _epochs(held: Node, chain: Sequence[Signed]) -> list[Epoch]:
    """The epochs that were followed: the node may have opened another since."""
    told = msgspec.json.decode(chain[-1].raw, type=Descriptor).epochs
    return [epoch for epoch in told if epoch.epoch <= held.epoch]


def _check_cursor(
    cursor: tuple[int, int], held: Node, lasts: dict[int, int], chain: Sequence[Signed]
) -> None:
    """Conflict or Gone where nothing can be read on from a position without a gap, as the node itself would say."""
    here = f"{held.epoch}.{held.size}"
    if cursor[0] > held.epoch or (cursor[0] == held.epoch and cursor[1] > held.size):
        extra = {"code": "cursor-in-future", "head": here}
        raise Conflict("This log stands at {head}.", {"head": here}, extra=extra)
    if cursor[0] and cursor[1] > lasts[cursor[0]]:
        epochs = [msgspec.to_builtins(e) for e in _epochs(held, chain)]
        raise Conflict(
            "Epoch {epoch} ended at {last}: rewind to there, or begin with the snapshot.",
            {"epoch": cursor[0], "last": lasts[cursor[0]]},
            extra={"code": "epoch-changed", "epochs": epochs},
        )
    if cursor[1] < held.start_size:
        floor = f"{held.epoch}.{held.start_size}"
        raise Gone(
            "Of this log what comes after {floor} is held.",
            {"floor": floor},
            extra={"code": "cursor-too-old", "floor": floor},
        )


async def _page(
    conn: Connection, held: Node, after: int, limit: int, lasts: dict[int, int]
) -> tuple[list[Stored], str | None]:
    """Events after a position, up to a kept checkpoint where there is one within the limit."""
    until = min(held.size, after + limit)
    close = await observed_store.checkpoint_within(conn, held.node, after=after, until=until, lasts=lasts)
    if close:
        until = close[0]
    events = await observed_store.page(conn, held.node, after=after, until=until, most=ledger.MAX_PAGE)
    if close and events and events[-1].seq < close[0]:
        last = events[-1].seq
        close = await observed_store.checkpoint_within(conn, held.node, after=after, until=last, lasts=lasts)
        events = [e for e in events if close is None or e.seq <= close[0]]
    return events, close[1] if close else None


def _line(event: Stored) -> bytes:
    if not event.raw and event.by_raw is None:
        raise Unavailable("What erased event {seq} is not held here.", {"seq": event.seq})
    return ledger.line(event)


async def list_evidence(request: web.Request) -> web.Response:
    """Pairs of statements by which nodes contradict themselves; each proves it to anybody, offline."""
    async with (
        request.app[POOL].acquire() as conn,
        conn.transaction(isolation="repeatable_read", readonly=True),
    ):
        shown = await contradictions.shown(conn)
    return http.reply(AllEvidence(evidence=tuple(shown)))


ROUTES = (
    Route("GET", "/observed", list_observed, replies={200: Observed}),
    Route("GET", "/observed/{node}", list_checkpoints, query=Since, replies={200: ObservedCheckpoints}),
    Route("GET", "/observed/{node}/descriptors", list_descriptors, replies={200: NDJSON}),
    Route("GET", "/observed/{node}/feed", read_feed, query=Stretch, replies={200: NDJSON}),
    Route("GET", "/evidence", list_evidence, replies={200: AllEvidence}),
)
