"""What somebody else kept of our own log, and whether it is ours: signed by our keys, in order, without a gap. Pure."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from schemas.event import Checkpoint, Line, SignedText
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


def about(body: bytes, node: str) -> list[SignedText]:
    """The checkpoints of a node among all that a witness saw, not yet believed."""
    seen = foreign.decoded(body, Observed).observed
    return [each.checkpoint for each in seen if each.node == node]


def chain(body: bytes, ours: Sequence[Signed]) -> Sequence[Signed]:
    """The longer of our descriptors and those that a witness serves; Forked where they part."""
    theirs = proofs.longer(ours, [foreign.decoded(line, Signed) for line in body.splitlines()])
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
    proofs.fits(text, position, signing.EVENT, whose)
    if found.event is None:
        raise Untrue("What the node sent cannot be read: {why}", {"why": found.opaque or ""})
    return found


class Tail:
    """The end of our log as it comes back from a witness, after what we have of it."""

    def __init__(self, whose: Identity, here: Range) -> None:
        self.whose, self.tree = whose, here

    def take(self, lines: Sequence[Line]) -> list[Followed]:
        """The next events. Untrue where one is not ours, or not the next one."""
        found = [self._next(line, seq) for seq, line in enumerate(lines, start=self.tree.size + 1)]
        self.tree = merkle.extended(self.tree, [one.leaf for one in found])
        return found

    def _next(self, line: Line, seq: int) -> Followed:
        position = (self.whose.epoch_of(seq), seq)
        if line.redacted or line.raw is None or line.kid is None or line.sig is None:
            return proofs.shown(line, position, self.whose)
        return own(SignedText(raw=line.raw, kid=line.kid, sig=line.sig), position, self.whose)


def leaf(line: Line) -> bytes:
    """The leaf of an event as a witness shows it."""
    return bytes.fromhex(line.leaf) if line.leaf is not None else merkle.leaf((line.raw or "").encode())


def agree(tree: Range, close: Checkpoint, url: str) -> None:
    """Forked where we signed another log of this size, as the witness at `url` shows, than the one that we have."""
    if merkle.root(tree).hex() != close.log_root:
        raise Forked(
            "We signed another log of {size} events than the one that we have.",
            {"size": close.size},
            extra={"witness": url, "signed": msgspec.to_builtins(close)},
        )
