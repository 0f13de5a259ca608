"""A merged place as a flat GeoJSON feature: what GIS programs open. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.view import Traits, View, ViewPut

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
    voices = sum(not voice.withdrawn and voice.copy_of is None for voice in view.records)
    known = {"departement": traits.departement, "networks": joined(view.networks), "voices": voices}
    return _feature(view.id, place, {**known, "updated": view.updated})


def told(put: ViewPut, time: str) -> bytes:
    """The place as an event told it at a time, which is its `updated`; how many voices it had is not in there.

    Where it was too long for an event: by its traits alone, and `dataref` says where it is to be read.
    """
    place = msgspec.json.decode(put.after) or _outline(put.traits)
    known = {"departement": put.traits.departement, "networks": joined(put.networks), "voices": None}
    where = {"dataref": put.dataref} if put.dataref else {}
    return _feature(put.id, place, {**known, "updated": time, **where})


def linked(id: str, networks: Iterable[str], link: str) -> bytes:
    """A place that may not be passed on: whose it is, and where to read it."""
    properties = {"networks": joined(networks), "link": link}
    return msgspec.json.encode({"type": "Feature", "id": id, "geometry": None, "properties": properties})


def _outline(traits: Traits) -> dict[str, Any]:
    """What traits know of a place, as a place."""
    located = traits.lat is not None and traits.lon is not None
    return {
        "status": traits.status,
        "families": traits.families,
        "types": traits.types,
        "address": {"insee": traits.insee},
        "position": {"lat": traits.lat, "lon": traits.lon} if located else None,
    }


def _feature(id: str, place: dict[str, Any], known: dict[str, Any]) -> bytes:
    """What is read off a place, beside what is known of it."""
    address, position = place.get("address") or {}, place.get("position")
    properties: dict[str, Any] = {
        **{name: place.get(name) for name in TEXTS},
        **{name: joined(place.get(name) or ()) for name in LISTS},
        **{name: address.get(name) for name in ADDRESS},
        "departement": known["departement"],
        "precision": position.get("precision") if position else None,
        **known,
    }
    geometry = {"type": "Point", "coordinates": [position["lon"], position["lat"]]} if position else None
    return msgspec.json.encode({"type": "Feature", "id": id, "geometry": geometry, "properties": properties})
