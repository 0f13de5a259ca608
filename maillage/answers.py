"""Answers of a view, as they are read: what they have beyond this is passed over."""

from typing import Any

from msgspec import Struct

from schemas.claim import Verdict
from schemas.view import Dispute, Field, Traits
from schemas.view import Feature as Alike


class Point(Struct, frozen=True, tag="Point", tag_field="type"):
    """Longitude and latitude in degrees."""

    coordinates: tuple[float, ...]


class Feature(Struct, frozen=True, tag="Feature", tag_field="type"):
    """A place as flat GeoJSON; without a geometry where nobody says where it is, or it may not be passed on."""

    id: str
    geometry: Point | None
    properties: dict[str, Any]


class Hyperlink(Struct, frozen=True):
    """Where else to read."""

    rel: str
    href: str


class Items(Struct, frozen=True, rename={"matched": "numberMatched"}):
    """A page of features, and how many there are in all."""

    features: tuple[Feature, ...]
    matched: int
    links: tuple[Hyperlink, ...] = ()


class Voice(Struct, frozen=True):
    """What one network says of a place: its record as it is in its own log, null where that may not be told."""

    record: str
    network: str
    version: int
    cursor: str
    status: str
    place: dict[str, Any] | None
    copy_of: str | None


class Word(Struct, frozen=True):
    """What the owner of one of two records says of the pair."""

    network: str
    verdict: Verdict


class Tie(Struct, frozen=True):
    """What makes one place of two of its records, and how alike they are, point by point."""

    a: str
    b: str
    by: str
    points: int | None
    features: tuple[Alike, ...]
    said: tuple[Word, ...]


class Freshness(Struct, frozen=True):
    """What a view knows of a network: its name for it, its own, how it goes, when it was last heard."""

    alias: str
    name: str
    state: str
    heard_at: str | None


class Place(Struct, frozen=True):
    """A place of the view, with every voice and where each value comes from. Any id in `aliases` finds it."""

    id: str
    aliases: tuple[str, ...]
    updated: str
    place: dict[str, Any]
    fields: dict[str, Field]
    records: tuple[Voice, ...]
    links: tuple[Tie, ...]
    disputes: tuple[Dispute, ...]
    part_of: tuple[str, ...]
    freshness: dict[str, Freshness]


class Moment(Struct, frozen=True):
    """A position of the view's log, and the time of the event there; of an empty log it has none."""

    cursor: str
    time: str | None


class Past(Struct, frozen=True):
    """A place as the view showed it then, as the event at `cursor` told it; `dataref` where that was too long."""

    id: str
    as_of: Moment
    cursor: str
    time: str
    networks: tuple[str, ...]
    traits: Traits
    place: dict[str, Any] | None
    dataref: str | None
    cause: tuple[str, ...]


class Told(Struct, frozen=True):
    """One event of a place: `put`, `remove` or `erase`, where and when; of an `erased` one no more is known."""

    cursor: str
    time: str
    id: str
    kind: str
    erased: bool = False
    networks: tuple[str, ...] = ()
    changed: dict[str, Any] | None = None
    dataref: str | None = None
    reason: str | None = None
    moved_to: str | None = None
    cause: tuple[str, ...] = ()


class History(Struct, frozen=True):
    """A page of the events of a place, oldest first, and the token of the next."""

    changes: tuple[Told, ...]
    next: str | None


class Network(Struct, frozen=True):
    """A network that the view listens to: how far it has read, how it goes, under which licence, whom to write to."""

    node: str
    alias: str
    name: str
    url: str
    mode: str
    state: str
    cursor: str
    head: int
    lag: int
    heard_at: str | None
    places: int
    license: str
    contact: str


class Networks(Struct, frozen=True):
    """The networks that a view listens to."""

    networks: tuple[Network, ...]


class Stats(Struct, frozen=True):
    """How many places there are: in all, and by network, family, status and département."""

    as_of: Moment
    places: int
    networks: dict[str, int]
    families: dict[str, int]
    statuses: dict[str, int]
    departements: dict[str, int]
