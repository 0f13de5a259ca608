"""A merged place as a flat GeoJSON feature: what GIS programs open. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from schemas.view import Traits, View, ViewPut
from services.sync.crs import CRS84, projected
from services.sync.merge import UNKNOWN

Kind = Literal["string", "integer", "date-time"]
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
)
LISTS = ("families", "types", "services", "alternate_names")
ADDRESS = ("street", "extra", "postcode", "city", "insee", "country")


class Property(Struct, frozen=True):
    """What a flat feature says under a name, in what form, and whether places can be chosen by it."""

    name: str
    kind: Kind
    description: str
    queryable: bool = False


# Their order is that of the columns of files.
PROPERTIES = (
    Property("name", "string", "What it is called.", queryable=True),
    Property("status", "string", "project, open, paused or closed.", queryable=True),
    Property("kind", "string", "physical, itinerant, virtual or undisclosed.", queryable=True),
    Property("summary", "string", "What it is, in a sentence."),
    Property("website", "string", "Its address on the web."),
    Property("phone", "string", "As E.164."),
    Property("email", "string", "Where it can be written to."),
    Property("opening_hours", "string", "In the syntax of OpenStreetMap."),
    Property("opening_hours_text", "string", "As people write them."),
    Property("families", "string", "Shared landmarks, joined by `;`.", queryable=True),
    Property("types", "string", "Words of networks, joined by `;`.", queryable=True),
    Property("services", "string", "What it offers, joined by `;`.", queryable=True),
    Property("alternate_names", "string", "Other names, joined by `;`."),
    Property("labels", "string", "Codes of statements about it, joined by `;`.", queryable=True),
    Property("street", "string", "Street and number."),
    Property("extra", "string", "The rest of the address."),
    Property("postcode", "string", "With its zeros.", queryable=True),
    Property("city", "string", "The commune, as it is written.", queryable=True),
    Property("insee", "string", "The INSEE code of the commune.", queryable=True),
    Property("country", "string", "Two letters (ISO 3166).", queryable=True),
    Property("departement", "string", "The code of the département.", queryable=True),
    Property(
        "precision",
        "string",
        "How well the position is known: exact, street, commune, unknown.",
        queryable=True,
    ),
    Property("opened_year", "integer", "The year in which it opened.", queryable=True),
    Property("closed_year", "integer", "The year in which it closed.", queryable=True),
    Property("networks", "string", "Node ids of the networks that say it, joined by `;`.", queryable=True),
    Property(
        "licenses",
        "string",
        "The licences of their records, joined by `;`; `?` where one has none.",
        queryable=True,
    ),
    Property("voices", "integer", "How many records give it values.", queryable=True),
    Property("updated", "date-time", "When a network last said something of it.", queryable=True),
)
QUERYABLES: Mapping[str, Property] = {each.name: each for each in PROPERTIES if each.queryable}


def joined(values: Iterable[str]) -> str | None:
    """A list as one value: items joined by `;`."""
    return ";".join(values) or None


def year(date: str | None) -> int | None:
    """The year of a date that may be no more than one."""
    return int(date[:4]) if date else None


def voices(view: View) -> int:
    """How many records give a place its values."""
    return sum(not voice.withdrawn and voice.copy_of is None for voice in view.records)


def feature(view: View, place: dict[str, Any], traits: Traits, licenses: Iterable[str]) -> bytes:
    """The place as GeoJSON. Scalars only, lists joined, and one date-time: `updated`."""
    known = {
        "departement": traits.departement,
        "labels": joined(traits.labels),
        "networks": joined(view.networks),
        "licenses": joined(licenses),
        "voices": voices(view),
        "updated": view.updated,
    }
    return _feature(view.id, place, known)


def told(put: ViewPut, time: str) -> bytes:
    """The place as an event told it at a time, which is its `updated`; how many voices it had is not in there.

    Where it was too long for an event: by its traits alone, and `dataref` says where it is to be read.
    """
    place = msgspec.json.decode(put.after) or _outline(put.traits)
    known = {
        "departement": put.traits.departement,
        "labels": joined(put.traits.labels),
        "networks": joined(put.networks),
        "licenses": place.get("license") or UNKNOWN,
        "updated": time,
    }
    return _feature(put.id, place, known, {"dataref": put.dataref} if put.dataref else {})


def linked(id: str, networks: Iterable[str], licenses: Iterable[str], link: str) -> bytes:
    """A place that may not be passed on: whose it is, why not, and where to read it."""
    properties = {"networks": joined(networks), "licenses": joined(licenses), "link": link}
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


def _feature(id: str, place: dict[str, Any], known: dict[str, Any], more: Mapping[str, Any] = {}) -> bytes:
    """What is read off a place, beside what is known of it."""
    address, position = place.get("address") or {}, place.get("position")
    found: dict[str, Any] = {
        **{name: place.get(name) for name in TEXTS},
        **{name: joined(place.get(name) or ()) for name in LISTS},
        **{name: address.get(name) for name in ADDRESS},
        "precision": position.get("precision") if position else None,
        "opened_year": year(place.get("opened_on")),
        "closed_year": year(place.get("closed_on")),
        **known,
    }
    properties = {each.name: found.get(each.name) for each in PROPERTIES} | dict(more)
    geometry = {"type": "Point", "coordinates": [position["lon"], position["lat"]]} if position else None
    return msgspec.json.encode({"type": "Feature", "id": id, "geometry": geometry, "properties": properties})


class Shape(Struct, frozen=True):
    """What is told of a feature: which properties (None: all), and its position, in which system."""

    names: tuple[str, ...] | None = None
    placed: bool = True
    system: str = CRS84


WHOLE = Shape()


class _Point(Struct):
    type: str
    coordinates: tuple[float, float]


class _Feature(Struct):
    type: str
    id: str
    geometry: _Point | None
    properties: dict[str, Raw]


def shaped(item: bytes, shape: Shape) -> bytes:
    """A feature with what is told of it."""
    if shape == WHOLE:
        return item
    found = msgspec.json.decode(item, type=_Feature)
    if shape.names is not None:
        found.properties = {name: found.properties[name] for name in shape.names if name in found.properties}
    if found.geometry is not None:
        at = projected(shape.system)(*found.geometry.coordinates) if shape.placed else None
        found.geometry = _Point("Point", at) if at is not None else None
    return msgspec.json.encode(found)
