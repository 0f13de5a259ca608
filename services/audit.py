"""Is a stored log the one that was signed? Which events are damaged, and what mends them. Pure."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from schemas.event import SignedText
from schemas.node import Epoch
from services import evidence, foreign, identity, merkle, signing
from services.errors import Untrue
from services.identity import Identity
from services.merkle import Range

Part = Literal["bytes", "leaf", "signature"]


class Kept(Struct, frozen=True):
    """An event as it is stored; of an erased one the leaf alone says what it was."""

    seq: int
    epoch: int
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    erased: bool = False

    @property
    def cursor(self) -> str:
        """Where it stands."""
        return f"{self.epoch}.{self.seq}"


class Damage(Struct, frozen=True):
    """An event, and which part of it is not what it was."""

    kept: Kept
    part: Part


def damage(kept: Kept, whose: Identity) -> Part | None:
    """Which part of an event is not what it was; None for one that is whole, or erased.

    Bytes, signature and leaf vouch for each other: what two of them say is so.
    """
    if kept.erased:
        return None
    fits, signed = merkle.leaf(kept.raw) == kept.leaf, _signed(kept, whose)
    if signed:
        return None if fits else "leaf"
    return "signature" if fits else "bytes"


def _signed(kept: Kept, whose: Identity) -> bool:
    try:
        key = identity.key_at(whose, kept.kid, (kept.epoch, kept.seq))
    except Untrue:
        return False
    return signing.verifies(key, signing.EVENT, kept.raw, kept.sig)


def offered(text: SignedText, kept: Kept, whose: Identity) -> Kept | None:
    """What another holder has under the number of an event; None unless the node signed it for that place."""
    try:
        raw, sig = text.raw.encode(), foreign.unpacked(text.sig)
        _, epoch, seq = evidence.named(raw)
    except (Untrue, UnicodeError):
        return None
    found = replace(kept, raw=raw, kid=text.kid, sig=sig, leaf=merkle.leaf(raw))
    there = (epoch, seq) == (kept.epoch, kept.seq) and damage(found, whose) is None
    return found if there else None


def mended(found: Damage, text: SignedText | None, whose: Identity) -> Kept | None:
    """A damaged event as it was; None where what another holder offers does not tell."""
    if found.part == "leaf":
        return replace(found.kept, leaf=merkle.leaf(found.kept.raw))
    whole = offered(text, found.kept, whose) if text else None
    return whole if whole is not None and whole.leaf == found.kept.leaf else None


def lasts(epochs: tuple[Epoch, ...], epoch: int, size: int) -> dict[int, int]:
    """Up to where each epoch is part of the present chain of so many events, in the epoch that is present."""
    known = [e for e in epochs if e.epoch <= epoch]
    return {
        e.epoch: min(size, *(identity.base_of(later) for later in known if later.epoch > e.epoch))
        if e.epoch < epoch
        else size
        for e in known
    }


class Audit:
    """A walk over a stored log, event by event.

    `start`: from where on it is whole. `marks`: roots in hex that the node signed, by size. `instead`: events as
    they would be once they are mended.
    """

    def __init__(
        self,
        start: Range,
        marks: Mapping[int, str],
        whose: Identity,
        instead: Mapping[int, Kept] | None = None,
    ) -> None:
        self.start, self.marks, self.whose, self.instead = start, marks, whose, instead or {}
        self.tree = start
        # Up to where signed roots prove it; between which two of them it parts from what was signed.
        self.good = start.size
        self.broken: tuple[int, int] | None = None
        self.missing: int | None = None
        self.damaged: list[Damage] = []

    def take(self, stored: Kept) -> None:
        """The next event, by number."""
        kept = self.instead.get(stored.seq, stored)
        part = damage(kept, self.whose)
        if part is not None:
            self.damaged.append(Damage(kept, part))
        if kept.seq <= self.start.size or self.broken or self.missing:
            return
        if kept.seq != self.tree.size + 1:
            self.missing = self.tree.size + 1
            return
        # A leaf that does not fit signed bytes is the part that is wrong.
        leaf = merkle.leaf(kept.raw) if part == "leaf" else kept.leaf
        self.tree = merkle.extended(self.tree, [leaf])
        self._compare()

    def _compare(self) -> None:
        size = self.tree.size
        if size not in self.marks:
            return
        if self.marks[size] == merkle.root(self.tree).hex():
            self.good = size
        else:
            self.broken = (self.good, size)

    def end(self, size: int) -> None:
        """There is no further event, where there should be so many."""
        if self.tree.size < size and not self.broken:
            self.missing = self.missing or self.tree.size + 1

    def proves(self, seq: int) -> bool:
        """Whether an event can be written as it is now: the roots agree."""
        return seq <= self.good or not (self.broken or self.missing)
