"""OpenAPI 3.1 from the route table and the Structs, so that the document cannot differ from the service."""

import inspect
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, get_origin

import msgspec
from msgspec import Struct

from services.problems import PROBLEM
from services.release import release
from services.routes import As, Handler, Route

REF = "#/components/schemas/{name}"
OPENAPI_3_0 = "application/vnd.oai.openapi+json;version=3.0"
LICENSE, LICENSE_TEXT = "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"

_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
_JSON = re.compile(r"application/([\w.-]+\+)?json(;.*)?")
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


# Parameters of a path, and those that mean the same wherever they are asked.
_MEANT = {
    "after": "Where to read on: the cursor of what was read last, `<epoch>.<number>`.",
    "area": "Only places in a named area, by its id or its name.",
    "as_of": "As it was at a time (RFC 3339), or at the end of a day in UTC; without it, now.",
    "back": "The page to go back to.",
    "bbox": "Only places within west, south, east, north, in degrees.",
    "bucket": "The number of a bucket, 0 to 255.",
    "color": "The colour of the framed map, as six hexadecimal digits.",
    "closed_year": "Only places that closed in this year.",
    "confirm": "How many places are to be withdrawn: says that so many are meant.",
    "datetime": "Only places of which a network last said something then: a time, a date, or two with a `/` between.",
    "departement": "Only places of any of these départements, by number.",
    "disputed": "Instead, the pairs of which two owners say the contrary.",
    "duplicate": "`accept` adds the place although one like it is there.",
    "ending": "The format of the file.",
    "f": "The format of the answer.",
    "family": "Only places of any of these families, by code.",
    "format": "The format of the list; else it is told from the bytes.",
    "id": "The id of a record, or of a place by any record in it.",
    "ids": "Only the places that these ids find.",
    "insee": "Only places in any of these communes, by INSEE code.",
    "key": "The secret that was told when it was made.",
    "label": "Only places with any of these labels, by code.",
    "license": "Only what is under any of these licences.",
    "limit": "How many at most.",
    "mapping": "Which column is which field, as JSON.",
    "missing": "What becomes of places that are not in the list any more.",
    "mode": "Whether the list is only looked at, or taken over.",
    "name": "The name of a file.",
    "near": "Only places around a point: latitude, longitude, kilometres.",
    "network": "Only what is of any of these networks, by id or by the name that this service has for them.",
    "node": "The id of a node.",
    "offset": "How many to pass over first.",
    "opened_year": "Only places that opened in this year.",
    "page": "The token that the page before gave for the next one.",
    "photos": "`1` shows photos of other sites, which learn of it.",
    "q": "Only places in whose texts all these words stand, whatever their accents.",
    "record": "Only what is about this record.",
    "said": "Only places that say something of this field.",
    "since": "Where to read on: the cursor of what was read last, `<epoch>.<number>`.",
    "source": "The name of the list: places that came from it before and are missing now are withdrawn.",
    "state": "Only what is in this state.",
    "status": "Only places of any of these states.",
    "table": "The name of a table.",
    "to": "The language.",
    "type": "Only places of any of these words of networks, or of ones close to them.",
    "unsaid": "Only places that say nothing of this field.",
    "updated_since": "Only places that changed at or after this time.",
    "v": "The version of a file, so that a new one has a new address.",
    "verified": "Only places that somebody verified then: a time, a date, or two with a `/` between.",
    "voice": "What this network says is shown first.",
    "wait": "Seconds to wait for something new.",
    "x": "Which tile, from the west.",
    "y": "Which tile, from the north.",
    "z": "The zoom.",
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


class Info(Struct, frozen=True):
    """What the whole document is about: a sentence or more, and whom to ask."""

    title: str
    version: str
    description: str
    contact: Mapping[str, str]


def info(service: str, contact: Mapping[str, str] | None = None) -> Info:
    """What a service promises, as its package says it, and whom to ask."""
    package = sys.modules.get(f"services.{service}")
    return Info(
        title=f"maillage {service}",
        version=release(),
        description=(package and inspect.getdoc(package)) or service,
        contact=contact or {"name": "The operator of this node"},
    )


def contact(name: str, where: str) -> dict[str, str]:
    """Whom to ask: a name, and where, if that is an address of mail or of the web."""
    if re.fullmatch(r"[^@\s]+@[^@\s]+", where):
        return {"name": name, "email": where}
    if where.startswith(("https://", "http://")):
        return {"name": name, "url": where}
    return {"name": f"{name}, {where}" if where else name}


class Documented:
    """The documents of an application, made when somebody asks for one."""

    def __init__(self, routes: Sequence[Route], info: Info) -> None:
        self._routes, self._info = routes, info

    @cached_property
    def newest(self) -> dict[str, Any]:
        """The application as OpenAPI 3.1."""
        return document(self._routes, self._info)

    @cached_property
    def older(self) -> dict[str, Any]:
        """The application as OpenAPI 3.0."""
        return as_3_0(self.newest)


def document(routes: Sequence[Route], info: Info) -> dict[str, Any]:
    """The routes as an OpenAPI 3.1 document; summaries and descriptions are the handlers' docstrings."""
    found, components = _schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    names = _operation_ids(routes)
    for route in routes:
        operation = _operation(route, found) | {"operationId": names[id(route)]}
        paths.setdefault(path(route), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {**msgspec.to_builtins(info), "license": {"name": LICENSE, "identifier": LICENSE}},
        "servers": [{"url": "/"}],
        # Reading is open; what needs a token says so itself.
        "security": [],
        "tags": list(_tags(routes)),
        "paths": paths,
        "components": {"schemas": components, **_schemes(routes)},
    }


def _schemes(routes: Sequence[Route]) -> dict[str, Any]:
    """What opens the routes that are not open to all."""
    token = {"token": {"type": "http", "scheme": "bearer"}}
    key = {"key": {"type": "apiKey", "in": "query", "name": "key"}}
    found = (token if any(route.role for route in routes) else {}) | (
        key if any(route.key for route in routes) else {}
    )
    return {"securitySchemes": found} if found else {}


def path(route: Route) -> str:
    """The path of a route without the patterns of its parameters."""
    return _PARAMETER.sub(r"{\1}", route.path)


def _schemas(routes: Sequence[Route]) -> tuple[dict[Any, dict[str, Any]], dict[str, Any]]:
    """The JSON Schema of each type in the table, and the components that they refer to."""
    types = list(dict.fromkeys([Problem, *(each for route in routes for each in _types(route))]))
    schemas, components = _plain(msgspec.json.schema_components(types, ref_template=REF))
    return dict(zip(types, schemas, strict=True)), components


def _plain(value: Any) -> Any:
    """Schemas said in full, and as simply as they can be: what is anything or null, is anything."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: _plain(each) for key, each in value.items()}
    if isinstance(found.get("anyOf"), list) and {} in found["anyOf"]:
        del found["anyOf"]
    if isinstance(found.get("enum"), list) and all(isinstance(each, str) for each in found["enum"]):
        found["type"] = "string"
    if found.get("type") == "array":
        found.setdefault("items", {})
    if isinstance(found.get("prefixItems"), list):
        found["items"] = _either(found["prefixItems"])
        if found["items"] == found["prefixItems"][0]:
            del found["prefixItems"]
    return found


def _either(members: Sequence[Any]) -> dict[str, Any]:
    """A schema for what is one of these."""
    different = [each for number, each in enumerate(members) if each not in members[:number]]
    if {} in different:
        return {}
    return different[0] if len(different) == 1 else {"anyOf": different}


def _types(route: Route) -> Iterator[Any]:
    if route.query:
        yield from (field.type for field in msgspec.structs.fields(route.query))
    if route.body is not None:
        yield route.body
    for replied in route.replies.values():
        yield from (_shape(each) for each in _alternatives(replied) if _is_type(_shape(each)))


def _alternatives(replied: Any) -> tuple[Any, ...]:
    return replied if isinstance(replied, tuple) else (replied,)


def _shape(each: Any) -> Any:
    return each.shape if isinstance(each, As) else each


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
    said = inspect.getdoc(route.handler) or ""
    asked = inspect.getdoc(route.query) if route.query else None
    operation: dict[str, Any] = {
        "summary": said.partition("\n")[0].rstrip("."),
        "description": f"{said}\n\n{asked}" if asked else said,
        "tags": [_tag(route)],
    }
    if parameters := [*_path_parameters(route), *_query_parameters(route, found), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None or (route.method in ("POST", "PUT", "PATCH") and route.limit is None):
        schema = {} if route.body in (None, bytes) else found[route.body]
        content = {media: {"schema": schema} for media in route.body_types}
        operation["requestBody"] = {"required": True, "content": content}
    operation["responses"] = dict(sorted(_responses(route, found).items()))
    if route.role is not None:
        operation["security"] = [{"token": []}, *([{"key": []}] if route.key else [])]
        operation["x-role"] = route.role.value
    return operation


def _tag(route: Route) -> str:
    first = route.path.strip("/").partition("/")[0]
    return re.split(r"[.{]", first.lstrip("."))[0] or "pages"


def _tags(routes: Sequence[Route]) -> Iterator[dict[str, str]]:
    """The tags, each with what the module of its first route says that it is."""
    modules = {_tag(route): route.handler.__module__ for route in reversed(routes)}
    for name, module in sorted(modules.items()):
        yield {"name": name, "description": (inspect.getdoc(sys.modules[module]) or name).partition("\n")[0]}


def _path_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(route.path):
        said = {"description": _MEANT.get(name, name), "schema": {"type": "string"}}
        yield {"name": name, "in": "path", "required": True, **said}


def _header_parameters(route: Route) -> Iterator[dict[str, Any]]:
    for each in route.headers:
        schema = {"type": "string"}
        said = {"description": each.description, "required": each.required, "schema": schema}
        yield {"name": each.name, "in": "header", **said}


def _query_parameters(route: Route, found: Mapping[Any, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for field in msgspec.structs.fields(route.query) if route.query else ():
        schema = _sayable(found[field.type])
        description = schema.pop("description", None) or _MEANT.get(field.encode_name, field.encode_name)
        if not field.required and isinstance(field.default, str | int | float | bool):
            schema["default"] = field.default
        said = {"description": description, "required": field.required, "schema": schema}
        parameter = {"name": field.encode_name, "in": "query", **said}
        if _lists(schema):
            # a,b,c in one parameter: a parameter that is given twice is refused.
            parameter |= {"style": "form", "explode": False}
        yield parameter


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
        if isinstance(each, As):
            content[each.media] = {"schema": found[each.shape]}
        elif isinstance(each, str):
            content[each] = {"schema": {} if _JSON.fullmatch(each) else {"type": "string"}}
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
    older["info"]["license"] = {"name": LICENSE, "url": LICENSE_TEXT}
    return older


def _older(value: Any) -> Any:
    """JSON Schema 2020-12 within `value` as the dialect of OpenAPI 3.0: the cases that msgspec writes."""
    if isinstance(value, list):
        return [_older(each) for each in value]
    if not isinstance(value, dict):
        return value
    # A default of null is what it is without one, and null was no value of an object then.
    found = {key: _older(each) for key, each in value.items() if (key, each) != ("default", None)}
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
    if isinstance(found.get("prefixItems"), list):
        del found["prefixItems"]
    return found


def _nullable(rest: dict[str, Any], members: list[Any]) -> dict[str, Any]:
    """What may also be null; 3.0 ignores whatever stands beside a reference, so that one is wrapped."""
    if len(members) > 1:
        return {**rest, "anyOf": members, "nullable": True}
    (only,) = members
    if "$ref" in only:
        # All that is referred to is a Struct.
        return {**rest, "type": "object", "allOf": members, "nullable": True}
    if "enum" in only:
        only = {**only, "enum": [*only["enum"], None]}
    return {**rest, **only, "nullable": True}
