"""Contradictions of followed nodes: noticed, kept, and shown with all that proves them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
import structlog

from schemas.event import SignedText
from schemas.evidence import Evidence, Kind, Statement
from schemas.node import Signed
from services import evidence, follow_store, identity, observed_store, signing
from services.errors import Untrue
from services.evidence import Contradiction
from services.follow_store import Node
from services.identity import Identity
from services.ledger import stamp
from services.postgres import Connection

# One is enough; who makes thousands must not fill our disk.
MOST = 100
log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


async def held_of(conn: Connection, node: str) -> Node | None:
    """What is held of a node that is listened to."""
    found = await follow_store.node(conn, node)
    return None if found is None or found.mode == "left" else found


async def chain_of(conn: Connection, node: str) -> list[Signed]:
    """The descriptors of a followed node as they were proven, oldest first."""
    return identity.chain(await follow_store.descriptors(conn, node))


async def shown(conn: Connection) -> list[Evidence]:
    """All evidence that may be shown, oldest first: nothing of events that were erased."""
    found: list[Evidence] = []
    for kept in await follow_store.evidence(conn):
        one = _whole(kept, await chain_of(conn, kept.node))
        if not await _is_erased(conn, one):
            found.append(one)
    return found


def _whole(kept: follow_store.Evidence, chain: Sequence[Signed]) -> Evidence:
    a, b = (msgspec.json.decode(text, type=Statement) for text in (kept.a, kept.b))
    kind = msgspec.convert(kept.kind, Kind)
    return Evidence(kept.node, kind, stamp(kept.found_at), tuple(chain), a, b)


async def _is_erased(conn: Connection, found: Evidence) -> bool:
    """Whether one of two events is erased: what else was said under its number says much the same."""
    if found.kind != "event":
        return False
    epoch, seq = evidence.named(found.a.raw.encode())[1:]
    return await observed_store.is_erased(conn, found.node, epoch=epoch, seq=seq)


async def keep(conn: Connection, found: Evidence, said: Contradiction, at: datetime) -> bool:
    """Keep a contradiction that was verified; its node is `forked` where it did so in the epoch that is followed.

    False where it is known, or shows what was erased.
    """
    known = {frozenset((e.a, e.b)) for e in await follow_store.evidence(conn, found.node)}
    a, b = (msgspec.json.encode(one).decode() for one in (found.a, found.b))
    if len(known) >= MOST or {a, b} in known or await _is_erased(conn, found):
        return False
    await follow_store.add_evidence(conn, found.node, found.kind, a, b, at)
    detail = said.what.format(**said.args)
    both = [msgspec.to_builtins(one) for one in (found.a, found.b)]
    log.error("forked", node=found.node, detail=detail, signed=both)
    held = await held_of(conn, found.node)
    # What was said in an earlier epoch the root keys have settled: the next one names the log that it goes on from.
    if held is not None and held.epoch == said.epoch:
        await follow_store.set_state(conn, found.node, "forked", detail)
    return True


def pair(
    kind: Kind, chain: Sequence[Signed], both: tuple[SignedText, SignedText], node: str, at: datetime
) -> Evidence:
    """Two events or checkpoints as evidence."""
    a, b = (Statement(raw=one.raw, kid=one.kid, sig=one.sig) for one in both)
    return Evidence(node, kind, stamp(at), tuple(chain), a, b)


def of_descriptors(node: str, chain: Sequence[Signed], both: tuple[Signed, Signed], at: datetime) -> Evidence:
    """Two descriptors as evidence."""
    a, b = (Statement(raw=one.raw, signatures=one.signatures) for one in both)
    return Evidence(node, "descriptor", stamp(at), tuple(chain), a, b)


async def told_twice(
    conn: Connection, whose: Identity, again: Mapping[int, SignedText]
) -> tuple[SignedText, SignedText] | None:
    """Of events that come again, by number, the first that the node has signed with other bytes than we hold."""
    for seq, held in (await observed_store.stored(conn, whose.node, list(again))).items():
        one = again[seq]
        if not held.raw or held.raw == one.raw.encode():
            continue
        ours = SignedText(raw=held.raw.decode(), kid=held.kid, sig=signing.text(held.sig))
        try:
            evidence.two_events(ours, one, whose)
        except Untrue:
            # Whoever put it there, it was not the node.
            continue
        return ours, one
    return None
