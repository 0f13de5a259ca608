"""Two things that one node signed and that contradict each other: whether they prove it, to anybody, offline. Pure."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from schemas.event import SignedText
from schemas.evidence import Evidence, Statement
from schemas.node import Signed
from services import foreign, identity, proofs, signing
from services.errors import Args, Forked, Untrue
from services.identity import Identity
from services.proofs import Heard


class Contradiction(Struct, frozen=True):
    """What a node did, as a message with its arguments, and in which epoch."""

    what: str
    args: Args
    epoch: int


class _Named(Struct):
    """Where an event says that it stands, whatever else this version can read of it."""

    id: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,9}-[0-9]{16}$(?!\n)")]
    source: str


def contradiction(shown: Evidence) -> Contradiction:
    """What two statements prove against their node; Untrue, with the reason, where they do not."""
    if shown.kind == "descriptor":
        return _two_descriptors(shown)
    whose = identity.verified(shown.descriptors)
    _is(whose, shown.node)
    a, b = _by_one_key(shown.a), _by_one_key(shown.b)
    return two_events(a, b, whose) if shown.kind == "event" else two_checkpoints(a, b, whose)


def _is(whose: Identity, node: str) -> None:
    if whose.node != node:
        raise Untrue("The descriptors are those of node {node}.", {"node": whose.node})


def _by_one_key(statement: Statement) -> SignedText:
    if statement.kid is None or statement.sig is None:
        raise Untrue("A statement bears no signature.")
    return SignedText(raw=statement.raw, kid=statement.kid, sig=statement.sig)


def two_events(a: SignedText, b: SignedText, whose: Identity) -> Contradiction:
    """What two events of a node prove against it; Untrue where they do not."""
    first, second = _position(a, whose), _position(b, whose)
    if first != second or a.raw == b.raw:
        raise Untrue("The two events do not contradict each other.")
    args = {"cursor": f"{first[0]}.{first[1]}"}
    return Contradiction("The node signed two events of the number {cursor}.", args, first[0])


def named(raw: bytes) -> tuple[str, int, int]:
    """The source, epoch and number that an event gives itself; Untrue where it cannot be read."""
    try:
        found = msgspec.json.decode(foreign.shallow(raw), type=_Named)
    except foreign.UNREADABLE as error:
        raise Untrue("What the node sent cannot be read: {why}", {"why": str(error)}) from error
    epoch, _, seq = found.id.partition("-")
    return found.source, int(epoch), int(seq)


def _position(text: SignedText, whose: Identity) -> tuple[int, int]:
    """Where an event of this node says that it stands; Untrue unless a key that is valid there signed it."""
    raw = text.raw.encode()
    source, epoch, seq = named(raw)
    # Two nodes may have one key: their events have equal ids, and are no contradiction.
    if source != f"urn:maillage:{whose.node}":
        raise Untrue("The event is one of {source}.", {"source": source})
    key = identity.key_at(whose, text.kid, (epoch, seq))
    if not signing.verifies(key, signing.EVENT, raw, foreign.unpacked(text.sig)):
        raise Untrue("The signature at {cursor} does not fit.", {"cursor": f"{epoch}.{seq}"})
    return epoch, seq


def two_checkpoints(a: SignedText, b: SignedText, whose: Identity) -> Contradiction:
    """What two checkpoints of a node prove against it; Untrue where they do not."""
    first = proofs.checkpoint(a, whose)
    try:
        proofs.checkpoint(b, whose, Heard(a, first))
    except Forked as forked:
        return Contradiction(forked.detail, forked.arguments, first.epoch)
    raise Untrue("The two checkpoints do not contradict each other.")


def _two_descriptors(shown: Evidence) -> Contradiction:
    pair = [Signed(raw=one.raw, signatures=one.signatures) for one in (shown.a, shown.b)]
    first, second = map(identity.read, pair)
    if first.version != second.version or shown.a.raw == shown.b.raw:
        raise Untrue("The two descriptors do not contradict each other.")
    for one in pair:
        _is(identity.verified([*shown.descriptors[: first.version - 1], one]), shown.node)
    return Contradiction(
        "The node signed two descriptors of version {version}.",
        {"version": first.version},
        first.epochs[-1].epoch,
    )
