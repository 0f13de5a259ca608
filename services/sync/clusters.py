"""Which records are one place: pure, and the same in every order.

What becomes of a record depends only on the records that claims, successors, copies and pairs that are alike connect
with it (`store.neighbours`), so that a change is worked out on those alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from services.sync.linking import Links, Scores
from services.sync.records import Pair, Record, Said, Why, age, owner, paired
from services.sync.ties import Ties, connected

Blocks = Iterator[tuple[Pair, set[str]]]
Cluster = tuple[Record, ...]


class Clustering(Struct, frozen=True):
    """The records that are one place, elder first and sorted by their elders.

    `left`: why pairs that are alike are not joined for that, be they one place by other ties or not.
    """

    clusters: list[Cluster]
    left: dict[Pair, Why]


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

    def __init__(self, known: Mapping[str, Record], ties: Ties, scores: Scores) -> None:
        self.known, self.ties, self.scores = known, ties, scores
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

    def said_apart(self, a: str, b: str) -> Blocks:
        """The pairs across the groups of two records that networks keep apart, and which."""
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

    def apart(self, a: str, b: str) -> Blocks:
        """The same, and the pairs that are too unlike: third parties in them answer for it, where there are any."""
        yield from self.said_apart(a, b)
        few, many = self._ordered(a, b)
        for one in few.members if few is not many else ():
            for other in many.members:
                pair = paired(one.id, other.id)
                if pair not in self.ties.joined and self.scores.apart(*pair):
                    owners = {owner(one.id), owner(other.id)}
                    yield pair, owners - {owner(a), owner(b)} or owners

    def free(self, a: str, b: str) -> bool:
        """Whether nobody keeps the groups of two records apart."""
        return next(self.said_apart(a, b), None) is None

    def _ordered(self, a: str, b: str) -> tuple[Group, Group]:
        one, other = self.of[a], self.of[b]
        return (one, other) if len(one.members) < len(other.members) else (other, one)


class Joining:
    """The joins of one connected part: first what owners said, then copies, then what is alike, best first.

    Third parties split nobody: who would is set aside, and the part starts again without them. What was set aside
    joins at the end by what its owners said, where nobody objects. Whom the owners of a record joined with it, is no
    third party to what nobody asked for.
    """

    def __init__(self, groups: Groups, links: Links, pairs: Sequence[Pair]) -> None:
        self.groups, self.left = groups, links.left
        ties = groups.ties
        copies, chosen = set(ties.copies) - ties.joined, set(links.pairs)
        self.said = sorted(p for p in pairs if p in ties.joined)
        self.copied = sorted(p for p in pairs if p in copies)
        self.alike = [p for p in pairs if p in chosen and p not in copies]
        self.aside: set[str] = set()
        self.fellows = {id: set(map(owner, group)) for group in connected(self.said) for id in group}

    def run(self) -> None:
        """Join what belongs together."""
        while third := self._splitters():
            self.aside |= third
            self.groups.loosen(id for pair in (*self.said, *self.copied, *self.alike) for id in pair)
        for a, b in self.said:
            if not self.aside.isdisjoint((a, b)) and self.groups.free(a, b):
                self.groups.join(a, b)
        for pair in (*self.copied, *self.alike):
            if self.groups.of[pair[0]] is not self.groups.of[pair[1]]:
                self.left[pair] = "between" if self.aside.isdisjoint(pair) else "aside"

    def _splitters(self) -> set[str]:
        """Join in order all that is not set aside, up to third parties who split a pair: those, or none."""
        for pairs, apart in (
            (self.said, self.groups.said_apart),
            (self.copied, self.groups.said_apart),
            (self.alike, self.groups.apart),
        ):
            for a, b in pairs:
                if not self.aside.isdisjoint((a, b)):
                    continue
                blocks = list(apart(a, b))
                if not blocks:
                    self.groups.join(a, b)
                elif all(voices.isdisjoint(self._ends(a, b)) for _, voices in blocks):
                    return {id for pair, voices in blocks for id in pair if owner(id) in voices}
        return set()

    def _ends(self, a: str, b: str) -> set[str]:
        """The networks that are no third parties to a pair."""
        ends = {owner(a), owner(b)}
        if (a, b) in self.groups.ties.joined:
            return ends
        return ends.union(*(self.fellows.get(id, ()) for id in (a, b)))


def clusters(records: Iterable[Record], claims: Iterable[Said], scores: Scores) -> Clustering:
    """The records that are one place, by what their owners say of them and what they say of themselves.

    At last come the successors that withdrawals name in other networks: they may give an id a new home, but join no
    two places. `records` has one of each id (`latest`), the same as `scores`.
    """
    known = {record.id: record for record in records}
    ties = Ties(known, claims)
    links = Links(known, ties, scores)
    groups = Groups(known, ties, scores)
    said = sorted(pair for pair in ties.joined if pair[0] in known and pair[1] in known)
    for pairs in _parts(list(dict.fromkeys([*said, *ties.copies, *links.pairs]))):
        Joining(groups, links, pairs).run()
    for gone, successor in sorted(ties.moved):
        if not groups.of[gone].present and groups.free(gone, successor):
            groups.join(gone, successor)
    found = {id(group): group for group in groups.of.values()}
    together = sorted((tuple(sorted(group.members, key=age)) for group in found.values()), key=_elder)
    return Clustering(together, links.left)


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """One record per id, in the order of ids, whatever is repeated."""
    known: dict[str, Record] = {}
    for record in records:
        now = known.get(record.id)
        if now is None or (now.version, now.leaf) < (record.version, record.leaf):
            known[record.id] = record
    return dict(sorted(known.items()))


def _elder(group: Cluster) -> tuple[bool, str, str]:
    return age(group[0])


def _parts(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """The pairs, connected part by connected part, each in order."""
    parts = connected(pairs)
    of = {id: part for part, ids in enumerate(parts) for id in ids}
    found: list[list[Pair]] = [[] for _ in parts]
    for pair in pairs:
        found[of[pair[0]]].append(pair)
    return found
