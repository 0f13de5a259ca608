"""What becomes of a log when its node says something new of itself: another key, or a new epoch on an older base."""

from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256

import msgspec
from msgspec.structs import replace

from schemas import event
from schemas.event import Erasure, Event
from schemas.node import Signed
from services import identity, ledger, ledger_repair_store, ledger_store, merkle, succession
from services.errors import Conflict, Invalid
from services.identity import Identity
from services.ledger import Draft, Pen
from services.ledger_store import Entry, Head
from services.merkle import Range
from services.postgres import Connection

# What a service does when records have lost their last events: `(connection, records)`.
Rewound = Callable[[Connection, Sequence[str]], Awaitable[None]]
LEAVES_AT_ONCE = 500


async def whose(conn: Connection) -> Identity:
    """Who this node is, by its own chain of descriptors."""
    return identity.verified(await ledger.descriptors(conn))


async def range_at(conn: Connection, head: Head, size: int) -> Range:
    """The Merkle range over the first events, so many of them. Invalid beyond what the log still holds."""
    if not head.floor <= size <= head.size:
        raise Invalid(
            "The log holds positions {floor} to {size} only.", {"floor": head.floor, "size": head.size}
        )
    tree = Range(head.floor, head.floor_peaks)
    leaves = [leaf async for leaf in ledger_repair_store.leaves(conn, after=head.floor, until=size)]
    return merkle.extended(tree, leaves)


async def adopt(conn: Connection, one: Signed, pen: Pen, rewound: Rewound) -> Head:
    """Let a signed descriptor be in force from now on, all it says with it. The head is locked meanwhile."""
    head = await ledger.locked(conn)
    chain = await ledger.descriptors(conn)
    now = succession.accepted(chain, one)
    if now.epoch != head.epoch:
        head = await _open_epoch(conn, head, now, rewound)
    head = replace(head, kid=signs(now, head, pen), descriptor=now.hash)
    await add_descriptors(conn, [*chain, one], after=len(chain))
    await ledger_store.replace_head(conn, head)
    head = await erase_again(conn, head, pen, rewound)
    head, _ = await ledger.complete(conn, head, pen)
    return head


async def _open_epoch(conn: Connection, head: Head, now: Identity, rewound: Rewound) -> Head:
    base = now.descriptor.epochs[-1].base
    size = base.size if base else 0
    tree = await range_at(conn, head, size)
    if base is None or now.epoch != head.epoch + 1 or merkle.root(tree).hex() != base.root:
        raise Conflict("The new epoch does not go on from this log: draft it anew.")
    records = await ledger_repair_store.cut(conn, size)
    await rewound(conn, records)
    return replace(head, epoch=now.epoch, size=size, peaks=tree.peaks, full_size=-1, hold=None)


def signs(now: Identity, head: Head, pen: Pen) -> str:
    """The latest key of ours that is valid where the log stands."""
    for key in reversed(now.descriptor.signing_keys):
        start, end = identity.cursor(key.start), identity.cursor(key.end) if key.end else None
        here = (head.epoch, head.size)
        if start <= here and (end is None or here < end) and pen.keyring.holds(key.kid):
            return key.kid
    raise Conflict("None of the keys that this descriptor names is in the folder of keys.")


async def erase(
    conn: Connection, head: Head, record: str, leaves: Sequence[bytes], pen: Pen, *, author: str, routing: str
) -> tuple[Head, list[Entry]]:
    """Erase these leaves of a record: events that say so, and the bytes are gone.

    A record of which only older versions go says again what it is, as its latest event is its state.
    """
    last = await ledger_store.last(conn, record)
    stays = last is not None and not last.erased and last.type != event.RECORD_ERASE
    stays = stays and last is not None and merkle.leaf(last.raw) not in leaves
    drafts = []
    for start in range(0, len(leaves), LEAVES_AT_ONCE):
        some = tuple(leaf.hex() for leaf in leaves[start : start + LEAVES_AT_ONCE])
        data = msgspec.json.encode(Erasure(leaves=some))
        drafts.append(Draft(record, event.RECORD_ERASE, data, routing, author))
    if last is not None and stays:
        said = msgspec.json.decode(last.raw, type=Event)
        drafts.append(Draft(record, last.type, bytes(said.data), routing, author))
    head, entries = await ledger.append(conn, head, drafts, pen)
    await redact(conn, entries)
    return head, entries


async def redact(conn: Connection, entries: Sequence[Entry]) -> None:
    """Forget what the erase events among these name."""
    for entry in entries:
        if entry.type == event.RECORD_ERASE:
            by = ledger_repair_store.Erasure(entry.record, entry.raw, entry.kid, entry.sig)
            await ledger_repair_store.erase(conn, by, named(entry.raw))


def named(raw: bytes) -> list[bytes]:
    """The leaves that an erase event lists."""
    data = msgspec.json.decode(raw, type=Event).data
    return [bytes.fromhex(leaf) for leaf in msgspec.json.decode(data, type=Erasure).leaves]


async def add_descriptors(conn: Connection, chain: Sequence[Signed], *, after: int) -> None:
    """Keep the versions of a whole, verified chain that come after one of them."""
    for version, one in enumerate(chain[after:], start=after + 1):
        await ledger_store.add_descriptor(
            conn,
            version=version,
            hash=sha256(one.raw.encode()).hexdigest(),
            raw=one.raw,
            signatures=msgspec.json.encode(one.signatures),
        )


async def go_on(conn: Connection, head: Head, pen: Pen, rewound: Rewound, *, n: int) -> Head:
    """Let a locked log grow again in the same epoch: its next signature bears a number above `n`."""
    head = replace(head, hold=None, n=max(head.n, n))
    await ledger_store.replace_head(conn, head)
    head = await erase_again(conn, head, pen, rewound)
    head, _ = await ledger.complete(conn, head, pen)
    return head


async def erase_again(conn: Connection, head: Head, pen: Pen, rewound: Rewound) -> Head:
    """Say again what was erased by events that the log has lost, or that a new epoch cut off."""
    for unsaid in await ledger_repair_store.unsaid_erasures(conn):
        head, _ = await erase(
            conn, head, unsaid.record, named(unsaid.raw), pen, author="epoch", routing="record.erase._"
        )
        await ledger_repair_store.drop_erasure(conn, unsaid)
        await rewound(conn, [unsaid.record])
    return head


async def let_go(conn: Connection, keep: int) -> bool:
    """Let readers of anything but the last events begin with the snapshot; whether the floor rose."""
    head = await ledger.locked(conn)
    floor = head.size - keep
    # A floor in steps, as each costs a walk over what is let go.
    if floor - head.floor < max(1, keep // 4):
        return False
    tree = await range_at(conn, head, floor)
    await ledger_repair_store.let_go(conn, floor)
    await ledger_store.replace_head(conn, replace(head, floor=floor, floor_peaks=tree.peaks))
    return True
