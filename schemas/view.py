"""The common view: one merged place, every voice kept."""

from typing import Any, Literal

from msgspec import Raw, Struct

from schemas.claim import Verdict


class Alternative(Struct, frozen=True):
    """What another voice says of the same field."""

    value: Any
    network: str
    record: str
    version: int


class Field(Struct, frozen=True, omit_defaults=True):
    """One merged value: who says it, in which version, by which rule it is shown, and what others say.

    `rule` is `only` (one voice says it), `agreed` (all who say it say the same), or what decided between the
    value and the next one: `valid`, `verified-by`, `verified-on`, `complete`, `draw`, `elder`, or `voice` where
    a reader asked that its network come first. `alternatives`
    are the other values, best first. For lists `rule` is `union`, the voice is null and `items` tells, item
    by item, which networks say it. `differs`: voices disagree, or some are silent, and none can speak for all,
    so that the value is null (licences). `some-say-closed`: the flag `disputed_status`.
    """

    value: Any
    network: str | None
    record: str | None
    version: int | None
    rule: str
    alternatives: tuple[Alternative, ...]
    items: tuple[tuple[Any, tuple[str, ...]], ...] = ()


class Voice(Struct, frozen=True, omit_defaults=True):
    """One record behind a merged place, by the hash of its latest event.

    `copy_of`: the record among them that it only repeats, so that it gives no value.
    """

    record: str
    network: str
    version: int
    leaf: str
    withdrawn: bool = False
    copy_of: str | None = None


class Dispute(Struct, frozen=True):
    """What an owner says of one of her records where voices contradict each other.

    Either one owner says `same` and the other does not, or both do and another record stands between, or
    (`contests`) a place answers what record `b` says of it.
    """

    a: str
    b: str
    network: str
    verdict: Verdict
    statement: str | None


class View(Struct, frozen=True):
    """One place of the common view. Its canonical JSON is what two syncs agree on, byte for byte.

    Numbers are integers: coordinates in 1e-7 degrees, surfaces in 1e-2 square metres. `aliases` are all record
    ids that find it, its own among them; `records` the voices behind it, withdrawn ones included; `part_of`
    the records in which its own networks say it lies. Extensions stay with their record, under its `leaf`.
    """

    id: str
    aliases: tuple[str, ...]
    networks: tuple[str, ...]
    updated: str
    fields: dict[str, Field]
    records: tuple[Voice, ...]
    disputes: tuple[Dispute, ...]
    part_of: tuple[str, ...]


class Traits(Struct, frozen=True):
    """The attributes by which changes are filtered. `lat` and `lon` in degrees."""

    networks: tuple[str, ...]
    families: tuple[str, ...]
    types: tuple[str, ...]
    labels: tuple[str, ...]
    status: str
    departement: str | None
    insee: str | None
    lat: float | None
    lon: float | None


class ViewPut(Struct, frozen=True, omit_defaults=True):
    """Data of `view.put`: the place as it is now, the traits it had, what changed, and which events did it.

    `cause` names events as `<node>/<event id>`, as the ids of events are those of their node alone.
    Where that would be too long for an event, `after` is null and `dataref` says where to read it.
    """

    id: str
    networks: tuple[str, ...]
    after: Raw
    traits: Traits
    before: Traits | None
    changed: Raw
    cause: tuple[str, ...]
    dataref: str | None = None


RemoveReason = Literal["merged", "withdrawn", "no-longer-followed", "hidden", "unreadable"]


class ViewRemove(Struct, frozen=True):
    """Data of `view.remove`: why no place has this id any more, and which one answers instead, if any.

    `merged`: it became part of an older one. Else the record that gave the place its id was `withdrawn`, is of a
    network `no-longer-followed`, is `hidden` by the operator of this sync, or is `unreadable` for this version; the
    place may live on under another id.
    """

    id: str
    before: Traits
    reason: RemoveReason
    moved_to: str | None
    cause: tuple[str, ...]


NoticeKind = Literal["contradicted", "joined", "parted"]


class Noticed(Struct, frozen=True, omit_defaults=True):
    """What has become of one record in the view, and by which records of other networks.

    `contradicted`: another value is shown of this `field`, and which (null where it is too long to be told).
    `joined`: it is one place with those now. `parted`: it is one with them no longer, though they are there.
    """

    kind: NoticeKind
    record: str
    by: tuple[str, ...]
    field: str | None = None
    shown: Any = None


class Notice(Struct, frozen=True, omit_defaults=True):
    """Data of `view.notice`, addressed to one network: what has become of its records in this place.

    It stands right before the `view.put` that shows it, and is not said again while it stays so. `dataref` says
    where the place is read, where not all fits into an event.
    """

    id: str
    network: str
    items: tuple[Noticed, ...]
    cause: tuple[str, ...]
    dataref: str | None = None


class Head(Struct, frozen=True):
    """Where a node's log stood: the input of the view."""

    node: str
    epoch: int
    size: int
    log_root: str
    descriptor: str


class Digest(Struct, frozen=True):
    """Equal heads, policy and followed set mean equal `view_root`, on every machine."""

    policy_id: str
    followed: str
    view_root: str
    count: int
    heads: tuple[Head, ...]


class Feature(Struct, frozen=True):
    """How two records compare in one respect, and what that is worth."""

    feature: str
    level: str
    points: int
