"""Places in the words of schema.org, for search engines and linked data. Pure."""

from collections.abc import Mapping
from typing import Any

CONTEXT = "https://schema.org"


def node(id: str, place: Mapping[str, Any]) -> dict[str, Any]:
    """A place, as JSON has it, as a node; what schema.org has no word for is left out."""
    found: dict[str, Any] = {
        "@type": "LocalBusiness",
        "@id": f"urn:maillage:{id}",
        "name": place["name"],
        "alternateName": place.get("alternate_names"),
        "address": _postal(place.get("address")),
        "geo": _geo(place.get("position")),
        "description": place.get("description") or place.get("summary"),
        "url": place.get("website"),
        "sameAs": [link["url"] for link in place.get("links", ()) if link["url"].startswith("http")],
        "telephone": place.get("phone"),
        "email": place.get("email"),
        "openingHours": place.get("opening_hours"),
        "foundingDate": place.get("opened_on"),
        "dissolutionDate": place.get("closed_on"),
        "parentOrganization": _organisation(place.get("operator")),
        "identifier": [
            {"@type": "PropertyValue", "propertyID": i["scheme"], "value": i["value"]}
            for i in place.get("identifiers", ())
        ],
        "image": [photo["url"] for photo in place.get("photos", ())],
        "keywords": [*place.get("families", ()), *place.get("types", ())],
    }
    return {name: value for name, value in found.items() if value}


def _postal(address: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if address is None:
        return None
    found = {
        "@type": "PostalAddress",
        "streetAddress": ", ".join(filter(None, (address.get("street"), address.get("extra")))),
        "postalCode": address.get("postcode"),
        "addressLocality": address.get("city"),
        "addressCountry": address.get("country", "FR"),
    }
    return {name: value for name, value in found.items() if value}


def _geo(position: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if position is None:
        return None
    return {"@type": "GeoCoordinates", "latitude": position["lat"], "longitude": position["lon"]}


def _organisation(operator: Mapping[str, Any] | None) -> dict[str, Any] | None:
    name = operator.get("name") if operator else None
    return {"@type": "Organization", "name": name} if name else None
