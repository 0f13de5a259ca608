"""The rules by which this view is worked out, as data: another policy is openly another view."""

from functools import cache
from hashlib import sha256
from importlib import resources

import msgspec
from msgspec import Struct

Names = tuple[str, ...]
Points = dict[str, dict[str, int]]

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
    """The rules of a view. Whoever changes what a rule or a table here means raises `rules`.

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

    Raises `msgspec.DecodeError` for what is no policy, or has no points for some level.
    """
    if data is None:
        return _default()
    policy = msgspec.json.decode(data, type=Policy)
    weights = policy.matching.weights
    if lacking := [f"{f}: {level}" for f, level in scale(policy.matching) if level not in weights.get(f, {})]:
        raise msgspec.ValidationError(f"no points for {', '.join(lacking)}")
    return policy


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
    return load(resources.files("services.sync").joinpath("policies/maillage-1.json").read_bytes())


POLICY = load()
