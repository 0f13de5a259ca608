"""What the events of a log mean to subscribers, kept in the transaction that moves the cursor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from msgspec import Raw, Struct

from schemas import event as events
from schemas.event import Event, Withdrawal
from schemas.node import Hex256
from schemas.place import Place, RecordId
from schemas.view import Traits, ViewPut, ViewRemove
from services import follow_store, places
from services.foreign import UNREADABLE
from services.notify import store
from services.notify.store import Stored
from services.postgres import Connection
from services.proofs import Followed

log = structlog.get_logger()

NOTHING = Raw(b"null")
NO_CHANGES = Raw(b"{}")


class Body(Struct, frozen=True, omit_defaults=True):
    """What is told of a change beyond its position, its id and what it does to a selection."""

    time: str
    place: Raw = NOTHING
    changed: Raw = NO_CHANGES
    cause: tuple[str, ...] = ()
    reason: str | None = None
    moved_to: str | None = None
    dataref: str | None = None


class Told(Struct, frozen=True):
    """An event as subscribers hear of it: of which place, what it was and is, and the leaves it erases."""

    id: str
    before: Traits | None
    after: Traits | None
    body: Body
    erases: tuple[str, ...] | None = None


class _Erasure(Struct, frozen=True):
    leaves: tuple[Hex256, ...]


async def effect(conn: Connection, node: str, batch: Sequence[Followed]) -> None:
    """Keep the changes that these events are."""
    readable = [(followed, event) for followed in batch if (event := followed.event) is not None]
    known = {last.id: last for last in await store.latest(conn, [_record(event) for _, event in readable])}
    told = [(f, t) for f, event in readable if (t := _told(f, event, known)) is not None]
    if await _is_snapshot(conn, node):
        await _begin(conn, batch, told)
        return
    await store.add(conn, [_stored((f.epoch, f.seq), f, t) for f, t in told])
    for _, t in told:
        if t.erases:
            await _forget(conn, t.id, [bytes.fromhex(leaf) for leaf in t.erases], t.body.time)


async def rewound(conn: Connection, node: str, size: int) -> None:
    """Forget the changes of events that the log has no more; of a log that is begun anew, all."""
    await store.drop_after(conn, size)


async def _forget(conn: Connection, id: str, leaves: Sequence[bytes], time: str) -> None:
    """Forget what erased events said, and what the changes after them say that it was before."""
    after_erased = False
    for change in await store.of(conn, id):
        if change.leaf in leaves:
            empty = msgspec.json.encode(Body(time=time))
            await store.replace(conn, msgspec.structs.replace(change, before=None, after=None, body=empty))
        elif after_erased and not change.erased:
            body = msgspec.structs.replace(msgspec.json.decode(change.body, type=Body), changed=NO_CHANGES)
            said = msgspec.structs.replace(change, before=None, body=msgspec.json.encode(body))
            await store.replace(conn, said)
        after_erased = change.leaf in leaves


async def _is_snapshot(conn: Connection, node: str) -> bool:
    here = await follow_store.node(conn, node)
    # The cursor moves when the snapshot is whole; the state alone may say `stale` while a long one is read.
    return here is not None and (here.epoch == 0 or here.state == "snapshotting")


async def _begin(conn: Connection, batch: Sequence[Followed], told: Sequence[tuple[Followed, Told]]) -> None:
    """Keep what a snapshot holds before all positions of the log, as places that nobody has seen before."""
    start = await store.last_first(conn) + 1
    standing = [(f, t) for f, t in told if t.after is not None]
    await store.add(conn, [_first(start + n, f, t) for n, (f, t) in enumerate(standing)])
    await store.raise_floor(conn, max(((f.epoch, f.seq) for f in batch), default=(0, 0)))


def _told(followed: Followed, event: Event, known: dict[str, Stored]) -> Told | None:
    """What an event tells, by what was told last of its place; None for other types and what cannot be read."""
    read = READERS.get(event.type)
    if read is None:
        return None
    try:
        told = read(event, known.get(_record(event)))
        msgspec.convert(told.id, RecordId)
    except UNREADABLE as error:
        log.warning("unreadable", cursor=followed.cursor, type=event.type, why=str(error))
        return None
    known[told.id] = _stored((followed.epoch, followed.seq), followed, told)
    return told


def _record(event: Event) -> str:
    """The record that an event is of; a sync's own id before it is taken off."""
    return ":".join(event.subject.split(":")[-2:])


def _view_put(event: Event, last: Stored | None) -> Told:
    data = msgspec.json.decode(event.data, type=ViewPut)
    body = Body(
        time=event.time, place=data.after, changed=data.changed, cause=data.cause, dataref=data.dataref
    )
    return Told(id=data.id, before=data.before, after=data.traits, body=body)


def _view_remove(event: Event, last: Stored | None) -> Told:
    data = msgspec.json.decode(event.data, type=ViewRemove)
    body = Body(time=event.time, cause=data.cause, reason=data.reason, moved_to=data.moved_to)
    return Told(id=data.id, before=data.before, after=None, body=body)


def _cause(event: Event) -> tuple[str, ...]:
    """An event of a registry as the cause of what it tells."""
    return (f"{event.source.rpartition(':')[2]}/{event.id}",)


def _place_put(event: Event, last: Stored | None) -> Told:
    """A registry says what a place is; what it was is what was told last of it."""
    place = msgspec.json.decode(event.data, type=Place)
    there = last is not None and last.after is not None
    old = _place(last) if there else {}
    changed = Raw(msgspec.json.encode(_difference(old, msgspec.json.decode(event.data))))
    body = Body(time=event.time, place=event.data, changed=changed, cause=_cause(event))
    id = _record(event)
    return Told(id=id, before=_standing(last), after=traits_of(place, id), body=body)


def _place_withdraw(event: Event, last: Stored | None) -> Told:
    data = msgspec.json.decode(event.data, type=Withdrawal)
    body = Body(time=event.time, cause=_cause(event), reason=data.reason, moved_to=data.successor)
    return Told(id=_record(event), before=_standing(last), after=None, body=body)


def _erase(event: Event, last: Stored | None) -> Told:
    """Whoever was told of the place is told that it is erased, also when it had left before."""
    leaves = msgspec.json.decode(event.data, type=_Erasure).leaves
    body = Body(time=event.time, cause=_cause(event), reason="erased")
    before = _standing(last) or (_traits(last.before) if last is not None else None)
    return Told(id=_record(event), before=before, after=None, body=body, erases=leaves)


def traits_of(place: Place, record_id: str) -> Traits:
    """The traits of a registry's own record."""
    return Traits(
        networks=(record_id.partition(":")[0],),
        families=place.families,
        types=place.types,
        labels=tuple(label.code for label in place.labels),
        status=place.status,
        departement=places.departement(place),
        insee=place.address.insee if place.address else None,
        lat=place.position.lat if place.position else None,
        lon=place.position.lon if place.position else None,
    )


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: {"before": old.get(name), "after": new.get(name)}
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def _standing(last: Stored | None) -> Traits | None:
    return None if last is None else _traits(last.after)


def _traits(encoded: bytes | None) -> Traits | None:
    return None if encoded is None else msgspec.json.decode(encoded, type=Traits)


def _place(last: Stored | None) -> dict[str, Any]:
    found = msgspec.json.decode(msgspec.json.decode(last.body, type=Body).place) if last else None
    return found if isinstance(found, dict) else {}


def _stored(position: tuple[int, int], followed: Followed, told: Told) -> Stored:
    return Stored(
        epoch=position[0],
        seq=position[1],
        id=told.id,
        leaf=followed.leaf,
        before=_json(told.before),
        after=_json(told.after),
        erased=told.erases is not None,
        body=msgspec.json.encode(told.body),
    )


def _first(seq: int, followed: Followed, told: Told) -> Stored:
    """A change that a snapshot begins with: whoever starts there has not seen the place before."""
    body = msgspec.structs.replace(told.body, changed=NO_CHANGES)
    return _stored((0, seq), followed, msgspec.structs.replace(told, before=None, body=body))


def _json(traits: Traits | None) -> bytes | None:
    return None if traits is None else msgspec.json.encode(traits)


READERS: dict[str, Callable[[Event, Stored | None], Told]] = {
    events.VIEW_PUT: _view_put,
    events.VIEW_REMOVE: _view_remove,
    events.PLACE_PUT: _place_put,
    events.PLACE_WITHDRAW: _place_withdraw,
    events.RECORD_ERASE: _erase,
}
