"""CQL2 text as a condition on flat properties: read by the grammar, checked against what can be asked for. Pure."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import cache
from math import isfinite
from typing import Any, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput
from msgspec import Struct

from services.errors import Fault, Malformed
from services.sync import crs
from services.sync.items import QUERYABLES, Kind
from services.sync.outlines import Box, Outline, box, flat, outlines

# OGC 21-065r2, of which: logical operators, comparisons, LIKE, BETWEEN, IN, IS NULL, and S_INTERSECTS.
GRAMMAR = r"""
?start: either

either: every ("OR"i every)*
every: factor ("AND"i factor)*
?factor: "NOT"i primary -> negated
    | primary
?primary: "(" either ")"
    | constant
    | operand COMPARISON operand -> compared
    | name "LIKE"i TEXT -> like
    | name "NOT"i "LIKE"i TEXT -> unlike
    | name "BETWEEN"i literal "AND"i literal -> between
    | name "NOT"i "BETWEEN"i literal "AND"i literal -> not_between
    | name "IN"i "(" literal ("," literal)* ")" -> among
    | name "NOT"i "IN"i "(" literal ("," literal)* ")" -> not_among
    | name "IS"i "NULL"i -> empty
    | name "IS"i "NOT"i "NULL"i -> not_empty
    | "S_INTERSECTS"i "(" name "," shape ")" -> touches
    | "S_INTERSECTS"i "(" shape "," name ")" -> touched

constant: "TRUE"i -> yes
    | "FALSE"i -> no

?operand: name | literal
name: NAME -> bare | QUOTED -> quoted
?literal: TEXT -> text
    | NUMBER -> number
    | "DATE"i "(" TEXT ")" -> date
    | "TIMESTAMP"i "(" TEXT ")" -> timestamp

?shape: "POINT"i "Z"i? point_text -> point
    | "MULTIPOINT"i "Z"i? "(" point_text ("," point_text)* ")" -> points
    | "POLYGON"i "Z"i? polygon_text -> polygon
    | "MULTIPOLYGON"i "Z"i? "(" polygon_text ("," polygon_text)* ")" -> multipolygon
    | "BBOX"i "(" NUMBER ("," NUMBER)* ")" -> bbox
    | "ENVELOPE"i "(" NUMBER ("," NUMBER)* ")" -> bbox
point_text: "(" position ")"
polygon_text: "(" ring ("," ring)* ")"
ring: "(" position ("," position)* ")"
position: NUMBER NUMBER NUMBER?

COMPARISON: "=" | "<>" | "<=" | ">=" | "<" | ">"
TEXT: /'(?:\\'|''|[^'])*'/
NUMBER: /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?/
NAME: /[A-Za-z_:][A-Za-z_:0-9.]*/
QUOTED: /"[^"]+"/
%ignore /\s+/
"""
# A quote within a text, either way.
QUOTE = re.compile(r"\\'|''")
MOST = 2000
GEOMETRY = "geometry"
# How a comparison reads from the other side.
TURNED = {"=": "=", "<>": "<>", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
Value = str | float | datetime


class Every(Struct, frozen=True):
    """All of these hold."""

    parts: tuple["Condition", ...]


class Either(Struct, frozen=True):
    """One of these holds."""

    parts: tuple["Condition", ...]


class Not(Struct, frozen=True):
    """This does not hold."""

    part: "Condition"


class Constant(Struct, frozen=True):
    """What always or never holds."""

    value: bool


class Compare(Struct, frozen=True):
    """A property against a value."""

    name: str
    operator: str
    value: Value


class Between(Struct, frozen=True):
    """A property within two values, both included."""

    name: str
    low: Value
    high: Value


class In(Struct, frozen=True):
    """A property is one of some values."""

    name: str
    values: tuple[Value, ...]


class Like(Struct, frozen=True):
    """A property as a pattern: `%` for any text, `_` for any character, a backslash before what stands for itself."""

    name: str
    pattern: str


class IsNull(Struct, frozen=True):
    """A property that a place does not have."""

    name: str


class Touches(Struct, frozen=True):
    """The position lies in one of some boxes or polygons."""

    boxes: tuple[Box, ...] = ()
    polygons: tuple[Outline, ...] = ()


Condition = Every | Either | Not | Constant | Compare | Between | In | Like | IsNull | Touches


class Day(Struct, frozen=True):
    """A day in UTC, which is all of it: before it, on it, after it."""

    start: datetime

    @property
    def end(self) -> datetime:
        """Its last moment."""
        return datetime.combine(self.start, time.max, UTC)


Given = str | float | datetime | Day


def parse(text: str, system: str = crs.CRS84) -> Condition:
    """The condition that a filter says, its shapes in this system; Malformed with where and what was expected."""
    if len(text) > MOST:
        raise _mistake("A filter has {limit} characters at most.", limit=MOST)
    try:
        # The transformer makes conditions, where the library's types say trees.
        found = cast(Condition, _parser(system).parse(text))
    except UnexpectedInput as error:
        at = (error.column or 1) if error.line == 1 and isinstance(error.column, int) else len(text) + 1
        what = "This is no CQL2 text: character {column} cannot be read there. Write for instance {example}."
        raise _mistake(what, column=max(1, at), example="status = 'open' AND city LIKE 'Saint-%'") from None
    return found


def _mistake(what: str, **args: str | int) -> Malformed:
    return Malformed("The query is not right.", faults=(Fault("filter", what, args),))


@cache
def _parser(system: str) -> Lark:
    # Without a tree: what it would cost to walk one grows with how deep a stranger nests.
    return Lark(GRAMMAR, parser="lalr", transformer=_Reading(system))


class Name(str):
    """The name of a property, as against a text."""

    __slots__ = ()


class _Reading(Transformer[Token, Condition]):
    """What each rule of the grammar makes; shapes are in the reference system `system`."""

    def __init__(self, system: str) -> None:
        super().__init__()
        self._system = system

    def either(self, parts: list[Condition]) -> Condition:
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def every(self, parts: list[Condition]) -> Condition:
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def negated(self, parts: list[Condition]) -> Condition:
        return Not(parts[0])

    def yes(self, _: list[Token]) -> Condition:
        return Constant(True)

    def no(self, _: list[Token]) -> Condition:
        return Constant(False)

    def compared(self, parts: list[Any]) -> Condition:
        left, operator, right = parts
        if isinstance(left, Name) and not isinstance(right, Name):
            return _comparison(left, str(operator), right)
        if isinstance(right, Name) and not isinstance(left, Name):
            return _comparison(right, TURNED[str(operator)], left)
        raise _mistake("Compare a property with a value.")

    def like(self, parts: list[Any]) -> Condition:
        name, pattern = parts[0], _text(parts[1])
        if _kind(name) != "string":
            raise _mistake("{name} is no text: LIKE compares texts.", name=name)
        if len(pattern) - len(pattern.rstrip("\\")) & 1:
            raise _mistake("A pattern does not end with a backslash.")
        return Like(name, pattern)

    def unlike(self, parts: list[Any]) -> Condition:
        return Not(self.like(parts))

    def between(self, parts: list[Any]) -> Condition:
        name, low, high = parts
        return Between(name, _start(_fitting(name, low)), _end(_fitting(name, high)))

    def not_between(self, parts: list[Any]) -> Condition:
        return Not(self.between(parts))

    def among(self, parts: list[Any]) -> Condition:
        name, *values = parts
        if any(isinstance(value, Day) for value in values):
            return Either(tuple(_comparison(name, "=", value) for value in values))
        return In(name, tuple(_start(_fitting(name, value)) for value in values))

    def not_among(self, parts: list[Any]) -> Condition:
        return Not(self.among(parts))

    def empty(self, parts: list[Any]) -> Condition:
        if parts[0] != GEOMETRY:
            _kind(parts[0])
        return IsNull(str(parts[0]))

    def not_empty(self, parts: list[Any]) -> Condition:
        return Not(self.empty(parts))

    def touches(self, parts: list[Any]) -> Condition:
        name, shape = parts
        if name != GEOMETRY:
            raise _mistake("{name} is no geometry: only {geometry} is.", name=name, geometry=GEOMETRY)
        found: Touches = shape
        return found

    def touched(self, parts: list[Any]) -> Condition:
        return self.touches(parts[::-1])

    def bare(self, parts: list[Token]) -> Name:
        return Name(parts[0])

    def quoted(self, parts: list[Token]) -> Name:
        return Name(parts[0][1:-1])

    def text(self, parts: list[Token]) -> str:
        return _text(parts[0])

    def number(self, parts: list[Token]) -> float:
        return _number(parts[0])

    def date(self, parts: list[Token]) -> Day:
        try:
            return Day(datetime.combine(date.fromisoformat(_text(parts[0])), time(), UTC))
        except (ValueError, OverflowError):
            raise _mistake("A date looks like {example}.", example="DATE('2026-01-31')") from None

    def timestamp(self, parts: list[Token]) -> datetime:
        try:
            found = datetime.fromisoformat(_text(parts[0]))
            return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            raise _mistake(
                "A time looks like {example}.", example="TIMESTAMP('2026-01-31T12:00:00Z')"
            ) from None

    def position(self, parts: list[Token]) -> list[float]:
        return [_number(each) for each in parts]

    def point_text(self, parts: list[list[float]]) -> list[float]:
        return parts[0]

    def ring(self, parts: list[list[float]]) -> list[list[float]]:
        return parts

    def polygon_text(self, parts: list[list[list[float]]]) -> list[list[list[float]]]:
        return parts

    def point(self, parts: list[list[float]]) -> Touches:
        return self.points(parts)

    def points(self, parts: list[list[float]]) -> Touches:
        at = [crs.unprojected(self._system, [(x, y)]) for x, y, *_ in parts]
        if not all(at):
            raise _mistake("A point lies outside of its reference system.")
        return Touches(boxes=tuple((lon, lat, lon, lat) for ring in at if ring for lon, lat in ring))

    def polygon(self, parts: list[list[list[list[float]]]]) -> Touches:
        return self.multipolygon(parts)

    def multipolygon(self, parts: list[list[list[list[float]]]]) -> Touches:
        turned = [[self._ring(ring) for ring in polygon] for polygon in parts]
        found = outlines({"type": "MultiPolygon", "coordinates": turned})
        if found is None:
            what = "A polygon has rings of at least four points in degrees, longitude first, the last like the first."
            raise _mistake(what)
        return Touches(polygons=found)

    def bbox(self, parts: list[Token]) -> Touches:
        numbers = [_number(each) for each in parts]
        if len(numbers) not in (4, 6):
            raise _mistake("A bbox has 4 or 6 numbers.")
        if self._system in crs.PROJECTED:
            outline = crs.drawn(self._system, flat(numbers))
            if outline is None:
                raise _mistake("This box lies outside of its reference system.")
            return Touches(crs.inside(outline), (outline,))
        return Touches(boxes=(_box(crs.turned(self._system, flat(numbers))),))

    def _ring(self, points: list[list[float]]) -> list[list[float]]:
        """A ring in degrees, longitude first; empty where it lies outside of its system."""
        found = crs.unprojected(self._system, [(x, y) for x, y, *_ in points])
        return [list(point) for point in found or ()]


def _text(token: Token) -> str:
    return QUOTE.sub("'", str(token)[1:-1])


def _number(token: Token) -> float:
    found = float(token)
    if not isfinite(found):
        raise _mistake("This number is too large.")
    return found


def _box(numbers: Box) -> Box:
    found = box(numbers)
    if found is None:
        raise _mistake("A bbox is west,south,east,north in degrees, south not above north.")
    return found


def _kind(name: str) -> Kind:
    known = QUERYABLES.get(name)
    if known is None:
        raise _mistake(
            "{name} cannot be asked for; what can: {names}.", name=name, names=", ".join(QUERYABLES)
        )
    return known.kind


EXPECTED: dict[Kind, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "'Rennes'"),
    "integer": ((float,), "2020"),
    "date-time": ((datetime, Day), "TIMESTAMP('2026-01-31T12:00:00Z')"),
}


def _fitting(name: str, value: Given) -> Given:
    """A value of the kind that the property has."""
    types, example = EXPECTED[_kind(name)]
    if not isinstance(value, types) or isinstance(value, Name):
        raise _mistake("{name} is compared with a value like {example}.", name=name, example=example)
    return value


def _start(value: Given) -> Value:
    return value.start if isinstance(value, Day) else value


def _end(value: Given) -> Value:
    return value.end if isinstance(value, Day) else value


# What is compared with a day: its first moment or its last.
BOUND: dict[str, Callable[[Day], datetime]] = {
    "<": lambda day: day.start,
    "<=": lambda day: day.end,
    ">": lambda day: day.end,
    ">=": lambda day: day.start,
}


def _comparison(name: str, operator: str, value: Given) -> Condition:
    given = _fitting(name, value)
    if not isinstance(given, Day):
        return Compare(str(name), operator, given)
    if operator in BOUND:
        return Compare(str(name), operator, BOUND[operator](given))
    on = Between(str(name), given.start, given.end)
    return on if operator == "=" else Not(on)
