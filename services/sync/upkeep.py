"""Keep the view in step with the followed logs: one transaction takes it from heads to heads.

First what changed is noted (`noting`), then the places that it touches are worked out anew (`placing`). What is
computed is pure (`merge.py`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from asyncpg import SerializationError

from schemas.event import Event
from schemas.view import Head, View
from services import follow_store, foreign, ledger, merkle, postgres, proofs
from services.follow_store import Node
from services.ledger import Pen
from services.merkle import Range
from services.postgres import Connection, Pool
from services.sync import (
    alike_store,
    changes,
    digest,
    heard,
    merge,
    noting,
    placing,
    policy,
    stats_store,
    store,
)
from services.sync.policy import Adopted
from services.sync.records import Record, owner
from services.sync.work import Gauges, Work

CHUNK = 500
# Two processes, or the checkpoint of a second, met at the head: the next try finds it free.
WEATHER = (*postgres.WEATHER, SerializationError)
# Told how many records are done, and are to do in all.
Progress = Callable[[int, int], None]


def unseen(done: int, total: int) -> None:
    """Nobody watches how far it is."""


def head_of(node: Node) -> Head:
    """Where a followed log stands."""
    root = merkle.root(Range(node.size, node.peaks)).hex()
    return Head(node.node, node.epoch, node.size, root, node.descriptor)


async def count(pool: Pool, gauges: Gauges) -> None:
    """Tell how many places the view has, as a start."""
    async with pool.acquire() as conn:
        gauges.places.set(await store.count_views(conn))


async def read_off(pool: Pool) -> None:
    """Write what lists go by for places that another version of this service has stored, once."""
    async with pool.acquire() as conn, conn.transaction():
        await ledger.locked(conn)
        if await store.columns(conn) == changes.COLUMNS:
            return
        batch: list[store.Saved] = []
        async for body in store.every_body(conn):
            batch.append(changes.saved(changes.shown(msgspec.json.decode(body, type=View))))
            if len(batch) == CHUNK:
                await store.save_views(conn, batch)
                batch = []
        await store.save_views(conn, batch)
        await _read_stated(conn)
        await store.set_columns(conn, changes.COLUMNS)
        await store.turn(conn)


async def _read_stated(conn: Connection) -> None:
    """Note anew of which fields each record of the view says something, by the policy of the view."""
    document, records = await store.policy_document(conn), await store.all_members(conn)
    if document is None:
        return
    rules, hidden = policy.stored(document), await store.hidden(conn)
    nodes = {n.node: n for n in await follow_store.nodes(conn) if n.mode == "follow"}
    for start in range(0, len(records), CHUNK):
        asked = records[start : start + CHUNK]
        heeded = [r for r in asked if owner(r) in nodes and r not in hidden]
        read = (await heard.read(conn, nodes, heeded)).values()
        present = [r for r in read if isinstance(r, Record) and r.place is not None]
        await stats_store.set_stated(conn, asked, noting.stated(present, rules))


async def merge_once(
    pool: Pool, pen: Pen, adopted: Adopted, gauges: Gauges, progress: Progress = unseen
) -> bool:
    """Bring the view to the heads that are followed now; whether anything had moved."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        work, heads = await _begun(conn, pen, adopted, gauges)
        before, stood = await store.merged(conn), await store.basis(conn)
        replaced = await _replaced(conn, work.nodes.values())
        if {h.node: h for h in heads} == before and stood == _basis(work) and not replaced:
            return False
        # What another policy made of a log says nothing of what this one makes of it.
        usable = before if stood is not None and stood[1] == adopted.id else {}
        usable = {node: head for node, head in usable.items() if node not in replaced}
        if stood is not None and stood[1] != adopted.id:
            work.rows = True
            await alike_store.forget_all(conn)
        changed = await _to_merge(work, before, usable, heads)
        await _merge(work, changed, progress)
        await _stand_at(work, before, heads)
    gauges.records.inc(len(changed))
    gauges.places.inc(work.places)
    return True


async def rebuild(pool: Pool, pen: Pen, adopted: Adopted, gauges: Gauges, progress: Progress = unseen) -> int:
    """Make the view from the stored events alone, whatever it is now; how many records were merged.

    What comes out as it was makes no event.
    """
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        work, heads = await _begun(conn, pen, adopted, gauges)
        work.anew = True
        before = await store.merged(conn)
        changed = await _to_merge(work, before, {}, heads)
        changed = list(dict.fromkeys([*changed, *await store.all_members(conn)]))
        await alike_store.forget_all(conn)
        await store.forget_said(conn)
        await _merge(work, changed, progress)
        await store.remove_views(conn, await store.unmatched_views(conn))
        await store.refresh_buckets(conn, range(digest.BUCKETS))
        await _stand_at(work, before, heads)
        await store.recount_places(conn)
    gauges.places.inc(work.places)
    return len(changed)


async def _begun(conn: Connection, pen: Pen, adopted: Adopted, gauges: Gauges) -> tuple[Work, list[Head]]:
    """A merge, alone among all processes of this database, and the heads that it is to reach."""
    head = await ledger.locked(conn)
    await store.by_key(conn)
    followed = [n for n in await follow_store.nodes(conn) if n.mode == "follow"]
    hidden = await store.hidden(conn)
    work = Work(conn, pen, adopted, head, {n.node: n for n in followed}, hidden, gauges)
    return work, [head_of(n) for n in followed if n.epoch > 0]


def _basis(work: Work) -> tuple[str, str]:
    """What a view depends on beside the heads: whom it listens to, and its policy."""
    return merge.followed_hash(work.nodes, work.hidden), work.adopted.id


async def _merge(work: Work, changed: Sequence[str], progress: Progress) -> None:
    """Note what changed, then place what that touches."""
    work.changed = set(changed)
    for start in range(0, len(changed), CHUNK):
        progress(start, 2 * len(changed))
        await noting.note(work, changed[start : start + CHUNK])
    done: set[str] = set()
    touched = sorted(work.touched)
    for start in range(0, len(touched), CHUNK):
        progress(len(changed) + start * len(changed) // len(touched), 2 * len(changed))
        todo = [r for r in touched[start : start + CHUNK] if r not in done]
        if todo:
            done |= await placing.place(work, todo)
    await placing.erase_the_rest(work)
    if work.dirty:
        await store.refresh_buckets(work.conn, sorted(work.dirty))
    progress(2 * len(changed), 2 * len(changed))


async def _stand_at(work: Work, before: Mapping[str, Head], heads: Sequence[Head]) -> None:
    """Say at which heads, and on what, the view stands."""
    conn = work.conn
    if left := before.keys() - {h.node for h in heads}:
        await store.drop_merged(conn, sorted(left))
    await store.set_merged(conn, [h for h in heads if before.get(h.node) != h])
    await store.set_rewinds(conn, {n.node: n.rewinds for n in work.nodes.values()})
    if await store.basis(conn) != _basis(work):
        document = policy.document(work.adopted.policy)
        await store.set_basis(conn, store.Basis(*_basis(work), document, changes.COLUMNS))
        await store.set_merged_hidden(conn, work.hidden)
    if work.spoken or work.rows or work.anew:
        await store.turn(conn)
    if moved := {node: more for node, more in work.voices.items() if more}:
        await store.add_places(conn, moved)


async def _replaced(conn: Connection, followed: Collection[Node]) -> set[str]:
    """Nodes of which something else is held now than what was merged, and not only more."""
    merged = await store.rewinds(conn)
    return {n.node for n in followed if n.rewinds != merged.get(n.node, n.rewinds)}


async def _to_merge(
    work: Work, before: Mapping[str, Head], usable: Mapping[str, Head], heads: Sequence[Head]
) -> list[str]:
    """The records whose places may change, each once.

    Those of the changed logs, those that the operator hides or shows again, and what erased content showed in.
    """
    left = before.keys() - {h.node for h in heads}
    gone = sorted(left | (before.keys() - usable.keys()))
    changed = [*await _all_of(work.conn, gone), *await _changed(work.conn, usable, heads)]
    for head in heads:
        if head != usable.get(head.node):
            await _note_erased(work, head, usable.get(head.node))
    turned = sorted(work.hidden ^ await store.merged_hidden(work.conn))
    return list(dict.fromkeys([*changed, *turned, *map(_view_of, work.erasing)]))


def _view_of(record: str) -> str:
    """The common id of a place whose events in our log are of this record."""
    return record.partition(":")[2]


async def _note_erased(work: Work, head: Head, before: Head | None) -> None:
    """Which of our own events show what erase events since the last head take away.

    Of a log that was begun anew these may have been missed: what is no longer held of it, is not shown either.
    """
    raws = await store.erase_events(work.conn, head.node, before.size if before else 0, head.size)
    leaves = [leaf for raw in raws for leaf in proofs.erased_leaves(foreign.decoded(raw, Event))]
    told = await store.told_of(work.conn, leaves)
    if before is None:
        told = sorted({*told, *await store.told_unheld(work.conn, head.node)})
    for record, leaf in told:
        work.erasing.setdefault(record, []).append(leaf)


async def _all_of(conn: Connection, nodes: Sequence[str]) -> list[str]:
    """All records of nodes that are no longer followed, or of which something else is held now."""
    return [record for node in nodes for record in await store.records_of(conn, node)]


async def _changed(conn: Connection, before: Mapping[str, Head], heads: Sequence[Head]) -> list[str]:
    """Records whose latest event came after these heads; all of those of nodes that are none of these."""
    changed: list[str] = []
    for head in heads:
        if head != before.get(head.node):
            after = before[head.node].size if head.node in before else 0
            changed += await store.changed_records(conn, head.node, after, head.size)
    return changed
