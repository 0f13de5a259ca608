"""Which pairs of records are alike: of those that share a key, or that an owner says are one. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from itertools import combinations

from services.sync.matching import Score, comparable, score
from services.sync.policy import Matching, Policy
from services.sync.profiles import Profile
from services.sync.records import Pair, Said, owner, paired


def least(matching: Matching) -> int:
    """The points from which on a pair may decide what becomes of others: it can beat one that would be joined."""
    return matching.join - matching.margin


def alike(a: Profile, b: Profile, policy: Policy) -> Score | None:
    """The points of a pair of two networks, where they are enough to matter; None where they are not."""
    found = score(a, b, policy)
    floor = min(policy.matching.propose, least(policy.matching))
    return found if found is not None and found.points >= floor else None


def meet(a: Profile, b: Profile) -> bool:
    """Whether a pair is worth scoring though no owner speaks of it: it shares a key, and what `comparable` asks."""
    return owner(a.record) != owner(b.record) and comparable(a, b) and not set(a.keys).isdisjoint(b.keys)


def wished(claims: Iterable[Said]) -> set[Pair]:
    """The pairs of two networks of which an owner says that they are one place."""
    return {
        paired(said.a, said.b)
        for said in claims
        if said.verdict == "same"
        and owner(said.a) != owner(said.b)
        and said.claimant in (owner(said.a), owner(said.b))
    }


def all_alike(profiles: Mapping[str, Profile], claims: Iterable[Said], policy: Policy) -> dict[Pair, Score]:
    """All pairs that are alike."""
    spoken = (pair for pair in wished(claims) if pair[0] in profiles and pair[1] in profiles)
    pairs = {*spoken, *meeting(profiles.values())}
    found = ((pair, alike(profiles[pair[0]], profiles[pair[1]], policy)) for pair in pairs)
    return {pair: score for pair, score in found if score is not None}


def meeting(profiles: Iterable[Profile]) -> Iterator[Pair]:
    """The pairs worth scoring, some of them more than once."""
    by_key: dict[str, list[Profile]] = defaultdict(list)
    for profile in profiles:
        for key in profile.keys:
            by_key[key].append(profile)
    for sharing in by_key.values():
        for a, b in combinations(sharing, 2):
            if meet(a, b):
                yield paired(a.record, b.record)


@lru_cache(1 << 14)
def number(word: str) -> int:
    """A key or a hint as a signed number of 64 bits, which is what tables hold of it."""
    return int.from_bytes(sha256(word.encode()).digest()[:8], "big", signed=True)
