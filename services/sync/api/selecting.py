"""Which places a query asks for: the same parameters for lists, maps, counts and tiles."""

from collections.abc import Sequence
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Struct

from schemas.place import AnyCode, License, Status
from schemas.subscription import Departement
from services.errors import Fault, Malformed
from services.postgres import Connection
from services.sync import cql, searching, spoken
from services.sync.context import TRUST
from services.sync.items import QUERYABLES
from services.sync.items_store import Asked, Near
from services.sync.outlines import Box, box
from services.sync.spans import Span, span

Text = Annotated[str, Meta(max_length=1000)]
Short = Annotated[str, Meta(max_length=200)]
Condition = Annotated[str, Meta(max_length=cql.MOST)]
Ids = Annotated[tuple[str, ...], Meta(max_length=1000)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Year = Annotated[int, Meta(ge=0, le=9999)]


class Filters(Struct, frozen=True):
    """Which places. Within one parameter any of several values will do; all parameters have to fit."""

    bbox: Annotated[
        tuple[float, ...] | None,
        Meta(description="West, south, east, north in degrees; west beyond east crosses the antimeridian."),
    ] = None
    datetime: Annotated[
        Short | None,
        Meta(
            description="When a network last said something: a time, a date, or two with a `/` and `..` for open."
        ),
    ] = None
    ids: Annotated[Ids | None, Meta(description="Record ids; any id of a place finds it.")] = None
    network: Annotated[
        tuple[str, ...], Meta(description="Networks, by node id or by our name for them.")
    ] = ()
    family: Annotated[tuple[AnyCode, ...], Meta(description="Shared landmarks, like `coworking`.")] = ()
    type: Annotated[
        tuple[AnyCode, ...],
        Meta(
            description="Words of networks with those close to them, like `mon-reseau:atelier`, or `commun:fablab`."
        ),
    ] = ()
    status: Annotated[tuple[Status, ...], Meta(description="How it goes with the place.")] = ()
    area: Annotated[Short | None, Meta(description="A named area, by its id or its name: see `/areas`.")] = (
        None
    )
    insee: Annotated[tuple[str, ...], Meta(description="INSEE codes of communes.")] = ()
    departement: Annotated[tuple[Departement, ...], Meta(description="Codes of départements.")] = ()
    label: Annotated[tuple[AnyCode, ...], Meta(description="Codes of labels.")] = ()
    license: Annotated[
        tuple[License, ...],
        Meta(description="Only places with a record under one of these, and only what those records say."),
    ] = ()
    q: Annotated[
        Short | None,
        Meta(
            description="Words of names, city or summary: without accents, in any form, with a typing mistake or two."
        ),
    ] = None
    near: Annotated[
        tuple[float, float, float] | None,
        Meta(description="Latitude, longitude, and how many kilometres around."),
    ] = None
    filter: Annotated[Condition | None, Meta(description="A condition in CQL2 text.")] = None
    name: Annotated[Text | None, Meta(description=QUERYABLES["name"].description)] = None
    kind: Annotated[Text | None, Meta(description=QUERYABLES["kind"].description)] = None
    families: Annotated[Text | None, Meta(description=QUERYABLES["families"].description)] = None
    types: Annotated[Text | None, Meta(description=QUERYABLES["types"].description)] = None
    services: Annotated[Text | None, Meta(description=QUERYABLES["services"].description)] = None
    labels: Annotated[Text | None, Meta(description=QUERYABLES["labels"].description)] = None
    postcode: Annotated[Text | None, Meta(description=QUERYABLES["postcode"].description)] = None
    city: Annotated[Text | None, Meta(description=QUERYABLES["city"].description)] = None
    country: Annotated[Text | None, Meta(description=QUERYABLES["country"].description)] = None
    precision: Annotated[Text | None, Meta(description=QUERYABLES["precision"].description)] = None
    opened_year: Annotated[Year | None, Meta(description=QUERYABLES["opened_year"].description)] = None
    closed_year: Annotated[Year | None, Meta(description=QUERYABLES["closed_year"].description)] = None
    networks: Annotated[Text | None, Meta(description=QUERYABLES["networks"].description)] = None
    licenses: Annotated[Text | None, Meta(description=QUERYABLES["licenses"].description)] = None
    voices: Annotated[Count | None, Meta(description=QUERYABLES["voices"].description)] = None
    updated: Annotated[Short | None, Meta(description=QUERYABLES["updated"].description)] = None


# Flat properties that are compared as they stand; the rest have parameters of their own.
EQUAL = tuple(
    name
    for name in QUERYABLES
    if name in Filters.__struct_fields__ and name not in ("status", "insee", "departement", "updated")
)


def mistake(where: str, what: str, args: Any = None) -> Malformed:
    """A parameter that is well formed and cannot be meant."""
    return Malformed("The query is not right.", faults=(Fault(where, what, args or {}),))


async def selection(request: web.Request, conn: Connection, filters: Filters) -> Asked:
    """The places that a query asks for; Malformed where it cannot be meant."""
    since, until = _span(filters)
    return Asked(
        ids=filters.ids,
        networks=networks(request, filters.network),
        families=filters.family,
        statuses=filters.status,
        departements=filters.departement,
        insee=filters.insee,
        labels=filters.label,
        licenses=filters.license,
        words=await spoken.meant(conn, filters.type) if filters.type else None,
        box=_box(filters.bbox),
        area=await spoken.area(conn, filters.area) if filters.area is not None else None,
        near=_near(filters.near),
        since=since,
        until=until,
        text=await searching.query(conn, filters.q) if filters.q is not None else None,
        equal=tuple((name, value) for name in EQUAL if (value := getattr(filters, name)) is not None),
        condition=cql.parse(filters.filter) if filters.filter is not None else None,
    )


def networks(request: web.Request, names: Sequence[str]) -> tuple[str, ...]:
    """Node ids of networks given by id or by our name for them."""
    known = {node.alias: node.node for node in request.app[TRUST].now.nodes}
    return tuple(known.get(name, name) for name in names)


def _box(numbers: Sequence[float] | None) -> Box | None:
    if numbers is None:
        return None
    if len(numbers) not in (4, 6):
        raise mistake("bbox", "A bbox has 4 or 6 numbers.")
    found = box(numbers)
    if found is None:
        raise mistake("bbox", "A bbox is west,south,east,north in degrees, south not above north.")
    return found


def _near(given: tuple[float, float, float] | None) -> Near | None:
    if given is None:
        return None
    lat, lon, km = given
    if abs(lat) > 90 or abs(lon) > 180 or not 0 < km <= 20_100:
        raise mistake(
            "near", "Write latitude,longitude,kilometres: degrees, then more than 0 and at most 20100."
        )
    return Near(lat, lon, km)


def _span(filters: Filters) -> Span:
    """When something was last said, by both parameters that ask for it."""
    spans = [
        _spanned(name, text)
        for name in ("datetime", "updated")
        if (text := getattr(filters, name)) is not None
    ]
    since = max((each for each, _ in spans if each), default=None)
    until = min((each for _, each in spans if each), default=None)
    return since, until


def _spanned(name: str, text: str) -> Span:
    found = span(text)
    if found is None:
        raise mistake(
            name, "Write a time like 2026-01-31T12:00:00Z, a date, or two with a / between, .. for open."
        )
    return found
