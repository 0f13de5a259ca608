"""Which places a file has: of all what may be combined, or what is free by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from schemas.event import Event
from schemas.view import View, ViewPut
from services import ledger
from services.postgres import Connection
from services.sync import changes, items, merge, rereading, store
from services.sync.history_store import Shown
from services.sync.merge import UNKNOWN, Reading
from services.sync.policy import Policy
from services.sync.rendering import Entry

# What may be combined into one database under ODbL-1.0, and what under etalab-2.0: docs/decisions/0013.
COMBINED = frozenset(("CC-BY-4.0", "CC0-1.0", "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "etalab-2.0"))
ETALAB = frozenset(("CC0-1.0", "etalab-2.0"))
# Places that are read and written at a time.
CHUNK = 500


class Place(Struct, frozen=True):
    """A place of the view: its flat feature, whose it is, under which licences, and the event that told it, if past."""

    id: str
    item: bytes
    networks: tuple[str, ...]
    licenses: tuple[str, ...]
    told: ViewPut | None


class Reader(Struct, frozen=True):
    """What reading places takes: the policy of the view, its public address, and whether forms need all of a place."""

    policy: Policy
    address: str
    whole: bool


Entries = Callable[[Connection, Reader, Sequence[Place]], Awaitable[list[Entry]]]


class Collection(Struct, frozen=True):
    """Which places a file has, and its licence as a whole."""

    license: str
    entries: Entries


async def places(shown: AsyncIterator[list[Shown]]) -> AsyncIterator[list[Place]]:
    """Places as files have them, some at a time."""
    async for some in shown:
        yield [_place(each) for each in some]


class _Licensed(Struct):
    license: str | None = None


def _place(shown: Shown) -> Place:
    """A place of the view, or as an event told it: that says a licence where all voices had the same."""
    if shown.raw is None or shown.time is None:
        return Place(shown.id, shown.item or b"", shown.networks or (), shown.licenses or (), None)
    put = msgspec.json.decode(msgspec.json.decode(shown.raw, type=Event).data, type=ViewPut)
    after = msgspec.json.decode(put.after, type=_Licensed | None) or _Licensed()
    item = items.told(put, ledger.stamp(shown.time))
    return Place(put.id, item, put.networks, (after.license or UNKNOWN,), put)


async def _combined(conn: Connection, reader: Reader, places: Sequence[Place]) -> list[Entry]:
    """Every place, whole where all of it may be combined."""
    free = {place.id for place in places if place.licenses and COMBINED.issuperset(place.licenses)}
    now = [place.id for place in places if place.id in free and place.told is None]
    said = await asyncio.to_thread(_public, await store.bodies(conn, now)) if reader.whole else {}
    return [
        _told(place, said.get(place.id)) if place.id in free else _linked(place, reader) for place in places
    ]


def _public(bodies: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {id: merge.public(msgspec.json.decode(body, type=View)) for id, body in bodies.items()}


def _told(place: Place, said: Mapping[str, Any] | None) -> Entry:
    """A place as it is, or as its event told it."""
    if place.told is not None:
        said = msgspec.json.decode(place.told.after, type=dict[str, Any] | None)
    return Entry(place.id, place.item, place.networks, place.licenses, said)


def _linked(place: Place, reader: Reader) -> Entry:
    link = f"{reader.address}places/{place.id}"
    item = items.linked(place.id, place.networks, place.licenses, link)
    return Entry(place.id, item, place.networks, place.licenses, link=link)


async def _free(conn: Connection, reader: Reader, places: Sequence[Place]) -> list[Entry]:
    """What is free of these places: of the present ones worked out again, of past ones as they were told."""
    free = [place for place in places if not ETALAB.isdisjoint(place.licenses)]
    bodies = await store.bodies(conn, [place.id for place in free if place.told is None])
    views = [msgspec.json.decode(body, type=View) for body in bodies.values()]
    now = await rereading.reread(conn, views, reader.policy, Reading(licenses=ETALAB))
    found = {place.id: _told(place, None) for place in free if place.told is not None}
    found |= {id: _read(view) for id, view in now.items()}
    return [found[place.id] for place in free if place.id in found]


def _read(view: View) -> Entry:
    now = changes.shown(view)
    licenses = merge.licenses(view)
    item = items.feature(view, now.place, now.traits, licenses)
    return Entry(view.id, item, view.networks, licenses, now.place)


COLLECTIONS: dict[str, Collection] = {
    "places": Collection("ODbL-1.0", _combined),
    "places-etalab": Collection("etalab-2.0", _free),
}
