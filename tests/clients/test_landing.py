"""From the address of a sync a program finds all that there is, by links alone."""

import json
from typing import Any

import jsonschema
import pytest

from services.sync.crs import SYSTEMS
from services.sync.items import QUERYABLES
from tests.clients.published import TIMES, Published

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATHS = ("/", "/conformance", "/collections", "/collections/places", "/collections/places/queryables", "/api")
OGC = "http://www.opengis.net/spec"


async def test_every_link_leads_to_what_it_says(published: Published) -> None:
    """Links name the public address, whatever Host was asked, and what is there has the media type that they say."""
    seen: dict[str, str] = {}
    for path in PATHS[:4]:
        _, body, _ = await published.sync.call("GET", path, headers={"Host": "ailleurs.exemple"})
        links = body.get("links", []) + [
            link for each in body.get("collections", ()) for link in each["links"]
        ]
        seen |= {link["href"]: link["type"] for link in links if link["rel"] != "license"}
    assert len(seen) >= 8
    for href, media in seen.items():
        assert href.startswith(published.url + "/"), href
        path, accepted = href.removeprefix(published.url), {"Accept": media}
        status, _, headers = await published.sync.call("GET", path, headers=accepted)
        assert (status, headers["Content-Type"].partition(";")[0]) == (200, media.partition(";")[0]), href


async def test_the_landing_page_has_what_clients_look_for(published: Published) -> None:
    """Relations of OGC API Common and Features; a browser is shown a page, unless JSON is asked for."""
    landing = await published.sync.get("/")
    rels = {link["rel"] for link in landing["links"]}
    assert {"self", "alternate", "service-desc", "service-doc", "conformance", "data", "items"} <= rels
    (api,) = [each["href"] for each in landing["links"] if "version=3.0" in each["type"]]
    assert api == f"{published.url}/api"
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    status, _, headers = await published.sync.call("GET", "/", headers=browser)
    assert (status, headers["Content-Type"].partition(";")[0]) == (200, "text/html")
    assert "Accept" in headers["Vary"]
    status, body, _ = await published.sync.call("GET", "/?f=json", headers=browser)
    assert (status, body["title"]) == (200, landing["title"])


async def test_json_is_the_only_format(published: Published) -> None:
    """`f=json` is taken everywhere, no other format is promised, and nothing that is unknown is passed over."""
    for path in PATHS:
        assert (await published.sync.call("GET", f"{path}?f=json"))[0] == 200, path
        for wrong in ("f=html", "f=null", "colour=red", "f=json&f=json"):
            assert (await published.sync.call("GET", f"{path}?{wrong}"))[0] == 400, (path, wrong)


async def test_the_classes_are_those_that_hold(published: Published) -> None:
    """What is declared is told, and nothing twice."""
    classes = (await published.sync.get("/conformance"))["conformsTo"]
    assert len(set(classes)) == len(classes)
    wanted = ("features-1/1.0/conf/core", "features-1/1.0/conf/oas30", "common-2/1.0/conf/collections")
    assert {f"{OGC}/ogcapi-{each}" for each in wanted} <= set(classes)


async def test_the_collection_covers_its_places(published: Published) -> None:
    """Its box is that of the positions, its time from the first to the last that a network said."""
    (collection,) = (await published.sync.get("/collections"))["collections"]
    assert {**await published.sync.get("/collections/places"), "links": 0} == {**collection, "links": 0}
    longitudes, latitudes = zip(*(each.at for each in published.places if each.at), strict=True)
    box = [min(longitudes), min(latitudes), max(longitudes), max(latitudes)]
    assert collection["extent"]["spatial"]["bbox"] == [box]
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%S.000Z") for time in TIMES)
    assert collection["extent"]["temporal"]["interval"] == [[first, last]]
    assert collection["crs"] == list(SYSTEMS)
    assert (collection["id"], collection["itemType"]) == ("places", "feature")
    _, _, headers = await published.sync.call("GET", "/collections/places")
    again = await published.sync.call(
        "GET", "/collections/places", headers={"If-None-Match": headers["ETag"]}
    )
    assert (again[0], bool(again[2]["Merge-Cursor"])) == (304, True)


async def test_every_queryable_works(published: Published) -> None:
    """Each is a parameter of the items, and a name in `filter`, of the type that the schema says."""
    schema = await published.sync.get("/collections/places/queryables")
    jsonschema.Draft202012Validator.check_schema(schema)
    properties = schema["properties"]
    assert properties.keys() == {*QUERYABLES, "geometry"}
    assert properties["geometry"]["format"] == "geometry-point"
    values: dict[str, Any] = {"status": "open", "departement": "35", "insee": "35238"}
    for name in QUERYABLES:
        kind = properties[name].get("format", properties[name]["type"])
        value = values.get(name, {"integer": 1, "date-time": "2026-01-10T08:30:00Z"}.get(kind, "x"))
        literal = {"integer": f"{value}", "date-time": f"TIMESTAMP('{value}')"}.get(kind, f"'{value}'")
        asked = await published.sync.get("/collections/places/items", params={name: str(value)})
        filtered = await published.sync.get(
            "/collections/places/items", params={"filter": f"{name} = {literal}"}
        )
        assert asked["numberMatched"] == filtered["numberMatched"], name
    assert filtered["numberMatched"] == len(published.ids(lambda each: each.updated == TIMES[1]))


async def test_the_document_names_each_collection(published: Published) -> None:
    """Paths of the collection are literal, as programs look for them, and every parameter is explained."""
    _, body, headers = await published.sync.call("GET", "/api")
    document = json.loads(body)
    assert headers["Content-Type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert document["openapi"].startswith("3.0.")
    assert (await published.sync.get("/openapi.json"))["openapi"].startswith("3.1.")
    items = document["paths"]["/collections/places/items"]["get"]
    assert {each["name"] for each in items["parameters"]} >= {"limit", "bbox", "datetime", *QUERYABLES}
    # QGIS takes pages of a thousand where it is told that it may, else of the default.
    (limit,) = (each["schema"] for each in items["parameters"] if each["name"] == "limit")
    assert limit == {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100}
    for methods in document["paths"].values():
        for operation in methods.values():
            for each in operation.get("parameters", ()):
                assert len(each["description"]) > len(each["name"]), each
