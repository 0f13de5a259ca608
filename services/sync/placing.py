"""Second half of a merge: the places that changed records touch, worked out anew; what differs is written and told."""

import collections
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from schemas.view import RemoveReason, View
from services import ledger, ledger_epochs
from services.errors import Corrupt
from services.ledger import Draft
from services.ledger_epochs import LEAVES_AT_ONCE
from services.postgres import Connection
from services.sync import alike_store, changes, heard, merge, noticing, noting, store
from services.sync.changes import Shown, Why
from services.sync.clusters import Clustering
from services.sync.linking import Scores
from services.sync.policy import Policy
from services.sync.records import Record, Said
from services.sync.store import Latest
from services.sync.work import Work

# Leaves of events of the networks, each with its node.
Leaves = tuple[tuple[bytes, str], ...]


async def place(work: Work, touched: Sequence[str]) -> set[str]:
    """Work out the places of these records and of all that depends on them; all those records."""
    policy = work.adopted.policy
    ids = sorted(await closure(work.conn, touched, policy))
    latest = await heard.latest_events(work.conn, ids)
    records = await _records(work, ids, latest)
    claims = await store.claims_about(work.conn, ids)
    found = await clustered(work.conn, records, claims, policy)
    why = _why(work, ids, latest)
    await _write(work, ids, merge.views(found.clusters, claims, policy), {r.id: r for r in records}, why)
    await alike_store.set_why(work.conn, ids, {p: why for p, why in found.left.items() if why != "close"})
    return set(ids)


async def closure(conn: Connection, records: Iterable[str], policy: Policy) -> set[str]:
    """All that could be touched: what claims of all owners, successors, copies, likeness and present places tie.

    A claim that joins nothing shows in its own two places only, which are noted where it is read.
    """
    known, frontier = set(records), set(records)
    while frontier:
        frontier = await noting.neighbours(conn, frontier, policy) - known
        known |= frontier
    return known


async def clustered(
    conn: Connection, records: Sequence[Record], claims: Sequence[Said], policy: Policy
) -> Clustering:
    """Which of these records are one place, by what is noted of how alike they are."""
    ids = [record.id for record in records]
    scores = Scores({r.id: r for r in records}, await alike_store.points(conn, ids), policy)
    return merge.clusters(records, claims, scores)


def _why(work: Work, ids: Iterable[str], latest: Iterable[Latest]) -> Why:
    """The events because of which these records are looked at."""
    why = {id: set(work.why[id]) for id in ids if id in work.why}
    for one in latest:
        if one.record in work.changed:
            why.setdefault(one.record, set()).add(heard.reference(one))
    return why


async def _records(work: Work, ids: Sequence[str], latest: Sequence[Latest]) -> list[Record]:
    """The records that count, read; what cannot be read is noted and left out."""
    found = heard.places([x for x in latest if work.counts(x.record)], work.nodes)
    unread = [(record, why) for record, why in found.items() if isinstance(why, str)]
    await store.set_unread(work.conn, [*found, *work.hidden.intersection(ids)], unread)
    return [record for record in found.values() if isinstance(record, Record)]


async def _write(
    work: Work, ids: Sequence[str], new: Mapping[str, View], read: Mapping[str, Record], why: Why
) -> None:
    """Write what differs between these places and those that are stored of these records."""
    old_of = await store.views_of(work.conn, ids)
    old = await _old(work, old_of, new)
    node = work.head.node
    erased = {v for v in {*new, *old} if f"{node}:{v}" in work.erasing}
    puts = [changes.shown(v) for v in new.values() if v != old.get(v.id) or v.id in erased]
    gone = [v for id, v in old.items() if id not in new]
    members = {alias: v.id for v in new.values() for alias in v.aliases}
    drafts: list[tuple[Draft, Leaves]] = [
        (d, ()) for v in sorted(erased) for d in _erasures(work, f"{node}:{v}")
    ]
    # What was told of an erased place is erased as well, so it is said again.
    standing = {id: v for id, v in old.items() if id not in erased}
    told = _notices(node, puts, _Move(old_of, standing, new), why)
    for now in puts:
        drafts += [*told[now.view.id], _put(work, now, standing.get(now.view.id), why)]
    # The erase event of a place that is gone tells that it is.
    leaving = [(v, _reason(work, v.id, members, read)) for v in gone if v.id not in erased]
    drafts += [(changes.remove(node, v, members, why, reason), _leaves(v)) for v, reason in leaving]
    await _write_members(work, old_of, members)
    lost = sorted(set(old_of.values()) - old.keys() - new.keys())
    await store.remove_views(work.conn, [*lost, *(v.id for v in gone)])
    await _save_views(work, [changes.shown(v) for v in new.values()] if work.anew or work.rows else puts)
    work.dirty |= {merge.bucket(id) for id in (*lost, *(v.id for v in gone))}
    if drafts:
        await _append(work, [draft for draft, _ in drafts], [leaves for _, leaves in drafts])
    work.gauges.changes.labels("put").inc(len(puts))
    work.gauges.changes.labels("remove").inc(len(gone))
    work.places += len(new) - len(old)
    work.voices.update(_voices(new.values()))
    work.voices.subtract(_voices(old.values()))


async def erase_the_rest(work: Work) -> None:
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


class _Move(Struct, frozen=True):
    """In which places records were, by record, and those places; and all places in which they are now."""

    was_in: Mapping[str, str]
    old: Mapping[str, View]
    new: Mapping[str, View]


def _notices(
    node: str, puts: Iterable[Shown], move: _Move, why: Why
) -> dict[str, list[tuple[Draft, Leaves]]]:
    """For each place, the events that tell networks what has become of their records in it."""
    before = {record: move.old[id] for record, id in move.was_in.items() if id in move.old}
    placed = {r.record: v.id for v in move.new.values() for r in v.records if not r.withdrawn}
    return {
        now.view.id: [
            (changes.notice(node, now.view, items, why), _leaves(now.view))
            for items in noticing.notices(now.view, before, placed)
        ]
        for now in puts
    }


def _put(work: Work, now: Shown, before: View | None, why: Why) -> tuple[Draft, Leaves]:
    """The event of a place, and the leaves of the networks that it shows."""
    leaves = {*_leaves(now.view), *(_leaves(before) if before else ())}
    changed = merge.changed(before, now.view, work.adopted.policy)
    return changes.put(work.head.node, now, before, changed, why), tuple(sorted(leaves))


def _leaves(view: View) -> Leaves:
    return tuple((bytes.fromhex(voice.leaf), voice.network) for voice in view.records)


def _reason(work: Work, id: str, members: Mapping[str, str], read: Mapping[str, Record]) -> RemoveReason:
    """Why no place has this id any more."""
    if id in members:
        return "merged"
    if id in work.hidden:
        return "hidden"
    if not work.counts(id):
        return "no-longer-followed"
    return "withdrawn" if id in read else "unreadable"


def _voices(views: Iterable[View]) -> collections.Counter[str]:
    """How many records of each network speak in these places."""
    return collections.Counter(
        voice.network for view in views for voice in view.records if not voice.withdrawn
    )


async def _old(work: Work, views_of: Mapping[str, str], new: Mapping[str, View]) -> dict[str, View]:
    """The places in which these records are now; Corrupt where one is not what its hash says."""
    found = {}
    for id, (entry, body) in (await store.stored_views(work.conn, sorted(set(views_of.values())))).items():
        if merge.entry(id, body) == entry:
            found[id] = msgspec.json.decode(body, type=View)
        elif not work.anew:
            raise Corrupt(
                "Place {id} of the view is damaged. Run: {command}", {"id": id, "command": heard.REPAIR}
            )
        elif id in new and merge.entry(id, merge.view_bytes(new[id])) == entry:
            # As it was told, and comes out again.
            found[id] = new[id]
    return found


async def _write_members(work: Work, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    if gone := [record for record in before if record not in after]:
        await store.remove_members(work.conn, gone)
    if moved := {record: view for record, view in after.items() if before.get(record) != view}:
        await store.set_members(work.conn, moved)


async def _save_views(work: Work, puts: Sequence[Shown]) -> None:
    if puts:
        await store.save_views(work.conn, [changes.saved(now) for now in puts])
    work.dirty |= {merge.bucket(now.view.id) for now in puts}
