"""A node's own log looked through: is it what was signed, and do the rows beside it say the same?"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

import msgspec
from msgspec.structs import replace

from schemas.event import Event
from services import audit, ledger, ledger_epochs, ledger_repair_store, ledger_store, mending, merkle, proofs
from services.audit import Kept
from services.errors import Untrue
from services.holders import Holder
from services.identity import Identity
from services.ledger_store import Head
from services.mending import Log, Told, told
from services.merkle import Range
from services.postgres import Connection


async def repair(conn: Connection, holder: Holder | None) -> list[Told]:
    """What is damaged in our own log, put right from another holder; without one it is only told.

    Needs a transaction, and the head locked where something is to be put right.
    """
    head, whose = await ledger.current(conn), await ledger_epochs.whose(conn)
    marks, bad = _marks(await ledger_repair_store.checkpoints(conn), whose, head)
    start, now = Range(head.floor, head.floor_peaks), Range(head.size, head.peaks)
    outcome = await mending.mend(Log(whose, head.epoch, start, now, marks, partial(_events, conn)), holder)
    for kept in outcome.write:
        await ledger_repair_store.replace_event(
            conn, kept.seq, raw=kept.raw, kid=kept.kid, sig=kept.sig, leaf=kept.leaf
        )
    mends = holder is not None
    found = [*outcome.told, *await _checkpoints(conn, bad, head, mends=mends)]
    if outcome.tree is not None and outcome.tree != now:
        found.append(told("The Merkle range over the log is damaged.", {}, mended=mends))
        head = replace(head, peaks=outcome.tree.peaks)
        if mends:
            await ledger_store.replace_head(conn, head)
    return [*found, *await _columns(conn, mends=mends), *await _records(conn, head, mends=mends)]


async def _events(conn: Connection) -> AsyncIterator[Kept]:
    async for e in ledger_repair_store.stored(conn):
        yield Kept(e.seq, e.epoch, e.raw, e.kid, e.sig, e.leaf, e.erased)


def _marks(
    kept: Sequence[ledger_store.Kept], whose: Identity, head: Head
) -> tuple[dict[int, str], list[int]]:
    """The signed roots of the present chain by size, and the checkpoints that are not what was signed."""
    lasts = audit.lasts(whose.descriptor.epochs, head.epoch, head.size)
    marks, bad = dict[int, str](), list[int]()
    for one in kept:
        try:
            said = proofs.checkpoint(ledger.signed_text(one), whose)
        except Untrue:
            bad.append(one.n)
            continue
        if said.size <= lasts.get(said.epoch, -1):
            marks[said.size] = said.log_root
        if (said.n, said.epoch, said.size) != (one.n, one.epoch, one.size):
            bad.append(one.n)
    return marks, bad


async def _checkpoints(conn: Connection, bad: Sequence[int], head: Head, *, mends: bool) -> list[Told]:
    """Damaged checkpoints go, as others say the same; the last one stays until there is another."""
    old = [n for n in bad if n != head.n]
    if mends and old:
        await ledger_repair_store.drop_checkpoints(conn, old)
    return [told("Checkpoint {n} is damaged.", {"n": n}, mended=mends and n in old) for n in bad]


async def _columns(conn: Connection, *, mends: bool) -> list[Told]:
    """Columns of events that say otherwise than their bytes."""
    wrong = [now async for e in ledger_repair_store.told(conn) if (now := _as_written(e)) not in (None, e)]
    right = [now for now in wrong if now is not None]
    if mends and right:
        await ledger_repair_store.tell_again(conn, right)
    return [
        told("Event {cursor}: its columns are damaged.", {"cursor": f"{e.epoch}.{e.seq}"}, mended=mends)
        for e in right
    ]


def _as_written(e: ledger_repair_store.Told) -> ledger_repair_store.Told | None:
    """What the columns of an event ought to say; None where its own bytes are damaged."""
    if merkle.leaf(e.raw) != e.leaf:
        return None
    try:
        said = msgspec.json.decode(e.raw, type=Event)
        time = datetime.fromisoformat(said.time)
    except ValueError:
        return None
    # The column has microseconds, the event milliseconds.
    time = e.time if ledger.stamp(e.time) == said.time else time
    return replace(
        e, epoch=said.epoch, record=said.subject, version=said.recordversion, type=said.type, time=time
    )


async def _records(conn: Connection, head: Head, *, mends: bool) -> list[Told]:
    """Records and buckets that say otherwise than the events."""
    records = await ledger_repair_store.mistaken_records(conn)
    if mends and records:
        await ledger_repair_store.renew_records(conn, records)
    buckets = [] if records else await ledger_repair_store.mistaken_buckets(conn, after=head.full_size)
    if mends and buckets:
        await ledger_repair_store.drop_buckets(conn)
    if mends and (records or buckets):
        await ledger_store.replace_head(conn, replace(head, full_size=-1))
    return [
        *(
            told("Record {record}: its latest event is noted wrongly.", {"record": r}, mended=mends)
            for r in records
        ),
        *(told("Bucket {bucket} of the log is damaged.", {"bucket": b}, mended=mends) for b in buckets),
    ]
