"""`/exports`: the places of the view as files, now or at a past time, by the licences under which they may be used."""

from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
from aiohttp import web
from msgspec import Struct
from yarl import URL

from schemas.view import ViewPut
from services import http, ledger
from services.answers import Reader
from services.http import Route
from services.ledger_http import LEDGER, NDJSON, joined, turn
from services.postgres import Connection
from services.sync import changes, history_store, items, store
from services.sync.api import past
from services.sync.api.history import said
from services.sync.api.items import public
from services.sync.api.reading import moment
from services.sync.api.seen import as_asked
from services.sync.api.stats import Query
from services.sync.context import POLICY
from services.sync.history_store import Shown
from services.sync.merge import UNKNOWN, Reading

# What may be combined into one database under ODbL-1.0, and what under etalab-2.0: docs/decisions/0013.
COMBINED = frozenset(("CC-BY-4.0", "CC0-1.0", "ODC-By-1.0", "ODbL-1.0", "PDDL-1.0", "etalab-2.0"))
ETALAB = frozenset(("CC0-1.0", "etalab-2.0"))
# Places that are worked out again at once.
CHUNK = 100


class Place(Struct, frozen=True):
    """A place as a file may show it: its flat feature, whose it is, under which licences, and whether it is so now."""

    id: str
    item: bytes
    networks: tuple[str, ...]
    licenses: tuple[str, ...]
    now: bool


Places = AsyncIterator[Place]
Lines = Callable[[web.Request, Connection, Places], AsyncIterator[bytes]]


async def export_places(request: web.Request) -> web.StreamResponse:
    """All places as flat GeoJSON features, one a line, by common id: a database under ODbL-1.0.

    A place that has a value under a licence which may not be combined with it, or under none, has no geometry and
    says but its networks and the link where it is read. `Merge-Cursor` says at which position of the log, so that
    reading on after it misses nothing and repeats nothing; with `as_of`, `As-Of` says at which time.
    """
    return await _exported(request, "places", _combined)


async def export_etalab(request: web.Request) -> web.StreamResponse:
    """The same under etalab-2.0: of each place what records under etalab-2.0 and CC0-1.0 alone say.

    Places without such a record are not in the file. Of a past place that has changed since, only what one licence
    covered as a whole is.
    """
    return await _exported(request, "places-etalab", _etalab)


async def _exported(request: web.Request, name: str, lines: Lines) -> web.StreamResponse:
    when = http.asked(request, Query).as_of
    headers = {
        "Content-Type": NDJSON,
        "Content-Disposition": f'attachment; filename="{name}.geojsonl"',
    }
    async with turn(request.app[LEDGER]), moment(request) as conn:
        shown = history_store.every_place(conn)
        if when is not None:
            shown, headers["As-Of"] = await _then(conn, request, when)
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        reader = Reader(response)
        places = (_place(each) async for each in shown)
        async for chunk in joined(line + b"\n" async for line in lines(request, conn, places)):
            await reader.tell(chunk)
    await response.write_eof()
    return response


async def _then(conn: Connection, request: web.Request, when: str) -> tuple[AsyncIterator[Shown], str]:
    """The places at a time, and the time of the last event until then."""
    at = await past.position(conn, request, when)
    head = await ledger.current(conn)
    time = ledger.stamp(at.time)
    if at.seq == head.size:
        return history_store.every_place(conn), time
    await past.remembered(conn, head, at)
    return history_store.every_place_at(conn, head.node, at.seq), time


class _Licensed(Struct):
    license: str | None = None


def _place(shown: Shown) -> Place:
    """A place of the view, or as an event told it: that says a licence where all voices had the same."""
    if shown.raw is None or shown.time is None:
        return Place(shown.id, shown.item or b"", shown.networks or (), shown.licenses or (), now=True)
    put = said(shown.raw, ViewPut)
    after = msgspec.json.decode(put.after, type=_Licensed | None) or _Licensed()
    item = items.told(put, ledger.stamp(shown.time))
    return Place(put.id, item, put.networks, (after.license or UNKNOWN,), now=False)


async def _combined(request: web.Request, _: Connection, places: Places) -> AsyncIterator[bytes]:
    """Every place, whole where all of it may be combined."""
    async for place in places:
        if place.licenses and COMBINED.issuperset(place.licenses):
            yield place.item
        else:
            yield items.linked(place.id, place.networks, public(request, URL(f"/places/{place.id}")))


async def _etalab(request: web.Request, conn: Connection, places: Places) -> AsyncIterator[bytes]:
    """Places of which something is free, without the rest of them."""
    batch: list[Place] = []
    async for place in places:
        if not ETALAB.isdisjoint(place.licenses):
            batch.append(place)
        if len(batch) == CHUNK:
            for line in await _free(request, conn, batch):
                yield line
            batch = []
    for line in await _free(request, conn, batch):
        yield line


async def _free(request: web.Request, conn: Connection, places: Sequence[Place]) -> list[bytes]:
    """What is free of these places: of the present ones worked out again, of past ones as they were told."""
    bodies = await store.bodies(conn, [place.id for place in places if place.now])
    policy = request.app[POLICY].policy
    views = await as_asked(conn, list(bodies.values()), policy, Reading(licenses=ETALAB))
    found = {place.id: place.item for place in places if not place.now}
    found |= {view.id: changes.feature(view) for view in views}
    return [found[place.id] for place in places if place.id in found]


ROUTES = (
    Route("GET", "/exports/places.geojsonl", export_places, query=Query, replies={200: NDJSON}),
    Route("GET", "/exports/places-etalab.geojsonl", export_etalab, query=Query, replies={200: NDJSON}),
)
