"""`/exports`: the places of the view as files, now or at a past time, by the licences under which they may be used."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, BinaryIO, TypeVar

import msgspec
from aiohttp import web

from services import files, http, ledger, licenses
from services.errors import NotFound
from services.files import Draft, Made, Stand
from services.http import Route
from services.postgres import Connection
from services.sync import cataloguing, entries, exporting, history_store, items_store
from services.sync.api import past, wording
from services.sync.api.reading import CURSOR, STANDING, etag, moment
from services.sync.api.stats import Query
from services.sync.cataloguing import Dataset, Distribution
from services.sync.citing import Cited
from services.sync.context import ANSWERS, FILES, PAST, POLICY, SETTINGS
from services.sync.entries import COLLECTIONS, Reader
from services.sync.exporting import KINDS, Order
from services.sync.history_store import Position, Shown
from services.sync.items_store import Extent
from services.sync.rendering import File

T = TypeVar("T")


async def export_places(request: web.Request) -> web.StreamResponse:
    """All places as a file, by common id: a database under ODbL-1.0. Endings: geojson, geojsonl, csv, jsonld, parquet.

    A place that has a value under a licence which may not be combined with it, or under none, has no geometry and
    says but its networks, licences and the link where it is read. `Merge-Cursor` says at which position of the log,
    so that reading on after it misses nothing and repeats nothing; with `as_of`, `As-Of` says at which time.
    """
    return await _exported(request, "places")


async def export_etalab(request: web.Request) -> web.StreamResponse:
    """The same under etalab-2.0: of each place what records under etalab-2.0 and CC0-1.0 alone say.

    Places without such a record are not in the file. Of a past place that has changed since, only what one licence
    covered as a whole is.
    """
    return await _exported(request, "places-etalab")


async def _exported(request: web.Request, name: str) -> web.StreamResponse:
    ending = request.match_info["ending"]
    if ending not in KINDS:
        raise NotFound("Files are .geojson, .geojsonl, .csv, .jsonld and .parquet.")
    made, when = await _made(request, name, ending)
    request[CURSOR] = made.stand.cursor
    url, license = request.app[SETTINGS].url.rstrip("/"), COLLECTIONS[name].license
    links = (
        f'<{licenses.address(license)}>; rel="license"',
        f'<{url}/cite>; rel="cite-as"',
        f'<{url}/exports/attribution.txt>; rel="describedby"; type="text/plain"',
    )
    headers = {"Link": ", ".join(links), **({"As-Of": when} if when else {})}
    return files.answer(made, f"{name}.{ending}", KINDS[ending].media, headers)


async def _made(request: web.Request, name: str, ending: str) -> tuple[Made, str | None]:
    """The file, and of which time it is where one was asked for."""
    when = http.asked(request, Query).as_of
    if when is None:
        source = partial(_drafted, request, name, ending, None)
        return await request.app[FILES].latest(f"{name}.{ending}", source), None
    async with moment(request) as conn:
        at = await past.position(conn, request, when)
    source = partial(_drafted, request, name, ending, at)
    made = await request.app[PAST].latest(f"{name}.{ending} {at.epoch}.{at.seq}", source)
    return made, ledger.stamp(at.time)


@asynccontextmanager
async def _drafted(request: web.Request, name: str, ending: str, at: Position | None) -> AsyncIterator[Draft]:
    """The view as it stands, or as it was at a position, as a file to be written."""
    app = request.app
    async with moment(request) as conn:
        stand, cited = await exporting.state(conn, app[SETTINGS], app[POLICY])
        shown = history_store.every_place(conn, entries.CHUNK)
        if at is not None:
            stand, cited = exporting.then(stand, cited, at)
            head = await ledger.current(conn)
            if at.seq < head.size:
                await past.remembered(conn, head, at)
                shown = history_store.every_place_at(conn, head.node, at.seq, entries.CHUNK)
        reader = Reader(app[POLICY].policy, cited.address, KINDS[ending].whole)
        order = Order(COLLECTIONS[name], KINDS[ending], reader)
        yield Draft(stand, partial(_write, conn, order, shown, file(cited, name, ending)))


async def _write(
    conn: Connection, order: Order, shown: AsyncIterator[list[Shown]], about: File, out: BinaryIO
) -> None:
    cited = exporting.licensed(about.cited, await history_store.licenses(conn))
    await exporting.write(conn, order, shown, msgspec.structs.replace(about, cited=cited), out)


def file(cited: Cited, name: str, ending: str) -> File:
    """What is said of a file as a whole, in French."""
    title, license = wording.title(cited.name, "fr", name), COLLECTIONS[name].license
    return File(title, license, f"{cited.address}exports/{name}.{ending}", cited)


async def show_catalogue(request: web.Request) -> web.Response:
    """The files as a DCAT catalogue in JSON-LD: data.gouv.fr and other portals read it by themselves."""
    app = request.app
    async with moment(request) as conn:
        stand, cited = await exporting.state(conn, app[SETTINGS], app[POLICY])
        extent = await once(request, conn, items_store.extent, Extent | None)
    found = [
        Dataset(name, wording.about(name, "fr"), _listed(app, stand, cited, name)) for name in COLLECTIONS
    ]
    contact = app[SETTINGS].contact
    body = msgspec.json.encode(cataloguing.catalogue(cited, found, contact, extent.box if extent else None))
    return http.reply(body, media="application/ld+json", headers={"ETag": etag(body)})


def _listed(app: web.Application, stand: Stand, cited: Cited, name: str) -> tuple[Distribution, ...]:
    """The files of a data set, with their length if they are made already as somebody would get them now."""
    known = {ending: app[FILES].known(f"{name}.{ending}", stand) for ending in KINDS}
    return tuple(
        Distribution(
            file(cited, name, ending),
            ending,
            kind.media,
            made.size if (made := known[ending]) and made.stand.state == stand.state else None,
        )
        for ending, kind in KINDS.items()
    )


async def once(
    request: web.Request, conn: Connection, ask: Callable[[Connection], Awaitable[T]], type: Any
) -> T:
    """What the database answers, of this type, asked once while the view stands where it does."""
    answers, at, key = request.app[ANSWERS], request[STANDING], f"once {ask.__name__}"
    known = answers.find(at, key)
    if known is None:
        known = msgspec.json.encode(await ask(conn))
        answers.keep(at, key, known)
    found: T = msgspec.json.decode(known, type=type)
    return found


FORMS = tuple(kind.media.partition(";")[0] for kind in KINDS.values())
ROUTES = (
    Route("GET", "/exports/places.{ending}", export_places, query=Query, replies={200: FORMS}),
    Route("GET", "/exports/places-etalab.{ending}", export_etalab, query=Query, replies={200: FORMS}),
    Route("GET", "/exports/dcat.jsonld", show_catalogue, replies={200: "application/ld+json"}),
)
