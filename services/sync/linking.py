"""Which pairs are joined automatically, by what the records say of themselves: pure.

A pair is a candidate where its points reach the threshold; it counts where each is the other's single best in
its network, by a margin.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from services.sync.matching import Score, score
from services.sync.policy import Policy
from services.sync.profiles import Profile, profile
from services.sync.records import Pair, Record, Why, open_to_all, owner, paired
from services.sync.ties import Ties, connected


class Scores:
    """The points of pairs of some records; those that are not known yet are worked out once, when asked for.

    `known` are the scored pairs among the records that share a key; None is a veto.
    """

    def __init__(
        self, records: Mapping[str, Record], known: Mapping[Pair, int | None], policy: Policy
    ) -> None:
        self.matching, self._policy = policy.matching, policy
        self.alike = {p: points for p, points in known.items() if points is not None}
        self._points = dict(known)
        self._records = records
        self._profiles: dict[str, Profile | None] = {}

    def of(self, a: str, b: str) -> int | None:
        """The points of a pair; None where it can be one place in no case, or one of the two is not there."""
        pair = paired(a, b)
        if pair not in self._points:
            self._points[pair] = self._scored(*pair)
        return self._points[pair]

    def apart(self, a: str, b: str) -> bool:
        """Whether two present records are too unlike to stand in one cluster that no owner asked for."""
        if self._records[a].place is None or self._records[b].place is None:
            return False
        points = self.of(a, b)
        return points is None or points < self.matching.apart

    def _scored(self, a: str, b: str) -> int | None:
        mine, theirs = self._profile(a), self._profile(b)
        found: Score | None = score(mine, theirs, self._policy) if mine and theirs else None
        return found.points if found else None

    def _profile(self, id: str) -> Profile | None:
        if id not in self._profiles:
            place = self._records[id].place
            self._profiles[id] = None if place is None else profile(id, place, self._policy)
        return self._profiles[id]


class Links:
    """The pairs to join automatically, best first, and why others that are alike are not among them."""

    def __init__(self, records: Mapping[str, Record], ties: Ties, scores: Scores) -> None:
        self._claimed = {id: min(group) for group in connected(ties.joined) for id in group}
        points = _candidates(records, ties, scores)
        beaten = self._beaten(points, scores.matching.margin)
        self.left: dict[Pair, Why] = {}
        self.pairs: list[Pair] = []
        for pair in sorted(points, key=lambda p: (-points[p], p)):
            if pair in ties.joined:
                continue
            if points[pair] < scores.matching.join:
                if points[pair] >= scores.matching.propose:
                    self.left[pair] = "close"
            elif pair in beaten:
                self.left[pair] = "several"
            else:
                self.pairs.append(pair)

    def _beaten(self, points: Mapping[Pair, int], margin: int) -> set[Pair]:
        """Pairs of which either has another in the network of the other that is as good, within the margin.

        What the owners joined counts as one.
        """
        reached: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        for pair, much in points.items():
            for one, other in (pair, pair[::-1]):
                best = reached[one, owner(other)]
                group = self._claimed.get(other, other)
                best[group] = max(much, best.get(group, much))
        found = set()
        for pair, much in points.items():
            for one, other in (pair, pair[::-1]):
                others = reached[one, owner(other)].items()
                if any(p > much - margin for g, p in others if g != self._claimed.get(other, other)):
                    found.add(pair)
        return found


def _candidates(records: Mapping[str, Record], ties: Ties, scores: Scores) -> dict[Pair, int]:
    """The points of pairs of two networks that no owner keeps apart; who wishes a pair, lifts it to the threshold."""
    matching = scores.matching
    found = {
        pair: points
        for pair, points in scores.alike.items()
        if pair not in ties.apart
        and ties.secret.isdisjoint(pair)
        and all(map(open_to_all, map(records.__getitem__, pair)))
    }
    for pair, voices in ties.wished.items():
        if pair[0] not in records or pair[1] not in records or not ties.secret.isdisjoint(pair):
            continue
        if liftable([records[id] for id in pair], voices):
            points = scores.of(*pair)
            if points is not None and points >= matching.propose:
                found[pair] = max(points, matching.join)
    return found


def liftable(pair: Sequence[Record], voices: Iterable[str]) -> bool:
    """Whether one owner's word may join a pair that is alike: both are there, and who wants to be asked has spoken."""
    return all(
        record.place is not None and (open_to_all(record) or owner(record.id) in voices) for record in pair
    )
