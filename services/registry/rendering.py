"""Stored places as lists and exports: CSV with French headings, GeoJSON, NDJSON, schema.org.

CSV, GeoJSON and NDJSON lose nothing: imported again unchanged they give the same places, byte for byte.
"""

import csv as dialect
import io
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
import phonenumbers
from msgspec import Raw, Struct

from schemas.place import Place, Position
from services.places import e164
from services.registry.headings import COLUMNS, HEADINGS, WORDS

BOM = b"\xef\xbb\xbf"


class Stored(Struct, frozen=True):
    """A place as the registry keeps it: its full id, version, time of the last change (RFC 3339)."""

    id: str
    version: int
    updated_at: str
    place: Place


class Form(Struct, frozen=True):
    """How a list of places is written: what stands before, between and after them, and each of them."""

    start: bytes
    one: Callable[[Stored], bytes]
    between: bytes = b""
    end: bytes = b""

    def written(self, places: Iterable[Stored], *, begun: bool = False) -> Iterator[bytes]:
        """These places without start and end; `begun`: others stand before them."""
        for stored in places:
            yield (self.between if begun else b"") + self.one(stored)
            begun = True

    def whole(self, places: Iterable[Stored]) -> Iterator[bytes]:
        """A whole list."""
        yield self.start
        yield from self.written(places)
        yield self.end


def csv(places: Iterable[Stored], *, bom: bool = False) -> Iterator[bytes]:
    """Lines of CSV (RFC 4180, UTF-8), headings first; `bom` marks the encoding for old spreadsheets.

    Lists are joined by `;` (a backslash keeps one inside), lists of objects are JSON. What a spreadsheet
    would run as a formula has an apostrophe before it, which the import takes away again.
    """
    yield BOM if bom else b""
    yield from CSV.whole(places)


def geojson(places: Iterable[Stored]) -> Iterator[bytes]:
    """A FeatureCollection with flat properties, as GIS programs want them."""
    return GEOJSON.whole(places)


def feature(stored: Stored) -> bytes:
    """One GeoJSON Feature; its geometry is null where the place has no position."""
    cells = flat(stored)
    names = (column for column in COLUMNS if column[0] not in ("position.lat", "position.lon"))
    properties = {english: cells.get(target) for target, _, english in names}
    position = stored.place.position
    geometry = position and {"type": "Point", "coordinates": [position.lon, position.lat]}
    return msgspec.json.encode(
        {"type": "Feature", "id": stored.id, "geometry": geometry, "properties": properties}
    )


def ndjson(places: Iterable[Stored]) -> Iterator[bytes]:
    """A line of JSON for each place: id, version, updated_at and the record as it is."""
    return NDJSON.whole(places)


def jsonld(places: Iterable[Stored]) -> Iterator[bytes]:
    """A graph in the words of schema.org, for search engines and linked data."""
    return JSONLD.whole(places)


def node(stored: Stored) -> dict[str, Any]:
    """A place in the words of schema.org; what those have no word for is left out."""
    place = stored.place
    found: dict[str, Any] = {
        "@type": "LocalBusiness",
        "@id": f"urn:maillage:{stored.id}",
        "name": place.name,
        "alternateName": place.alternate_names,
        "address": _postal(place),
        "geo": _geo(place.position),
        "description": place.description or place.summary,
        "url": place.website,
        "sameAs": [link.url for link in place.links if link.url.startswith("http")],
        "telephone": place.phone,
        "email": place.email,
        "openingHours": place.opening_hours,
        "foundingDate": place.opened_on,
        "dissolutionDate": place.closed_on,
        "parentOrganization": _organisation(place),
        "identifier": [
            {"@type": "PropertyValue", "propertyID": i.scheme, "value": i.value} for i in place.identifiers
        ],
        "image": [photo.url for photo in place.photos],
        "keywords": [*place.families, *place.types],
    }
    return {name: value for name, value in found.items() if value}


def flat(stored: Stored) -> dict[str, Any]:
    """A place as one value for each column: text, numbers, lists joined, lists of objects as JSON."""
    cells: dict[str, Any] = {
        "record.id": stored.id,
        "record.version": stored.version,
        "record.updated_at": stored.updated_at,
    }
    for target, read in FIELDS:
        value = read(stored.place)
        if value is None or value == () or value == {}:
            continue
        cells[target] = WRITING[target](value) if target in WRITING else value
    return cells


# --- cells -----------------------------------------------------------------------------------------------


def joined(items: Iterable[str]) -> str:
    """Items joined by `;`, with a backslash before their own `;`, `|` and backslashes."""
    return ";".join(SPECIAL.sub(r"\\\g<0>", item) for item in items)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _extensions(value: dict[str, Raw]) -> str:
    # Joined by hand: the bytes of a neighbour's extension are not ours to rewrite.
    parts = (msgspec.json.encode(name) + b":" + bytes(raw) for name, raw in value.items())
    return (b"{" + b",".join(parts) + b"}").decode()


def _french(target: str, value: Any) -> str:
    if value is None:
        return ""
    if target in WORDS:
        return WORDS[target][value]
    if target == "phone":
        return _national(value)
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


@lru_cache(maxsize=4096)
def _national(phone: str) -> str:
    """A French number as people in France write it, where that is read back as the same number."""
    number = phonenumbers.parse(phone)
    if number.country_code != 33:
        return phone
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    return text if e164(text) == phone else phone


def _guarded(cell: str) -> str:
    """A cell that no spreadsheet runs: plain numbers pass, `=1+1` and the like get an apostrophe."""
    return "'" + cell if cell[:1] in FORMULA and not NUMBER.match(cell) else cell


def _row(stored: Stored) -> bytes:
    cells = flat(stored)
    return _line([_guarded(_french(target, cells.get(target))) for target, _, _ in COLUMNS])


def _line(cells: Iterable[str]) -> bytes:
    line = io.StringIO()
    dialect.writer(line).writerow(cells)
    return line.getvalue().encode()


def _postal(place: Place) -> dict[str, Any] | None:
    address = place.address
    if address is None:
        return None
    street = ", ".join(filter(None, (address.street, address.extra)))
    found = {
        "@type": "PostalAddress",
        "streetAddress": street,
        "postalCode": address.postcode,
        "addressLocality": address.city,
        "addressCountry": address.country,
    }
    return {name: value for name, value in found.items() if value}


def _geo(position: Position | None) -> dict[str, Any] | None:
    if position is None:
        return None
    return {"@type": "GeoCoordinates", "latitude": position.lat, "longitude": position.lon}


def _organisation(place: Place) -> dict[str, Any] | None:
    name = place.operator.name if place.operator else None
    return {"@type": "Organization", "name": name} if name else None


def _reader(target: str) -> Callable[[Place], Any]:
    group, _, field = target.partition(".")
    if not field:
        return lambda place: getattr(place, group)

    def read(place: Place) -> Any:
        inner = getattr(place, group)
        return None if inner is None else getattr(inner, field)

    return read


SPECIAL = re.compile(r"[\\;|]")
FORMULA = frozenset("=+-@\t\r'")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?\Z", re.ASCII)
FIELDS = tuple((target, _reader(target)) for target, _, _ in COLUMNS if not target.startswith("record."))
WRITING: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        ("families", "types", "services", "alternate_names", "operator.legal_forms", "operator.governance"),
        joined,
    ),
    **dict.fromkeys(("links", "labels", "photos"), _json),
    "identifiers": lambda items: joined(f"{item.scheme}:{item.value}" for item in items),
    "extensions": _extensions,
}
CSV = Form(start=_line(HEADINGS), one=_row)
GEOJSON = Form(
    start=b'{"type":"FeatureCollection","features":[\n', one=feature, between=b",\n", end=b"\n]}\n"
)
NDJSON = Form(start=b"", one=lambda stored: msgspec.json.encode(stored) + b"\n")
JSONLD = Form(
    start=b'{"@context":"https://schema.org","@graph":[\n',
    one=lambda stored: msgspec.json.encode(node(stored)),
    between=b",\n",
    end=b"\n]}\n",
)
