"""How far two names say the same: words aligned softly, with integers only. Pure."""

from msgspec import Struct
from rapidfuzz.distance import OSA

from services.sync.naming import Name

# One slip of the pen in a word of four letters, two from eight letters on.
SHORTEST, LONGER = 4, 8


class Aligned(Struct, frozen=True, gc=False):
    """What two names share. `share` is in per cent of their weight; `rare` whether a rare word is shared;
    `left` and `right` the greatest weight of a word that has no fellow in the other name, 0 for none.
    """

    share: int
    rare: bool
    left: int
    right: int
    numbers: bool


def aligned(a: Name, b: Name, rare: int) -> Aligned:
    """The alignment of two names; `numbers`: whether they name the same numbers, which are never fuzzy."""
    left, right = dict(a.words), dict(b.words)
    total = sum(left.values()) + sum(right.values())
    if a.glued == b.glued:
        return Aligned(100, max(left.values(), default=0) == rare, 0, 0, a.numbers == b.numbers)
    shared, found = 0, False
    for word in [word for word in left if word in right]:
        weight, other = left.pop(word), right.pop(word)
        shared += weight + other
        found |= max(weight, other) == rare
    for mine, theirs in _alike(list(left), list(right)):
        weight = sum(left.pop(word) for word in mine) + sum(right.pop(word) for word in theirs)
        shared += weight * 9 // 10
        found |= weight >= rare
    share = 100 * shared // total if total else 0
    ends = max(left.values(), default=0), max(right.values(), default=0)
    return Aligned(share, found, *ends, a.numbers == b.numbers)


def _alike(left: list[str], right: list[str]) -> list[tuple[list[str], list[str]]]:
    """Words mistyped, or written in one here and in two there: each word once, in the order of the names."""
    pairs: list[tuple[list[str], list[str]]] = []
    for word in list(left):
        other = next((other for other in right if slip(word, other)), None)
        if other is not None:
            left.remove(word)
            right.remove(other)
            pairs.append(([word], [other]))
    return pairs + _in_one(left, right) + [(mine, theirs) for theirs, mine in _in_one(right, left)]


def _in_one(many: list[str], one: list[str]) -> list[tuple[list[str], list[str]]]:
    """Two neighbouring words of one name that are one word of the other."""
    pairs = []
    at = 0
    while at + 1 < len(many):
        both = many[at] + many[at + 1]
        if both in one:
            one.remove(both)
            pairs.append((many[at : at + 2], [both]))
            del many[at : at + 2]
        else:
            at += 1
    return pairs


def slip(a: str, b: str) -> bool:
    """Whether two words are one but for a slip of the pen."""
    longest = max(len(a), len(b))
    if min(len(a), len(b)) < SHORTEST:
        return False
    most = 2 if longest >= LONGER else 1
    return OSA.distance(a, b, score_cutoff=most) <= most
