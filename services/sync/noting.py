"""First half of a merge: what changed records say now is noted, and which records that touches."""

from collections.abc import Collection, Mapping, Sequence

from schemas import event
from services.postgres import Connection
from services.sync import alike_store, fields, heard, observing, pairing, spoken, stats_store, store
from services.sync.policy import Policy
from services.sync.profiles import profile
from services.sync.records import Pair, Record, copied, owner, paired, undisclosed
from services.sync.stats_store import Stated
from services.sync.store import Latest
from services.sync.work import Work


async def note(work: Work, changed: Sequence[str]) -> None:
    """Read these records anew: claims, places, what they were copied from, what they are like."""
    work.touched |= await neighbours(work.conn, changed, work.adopted.policy)
    latest = {x.record: x for x in await heard.latest_events(work.conn, changed)}
    claimed = await _note_claims(work, changed, latest)
    shown = await store.views_of(work.conn, changed)
    # A record that is none of a place any more, or that this version cannot read, leaves the place it was in.
    work.touched.update(r for r in changed if heard.is_place(latest.get(r)) or r in shown)
    turned = await _note_places(work, changed, latest)
    await _note_alike(work, turned, claimed)
    await spoken.note(work, changed, latest)


async def neighbours(conn: Connection, records: Collection[str], policy: Policy) -> set[str]:
    """The records on which it depends what becomes of these, and the other way round."""
    matching = policy.matching
    return await store.neighbours(conn, records, pairing.least(matching), matching.propose)


async def _note_claims(work: Work, changed: Sequence[str], latest: Mapping[str, Latest]) -> set[Pair]:
    """Claims as they are now; the pairs that they were and are about, both of which are touched by them."""
    puts = [x for r, x in latest.items() if x.type == event.CLAIM_PUT and work.counts(r)]
    read = [(x, heard.said(x)) for x in puts]
    said = [(x.record, x.seq, found) for x, found in read if found is not None]
    about = [*await store.claimed(work.conn, changed), *((record, s.a, s.b) for record, _, s in said)]
    for claim, a, b in about:
        work.touched |= {a, b}
        for record in (a, b):
            if claim in latest:
                work.why.setdefault(record, set()).add(heard.reference(latest[claim]))
    if about:
        await store.drop_claims(work.conn, changed)
        await store.set_claims(work.conn, said)
    unread = [(x.record, "not a claim of its own") for x, found in read if found is None]
    await store.set_unread(work.conn, changed, unread)
    return {paired(a, b) for _, a, b in about}


async def _note_places(work: Work, changed: Sequence[str], latest: Mapping[str, Latest]) -> set[str]:
    """Successors, copies and profiles of places as they are now; those of which the matcher sees something else."""
    mine = [x for r, x in latest.items() if work.counts(r)]
    read = [r for r in heard.places(mine, work.nodes).values() if isinstance(r, Record)]
    successors = [(r.id, r.successor) for r in read if r.successor]
    await store.set_successors(work.conn, changed, successors)
    present = [r for r in read if r.place is not None]
    await stats_store.set_stated(work.conn, changed, stated(present, work.adopted.policy))
    await alike_store.set_copies(work.conn, changed, [(r.id, c) for r in present if (c := copied(r))])
    policy, known = work.adopted.policy, await alike_store.profiles(work.conn, changed)
    now = {r.id: profile(r.id, r.place, policy) for r in present if r.place}
    turned = [p for p in now.values() if p != known.get(p.record)]
    await alike_store.drop_profiles(work.conn, [record for record in known if record not in now])
    await alike_store.save_profiles(work.conn, turned, known)
    return {p.record for p in turned}


def stated(present: Sequence[Record], policy: Policy) -> list[Stated]:
    """Of which fields these records say something; of what is undisclosed, nothing of where it is."""
    found = []
    for record in present:
        told = fields.stated(record, policy)
        shown = fields.veiled(told, policy) if undisclosed(record) else told
        found.append(Stated(record.id, owner(record.id), observing.said(shown)))
    return found


async def _note_alike(work: Work, turned: set[str], claimed: set[Pair]) -> None:
    """The pairs that are alike: of what has turned with what it meets, and of what owners say is the same."""
    about = sorted(turned.union(*claimed))
    wished = pairing.wished(await store.claims_about(work.conn, about))
    spoken = {pair for pair in wished if pair in claimed or not turned.isdisjoint(pair)}
    pairs = {*await alike_store.met(work.conn, sorted(turned)), *spoken, *claimed}
    profiles = await alike_store.profiles(work.conn, {id for pair in pairs for id in pair})
    found = {}
    for pair in {paired(*pair) for pair in pairs}:
        a, b = profiles.get(pair[0]), profiles.get(pair[1])
        if a and b and (pair in spoken or pairing.meet(a, b)):
            score = pairing.alike(a, b, work.adopted.policy)
            if score is not None:
                found[pair] = score
    await alike_store.drop_alike(work.conn, claimed - found.keys())
    await alike_store.save_alike(work.conn, found)
    work.touched |= {id for pair in found for id in pair}
