"""What a wish becomes: pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from math import asin, cos, radians, sin, sqrt
from uuid import UUID

import msgspec
from msgspec import Raw, Struct

from schemas.event import Withdrawal
from schemas.place import Place, Position
from schemas.vocabulary import Term
from services.canonical import fold
from services.errors import Conflict, Fault, Gone, Invalid, NotFound, Stale
from services.places import check

# What follows the node in the id of a record.
UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
NEAR_M = 200.0
EARTH_M = 6_371_008.8


class Row(Struct, frozen=True):
    """A record as it stands: its content, or why it was taken back."""

    id: str
    version: int
    epoch: int
    seq: int
    updated_at: datetime
    body: bytes
    withdrawn: str | None = None
    successor: str | None = None

    @property
    def cursor(self) -> str:
        """Where its latest event stands."""
        return f"{self.epoch}.{self.seq}"


class Rival(Struct, frozen=True):
    """An own place of the same folded name."""

    id: str
    place: Place


class Open(Struct, frozen=True):
    """A new record. `place` is given where near duplicates are to be refused."""

    id: str
    body: bytes
    place: Place | None = None


class Put(Struct, frozen=True):
    """The whole record at this id, created if it is not there."""

    id: str
    body: bytes


class Change(Struct, frozen=True):
    """New content for a record, if it still has this version."""

    id: str
    body: bytes
    version: int | None


class Withdraw(Struct, frozen=True):
    """Take a record back, if it still has this version."""

    id: str
    reason: str
    successor: str | None
    version: int | None


class Reopen(Struct, frozen=True):
    """Bring a withdrawn record back as it was."""

    id: str


class State(Struct, frozen=True):
    """What a record is from now on, whatever it was."""

    id: str
    body: bytes


class Import(Struct, frozen=True):
    """What a row of a list says; `last` is what the same row said at the import before.

    `absent`: the list in between lacked the row, and its place was withdrawn for that. `exported`: the row is of
    our own export and names its place; `version` is that of the place then, whose content is `last`.
    """

    id: str
    body: bytes
    last: bytes | None = None
    absent: bool = False
    exported: bool = False
    version: int | None = None


Wish = Open | Put | Change | Withdraw | Reopen | State | Import


class Written(Struct, frozen=True):
    """The record has this content now; `remarks` says what of the wish was not taken."""

    body: bytes
    remarks: tuple[Fault, ...] = ()


class Taken(Struct, frozen=True):
    """The record is withdrawn now."""

    withdrawal: Withdrawal


class Unchanged(Struct, frozen=True):
    """The record is so already, or stays as it is: no event."""

    remarks: tuple[Fault, ...] = ()


Outcome = Written | Taken | Unchanged


def own_id(node: str, text: str) -> str:
    """The UUID of an own record, given alone or with the id of this node before it; NotFound where it is none."""
    owner, colon, rest = text.lower().rpartition(":")
    if colon and owner != node:
        raise NotFound("That record belongs to another network.")
    try:
        found = str(UUID(rest))
    except ValueError:
        raise NotFound("This network has no such record.") from None
    if found != rest:
        raise NotFound("This network has no such record.")
    return found


def pair(a: str, b: str) -> str:
    """The key of a claim: the two records, whichever stands first."""
    return "|".join(sorted((a, b)))


def word(term: Term) -> str:
    """The key of a term: `namespace:code`."""
    return f"{term.namespace}:{term.code}"


def decide(now: Row | None, wish: Wish, rivals: Sequence[Rival] = ()) -> Outcome:
    """What becomes of a wish, given the record as it stands and own places of the same name."""
    if now is not None and now.withdrawn == ERASED and not isinstance(wish, Import):
        raise gone(now)
    match now, wish:
        case None, Open(place=place, body=body):
            refuse_duplicate(place, rivals)
            return Written(body=body)
        case None, (Put(body=body) | State(body=body) | Import(body=body)):
            return Written(body=body)
        case Row(), Put(body=body) if now.withdrawn is None and now.body == body:
            return Unchanged()
        case Row(), (Open() | Put()):
            raise Stale("There is a record under this id already.")
        case None, _:
            raise NotFound("This network has no such record.")
        case Row(), Reopen() if now.withdrawn is not None:
            return Written(body=now.body)
        case Row(), Reopen():
            return Unchanged()
        case Row(), State(body=body):
            return _stated(now, body)
        case Row(), Import():
            return _imported(now, wish)
        case Row(), (Change() | Withdraw()):
            return _revised(now, wish)
    raise TypeError(wish)


def _revised(now: Row, wish: Change | Withdraw) -> Outcome:
    if now.withdrawn is not None:
        raise gone(now)
    if wish.version is not None and wish.version != now.version:
        raise stale(now, wish.version)
    match wish:
        case Change(body=body):
            return _stated(now, _verified(body, now.body))
        case Withdraw(successor=str(successor)) if successor.rpartition(":")[2] == now.id:
            raise Invalid(faults=(Fault("/successor", "A record cannot take its own place."),))
        case Withdraw(reason=reason, successor=successor):
            return Taken(withdrawal=Withdrawal(reason=reason, successor=successor))


def stale(row: Row, read: int) -> Stale:
    """The failure that says which version was read and which there is."""
    return Stale("You read version {read}, it is at version {now}.", {"read": read, "now": row.version})


def gone(row: Row) -> Gone:
    """The failure that says why and since when a record is withdrawn."""
    since = row.updated_at.isoformat()
    extra: dict[str, object] = {"reason": row.withdrawn, "since": since}
    if row.successor:
        extra["successor"] = row.successor
    return Gone("Withdrawn: {reason}.", {"reason": row.withdrawn or ""}, extra=extra)


def _imported(now: Row, wish: Import) -> Outcome:
    if now.withdrawn == ERASED:
        return Unchanged(remarks=(GONE,))
    # What somebody took back at the desk, no list brings back.
    if now.withdrawn is not None and wish.exported:
        return Unchanged(remarks=(STAYS,))
    if now.withdrawn is not None and wish.last is not None and not wish.absent:
        return Unchanged()
    if wish.last is None and wish.version is not None and wish.version != now.version:
        raise stale(now, wish.version)
    new = _verified(wish.body, wish.last or now.body)
    if now.withdrawn is None and flat(new) == flat(now.body):
        return Unchanged()
    remarks = tuple(_kept(now.body, wish.last, new)) if wish.exported else ()
    body = merged_import(now.body, wish.last, new)
    if body != new:
        faults = check(msgspec.json.decode(body, type=Place), today=date.max).faults
        if faults:
            raise Invalid("This row contradicts what was edited at the desk.", faults=faults)
    if now.withdrawn is None and flat(body) == flat(now.body):
        return Unchanged(remarks=remarks)
    return Written(body=body, remarks=remarks)


# Why a record is gone for good.
ERASED = "erased"
GONE = Fault("", "This place was erased for good: no list brings it back.")
STAYS = Fault("", "This place was withdrawn since the list was exported: it stays withdrawn.")


def _kept(now: bytes, last: bytes | None, new: bytes) -> Iterator[Fault]:
    """Fields that both the desk and the row changed since the export: the desk's value stays."""
    there = members(new)
    before = members(last or new)
    here = members(now)
    for field in sorted(edited(now, last)):
        row, old, stands = there.get(field), before.get(field), here.get(field)
        if not _same(row, old) and not _same(row, stands):
            yield Fault(field, "This was edited since the list was exported: the row's value is not taken.")


def _same(one: Raw | None, other: Raw | None) -> bool:
    return flat(bytes(one or b"")) == flat(bytes(other or b""))


def _verified(new: bytes, before: bytes) -> bytes:
    """The new content; who verified a place is whoever did so first on that day."""
    if b'"verified_on"' not in new:
        return new
    there, here = members(new), members(before)
    if "verified_on" not in there or there["verified_on"] != here.get("verified_on"):
        return new
    return _ordered({**there, "verified_by": here.get("verified_by")})


def _ordered(fields: Mapping[str, Raw | None]) -> bytes:
    """These members as a record: in the order of its shape, absent ones left out."""
    return msgspec.json.encode({f: fields[f] for f in Place.__struct_fields__ if fields.get(f) is not None})


def flat(body: bytes) -> bytes:
    """JSON on one line. Only extensions can hold line feeds, as their sender wrote them."""
    return body.replace(b"\n", b" ").replace(b"\r", b" ")


def _stated(now: Row, body: bytes) -> Outcome:
    if now.withdrawn is None and body == now.body:
        return Unchanged()
    return Written(body=body)


def members(body: bytes) -> dict[str, Raw]:
    """The top-level members of an object, their bytes untouched."""
    return msgspec.json.decode(body, type=dict[str, Raw])


def edited(now: bytes, last: bytes | None) -> set[str]:
    """The fields whose value is no longer what the last import gave."""
    if last is None:
        return set()
    here, there = members(now), members(last)
    found = {f for f in here.keys() | there.keys() if here.get(f) != there.get(f)}
    # The day of a verification and who made it are one thing.
    return found | VERIFIED if found & VERIFIED else found


VERIFIED = frozenset({"verified_on", "verified_by"})


def merged_import(now: bytes, last: bytes | None, new: bytes) -> bytes:
    """The new row, with the fields that were edited at the desk since the last import kept as they are."""
    kept = edited(now, last)
    if not kept:
        return new
    here, there = members(now), members(new)
    return _ordered({f: (here if f in kept else there).get(f) for f in here.keys() | there.keys()})


def metres(a: Position, b: Position) -> float:
    """Great-circle distance (haversine)."""
    half_lat, half_lon = radians(b.lat - a.lat) / 2, radians(b.lon - a.lon) / 2
    chord = sin(half_lat) ** 2 + cos(radians(a.lat)) * cos(radians(b.lat)) * sin(half_lon) ** 2
    return 2 * EARTH_M * asin(min(1.0, sqrt(chord)))


def near(a: Place, b: Place) -> bool:
    """Whether two places of one folded name stand close enough to be one."""
    if fold(a.name) != fold(b.name):
        return False
    if a.position and b.position:
        return metres(a.position, b.position) <= NEAR_M
    here, there = a.address and a.address.postcode, b.address and b.address.postcode
    return here is not None and here == there


def refuse_duplicate(place: Place | None, rivals: Sequence[Rival]) -> None:
    """Conflict, naming the candidates, when a place of this name stands near."""
    found = [r for r in rivals if place is not None and near(place, r.place)]
    if found:
        candidates = [{"id": r.id, "name": r.place.name} for r in found]
        raise Conflict(
            "A place of this name is near already; send it again with duplicate=accept if it is another one.",
            extra={"code": "near-duplicate", "candidates": candidates},
        )


def patched(body: bytes, patch: bytes) -> bytes:
    """RFC 7396 merge patch; members that the patch does not name keep their bytes."""
    return msgspec.json.encode(_merge(Raw(body), Raw(patch.strip())))


def _merge(target: Raw | None, patch: Raw) -> Raw | Mapping[str, object]:
    if bytes(patch)[:1] != b"{":
        return patch
    whole: dict[str, object] = {}
    if target is not None and bytes(target)[:1] == b"{":
        whole.update(members(bytes(target)))
    for name, value in members(bytes(patch)).items():
        if bytes(value) == b"null":
            whole.pop(name, None)
        else:
            before = whole.get(name)
            whole[name] = _merge(before if isinstance(before, Raw) else None, value)
    return whole
