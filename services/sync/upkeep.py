"""Keep the view in step with the followed logs: one transaction takes it from heads to heads.

What it computes is pure (`merge.py`); here is what changed, what that touches, and what is written.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from asyncpg import SerializationError
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas import event
from schemas.claim import Claim
from schemas.event import Event, Withdrawal
from schemas.place import Place
from schemas.view import Head, RemoveReason, View
from services import (
    follow_store,
    foreign,
    ledger,
    ledger_epochs,
    ledger_store,
    merkle,
    postgres,
    proofs,
    strict,
)
from services.errors import Corrupt, Untrue
from services.follow_store import Node
from services.ledger import Draft, Pen
from services.ledger_epochs import LEAVES_AT_ONCE
from services.merkle import Range
from services.postgres import Connection, Pool
from services.sync import changes, fields, merge, store
from services.sync.changes import Shown, Why
from services.sync.merge import Record, Said
from services.sync.records import owner
from services.sync.store import Latest

CHUNK = 500
REPAIR = "python -m services.sync repair --from URL"
# Leaves of events of the networks, each with its node.
Leaves = tuple[tuple[bytes, str], ...]
# Two processes, or the checkpoint of a second, met at the head: the next try finds it free.
WEATHER = (*postgres.WEATHER, SerializationError)


class Gauges:
    """What operators see of the merge."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("maillage_merge_records_total", "Records merged", registry=registry)
        self.changes = Counter(
            "maillage_merge_changes_total",
            "Places put into or removed from the view",
            ["verb"],
            registry=registry,
        )
        self.places = Gauge("maillage_merge_places", "Places in the view", registry=registry)


class Work(Struct):
    """One merge from heads to heads."""

    conn: Connection
    pen: Pen
    head: ledger_store.Head
    nodes: dict[str, Node]
    hidden: frozenset[str]
    gauges: Gauges
    dirty: set[int] = set()
    # Events of our own log that show erased content, by the record they are of.
    erasing: dict[str, list[bytes]] = {}
    places: int = 0
    voices: collections.Counter[str] = msgspec.field(default_factory=collections.Counter)


def head_of(node: Node) -> Head:
    """Where a followed log stands."""
    root = merkle.root(Range(node.size, node.peaks)).hex()
    return Head(node.node, node.epoch, node.size, root, node.descriptor)


async def count(pool: Pool, gauges: Gauges) -> None:
    """Tell how many places the view has, as a start."""
    async with pool.acquire() as conn:
        gauges.places.set(await store.count_views(conn))


async def merge_once(pool: Pool, pen: Pen, gauges: Gauges) -> bool:
    """Bring the view to the heads that are followed now; whether anything had moved."""
    async with pool.acquire() as conn, conn.transaction(isolation="repeatable_read"):
        head = await ledger.locked(conn)
        followed = [n for n in await follow_store.nodes(conn) if n.mode == "follow"]
        heads = [head_of(n) for n in followed if n.epoch > 0]
        before = await store.merged(conn)
        hidden = await store.hidden(conn)
        basis = (merge.followed_hash((n.node for n in followed), hidden), merge.policy_id())
        stood = await store.basis(conn)
        replaced = await _replaced(conn, followed)
        if {h.node: h for h in heads} == before and stood == basis and not replaced:
            return False
        work = Work(conn, pen, head, {n.node: n for n in followed}, hidden, gauges)
        # What another policy made of a log says nothing of what this one makes of it.
        usable = before if stood is not None and stood[1] == basis[1] else {}
        usable = {node: head for node, head in usable.items() if node not in replaced}
        changed = await _to_merge(work, before, usable, heads)
        for start in range(0, len(changed), CHUNK):
            await _merge_some(work, changed[start : start + CHUNK])
        await _erase_the_rest(work)
        if work.dirty:
            await store.refresh_buckets(conn, sorted(work.dirty))
        await _stand_at(conn, before, heads)
        await store.set_rewinds(conn, {n.node: n.rewinds for n in followed})
        if stood != basis:
            await store.set_basis(conn, *basis)
            await store.set_merged_hidden(conn, hidden)
        if moved := {node: more for node, more in work.voices.items() if more}:
            await store.add_places(conn, moved)
    gauges.records.inc(len(changed))
    gauges.places.inc(work.places)
    return True


async def _replaced(conn: Connection, followed: Sequence[Node]) -> set[str]:
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


async def _erase_the_rest(work: Work) -> None:
    """Erase what is told of places that had left the view before."""
    if drafts := [d for record in sorted(work.erasing) for d in _erasures(work, record)]:
        await _append(work, drafts, [()] * len(drafts))


def _erasures(work: Work, record: str) -> list[Draft]:
    leaves = work.erasing.pop(record, [])
    return [
        changes.erase(record, leaves[start : start + LEAVES_AT_ONCE])
        for start in range(0, len(leaves), LEAVES_AT_ONCE)
    ]


async def _append(work: Work, drafts: Sequence[Draft], shown: Sequence[Leaves]) -> None:
    """Write into our own log, and keep which leaves of the networks each event shows."""
    work.head, entries = await ledger.append(work.conn, work.head, drafts, work.pen)
    told = zip(entries, shown, strict=True)
    await store.tell(work.conn, [(leaf, e.seq, node) for e, leaves in told for leaf, node in leaves])
    await ledger_epochs.redact(work.conn, entries)


async def _stand_at(conn: Connection, before: Mapping[str, Head], heads: Sequence[Head]) -> None:
    """Say at which heads the view stands."""
    if left := before.keys() - {h.node for h in heads}:
        await store.drop_merged(conn, sorted(left))
    await store.set_merged(conn, [h for h in heads if before.get(h.node) != h])


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


async def _merge_some(work: Work, changed: Sequence[str]) -> None:
    latest = {x.record: x for x in await latest_events(work.conn, changed)}
    why: Why = {}
    await _note_claims(work, changed, latest, why)
    # A record that is none of a place any more, or that this version cannot read, leaves the place it was in.
    shown = await store.views_of(work.conn, changed)
    for record in changed:
        if _is_place(latest.get(record)) or record in shown:
            why.setdefault(record, set()).update(_reference(latest, record))
    await _note_successors(work, changed, latest)
    records = await closure(work.conn, set(why))
    if records:
        await _merge_component(work, records, why)


async def latest_events(conn: Connection, records: Sequence[str]) -> list[Latest]:
    """The latest events of these records; Corrupt where one is not what its node signed."""
    found = await store.latest(conn, records)
    for one in found:
        # Of an erased one nothing is left to read.
        if one.raw and merkle.leaf(one.raw) != one.leaf:
            raise Corrupt(
                "Event {cursor} of node {node} is damaged in this database. Run: {command}",
                {"cursor": f"{one.epoch}.{one.seq}", "node": one.node, "command": REPAIR},
            )
    return found


def _reference(latest: Mapping[str, Latest], record: str) -> set[str]:
    """The latest event of a record as the cause of a change: `<node>/<event id>`."""
    found = latest.get(record)
    return set() if found is None else {f"{found.node}/{found.epoch}-{found.seq:016d}"}


def _is_place(latest: Latest | None) -> bool:
    return latest is not None and latest.type in event.OF_PLACES


def _counts(work: Work, record: str) -> bool:
    """Whether a record is listened to: it is of a followed node, and nobody hides it."""
    return owner(record) in work.nodes and record not in work.hidden


async def _note_claims(work: Work, changed: Sequence[str], latest: Mapping[str, Latest], why: Why) -> None:
    """Claims as they are now; the records that they were and are about are touched by them."""
    puts = [x for r, x in latest.items() if x.type == event.CLAIM_PUT and _counts(work, r)]
    said = [(x.record, x.seq, found) for x in puts if (found := _said(x)) is not None]
    about = [*await store.claimed(work.conn, changed), *((record, s.a, s.b) for record, _, s in said)]
    for claim, a, b in about:
        for record in (a, b):
            why.setdefault(record, set()).update(_reference(latest, claim))
    if about:
        await store.drop_claims(work.conn, changed)
        await store.set_claims(work.conn, said)
    unread = [(x.record, "not a claim of its own") for x in puts if _said(x) is None]
    await store.set_unread(work.conn, changed, unread)


def _said(latest: Latest) -> Said | None:
    """The claim in an event; None where it is none that its network may make."""
    if _unread(latest) is not None:
        return None
    try:
        claim = foreign.decoded(bytes(foreign.decoded(latest.raw, Event).data), Claim)
    except Untrue:
        return None
    if owner(claim.a) != latest.node or claim.a == claim.b:
        return None
    return Said(latest.node, claim.a, claim.b, claim.verdict, claim.statement)


async def _note_successors(work: Work, changed: Sequence[str], latest: Mapping[str, Latest]) -> None:
    pairs: list[tuple[str, str]] = []
    for record, last in latest.items():
        taken = last.type == event.PLACE_WITHDRAW and _counts(work, record)
        found = _record(last, 0) if taken else None
        if isinstance(found, Record) and found.successor:
            pairs.append((record, found.successor))
    await store.set_successors(work.conn, changed, pairs)


async def closure(conn: Connection, records: set[str]) -> set[str]:
    """All that could be touched: what claims of all owners, successors and present places tie together.

    A claim that joins nothing shows in its own two places only, which are noted where it is read.
    """
    known, frontier = set(records), set(records)
    while frontier:
        frontier = await store.neighbours(conn, frontier) - known
        known |= frontier
    return known


def _unread(latest: Latest) -> str | None:
    """Why an event is left unread: every sync has to leave the same ones."""
    return (
        latest.opaque
        or foreign.flaw(latest.raw)
        or strict.ambiguity(latest.raw)
        or foreign.overlong(latest.raw, latest.type)
    )


def _record(latest: Latest, created: int) -> Record | str:
    """A record as the merge sees it, or why it cannot be read."""
    if (why := _unread(latest)) is not None:
        return why
    try:
        found = msgspec.json.decode(latest.raw, type=Event)
        if latest.type == event.PLACE_PUT:
            place, successor = msgspec.json.decode(found.data, type=Place), None
        elif latest.type == event.PLACE_WITHDRAW:
            place, successor = None, msgspec.json.decode(found.data, type=Withdrawal).successor
        else:
            place, successor = None, None
    except foreign.UNREADABLE as error:
        return str(error)
    return Record(
        id=latest.record,
        version=found.recordversion,
        leaf=latest.leaf.hex(),
        time=found.time,
        place=place,
        successor=successor,
        created=created,
    )


def _milliseconds(node: Node) -> int:
    """When a node says that it was founded; the beginning of time where it says nothing that can be read."""
    since = fields.moment(node.created)
    return int(datetime.fromisoformat(since).timestamp() * 1000) if since else 0


async def read(conn: Connection, nodes: Mapping[str, Node], ids: Sequence[str]) -> dict[str, Record | str]:
    """Those of these records that are places, or why they cannot be read; all are of these nodes."""
    events = [x for x in await latest_events(conn, ids) if _is_place(x)]
    created = {node: _milliseconds(found) for node, found in nodes.items() if found.created}
    return {x.record: _record(x, created.get(x.node, 0)) for x in events}


async def _records(work: Work, ids: Sequence[str]) -> list[Record]:
    """The records that count, read; what cannot be read is noted and left out."""
    found = await read(work.conn, work.nodes, [r for r in ids if _counts(work, r)])
    unread = [(record, why) for record, why in found.items() if isinstance(why, str)]
    await store.set_unread(work.conn, [*found, *work.hidden.intersection(ids)], unread)
    return [record for record in found.values() if isinstance(record, Record)]


async def _merge_component(work: Work, touched: set[str], why: Why) -> None:
    """Compute these records' places anew and write what differs."""
    ids = sorted(touched)
    records = await _records(work, ids)
    claims = await store.claims_about(work.conn, ids)
    old_of = await store.views_of(work.conn, ids)
    old = await _old(work.conn, old_of)
    new = {v.id: v for members in merge.clusters(records, claims) if (v := merge.merged(members, claims))}
    node = work.head.node
    erased = {v for v in {*new, *old} if f"{node}:{v}" in work.erasing}
    puts = [changes.shown(v) for v in new.values() if v != old.get(v.id) or v.id in erased]
    gone = [v for id, v in old.items() if id not in new]
    members = {alias: v.id for v in new.values() for alias in v.aliases}
    read = {record.id: record for record in records}
    drafts: list[tuple[Draft, Leaves]] = [
        (d, ()) for v in sorted(erased) for d in _erasures(work, f"{node}:{v}")
    ]
    drafts += [_put(node, now, None if now.view.id in erased else old.get(now.view.id), why) for now in puts]
    # The erase event of a place that is gone tells that it is.
    leaving = [(v, _reason(work, v.id, members, read)) for v in gone if v.id not in erased]
    drafts += [(changes.remove(node, v, members, why, reason), _leaves(v)) for v, reason in leaving]
    await _write_members(work, old_of, members)
    await _write_views(work, puts, gone)
    if drafts:
        await _append(work, [draft for draft, _ in drafts], [leaves for _, leaves in drafts])
    work.gauges.changes.labels("put").inc(len(puts))
    work.gauges.changes.labels("remove").inc(len(gone))
    work.places += len(new) - len(old)
    work.voices.update(_voices(new.values()))
    work.voices.subtract(_voices(old.values()))


def _put(node: str, now: Shown, before: View | None, why: Why) -> tuple[Draft, Leaves]:
    """The event of a place, and the leaves of the networks that it shows."""
    leaves = {*_leaves(now.view), *(_leaves(before) if before else ())}
    return changes.put(node, now, before, why), tuple(sorted(leaves))


def _leaves(view: View) -> Leaves:
    return tuple((bytes.fromhex(voice.leaf), voice.network) for voice in view.records)


def _reason(work: Work, id: str, members: Mapping[str, str], read: Mapping[str, Record]) -> RemoveReason:
    """Why no place has this id any more."""
    if id in members:
        return "merged"
    if id in work.hidden:
        return "hidden"
    if not _counts(work, id):
        return "no-longer-followed"
    return "withdrawn" if id in read else "unreadable"


def _voices(views: Iterable[View]) -> collections.Counter[str]:
    """How many records of each network speak in these places."""
    return collections.Counter(
        voice.network for view in views for voice in view.records if not voice.withdrawn
    )


async def _old(conn: Connection, views_of: Mapping[str, str]) -> dict[str, View]:
    """The places in which these records are now."""
    ids = sorted(set(views_of.values()))
    found = await store.bodies(conn, ids) if ids else {}
    return {id: msgspec.json.decode(body, type=View) for id, body in found.items()}


async def _write_members(work: Work, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    if gone := [record for record in before if record not in after]:
        await store.remove_members(work.conn, gone)
    if moved := {record: view for record, view in after.items() if before.get(record) != view}:
        await store.set_members(work.conn, moved)


async def _write_views(work: Work, puts: Sequence[Shown], gone: Sequence[View]) -> None:
    if gone:
        await store.remove_views(work.conn, [v.id for v in gone])
    if puts:
        await store.save_views(work.conn, [changes.saved(now) for now in puts])
    work.dirty |= {merge.bucket(v.id) for v in (*(now.view for now in puts), *gone)}
