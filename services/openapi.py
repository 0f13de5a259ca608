"""OpenAPI 3.1 from the route table and the Structs, so that the document cannot differ from the service."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_origin

import msgspec
from msgspec import Struct

from services.problems import PROBLEM
from services.routes import Handler, Route

REF = "#/components/schemas/{name}"

_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
_SAID = {
    400: "The request could not be read, or a parameter is unknown, repeated or wrong.",
    401: "A valid token is needed.",
    403: "The token does not allow this.",
    404: "There is nothing here.",
    408: "The body did not arrive in time.",
    409: "This contradicts what is there; the detail says what.",
    410: "It was here and has been taken back; the reason is told.",
    412: "The record has changed since it was read.",
    413: "The body is too large.",
    415: "The media type of the body is not understood.",
    428: "Send If-Match with the ETag that was read.",
    429: "Too many requests; Retry-After says when to come back.",
    422: "Some of the body is not valid; each mistake is named by a JSON pointer.",
}


class Mistake(Struct, frozen=True, omit_defaults=True):
    """One mistake: where in the body, or in which parameter, and what is expected there."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None


class Problem(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str | None = None
    errors: tuple[Mistake, ...] = ()


def document(routes: Sequence[Route], *, title: str, version: str, server: str) -> dict[str, Any]:
    """The routes as an OpenAPI 3.1 document; summaries and descriptions are the handlers' docstrings."""
    found, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    names = _operation_ids(routes)
    for route in routes:
        operation = _operation(route, found) | {"operationId": names[id(route)]}
        paths.setdefault(path(route), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": server}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def path(route: Route) -> str:
    """The path of a route without the patterns of its parameters."""
    return _PARAMETER.sub(r"{\1}", route.path)


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The JSON Schema of each type in the table, and the components that they refer to."""
    types = list(dict.fromkeys([Problem, *(each for route in routes for each in _types(route))]))
    schemas, components = msgspec.json.schema_components(types, ref_template=REF)
    return dict(zip(types, schemas, strict=True)), components


def _types(route: Route) -> Iterator[Any]:
    if route.query:
        yield from (field.type for field in msgspec.structs.fields(route.query))
    if route.body is not None:
        yield route.body
    for replied in route.replies.values():
        yield from (each for each in _alternatives(replied) if _is_type(each))


def _alternatives(replied: Any) -> tuple[Any, ...]:
    return replied if isinstance(replied, tuple) else (replied,)


def _is_type(each: Any) -> bool:
    return isinstance(each, type) or get_origin(each) is not None


def _operation_ids(routes: Iterable[Route]) -> dict[int, str]:
    """The name of each handler; where a handler has several routes, the later ones say their path too."""
    taken: dict[str, int] = {}
    for route in routes:
        name = _named(route.handler)
        if name in taken:
            name += "_" + (re.sub(r"\W+", "_", path(route)).strip("_") or "root")
        while name in taken:
            name += "_" + route.method.lower()
        taken[name] = id(route)
    return {number: name for name, number in taken.items()}


def _named(handler: Handler) -> str:
    return getattr(handler, "__name__", type(handler).__name__)


def _operation(route: Route, found: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n")
    operation: dict[str, Any] = {"summary": summary.rstrip("."), "tags": [_tag(route)]}
    if description.strip():
        operation["description"] = description.strip()
    if parameters := [*_path_parameters(route), *_query_parameters(route, found), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None or (route.method in ("POST", "PUT", "PATCH") and route.limit is None):
        schema = {} if route.body in (None, bytes) else found[route.body]
        content = {media: {"schema": schema} for media in route.body_types}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = dict(sorted(_responses(route, found).items()))
    if route.role is not None:
        operation["security"] = [{"token": []}]
        operation["x-role"] = route.role.value
    return operation


def _tag(route: Route) -> str:
    first = route.path.strip("/").partition("/")[0]
    return re.split(r"[.{]", first.lstrip("."))[0] or "pages"


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _header_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for each in route.headers:
        schema = {"type": "string"}
        said = {"description": each.description, "required": each.required, "schema": schema}
        yield {"name": each.name, "in": "header", **said}


def _query_parameters(route: Route, found: Mapping[Any, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for field in msgspec.structs.fields(route.query) if route.query else ():
        schema = _sayable(found[field.type])
        description = schema.pop("description", None)
        if not field.required and isinstance(field.default, str | int | float | bool):
            schema["default"] = field.default
        parameter = {"name": field.encode_name, "in": "query", "required": field.required, "schema": schema}
        if _lists(schema):
            # a,b,c in one parameter: a parameter that is given twice is refused.
            parameter |= {"style": "form", "explode": False}
        yield parameter | ({"description": description} if description else {})


def _sayable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: whoever asks for nothing leaves it out, as an address cannot say null."""
    rest = dict(schema)
    members = [each for each in rest.pop("anyOf", ()) if each != {"type": "null"}]
    if "enum" in rest:
        rest["enum"] = [each for each in rest["enum"] if each is not None]
    if len(members) == 1:
        return {**members[0], **rest}
    return {"anyOf": members, **rest} if members else rest


def _lists(schema: Mapping[str, Any]) -> bool:
    return any(part.get("type") == "array" for part in (schema, *schema.get("anyOf", ())))


def _responses(route: Route, found: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    problem = {PROBLEM: {"schema": found[Problem]}}
    responses = {
        str(status): {"description": _SAID[status], "content": problem} for status in _refusals(route)
    }
    for status, replied in route.replies.items():
        responses[str(status)] = _response(status, replied, found)
    if not any(status < 400 for status in route.replies):
        responses["200"] = {"description": "Done."}
    return responses | {"default": {"description": "The request failed.", "content": problem}}


def _refusals(route: Route) -> Iterator[int]:
    yield 400
    if route.role is not None:
        yield from (401, 403)
    if "{" in route.path:
        yield 404
    if route.body is not None:
        yield from (408, 413, 415, 422)


def _response(status: int, replied: Any, found: Mapping[Any, dict[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    shapes: list[dict[str, Any]] = []
    for each in _alternatives(replied):
        if each is None:
            continue
        if isinstance(each, str):
            content[each] = {"schema": {"type": "string"}}
        elif status < 400:
            shapes.append(found[each])
            schema = shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
            content["application/json"] = {"schema": schema}
        else:
            content[PROBLEM] = {"schema": found[each]}
    said = _SAID.get(status, "Done." if status < 400 else "The request failed.")
    return {"description": said, **({"content": content} if content else {})}


def as_3_0(found: dict[str, Any]) -> dict[str, Any]:
    """A document of ours as OpenAPI 3.0.3, which is what OGC clients read."""
    older: dict[str, Any] = _older(found)
    older["openapi"] = "3.0.3"
    older["info"]["license"].pop("identifier", None)
    return older


def _older(value: Any) -> Any:
    """JSON Schema 2020-12 within `value` as the dialect of OpenAPI 3.0: the cases that msgspec writes."""
    if isinstance(value, list):
        return [_older(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _older(each) for key, each in value.items()}
    if "anyOf" in found and {"type": "null"} in value["anyOf"]:
        return _nullable(found, [each for each in found.pop("anyOf") if each != {"type": "null"}])
    for bound, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(bound), int | float):
            found |= {inclusive: found[bound], bound: True}
    if found.get("required") == []:
        del found["required"]
    if found.pop("contentEncoding", None) == "base64":
        found["format"] = "byte"
    if isinstance(found.get("examples"), list):
        found["example"] = found.pop("examples")[0]
    if "const" in found:
        found["enum"] = [found.pop("const")]
    if isinstance(found.pop("prefixItems", None), list):
        found["items"] = {}
    return found


def _nullable(rest: dict[str, Any], members: list[Any]) -> dict[str, Any]:
    """What may also be null; 3.0 ignores whatever stands beside a reference, so that one is wrapped."""
    if len(members) > 1:
        return {**rest, "anyOf": members, "nullable": True}
    (only,) = members
    return {**rest, **({"allOf": members} if "$ref" in only else only), "nullable": True}
