"""Why the records of a place are one: what ties two of them, and how alike they are. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from services.sync.linking import liftable
from services.sync.merge import hides
from services.sync.policy import Matching
from services.sync.records import Pair, Record, Said, Why, open_to_all, owner, paired
from services.sync.ties import Ties

# Its owners say so; one is withdrawn and names the other as what takes its place; one was copied from the other; they
# are alike enough to be joined unasked; or enough to be joined because one owner says so.
By = Literal["claim", "successor", "copy", "points", "lifted"]


class Alike(Struct, frozen=True):
    """How alike a pair is, feature by feature, and why that does not join it, where it does not."""

    points: int
    features: tuple[tuple[str, str, int], ...]
    why: Why | None = None


class Tie(Struct, frozen=True):
    """What makes one place of two records: by what, the owners who say `same`, and how alike they are.

    `alike` is None where nothing is known, or where it may not be told.
    """

    pair: Pair
    by: By
    said: tuple[str, ...]
    alike: Alike | None


def explained(
    members: Iterable[Record], claims: Sequence[Said], alike: Mapping[Pair, Alike], matching: Matching
) -> list[Tie]:
    """The ties among the records of one place, by their pairs; together they connect all of them.

    `alike` are pairs of `members`. What a record that is not open to all is like, is not told; nor is that of any
    record of a place of which one is undisclosed.
    """
    known = {record.id: record for record in members}
    ties = Ties(known, claims)
    same: dict[Pair, set[str]] = defaultdict(set)
    for said in claims:
        if said.verdict == "same" and said.claimant in (owner(said.a), owner(said.b)):
            same[paired(said.a, said.b)].add(said.claimant)
    able = {
        p: found.points
        for p, found in alike.items()
        if found.why is None and p not in ties.apart and ties.secret.isdisjoint(p)
    }
    # What decides first, is named last.
    by: dict[Pair, By] = dict.fromkeys((paired(*pair) for pair in ties.moved), "successor")
    for pair, voices in ties.wished.items():
        if pair in able and able[pair] >= matching.propose and liftable([known[id] for id in pair], voices):
            by[pair] = "lifted"
    for pair, points in able.items():
        if points >= matching.join and _open(known, pair):
            by[pair] = "points"
    by.update(dict.fromkeys(ties.copies, "copy"))
    joined = [pair for pair in ties.joined if known.keys() >= {*pair}]
    by.update({pair: "claim" if pair in same else "successor" for pair in joined})
    secret = hides(known.values())
    return [
        Tie(
            pair,
            why,
            said=tuple(sorted(same.get(pair, ()))),
            alike=alike.get(pair) if not secret and _open(known, pair) else None,
        )
        for pair, why in sorted(by.items())
    ]


def _open(known: Mapping[str, Record], pair: Pair) -> bool:
    return all(open_to_all(known[id]) for id in pair)
