"""What the merge works on: the latest event of each record, and the claims in force."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from schemas.claim import Verdict
from schemas.place import Place

Pair = tuple[str, str]
# Why a pair that is alike is not one place: not alike enough to be joined unasked; more than one fits; something
# stands between; it would split others.
Why = Literal["close", "several", "between", "aside"]

RECORD_ID = re.compile(r"[a-z2-7]{26}:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Record(Struct, frozen=True):
    """The latest event of one place record of a followed node.

    `id` is a `RecordId`, `leaf` the hash of that event in hex, `time` its RFC 3339 time. `place` is None for
    a withdrawn or erased record; `successor` then is the record that takes its place. `created` is when its
    node says that it was founded (its genesis descriptor), in Unix milliseconds.
    """

    id: str
    version: int
    leaf: str
    time: str
    place: Place | None
    successor: str | None = None
    created: int = 0


class Said(Struct, frozen=True):
    """One claim in force; the claimant is the node in whose log it stands."""

    claimant: str
    a: str
    b: str
    verdict: Verdict
    statement: str | None = None


def owner(record_id: str) -> str:
    """The node that alone may write a record."""
    return record_id.partition(":")[0]


def copied(record: Record) -> str | None:
    """The record that a present one says it was copied from: `origin` names it by its full id."""
    origin = record.place.origin if record.place is not None else None
    return origin.id if origin is not None and RECORD_ID.fullmatch(origin.id) else None


def undisclosed(record: Record) -> bool:
    """Whether a record keeps secret where its place is."""
    return record.place is not None and record.place.kind == "undisclosed"


def open_to_all(record: Record) -> bool:
    """Whether a record may be joined with others' without a claim of its own network."""
    return record.place is None or record.place.join != "claims"


def paired(a: str, b: str) -> Pair:
    """Two record ids as an unordered pair: the smaller first."""
    return (a, b) if a < b else (b, a)


def by_record(claims: Iterable[Said]) -> dict[str, list[Said]]:
    """Claims by each of the two records that they are about."""
    found: dict[str, list[Said]] = defaultdict(list)
    for said in claims:
        found[said.a].append(said)
        found[said.b].append(said)
    return found


def age(record: Record) -> tuple[bool, str, str]:
    """The elder sorts first: by its UUIDv7, then by its id.

    Ids older than their node itself sort last, so that nobody becomes the elder by inventing an early id.
    """
    uuid = record.id.partition(":")[2]
    return minted(uuid) < record.created, uuid, record.id


def minted(uuid: str) -> int:
    """The Unix milliseconds in a UUIDv7."""
    return int(uuid[:8] + uuid[9:13], 16)


def common_id(members: Iterable[Record]) -> str:
    """The id under which records that are one place are found: the elder's."""
    return min(members, key=age).id
