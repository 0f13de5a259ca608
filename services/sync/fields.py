"""One value per field, and all the voices: what each record states, and whose word is shown.

Values are plain JSON without floats: coordinates in 1e-7 degrees, surfaces in 1e-2 square metres.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas.place import Address, Operator, Position, Surface
from schemas.view import Alternative, Field
from services.canonical import fold
from services.sync.policy import Policy
from services.sync.records import Record, owner

Stated = dict[str, Any]

RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
E164 = re.compile(r"\+[1-9][0-9]{5,14}")
WEB = re.compile(r"https?://[^\s/]+\S*")
HOUSE_NUMBER = re.compile(r"[0-9]{1,4}([^0-9]|$)")
ADDRESS_PARTS = len(Address.__struct_fields__) + 1
PUBLIC_ADDRESS = ("postcode", "city", "insee", "country")


class Voice(Struct, frozen=True):
    """What one record states, and what it is ranked by: in this order, less is better."""

    record: Record
    stated: Stated
    checked: int
    verified: int
    detail: int
    draw: int
    elder: int
    order: tuple[str, ...]


def voice(record: Record, stated: Stated, elder: int, common_id: str, policy: Policy) -> Voice:
    """A record as a candidate for the fields of a place; `elder` is its rank by age."""
    by, on = stated.get("verified_by"), stated.get("verified_on")
    draw = sha256((common_id + owner(record.id)).encode()).digest()
    return Voice(
        record=record,
        stated=stated,
        checked=policy.checked_by.index(by) if by else len(policy.checked_by),
        verified=-int(on.replace("-", "")) if on else 0,
        detail=_detail(stated, policy),
        draw=-int.from_bytes(draw),
        elder=elder,
        order=policy.order,
    )


def stated(record: Record, policy: Policy) -> Stated:
    """What a present record states, field by field; a date of checking that lies ahead of it is left out."""
    place, said = record.place, {}
    for field in policy.single:
        value = getattr(place, field)
        if value is None or value == "":
            continue
        if (shape := SHAPES.get(field)) is not None:
            value = shape(value)
            if not value:
                continue
        said[field] = value
    for field in policy.common:
        if value := getattr(place, field):
            said[field] = value
    for field in policy.lists:
        if value := getattr(place, field):
            said[field] = value if isinstance(value[0], str) else msgspec.to_builtins(value)
    if "verified_on" in said and verified_on(record) is None:
        del said["verified_on"]
    return said


def verified_on(record: Record) -> str | None:
    """The day on which a present record was last checked; None for one that lies ahead of its event."""
    on = record.place.verified_on if record.place is not None else None
    return on if on and on <= (moment(record.time) or "")[:10] else None


def veiled(said: Stated, policy: Policy) -> Stated:
    """The same without what tells where a place is, below its commune."""
    shown = {field: value for field, value in said.items() if field != "position"}
    if address := {k: v for k, v in said.get("address", {}).items() if k in PUBLIC_ADDRESS}:
        shown["address"] = address
    else:
        shown.pop("address", None)
    if known := [i for i in said.get("identifiers", ()) if i["scheme"] not in policy.located_by]:
        shown["identifiers"] = known
    else:
        shown.pop("identifiers", None)
    return shown


def veiled_record(data: Raw, policy: Policy) -> Raw:
    """A record's own bytes without what tells where it is; what else it says stays byte for byte."""
    shown = {f: v for f, v in msgspec.json.decode(data, type=dict[str, Raw]).items() if f != "position"}
    if "identifiers" in shown:
        known = msgspec.json.decode(shown["identifiers"], type=list[dict[str, Any]] | None) or []
        kept = [i for i in known if i.get("scheme") not in policy.located_by]
        shown["identifiers"] = Raw(msgspec.json.encode(kept))
    if "address" in shown:
        address = msgspec.json.decode(shown["address"], type=dict[str, Raw] | None) or {}
        commune = {k: v for k, v in address.items() if k in PUBLIC_ADDRESS}
        shown["address"] = Raw(msgspec.json.encode(commune))
    return Raw(msgspec.json.encode(shown))


def single(field: str, voices: Sequence[Voice], first: str | None = None) -> Field | None:
    """The value of the first voice by rank, with the rule that decided and the other values, best first.

    What the network `first` says, goes before all others.
    """
    heard = [v for v in voices if field in v.stated]
    if not heard:
        return None
    if len(heard) == 1:
        record = heard[0].record
        return Field(heard[0].stated[field], owner(record.id), record.id, record.version, "only", ())
    ranked = sorted(
        ((_rank(v, field), v) for v in heard), key=lambda r: (owner(r[1].record.id) != first, r[0])
    )
    rank, best = ranked[0]
    value = best.stated[field]
    others = [(r, v) for r, v in ranked[1:] if v.stated[field] != value]
    rule = _decisive(best, rank, others[0][0]) if others else "agreed"
    if others and owner(best.record.id) == first != owner(others[0][1].record.id):
        rule = "voice"
    alternatives = tuple(_other(v, field) for _, v in others)
    return Field(value, owner(best.record.id), best.record.id, best.record.version, rule, alternatives)


def common(field: str, voices: Sequence[Voice]) -> Field | None:
    """A value that is shown only where all voices state it and agree: nobody can speak for the others."""
    shown = single(field, voices)
    heard = [v for v in voices if field in v.stated]
    if shown is None or (not shown.alternatives and len(heard) == len(voices)):
        return shown
    ranked = sorted((_rank(v, field), v) for v in heard)
    return Field(None, None, None, None, "differs", tuple(_other(v, field) for _, v in ranked))


def union(field: str, voices: Sequence[Voice]) -> Field | None:
    """All items of a list that any voice names, sorted by code point, each with the networks that name it."""
    found: dict[str, tuple[Any, set[str]]] = {}
    for v in voices:
        for item in v.stated.get(field, ()):
            key = item if isinstance(item, str) else msgspec.json.encode(item, order="sorted").decode()
            found.setdefault(key, (item, set()))[1].add(owner(v.record.id))
    if not found:
        return None
    items = tuple((item, tuple(sorted(who))) for _, (item, who) in sorted(found.items(), key=_key))
    return Field([item for item, _ in items], None, None, None, "union", (), items)


def moment(time: str) -> str | None:
    """An RFC 3339 time in UTC to the microsecond, as text that sorts; None for what is no such time."""
    if not RFC3339.fullmatch(time):
        return None
    try:
        return datetime.fromisoformat(time).astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return None


def _key(found: tuple[str, object]) -> str:
    return found[0]


def _rank(v: Voice, field: str) -> tuple[int, ...]:
    """Smaller is better; in the order of the policy."""
    return tuple(RANKS[rule](v, field) for rule in v.order)


def _invalid(v: Voice, field: str) -> int:
    valid = VALID.get(field)
    return valid is not None and not valid(v.stated[field])


def _incomplete(v: Voice, field: str) -> int:
    """How much a value leaves out."""
    if field in ("address", "position"):
        return v.detail
    value = v.stated[field]
    return -len(value) if isinstance(value, dict) else 0


def _decisive(v: Voice, rank: tuple[int, ...], other: tuple[int, ...]) -> str:
    """The name of the first rule by which two ranks differ."""
    levels = zip(v.order, rank, other, strict=True)
    return next(name for name, mine, theirs in levels if mine != theirs)


def _other(v: Voice, field: str) -> Alternative:
    return Alternative(v.stated[field], owner(v.record.id), v.record.id, v.record.version)


def _detail(said: Stated, policy: Policy) -> int:
    """How completely a record says where the place is: precision, then the house number, then the rest.

    One number for address and position, so that both come from one record where it has both.
    """
    position, address = said.get("position"), said.get("address", {})
    precision = policy.precision.index(position["precision"]) if position else len(policy.precision)
    unnumbered = HOUSE_NUMBER.match(address.get("street", "")) is None
    return (2 * precision + unnumbered) * ADDRESS_PARTS - len(address)


def _position(position: Position) -> Stated | None:
    """Integers of 1e-7 degrees; the point 0, 0 is how broken software says that it does not know."""
    lat, lon = round(position.lat * 1e7), round(position.lon * 1e7)
    return {"lat": lat, "lon": lon, "precision": position.precision} if lat or lon else None


def _surface(surface: Surface) -> Stated:
    """Integers of 1e-2 square metres."""
    built, outdoor = surface.built_m2, surface.outdoor_m2
    both = {"built_m2": built, "outdoor_m2": outdoor}
    return {name: round(value * 100) for name, value in both.items() if value is not None}


def _operator(operator: Operator) -> Stated:
    """Lists, not tuples: a view is equal to itself read back from its bytes."""
    said: Stated = msgspec.to_builtins(operator)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def _valid_address(address: Mapping[str, str]) -> bool:
    return address.get("postcode") != "00000" and address.get("insee") != "00000"


SHAPES: dict[str, Callable[[Any], Any]] = {
    "address": msgspec.to_builtins,
    "position": _position,
    "surface": _surface,
    "accessibility": msgspec.to_builtins,
    "operator": _operator,
    "origin": msgspec.to_builtins,
}

# What each rule of `Policy.order` compares.
RANKS: dict[str, Callable[[Voice, str], int]] = {
    "valid": _invalid,
    "verified-by": lambda v, _: v.checked,
    "verified-on": lambda v, _: v.verified,
    "complete": _incomplete,
    "draw": lambda v, _: v.draw,
    "elder": lambda v, _: v.elder,
}

# Cheap and frozen on purpose: the checks of the registry use libraries whose tables change.
VALID: dict[str, Callable[[Any], bool]] = {
    "name": lambda name: bool(fold(name)),
    "address": _valid_address,
    "website": lambda website: WEB.fullmatch(website) is not None,
    "phone": lambda phone: E164.fullmatch(phone) is not None,
}
