"""The OpenAPI document: valid, and the same as the service."""

import importlib
import json
from typing import Annotated, Literal

import pytest
from aiohttp import web
from msgspec import Meta, Struct
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from services.http import Role, Route, reply
from services.openapi import as_3_0, document, info


class Asked(Struct, frozen=True, rename={"start": "from"}):
    """What may be asked."""

    limit: Annotated[int, Meta(ge=1, le=100, description="How many at most.")] = 10
    start: str | None = None
    families: tuple[str, ...] = ()
    near: tuple[float, float, float] | None = None
    scale: Annotated[float, Meta(gt=0)] = 1.0
    status: Literal["open", "closed"] | None = None


class Sent(Struct, frozen=True):
    """What is sent."""

    name: Annotated[str, Meta(min_length=1)]
    inner: "tuple[Sent, ...]" = ()


class Shown(Struct, frozen=True):
    """What is shown."""

    id: str
    kind: Literal["place"]
    other: Sent | None
    sent: Sent


async def list_things(request: web.Request) -> web.Response:
    """List things.

    In pages that stay the same while others write.
    """
    return reply(())


async def put_thing(request: web.Request) -> web.Response:
    """Write a thing."""
    return reply(())


ROUTES = (
    Route("GET", "/things", list_things, query=Asked, replies={200: (tuple[Shown, ...], "text/csv")}),
    Route("PUT", "/things/{id}", put_thing, body=Sent, replies={200: Shown, 201: Shown}, role=Role.EDITOR),
    Route("GET", r"/exports/{name:[a-z]{2,8}}.{format}", list_things, replies={200: "text/csv"}),
    Route("DELETE", "/things/{id}", put_thing, replies={204: None}, role=Role.ADMIN),
    Route("POST", "/imports", list_things, limit=None, body_type=("text/csv", "application/geo+json")),
)
DOCUMENT = document(ROUTES, info("test", {"name": "Le réseau"}))


def test_the_document_is_valid() -> None:
    """Tools that read OpenAPI 3.1 can read it, also after JSON."""
    OpenAPIV31SpecValidator(json.loads(json.dumps(DOCUMENT))).validate()


def test_every_route_is_described() -> None:
    """Each route of the table stands in the document under its path and method, once."""
    found = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert found == {
        ("GET", "/things"),
        ("PUT", "/things/{id}"),
        ("DELETE", "/things/{id}"),
        ("GET", "/exports/{name}.{format}"),
        ("POST", "/imports"),
    }
    names = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))
    assert {"list_things", "put_thing"} <= set(names)


def test_handlers_document_themselves() -> None:
    """The summary is the first line of the docstring, the description all of it and what may be asked."""
    operation = DOCUMENT["paths"]["/things"]["get"]
    assert operation["summary"] == "List things"
    assert operation["description"].split("\n\n") == [
        "List things.",
        "In pages that stay the same while others write.",
        "What may be asked.",
    ]
    assert DOCUMENT["info"]["contact"] == {"name": "Le réseau"}
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {"things", "exports", "imports"}


def test_parameters_come_from_the_structs() -> None:
    """Names, bounds, choices, defaults and descriptions are those that are enforced."""
    parameters = {each["name"]: each for each in DOCUMENT["paths"]["/things"]["get"]["parameters"]}
    assert list(parameters) == ["limit", "from", "families", "near", "scale", "status"]
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}
    assert parameters["limit"]["description"] == "How many at most."
    assert (parameters["families"]["style"], parameters["families"]["explode"]) == ("form", False)
    assert parameters["from"]["schema"] == {"type": "string"}
    assert parameters["status"]["schema"] == {"type": "string", "enum": ["closed", "open"]}
    assert not any(each["required"] for each in parameters.values())
    exported = DOCUMENT["paths"]["/exports/{name}.{format}"]["get"]["parameters"]
    assert [(each["name"], each["in"], each["required"]) for each in exported] == [
        ("name", "path", True),
        ("format", "path", True),
    ]


def test_bodies_and_replies_refer_to_shapes() -> None:
    """The shape of a Struct is said once and referred to."""
    operation = DOCUMENT["paths"]["/things/{id}"]["put"]
    assert operation["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Sent"
    }
    assert DOCUMENT["components"]["schemas"].keys() == {"Sent", "Shown", "Problem", "Mistake"}
    listed = DOCUMENT["paths"]["/things"]["get"]["responses"]["200"]["content"]
    assert listed.keys() == {"application/json", "text/csv"}
    imported = DOCUMENT["paths"]["/imports"]["post"]["requestBody"]["content"]
    assert imported.keys() == {"text/csv", "application/geo+json"}


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/things", "get", {"200", "400", "default"}),
        (
            "/things/{id}",
            "put",
            {"200", "201", "400", "401", "403", "404", "408", "413", "415", "422", "default"},
        ),
        ("/things/{id}", "delete", {"204", "400", "401", "403", "404", "default"}),
    ],
)
def test_refusals_are_derived(path: str, method: str, statuses: set[str]) -> None:
    """Whatever the door may answer by itself is documented without being written down."""
    assert DOCUMENT["paths"][path][method]["responses"].keys() == statuses


def test_roles_are_documented() -> None:
    """Who may call is in the document; reading is open."""
    assert DOCUMENT["paths"]["/things/{id}"]["put"]["security"] == [{"token": []}]
    assert DOCUMENT["paths"]["/things/{id}"]["put"]["x-role"] == "editor"
    assert "security" not in DOCUMENT["paths"]["/things"]["get"]


def test_nothing_points_outside() -> None:
    """Every reference is inside the document: it can be read without a network."""
    text = json.dumps(DOCUMENT)
    references = [part.partition('"')[0] for part in text.split('"$ref": "')[1:]]
    assert references
    assert all(reference.startswith("#/components/schemas/") for reference in references)


def test_old_clients_can_read_it_too() -> None:
    """As OpenAPI 3.0 the document is valid, and what may be null is said as it was said then."""
    older = as_3_0(DOCUMENT)
    OpenAPIV30SpecValidator(json.loads(json.dumps(older))).validate()
    parameters = {each["name"]: each["schema"] for each in older["paths"]["/things"]["get"]["parameters"]}
    assert parameters["from"] == {"type": "string"}
    assert parameters["scale"] == {"type": "number", "minimum": 0, "exclusiveMinimum": True, "default": 1.0}
    assert parameters["near"] == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 3,
        "maxItems": 3,
    }
    shown = older["components"]["schemas"]["Shown"]["properties"]
    assert shown["other"] == {
        "type": "object",
        "allOf": [{"$ref": "#/components/schemas/Sent"}],
        "nullable": True,
    }
    assert shown["kind"] == {"type": "string", "enum": ["place"]}
    assert DOCUMENT["openapi"] == "3.1.0"


@pytest.mark.parametrize("service", ["registry", "sync", "notify"])
def test_the_routes_of_each_service_are_documented(service: str) -> None:
    """Every route says what it does and what it replies, and the whole is valid OpenAPI, new and old."""
    routes = importlib.import_module(f"services.{service}.api").ROUTES
    found = document(routes, info(service))
    OpenAPIV31SpecValidator(json.loads(json.dumps(found))).validate()
    OpenAPIV30SpecValidator(json.loads(json.dumps(as_3_0(found)))).validate()
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], f"{method} {path} says nothing"
    silent = [f"{route.method} {route.path}" for route in routes if not route.replies]
    assert not silent, f"without replies: {silent}"
    assert len({(route.method, route.path) for route in routes}) == len(routes)


@pytest.mark.parametrize("service", ["registry", "sync", "notify"])
def test_every_parameter_says_what_it_means(service: str) -> None:
    """Whoever writes a client is told more of a parameter than its name."""
    routes = importlib.import_module(f"services.{service}.api").ROUTES
    for path, methods in document(routes, info(service))["paths"].items():
        for method, operation in methods.items():
            for each in operation.get("parameters", ()):
                assert each["description"] != each["name"], f"{method} {path} does not explain {each['name']}"


def test_headers_that_a_route_looks_at_are_told() -> None:
    """Whoever writes a client from the document knows that a change needs If-Match."""
    routes = importlib.import_module("services.registry.api").ROUTES
    paths = document(routes, info("registry"))["paths"]
    headers = {
        (verb, path): [
            p["name"] for p in operation.get("parameters", ()) if p["in"] == "header" and p["required"]
        ]
        for path, verbs in paths.items()
        for verb, operation in verbs.items()
    }
    needed = {("patch", "/places/{id}"), ("delete", "/places/{id}")}
    assert {key for key, names in headers.items() if names == ["If-Match"]} == needed
    assert "Idempotency-Key" in str(paths["/places"]["post"]["parameters"])


def test_a_key_that_stands_for_a_token_is_told() -> None:
    """Whoever reads the document knows that one route opens by a key in the query as well, and no other does."""
    found = document(importlib.import_module("services.registry.api").ROUTES, info("registry"))
    assert found["components"]["securitySchemes"]["key"] == {"type": "apiKey", "in": "query", "name": "key"}
    opened = [
        (verb, path)
        for path, verbs in found["paths"].items()
        for verb, operation in verbs.items()
        if {"key": []} in operation.get("security", ())
    ]
    assert opened == [("get", "/reports/{id}")]
    assert "key" not in DOCUMENT["components"]["securitySchemes"]
