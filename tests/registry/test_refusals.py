"""Every refusal is a problem that says what to do, and none of them stops the service or leaves an event."""

import asyncio
import json
import re
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

import openapi_spec_validator
from uuid_utils import uuid7

from services import ledger, openapi, postgres
from services.http import Role, Route
from services.registry import app, store
from services.registry.api import ROUTES
from services.registry.store import Token
from tests.nodes import Registry

PATCH = {"Content-Type": "application/merge-patch+json"}
JSON = {"Content-Type": "application/json"}
GOOD = {"name": "La Filature", "status": "open", "address": {"postcode": "35000"}}


def place(**fields: Any) -> dict[str, Any]:
    """A place that could be sent, but for these fields; None takes a field away."""
    return {k: v for k, v in (GOOD | fields).items() if v is not None}


async def refused(registry: Registry, body: bytes | dict[str, Any], **headers: str) -> tuple[int, Any]:
    """Status and problem of a POST that must not be accepted."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, problem, answer = await registry.call("POST", "/places", data=data, headers={**JSON, **headers})
    assert answer["Content-Type"].startswith("application/problem+json")
    assert problem["status"] == status
    return status, problem


def pointers(problem: Any) -> list[str]:
    """Where the mistakes are."""
    return [e["pointer"] for e in problem["errors"]]


async def test_only_a_token_in_force_writes(registry: Registry) -> None:
    """No token, a wrong one, a revoked one and an expired one are each 401 and say which scheme is meant."""
    now = ledger.clock()
    revoked, expired = "maillage_revoked", "maillage_expired"
    pool_of = postgres.pool(registry.settings.database_url, size=3, migrations=app.SCRIPTS)
    async with pool_of as pool, pool.acquire() as conn:
        for secret, ends in ((revoked, None), (expired, now - timedelta(seconds=1))):
            token = Token(
                id=uuid4(), name=secret, role="admin", created_at=now, expires_at=ends, revoked_at=None
            )
            await store.add_token(conn, token, sha256(secret.encode()).digest())
        assert (await registry.call("POST", "/places", token=revoked, json=GOOD))[0] == 201
        rows = [t for t in await store.tokens(conn) if t.name == revoked]
        assert await store.revoke_token(conn, rows[0].id, now)
    for sent in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {revoked}"},
        {"Authorization": f"Bearer {expired}"},
        {"Authorization": f"Basic {registry.token}"},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer \udcff\udce9"},
        {"Authorization": "Bearer " + "x" * 4000},
    ):
        status, problem, headers = await registry.call("POST", "/places", token=None, json=GOOD, headers=sent)
        assert (status, problem["type"]) == (401, "urn:maillage:problem:unauthorized"), sent
        assert headers["WWW-Authenticate"] == "Bearer"
    assert len(await registry.feed()) == 1


def filled(route: Route) -> str:
    """The address of a route, with ids of nothing."""
    return re.sub(r"\{id\}", str(uuid7()), openapi.path(route)).replace("{ending}", "csv")


async def test_every_route_asks_for_its_role(registry: Registry) -> None:
    """Of all routes of the table: those with a role refuse nobody's and a lesser token, the others nobody.

    Of what writes, reports alone may be sent by anybody.
    """
    tokens = {role: await registry.token_for(role.value) for role in Role}
    for route in ROUTES:
        if route.role is None:
            if route.path != "/feed/live":
                expected = (200, 404) if route.method == "GET" else (415,)
                assert (await registry.call(route.method, filled(route), token=None))[0] in expected, route
            continue
        assert (await registry.call(route.method, filled(route), token=None))[0] == 401, route
        for role, token in tokens.items():
            status, problem, _ = await registry.call(route.method, filled(route), token=token)
            if role.allows(route.role):
                assert status not in (401, 403, 500), (route.path, role, problem)
            else:
                assert (status, problem["type"]) == (403, "urn:maillage:problem:forbidden")
                assert route.role.value in problem["detail"]
    assert [(r.method, r.path) for r in ROUTES if r.method != "GET" and not r.role] == [("POST", "/reports")]
    assert await registry.feed() == []


async def test_every_route_is_documented(registry: Registry) -> None:
    """/openapi.json is a valid document that holds every route of the table, its role, and no remote $ref."""
    document = await registry.get("/openapi.json")
    openapi_spec_validator.validate(document)
    for route in ROUTES:
        operation = document["paths"][openapi.path(route)][route.method.lower()]
        assert operation.get("x-role") == (route.role.value if route.role else None)
        assert operation["summary"]
    refs = re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document))
    assert refs
    assert all(ref.startswith("#/") for ref in refs)


async def test_a_change_without_a_version_is_refused(registry: Registry) -> None:
    """PUT, PATCH and DELETE without If-Match are 428; with a stale one or one that is no version, 412."""
    made = await registry.add()
    await registry.change(made["id"], name="Deux")
    bodies: dict[str, Any] = {
        "PUT": {"json": GOOD},
        "PATCH": {"data": b'{"name":"Trois"}'},
        "DELETE": {},
    }
    for method, options in bodies.items():
        media = PATCH if method == "PATCH" else {}
        status, problem, _ = await registry.call(method, f"/places/{made['id']}", headers=media, **options)
        assert (status, problem["type"]) == (428, "urn:maillage:problem:precondition-required"), method
        for tag in ('"1"', '"3"', '"99999999999999999999"', '"x"', "²", '""', "-1", '"1", "3"'):
            headers = {"If-Match": tag, **media}
            status, problem, _ = await registry.call(
                method, f"/places/{made['id']}", headers=headers, **options
            )
            assert (status, problem["type"]) == (412, "urn:maillage:problem:stale"), (method, tag)
    assert len(await registry.feed()) == 2


async def test_a_new_place_needs_an_id_of_version_7(registry: Registry) -> None:
    """If-None-Match: * under a UUID of another version is 422; under what is no UUID, 404."""
    headers = {"If-None-Match": "*"}
    for id in (str(uuid4()), "00000000-0000-0000-0000-000000000000"):
        assert (await registry.call("PUT", f"/places/{id}", json=GOOD, headers=headers))[0] == 422
    for id in (
        "1",
        str(uuid7()).replace("-", ""),
        "{" + str(uuid7()) + "}",
        "urn:uuid:" + str(uuid7()),
        "%00",
        "..%2F..%2Fetc%2Fpasswd",
        "%ED%A0%80",
        "é" * 36,
        "-" * 36,
        "x" * 5000,
    ):
        assert (await registry.call("PUT", f"/places/{id}", json=GOOD, headers=headers))[0] == 404, id
        assert (await registry.call("GET", f"/places/{id}", token=None))[0] == 404, id
        assert (await registry.call("GET", f"/imports/{id}"))[0] == 404, id
        assert (await registry.call("GET", f"/claims/{id}"))[0] == 404, id


async def test_an_unknown_field_is_named_with_the_closest_known_one(registry: Registry) -> None:
    """A misspelt field is 422 at its pointer with a proposal, also inside an object and a list."""
    status, problem = await refused(registry, {**GOOD, "famillies": []})
    assert (status, pointers(problem)) == (422, ["/famillies"])
    assert "families" in problem["errors"][0]["detail"]
    status, problem = await refused(registry, place(address={"postcode": "35000", "cty": "Rennes"}))
    assert (status, pointers(problem)) == (422, ["/address/cty"])
    assert "city" in problem["errors"][0]["detail"]
    status, problem = await refused(registry, place(links=[{"rel": "x", "url": "https://a.fr", "a/b~c": 1}]))
    assert (status, pointers(problem)) == (422, ["/links/0/a~1b~0c"])


async def test_all_mistakes_are_named_at_once(registry: Registry) -> None:
    """A body with five mistakes gets five pointers, of the shape and of the content alike."""
    body = {"name": "", "status": "ouvert", "position": {"lat": 91, "lon": "x"}, "nom": "y"}
    status, problem = await refused(registry, body)
    assert status == 422
    assert set(pointers(problem)) == {"/name", "/status", "/position/lat", "/position/lon", "/nom"}
    body = place(
        address={"postcode": "123", "insee": "00000"},
        opening_hours="parfois",
        phone="12",
        families=["fabblab"],
        identifiers=[{"scheme": "siret", "value": "12345678901234"}],
    )
    status, problem = await refused(registry, body)
    assert status == 422
    assert set(pointers(problem)) == {
        "/address/postcode",
        "/address/insee",
        "/opening_hours",
        "/phone",
        "/families/0",
        "/identifiers/0/value",
    }


def wrong_places() -> dict[str, tuple[dict[str, Any], str]]:
    """Places with one mistake each, and where it is."""

    def siret(value: str) -> dict[str, Any]:
        return place(identifiers=[{"scheme": "siret", "value": value}])

    return {
        "a SIRET whose digits do not add up": (siret("35600000000049"), "/identifiers/0/value"),
        "fourteen zeros": (siret("00000000000000"), "/identifiers/0/value"),
        "thirteen digits": (siret("3560000000004"), "/identifiers/0/value"),
        "hours nobody can compute": (place(opening_hours="Lu-Ve 9h"), "/opening_hours"),
        "no commune": (place(address={"insee": "00000"}), "/address/insee"),
        "a short INSEE code": (place(address={"insee": "3523"}), "/address/insee"),
        "nowhere": (place(address=None), ""),
        "an address without a postcode": (place(address={"city": "Rennes"}), ""),
        "the Gulf of Guinea": (place(position={"lat": 0, "lon": 0}), "/position"),
        "beyond the pole": (place(position={"lat": 90.1, "lon": 0}), "/position/lat"),
        "no name": (place(name=None), "/name"),
        "a name of blanks": (place(name="   "), "/name"),
        "a name of punctuation": (place(name="!?"), "/name"),
        "a name too long": (place(name="x" * 201), "/name"),
        "no status": (place(status=None), "/status"),
        "a day that never was": (place(opened_on="2023-02-30"), "/opened_on"),
        "closed before it opened": (place(opened_on="2020", closed_on="2019"), "/closed_on"),
        "verified tomorrow": (place(verified_on="2999-01-01"), "/verified_on"),
        "a hidden place with a street": (
            place(kind="undisclosed", address={"street": "1 rue"}),
            "/address/street",
        ),
        "a script": (place(links=[{"rel": "x", "url": "javascript:alert(1)"}]), "/links/0/url"),
        "no web address": (place(website="chez nous"), "/website"),
        "an extension that is no object": (place(extensions={"x": 1}), "/extensions/x"),
        "too many extensions": (place(extensions={"x": {"a": "b" * 17000}}), "/extensions"),
        "too much of everything": (place(alternate_names=[f"{i:0200}" for i in range(230)]), ""),
        "a number for a text": (place(name=1), "/name"),
        "a text for a list": (place(families="fablab"), "/families"),
        "null for a required field": ({**GOOD, "name": None}, "/name"),
    }


async def test_what_cannot_be_true_is_refused_where_it_stands(registry: Registry) -> None:
    """Each mistake is 422 with a pointer to it and a sentence about it, and no place comes of it."""
    for what, (body, pointer) in wrong_places().items():
        status, problem = await refused(registry, body)
        assert status == 422, what
        assert pointer in pointers(problem), (what, problem)
        assert all(len(e["detail"]) > 10 for e in problem["errors"])
    assert await registry.feed() == []


NO_JSON = (
    b"",
    b"{",
    b"nonsense",
    b'{"name": NaN}',
    b'{"name": Infinity}',
    b'{"name": 1e999}',
    b'{"name": 123456789012345678901234567890}',
    b'{"name": ' + b"9" * 5000 + b"}",
    b'{"name": "a", "name": "b"}',
    b'{"extensions": {"x": {"a": 1, "a": 2}}}',
    b'{"extensions": {"x": {"a": NaN}}}',
    b'{"name": "\xff\xfe"}',
    b'{"name": "\\ud800"}',
    b'{"name": "\\u0000"}',
    b'{"extensions": {"x": {"\\u0000": 1}}}',
    b'{"name": "a\x00b"}',
    b'\xef\xbb\xbf{"name": "x"}',
    b"[" * 60000,
    b'{"extensions": {"x":' + b'{"a":' * 70 + b"1" + b"}" * 72,
    b'{"name": "x"} {"name": "y"}',
)


async def test_what_is_no_json_is_malformed(registry: Registry) -> None:
    """Broken JSON, NaN, names given twice, invalid UTF-8, NUL and bottomless nesting are each 400."""
    made = await registry.add()
    match = {"If-Match": "*", **PATCH}
    for body in NO_JSON:
        status, problem = await refused(registry, body)
        assert (status, problem["type"]) == (400, "urn:maillage:problem:malformed"), body[:80]
        status, _, _ = await registry.call("PATCH", f"/places/{made['id']}", data=body, headers=match)
        assert status == 400, body[:80]
    for body in (b"[]", b"1", b'"x"', b"null"):
        assert (await refused(registry, body))[0] == 422
        status, _, _ = await registry.call("PATCH", f"/places/{made['id']}", data=body, headers=match)
        assert status == 422
    assert len(await registry.feed()) == 1


async def test_a_patch_must_leave_a_place(registry: Registry) -> None:
    """A merge patch that takes away what is needed, or adds what is unknown, is 422 with a pointer."""
    made = await registry.add()
    for patch, pointer in (
        (b'{"name":null}', "/name"),
        (b'{"address":null}', ""),
        (b'{"adress":{}}', "/adress"),
        (b'{"position":{"lat":1}}', "/position/lon"),
        (b'{"status":"gone"}', "/status"),
    ):
        headers = {"If-Match": "*", **PATCH}
        status, problem, _ = await registry.call(
            "PATCH", f"/places/{made['id']}", data=patch, headers=headers
        )
        assert status == 422
        assert pointer in pointers(problem), patch


async def test_a_body_has_a_size_and_a_media_type(registry: Registry) -> None:
    """A body of 1 MB is 413, announced or not; a body of another media type or charset is 415."""
    big = b'{"name":"' + b"x" * 1_000_000 + b'"}'
    assert (await refused(registry, big))[0] == 413

    async def pieces() -> Any:
        for start in range(0, len(big), 65536):
            yield big[start : start + 65536]

    status, problem, _ = await registry.call("POST", "/places", data=pieces(), headers=JSON)
    assert (status, problem["type"]) == (413, "urn:maillage:problem:too-large")
    body = json.dumps(GOOD).encode()
    for media in (
        "text/plain",
        "application/json; charset=latin-1",
        "application/x-www-form-urlencoded",
        "x",
    ):
        status, problem = await refused(registry, body, **{"Content-Type": media})
        assert status == 415, media
        assert "application/json" in problem["detail"]
    made = await registry.add()
    status, _, _ = await registry.call(
        "PATCH", f"/places/{made['id']}", data=b"{}", headers={"If-Match": "*", **JSON}
    )
    assert status == 415


BAD_QUERIES = {
    "/places?colour=red": "colour",
    "/places?statu=open": "statu",
    "/places?status=ouvert": "status",
    "/places?limit=1&limit=2": "limit",
    "/places?limit=0": "limit",
    "/places?limit=1001": "limit",
    "/places?limit=ten": "limit",
    "/places?limit=": "limit",
    "/places?limit=99999999999999999999999": "limit",
    "/places?bbox=1,2,3": "bbox",
    "/places?bbox=1,2,3,4,5": "bbox",
    "/places?bbox=a,b,c,d": "bbox",
    "/places?bbox=nan,0,1,1": "bbox",
    "/places?bbox=0,inf,1,1": "bbox",
    "/places?bbox=0,50,1,49": "bbox",
    "/places?bbox=0,0,181,1": "bbox",
    "/places?bbox=": "bbox",
    "/places?page=x": "page",
    "/places?page=%C3%A9%C3%A9": "page",
    "/places?page=AAAA": "page",
    "/places?page=AZ!%25$kxvV4cmz%3D3jVR2L3qLwAAAAAAAA": "page",
    "/places?page=": "page",
    "/places?updated_since=hier": "updated_since",
    "/places?updated_since=0001-01-01T00:00:00%2B14:00": "updated_since",
    "/places?updated_since=9999-12-31T23:59:59-14:00": "updated_since",
    "/places?updated_since=": "updated_since",
    "/places?q=%00": "q",
    "/places?q=" + "x" * 201: "q",
    "/claims?record=x": "record",
    "/claims?page=AAAA": "page",
    "/areas?limit=0": "limit",
    "/vocabulary?x=1": "x",
    "/livez?x=1": "x",
    "/feed?after=1.0&limit=0": "limit",
    "/feed?after=1.0&limit=1001": "limit",
    "/feed?wait=31": "wait",
    "/feed?wait=-1": "wait",
    "/feed?wait=nan": "wait",
    "/exports/places.csv?x=1": "x",
    "/imports/00000000-0000-0000-0000-000000000000?page=99999999999": "page",
    "/imports/00000000-0000-0000-0000-000000000000?page=-1": "page",
}


async def test_a_query_that_cannot_be_meant_is_malformed(registry: Registry) -> None:
    """Unknown, repeated and wrong parameters are 400 and named; nothing is clamped or ignored."""
    for path, parameter in BAD_QUERIES.items():
        status, problem, _ = await registry.call("GET", path)
        assert (status, problem["type"]) == (400, "urn:maillage:problem:malformed"), path
        assert [e["parameter"] for e in problem["errors"]] == [parameter], path
    status, problem, _ = await registry.call("POST", "/places?duplicate=yes", json=GOOD)
    assert (status, problem["errors"][0]["parameter"]) == (400, "duplicate")
    status, problem, _ = await registry.call("GET", "/places?statu=open", token=None)
    assert "status" in problem["errors"][0]["detail"]


async def test_what_is_not_there_is_told_apart_from_what_is_not_done(registry: Registry) -> None:
    """An unknown address is 404; a known one with another method is 405 with the methods that it takes."""
    for path in ("/nothing", "/places/", f"/places/{uuid7()}/x", "/exports/places.pdf", "//", "/%2e%2e/x"):
        status, problem, _ = await registry.call("GET", path, token=None)
        assert (status, problem["type"]) == (404, "urn:maillage:problem:not-found"), path
    for method, path, allow in (
        ("PUT", "/places", "GET, HEAD, POST"),
        ("POST", f"/places/{uuid7()}", "DELETE, GET, HEAD, PATCH, PUT"),
        ("DELETE", "/feed", "GET, HEAD"),
        ("PATCH", "/exports/places.csv", "GET, HEAD"),
    ):
        status, problem, headers = await registry.call(method, path)
        assert (status, problem["type"]) == (405, "urn:maillage:problem:method-not-allowed")
        assert headers["Allow"] == allow


async def test_problems_are_said_in_french_to_whom_reads_french(registry: Registry) -> None:
    """With Accept-Language: fr title, detail and mistakes are French; else English; both say so."""
    french = {"Accept-Language": "fr-FR,fr;q=0.9,en;q=0.8"}
    _, english = await refused(registry, place(name=None))
    status, problem, headers = await registry.call("POST", "/places", json=place(name=None), headers=french)
    assert (status, headers["Content-Language"]) == (422, "fr")
    assert "Accept-Language" in headers["Vary"]
    assert problem["title"] != english["title"]
    assert problem["errors"][0]["detail"] != english["errors"][0]["detail"]
    assert problem["errors"][0]["pointer"] == english["errors"][0]["pointer"]
    assert problem["type"] == english["type"]


async def test_nothing_of_the_inside_is_told(registry: Registry) -> None:
    """No answer to nonsense names a library, a file, a statement or the version of the server."""
    told: list[str] = []
    for path in (*BAD_QUERIES, "/nothing", "/places/%27%3B%20DROP%20TABLE%20place"):
        async with registry.client.get(registry.url + path) as answer:
            told.append(await answer.text() + str(answer.headers))
    for body in NO_JSON:
        async with registry.client.post(registry.url + "/places", data=body, headers=JSON) as answer:
            told.append(await answer.text() + str(answer.headers))
    for text in told:
        assert not re.search(r"(?i)traceback|asyncpg|msgspec|aiohttp|python|\.py\b|SELECT |postgres", text), (
            text
        )


async def raw(registry: Registry, data: bytes) -> bytes:
    """What the service answers to bytes on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", registry.port)
    writer.write(data)
    try:
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 12)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_what_is_no_http_is_survived(registry: Registry) -> None:
    """Endless headers, broken requests and raw bytes are 4xx or a closed connection; the service goes on."""
    close = b"Connection: close\r\n\r\n"
    for data in (
        b"GET /places HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n" + close,
        b"GET /places?q=" + b"y" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n" + close,
        b"GET /places?q=%FF%FE HTTP/1.1\r\nHost: x\r\nAccept: \xff\xfe\r\nAccept-Language: \xff\r\n" + close,
        b"GET /places HTTP/1.1\r\nHost: x\r\nIf-None-Match: \xff\r\nRange: bytes=z\r\n" + close,
        b"GET /feed/live HTTP/1.1\r\nHost: x\r\nLast-Event-ID: \xff\xfe\r\n" + close,
        b"GET /feed/live HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 1.99999999999999999999\r\n" + close,
        b"POST /places HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n" + close,
        b"POST /places HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer \xff\r\n\r\nzz\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET \x00 HTTP/1.1\r\nHost: x\r\n" + close,
    ):
        answer = await raw(registry, data)
        assert not answer or answer.split(b" ")[1][:1] in (b"2", b"4"), (data[:60], answer[:300])
    await registry.add()
