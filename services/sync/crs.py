"""Reference systems in which positions are asked for and answered (OGC API Features, part 2). Pure."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Final, Literal

from services.sync.outlines import Box, Outline, Ring

if TYPE_CHECKING:
    from pyproj import Transformer

CRS84: Final = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
# Decimals of a coordinate: a centimetre, as positions are kept.
DECIMALS = {CRS84: 7, f"{EPSG}4326": 7, f"{EPSG}3857": 2, f"{EPSG}2154": 2}
SYSTEMS = tuple(DECIMALS)
System = Literal[
    "http://www.opengis.net/def/crs/OGC/1.3/CRS84",
    "http://www.opengis.net/def/crs/EPSG/0/4326",
    "http://www.opengis.net/def/crs/EPSG/0/3857",
    "http://www.opengis.net/def/crs/EPSG/0/2154",
]
# Whose coordinates are metres.
PROJECTED = SYSTEMS[2:]
# The edges of a box of another system are curves on the globe: each is drawn by so many points.
STEPS = 256
MERCATOR = f"{EPSG}3857"
# Half of the world's width in its metres, but for what is rounded.
WORLD = 20_037_508.342
# Metres or degrees by which a point may come back elsewhere.
TOLERANCE = 0.5
Point = tuple[float, float]


def name(uri: str) -> str:
    """A system as the projection library calls it."""
    return "OGC:CRS84" if uri == CRS84 else f"EPSG:{uri.removeprefix(EPSG)}"


@cache
def _transformer(source: str, target: str) -> "Transformer":
    # As much memory as a sixth of the service, for what most never ask for.
    from pyproj import Transformer

    return Transformer.from_crs(name(source), name(target))


def projected(uri: str) -> Callable[[float, float], Point | None]:
    """Longitude and latitude as coordinates of a system, in the order of its axes; None where it has none."""
    decimals = DECIMALS[uri]
    if uri == CRS84:
        return lambda lon, lat: (round(lon, decimals), round(lat, decimals))
    transformer = _transformer(CRS84, uri)

    def project(lon: float, lat: float) -> Point | None:
        x, y = transformer.transform(lon, lat)
        return (round(x, decimals), round(y, decimals)) if isfinite(x) and isfinite(y) else None

    return project


def unprojected(uri: str, ring: Sequence[Point]) -> Ring | None:
    """A ring of a system in degrees, longitude first; None where it lies outside of the system."""
    if uri == CRS84:
        return tuple(ring)
    # All at once: a point by itself costs more on its way into the library than in it.
    xs, ys = zip(*ring, strict=True)
    lons, lats = _transformer(uri, CRS84).transform(xs, ys)
    # What lies outside comes out somewhere else on the globe.
    us, vs = _transformer(CRS84, uri).transform(lons, lats)
    near = all(
        abs(x - u) < TOLERANCE and abs(y - v) < TOLERANCE for x, y, u, v in zip(xs, ys, us, vs, strict=True)
    )
    return tuple(zip(lons, lats, strict=True)) if near else None


def drawn(uri: str, box: Box) -> Outline | None:
    """A box of a system, in the order of its axes, as a polygon in degrees; None outside of it."""
    # Maps of the whole world ask for more than there is of it.
    most = WORLD if uri == MERCATOR else float("inf")
    left, bottom, right, top = (max(-most, min(most, each)) for each in box)
    corners = ((left, bottom), (right, bottom), (right, top), (left, top), (left, bottom))
    ring: list[Point] = []
    for (x, y), (to_x, to_y) in pairwise(corners):
        ring += [(x + (to_x - x) * i / STEPS, y + (to_y - y) * i / STEPS) for i in range(STEPS)]
    found = unprojected(uri, [*ring, corners[0]])
    return None if found is None else (found,)


def inside(outline: Outline) -> tuple[Box, ...]:
    """The box of degrees within a drawn one, where most of its points are: they are not held against its edges."""
    (ring,) = outline
    south, east, north, west = (ring[i * STEPS : (i + 1) * STEPS + 1] for i in range(4))
    box = (
        max(lon for lon, _ in west),
        max(lat for _, lat in south),
        min(lon for lon, _ in east),
        min(lat for _, lat in north),
    )
    return (box,) if box[0] < box[2] and box[1] < box[3] else ()


def turned(uri: str, box: Box) -> Box:
    """A box in degrees, longitude first, of one in the order of its system's axes."""
    return (box[1], box[0], box[3], box[2]) if uri == f"{EPSG}4326" else box
