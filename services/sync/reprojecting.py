"""Read again the events that an earlier version of this service kept without being able to use them."""

import asyncio

from schemas.event import RECORD_ERASE
from services import contradictions, follow, follow_repair_store, follow_store, identity, proofs
from services.errors import Untrue
from services.follow_repair_store import Stored
from services.identity import Identity
from services.postgres import Connection, Pool
from services.proofs import Followed

AT_ONCE = 1000


async def reproject(pool: Pool) -> int:
    """Have the merge use what can be read by now; how many events can. The sync may be running."""
    async with pool.acquire() as conn:
        nodes = await follow_store.nodes(conn)
    done = 0
    for node in nodes:
        async with pool.acquire() as conn, conn.transaction():
            await follow_repair_store.hold(conn, node.node)
            done += await _reproject(conn, node.node)
    return done


async def _reproject(conn: Connection, node: str) -> int:
    chain = await contradictions.chain_of(conn, node)
    after = done = 0
    while opaque := await follow_repair_store.opaque(conn, node, after=after, limit=AT_ONCE):
        whose = identity.verified(chain)
        found = [now for e in opaque if (now := _again(e, whose)) is not None]
        await follow_repair_store.read_again(conn, node, found)
        done += sum(e.opaque is None for e in found)
        after = opaque[-1].seq
        await _erase(conn, node, found)
        await asyncio.sleep(0)
    if done:
        await follow_repair_store.replaced(conn, node)
    return done


def _again(stored: Stored, whose: Identity) -> Followed | None:
    """An event as this version reads it; None where it stays what it was."""
    position = (stored.epoch, stored.seq)
    try:
        now = proofs.read(stored.raw, stored.kid, stored.sig, position=position, whose=whose)
    except Untrue:
        # It can be read, and is none that the node may write: it is not used.
        return None
    return now if now.opaque != stored.opaque else None


async def _erase(conn: Connection, node: str, found: list[Followed]) -> None:
    for e in found:
        if e.event is not None and e.event.type == RECORD_ERASE and e.opaque is None:
            await follow.forget(conn, node, e, e.event)
