"""Which records are the same place, by what their owners say: pure, and the same in every order.

What becomes of a record depends only on the records that successors, and claims to which no owner objects,
connect with it, so that a change is worked out on those alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from services.sync.records import Pair, Record, Said, age, owner, paired

Blocks = Iterator[tuple[Pair, set[str]]]


class Ties:
    """What the owners of records say of pairs: joined, apart, or nothing.

    `joined`: both owners say `same`, or the one owner of both does, or she names one as the successor of the
    other. `apart`: an owner says `distinct` or `part-of`, with the owners who say so; it wins over `same`.
    `moved`: withdrawn records and their successors in other networks.
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
            elif said.verdict != "contests":
                self.apart[paired(said.a, said.b)].add(said.claimant)
        for gone, successor in _successors(known):
            if gone == successor:
                continue
            if owner(gone) == owner(successor):
                same[paired(gone, successor)].add(owner(gone))
            else:
                self.moved.append((gone, successor))
        self.joined = {
            pair
            for pair, voices in same.items()
            if pair not in self.apart and voices == set(map(owner, pair))
        }
        self.rivals: dict[str, list[str]] = defaultdict(list)
        for a, b in self.apart:
            self.rivals[a].append(b)
            self.rivals[b].append(a)


class Group:
    """Records joined so far; `present` are those not taken back, by network."""

    def __init__(self, record: Record) -> None:
        self.members = [record]
        self.present = {owner(record.id): [record.id]} if record.place is not None else {}

    def absorb(self, other: "Group") -> None:
        """Take the records of another group in."""
        self.members += other.members
        for node, ids in other.present.items():
            self.present.setdefault(node, []).extend(ids)


class Groups:
    """All groups, found by record id. What a join costs follows the smaller group."""

    def __init__(self, known: Mapping[str, Record], ties: Ties) -> None:
        self.known = known
        self.ties = ties
        self.of: dict[str, Group] = {}
        self.loosen(known)

    def loosen(self, record_ids: Iterable[str]) -> None:
        """Each record a group of its own again."""
        self.of.update({record_id: Group(self.known[record_id]) for record_id in record_ids})

    def join(self, a: str, b: str) -> None:
        """Make one group of two."""
        few, many = self._ordered(a, b)
        if few is not many:
            many.absorb(few)
            self.of.update({record.id: many for record in few.members})

    def blocks(self, a: str, b: str) -> Blocks:
        """The pairs that stand across the groups of two records, and the networks that keep each apart."""
        few, many = self._ordered(a, b)
        for record in few.members if few is not many else ():
            for rival in self.ties.rivals.get(record.id, ()):
                if self.of.get(rival) is many:
                    pair = paired(record.id, rival)
                    yield pair, self.ties.apart[pair]
            # A record taken back is only an id any more: it keeps no record of its network out.
            for sibling in many.present.get(owner(record.id), ()) if record.place is not None else ():
                pair = paired(record.id, sibling)
                if pair not in self.ties.joined:
                    yield pair, {owner(record.id)}

    def free(self, a: str, b: str) -> bool:
        """Whether nothing stands between the groups of two records."""
        return next(self.blocks(a, b), None) is None

    def _ordered(self, a: str, b: str) -> tuple[Group, Group]:
        one, other = self.of[a], self.of[b]
        return (one, other) if len(one.members) < len(other.members) else (other, one)


def clusters(records: Iterable[Record], claims: Iterable[Said]) -> list[tuple[Record, ...]]:
    """The records that are one place, elder first; sorted by their elders.

    Claims first, then the successors that withdrawals name in other networks: they may give an id a new home,
    but join no two places, which takes the word of both owners.
    """
    known = _latest(records)
    groups = _joined(known, Ties(known, claims))
    for gone, successor in sorted(groups.ties.moved):
        if not groups.of[gone].present and groups.free(gone, successor):
            groups.join(gone, successor)
    found = {id(group): group for group in groups.of.values()}
    return sorted((tuple(sorted(group.members, key=age)) for group in found.values()), key=_elder)


def components(records: Iterable[Record], claims: Iterable[Said]) -> list[set[str]]:
    """The sets of record ids within which clusters can be worked out alone."""
    known = _latest(records)
    of = {record_id: {record_id} for record_id in known}
    ties = Ties(known, claims)
    for a, b in [*sorted(ties.joined), *ties.moved]:
        if a in of and b in of and of[a] is not of[b]:
            few, many = sorted((of[a], of[b]), key=len)
            many |= few
            of.update(dict.fromkeys(few, many))
    return list({id(part): part for part in of.values()}.values())


def _latest(records: Iterable[Record]) -> dict[str, Record]:
    """One record per id, in the order of ids, whatever is repeated."""
    known: dict[str, Record] = {}
    for record in records:
        now = known.get(record.id)
        if now is None or (now.version, now.leaf) < (record.version, record.leaf):
            known[record.id] = record
    return dict(sorted(known.items()))


def _elder(group: tuple[Record, ...]) -> tuple[bool, str, str]:
    return age(group[0])


def _successors(known: Mapping[str, Record]) -> list[Pair]:
    """Withdrawn records with the known records that take their place."""
    return [
        (record.id, record.successor)
        for record in known.values()
        if record.place is None and record.successor and record.successor in known
    ]


def _joined(known: Mapping[str, Record], ties: Ties) -> Groups:
    """Join by claims; third parties split nobody: who would is set aside, and its part starts again.

    What was set aside joins last, where nothing stands against it.
    """
    groups = Groups(known, ties)
    for edges in _parts(sorted(pair for pair in ties.joined if pair[0] in known and pair[1] in known)):
        aside: set[str] = set()
        while third := _splitters(groups, edges, aside):
            aside |= third
            groups.loosen(record_id for pair in edges for record_id in pair)
        for a, b in edges:
            if not aside.isdisjoint((a, b)) and groups.free(a, b):
                groups.join(a, b)
    return groups


def _splitters(groups: Groups, edges: list[Pair], aside: set[str]) -> set[str]:
    """Join in order all that is not set aside, up to third parties who split a pair: those, or none."""
    for a, b in edges:
        if not aside.isdisjoint((a, b)):
            continue
        blocks = list(groups.blocks(a, b))
        if not blocks:
            groups.join(a, b)
        elif all(voices.isdisjoint((owner(a), owner(b))) for _, voices in blocks):
            return {record_id for pair, voices in blocks for record_id in pair if owner(record_id) in voices}
    return set()


def _parts(edges: list[Pair]) -> list[list[Pair]]:
    """The edges, part by connected part, each in order."""
    of: dict[str, set[str]] = {}
    for a, b in edges:
        few, many = sorted((of.get(a, {a}), of.get(b, {b})), key=len)
        many |= few
        of.update(dict.fromkeys([*few, a, b], many))
    parts: dict[int, list[Pair]] = defaultdict(list)
    for a, b in edges:
        parts[id(of[a])].append((a, b))
    return list(parts.values())
