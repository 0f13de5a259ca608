"""`/`, `/conformance`, `/api`: what this service is and where to go on, for programs that find their own way."""

from typing import Any, Literal

from aiohttp import web
from msgspec import Struct
from yarl import URL

from services import http
from services.http import DOCUMENTED, Route
from services.openapi import OPENAPI_3_0
from services.routes import As
from services.sync.api.items import GEOJSON, public
from services.sync.context import SETTINGS

JSON, SCHEMA, HTML = "application/json", "application/schema+json", "text/html"
COLLECTION = "/collections/places"
OGC = "http://www.opengis.net/spec"
REL = "http://www.opengis.net/def/rel/ogc/1.0"
CLASSES = (
    f"{OGC}/ogcapi-common-1/1.0/conf/core",
    f"{OGC}/ogcapi-common-1/1.0/conf/landing-page",
    f"{OGC}/ogcapi-common-1/1.0/conf/json",
    f"{OGC}/ogcapi-common-1/1.0/conf/oas30",
    f"{OGC}/ogcapi-common-2/1.0/conf/collections",
    f"{OGC}/ogcapi-features-1/1.0/conf/core",
    f"{OGC}/ogcapi-features-1/1.0/conf/geojson",
    f"{OGC}/ogcapi-features-1/1.0/conf/oas30",
    f"{OGC}/ogcapi-features-2/1.0/conf/crs",
    f"{OGC}/ogcapi-features-3/1.0/conf/queryables",
    f"{OGC}/ogcapi-features-3/1.0/conf/queryables-query-parameters",
    f"{OGC}/ogcapi-features-3/1.0/conf/filter",
    f"{OGC}/ogcapi-features-3/1.0/conf/features-filter",
    f"{OGC}/cql2/1.0/conf/cql2-text",
    f"{OGC}/cql2/1.0/conf/basic-cql2",
    f"{OGC}/cql2/1.0/conf/advanced-comparison-operators",
    f"{OGC}/cql2/1.0/conf/basic-spatial-functions",
)


class Query(Struct, frozen=True):
    """`f` is the format: JSON is the only one."""

    f: Literal["json"] = "json"


class Hyperlink(Struct, frozen=True):
    """An address, what it is to this one, the media type that it answers, and its name."""

    href: str
    rel: str
    type: str
    title: str


class Landing(Struct, frozen=True):
    """What this service is, and where to go on from here."""

    title: str
    description: str
    links: tuple[Hyperlink, ...]


class Conformance(Struct, frozen=True, rename="camel"):
    """The conformance classes that hold."""

    conforms_to: tuple[str, ...]


def hyperlink(request: web.Request, path: str, rel: str, media: str, title: str) -> Hyperlink:
    """A link to a path of this sync, by its public address."""
    return Hyperlink(public(request, URL(path)), rel, media, title)


def itself(request: web.Request, media: str = JSON) -> Hyperlink:
    """The link of an answer to itself."""
    return hyperlink(request, str(request.rel_url), "self", media, "This document")


def landed(request: web.Request) -> web.Response:
    """The way to what can be asked here, for programs."""
    links = (
        itself(request),
        hyperlink(request, "/", "alternate", HTML, "The places on a map"),
        hyperlink(request, "/api", "service-desc", OPENAPI_3_0, "What can be asked, as OpenAPI 3.0"),
        hyperlink(request, "/openapi.json", "service-desc", JSON, "What can be asked, as OpenAPI 3.1"),
        hyperlink(request, "/docs", "service-doc", HTML, "What can be asked, as a page"),
        hyperlink(request, "/conformance", "conformance", JSON, "The conformance classes that hold"),
        hyperlink(request, "/conformance", f"{REL}/conformance", JSON, "The conformance classes that hold"),
        hyperlink(request, "/collections", "data", JSON, "The collections"),
        hyperlink(request, "/collections", f"{REL}/data", JSON, "The collections"),
        hyperlink(request, f"{COLLECTION}/items", "items", GEOJSON, "The places"),
        hyperlink(request, "/tiles.json", f"{REL}/tilesets-vector", JSON, "The places as vector tiles"),
    )
    said = Landing(request.app[SETTINGS].name, DESCRIPTION, links)
    return http.reply(said, headers={"Vary": "Accept"})


async def show_conformance(request: web.Request) -> web.Response:
    """The classes of OGC API standards that this service conforms to."""
    return http.reply(Conformance(CLASSES))


async def show_api(request: web.Request) -> web.Response:
    """This service as an OpenAPI 3.0 document, which is what programs for maps read."""
    return http.reply(request.app[DOCUMENTED].older, media=OPENAPI_3_0)


DESCRIPTION = (
    "One common view of what networks of third places (tiers-lieux) say in their own registries: "
    "every value with the network that says it, every change in order."
)
ROUTES = (
    Route("GET", "/conformance", show_conformance, query=Query, replies={200: Conformance}),
    Route("GET", "/api", show_api, query=Query, replies={200: As(OPENAPI_3_0, dict[str, Any])}),
)
