"""What is held of a followed log looked through: is it what its node signed, and do the rows beside it say the same?"""

from collections.abc import AsyncIterator
from functools import partial

import msgspec

from schemas.event import SignedText
from services import audit, contradictions, follow_repair_store, identity, mending, merkle, proofs
from services.audit import Kept
from services.errors import Untrue
from services.follow_repair_store import Stored
from services.follow_store import Node
from services.holders import Holder
from services.identity import Identity
from services.mending import Log, Told, told
from services.merkle import Range
from services.postgres import Connection
from services.proofs import Followed


async def repair(conn: Connection, node: Node, holder: Holder | None) -> list[Told]:
    """What is damaged in the log of another node, put right from another holder; without one it is only told.

    Needs a transaction, in which nobody else moves that log.
    """
    chain = await contradictions.chain_of(conn, node.node)
    if node.epoch == 0 or not chain:
        return []
    whose, now, mends = identity.verified(chain), node.position.tree, holder is not None
    marks, bad = await _marks(conn, node, whose)
    start = Range(node.start_size, node.start_peaks)
    log = Log(whose, node.epoch, start, now, marks, partial(_events, conn, node.node))
    outcome = await mending.mend(log, holder)
    await follow_repair_store.replace_events(conn, node.node, outcome.write)
    found = outcome.told
    if bad:
        found += [told("Checkpoint {n} is damaged.", {"n": f"{e}.{n}"}, mended=mends) for e, n in bad]
    if outcome.tree is not None and outcome.tree != now:
        found.append(told("The Merkle range over the log is damaged.", {}, mended=mends))
    rows = [
        *await _columns(conn, node.node, whose, mends=mends),
        *await _records(conn, node.node, mends=mends),
    ]
    if mends and (found or rows):
        await follow_repair_store.drop_checkpoints(conn, node.node, bad)
        await follow_repair_store.set_peaks(conn, node.node, outcome.tree or now)
        await follow_repair_store.replaced(conn, node.node)
    return [*found, *rows]


async def _events(conn: Connection, node: str) -> AsyncIterator[Kept]:
    async for e in follow_repair_store.stored(conn, node):
        yield Kept(e.seq, e.epoch, e.raw, e.kid, e.sig, e.leaf, e.erased)


async def _marks(
    conn: Connection, node: Node, whose: Identity
) -> tuple[dict[int, str], list[tuple[int, int]]]:
    """The signed roots of the present chain by size, and the checkpoints that are not what was signed."""
    lasts = audit.lasts(whose.descriptor.epochs, node.epoch, node.size)
    marks, bad = dict[int, str](), list[tuple[int, int]]()
    for epoch, n, text in await follow_repair_store.checkpoints(conn, node.node):
        try:
            said = proofs.checkpoint(msgspec.json.decode(text, type=SignedText), whose)
        except (Untrue, msgspec.DecodeError):
            # By a key that was revoked since, in an epoch that is over, it was true when it came.
            if epoch == node.epoch:
                bad.append((epoch, n))
            continue
        if said.size <= lasts.get(said.epoch, -1):
            marks[said.size] = said.log_root
        if (said.epoch, said.n) != (epoch, n):
            bad.append((epoch, n))
    return marks, bad


async def _columns(conn: Connection, node: str, whose: Identity, *, mends: bool) -> list[Told]:
    """Columns of events that say otherwise than their bytes."""
    wrong = [
        now async for e in follow_repair_store.stored(conn, node) if (now := _otherwise(e, whose)) is not None
    ]
    if mends and wrong:
        await follow_repair_store.read_again(conn, node, wrong)
    return [
        told("Event {cursor}: its columns are damaged.", {"cursor": e.cursor}, mended=mends) for e in wrong
    ]


def _otherwise(stored: Stored, whose: Identity) -> Followed | None:
    """An event that says otherwise than its columns; None where it says the same, or cannot be read."""
    if stored.erased or stored.opaque is not None or merkle.leaf(stored.raw) != stored.leaf:
        return None
    try:
        now = proofs.read(
            stored.raw, stored.kid, stored.sig, position=(stored.epoch, stored.seq), whose=whose
        )
    except Untrue:
        return None
    if now.event is None:
        return None
    said = (now.event.subject, now.event.recordversion, now.event.type)
    return None if said == (stored.record, stored.version, stored.type) else now


async def _records(conn: Connection, node: str, *, mends: bool) -> list[Told]:
    """Records that do not point to their latest event; who mends makes them all again."""
    return [
        told("Record {record}: its latest event is noted wrongly.", {"record": record}, mended=mends)
        for record in await follow_repair_store.mistaken_records(conn, node)
    ]
