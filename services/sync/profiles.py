"""What the matcher knows of a record: worked out once from the record alone. Pure."""

from collections.abc import Iterator

from msgspec import Struct

from schemas.place import Place
from services.sync.locating import Site, cells, site
from services.sync.naming import Name, names, numeric
from services.sync.policy import Policy
from services.sync.reaching import Reach, reach

# So many letters at the start of a word are rarely mistyped; of a name in one word, or a long word, so many.
STEM, LONG_STEM = 4, 6


class Profile(Struct, frozen=True, gc=False):
    """A record as the matcher sees it.

    Two records may be one place only where they share one of `keys` (sorted, distinct). Where `automatic` is
    False nothing joins or proposes the record but claims. `hints`: a pair that shares a key is worth scoring
    where it shares a hint.
    """

    record: str
    keys: tuple[str, ...]
    automatic: bool
    names: tuple[Name, ...]
    site: Site
    reach: Reach
    hints: tuple[str, ...]


def profile(record: str, place: Place, policy: Policy) -> Profile:
    """The profile of a record."""
    matching = policy.matching
    where = site(place, matching.tables)
    called = names(place, (*where.city, *_numbers(where)), matching)
    reached = reach(place, matching.tables)
    rare = {word for name in called for word, weight in name.words if weight == matching.rare}
    known = sorted(_contacts(reached))
    return Profile(
        record=record,
        keys=tuple(sorted({*cells(where), *known, *_word_keys(rare, called, where)})),
        automatic=place.kind != "undisclosed" and place.join != "claims",
        names=called,
        site=where,
        reach=reached,
        hints=tuple(sorted({*known, *_hints(rare, called, where)})),
    )


def _numbers(where: Site) -> tuple[str, ...]:
    """`36` in the name of a place of Indre (36) says no more than its commune."""
    code = where.departement
    return (code,) if code and numeric(code) else ()


def _contacts(reached: Reach) -> Iterator[str]:
    """Each way to reach a place, as a key."""
    for kind, values in (
        ("d", reached.domains),
        ("a", reached.accounts),
        ("p", reached.phones),
        ("e", reached.emails),
        ("i", reached.places),
        ("b", reached.bodies),
    ):
        for value in values:
            yield f"{kind}:{value}"


def _word_keys(rare: set[str], called: tuple[Name, ...], where: Site) -> Iterator[str]:
    """(commune, whole name), (commune, rare word) and (département, rare word)."""
    city = " ".join(where.city)
    if city:
        for name in called:
            yield f"n:{city}:{name.glued}"
    for area in (where.insee, city, where.departement):
        if area:
            for word in rare:
                yield f"w:{area}:{word}"


def _hints(rare: set[str], called: tuple[Name, ...], where: Site) -> Iterator[str]:
    """Starts of rare words, starts of names in one word, trades with the commune, and the address."""
    for word in rare:
        yield word[:STEM]
        yield word[:LONG_STEM]
    city = " ".join(where.city)
    for name in called:
        yield name.glued[:LONG_STEM]
        for trade in name.trades:
            yield f"{trade}:{city}"
    if where.house and where.street:
        yield f"{where.house}:{where.street[-1]}"
