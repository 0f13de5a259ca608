"""`/stats`: how many places the view has, now or at a past time."""

from collections.abc import Mapping

from aiohttp import web
from msgspec import Struct

from services import http, ledger
from services.http import Route
from services.ledger_http import LEDGER, turn
from services.parameters import Time
from services.postgres import Connection
from services.sync import history_store
from services.sync.api import past
from services.sync.api.past import AsOf
from services.sync.api.reading import CURSOR, moment
from services.sync.history_store import Counts


class Query(Struct, frozen=True):
    """When: an RFC 3339 time, or a date for that whole day in UTC; without it, now."""

    as_of: Time | None = None


class Unsaid(Struct, frozen=True):
    """Places that say none."""

    family: int
    departement: int


class Stats(Struct, frozen=True):
    """Places in all, and by network, family, status and département: one may be of several networks or families.

    `without`: places that have none. `erased`: places of that time of which no more is known than that they were;
    they are in no other number.
    """

    as_of: AsOf
    places: int
    networks: Mapping[str, int]
    families: Mapping[str, int]
    statuses: Mapping[str, int]
    departements: Mapping[str, int]
    without: Unsaid
    erased: int


async def show_stats(request: web.Request) -> web.Response:
    """How many places there are: in all, by network, family, status and département."""
    when = http.asked(request, Query).as_of
    if when is None:
        async with moment(request) as conn:
            return http.reply(_stats(*await _now(conn, request)))
    # A long way back is long work: few do it at a time.
    async with turn(request.app[LEDGER]), moment(request) as conn:
        return http.reply(_stats(*await _then(conn, request, when)))


async def _now(conn: Connection, request: web.Request) -> tuple[AsOf, Counts]:
    last = await history_store.last(conn)
    as_of = past.as_of(last) if last else AsOf(request[CURSOR], None)
    return as_of, await history_store.counts(conn)


async def _then(conn: Connection, request: web.Request, when: str) -> tuple[AsOf, Counts]:
    at = await past.position(conn, request, when)
    head = await ledger.current(conn)
    if at.seq == head.size:
        return past.as_of(at), await history_store.counts(conn)
    await past.remembered(conn, head, at)
    return past.as_of(at), await history_store.counts_at(conn, head.node, at.seq)


def _stats(as_of: AsOf, counts: Counts) -> Stats:
    by: dict[str, dict[str, int]] = {"networks": {}, "families": {}, "statuses": {}, "departements": {}}
    for (what, name), number in counts.items():
        if what in by and name is not None:
            by[what][name] = number
    return Stats(
        as_of=as_of,
        places=counts.get(("places", "false"), 0),
        **by,
        without=Unsaid(counts.get(("families", None), 0), counts.get(("departements", None), 0)),
        erased=counts.get(("places", "true"), 0),
    )


ROUTES = (Route("GET", "/stats", show_stats, query=Query, replies={200: Stats}),)
