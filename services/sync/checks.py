"""What the doctor looks at in a sync, beside its log: whom it follows, and whether its view is what they said."""

import asyncio
from pathlib import Path

from services import checks, doctor, doctor_store, follow_checks, follow_store, ledger_checks
from services.doctor import Check, Finding, Findings, Patient, attention, broken, well
from services.errors import Args, Misconfigured
from services.merkle import EMPTY
from services.postgres import Connection
from services.sync import adopting, digest, merge, store, trust
from services.sync.settings import Settings

# What was written a moment ago may not be there yet.
LOOKS, PAUSE = 4, 1.0
REPAIR = "Run: python -m services.sync repair --from URL, of a node or of another sync"


async def trusted(at: Patient[Settings]) -> Findings:
    """The file that says whom we listen to can be read, and names somebody."""
    path = Path(at.settings.trust)
    args: Args = {"path": str(path)}
    try:
        said = trust.load(path)
    except Misconfigured as failure:
        todo = "Put {path} right, as docs/operating.md shows."
        yield Finding("broken", failure.detail, {**failure.arguments, **args}, todo=todo)
        return
    if said.nodes:
        yield well("Nodes to listen to, by {path}: {count}.", {**args, "count": len(said.nodes)})
        return
    todo = "Name the networks to listen to in {path}, as docs/operating.md shows."
    yield attention("{path} names nobody to listen to.", args, todo=todo)


async def in_force(at: Patient[Settings]) -> Findings:
    """The service listens to those whom that file names, or will while we look."""
    path = Path(at.settings.trust)
    said = {(s.node, s.url, s.mode) for s in trust.sources(trust.load(path))}
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(PAUSE)
        async with at.moment() as conn:
            there = {(n.node, n.url, n.mode) for n in await follow_store.nodes(conn)}
        if said == there:
            yield well("The service listens to those whom the file names.")
            return
    args = {"path": str(path), "variable": at.prefix + "TRUST"}
    todo = "Let the service read this file: look at {variable} and at the folder in which it runs."
    yield attention("{path} says what is not in force.", args, todo=todo)


async def nodes(at: Patient[Settings]) -> Findings:
    """Every followed node is heard, proves and is read."""
    async with at.moment() as conn:
        followed = await follow_store.nodes(conn)
        unread = await store.unread_counts(conn)
    now, troubled = at.now(), False
    for node in followed:
        for finding in follow_checks.trouble(node, now):
            troubled = True
            yield finding
        if refused := unread.get(node.node, 0):
            troubled = True
            args: Args = {"alias": node.alias, "count": refused, "contact": node.contact or node.url}
            todo = "Write to {contact}; after an upgrade run: python -m services.sync reproject"
            yield attention("{count} records of {alias} cannot be shown.", args, todo=todo)
    if not troubled:
        yield well("All followed nodes are heard: {count}.", doctor.count(followed))


async def pinned(at: Patient[Settings]) -> Findings:
    """At the address of every followed node answers that node."""
    sources = trust.sources(trust.load(Path(at.settings.trust)))
    looks = (follow_checks.at_address(at, alias=s.alias, url=s.url, node=s.node) for s in sources)
    found = [finding for finding in await asyncio.gather(*looks) if finding is not None]
    for finding in found:
        yield finding
    if not found:
        yield well("All followed nodes answer at their addresses: {count}.", doctor.count(sources))


async def merged(at: Patient[Settings]) -> Findings:
    """The view stands at what was followed, or gets there while we look."""
    async with at.moment() as conn:
        wanted = await _wanted(conn)
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(PAUSE)
        async with at.moment() as conn:
            behind = _behind(
                wanted, {node: (h.epoch, h.size) for node, h in (await store.merged(conn)).items()}
            )
        if not behind:
            yield well("The view stands at what was followed.")
            return
    todo = "Read the log of the service for `weather` or `crashed`; while much comes in, wait."
    yield attention("The view lacks {count} events that were followed.", {"count": behind}, todo=todo)


Heads = dict[str, tuple[int, int]]


async def _wanted(conn: Connection) -> Heads:
    """Where the followed logs stand."""
    return {
        n.node: (n.epoch, n.size)
        for n in await follow_store.nodes(conn)
        if n.mode == "follow" and n.epoch > 0
    }


def _behind(wanted: Heads, there: Heads) -> int:
    """How many events the view lacks; at least one for each log that it has not read at all."""
    missing = {node: head for node, head in wanted.items() if there.get(node, (-1, -1)) < head}
    return sum(max(1, head[1] - there.get(node, (0, 0))[1]) for node, head in missing.items())


async def view(at: Patient[Settings]) -> Findings:
    """The view has the hashes by which syncs compare; with `--deep`, each of them is worked out again."""
    async with at.moment() as conn:
        basis, known = await store.basis(conn), await store.buckets(conn)
        wrong = [
            b for b in range(digest.BUCKETS) if at.deep and not await _fits(conn, b, known.get(b, EMPTY))
        ]
        count = await store.count_views(conn)
    for bucket in wrong[:3]:
        yield broken(
            "The places in bucket {bucket} are not what its hash says.", {"bucket": bucket}, todo=REPAIR
        )
    if basis is None:
        yield well("Nothing has been merged yet.")
    elif basis[1] != adopting.adopted(at.settings.policy).id:
        todo = "Restart the service: the view is made again by the rules of this version."
        yield attention("The view was made by the rules of another version.", todo=todo)
    elif not wrong:
        root = merge.view_root(basis[1], basis[0], [known.get(b, EMPTY) for b in range(digest.BUCKETS)])
        yield well(
            "The view has {count} places and the root {root}.", {"count": count, "root": root.hex()[:16]}
        )


async def _fits(conn: Connection, bucket: int, hash: bytes) -> bool:
    """Whether the places of a bucket are those of its hash, byte for byte."""
    entries = await store.entries(conn, bucket)
    bodies = await store.bodies(conn, [id for id, _ in entries])
    whole = all(digest.entry(id, bodies[id]) == entry for id, entry in entries)
    return whole and digest.bucket_hash(entry for _, entry in entries) == hash


async def evidence(at: Patient[Settings]) -> Findings:
    """No node has contradicted itself in writing."""
    async with at.moment() as conn:
        found = await doctor_store.evidence(conn)
        aliases = {n.node: n.alias for n in await follow_store.nodes(conn)}
    for node, count in found.items():
        args: Args = {"count": count, "alias": aliases.get(node, node)}
        yield attention(
            "Proofs that {alias} signed two things: {count}.",
            args,
            todo="Save /evidence to a file, look at it, and show it to the node: python -m services.sync verify FILE",
        )
    if not found:
        yield well("No node is known to have signed two things.")


async def witnesses(at: Patient[Settings]) -> Findings:
    """The other syncs that watch the same nodes can be asked."""
    urls = trust.load(Path(at.settings.trust)).witnesses
    looks = (follow_checks.at_address(at, alias=url, url=url, node=None) for url in urls)
    found = [finding for finding in await asyncio.gather(*looks) if finding is not None]
    for finding in found:
        yield finding
    if not urls:
        yield well("No witness is named: nobody compares notes with this sync.")
    elif not found:
        yield well("All witnesses answer: {count}.", doctor.count(urls))


CHECKS = (
    *checks.CHECKS,
    *ledger_checks.CHECKS,
    Check("notice", checks.notice),
    Check("trust", trusted),
    Check("in-force", in_force, ("trust", "serving", "migrations")),
    Check("nodes", nodes, ("migrations",)),
    Check("pinned", pinned, ("trust",)),
    Check("merge", merged, ("serving", "migrations")),
    Check("view", view, ("migrations",), long=True),
    Check("evidence", evidence, ("migrations",)),
    Check("witnesses", witnesses, ("trust",)),
)
