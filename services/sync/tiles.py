"""Places as vector tiles: Mapbox Vector Tile 2.1, points alone. Pure.

https://github.com/mapbox/vector-tile-spec/tree/master/2.1
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import asinh, atan, degrees, floor, pi, radians, sinh, tan

from msgspec import Struct

LAYER = "places"
DEEPEST = 14
EXTENT = 4096
# A cell is 4 pixels of a tile of 256; the points of one more on each side, so that nothing is cut at the edge.
CELLS = 64
CELL = EXTENT // CELLS
# A tile of more places shows one for each cell: it has not more then.
MOST = (CELLS + 2) ** 2
NAME = 60
KEYS = ("id", "name", "status", "families", "count")
# Where the square of Web Mercator ends.
END = degrees(atan(sinh(pi)))
_MORE = 1 / CELLS


class Tile(Struct, frozen=True):
    """A tile of the usual pyramid: `x` counts from the west, `y` from the north."""

    z: int
    x: int
    y: int

    @property
    def side(self) -> int:
        """How many tiles there are beside each other at this zoom."""
        return 1 << self.z

    @property
    def exists(self) -> bool:
        """Whether there is such a tile."""
        return 0 <= self.z <= DEEPEST and 0 <= self.x < self.side and 0 <= self.y < self.side


class Point(Struct, frozen=True, gc=False):
    """A place in a tile, in degrees; `count` tells for how many it stands."""

    id: str
    name: str
    status: str
    families: str
    lat: float
    lon: float
    count: int


def box(tile: Tile) -> tuple[float, float, float, float]:
    """West, south, east, north of what a tile shows; west of a tile at the antimeridian is greater than east."""
    west, east = ((tile.x + by) / tile.side * 360 - 180 for by in (-_MORE, 1 + _MORE))
    north, south = (_latitude((tile.y + by) / tile.side) for by in (-_MORE, 1 + _MORE))
    if tile.side == 1:
        return -180.0, south, 180.0, north
    return west + 360 if west < -180 else west, south, east - 360 if east > 180 else east, north


def _latitude(y: float) -> float:
    return max(-END, min(END, degrees(atan(sinh(pi * (1 - 2 * y))))))


def place(tile: Tile, lat: float, lon: float) -> tuple[int, int]:
    """Where a point is in a tile, from its north-west corner, in 1/4096 of its side."""
    side = 1 << tile.z
    x = (lon + 180) / 360 * side - tile.x
    y = (1 - asinh(tan(radians(lat))) / pi) / 2 * side - tile.y
    if x < -_MORE:
        x += side
    elif x > 1 + _MORE:
        x -= side
    return floor(x * EXTENT), floor(y * EXTENT)


def encoded(tile: Tile, points: Sequence[Point]) -> bytes:
    """A tile with these points; one in which nothing is has no bytes."""
    if not points:
        return b""
    values: dict[str | int, int] = {}
    features = b"".join(_features(tile, points, values))
    name = _member(1, LAYER.encode())
    keys = b"".join(_member(3, key.encode()) for key in KEYS)
    said = b"".join(map(_value, values))
    return _member(3, b"".join((b"\x78\x02", name, features, keys, said, b"\x28", _varint(EXTENT))))


def _features(tile: Tile, points: Sequence[Point], values: dict[str | int, int]) -> Iterator[bytes]:
    """The features, which refer to `values` by number: each value stands in a layer once.

    None is as long as 128 bytes, so that each length is one byte.
    """
    for p in points:
        said = (p.id, p.name[:NAME], p.status, p.families, p.count)
        numbers = [values.setdefault(value, len(values)) for value in said]
        tags = b"\x00%b\x01%b\x02%b\x03%b\x04%b" % (*map(_varint, numbers),)
        x, y = place(tile, p.lat, p.lon)
        # One move, to where it is.
        where = b"\x09%b%b" % (_varint(x << 1 ^ x >> 63), _varint(y << 1 ^ y >> 63))
        feature = b"\x12%c%b\x18\x01\x22%c%b" % (len(tags), tags, len(where), where)
        yield b"\x12%c%b" % (len(feature), feature)


def _value(value: str | int) -> bytes:
    if isinstance(value, int):
        return _member(4, b"\x28" + _varint(value))
    text = value.encode()
    size = _varint(len(text))
    return b"\x22%b\x0a%b%b" % (_varint(1 + len(size) + len(text)), size, text)


def _member(number: int, content: bytes) -> bytes:
    """A member that has a length (wire type 2 of protobuf)."""
    return b"%c%b%b" % (number << 3 | 2, _varint(len(content)), content)


@lru_cache(1 << 15)
def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
