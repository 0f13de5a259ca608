"""Which places a query asks for: the same parameters for lists, maps, counts and tiles."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from aiohttp import web
from msgspec import Meta, Struct

from schemas.place import AnyCode, License, Status
from services.errors import Fault, Malformed
from services.postgres import Connection
from services.sync import cql, crs, outlines, searching, spoken
from services.sync.context import TRUST
from services.sync.items import QUERYABLES
from services.sync.items_store import Asked, Near, Within
from services.sync.observing import Field
from services.sync.outlines import Box
from services.sync.spans import Span, span

Text = Annotated[str, Meta(max_length=1000)]
Short = Annotated[str, Meta(max_length=200)]
Condition = Annotated[str, Meta(max_length=cql.MOST)]
Ids = Annotated[tuple[str, ...], Meta(max_length=1000)]
Count = Annotated[int, Meta(ge=0, le=10**9)]
Year = Annotated[int, Meta(ge=0, le=9999)]


RENAMED = {"bbox_crs": "bbox-crs", "filter_crs": "filter-crs", "filter_lang": "filter-lang"}


class Filters(Struct, frozen=True, rename=RENAMED):
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
    departement: Annotated[tuple[str, ...], Meta(description="Codes of départements.")] = ()
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
    said: Annotated[
        tuple[Field, ...], Meta(description="Fields of which something is said, all of them.")
    ] = ()
    unsaid: Annotated[tuple[Field, ...], Meta(description="Fields of which nothing is said.")] = ()
    verified: Annotated[
        Short | None,
        Meta(description="When it was last checked: a date, or two with a `/` and `..` for open."),
    ] = None
    filter: Annotated[Condition | None, Meta(description="A condition in CQL2 text.")] = None
    bbox_crs: Annotated[crs.System, Meta(description="The reference system of `bbox`.")] = crs.CRS84
    filter_crs: Annotated[crs.System, Meta(description="The reference system of shapes in `filter`.")] = (
        crs.CRS84
    )
    filter_lang: Annotated[Literal["cql2-text"], Meta(description="The language of `filter`.")] = "cql2-text"
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
    box, drawn = _box(filters.bbox, filters.bbox_crs)
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
        box=box,
        areas=(*drawn, *([await spoken.area(conn, filters.area)] if filters.area is not None else ())),
        near=_near(filters.near),
        since=since,
        until=until,
        said=filters.said,
        unsaid=filters.unsaid,
        verified=_spanned("verified", filters.verified) if filters.verified is not None else (None, None),
        text=await searching.query(conn, filters.q) if filters.q is not None else None,
        equal=tuple((name, value) for name in EQUAL if (value := getattr(filters, name)) is not None),
        condition=cql.parse(filters.filter, filters.filter_crs) if filters.filter is not None else None,
    )


def networks(request: web.Request, names: Sequence[str]) -> tuple[str, ...]:
    """Node ids of networks given by id or by our name for them."""
    known = {node.alias: node.node for node in request.app[TRUST].now.nodes}
    return tuple(known.get(name, name) for name in names)


def _box(numbers: Sequence[float] | None, system: str) -> tuple[Box | None, tuple[Within, ...]]:
    """A box in degrees, or as it is drawn on the globe where it is one of a projection."""
    if numbers is None:
        return None, ()
    if len(numbers) not in (4, 6):
        raise mistake("bbox", "A bbox has 4 or 6 numbers.")
    if system in crs.PROJECTED:
        outline = crs.drawn(system, outlines.flat(numbers))
        if outline is None:
            raise mistake("bbox", "This box lies outside of its reference system.")
        return None, (Within(crs.inside(outline), (outline,)),)
    found = outlines.box(crs.turned(system, outlines.flat(numbers)))
    if found is None:
        raise mistake("bbox", "A bbox is west,south,east,north in degrees, south not above north.")
    return found, ()


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
