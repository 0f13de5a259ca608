"""`/stats`: how many places the view has, now or at a past time, by what is said of them."""

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from services import http, ledger, pages
from services.errors import NotFound
from services.languages import Language
from services.ledger_http import LEDGER, turn
from services.parameters import Time
from services.postgres import Connection
from services.routes import Route
from services.sync import history_store, items_store, observing, spoken, stats_store, tabulating
from services.sync.api import past, points
from services.sync.api.reading import CURSOR, STANDING, Form, Make, kept, made, moment
from services.sync.api.selecting import RENAMED, Filters, mistake, selection
from services.sync.context import ANSWERS, SETTINGS
from services.sync.items_store import Asked
from services.sync.observing import AsOf, Coverage, Freshness, Records, Stats, Unsaid
from services.sync.stats_store import Count
from services.sync.tabulating import TABLES, Words

CSV = "text/csv; charset=utf-8; header=present"
# What events of the past tell of places, so that one can choose by it.
OF_THE_PAST = ("network", "family", "status", "departement", "label")
# Each costs a look at the places.
MOST_AREAS = 50


class Query(Struct, frozen=True):
    """When: an RFC 3339 time, or a date for that whole day in UTC; without it, now."""

    as_of: Time | None = None


class Counted(Filters, frozen=True, rename=RENAMED):
    """Which places are counted, and when: an RFC 3339 time, or a date for that whole day in UTC; without it, now.

    Of the past one can choose by network, family, status, departement and label.
    """

    as_of: Time | None = None


async def show_stats(request: web.Request) -> web.Response:
    """How many places there are, by what they say, when they opened and closed, what is known and how fresh it is."""
    query = http.asked(request, Counted)

    async def answer(conn: Connection) -> bytes:
        return msgspec.json.encode(await counted(request, conn, query))

    return await told(request, query, answer)


async def show_table(request: web.Request) -> web.Response:
    """One of these tables as CSV (RFC 4180) under a heading; each line says who computed it, at which position."""
    query, name = http.asked(request, Counted), request.match_info["table"]
    if name not in TABLES:
        raise NotFound("There is no such table; there are {names}.", {"names": ", ".join(TABLES)})
    language = pages.spoken(request)

    async def answer(conn: Connection) -> bytes:
        stats = await counted(request, conn, query)
        who = (request.app[SETTINGS].name, stats.as_of.cursor, stats.as_of.time or "")
        return tabulating.csv(TABLES[name](stats, await words(conn, language)), who)

    response = await told(request, query, answer, Form(media=CSV, language=language))
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.csv"'
    return response


async def words(conn: Connection, language: Language) -> Words:
    """What people call networks, words and areas."""
    areas = dict(await spoken.titles(conn))
    return Words(language, await points.networks(conn), await spoken.labels(conn, language), areas)


async def told(request: web.Request, query: Counted, make: Make, form: Form | None = None) -> web.Response:
    """An answer of now, which is kept while the view stands where it does, or of the past."""
    form = form or Form()
    if query.as_of is None:
        return await kept(request, make, form)
    # A long way back is long work: few do it at a time.
    async with turn(request.app[LEDGER]), moment(request) as conn:
        body = await made(make, conn)
    response = web.Response(body=body, headers=form.headers(""))
    del response.headers["ETag"]
    return response


async def counted(request: web.Request, conn: Connection, query: Counted) -> Stats:
    """What is counted of these places: once while the view stands where it does."""
    answers, at, key = request.app[ANSWERS], request[STANDING], f"stats {query!r}"
    if (known := answers.find(at, key)) is not None:
        found = msgspec.msgpack.decode(known, type=Stats)
    else:
        asked = await selection(request, conn, query)
        found = await (_now(conn, asked) if query.as_of is None else _then(request, conn, query, asked))
        answers.keep(at, key, msgspec.msgpack.encode(found))
    if query.as_of is not None:
        request[CURSOR] = found.as_of.cursor
    return found


async def _now(conn: Connection, asked: Asked, day: date | None = None) -> Stats:
    last = await history_store.last(conn)
    head = await ledger.current(conn)
    as_of = past.as_of(last) if last else AsOf(f"{head.epoch}.{head.size}", None)
    found = _stats(as_of, await stats_store.counts(conn, asked), day or (last.time.date() if last else None))
    return structs.replace(
        found,
        areas=await _areas(conn, asked),
        coverage=structs.replace(found.coverage, networks=await _records(conn, asked)),
    )


async def _then(request: web.Request, conn: Connection, query: Counted, asked: Asked) -> Stats:
    at = await past.position(conn, request, query.as_of or "")
    # Before midnight, where a day is meant.
    head, day = await ledger.current(conn), (past.until(query.as_of or "") - past.LAST).date()
    if at.seq == head.size:
        return await _now(conn, asked, day)
    _refuse_the_rest(query)
    await past.remembered(conn, head, at)
    found = _stats(past.as_of(at), await stats_store.counts_at(conn, head.node, at.seq, asked), day)
    return structs.replace(found, licenses=None)


def _refuse_the_rest(query: Counted) -> None:
    """The log tells of a place what changes are filtered by, and no more that one could choose by."""
    for name in Filters.__struct_fields__:
        if name not in OF_THE_PAST and getattr(query, name) != getattr(Filters(), name):
            what = "Of the past one can choose by {names} only."
            raise mistake(RENAMED.get(name, name), what, {"names": ", ".join(OF_THE_PAST)})


async def _areas(conn: Connection, asked: Asked) -> dict[str, int]:
    """How many of these places lie in each named area."""
    found = {}
    for named in (await spoken.areas(conn))[:MOST_AREAS]:
        within = items_store.Within(polygons=named.polygons, communes=named.area.communes)
        inside = structs.replace(asked, areas=(*asked.areas, within))
        found[named.record] = await items_store.matched(conn, inside)
    return found


async def _records(conn: Connection, asked: Asked) -> dict[str, Records]:
    """What the records of each network say in these places."""
    said: dict[str, dict[str | None, int]] = {}
    for each in await stats_store.heard(conn, asked):
        said.setdefault(each.network, {})[each.field] = each.n
    return {
        network: Records(by[None], {field: by.get(field, 0) for field in observing.COVERED})
        for network, by in said.items()
    }


def _stats(as_of: AsOf, counts: Sequence[Count], today: date | None) -> Stats:
    by: dict[str, dict[str | None, int]] = {name: {} for name in (*stats_store.LISTS, *stats_store.ONES)}
    for each in counts:
        by[each.what][each.name] = each.n
    return Stats(
        as_of=as_of,
        places=sum(by["status"].values()),
        networks=_named(by["networks"]),
        families=_named(by["families"]),
        types=_named(by["types"]),
        labels=_named(by["labels"]),
        statuses=_named(by["status"]),
        departements=_named(by["departement"]),
        licenses=_named(by["licenses"]),
        areas=None,
        without=Unsaid(*(by[name].get(None, 0) for name in ("families", "types", "labels", "departement"))),
        erased=by["erased"].get("true", 0),
        openings=observing.dated(_dates(by["opened"])),
        closings=observing.dated(_dates(by["closed"])),
        coverage=Coverage({field: by["said"].get(field, 0) for field in observing.COVERED}, None),
        freshness=_freshness(by["verified_on"], by["updated_on"], today),
    )


def _named(numbers: Mapping[str | None, int]) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if name is not None}


def _dates(numbers: Mapping[str | None, int]) -> list[tuple[str, int]]:
    """Partial dates; of places of which none is to be expected, none."""
    return [(day, number) for day, number in numbers.items() if day is not None]


def _freshness(
    verified: Mapping[str | None, int], updated: Mapping[str | None, int], today: date | None
) -> Freshness:
    if today is None:
        return Freshness(None, {}, {})
    return Freshness(today, observing.aged(verified.items(), today), observing.aged(updated.items(), today))


ROUTES = (
    Route("GET", "/stats", show_stats, query=Counted, replies={200: Stats}),
    Route("GET", "/stats/{table}.csv", show_table, query=Counted, replies={200: CSV}),
)
