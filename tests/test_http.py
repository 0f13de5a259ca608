"""HTTP, the same for every service, over real connections."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import aiohttp
import asyncpg
import pytest
import structlog
from aiohttp import web
from msgspec import Meta, Raw, Struct
from yarl import URL

from services import http
from services import listening as sockets
from services.errors import Conflict, Failure, Fault, Gone, Stale, TooMany, Unavailable
from services.http import (
    Principal,
    Role,
    Route,
    application,
    asked,
    body,
    listening,
    precondition,
    principal,
    read,
    reply,
)
from services.problems import STATUS

LONG = "x" * 3000


class Query(Struct, frozen=True, rename={"start": "from"}):
    """What may be asked."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 10
    start: str | None = None
    families: tuple[str, ...] = ()
    near: tuple[float, float, float] | None = None
    status: Literal["open", "closed"] | None = None
    exact: bool = False
    scale: float | None = None
    count: int = 0


class Thing(Struct, frozen=True):
    """What may be sent."""

    name: Annotated[str, Meta(min_length=1)]
    extensions: dict[str, Raw] = {}


async def show_query(request: web.Request) -> web.Response:
    """What was asked."""
    return reply(asked(request, Query))


async def put_thing(request: web.Request) -> web.Response:
    """What was sent."""
    return reply(await read(request, Thing), 201, headers={"Location": "/things/1"})


async def patch_thing(request: web.Request) -> web.Response:
    """The size of what was sent."""
    return reply({"size": len(await body(request)), "tags": sorted(precondition(request) or ())})


async def show_thing(request: web.Request) -> web.Response:
    """A record with a version that writers send back."""
    return reply({"id": request.match_info["id"], "text": LONG}, headers={"ETag": '"3"'})


async def show_list(request: web.Request) -> web.Response:
    """A list that nobody writes."""
    return reply({"list": LONG}, headers={"ETag": '"abc"'})


async def show_caller(request: web.Request) -> web.Response:
    """Who asks."""
    return reply(principal(request))


FAILURES: dict[str, Exception] = {
    "conflict": Conflict("It is {where}.", {"where": "here"}, extra={"code": "mass-withdrawal", "count": 3}),
    "gone": Gone(extra={"since": "2026-01-01"}),
    "stale": Stale(faults=(Fault("/name", "This is required."),)),
    "busy": TooMany(extra={"retry_after": 7}),
    "bug": RuntimeError("s3cr3t"),
    "weather": asyncpg.CannotConnectNowError("s3cr3t"),
    "late": TimeoutError("s3cr3t"),
    "lost": web.HTTPNotFound(text="s3cr3t"),
}


async def fail(request: web.Request) -> web.Response:
    """A failure by name."""
    raise FAILURES[request.match_info["name"]]


async def stream(request: web.Request) -> web.StreamResponse:
    """A long answer, in parts."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    for number in range(3):
        await response.write(b'{"n":%d}\n' % number)
    if request.match_info["name"] == "breaks":
        raise RuntimeError("s3cr3t")
    await response.write_eof()
    return response


async def hang(request: web.Request) -> web.Response:
    """An answer that never comes."""
    await asyncio.Event().wait()
    return reply({})


PATCH = ("application/merge-patch+json", "application/json")
ROUTES = (
    Route("GET", "/query", show_query, query=Query),
    Route("POST", "/things", put_thing, body=Thing, replies={201: Thing}, limit=1000),
    Route("GET", "/things/{id}", show_thing),
    Route("PATCH", "/things/{id}", patch_thing, body=Thing, body_type=PATCH),
    Route("GET", "/list", show_list),
    Route("GET", "/reader", show_caller, role=Role.READER),
    Route("GET", "/editor", show_caller, role=Role.EDITOR),
    Route("GET", "/admin", show_caller, role=Role.ADMIN),
    Route("GET", "/fail/{name}", fail),
    Route("GET", "/stream/{name}", stream),
    Route("GET", "/hang", hang),
    Route("POST", "/hang", hang),
)


async def ready(app: web.Application) -> dict[str, str]:
    """The service works, without a broker."""
    return {"database": "ok", "broker": "absent"}


async def authenticate(request: web.Request, token: str) -> Principal | None:
    """The token is the role."""
    return Principal("Anne", Role(token), "1") if token in {role.value for role in Role} else None


@asynccontextmanager
async def served(app: web.Application, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with (
        listening(app, "127.0.0.1", 0, **options) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}", auto_decompress=False) as session,
    ):
        yield session


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a service with the routes above."""
    async with served(application(ROUTES, service="test", ready=ready, authenticate=authenticate)) as session:
        yield session


async def problem(response: aiohttp.ClientResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    found: dict[str, Any] = json.loads(await response.read())
    assert found["status"] == response.status
    return found


# Queries


async def test_a_query_is_a_struct(client: aiohttp.ClientSession) -> None:
    """Numbers, lists with commas, words and renamed parameters arrive as their Struct says."""
    text = (
        "/query?limit=5&from=1.2&families=fablab,coworking&near=48.1,-1.6,10&status=open&exact=true&scale=2"
    )
    async with client.get(text) as response:
        assert await response.json() == {
            "limit": 5,
            "from": "1.2",
            "families": ["fablab", "coworking"],
            "near": [48.1, -1.6, 10.0],
            "status": "open",
            "exact": True,
            "scale": 2.0,
            "count": 0,
        }


@pytest.mark.parametrize(
    ("query", "parameter", "said"),
    [
        ("limit=0", "limit", "Too small: 1 at least."),
        ("limit=x", "limit", "A whole number is expected."),
        ("limit=", "limit", "A whole number is expected."),
        ("limit=1&limit=2", "limit", "This parameter is given more than once."),
        ("limt=1", "limt", "Unknown name; did you mean limit?"),
        ("zzzzz=1", "zzzzz", "Unknown name."),
        ("start=1", "start", "Unknown name; did you mean status?"),
        ("near=1,2", "near", "Exactly 3 items are expected."),
        ("near=1,2,nan", "near", "NaN and Infinity are not allowed."),
        ("scale=NaN", "scale", "NaN and Infinity are not allowed."),
        ("scale=inf", "scale", "NaN and Infinity are not allowed."),
        ("scale=1e999", "scale", "This number is too large."),
        ("near=null", "near", "Exactly 3 items are expected."),
        ("scale=null", "scale", "A number is expected."),
        ("status=null", "status", "One of these is expected: open, closed."),
        ("status=opened", "status", "One of these is expected: open, closed."),
        ("exact=perhaps", "exact", "true or false is expected."),
        ("count=99999999999999999999", "count", "This number is too large."),
        ("from=%00", "from", "The text holds a NUL character."),
    ],
)
async def test_a_wrong_parameter_is_named(
    client: aiohttp.ClientSession, query: str, parameter: str, said: str
) -> None:
    """A parameter that is unknown, repeated or wrong is a 400 that names it."""
    async with client.get(f"/query?{query}") as response:
        assert response.status == 400
        assert (await problem(response))["errors"] == [{"parameter": parameter, "detail": said}]


async def test_a_route_without_a_query_takes_none(client: aiohttp.ClientSession) -> None:
    """A parameter where none is known is not ignored."""
    async with client.get("/list?page=2") as response:
        assert (await problem(response))["errors"][0]["parameter"] == "page"
        assert response.status == 400


async def test_a_word_is_not_read_as_null(client: aiohttp.ClientSession) -> None:
    """Somebody may ask for the text `null`."""
    async with client.get("/query?from=null") as response:
        assert (await response.json())["from"] == "null"


# Bodies


async def test_a_body_is_a_struct_with_its_raw_bytes(client: aiohttp.ClientSession) -> None:
    """What is kept raw comes back as it was sent."""
    sent = b'{"name":"a","extensions":{"x":{"a":  1.50}}}'
    async with client.post("/things", data=sent, headers={"Content-Type": "application/json"}) as response:
        assert (response.status, await response.read()) == (201, sent)
        assert response.headers["Location"] == "/things/1"


@pytest.mark.parametrize(
    ("sent", "media", "status"),
    [
        (b'{"name":"a"}', "application/json; charset=UTF-8", 201),
        (b'{"name":"a"}', "text/plain", 415),
        (b'{"name":"a"}', "application/x-www-form-urlencoded", 415),
        (b'{"name":"a"}', "application/json; charset=latin-1", 415),
        (b'{"name":"' + b"a" * 1000 + b'"}', "application/json", 413),
        (b"", "application/json", 400),
        (b'{"name":"a"', "application/json", 400),
        (b'{"name":"\xff"}', "application/json", 400),
        (b'{"name":"a","name":"b"}', "application/json", 400),
        (b'{"name":""}', "application/json", 422),
        (b'{"name":"a","nom":"b"}', "application/json", 422),
        (b"[]", "application/json", 422),
    ],
)
async def test_a_body_that_cannot_be_taken_has_its_status(
    client: aiohttp.ClientSession, sent: bytes, media: str, status: int
) -> None:
    """400 for what is not JSON, 413 and 415 for size and type, 422 for what is JSON and wrong."""
    async with client.post("/things", data=sent, headers={"Content-Type": media}) as response:
        assert response.status == status
        if status >= 400:
            await problem(response)


async def test_a_body_without_a_length_is_bounded_too(client: aiohttp.ClientSession) -> None:
    """A client that does not say how much it sends is stopped at the limit; one that compresses is refused."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"a" * 1000

    async with client.post(
        "/things", data=endless(), headers={"Content-Type": "application/json"}
    ) as response:
        assert response.status == 413
    bomb = gzip.compress(b'{"name":"' + b"a" * 10_000_000 + b'"}')[:900]
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with client.post("/things", data=bomb, headers=headers) as response:
        assert response.status == 415


async def test_a_body_has_a_deadline(client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that sends its body drop by drop does not keep a handler for ever."""
    monkeypatch.setattr(http, "BODY_WITHIN", 0.3)
    never = asyncio.Event()

    async def drops() -> AsyncIterator[bytes]:
        yield b'{"name":'
        await never.wait()

    async with client.post("/things", data=drops(), headers={"Content-Type": "application/json"}) as response:
        assert response.status == 408
        await problem(response)
    never.set()


async def test_a_route_may_take_several_types(client: aiohttp.ClientSession) -> None:
    """A patch is taken under its own media type."""
    for media, status in (
        ("application/merge-patch+json", 200),
        ("application/json", 200),
        ("text/csv", 415),
    ):
        async with client.patch("/things/1", data=b"{}", headers={"Content-Type": media}) as response:
            assert response.status == status


# Roles


@pytest.mark.parametrize(
    ("token", "allowed"),
    [("reader", {"reader"}), ("editor", {"reader", "editor"}), ("admin", {"reader", "editor", "admin"})],
)
async def test_a_role_allows_what_lower_ones_do(
    client: aiohttp.ClientSession, token: str, allowed: set[str]
) -> None:
    """A token opens the routes of its role and of those below it, and no other."""
    for role in ("reader", "editor", "admin"):
        async with client.get(f"/{role}", headers={"Authorization": f"Bearer {token}"}) as response:
            assert response.status == (200 if role in allowed else 403)


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer nobody", "Basic cmVhZGVy", "reader"]
)
async def test_who_is_not_known_is_asked_for_a_token(
    client: aiohttp.ClientSession, header: str | None
) -> None:
    """401 says which scheme is expected."""
    headers = {} if header is None else {"Authorization": header}
    async with client.get("/reader", headers=headers) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        await problem(response)


# Problems


async def test_a_failure_is_a_problem_with_its_members(client: aiohttp.ClientSession) -> None:
    """The type, title, detail and what the failure adds are in the answer."""
    async with client.get("/fail/conflict") as response:
        assert await problem(response) == {
            "type": "urn:maillage:problem:mass-withdrawal",
            "title": "This contradicts what is already there.",
            "status": 409,
            "detail": "It is here.",
            "count": 3,
        }
    async with client.get("/fail/stale") as response:
        assert (await problem(response))["errors"] == [{"pointer": "/name", "detail": "This is required."}]
    async with client.get("/fail/busy") as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("fr", "fr"),
        ("fr-FR,fr;q=0.9,en;q=0.8", "fr"),
        ("en;q=0.9, FR;q=1.0", "fr"),
        ("en, fr;q=0.5", "en"),
        ("de, fr;q=0.1", "fr"),
        ("fr;q=0", "en"),
        ("de", "en"),
        ("fr;q=x", "en"),
        ("*", "en"),
        (None, "en"),
    ],
)
async def test_a_problem_speaks_the_language_of_the_client(
    client: aiohttp.ClientSession, header: str | None, language: str
) -> None:
    """French for who prefers it, English otherwise."""
    async with client.get("/nowhere", headers={"Accept-Language": header} if header else {}) as response:
        titles = {"en": "There is nothing here.", "fr": "Il n’y a rien à cette adresse."}
        assert (await problem(response))["title"] == titles[language]
        assert response.headers["Content-Language"] == language
        assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.parametrize(("name", "status"), [("bug", 500), ("weather", 503), ("late", 503), ("lost", 404)])
async def test_the_text_of_an_error_stays_inside(
    client: aiohttp.ClientSession, name: str, status: int
) -> None:
    """What went wrong is logged, and a stranger reads a number at most."""
    with structlog.testing.capture_logs() as lines:
        async with client.get(f"/fail/{name}") as response:
            assert response.status == status
            found = await problem(response)
    assert "s3cr3t" not in json.dumps(found)
    if status == 500:
        assert lines[0]["request"] == found["request"]
    if status == 503:
        assert int(response.headers["Retry-After"]) >= 1


async def test_a_browser_reads_a_page(client: aiohttp.ClientSession) -> None:
    """Who follows a link that leads nowhere reads a page in French; a program reads a problem."""
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8", "Accept-Encoding": "identity"}
    async with client.get("/nowhere", headers=browser) as response:
        assert (response.status, response.content_type) == (404, "text/html")
        assert "Il n’y a rien à cette adresse." in await response.text()
    async with client.get("/query?limt=1", headers=browser) as response:
        assert (response.status, response.content_type) == (400, "text/html")
        assert "<code>limt</code>" in await response.text()
    async with client.get("/fail/busy", headers=browser) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "7")
    for accept in ("*/*", "application/json, text/html"):
        async with client.get("/nowhere", headers={"Accept": accept}) as response:
            await problem(response)


@pytest.mark.parametrize("path", ["/things/%00", "/things/a%00b"])
async def test_no_address_holds_a_nul(client: aiohttp.ClientSession, path: str) -> None:
    """A character that the database cannot take finds nothing, and breaks nothing."""
    async with client.get(URL(path, encoded=True)) as response:
        assert response.status == 404


@pytest.mark.parametrize("query", ["from=%ff", "from=%ed%a0%80", "%ff=1", "from=%", "=", "&&&", "from"])
async def test_odd_queries_are_answered(client: aiohttp.ClientSession, query: str) -> None:
    """No query, however it is written, is a fault of ours."""
    async with client.get(URL(f"/query?{query}", encoded=True)) as response:
        assert response.status in (200, 400)


async def test_an_outage_does_not_fill_the_log(client: aiohttp.ClientSession) -> None:
    """While the database is away a hundred requests are one line, which says so."""
    with structlog.testing.capture_logs() as lines:
        for _ in range(100):
            async with client.get("/fail/weather") as response:
                assert response.status == 503
    assert [line["event"] for line in lines] == ["weather"]


async def test_405_says_what_is_allowed(client: aiohttp.ClientSession) -> None:
    """A method that an address does not take is answered with those that it takes."""
    async with client.delete("/things/1") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, PATCH")
        await problem(response)


def test_every_failure_has_a_status() -> None:
    """No failure that a handler may raise falls through the table."""
    import services.errors as errors

    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Failure)}
    operators = {errors.Failure, errors.Misconfigured, errors.Untrue, errors.Forked, errors.Corrupt}
    assert kinds - operators <= STATUS.keys()


# Answers


async def test_head_is_get_without_the_body(client: aiohttp.ClientSession) -> None:
    """HEAD answers with the headers of GET."""
    async with client.get("/list") as got, client.head("/list") as headed:
        assert (headed.status, await headed.read()) == (200, b"")
        differing = {"Date"}
        assert {k: v for k, v in headed.headers.items() if k not in differing} == {
            k: v for k, v in got.headers.items() if k not in differing
        }
    async with client.head("/stream/whole") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_large_answers_are_compressed_where_that_is_understood(client: aiohttp.ClientSession) -> None:
    """Compressed bytes have a tag of their own, and both tags revalidate."""
    async with client.get("/list", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["ETag"] == '"abc-gzip"'
        assert json.loads(gzip.decompress(await response.read())) == {"list": LONG}
        assert "Accept-Encoding" in response.headers["Vary"]
    for encoding in ("identity", "gzip;q=0", "br"):
        async with client.get("/list", headers={"Accept-Encoding": encoding}) as response:
            assert "Content-Encoding" not in response.headers
            assert response.headers["ETag"] == '"abc"'
            assert "Accept-Encoding" in response.headers["Vary"]
    for known in ('"abc"', '"abc-gzip"', 'W/"abc"', '"x", "abc"', "*"):
        async with client.get("/list", headers={"If-None-Match": known}) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == '"abc"'
    async with client.get("/list", headers={"If-None-Match": '"old"'}) as response:
        assert response.status == 200


async def test_the_tag_of_a_record_can_be_sent_back(client: aiohttp.ClientSession) -> None:
    """Where a record can be written, its tag is the same for every client."""
    async with client.get("/things/1", headers={"Accept-Encoding": "gzip"}) as response:
        assert response.headers["ETag"] == '"3"'
        assert "Content-Encoding" not in response.headers
    headers = {"If-Match": '"3", W/"4", "5-gzip"', "Content-Type": "application/json"}
    async with client.patch("/things/1", data=b"{}", headers=headers) as response:
        assert (await response.json())["tags"] == ['"3"', '"4"', '"5"']


async def test_a_stream_arrives_whole_or_is_cut(
    client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that breaks cannot be mistaken for a complete one, and is logged once."""
    async with client.get("/stream/whole") as response:
        assert (await response.read()).count(b"\n") == 3
    with structlog.testing.capture_logs() as lines, pytest.raises(aiohttp.ClientPayloadError):
        async with client.get("/stream/breaks") as response:
            await response.read()
    assert [line["event"] for line in lines] == ["failed"]
    assert caplog.records == []


async def test_no_answer_tells_the_version_of_the_software(client: aiohttp.ClientSession) -> None:
    """No name or version of a library stands in a header, whatever is asked."""
    for path in ("/list", "/nowhere", "/fail/bug", "/stream/whole"):
        async with client.get(path) as response:
            assert response.headers["Server"] == "maillage"
            assert "aiohttp" not in str(response.headers).lower()


async def test_all_services_answer_the_same_questions(client: aiohttp.ClientSession) -> None:
    """Whether it lives, whether it can work, what it counts."""
    async with client.get("/livez") as response:
        assert await response.json() == {"status": "ok"}
    async with client.get("/readyz") as response:
        assert await response.json() == {"status": "ok", "database": "ok", "broker": "absent"}
    async with client.get("/metrics", headers={"Accept-Encoding": "identity"}) as response:
        text = await response.text()
    assert 'maillage_http_requests_total{method="GET",route="/livez",status="200"} 1.0' in text
    assert response.content_type == "text/plain"


@pytest.mark.parametrize("error", [Unavailable("The database is away."), ConnectionRefusedError("s3cr3t")])
async def test_a_service_without_its_database_is_not_ready(error: Exception) -> None:
    """503, for balancers; it lives all the same."""

    async def away(app: web.Application) -> dict[str, str]:
        raise error

    async with served(application((), service="test", ready=away)) as client:
        async with client.get("/readyz") as response:
            assert response.status == 503
            assert "s3cr3t" not in json.dumps(await problem(response))
        async with client.get("/livez") as response:
            assert response.status == 200


async def test_strangers_cannot_make_metrics_grow(client: aiohttp.ClientSession) -> None:
    """Addresses and methods that nobody knows are counted as one."""
    for number in range(20):
        async with client.get(f"/nowhere/{number}"), client.request(f"M{number}", "/list"):
            pass
    async with client.get("/metrics") as response:
        text = gzip.decompress(await response.read()).decode()
    lines = [line for line in text.splitlines() if line.startswith("maillage_http_requests_total")]
    assert len(lines) < 6


async def test_browsers_may_read_where_the_service_is_open() -> None:
    """With CORS, every answer and the question before it allow any page to read."""
    async with served(application(ROUTES, service="test", ready=ready, cors=True)) as client:
        for path in ("/list", "/nowhere"):
            async with client.get(path, headers={"Origin": "https://carte.example"}) as response:
                assert response.headers["Access-Control-Allow-Origin"] == "*"
        headers = {"Origin": "https://carte.example", "Access-Control-Request-Method": "GET"}
        async with client.options("/list", headers=headers) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Methods"] == "GET, HEAD"


async def test_browsers_may_not_read_elsewhere(client: aiohttp.ClientSession) -> None:
    """Without CORS nothing is allowed."""
    async with client.get("/list", headers={"Origin": "https://carte.example"}) as response:
        assert "Access-Control-Allow-Origin" not in response.headers
    async with client.options("/list") as response:
        assert response.status == 405


# Connections


async def raw(port: int, sent: bytes, within: float = 60.0) -> bytes:
    """What the server answers to these bytes until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(within):
            return await reader.read()
    finally:
        writer.close()


APP = {"service": "test", "ready": ready}


async def test_what_is_not_http_is_a_problem_too() -> None:
    """Garbage is answered with a 400 that tells nothing of the server."""
    async with listening(application(ROUTES, **APP), "127.0.0.1", 0) as port:
        for garbage in (b"\x16\x03\x01\x00\xa5\r\n\r\n", b"GET / HTTP/1.1\r\nBad Header\r\n\r\n"):
            answer = await raw(port, garbage)
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
            assert b"urn:maillage:problem:malformed" in answer
            assert b"aiohttp" not in answer.lower()
            assert b"python" not in answer.lower()
        for long in (b"GET /livez?ids=%b HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nX: %b\r\n\r\n"):
            answer = await raw(port, long % (b"a" * 9000))
            assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
            assert b"too long" in answer
            assert b"aaaa" not in answer


async def test_headers_have_a_deadline() -> None:
    """Connections that trickle their headers are closed, and meanwhile others are served."""
    async with listening(application(ROUTES, **APP), "127.0.0.1", 0, headers_within=2.0) as port:

        async def trickle() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /list HTTP/1.1\r\n")
            answer = asyncio.ensure_future(reader.read())
            async with asyncio.timeout(60):
                while not answer.done():
                    writer.write(b"X-Slow: 1\r\n")
                    await asyncio.wait([answer], timeout=0.1)
            writer.close()
            try:
                return await answer
            except ConnectionResetError:
                # What trickled in while it was closed was not read any more.
                return b""

        slow = [asyncio.create_task(trickle()) for _ in range(50)]
        answer = await raw(port, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in answer
        assert set(await asyncio.gather(*slow)) == {b""}


async def test_connections_have_a_cap() -> None:
    """One connection too many is told so at once, and there is room again when one is closed."""
    async with listening(application(ROUTES, **APP), "127.0.0.1", 0, max_connections=3) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

        async def status() -> bytes:
            try:
                return (await raw(port, request))[9:12]
            except ConnectionResetError:
                return b"503"

        async with asyncio.timeout(60):
            while await status() != b"503":
                await asyncio.sleep(0.01)
        held[0][1].close()
        async with asyncio.timeout(60):
            while await status() != b"200":
                await asyncio.sleep(0.01)
        for _, writer in held:
            writer.close()


async def ending(sent: bytes) -> float:
    """Seconds that a server takes to end while it answers this."""
    async with listening(application(ROUTES, **APP), "127.0.0.1", 0) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        await raw(port, b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        begun = asyncio.get_running_loop().time()
    writer.close()
    return asyncio.get_running_loop().time() - begun


async def test_readers_do_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream or a long poll is let go after half a second, whatever writers are given: whoever reads comes back."""
    monkeypatch.setattr(http, "READERS_WITHIN", 0.5)
    monkeypatch.setattr(sockets, "GRACE", 120)
    assert 0.4 < await ending(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n") < 30


async def test_writers_have_three_seconds_to_end() -> None:
    """A write under way may end, and one that never does is cut."""
    assert 1.4 < await ending(b"POST /hang HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") < 30


async def test_an_idle_server_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for connections on which nothing is asked."""
    monkeypatch.setattr(http, "READERS_WITHIN", 60)
    monkeypatch.setattr(sockets, "GRACE", 120)
    assert await ending(b"") < 30
