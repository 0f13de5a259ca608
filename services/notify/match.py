"""Whom a change concerns: pure."""

from schemas.subscription import Filter, Selection
from schemas.view import Traits


def matches(wanted: Filter, traits: Traits) -> bool:
    """Whether a place of these traits is in the selection. A place without a position is in no `bbox`."""
    return (
        _meets(wanted.network, traits.networks)
        and _meets(wanted.family, traits.families)
        and (not wanted.departement or traits.departement in wanted.departement)
        and (wanted.bbox is None or _within(wanted.bbox, traits.lat, traits.lon))
    )


def view_of(
    wanted: Filter, before: Traits | None, after: Traits | None, *, erased: bool = False
) -> Selection | None:
    """What a change does to the selection; None where the place was not in it and is not now."""
    was = before is not None and matches(wanted, before)
    now = after is not None and matches(wanted, after)
    if erased:
        return "erased" if was or now else None
    if was:
        return "updated" if now else "left"
    return "entered" if now else None


def _meets(wanted: tuple[str, ...], found: tuple[str, ...]) -> bool:
    return not wanted or not set(wanted).isdisjoint(found)


def _within(bbox: tuple[float, float, float, float], lat: float | None, lon: float | None) -> bool:
    """Borders included. With west > east the box crosses the antimeridian."""
    west, south, east, north = bbox
    if lat is None or lon is None or not south <= lat <= north:
        return False
    return west <= lon <= east if west <= east else lon >= west or lon <= east
