"""What networks publish, read from a file: lines of their `/feed` or `/snapshot`, and answers of `GET /claims`.

Signatures are not looked at: whoever learns from a file has chosen whom it comes from. Lines that say something else,
or nothing that can be read, are passed over.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Annotated, TypeVar

from msgspec import Meta, Raw, Struct

from schemas.claim import Claim, Verdict
from schemas.event import CLAIM_PUT, PLACE_PUT, Event
from schemas.place import Place
from services import foreign
from services.errors import Untrue
from services.sync.records import Pair, owner, paired

T = TypeVar("T")
Lines = Iterable[bytes]


class Listed(Struct, frozen=True):
    """A claim as `GET /claims` lists it."""

    id: str
    cursor: Annotated[str, Meta(pattern=r"^[0-9]{1,16}\.[0-9]{1,16}$")]
    claim: Raw


class Line(Struct, frozen=True):
    """What is read of a line: the event of a feed, or a page of claims."""

    raw: str | None = None
    claims: tuple[Listed, ...] = ()


class Version(Struct, frozen=True):
    """A version of a record, and where its network's log has it: epoch, then sequence."""

    record: str
    at: tuple[int, int]
    type: str
    data: Raw


def claimed(lines: Lines) -> dict[Pair, set[Verdict]]:
    """What networks say of pairs of records: of each network the latest word on a pair that it has not taken back."""
    words: dict[tuple[str, Pair], tuple[tuple[int, int], Verdict]] = {}
    for version in latest(lines):
        claim = _read(version.data, Claim) if version.type == CLAIM_PUT else None
        if claim is None or owner(claim.a) != owner(version.record):
            continue
        word, key = (version.at, claim.verdict), (owner(version.record), paired(claim.a, claim.b))
        words[key] = max(word, words.get(key, word))
    found: dict[Pair, set[Verdict]] = defaultdict(set)
    for (_, pair), (_, verdict) in words.items():
        found[pair].add(verdict)
    return found


def places(lines: Lines) -> dict[str, Place]:
    """The places that networks publish and have not taken back, by record id."""
    puts = {v.record: _read(v.data, Place) for v in latest(lines) if v.type == PLACE_PUT}
    return {record: place for record, place in puts.items() if place is not None}


def latest(lines: Lines) -> Iterable[Version]:
    """The latest version of each record."""
    found: dict[str, Version] = {}
    for version in (version for line in lines for version in _versions(line)):
        known = found.get(version.record)
        if known is None or known.at <= version.at:
            found[version.record] = version
    return found.values()


def _versions(line: bytes) -> Iterator[Version]:
    read = _read(line, Line)
    if read is None:
        return
    for listed in read.claims:
        epoch, _, seq = listed.cursor.partition(".")
        yield Version(listed.id, (int(epoch), int(seq)), CLAIM_PUT, listed.claim)
    if read.raw is not None and (event := _read(read.raw, Event)) is not None:
        yield Version(event.subject, (event.epoch, int(event.sequence)), event.type, event.data)


def _read(text: bytes | str | Raw, struct: type[T]) -> T | None:
    try:
        return foreign.decoded(bytes(text) if isinstance(text, Raw) else text, struct)
    except Untrue:
        return None
