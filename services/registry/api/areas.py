"""`/areas`: named areas that this network publishes, as a polygon or a list of communes."""

from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta, Raw, Struct, structs

from schemas.vocabulary import Area, Polygon
from services import http, ledger
from services.canonical import fold
from services.communes import commune
from services.errors import Fault, Invalid
from services.http import Role, Route
from services.registry import store
from services.registry.api import records
from services.registry.api.records import WithdrawBody
from services.registry.context import POOL
from services.registry.decide import Row, State, Withdraw
from services.routes import IF_UNCHANGED

MOST_BYTES = 44 * 1024


class Listing(Struct, frozen=True):
    """How many areas, and from which page."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    page: str | None = None


class ShownArea(Struct, frozen=True):
    """An area as it stands."""

    id: str
    version: int
    cursor: str
    updated_at: str
    area: Raw


class ListedAreas(Struct, frozen=True):
    """A page of areas; `next` is the token of the next one."""

    areas: list[ShownArea]
    next: str | None


def shown(request: web.Request, row: Row) -> ShownArea:
    """An area as it is served."""
    return ShownArea(
        id=records.full_id(request, row.id),
        version=row.version,
        cursor=row.cursor,
        updated_at=ledger.stamp(row.updated_at),
        area=Raw(row.body),
    )


def check(area: Area) -> None:
    """Invalid unless the area is a closed polygon or known communes."""
    faults: list[Fault] = []
    if not fold(area.name):
        faults.append(Fault("/name", "A name with at least one letter or digit is needed."))
    if (area.geometry is None) == (not area.communes):
        faults.append(Fault("", "An area is either a geometry or a list of communes."))
    if area.geometry is not None and not _closed(area.geometry):
        faults.append(
            Fault("/geometry", "Expected rings of at least four [lon, lat] points, the last like the first.")
        )
    for place, code in enumerate(area.communes):
        if commune(code) is None:
            args = {"code": code}
            faults.append(Fault(f"/communes/{place}", "{code} is not a commune of the official code.", args))
    if len(msgspec.json.encode(area)) > MOST_BYTES:
        faults.append(Fault("", "An area holds at most {limit} bytes.", {"limit": MOST_BYTES}))
    if faults:
        raise Invalid(faults=tuple(faults))


def _closed(shape: Polygon) -> bool:
    polygons: Any = [shape.coordinates] if shape.type == "Polygon" else shape.coordinates
    try:
        rings = [ring for polygon in polygons for ring in polygon]
        return bool(rings) and all(len(r) >= 4 and r[0] == r[-1] and all(map(_point, r)) for r in rings)
    except (TypeError, KeyError, IndexError):
        return False


def _point(point: Any) -> bool:
    """A longitude and a latitude, and perhaps a height."""
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in point)
    return numbers and len(point) in (2, 3) and -180 <= point[0] <= 180 and -90 <= point[1] <= 90


def rounded(area: Area) -> Area:
    """The area with seven decimals of a degree, as all coordinates in the federation have them."""
    if area.geometry is None:
        return area
    shape = structs.replace(area.geometry, coordinates=_decimals(area.geometry.coordinates))
    return structs.replace(area, geometry=shape)


def _decimals(value: Any) -> Any:
    return [_decimals(item) for item in value] if isinstance(value, list) else round(value, 7)


async def name_area(request: web.Request) -> web.Response:
    """Publish a named area; saying the same name anew replaces it."""
    area = await http.read(request, Area)
    check(area)
    body = msgspec.json.encode(rounded(area))
    wish = State(id=records.mint(), body=body)
    answer = await records.written(request, "area", wish, key=fold(area.name))
    headers = {**records.etag(answer.row), "Location": f"/areas/{answer.row.id}"}
    return http.reply(shown(request, answer.row), 201 if answer.created else 200, headers=headers)


async def list_areas(request: web.Request) -> web.Response:
    """Areas in force."""
    asked = http.asked(request, Listing)
    async with request.app[POOL].acquire() as conn:
        rows = await store.listed_others(
            conn, "area", after=records.after_page(asked.page), limit=asked.limit + 1
        )
    page, token = records.paged(rows, asked.limit)
    return http.reply(ListedAreas(areas=[shown(request, r) for r in page], next=token))


async def show_area(request: web.Request) -> web.Response:
    """An area as it stands."""
    row = await records.other(request, records.own_id(request), "area")
    return http.reply(shown(request, row), headers=records.etag(row))


async def withdraw_area(request: web.Request) -> web.Response:
    """Take an area back."""
    id = records.own_id(request)
    version = None if "If-Match" not in request.headers else records.expected_version(request)
    body = await records.withdrawal(request)
    await records.other(request, id, "area")
    wish = Withdraw(id=id, reason=body.reason, successor=None, version=version)
    answer = await records.written(request, "area", wish)
    return http.reply(shown(request, answer.row), headers=records.etag(answer.row))


ROUTES = (
    Route("GET", "/areas", list_areas, query=Listing, replies={200: ListedAreas}),
    Route("POST", "/areas", name_area, body=Area, replies={200: ShownArea, 201: ShownArea}, role=Role.EDITOR),
    Route("GET", "/areas/{id}", show_area, replies={200: ShownArea, 410: None}),
    Route(
        "DELETE",
        "/areas/{id}",
        withdraw_area,
        body=WithdrawBody,
        replies={200: ShownArea, 412: None},
        role=Role.EDITOR,
        headers=(IF_UNCHANGED,),
    ),
)
