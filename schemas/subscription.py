"""What a subscriber asks for, and what she is told."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.node import Cursor
from schemas.place import NodeId

Departement = Annotated[str, Meta(pattern=r"^([0-9]{2,3}|2[AB])$(?!\n)", examples=["35"])]
Degrees = Annotated[float, Meta(ge=-180, le=180)]
Selection = Literal["entered", "updated", "left", "erased"]


class Filter(Struct, frozen=True, omit_defaults=True):
    """Which changes matter: a place matches if it did before or after the change. Empty means all.

    Within one field any value will do; all fields that are given must fit. `network` holds node ids, `family`
    shared landmarks; `bbox` is west, south, east, north in degrees; west > east crosses the antimeridian.
    """

    network: tuple[NodeId, ...] = ()
    departement: tuple[Departement, ...] = ()
    family: tuple[str, ...] = ()
    bbox: tuple[Degrees, Degrees, Degrees, Degrees] | None = None


class Change(Struct, frozen=True):
    """One change of the common view, as a subscriber sees it.

    `view` says what happened to the subscriber's own selection: the place entered it, was updated in it,
    left it, or was erased. `cursor` is the position to go on from. `place` is the place as it is now, null
    when it is gone; then `reason` says why and `moved_to` names the place that answers instead, if any. A very
    long place is null as well, and `dataref` says where its node serves it.
    `changed` is `{field: {before, after}}`, `cause` the events that did it, as `<node>/<event id>`.
    """

    cursor: Cursor
    id: str
    time: str
    view: Selection
    place: Any
    changed: Any
    cause: tuple[str, ...]
    reason: str | None = None
    moved_to: str | None = None
    dataref: str | None = None


class Changes(Struct, frozen=True):
    """A page of changes; `cursor` goes on from here even where nothing matched, `more` if more is known."""

    changes: tuple[Change, ...]
    cursor: Cursor
    more: bool
