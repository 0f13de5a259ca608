"""Stored places as lists and exports: CSV with French headings, GeoJSON, NDJSON, schema.org.

CSV, GeoJSON and NDJSON lose nothing: imported again unchanged they give the same places, byte for byte.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec
import phonenumbers
from msgspec import Raw, Struct
from msgspec.structs import replace

from schemas.place import Place
from services import schema_org
from services.forms import Form, guarded, line
from services.places import e164
from services.registry.headings import COLUMNS, HEADINGS, WORDS

BOM = b"\xef\xbb\xbf"


class Stored(Struct, frozen=True):
    """A place as the registry keeps it: its full id, version, time of the last change (RFC 3339)."""

    id: str
    version: int
    updated_at: str
    place: Place


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
    """A place in the words of schema.org, which has none for extensions."""
    return schema_org.node(stored.id, msgspec.to_builtins(replace(stored.place, extensions={})))


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


def _row(stored: Stored) -> bytes:
    cells = flat(stored)
    return line([guarded(_french(target, cells.get(target))) for target, _, _ in COLUMNS])


def _reader(target: str) -> Callable[[Place], Any]:
    group, _, field = target.partition(".")
    if not field:
        return lambda place: getattr(place, group)

    def read(place: Place) -> Any:
        inner = getattr(place, group)
        return None if inner is None else getattr(inner, field)

    return read


SPECIAL = re.compile(r"[\\;|]")
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
CSV: Form[Stored] = Form(start=line(HEADINGS), one=_row)
GEOJSON: Form[Stored] = Form(
    start=b'{"type":"FeatureCollection","features":[\n', one=feature, between=b",\n", end=b"\n]}\n"
)
NDJSON: Form[Stored] = Form(start=b"", one=lambda stored: msgspec.json.encode(stored) + b"\n")
JSONLD: Form[Stored] = Form(
    start=b'{"@context":"https://schema.org","@graph":[\n',
    one=lambda stored: msgspec.json.encode(node(stored)),
    between=b",\n",
    end=b"\n]}\n",
)
