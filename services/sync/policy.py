"""The rules by which this view is worked out, as data: another policy is openly another view."""

from hashlib import sha256

import msgspec
from msgspec import Struct

Names = tuple[str, ...]


class Policy(Struct, frozen=True):
    """The rules of a view. Whoever changes what a rule or a table here means raises `rules`.

    `order`: by what one voice goes before another, first to last. `checked_by`: who checked, best first.
    `precision`: of a position, best first. `single` fields show one voice; `lists` are unions; `common` ones
    are shown only where all agree. `with_field`: fields taken from a voice that says the shown value of
    another field. `left_out` is read by no rule, `schemas` are hashes of what is read, by event type.
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


POLICY = Policy(
    name="maillage-1",
    author="maillage",
    date="2026-11-23",
    rules=1,
    pairs="none: records are joined by the claims of their owners",
    order=("valid", "verified-by", "verified-on", "complete", "draw", "elder"),
    checked_by=("place", "network", "import"),
    precision=("exact", "street", "commune", "unknown"),
    single=(
        "name",
        "status",
        "kind",
        "opened_on",
        "closed_on",
        "verified_by",
        "verified_on",
        "address",
        "position",
        "summary",
        "description",
        "website",
        "phone",
        "email",
        "opening_hours",
        "opening_hours_text",
        "accessibility",
        "surface",
        "operator",
        "origin",
    ),
    lists=("alternate_names", "families", "types", "services", "links", "identifiers", "labels", "photos"),
    common=("license",),
    with_field={"closed_on": "status", "verified_on": "verified_by"},
    # `join` is a wish about matching; extensions stay with the network that made them.
    left_out=("join", "extensions"),
    # Identifiers that tell where a place is, hidden with the street of an undisclosed one.
    located_by=("ban", "osm"),
    # SHA-256 of their JSON Schemas without the descriptions; the tests tell the new ones.
    schemas={
        "org.maillage.place.put.v1": "258733361e431ee0d02842bdd2786ad09b317afa2ed01454d029dc5f6c172d57",
        "org.maillage.place.withdraw.v1": "995ce5d2d52bc4926e925735b300f5ef55ebbc78e9a6e051cef285ef51a81386",
        "org.maillage.claim.put.v1": "335798c7ad5ff8463f0298e2934312b7e068023bb6686e61409dfb37bd69caf0",
    },
)


def policy_id(policy: Policy = POLICY) -> str:
    """The hash of a policy's canonical bytes, in hex."""
    return sha256(msgspec.json.encode(policy, order="sorted")).hexdigest()
