"""What networks say of how records relate, before anything is compared: claims, successors, copies. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from services.sync.records import Pair, Record, Said, copied, owner, paired

APART = ("distinct", "part-of")


class Ties:
    """What the owners of records say of pairs: joined, apart, wished by one of them, or nothing.

    `joined`: both owners say `same`, or the one owner of both does, or she names one as the successor of the
    other. `apart`: an owner says `distinct` or `part-of`, with the owners who say so; it wins over `same`.
    `wished`: one owner of two says `same`, and the other says nothing; with her. `copies`: records and what
    they say they were copied from. `moved`: withdrawn records and their successors in other networks.
    """

    def __init__(self, known: Mapping[str, Record], claims: Iterable[Said]) -> None:
        self.apart: dict[Pair, set[str]] = defaultdict(set)
        self.moved: list[Pair] = []
        same: dict[Pair, set[str]] = defaultdict(set)
        for said in claims:
            if said.a == said.b or said.claimant not in (owner(said.a), owner(said.b)):
                continue
            if said.verdict == "same":
                same[paired(said.a, said.b)].add(said.claimant)
            elif said.verdict in APART:
                self.apart[paired(said.a, said.b)].add(said.claimant)
        for gone, successor in _successors(known):
            if owner(gone) == owner(successor):
                same[paired(gone, successor)].add(owner(gone))
            else:
                self.moved.append((gone, successor))
        open_pairs = {p: voices for p, voices in same.items() if p not in self.apart}
        self.joined = {p for p, voices in open_pairs.items() if voices == set(map(owner, p))}
        self.wished = {p: voices for p, voices in open_pairs.items() if p not in self.joined}
        self.copies = sorted(_copies(known, self.apart))
        self.rivals: dict[str, list[str]] = defaultdict(list)
        for a, b in self.apart:
            self.rivals[a].append(b)
            self.rivals[b].append(a)


def _successors(known: Mapping[str, Record]) -> Iterator[Pair]:
    """Withdrawn records with the other known records that take their place."""
    for record in known.values():
        successor = record.successor
        if record.place is None and successor and successor != record.id and successor in known:
            yield record.id, successor


def _copies(known: Mapping[str, Record], apart: Mapping[Pair, object]) -> set[Pair]:
    """Pairs of a record and the one it was copied from, where nobody objects."""
    return {pair for pair in (paired(*both) for both in copying(known)) if pair not in apart}


def copying(known: Mapping[str, Record]) -> Iterator[Pair]:
    """Records, each with the one of another network that it was copied from, where both are there.

    Neither is undisclosed, and the original leaves it to others to join it.
    """
    for record in known.values():
        original = known.get(copied(record) or "")
        if original is None or owner(original.id) == owner(record.id) or original.place is None:
            continue
        if open_to_all(original) and not undisclosed(record):
            yield record.id, original.id


def undisclosed(record: Record) -> bool:
    """Whether a record keeps secret where its place is."""
    return record.place is not None and record.place.kind == "undisclosed"


def open_to_all(record: Record) -> bool:
    """Whether a record may be joined with others' without a claim of its own network."""
    return not undisclosed(record) and (record.place is None or record.place.join != "claims")
