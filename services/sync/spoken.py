"""Words and named areas that networks publish: kept as the merged logs say them, and what a query means by them."""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from schemas import event
from schemas.event import Event
from schemas.vocabulary import LANDMARKS, Area, Term
from services import foreign
from services.canonical import fold
from services.errors import Args, Fault, Malformed, Untrue
from services.languages import Language
from services.postgres import Connection
from services.sync import heard, spoken_store
from services.sync.items_store import Within, Words
from services.sync.outlines import Box, Outline, around, outlines
from services.sync.store import Latest
from services.sync.work import Work

KINDS: Mapping[str, type[Term | Area]] = {event.VOCABULARY_PUT: Term, event.AREA_PUT: Area}
NAMES = {Term: "word", Area: "area"}
COMMON = "commun:"


class Word(Struct, frozen=True):
    """A word of a network: its name (`namespace:code`), and the term itself."""

    record: str
    name: str
    term: Term


class Named(Struct, frozen=True):
    """A named area of a network. `polygons` is empty where it is a list of communes."""

    record: str
    area: Area
    polygons: tuple[Outline, ...]

    @property
    def box(self) -> Box | None:
        """The box around it, where it is drawn."""
        return around(self.polygons) if self.polygons else None


class Titled(Struct, frozen=True):
    """What an area is called: read alone, as what is drawn costs a hundred times as much."""

    name: str


async def note(work: Work, changed: Sequence[str], latest: Mapping[str, Latest]) -> None:
    """Read these records anew, where they are words or areas."""
    said: dict[type[Term | Area], dict[str, bytes]] = {Term: {}, Area: {}}
    for record in changed:
        one = latest.get(record)
        if one is not None and one.type in KINDS and work.counts(record):
            body = _read(one)
            if body is not None:
                said[KINDS[one.type]][record] = body
    now = {record for bodies in said.values() for record in bodies}
    left = await spoken_store.known(work.conn, changed) - now
    if not now and not left:
        return
    await spoken_store.drop(work.conn, sorted(left))
    for kind, bodies in said.items():
        if bodies:
            await spoken_store.keep(work.conn, NAMES[kind], bodies)
    work.spoken = True


def _read(latest: Latest) -> bytes | None:
    """The data of a word or an area; None of one that this version cannot read."""
    if heard.unread(latest) is not None:
        return None
    try:
        data = bytes(foreign.decoded(latest.raw, Event).data)
        found = foreign.decoded(data, KINDS[latest.type])
    except Untrue:
        return None
    if isinstance(found, Area) and found.geometry is not None and _outlines(found) is None:
        return None
    return data


def _outlines(area: Area) -> tuple[Outline, ...] | None:
    return outlines(msgspec.to_builtins(area.geometry))


async def words(conn: Connection) -> list[Word]:
    """The words of all networks that are in use, by name."""
    found = [
        (record, msgspec.json.decode(body, type=Term))
        for record, body in await spoken_store.all_of(conn, "word")
    ]
    used = [Word(record, f"{term.namespace}:{term.code}", term) for record, term in found if not term.retired]
    return sorted(used, key=lambda word: (word.name, word.record))


async def labels(conn: Connection, language: Language) -> dict[str, str]:
    """What each word is called, in this language where its network says it, else as it calls it."""
    return {word.name: label(word.term, language) for word in await words(conn)}


def label(term: Term, language: Language) -> str:
    """What a word is called."""
    return term.labels.get(language) or next(iter(term.labels.values()), term.code)


async def areas(conn: Connection) -> list[Named]:
    """The areas of all networks, by name."""
    found = [named(record, body) for record, body in await spoken_store.all_of(conn, "area")]
    return sorted(found, key=lambda named: (fold(named.area.name), named.record))


def named(record: str, body: bytes) -> Named:
    """An area as it is kept."""
    area = msgspec.json.decode(body, type=Area)
    return Named(record, area, _outlines(area) or () if area.geometry else ())


async def meant(conn: Connection, types: Sequence[str]) -> Words:
    """Words that are asked for, and those that are said to be close to one of them."""
    asked = set(types)
    close = {word.name for word in await words(conn) if not asked.isdisjoint(word.term.close)}
    landmarks = {name.removeprefix(COMMON) for name in asked if name.startswith(COMMON)}
    return Words(
        types=tuple(sorted(asked | close)), families=tuple(sorted(landmarks.intersection(LANDMARKS)))
    )


async def titles(conn: Connection) -> list[tuple[str, str]]:
    """The id and the name of each area of all networks, by name."""
    found = [
        (record, msgspec.json.decode(body, type=Titled).name)
        for record, body in await spoken_store.all_of(conn, "area")
    ]
    return sorted(found, key=lambda each: (fold(each[1]), each[0]))


async def area(conn: Connection, asked: str) -> Within:
    """A named area, by its record id or its name; Malformed where there is none, or several of that name."""
    body = await spoken_store.area(conn, asked) or await _called(conn, asked)
    only = named(asked, body)
    return Within(polygons=only.polygons, communes=only.area.communes)


async def _called(conn: Connection, name: str) -> bytes:
    found = [record for record, title in await titles(conn) if fold(title) == fold(name)]
    body = await spoken_store.area(conn, found[0]) if found else None
    if body is None:
        raise _mistake("No network publishes an area of this id or name: see /areas.")
    if len(found) > 1:
        ids = ", ".join(found)
        raise _mistake("Several areas have this name: give the id of one: {ids}.", {"ids": ids})
    return body


def _mistake(what: str, args: Args | None = None) -> Malformed:
    return Malformed("The query is not right.", faults=(Fault("area", what, args or {}),))
