"""Every SQL statement by which places of the view are chosen, counted and listed, one function each."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import asin, cos, degrees, radians, sin
from typing import Any, assert_never

import asyncpg
from msgspec import Struct, convert

from services.postgres import Connection
from services.sync.cql import (
    Between,
    Compare,
    Condition,
    Constant,
    Either,
    Every,
    In,
    IsNull,
    Like,
    Not,
    Touches,
)
from services.sync.outlines import Box, Ring
from services.sync.spans import Span

Value = str | int | float | datetime
# The mean radius of the earth.
EARTH_KM = 6371.0088


class Near(Struct, frozen=True):
    """A point, in degrees, and how far around it, in kilometres."""

    lat: float
    lon: float
    km: float


class Within(Struct, frozen=True):
    """An area: boxes and polygons, each an outer ring and its holes, or communes by INSEE code."""

    boxes: tuple[Box, ...] = ()
    polygons: tuple[tuple[Ring, ...], ...] = ()
    communes: tuple[str, ...] = ()


class Words(Struct, frozen=True):
    """The words of networks that are meant, and the shared landmarks."""

    types: tuple[str, ...]
    families: tuple[str, ...]


class Order(Struct, frozen=True):
    """By what places are listed, before their common id: a key of `KEYS`, upwards unless `down`."""

    key: str
    down: bool = False


class Asked(Struct, frozen=True):
    """Which places a list shows. Empty means all.

    `text` is a tsquery; `box` west, south, east, north; `since` and `until` bound when a network last said something,
    both included, `verified` when it was last checked; `said` are fields of which something is said, `unsaid` those of
    which nothing is; `equal` what flat properties are.
    """

    ids: tuple[str, ...] | None = None
    networks: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    departements: tuple[str, ...] = ()
    insee: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    words: Words | None = None
    box: Box | None = None
    areas: tuple[Within, ...] = ()
    near: Near | None = None
    since: datetime | None = None
    until: datetime | None = None
    said: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    verified: Span = (None, None)
    text: str | None = None
    equal: tuple[tuple[str, Value], ...] = ()
    condition: Condition | None = None


class Page(Struct, frozen=True):
    """Where in a list to begin, and how many places; `after`: the keys of the place before, its id the last."""

    order: tuple[Order, ...] = ()
    after: tuple[Value, ...] | None = None
    offset: int = 0
    limit: int = 100


class Row(Struct, frozen=True):
    """A place of a list: its common id, its flat feature, and the values it is sorted by, its id the last."""

    id: str
    item: bytes
    keys: tuple[Any, ...]


class Spot(Struct, frozen=True):
    """A place as a map shows it."""

    lon: float
    lat: float
    id: str
    name: str
    status: str
    families: str


class Extent(Struct, frozen=True):
    """A box in degrees around places, and when something was first and last said of one."""

    west: float
    south: float
    east: float
    north: float
    since: datetime
    until: datetime

    @property
    def box(self) -> Box:
        """West, south, east, north."""
        return self.west, self.south, self.east, self.north


class Clauses:
    """The conditions of a statement, and their arguments by number."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = list(arguments)
        self._parts: list[str] = []

    def argument(self, value: Any) -> str:
        """The placeholder of a value."""
        self.arguments.append(value)
        return f"${len(self.arguments)}"

    def add(self, clause: str) -> None:
        """One more condition, which has to hold beside the others."""
        self._parts.append(clause)

    def __str__(self) -> str:
        return " AND ".join(f"({part})" for part in self._parts) or "true"


# --- what is chosen ---------------------------------------------------------------------------------------


def chosen(asked: Asked, *arguments: Any) -> Clauses:
    """The conditions of a list, only those that are asked for: so that each can be planned for what it is.

    `arguments` are those of the statement around it, the first by number.
    """
    found = Clauses(*arguments)
    for add in (_by_lists, _by_place, _by_time, _by_text, _by_properties):
        add(found, asked)
    return found


def _by_lists(found: Clauses, asked: Asked) -> None:
    if asked.ids is not None:
        ids = found.argument(list(asked.ids))
        found.add(f"id IN (SELECT view FROM member WHERE record = ANY({ids}::text[]))")  # noqa: S608 placeholder
    for column in ("networks", "families", "labels", "licenses"):
        if values := getattr(asked, column):
            found.add(f"{column} && {found.argument(list(values))}::text[]")
    for column, values in (
        ("status", asked.statuses),
        ("departement", asked.departements),
        ("insee", asked.insee),
    ):
        if values:
            found.add(f"{column} = ANY({found.argument(list(values))}::text[])")
    if asked.words is not None:
        types, families = (found.argument(list(each)) for each in (asked.words.types, asked.words.families))
        found.add(f"types && {types}::text[] OR families && {families}::text[]")


def _by_place(found: Clauses, asked: Asked) -> None:
    if asked.box is not None:
        found.add(in_box(found, asked.box))
    for area in asked.areas:
        found.add(_within(found, area))
    if asked.near is not None:
        near = asked.near
        found.add(in_box(found, near_box(near)))
        found.add(f"{_distance(found, near)} <= {found.argument(near.km)}::float8")


def _by_time(found: Clauses, asked: Asked) -> None:
    if asked.since is not None:
        found.add(f"updated >= {found.argument(asked.since)}::timestamptz")
    if asked.until is not None:
        found.add(f"updated <= {found.argument(asked.until)}::timestamptz")
    since, until = asked.verified
    if since is not None:
        found.add(f"verified_on >= {found.argument(since.date().isoformat())}::text")
    if until is not None:
        found.add(f"verified_on <= {found.argument(until.date().isoformat())}::text")


def _by_text(found: Clauses, asked: Asked) -> None:
    if asked.text is None:
        return
    text = found.argument(asked.text)
    # What has changed since it was read for searching is read where it stands.
    found.add(
        f"""id IN (SELECT id FROM search WHERE doc @@ {text}::tsquery) AND id NOT IN (SELECT id FROM unsearched)
            OR id IN (SELECT id FROM unsearched) AND searched(words) @@ {text}::tsquery"""  # noqa: S608 placeholder
    )


def _by_properties(found: Clauses, asked: Asked) -> None:
    if asked.said:
        found.add(f"said @> {found.argument(list(asked.said))}::text[]")
    if asked.unsaid:
        found.add(f"NOT said && {found.argument(list(asked.unsaid))}::text[]")
    for name, value in asked.equal:
        found.add(_compared(found, name, "=", value))
    if asked.condition is not None:
        found.add(_condition(found, asked.condition))


def in_box(found: Clauses, box: Box) -> str:
    """Within a box, which may cross the antimeridian. Both halves can be read from the index."""
    west, south, east, north = box
    halves = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    return " OR ".join(
        f"point(lon, lat) <@ {found.argument(asyncpg.Box((right, north), (left, south)))}::box"
        for left, right in halves
    )


def _within(found: Clauses, area: Within) -> str:
    # In this order, as a box is held against many times faster than what is drawn by a thousand points.
    parts = [in_box(found, box) for box in area.boxes]
    parts += [
        " AND NOT ".join(
            f"{found.argument(asyncpg.Polygon(*ring))}::polygon @> point(lon, lat)" for ring in rings
        )
        for rings in area.polygons
    ]
    if area.communes:
        parts.append(f"insee = ANY({found.argument(list(area.communes))}::text[])")
    return " OR ".join(f"({part})" for part in parts) or "false"


def near_box(near: Near) -> Box:
    """A box around all that is so near, as degrees of longitude grow short towards the poles."""
    arc = near.km / EARTH_KM
    south, north = near.lat - degrees(arc), near.lat + degrees(arc)
    if south <= -90 or north >= 90:
        return -180.0, max(-90.0, south), 180.0, min(90.0, north)
    wide = degrees(asin(min(1.0, sin(arc) / cos(radians(near.lat)))))
    west, east = near.lon - wide, near.lon + wide
    return (west + 360 if west < -180 else west), south, (east - 360 if east > 180 else east), north


def _distance(found: Clauses, near: Near) -> str:
    """Kilometres on the sphere to a point (haversine formula)."""
    lat, lon = (f"{found.argument(each)}::float8" for each in (near.lat, near.lon))
    return f"""{2 * EARTH_KM} * asin(least(1, sqrt(sind((lat - {lat}) / 2) ^ 2
               + cosd(lat) * cosd({lat}) * sind((lon - {lon}) / 2) ^ 2)))"""


# --- properties -------------------------------------------------------------------------------------------


# Flat properties that are not columns as they stand.
EXPRESSIONS = {
    name: f"nullif(array_to_string({name}, ';'), '')"
    for name in ("families", "types", "services", "labels", "networks", "licenses")
}


def _expression(name: str) -> str:
    return EXPRESSIONS.get(name, name)


def _type(value: Value) -> str:
    if isinstance(value, datetime):
        return "timestamptz"
    return "text" if isinstance(value, str) else "float8"


def _compared(found: Clauses, name: str, operator: str, value: Value) -> str:
    given = float(value) if isinstance(value, int) else value
    return f"{_expression(name)} {operator} {found.argument(given)}::{_type(given)}"


def _condition(found: Clauses, asked: Condition) -> str:
    """A filter as SQL. Names are those of queryables and operators those of the grammar: no text comes in."""
    match asked:
        case Every(parts) | Either(parts):
            word = " AND " if isinstance(asked, Every) else " OR "
            return word.join(f"({_condition(found, part)})" for part in parts)
        case Not(part):
            return f"NOT ({_condition(found, part)})"
        case Constant(value):
            return "true" if value else "false"
        case Compare(name, operator, value):
            return _compared(found, name, operator, value)
        case Between(name, low, high):
            return f"{_compared(found, name, '>=', low)} AND {_compared(found, name, '<=', high)}"
        case In(name, values):
            return " OR ".join(_compared(found, name, "=", value) for value in values)
        case Like(name, pattern):
            return f"{_expression(name)} LIKE {found.argument(pattern)}::text"
        case IsNull(name):
            return f"{'lat' if name == 'geometry' else _expression(name)} IS NULL"
        case Touches():
            return _touches(found, asked)
        case _:
            assert_never(asked)


def _touches(found: Clauses, asked: Touches) -> str:
    """Whether a place lies in one of these shapes; of a place without a position that is unknown."""
    parts = [in_box(found, box) for box in asked.boxes]
    if asked.polygons:
        parts.append(_within(found, Within(polygons=asked.polygons)))
    return " OR ".join(f"({part})" for part in parts)


# --- order ------------------------------------------------------------------------------------------------

Key = Callable[[Clauses, Asked], str]


def _by_distance(found: Clauses, asked: Asked) -> str:
    assert asked.near is not None  # noqa: S101 - the query was refused without
    return _distance(found, asked.near)


def _by_relevance(found: Clauses, asked: Asked) -> str:
    if asked.text is None:
        return "0::float8"
    text = found.argument(asked.text)
    return f"""ts_rank(coalesce((SELECT doc FROM search s WHERE s.id = view.id AND NOT EXISTS (
                   SELECT FROM unsearched u WHERE u.id = view.id)), searched(words)), {text}::tsquery)::float8"""  # noqa: S608


def _column(expression: str) -> Key:
    return lambda found, asked: expression


# Each is never null, so that there is always a place after a place.
KEYS: Mapping[str, Key] = {
    "name": _column("folded"),
    "updated": _column("updated"),
    "departement": _column("coalesce(departement, '')"),
    "postcode": _column("coalesce(postcode, '')"),
    "city": _column("coalesce(city, '')"),
    "status": _column("status"),
    "opened_year": _column("coalesce(opened_year, 0)"),
    "closed_year": _column("coalesce(closed_year, 0)"),
    "voices": _column("voices"),
    "distance": _by_distance,
    "relevance": _by_relevance,
}


def _after(found: Clauses, keys: Sequence[str], page: Page) -> str:
    """Behind the place before: in the first key that differs from its."""
    assert page.after is not None  # noqa: S101
    given = [f"{found.argument(value)}{_cast(value)}" for value in page.after]
    signs = ["<" if order.down else ">" for order in page.order] + [">"]
    ways = []
    for last in range(len(keys)):
        same = [f"{key} = {value}" for key, value in zip(keys[:last], given, strict=False)]
        ways.append(" AND ".join([*same, f"{keys[last]} {signs[last]} {given[last]}"]))
    return " OR ".join(f"({way})" for way in ways)


def _cast(value: Value) -> str:
    if isinstance(value, int):
        return "::bigint"
    return f"::{_type(value)}"


# --- statements -------------------------------------------------------------------------------------------


async def page(conn: Connection, asked: Asked, page: Page) -> list[Row]:
    """The places of a page."""
    found = chosen(asked)
    keys = [*(KEYS[order.key](found, asked) for order in page.order), "id"]
    if page.after is not None:
        found.add(_after(found, keys, page))
    ways = [f"{key}{' DESC' if order.down else ''}" for key, order in zip(keys, page.order, strict=False)]
    limit, offset = found.argument(page.limit), found.argument(page.offset)
    rows = await conn.fetch(
        f"""SELECT id, item, {", ".join(f"{key} AS key_{i}" for i, key in enumerate(keys))} FROM view
            WHERE {found} ORDER BY {", ".join([*ways, "id"])} LIMIT {limit} OFFSET {offset}""",  # noqa: S608
        *found.arguments,
    )
    return [Row(row["id"], row["item"], tuple(row[i] for i in range(2, len(row)))) for row in rows]


async def matched(conn: Connection, asked: Asked) -> int:
    """How many places a list has in all."""
    found = chosen(asked)
    return int(await conn.fetchval(f"SELECT count(*) FROM view WHERE {found}", *found.arguments))  # noqa: S608


async def spots(conn: Connection, asked: Asked, limit: int) -> list[Spot]:
    """The places of a list that have a position, by name."""
    found = chosen(asked)
    rows = await conn.fetch(
        f"""SELECT lon, lat, id, name, status, array_to_string(families, ';') AS families FROM view
            WHERE {found} AND lat IS NOT NULL ORDER BY folded, id LIMIT {found.argument(limit)}""",  # noqa: S608
        *found.arguments,
    )
    return convert(rows, list[Spot])


async def unplaced(conn: Connection, asked: Asked) -> int:
    """How many places of a list have no position."""
    found = chosen(asked)
    return int(
        await conn.fetchval(f"SELECT count(*) FROM view WHERE {found} AND lat IS NULL", *found.arguments)  # noqa: S608
    )


# What is counted, and whether a place may have several.
FACETS = {
    "family": "unnest(families)",
    "status": "status",
    "departement": "departement",
    "network": "unnest(networks)",
    "license": "unnest(licenses)",
    "type": "unnest(types)",
    "label": "unnest(labels)",
}


async def counts(conn: Connection, asked: Asked, facet: str, limit: int) -> list[tuple[str, int]]:
    """How many places of a list have each value of a facet, most first."""
    found = chosen(asked)
    rows = await conn.fetch(
        f"""SELECT value, count(*) AS n FROM (SELECT {FACETS[facet]} AS value FROM view WHERE {found}) AS t
            WHERE value IS NOT NULL GROUP BY value ORDER BY n DESC, value LIMIT {found.argument(limit)}""",  # noqa: S608
        *found.arguments,
    )
    return [(row["value"], row["n"]) for row in rows]


async def extent(conn: Connection) -> Extent | None:
    """What the places of the view cover; None where none has a position."""
    row = await conn.fetchrow(
        """SELECT min(lon) AS west, min(lat) AS south, max(lon) AS east, max(lat) AS north,
                  min(updated) AS since, max(updated) AS until
           FROM view HAVING min(lon) IS NOT NULL"""
    )
    return None if row is None else convert(row, Extent)
