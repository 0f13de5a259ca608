"""What networks say of how records relate, before anything is compared: claims, successors, copies. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from services.sync.copies import copying
from services.sync.records import Pair, Record, Said, owner, paired, undisclosed

APART = ("distinct", "part-of")


class Ties:
    """What the owners of records say of pairs: joined, apart, wished by one of them, or nothing.

    `joined`: both owners say `same`, or the one owner of both does, or she names one as the successor of the
    other. `apart`: an owner says `distinct` or `part-of`, with the owners who say so; it wins over `same`.
    `wished`: one owner of two says `same`, and the other says nothing; with her. `copies`: records that repeat
    what others say, and those. `moved`: withdrawn records and their successors in other networks. `secret`:
    undisclosed records, and those that their owners joined with one.
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
        self.secret = _secret(known, self.joined)
        repeated = (paired(*both) for both in copying(known))
        self.copies = sorted(p for p in set(repeated) if p not in self.apart and self.secret.isdisjoint(p))
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


def _secret(known: Mapping[str, Record], joined: Iterable[Pair]) -> set[str]:
    found = {id for id, record in known.items() if undisclosed(record)}
    for group in connected(joined):
        if not found.isdisjoint(group):
            found |= group
    return found


def connected(pairs: Iterable[Pair]) -> list[set[str]]:
    """The sets of ids that pairs connect."""
    of: dict[str, set[str]] = {}
    for a, b in pairs:
        few, many = sorted((of.get(a, {a}), of.get(b, {b})), key=len)
        many |= few
        of.update(dict.fromkeys([*few, a, b], many))
    return list({id(part): part for part in of.values()}.values())
