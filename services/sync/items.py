"""A merged place as a flat GeoJSON feature: what GIS programs open. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.view import Traits, View

TEXTS = (
    "name",
    "status",
    "kind",
    "summary",
    "website",
    "phone",
    "email",
    "opening_hours",
    "opening_hours_text",
    "license",
)
LISTS = ("families", "types", "services", "alternate_names")
ADDRESS = ("street", "extra", "postcode", "city", "insee", "country")


def joined(values: Iterable[str]) -> str | None:
    """A list as one value: items joined by `;`."""
    return ";".join(values) or None


def feature(view: View, place: dict[str, Any], traits: Traits) -> bytes:
    """The place as GeoJSON. Scalars only, lists joined, and one date-time: `updated`."""
    address, position = place.get("address") or {}, place.get("position")
    properties: dict[str, Any] = {
        **{name: place.get(name) for name in TEXTS},
        **{name: joined(place.get(name) or ()) for name in LISTS},
        **{name: address.get(name) for name in ADDRESS},
        "departement": traits.departement,
        "precision": position.get("precision") if position else None,
        "networks": joined(view.networks),
        "voices": sum(not voice.withdrawn and voice.copy_of is None for voice in view.records),
        "updated": view.updated,
    }
    geometry = {"type": "Point", "coordinates": [position["lon"], position["lat"]]} if position else None
    return msgspec.json.encode(
        {"type": "Feature", "id": view.id, "geometry": geometry, "properties": properties}
    )
