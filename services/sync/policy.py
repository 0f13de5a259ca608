"""The rules by which this view is worked out, as data: another policy is openly another view."""

from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from importlib import resources

import msgspec
from msgspec import Struct

Names = tuple[str, ...]
Points = dict[str, dict[str, int]]

# What a policy means to this code. Whoever changes what a rule or a table does, raises it.
RULES = 2
# By what one voice may go before another.
ORDER = frozenset(("valid", "verified-by", "verified-on", "complete", "draw", "elder"))
MISSING = "missing"
# The levels of the features of a pair, from worst to best. `missing` is one more level of each.
LADDERS: dict[str, tuple[str, ...]] = {
    "distance": ("elsewhere", "far", "10000", "3000", "1000", "300", "100", "25"),
    "name": ("unlike", "little", "like", "close", "same"),
    "leftover": ("both", "one", "none"),
    "glued": ("differs", "within", "close", "same"),
    "trade": ("differs", "same"),
    "house": ("differs", "near", "same"),
    "street": ("differs", "like", "same"),
    "postcode": ("differs", "area", "same"),
    "commune": ("differs", "same"),
    "together": ("address", "neither", "both"),
    "domain": ("differs", "same", "page"),
    "phone": ("differs", "same"),
    "email": ("differs", "same"),
    "account": ("differs", "same"),
    "identifier": ("differs", "same"),
    "body": ("differs", "same"),
    "network": ("same", "other"),
}
# Neither better nor worse than the others.
BESIDE = {"name": ("dull",), "leftover": ("number",)}


class Tables(Struct, frozen=True, forbid_unknown_fields=True):
    """Frozen words and hosts; every word is folded (`services.canonical.fold`).

    `articles` are dropped from names, streets and communes, `legal_forms` from names, `fillers` from streets.
    `abbreviations` are written out first. `trades`: what a word or phrase of a name, without its articles,
    says that a place does. `generic` words tell hardly anything apart. `ways` are kinds of streets, `repeats`
    what may follow a house number. A domain has one label more than its suffix in `suffixes`, and two where
    it has none. `platforms` are hosts shared by many, whose pages are told apart by their paths; `mailers` are
    hosts of mailboxes that anybody may have. `place_schemes` are identifiers of a place, `body_schemes`
    those of the organisation behind it. `communes` is the SHA-256 of `services/communes.tsv.gz`.
    """

    abbreviations: dict[str, str]
    articles: frozenset[str]
    body_schemes: frozenset[str]
    communes: str
    fillers: frozenset[str]
    generic: frozenset[str]
    legal_forms: frozenset[str]
    mailers: frozenset[str]
    place_schemes: frozenset[str]
    platforms: frozenset[str]
    repeats: frozenset[str]
    suffixes: frozenset[str]
    trades: dict[str, str]
    ways: frozenset[str]


class Matching(Struct, frozen=True, forbid_unknown_fields=True):
    """When two records are one place. Ten points double the odds.

    `join`: an edge from so many points on; `propose`: a proposal; below `apart` two records stand in no
    common cluster. `margin`: by how much the best must lead the second best. `weights` are the points of each
    feature and level. `metres` are the bounds of the levels of distance, `veto` the metres beyond which
    nothing but a shared identifier lets two precise positions be one place. `rare` and `common` are what a
    word weighs, `alike` the shares of the weight of two names, in per cent, from which they are `same`,
    `close` and `like`.
    """

    join: int
    propose: int
    apart: int
    margin: int
    metres: tuple[int, ...]
    veto: int
    rare: int
    common: int
    alike: tuple[int, int, int]
    weights: Points
    tables: Tables


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The rules of a view. `rules`: of which `RULES` it speaks.

    `pairs` is the origin of the labelled pairs that the weights were learned from. `order`: by what one voice
    goes before another, first to last. `checked_by`: who checked, best first. `precision`: of a position,
    best first. `single` fields show one voice; `lists` are unions; `common` ones are shown only where all say
    the same. `with_field`: fields taken from a voice that says the shown value of another field. `left_out` is
    read by no rule of the fields, `located_by` are identifiers that tell where a place is, hidden with the
    street of an undisclosed one. `schemas` are SHA-256 hashes of the JSON Schemas of what is read, without
    their descriptions, by event type.
    """

    name: str
    author: str
    date: str
    rules: int
    pairs: str
    order: Names
    checked_by: Names
    precision: Names
    single: Names
    lists: Names
    common: Names
    with_field: dict[str, str]
    left_out: Names
    located_by: Names
    schemas: dict[str, str]
    matching: Matching


class Adopted(Struct, frozen=True):
    """The policy by which a sync makes its view, and its id."""

    policy: Policy
    id: str


def adopted(policy: Policy | None = None) -> Adopted:
    """A policy, the default one if none is named, with its id."""
    chosen = policy or load()
    return Adopted(chosen, policy_id(chosen))


def load(data: bytes | None = None) -> Policy:
    """The policy in the bytes of a file, or the default one, `maillage-1`.

    Raises `msgspec.DecodeError` for what is no policy, or one by which this version cannot make a view.
    """
    if data is None:
        return _default()
    policy = msgspec.json.decode(data, type=Policy)
    for flaw in (*_of_others(policy, _default()), *_flaws(policy)):
        raise msgspec.ValidationError(flaw)
    return policy


def _of_others(policy: Policy, known: Policy) -> Iterator[str]:
    """What this version takes for something else than the policy does: its id must not name two views."""
    if policy.rules != RULES:
        yield f"rules: this version makes views by {RULES}, not {policy.rules}"
    if policy.schemas != known.schemas:
        yield "schemas: these are not the hashes of what this version reads"
    if policy.matching.tables.communes != known.matching.tables.communes:
        yield "matching.tables.communes: this is not the hash of the communes of this version"
    for name in ("checked_by", "precision", "single", "lists", "common", "left_out"):
        mine, theirs = getattr(known, name), getattr(policy, name)
        if sorted(mine) != sorted(theirs):
            yield f"{name}: expected each of {', '.join(mine)} once, in any order"


def _flaws(policy: Policy) -> Iterator[str]:
    """Why no view can be made by a policy."""
    if sorted(policy.order) != sorted(ORDER):
        yield f"order: expected each of {', '.join(sorted(ORDER))} once"
    for field, lead in policy.with_field.items():
        if lead not in policy.single[: policy.single.index(field) if field in policy.single else 0]:
            yield f"with_field: {lead} has to stand before {field} in single"
    matching = policy.matching
    if not (matching.apart <= matching.propose <= matching.join and matching.margin >= 0):
        yield "matching: expected apart <= propose <= join, and a margin that is not negative"
    if not matching.metres or list(matching.metres) != sorted({*matching.metres}):
        yield "matching.metres: expected one bound or more, the least first"
    steps, weights = scale(matching), matching.weights
    if lacking := [f"{f}: {level}" for f, level in steps if level not in weights.get(f, {})]:
        yield f"matching.weights: no points for {', '.join(lacking)}"
    known = set(steps)
    if unknown := [f"{f}: {level}" for f in weights for level in weights[f] if (f, level) not in known]:
        yield f"matching.weights: there is no {', '.join(unknown)}"


def stored(document: bytes) -> Policy:
    """A policy by which a view was made, be it by another version of this service."""
    return msgspec.json.decode(document, type=Policy)


def scale(matching: Matching) -> list[tuple[str, str]]:
    """Every (feature, level) that a pair may have, feature by feature from worst to best."""
    ladders = LADDERS | {"distance": ("elsewhere", "far", *map(str, sorted(matching.metres, reverse=True)))}
    return [
        (feature, level)
        for feature, ladder in ladders.items()
        for level in (*ladder, *BESIDE.get(feature, ()), MISSING)
    ]


def document(policy: Policy) -> bytes:
    """The canonical bytes of a policy."""
    return msgspec.json.encode(policy, order="sorted")


def policy_id(policy: Policy | None = None) -> str:
    """The hash of a policy's canonical bytes, in hex."""
    return sha256(document(policy or load())).hexdigest()


@cache
def _default() -> Policy:
    data = resources.files("services.sync").joinpath("policies/maillage-1.json").read_bytes()
    return msgspec.json.decode(data, type=Policy)


POLICY = load()
