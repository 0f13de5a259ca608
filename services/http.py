"""HTTP, the same for every service: requests checked by the route table, answers, problems, metrics."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import structlog
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

from services import answers, openapi, pages, problems
from services.answers import precondition, reply
from services.errors import (
    Failure,
    Forbidden,
    Malformed,
    NotFound,
    TooLarge,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from services.listening import listening
from services.openapi import Documented
from services.postgres import WEATHER
from services.problems import STATUS, Crashed, TooSlow
from services.queries import question
from services.routes import Handler, Principal, Role, Route
from services.strict import decode_strict, parse_strict

__all__ = [
    "DOCUMENTED",
    "METRICS",
    "STATUS",
    "Authenticate",
    "Handler",
    "Principal",
    "Ready",
    "Role",
    "Route",
    "application",
    "asked",
    "body",
    "decode_strict",
    "listening",
    "parse_strict",
    "precondition",
    "principal",
    "read",
    "reply",
]

T = TypeVar("T")
Authenticate = Callable[[web.Request, str], Awaitable[Principal | None]]
Ready = Callable[[web.Application], Awaitable[dict[str, str]]]

METRICS: Final = web.AppKey("metrics", CollectorRegistry)
DOCUMENTED: Final = web.AppKey("documented", Documented)
BODY_WITHIN = 30.0
READERS_WITHIN = 0.5
TOLD_EVERY = 10.0

_READING = (hdrs.METH_GET, hdrs.METH_HEAD)
# As nginx counts requests that were left before there was an answer.
_LEFT = 499

_ROUTE: Final = web.RequestKey("route", Route)
_ASKED: Final[web.RequestKey[Any]] = web.RequestKey("asked", object)
_PRINCIPAL: Final = web.RequestKey("principal", Principal)
_STARTED: Final = web.RequestKey("started", bool)

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


# Requests


async def read(request: web.Request, struct: type[T]) -> T:
    """The body as a `struct`, strictly: 400, 408, 413, 415 or 422 with a pointer to each mistake."""
    return decode_strict(await body(request), struct)


async def body(request: web.Request) -> bytes:
    """The bytes of the body, of a media type and a size that the route allows."""
    route = request[_ROUTE]
    if request.content_type not in route.body_types or (request.charset or "utf-8").lower() != "utf-8":
        raise Unsupported("Send the body as {expected}.", {"expected": " or ".join(route.body_types)})
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
        raise Unsupported("Send the body as it is: compressed ones are not taken.")
    limit = route.limit or 2**63
    if (request.content_length or 0) > limit:
        raise TooLarge("The body may have {limit} bytes at most.", {"limit": limit})
    try:
        async with asyncio.timeout(BODY_WITHIN):
            return await _bounded(request, limit)
    except TimeoutError:
        raise TooSlow("The body did not arrive within {seconds} s.", {"seconds": BODY_WITHIN}) from None
    except web.RequestPayloadError:
        raise Malformed("The body could not be read.") from None


async def _bounded(request: web.Request, limit: int) -> bytes:
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if len(found) > limit:
            raise TooLarge("The body may have {limit} bytes at most.", {"limit": limit})
    return bytes(found)


def asked(request: web.Request, struct: type[T]) -> T:
    """The query of the request, as its route's Struct."""
    question = request[_ASKED]
    assert isinstance(question, struct)  # noqa: S101 - the route table and the handler disagree: a bug
    return question


def principal(request: web.Request) -> Principal:
    """Who is asking; only in handlers of routes with a role."""
    return request[_PRINCIPAL]


# The application


def application(
    routes: Sequence[Route],
    *,
    service: str,
    ready: Ready,
    authenticate: Authenticate | None = None,
    contact: Mapping[str, str] | None = None,
    cors: bool = False,
    common: bool = True,
) -> web.Application:
    """The routes as an application, with the paths that all services have unless `common` is false.

    `ready` tells the state of what the service leans on; Unavailable or an error of WEATHER there is a 503.
    `contact` is whom to ask, as OpenAPI has it.
    """
    registry = CollectorRegistry()
    every = (*routes, *(_common(routes, ready) if common else ()))
    kept = {route.path for route in every if route.method in ("PUT", "PATCH", "DELETE")}
    reading: set[asyncio.Task[Any]] = set()
    app = web.Application(middlewares=[_guard(registry, reading, cors=cors, kept=kept)])
    app.on_shutdown.append(lambda _: _let_go(reading))
    app[METRICS] = registry
    app[DOCUMENTED] = Documented(every, openapi.info(service, contact))
    app[pages.SITE] = pages.Site(
        (contact or {}).get("name", ""), paths=frozenset(route.path for route in every)
    )
    app[_WEATHER] = _Weather()
    ProcessCollector(registry=registry)
    app.on_response_prepare.append(_headers(cors=cors))
    for route in every:
        handler = _entrance(route, authenticate)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
        if route.cors:
            app.router.add_route("OPTIONS", route.path, _preflights(route))
    return app


def _entrance(route: Route, authenticate: Authenticate | None) -> Handler:
    """The handler of a route, after the checks that its row in the table asks for."""

    async def enter(request: web.Request) -> web.StreamResponse:
        # PostgreSQL has no such character, and no address of ours.
        if "%00" in request.rel_url.raw_path:
            raise NotFound
        request[_ROUTE] = route
        if route.role is not None and not (route.key and "key" in request.query):
            request[_PRINCIPAL] = await _admitted(request, route.role, authenticate)
        request[_ASKED] = question(request, route.query)
        return await route.handler(request)

    return enter


async def _admitted(request: web.Request, role: Role, authenticate: Authenticate | None) -> Principal:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip() or authenticate is None:
        raise Unauthorized("Send a token: Authorization: Bearer <token>.")
    found = await authenticate(request, token.strip())
    if found is None:
        raise Unauthorized("This token is not known, or has been revoked.")
    if not found.role.allows(role):
        raise Forbidden("This needs the role {role}.", {"role": role.value})
    return found


class _HeadersOnly(Exception):
    """A stream was about to begin although only its headers are asked for; aiohttp would send its body."""

    def __init__(self, response: web.StreamResponse) -> None:
        self.response = web.Response(status=response.status, headers=response.headers)


def _headers(*, cors: bool) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def prepare(request: web.Request, response: web.StreamResponse) -> None:
        if request.method == hdrs.METH_HEAD and type(response) is web.StreamResponse:
            raise _HeadersOnly(response)
        request[_STARTED] = True
        response.headers[hdrs.SERVER] = "maillage"
        response.headers.setdefault("X-Content-Type-Options", "nosniff")
        if cors or ((route := request.get(_ROUTE)) and route.cors):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = "*"
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = (
                "Accept-Ranges, As-Of, Content-Crs, Content-Range, ETag, Link, Location, Merge-Cursor, Retry-After"
            )

    return prepare


class _Weather:
    """What is logged while a database is away: not every request of the thousands that meet it."""

    def __init__(self) -> None:
        self._again = 0.0
        self._unsaid = 0

    def told(self, path: str, error: BaseException) -> None:
        """Log an error of the weather, at most once in ten seconds, with how many were not."""
        self._unsaid += 1
        if (now := time.monotonic()) >= self._again:
            said = f"{type(error).__name__}: {error}"
            log.warning("weather", path=path, error=said, requests=self._unsaid)
            self._again, self._unsaid = now + TOLD_EVERY, 0


_WEATHER: Final = web.AppKey("weather", _Weather)


class _Traffic:
    """What is counted of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ("method", "route", "status")
        self._requests = Counter("maillage_http_requests", "Requests answered.", names, registry=registry)
        self._seconds = Histogram(
            "maillage_http_request_seconds", "Seconds to an answer.", names[:2], registry=registry
        )
        # The labels of prometheus_client cost as much as the rest of a small answer.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def answered(self, request: web.Request, status: int, seconds: float) -> None:
        """Count an answer; addresses and methods that nobody knows count as one."""
        resource = request.match_info.route.resource
        path = resource.canonical if resource else "unmatched"
        known = self._known.get((request.method, path, status)) or self._label(request.method, path, status)
        known[0].inc()
        known[1].observe(seconds)

    def _label(self, method: str, path: str, status: int) -> tuple[Counter, Histogram]:
        said = method if method in hdrs.METH_ALL else "other"
        found = self._requests.labels(said, path, str(status)), self._seconds.labels(said, path)
        if said == method:
            self._known[method, path, status] = found
        return found


async def _let_go(reading: set[asyncio.Task[Any]]) -> None:
    """End what reads, after half a second: streams and long polls would hold up the end, and come back."""
    if tasks := set(reading):
        _, late = await asyncio.wait(tasks, timeout=READERS_WITHIN)
        for task in late:
            task.cancel()


def _guard(
    registry: CollectorRegistry, reading: set[asyncio.Task[Any]], *, cors: bool, kept: set[str]
) -> Any:
    """The one middleware: failures become problems, answers are counted, compressed and revalidated."""
    traffic = _Traffic(registry)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        status = _LEFT
        task = asyncio.current_task()
        if request.method in _READING and task is not None:
            reading.add(task)
        try:
            response = await _answered(request, handler, cors=cors)
            if type(response) is web.Response and not response.prepared:
                resource = request.match_info.route.resource
                await answers.finish(
                    request, response, kept_tag=resource is not None and resource.canonical in kept
                )
            status = response.status
            return response
        finally:
            if task is not None:
                reading.discard(task)
            traffic.answered(request, status, time.perf_counter() - started)

    return guard


async def _answered(request: web.Request, handler: Handler, *, cors: bool) -> web.StreamResponse:
    try:
        return await handler(request)
    except _HeadersOnly as begun:
        return begun.response
    except Failure as failure:
        problem, headers = failure, {}
    except web.HTTPException as exception:
        if cors and request.method == hdrs.METH_OPTIONS and isinstance(exception, web.HTTPMethodNotAllowed):
            return _preflight(request, _allowed(exception))
        if exception.status < 400:
            raise
        problem = problems.from_http(exception)
        headers = {hdrs.ALLOW: _allowed(exception)} if isinstance(exception, web.HTTPMethodNotAllowed) else {}
    except Exception as error:
        if isinstance(error, TimeoutError) and request.get(_STARTED) and request.transport is not None:
            # Whoever reads takes nothing any more: an end in good order would wait for that as well.
            request.transport.abort()
        problem, headers = _unexpected(request, error), {}
    if request.get(_STARTED):
        raise ConnectionResetError("an answer failed after it had begun") from problem
    response = problems.response(problem, request.headers.get(hdrs.ACCEPT_LANGUAGE))
    if pages.wanted(request):
        response = pages.problem(request, problem, response)
    response.headers.update(headers)
    return response


def _unexpected(request: web.Request, error: Exception) -> Failure:
    """What to say of an error that nobody raised for a client: nothing of its text."""
    if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
        raise error
    if isinstance(error, WEATHER):
        request.app[_WEATHER].told(request.path, error)
        return Unavailable("Try again in a moment.", extra={"retry_after": 2})
    number = str(uuid.uuid4())
    log.error("failed", request=number, method=request.method, path=request.path, exc_info=error)
    return Crashed("Please report the number {request}.", {"request": number}, extra={"request": number})


def _allowed(exception: web.HTTPMethodNotAllowed) -> str:
    return ", ".join(sorted(exception.allowed_methods))


def _preflights(route: Route) -> Handler:
    """What a browser is told before it takes a route from the page of another site."""

    async def tell(request: web.Request) -> web.StreamResponse:
        request[_ROUTE] = route
        return _preflight(request, "GET, HEAD" if route.method == "GET" else route.method)

    return tell


def _preflight(request: web.Request, allowed: str) -> web.Response:
    headers = {
        hdrs.ALLOW: allowed,
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: allowed,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "*"),
        hdrs.ACCESS_CONTROL_MAX_AGE: "86400",
    }
    return web.Response(status=204, headers=headers)


# What all services have


def _common(routes: Sequence[Route], ready: Ready) -> tuple[Route, ...]:
    async def livez(request: web.Request) -> web.Response:
        """The process is up."""
        return reply({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        """Whether the service can work, and the state of what it leans on."""
        state = await ready(request.app)
        return reply({"status": "ok", **state})

    async def metrics(request: web.Request) -> web.Response:
        """Metrics in the text format of Prometheus."""
        return reply(generate_latest(request.app[METRICS]), media="text/plain; version=0.0.4; charset=utf-8")

    async def show_openapi(request: web.Request) -> web.Response:
        """This service as an OpenAPI 3.1 document."""
        return reply(request.app[DOCUMENTED].newest)

    async def show_docs(request: web.Request) -> web.Response:
        """This service as a page to read."""
        return pages.page(request, "docs.html", document=request.app[DOCUMENTED].newest)

    taken = any(route.path == "/" for route in routes)
    return (
        *(() if taken else (Route("GET", "/", pages.enter, replies={303: None}),)),
        Route("GET", "/livez", livez, replies={200: dict[str, str]}),
        Route("GET", "/readyz", readyz, replies={200: dict[str, str]}),
        Route("GET", "/metrics", metrics, replies={200: "text/plain"}),
        Route("GET", "/openapi.json", show_openapi, replies={200: dict[str, Any]}),
        Route("GET", "/docs", show_docs, replies={200: "text/html"}),
        *pages.ROUTES,
    )
