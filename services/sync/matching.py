"""Whether two records are one place: levels of features, each worth points; pure, and in integers only.

An additive table in the form of Fellegi and Sunter (1969): the points of the levels add up, and the list of them
is the explanation.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from services.sync.alignment import Aligned, aligned, slip
from services.sync.locating import metres
from services.sync.naming import Name
from services.sync.policy import MISSING, Matching, Policy
from services.sync.profiles import Profile
from services.sync.records import owner


class Score(Struct, frozen=True, gc=False):
    """The points of a pair, and (feature, level, points) for each feature: why."""

    points: int
    features: tuple[tuple[str, str, int], ...]


class Sight(Struct, gc=False):
    """A pair as the features see it; the smaller record id first."""

    a: Profile
    b: Profile
    matching: Matching
    metres: int | None
    name: Aligned | None
    glued: str
    trade: str
    house: str
    street: str


def comparable(a: Profile, b: Profile) -> bool:
    """Whether a pair that shares a key is worth scoring: it shares a hint too."""
    return a.automatic and b.automatic and not set(a.hints).isdisjoint(b.hints)


def score(a: Profile, b: Profile, policy: Policy) -> Score | None:
    """The points of a pair, the same in either order; None where it cannot be one place whatever it shares."""
    if b.record < a.record:
        a, b = b, a
    sight = see(a, b, policy.matching)
    if _vetoed(sight):
        return None
    features = []
    total = 0
    for feature, level in FEATURES.items():
        found = level(sight)
        points = policy.matching.weights[feature][found]
        total += points
        features.append((feature, found, points))
    return Score(total, tuple(features))


def levels(a: Profile, b: Profile, matching: Matching) -> dict[str, str] | None:
    """The level of each feature; None where the pair is vetoed."""
    sight = see(b, a, matching) if b.record < a.record else see(a, b, matching)
    return None if _vetoed(sight) else {feature: level(sight) for feature, level in FEATURES.items()}


def see(a: Profile, b: Profile, matching: Matching) -> Sight:
    """What several features look at, worked out once."""
    name, glued, trade = _best_names(a, b, matching)
    return Sight(
        a=a,
        b=b,
        matching=matching,
        metres=metres(a.site, b.site),
        name=name,
        glued=glued,
        trade=trade,
        house=_house(a.site.house, b.site.house),
        street=_street(a.site.street, b.site.street),
    )


def _vetoed(sight: Sight) -> bool:
    """More than 30 km apart, both precise, and no shared identifier."""
    if sight.metres is None or sight.metres <= sight.matching.veto:
        return False
    if not (sight.a.site.precise and sight.b.site.precise):
        return False
    a, b = sight.a.reach, sight.b.reach
    # A domain is no identifier of a place: chains and departments share one from coast to coast.
    owned = ((a.phones, b.phones), (a.emails, b.emails), (a.accounts, b.accounts), (a.places, b.places))
    return all(set(mine).isdisjoint(theirs) for mine, theirs in owned)


# --- names -----------------------------------------------------------------------------------------------


def _best_names(a: Profile, b: Profile, matching: Matching) -> tuple[Aligned | None, str, str]:
    """The alignment of the two names that have most in common, and how they are glued."""
    best: tuple[int, Aligned, Name, Name] | None = None
    for mine in a.names:
        for theirs in b.names:
            found = aligned(mine, theirs, matching.rare)
            rank = found.share + 100 * found.rare
            if best is None or rank > best[0]:
                best = rank, found, mine, theirs
    if best is None:
        return None, MISSING, MISSING
    return best[1], _glued(best[2], best[3]), _trade(a.names, b.names)


def _glued(mine: Name, theirs: Name) -> str:
    a, b = mine.glued, theirs.glued
    if a == b:
        return "same"
    if mine.numbers != theirs.numbers:
        return "differs"
    few, many = sorted((a, b), key=len)
    if len(few) >= 6 and few in many:
        return "within"
    return "close" if len(few) >= 4 and slip(a, b) else "differs"


def _trade(a: Sequence[Name], b: Sequence[Name]) -> str:
    mine = {trade for name in a for trade in name.trades}
    theirs = {trade for name in b for trade in name.trades}
    if not mine or not theirs:
        return MISSING
    return "same" if mine & theirs else "differs"


def _name(sight: Sight) -> str:
    found = sight.name
    if found is None:
        return MISSING
    same, close, like = sight.matching.alike
    if not found.rare:
        return "dull" if found.share >= close else "unlike"
    if found.share < like:
        return "little"
    if found.share < close or not found.numbers:
        return "like"
    return "same" if found.share >= same else "close"


def _leftover(sight: Sight) -> str:
    """Rare words without a fellow: `one` name says more than the other, or `both` say what the other does not.

    Names that differ in a `number` alone are those of sisters.
    """
    found, rare = sight.name, sight.matching.rare
    if found is None or not found.rare:
        return MISSING
    left, right = found.left >= rare, found.right >= rare
    if left or right:
        return "both" if left and right else "one"
    return "none" if found.numbers else "number"


# --- place -----------------------------------------------------------------------------------------------


def _distance(sight: Sight) -> str:
    far = sight.metres
    bounds = sight.matching.metres
    if far is None:
        return MISSING
    if (sight.a.site.coarse or sight.b.site.coarse) and far <= bounds[-1]:
        return MISSING
    # A point may be wrong, and so may a postcode; where nothing agrees the place is elsewhere, as in chains.
    last = "far" if "same" in (_commune(sight), _postcode(sight)) else "elsewhere"
    return next((str(bound) for bound in bounds if far <= bound), last)


def _house(a: str, b: str) -> str:
    if not a or not b:
        return MISSING
    if a == b:
        return "same"
    return "near" if a.rstrip(REPEATS) == b.rstrip(REPEATS) else "differs"


def _street(a: Sequence[str], b: Sequence[str]) -> str:
    """By the share of the shorter one's words that the other has too."""
    if not a or not b:
        return MISSING
    few, many = sorted((a, b), key=len)
    found = sum(any(word == other or slip(word, other) for other in many) for word in few)
    if 4 * found >= 3 * len(few):
        return "same"
    return "like" if 2 * found >= len(few) else "differs"


def _postcode(sight: Sight) -> str:
    a, b = sight.a.site.postcode, sight.b.site.postcode
    if not a or not b:
        return MISSING
    if a == b:
        return "same"
    return "area" if a[:2] == b[:2] else "differs"


def _commune(sight: Sight) -> str:
    a, b = sight.a.site, sight.b.site
    if a.insee and b.insee:
        return "same" if a.insee == b.insee else "differs"
    if not a.city or not b.city:
        return MISSING
    few, many = sorted((a.city, b.city), key=len)
    return "same" if set(few) <= set(many) else "differs"


def _together(sight: Sight) -> str:
    """One address and one name say more than either; one address and two names are two places of a building."""
    there = sight.street == "same" and sight.house in ("same", "near")
    called = sight.name is not None and sight.name.rare
    return ("both" if called else "address") if there else "neither"


# --- contacts --------------------------------------------------------------------------------------------


def _domain(sight: Sight) -> str:
    a, b = sight.a.reach, sight.b.reach
    if not set(a.pages).isdisjoint(b.pages):
        return "page"
    return shared(a.domains, b.domains)


def shared(a: Sequence[str], b: Sequence[str]) -> str:
    """Whether two lists have an item in common."""
    if not a or not b:
        return MISSING
    return "differs" if set(a).isdisjoint(b) else "same"


def _body(sight: Sight) -> str:
    """Of organisations and establishments: an equal one is no identity, a department has many places."""
    return shared(sight.a.reach.bodies, sight.b.reach.bodies)


def _network(sight: Sight) -> str:
    return "same" if owner(sight.a.record) == owner(sight.b.record) else "other"


REPEATS = "abcdefgtq"
FEATURES: dict[str, Callable[[Sight], str]] = {
    "distance": _distance,
    "name": _name,
    "leftover": _leftover,
    "glued": lambda sight: sight.glued,
    "trade": lambda sight: sight.trade,
    "house": lambda sight: sight.house,
    "street": lambda sight: sight.street,
    "postcode": _postcode,
    "commune": _commune,
    "together": _together,
    "domain": _domain,
    "phone": lambda sight: shared(sight.a.reach.phones, sight.b.reach.phones),
    "email": lambda sight: shared(sight.a.reach.emails, sight.b.reach.emails),
    "account": lambda sight: shared(sight.a.reach.accounts, sight.b.reach.accounts),
    "identifier": lambda sight: shared(sight.a.reach.places, sight.b.reach.places),
    "body": _body,
    "network": _network,
}
