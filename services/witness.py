"""What somebody else kept of our own log, and whether it is ours: signed by our keys, in order, without a gap. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from schemas.event import RECORD_ERASE, Checkpoint, Erasure, Event, Line, SignedText
from schemas.node import Signed
from services import foreign, identity, merkle, proofs, signing
from services.errors import Forked, Untrue
from services.identity import Identity
from services.merkle import Range
from services.proofs import Followed


class Seen(Struct, frozen=True):
    """The last that a witness saw of a node; only the checkpoint in it counts, as it is signed."""

    node: str
    epoch: int
    size: int
    n: int
    checkpoint: SignedText


class Observed(Struct, frozen=True):
    """What a witness saw of the nodes that it follows."""

    observed: tuple[Seen, ...]


class Kept(Struct, frozen=True):
    """An event of ours as a witness kept it: with its bytes, or only as a leaf with the event that erased it."""

    seq: int
    epoch: int
    leaf: bytes
    event: Followed | None
    by: Followed | None


def about(body: bytes, node: str) -> list[SignedText]:
    """The checkpoints of a node among all that a witness saw, not yet believed."""
    seen = foreign.decoded(body, Observed).observed
    return [each.checkpoint for each in seen if each.node == node]


def chain(body: bytes, ours: Sequence[Signed]) -> list[Signed]:
    """The node's descriptors as a witness serves them, where they go on from ours; else ours."""
    theirs = [foreign.decoded(line, Signed) for line in body.splitlines()]
    if [one.raw for one in theirs[: len(ours)]] != [one.raw for one in ours]:
        if len(theirs) < len(ours):
            return list(ours)
        raise Untrue("The witness serves other descriptors of this node.")
    identity.verified(theirs)
    return theirs


def present(signed: Sequence[SignedText], whose: Identity) -> list[Checkpoint]:
    """The checkpoints of the epoch in force among these, each by a key of ours. Older epochs have ended."""
    found = [proofs.checkpoint(one, whose) for one in signed]
    return [said for said in found if said.epoch == whose.epoch]


def own(text: SignedText, position: tuple[int, int], whose: Identity) -> Followed:
    """An event of this node at this position, proven by its own signature."""
    raw, sig = text.raw.encode(), foreign.unpacked(text.sig)
    found = proofs.read(raw, text.kid, sig, position=position, whose=whose)
    if not signing.verifies(identity.key_at(whose, text.kid, position), signing.EVENT, raw, sig):
        raise Untrue("The signature at {cursor} does not fit.", {"cursor": f"{position[0]}.{position[1]}"})
    if found.event is None:
        raise Untrue("What the node sent cannot be read: {why}", {"why": found.opaque or ""})
    return found


class Tail:
    """The end of our log as it comes back from a witness, after what we have of it."""

    def __init__(self, whose: Identity, here: Range) -> None:
        self.whose, self.tree = whose, here

    def take(self, lines: Sequence[Line]) -> list[Kept]:
        """The next events. Untrue where one is not ours, or not the next one."""
        found = [self._kept(line, seq) for seq, line in enumerate(lines, start=self.tree.size + 1)]
        self.tree = merkle.extended(self.tree, [one.leaf for one in found])
        return found

    def _kept(self, line: Line, seq: int) -> Kept:
        epoch = self.whose.epoch_of(seq)
        if line.redacted:
            return self._erased(line, seq, epoch)
        if line.raw is None or line.kid is None or line.sig is None:
            raise Untrue("A line of the feed holds no event.")
        found = own(SignedText(raw=line.raw, kid=line.kid, sig=line.sig), (epoch, seq), self.whose)
        return Kept(seq=seq, epoch=epoch, leaf=found.leaf, event=found, by=None)

    def _erased(self, line: Line, seq: int, epoch: int) -> Kept:
        if line.by is None or line.leaf is None or line.seq != seq:
            raise Untrue("A line of the feed holds no event.")
        said = foreign.decoded(line.by.raw, Event)
        by = own(line.by, (said.epoch, int(said.sequence)), self.whose)
        if said.type != RECORD_ERASE or line.leaf not in foreign.decoded(bytes(said.data), Erasure).leaves:
            raise Untrue("Nothing says why event {cursor} is gone.", {"cursor": f"{epoch}.{seq}"})
        return Kept(seq=seq, epoch=epoch, leaf=bytes.fromhex(line.leaf), event=None, by=by)


def agree(tree: Range, close: Checkpoint) -> None:
    """Forked where we signed another log of this size than the one that we have."""
    if merkle.root(tree).hex() != close.log_root:
        raise Forked(
            "We signed another log of {size} events than the one that we have.",
            {"size": close.size},
            extra={"signed": msgspec.to_builtins(close)},
        )
