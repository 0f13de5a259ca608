"""The files of the view as a catalogue in DCAT, as portals of open data harvest it. Pure."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from services import licenses
from services.sync.citing import Cited
from services.sync.rendering import File

CONTEXT = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "locn": "http://www.w3.org/ns/locn#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
CONTINUOUS = "http://publications.europa.eu/resource/authority/frequency/UPDATE_CONT"
PUBLIC = "http://publications.europa.eu/resource/authority/access-right/PUBLIC"
FRENCH = "http://publications.europa.eu/resource/authority/language/FRA"
MEDIA = "https://www.iana.org/assignments/media-types/"
# The first is of the standard, the second the one that data.gouv.fr reads.
WKT = "http://www.opengis.net/ont/geosparql#wktLiteral"
GEOJSON = "https://www.iana.org/assignments/media-types/application/vnd.geo+json"
KEYWORDS = ("tiers-lieux", "coworking", "fablab", "tiers-lieu")


class Distribution(Struct, frozen=True):
    """A file of a data set: its ending and media type, and its length in bytes where that is known."""

    file: File
    ending: str
    media: str
    size: int | None


class Dataset(Struct, frozen=True):
    """A data set: its name in addresses, what is said of it, and its files."""

    name: str
    about: str
    files: tuple[Distribution, ...]


def catalogue(
    cited: Cited, sets: Sequence[Dataset], contact: str, extent: Sequence[float] | None
) -> dict[str, Any]:
    """A catalogue of data sets; `contact` is an e-mail or web address, `extent` west, south, east and north."""
    publisher = _publisher(cited)
    return {
        "@context": CONTEXT,
        "@id": f"{cited.address}exports/dcat.jsonld",
        "@type": "dcat:Catalog",
        "dct:title": _french(sets[0].files[0].file.title),
        "dct:description": _french(sets[0].about),
        "dct:publisher": publisher,
        "dct:language": {"@id": FRENCH},
        "foaf:homepage": {"@id": cited.address},
        **_modified(cited),
        "dcat:dataset": [_dataset(each, cited, contact, extent) for each in sets],
    }


def _dataset(found: Dataset, cited: Cited, contact: str, extent: Sequence[float] | None) -> dict[str, Any]:
    whole, id = found.files[0].file, f"{cited.address}exports/dcat.jsonld#{found.name}"
    return {
        # A part of the catalogue, which is there to be read.
        "@id": id,
        "@type": "dcat:Dataset",
        "dct:identifier": id,
        "dct:title": _french(whole.title),
        "dct:description": _french(found.about),
        "dct:publisher": {"@id": cited.address},
        "dct:creator": [_organisation(network.url, network.name) for network in cited.networks],
        "dcat:contactPoint": _contact(cited.name, contact),
        "dcat:keyword": list(KEYWORDS),
        "dcat:landingPage": {"@id": cited.address},
        "dct:accrualPeriodicity": {"@id": CONTINUOUS},
        "dct:accessRights": {"@id": PUBLIC},
        "dct:language": {"@id": FRENCH},
        "dcat:version": cited.cursor,
        **_licensed(whole.license),
        **_modified(cited),
        **({"dct:spatial": _location(extent)} if extent else {}),
        "dcat:distribution": [_distribution(each) for each in found.files],
    }


def _distribution(found: Distribution) -> dict[str, Any]:
    url = found.file.url
    return {
        "@id": url,
        "@type": "dcat:Distribution",
        "dct:identifier": url,
        "dct:title": url.rpartition("/")[2],
        "dcat:accessURL": {"@id": url},
        "dcat:downloadURL": {"@id": url},
        "dcat:mediaType": {"@id": MEDIA + found.media.partition(";")[0]},
        "dct:format": found.ending,
        **_licensed(found.file.license),
        **_modified(found.file.cited),
        **({"dcat:byteSize": _typed(str(found.size), "xsd:nonNegativeInteger")} if found.size else {}),
    }


def _licensed(code: str) -> dict[str, Any]:
    """The licence by its address, and by the title under which portals know it."""
    return {"dct:license": {"@id": licenses.address(code)}, "dct:rights": licenses.licence(code).title}


def _modified(cited: Cited) -> dict[str, Any]:
    return {"dct:modified": _typed(cited.date, "xsd:dateTime")} if cited.date else {}


def _publisher(cited: Cited) -> dict[str, Any]:
    return {"@id": cited.address, **_organisation(cited.address, cited.name)}


def _organisation(url: str, name: str) -> dict[str, Any]:
    return {"@type": "foaf:Organization", "foaf:name": name, "foaf:homepage": {"@id": url}}


def _contact(name: str, contact: str) -> dict[str, Any]:
    found = {"@type": "vcard:Organization", "vcard:fn": name}
    if "://" in contact:
        return {**found, "vcard:hasURL": {"@id": contact}}
    return {**found, **({"vcard:hasEmail": {"@id": f"mailto:{contact}"}} if contact else {})}


def _location(extent: Sequence[float]) -> dict[str, Any]:
    west, south, east, north = extent
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    wkt = ", ".join(f"{lon} {lat}" for lon, lat in corners)
    ring = ", ".join(f"[{lon}, {lat}]" for lon, lat in corners)
    return {
        "@type": "dct:Location",
        "dcat:bbox": _typed(f"POLYGON(({wkt}))", WKT),
        "locn:geometry": _typed(f'{{"type": "Polygon", "coordinates": [[{ring}]]}}', GEOJSON),
    }


def _french(text: str) -> dict[str, str]:
    return {"@value": text, "@language": "fr"}


def _typed(value: str, type: str) -> dict[str, str]:
    return {"@value": value, "@type": type}
