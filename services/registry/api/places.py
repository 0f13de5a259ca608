"""`/places`: what this network says of its places."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Raw, Struct, structs

from schemas import event
from schemas.event import Event
from schemas.place import Place, Status
from services import http, ledger, ledger_store
from services.answers import Reader
from services.canonical import fold
from services.errors import Fault, Invalid, NotFound
from services.http import Role, Route
from services.ledger_store import Written
from services.places import Checked, check
from services.postgres import Pool
from services.registry import decide, rendering, store
from services.registry.api import records
from services.registry.api.records import Warned, WithdrawBody
from services.registry.context import NODE, POOL, SETTINGS
from services.registry.decide import Change, Open, Put, Reopen, Row, Withdraw
from services.registry.exporting import stored_place
from services.routes import IF_MATCH, IF_MATCH_OR_NEW, IF_NEW, ONCE

MERGE_PATCH = "application/merge-patch+json"
GEOJSON = "application/geo+json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
# Versions of a place that are read together.
AT_ONCE = 50


class Opening(Struct, frozen=True):
    """Whether a near duplicate is meant."""

    duplicate: Literal["accept"] | None = None


class Listing(Struct, frozen=True):
    """Which places to list. `bbox`: west, south, east, north in degrees; `q`: words, accent-blind."""

    status: Status | None = None
    family: str | None = None
    insee: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    q: Annotated[str, Meta(max_length=200)] | None = None
    updated_since: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: str | None = None


class WrittenPlace(Struct, frozen=True):
    """A place after a change: its id, version, place in the log, content, and doubts about it."""

    id: str
    version: int
    cursor: str
    place: Raw
    warnings: list[Warned] = []


class ShownPlace(Struct, frozen=True):
    """A place as it stands."""

    id: str
    version: int
    cursor: str
    updated_at: str
    place: Raw


class Listed(Struct, frozen=True):
    """A page of places; `next` is the token of the next one."""

    places: list[ShownPlace]
    next: str | None


class Difference(Struct, frozen=True):
    """What a field was and became; null where it was not there."""

    before: Raw
    after: Raw


class Version(Struct, frozen=True):
    """One version of a place: where it stands, when and by what role it was written, and what changed.

    Of an `erased` one it is not known any more.
    """

    version: int
    cursor: str
    time: str
    type: str
    role: str
    changed: dict[str, Difference]
    erased: bool = False


class History(Struct, frozen=True):
    """All versions of a place, oldest first."""

    id: str
    versions: list[Version]


def checked(request: web.Request, place: Place) -> Checked:
    """The tidied place with its doubts; Invalid with every mistake."""
    found = check(place, today=datetime.now(UTC).date(), home_license=request.app[SETTINGS].license)
    if found.faults:
        raise Invalid(faults=found.faults)
    return structs.replace(found, place=_by_network(found.place))


def _by_network(place: Place) -> Place:
    """Who verified a place is told by the way of writing: here it is the network, whatever was sent."""
    return structs.replace(place, verified_by="network" if place.verified_on else None)


def shown(request: web.Request, row: Row) -> ShownPlace:
    """A place as it is served."""
    return ShownPlace(
        id=records.full_id(request, row.id),
        version=row.version,
        cursor=row.cursor,
        updated_at=ledger.stamp(row.updated_at),
        place=Raw(row.body),
    )


def said(request: web.Request, row: Row, found: Checked | None = None, status: int = 200) -> web.Response:
    """The answer to a change."""
    answer = WrittenPlace(
        id=records.full_id(request, row.id),
        version=row.version,
        cursor=row.cursor,
        place=Raw(row.body),
        warnings=records.warned(request, found.warnings) if found else [],
    )
    headers = records.etag(row)
    if status == 201:
        headers["Location"] = f"/places/{row.id}"
    return http.reply(answer, status, headers=headers)


async def open_place(request: web.Request) -> web.Response:
    """Add a place to the network.

    Refused with the candidates when an own place of the same name is near, unless `duplicate=accept`.
    A repeated `Idempotency-Key` gets the first answer for 24 hours.
    """
    body = await http.body(request)
    found = checked(request, http.decode_strict(body, Place))
    accept = http.asked(request, Opening).duplicate == "accept"
    wish = Open(
        id=records.mint(),
        body=msgspec.json.encode(found.place),
        place=None if accept else found.place,
    )
    answer = await records.written(request, "place", wish, once=records.once(request, body))
    row = answer.row if answer.repeated is None else await first_answer(request, answer.repeated)
    return said(request, row, found, 201)


async def first_answer(request: web.Request, seq: int) -> Row:
    """The place as it was when this request was answered before."""
    async with request.app[POOL].acquire() as conn:
        written = await ledger_store.event(conn, seq)
    if written is None or written.erased:
        raise NotFound("What this request made has been erased.")
    made = msgspec.json.decode(written.raw, type=Event)
    return Row(
        id=made.subject.rpartition(":")[2],
        version=written.version,
        epoch=written.epoch,
        seq=written.seq,
        updated_at=written.time,
        body=bytes(made.data),
    )


async def stored(request: web.Request, id: str) -> Row:
    """The place as it stands; Gone or NotFound."""
    async with request.app[POOL].acquire() as conn:
        row = (await store.rows(conn, [id])).get(id)
    if row is None:
        raise NotFound("This network has no such place.")
    if row.withdrawn is not None:
        raise decide.gone(row)
    return row


async def show_place(request: web.Request) -> web.Response:
    """A place as it stands."""
    row = await stored(request, records.own_id(request))
    return http.reply(shown(request, row), headers=records.etag(row))


async def put_place(request: web.Request) -> web.Response:
    """Replace a place, or with `If-None-Match: *` create it under your own UUIDv7."""
    id = records.own_id(request)
    creates = records.creates(request)
    version = None if creates else records.expected_version(request)
    found = checked(request, await http.read(request, Place))
    body = msgspec.json.encode(found.place)
    if creates:
        if not decide.UUID7.fullmatch(id):
            raise Invalid(faults=(Fault("", "A new place needs a UUID of version 7."),))
        answer = await records.written(request, "place", Put(id=id, body=body))
    else:
        answer = await records.written(request, "place", Change(id=id, body=body, version=version))
    return said(request, answer.row, found, 201 if answer.created else 200)


async def patch_place(request: web.Request) -> web.Response:
    """Change some fields (RFC 7396); those not named keep their bytes."""
    version = records.expected_version(request)
    patch = await http.body(request)
    if not isinstance(http.parse_strict(patch), dict):
        raise Invalid(faults=(Fault("", "Expected an object."),))
    row = await stored(request, records.own_id(request))
    if version is not None and version != row.version:
        raise decide.stale(row, version)
    place = http.decode_strict(decide.patched(row.body, patch), Place)
    found = checked(request, place)
    # Bound to the version that was patched, so that `If-Match: *` cannot undo what came in between.
    bound = row.version if version is None else version
    wish = Change(id=row.id, body=msgspec.json.encode(found.place), version=bound)
    answer = await records.written(request, "place", wish)
    return said(request, answer.row, found)


async def withdraw_place(request: web.Request) -> web.Response:
    """Take a place back. It leaves a tombstone and may come back under its id."""
    version = records.expected_version(request)
    id = records.own_id(request)
    body = await records.withdrawal(request)
    wish = Withdraw(id=id, reason=body.reason, successor=body.successor, version=version)
    answer = await records.written(request, "place", wish)
    return said(request, answer.row)


async def reopen_place(request: web.Request) -> web.Response:
    """Bring a withdrawn place back under its id, as it was."""
    answer = await records.written(request, "place", Reopen(id=records.own_id(request)))
    return said(request, answer.row)


async def show_history(request: web.Request) -> web.StreamResponse:
    """Every version of a place, with what changed and by what role."""
    id = records.full_id(request, records.own_id(request))
    told = versions(request.app[POOL], id)
    first = await anext(told, None)
    if first is None or first.type not in event.OF_PLACES:
        raise NotFound("This network has no such place.")
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    reader = Reader(response)
    await reader.tell(b'{"id":%b,"versions":[%b' % (msgspec.json.encode(id), msgspec.json.encode(first)))
    async for version in told:
        await reader.tell(b"," + msgspec.json.encode(version))
    await reader.tell(b"]}")
    await response.write_eof()
    return response


async def versions(pool: Pool, id: str) -> AsyncIterator[Version]:
    """The versions of a place, some at a time: a slow reader holds up no connection to the database."""
    before: Mapping[str, Raw] = {}
    last = 0
    while True:
        async with pool.acquire() as conn:
            some = await ledger_store.written(conn, id, after=last, limit=AT_ONCE)
        for one in some:
            said = one.type == event.PLACE_PUT and not one.erased
            after = decide.members(bytes(msgspec.json.decode(one.raw, type=Event).data)) if said else {}
            yield _version(one, before, after)
            before, last = after, one.version
        if len(some) < AT_ONCE:
            return


NULL = Raw(b"null")


def _version(one: Written, before: Mapping[str, Raw], after: Mapping[str, Raw]) -> Version:
    names = [*before, *(f for f in after if f not in before)]
    changed = {
        f: Difference(before.get(f, NULL), after.get(f, NULL)) for f in names if before.get(f) != after.get(f)
    }
    return Version(
        version=one.version,
        cursor=f"{one.epoch}.{one.seq}",
        time=ledger.stamp(one.time),
        type=one.type,
        role=one.author.partition(":")[0],
        changed={} if one.erased else changed,
        erased=one.erased,
    )


def selection(listing: Listing) -> store.Asked:
    """The places that a query asks for."""
    if listing.bbox is not None:
        west, south, east, north = listing.bbox
        if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
            fault = Fault("bbox", "A bbox is west,south,east,north in degrees, south not above north.")
            raise records.query_mistake(fault)
    return store.Asked(
        statuses=(listing.status,) if listing.status else (),
        families=(listing.family,) if listing.family else (),
        insee=listing.insee,
        bbox=listing.bbox,
        words=tuple(fold(listing.q or "").split()),
        updated_since=_moment(listing.updated_since),
        after=records.after_page(listing.page),
        limit=listing.limit + 1,
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        fault = Fault("updated_since", "A time looks like 2026-01-31T12:00:00Z.")
        raise records.query_mistake(fault) from None


async def list_places(request: web.Request) -> web.Response:
    """Places in force, as JSON, GeoJSON, CSV or NDJSON by the `Accept` header."""
    asked = http.asked(request, Listing)
    async with request.app[POOL].acquire() as conn:
        rows = await store.listed(conn, selection(asked))
    page, token = records.paged(rows, asked.limit)
    headers = {"Vary": "Accept"}
    if token:
        following = request.rel_url.update_query(page=token)
        headers["Link"] = f'<{following}>; rel="next"'
    media = records.preferred(request, ("application/json", GEOJSON, CSV, NDJSON))
    if media == "application/json":
        listed = Listed(places=[shown(request, r) for r in page], next=token)
        return http.reply(listed, headers=headers)
    return http.reply(_rendered(request, page, media), media=media, headers=headers)


def _rendered(request: web.Request, rows: Sequence[Row], media: str) -> bytes:
    places = [stored_place(request.app[NODE], r) for r in rows]
    writer = {GEOJSON: rendering.geojson, CSV: rendering.csv, NDJSON: rendering.ndjson}[media]
    return b"".join(writer(places))


REPLIES = {200: WrittenPlace}
ROUTES = (
    Route("GET", "/places", list_places, query=Listing, replies={200: (Listed, GEOJSON, CSV, NDJSON)}),
    Route(
        "POST",
        "/places",
        open_place,
        query=Opening,
        body=Place,
        replies={201: WrittenPlace, 409: None},
        role=Role.EDITOR,
        headers=(ONCE,),
    ),
    Route("GET", "/places/{id}", show_place, replies={200: ShownPlace, 410: None}),
    Route(
        "PUT",
        "/places/{id}",
        put_place,
        body=Place,
        replies={**REPLIES, 201: WrittenPlace, 412: None, 428: None},
        role=Role.EDITOR,
        headers=(IF_MATCH_OR_NEW, IF_NEW),
    ),
    Route(
        "PATCH",
        "/places/{id}",
        patch_place,
        body=dict[str, Any],
        body_type=MERGE_PATCH,
        replies={**REPLIES, 412: None, 428: None},
        role=Role.EDITOR,
        headers=(IF_MATCH,),
    ),
    Route(
        "DELETE",
        "/places/{id}",
        withdraw_place,
        body=WithdrawBody,
        replies={**REPLIES, 412: None, 428: None},
        role=Role.EDITOR,
        headers=(IF_MATCH,),
    ),
    Route("POST", "/places/{id}/reopen", reopen_place, replies=REPLIES, role=Role.EDITOR),
    Route("GET", "/places/{id}/history", show_history, replies={200: History}),
)
