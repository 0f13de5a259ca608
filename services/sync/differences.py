"""Two syncs compared by what they serve: which node, which record, and whose doing it is. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from schemas.view import Digest, Head
from services.errors import Args
from services.sync.digest import bucket_hash, entry_of, view_root

Cause = Literal["lag", "followed", "policy", "fork", "corruption"]
Whose = Literal["here", "there", "both", "node"]


class Listened(Struct, frozen=True):
    """A node of a trust list."""

    node: str
    mode: str = "follow"


class Hidden(Struct, frozen=True):
    """A record that a trust list hides."""

    record: str


class Listing(Struct, frozen=True, rename={"nodes": "node"}):
    """What of `/trust` decides the view."""

    nodes: tuple[Listened, ...] = ()
    hidden: tuple[Hidden, ...] = ()


class Network(Struct, frozen=True):
    """How it goes with a node at one of the two."""

    node: str
    alias: str
    state: str
    trouble: str | None = None


class Side(Struct, frozen=True):
    """What one of the two syncs says of itself."""

    url: str
    digest: Digest
    trust: Listing
    networks: dict[str, Network]


class Finding(Struct, frozen=True):
    """One difference: why, whose doing, of which node or record, in words."""

    cause: Cause
    whose: Whose
    what: str
    args: Args
    node: str | None = None
    record: str | None = None


def found(
    cause: Cause,
    whose: Whose,
    what: str,
    *,
    node: str | None = None,
    record: str | None = None,
    **args: str | int,
) -> Finding:
    """A difference in words."""
    named = {name: value for name, value in (("node", node), ("record", record)) if value is not None}
    return Finding(cause, whose, what, {**named, **args}, node, record)


def differences(here: Side, there: Side) -> list[Finding]:
    """Why two views differ, as far as what they stand on tells; nothing where that is the same."""
    return [*_policies(here, there), *_followed(here, there), *_heads(here, there)]


def _policies(here: Side, there: Side) -> Iterator[Finding]:
    ours, theirs = here.digest.policy_id[:16], there.digest.policy_id[:16]
    if ours != theirs:
        what = "They merge by other rules ({ours} here, {theirs} there): use the same version on both."
        yield found("policy", "both", what, ours=ours, theirs=theirs)


def _listed(side: Side) -> tuple[set[str], set[str]]:
    return {n.node for n in side.trust.nodes if n.mode == "follow"}, {h.record for h in side.trust.hidden}


def _followed(here: Side, there: Side) -> Iterator[Finding]:
    (nodes, hidden), (their_nodes, their_hidden) = _listed(here), _listed(there)
    for node in sorted(nodes - their_nodes):
        yield found("followed", "here", "Node {node} is in the view here only.", node=node)
    for node in sorted(their_nodes - nodes):
        yield found("followed", "there", "Node {node} is in the view there only.", node=node)
    for record in sorted(hidden - their_hidden):
        yield found("followed", "here", "Record {record} is hidden here only.", record=record)
    for record in sorted(their_hidden - hidden):
        yield found("followed", "there", "Record {record} is hidden there only.", record=record)
    same = (nodes, hidden) == (their_nodes, their_hidden)
    if same and here.digest.followed != there.digest.followed:
        what = "One of them has another list of nodes since a moment and is not done with it: try again."
        yield found("followed", "both", what)


def _heads(here: Side, there: Side) -> Iterator[Finding]:
    both = _listed(here)[0] & _listed(there)[0]
    ours = {h.node: h for h in here.digest.heads if h.node in both}
    theirs = {h.node: h for h in there.digest.heads if h.node in both}
    for node in sorted(both):
        if ours.get(node) == theirs.get(node):
            continue
        yield from _forked(node, here, there)
        yield from _head(node, ours.get(node), theirs.get(node))


def _forked(node: str, here: Side, there: Side) -> Iterator[Finding]:
    for side in (here, there):
        known = side.networks.get(node)
        if known is not None and known.state == "forked":
            what = "Node {node} tells two stories ({trouble}): the proof is at {url}/evidence."
            yield found("fork", "node", what, node=node, trouble=known.trouble or "", url=side.url)


def _head(node: str, ours: Head | None, theirs: Head | None) -> Iterator[Finding]:
    match ours, theirs:
        case Head(), Head() if (ours.epoch, ours.size) == (theirs.epoch, theirs.size):
            yield from _one_size(node, ours, theirs)
        case Head(), Head():
            behind = (ours.epoch, ours.size) < (theirs.epoch, theirs.size)
            yield _behind(node, ours, theirs) if behind else _ahead(node, ours, theirs)
        case None, Head():
            yield found("lag", "here", "Node {node} has not been read here yet.", node=node)
        case Head(), None:
            yield found("lag", "there", "Node {node} has not been read there yet.", node=node)


def _one_size(node: str, ours: Head, theirs: Head) -> Iterator[Finding]:
    if ours.log_root != theirs.log_root:
        what = "Node {node} told each of them another log of {size} events: make them each other's witnesses."
        yield found("fork", "node", what, node=node, size=ours.size)
    elif ours.descriptor != theirs.descriptor:
        what = "They know other descriptors of node {node}: one of them has not read the latest."
        yield found("lag", "both", what, node=node)


def _behind(node: str, ours: Head, theirs: Head) -> Finding:
    if ours.epoch != theirs.epoch:
        return found("lag", "here", "Here an epoch of node {node} has not been read yet.", node=node)
    what = "Here {count} events of node {node} are missing yet."
    return found("lag", "here", what, node=node, count=theirs.size - ours.size)


def _ahead(node: str, ours: Head, theirs: Head) -> Finding:
    if ours.epoch != theirs.epoch:
        return found("lag", "there", "There an epoch of node {node} has not been read yet.", node=node)
    what = "There {count} events of node {node} are missing yet."
    return found("lag", "there", what, node=node, count=ours.size - theirs.size)


def mistaken_root(side: Side, buckets: Sequence[str]) -> bool:
    """Whether a sync's root is not that of its buckets."""
    hashes = [bytes.fromhex(b) for b in buckets]
    return view_root(side.digest.policy_id, side.digest.followed, hashes).hex() != side.digest.view_root


def mistaken_bucket(hash: str, entries: Mapping[str, str]) -> bool:
    """Whether the hash of a bucket is not that of its entries."""
    return bucket_hash(entry_of(id, bytes.fromhex(h)) for id, h in entries.items()).hex() != hash


def blamed(record: str, *, ours: str | None, theirs: str | None, computed: str | None) -> Finding:
    """Whose place is damaged, by what the stored events make of it."""
    if computed == theirs:
        return _here(record)
    if computed == ours:
        what = "Place {record} is damaged there: its operator should run `repair`."
        return found("corruption", "there", what, record=record)
    what = "Place {record} is neither here nor there what the events make of it: run `repair` on both."
    return found("corruption", "both", what, record=record)


def _here(record: str) -> Finding:
    what = "Place {record} is damaged here: run `python -m services.sync repair --from URL`."
    return found("corruption", "here", what, record=record)


def unblamed(record: str) -> Finding:
    """A place that differs, where nothing tells whose it is that is damaged."""
    what = "Place {record} differs: run `repair` on both, which tells where it is damaged."
    return found("corruption", "both", what, record=record)
