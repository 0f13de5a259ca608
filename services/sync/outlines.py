"""Boxes and polygons in degrees, longitude first, as foreign data and queries give them. Pure."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

# West, south, east, north; west beyond east crosses the antimeridian.
Box = tuple[float, float, float, float]
Ring = tuple[tuple[float, float], ...]
# An outer ring, then its holes.
Outline = tuple[Ring, ...]


def flat(numbers: Sequence[float]) -> Box:
    """A bbox of 4 numbers, or of 6 with heights, without those."""
    half = len(numbers) // 2
    return numbers[0], numbers[1], numbers[half], numbers[half + 1]


def box(numbers: Box) -> Box | None:
    """West, south, east, north in degrees; None for what is no such."""
    west, south, east, north = numbers
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        return None
    return west, south, east, north


def outlines(geometry: Any) -> tuple[Outline, ...] | None:
    """The polygons of a GeoJSON Polygon or MultiPolygon; None for what is none."""
    if not isinstance(geometry, dict):
        return None
    match geometry.get("type"), geometry.get("coordinates"):
        case "Polygon", list(rings):
            polygons: list[Any] = [rings]
        case "MultiPolygon", list(polygons):
            pass
        case _:
            return None
    found = [_outline(polygon) for polygon in polygons]
    return tuple(each for each in found if each is not None) if found and all(found) else None


def _outline(polygon: Any) -> Outline | None:
    if not isinstance(polygon, list) or not polygon:
        return None
    rings = [_ring(ring) for ring in polygon]
    return tuple(ring for ring in rings if ring) if all(rings) else None


def _ring(ring: Any) -> Ring | None:
    if not isinstance(ring, list) or len(ring) < 4 or ring[0] != ring[-1]:
        return None
    points = [_point(each) for each in ring]
    return tuple(point for point in points if point is not None) if None not in points else None


def _point(each: Any) -> tuple[float, float] | None:
    if not isinstance(each, list | tuple) or len(each) not in (2, 3):
        return None
    lon, lat = each[0], each[1]
    for number, most in ((lon, 180), (lat, 90)):
        if isinstance(number, bool) or not isinstance(number, int | float):
            return None
        if not isfinite(number) or abs(number) > most:
            return None
    return float(lon), float(lat)


def around(polygons: Sequence[Outline]) -> Box:
    """The box around polygons."""
    lons = [lon for outer, *_ in polygons for lon, _ in outer]
    lats = [lat for outer, *_ in polygons for _, lat in outer]
    return min(lons), min(lats), max(lons), max(lats)
