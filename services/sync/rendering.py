"""Places of the view as files: GeoJSON, GeoJSON lines, CSV, schema.org. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from services import licenses, schema_org
from services.forms import Form, guarded, line
from services.sync import items
from services.sync.citing import Cited
from services.sync.items import Property

# What a file may say of a place, beside its id and its point.
COLUMNS = (
    *items.PROPERTIES,
    Property("link", "string", "Where it is read, of a place that may not be passed on."),
    Property("dataref", "string", "Where it is read, of a past place that no event could hold."),
)
NAMES = tuple(column.name for column in COLUMNS)


class Entry(Struct, frozen=True):
    """A place as a file shows it: its flat feature, who says it, under which licences.

    `place` is it as people read it, for forms that say more than the feature; `link` is where to read what may not be
    passed on.
    """

    id: str
    item: bytes
    networks: tuple[str, ...]
    licenses: tuple[str, ...]
    place: Mapping[str, Any] | None = None
    link: str | None = None


class File(Struct, frozen=True):
    """What a file is called, under which licence it may be used as a whole, where it is, and what of it is cited."""

    title: str
    license: str
    url: str
    cited: Cited


class Point(Struct, frozen=True):
    """A point in degrees, longitude first."""

    coordinates: tuple[float, float]
    type: str = "Point"


class Feature(Struct):
    """A flat feature as it is stored."""

    type: str
    id: str
    geometry: Point | None
    properties: dict[str, Any]


FEATURES = msgspec.json.Decoder(Feature)


def geojson(file: File) -> Form[Entry]:
    """A FeatureCollection that says before its features whose they are."""
    about = {
        "type": "FeatureCollection",
        "name": "places",
        "title": file.title,
        "license": licenses.licence(file.license),
        "attribution": file.cited,
    }
    start = msgspec.json.encode(about)[:-1] + b',"features":[\n'
    return Form(start, lambda entry: entry.item, between=b",\n", end=b"\n]}\n")


def geojsonl(_: File) -> Form[Entry]:
    """A feature a line, and nothing else."""
    return Form(b"", lambda entry: entry.item + b"\n")


def csv(_: File) -> Form[Entry]:
    """A line a place (RFC 4180); what a spreadsheet would run as a formula has an apostrophe before it."""
    return Form(line(("id", "lon", "lat", *NAMES)), _row)


def jsonld(file: File) -> Form[Entry]:
    """A graph in the words of schema.org: the data set, the networks, then the places."""
    about = [_dataset(file), *map(_organisation, file.cited.networks)]
    start = b'{"@context":%b,"@graph":[\n' % msgspec.json.encode(schema_org.CONTEXT)
    return Form(
        start + b",\n".join(map(msgspec.json.encode, about)),
        lambda entry: b",\n" + msgspec.json.encode(_node(entry, file)),
        end=b"\n]}\n",
    )


def _row(entry: Entry) -> bytes:
    found = FEATURES.decode(entry.item)
    point = found.geometry.coordinates if found.geometry else (None, None)
    said = (_cell(name, found.properties.get(name)) for name in NAMES)
    return line((found.id, *(_cell("", number) for number in point), *said))


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    return guarded(_spaced(str(value)) if name == "phone" else str(value))


def _spaced(phone: str) -> str:
    """A French number as people there write it: a spreadsheet would make another one of `+33…`."""
    rest = phone.removeprefix("+33")
    if rest == phone or len(rest) != 9 or not rest.isdecimal():
        return phone
    return " ".join(("0" + rest)[at : at + 2] for at in range(0, 10, 2))


def _dataset(file: File) -> dict[str, Any]:
    cited = file.cited
    return {
        "@type": "Dataset",
        "@id": file.url,
        "name": file.title,
        "url": cited.address,
        "license": licenses.address(file.license),
        "creator": {"@type": "Organization", "name": cited.name, "url": cited.address},
        "isBasedOn": [{"@id": _urn(network.node)} for network in cited.networks],
        "version": cited.cursor,
        **({"dateModified": cited.date} if cited.date else {}),
        **({"identifier": cited.view_root} if cited.view_root else {}),
    }


def _organisation(network: Any) -> dict[str, Any]:
    return {
        "@type": "Organization",
        "@id": _urn(network.node),
        "name": network.name,
        "url": network.url,
    }


def _node(entry: Entry, file: File) -> dict[str, Any]:
    """A place, and what the file says of it itself: who says it, under which licences, where it is read."""
    found = schema_org.node(entry.id, entry.place) if entry.place is not None else {}
    about = {
        "@type": "CreativeWork",
        "isPartOf": {"@id": file.url},
        "creator": [{"@id": _urn(node)} for node in entry.networks],
        "license": [licenses.address(code) for code in entry.licenses],
        "url": entry.link,
    }
    said = {name: value for name, value in about.items() if value}
    return {"@type": "LocalBusiness", "@id": _urn(entry.id), **found, "subjectOf": said}


def _urn(id: str) -> str:
    return f"urn:maillage:{id}"
