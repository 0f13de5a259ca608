"""What a network says of its places: opened, changed, withdrawn, reopened, listed, and never half of it."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from uuid_utils import uuid7

from tests.conftest import Federation
from tests.nodes import Registry, eventually

PATCH = {"Content-Type": "application/merge-patch+json"}
JSON = {"Content-Type": "application/json"}


def place(name: str = "La Filature", **fields: Any) -> dict[str, Any]:
    """A place that can be sent."""
    return {"name": name, "status": "open", "address": {"postcode": "35000"}, **fields}


async def test_a_new_place_has_an_id_a_version_and_an_address(registry: Registry) -> None:
    """POST answers 201 with Location, ETag "1", the full id, the cursor and the record as it is kept."""
    status, made, headers = await registry.call("POST", "/places", json=place())
    assert status == 201
    node, _, id = made["id"].partition(":")
    assert node == registry.node
    assert id[14] == "7"
    assert headers["Location"] == f"/places/{id}"
    assert headers["ETag"] == '"1"'
    assert (made["version"], made["cursor"], made["warnings"]) == (1, "1.1", [])
    assert made["place"] == place(license="etalab-2.0")
    status, shown, headers = await registry.call("GET", headers["Location"], token=None)
    assert (status, headers["ETag"]) == (200, '"1"')
    assert shown == {**{k: v for k, v in made.items() if k != "warnings"}, "updated_at": shown["updated_at"]}


async def test_a_place_is_found_by_its_full_id_as_well(registry: Registry) -> None:
    """Paths take the UUID and the full id; the id of another network is not here."""
    made = await registry.add()
    assert (await registry.get(f"/places/{made['id']}"))["id"] == made["id"]
    assert (await registry.call("GET", f"/places/{'a' * 26}:{made['id'][27:]}"))[0] == 404


async def test_what_is_doubtful_is_said_and_accepted(registry: Registry) -> None:
    """An INSEE code that no commune has makes a warning with its pointer, in the language of the client."""
    body = place(address={"postcode": "35000", "insee": "35999"})
    status, made, _ = await registry.call("POST", "/places", json=body, headers={"Accept-Language": "fr"})
    assert status == 201
    assert [w["pointer"] for w in made["warnings"]] == ["/address/insee"]
    assert "commune" in made["warnings"][0]["detail"]


async def test_a_client_chooses_the_id_once(registry: Registry) -> None:
    """If-None-Match: * creates under the client's UUIDv7; the same again is 200, anything else 412."""
    path = f"/places/{uuid7()}"
    new = {"If-None-Match": "*"}
    status, made, headers = await registry.call("PUT", path, json=place(), headers=new)
    assert (status, headers["ETag"], headers["Location"]) == (201, '"1"', path)
    status, again, headers = await registry.call("PUT", path, json=place(), headers=new)
    assert (status, headers["ETag"], again["cursor"]) == (200, '"1"', made["cursor"])
    assert (await registry.call("PUT", path, json=place("Autre"), headers=new))[0] == 412
    assert len(await registry.feed()) == 1


async def test_a_place_cannot_take_the_id_of_a_claim(registry: Registry) -> None:
    """A record never changes its kind: a PUT under the id of a claim is refused, and nothing stops."""
    first, second = await registry.add(), await registry.add()
    claim = await registry.claim(first["id"], second["id"])
    path = f"/places/{claim['id']}"
    status, _, _ = await registry.call("PUT", path, json=place(), headers={"If-None-Match": "*"})
    assert status == 412
    assert len(await registry.feed()) == 3
    await registry.add()


async def test_a_change_names_the_version_it_was_made_from(registry: Registry) -> None:
    """PUT with the ETag that was read makes the next version; the ETag before is stale from then on."""
    made = await registry.add()
    path = f"/places/{made['id']}"
    status, changed, headers = await registry.call(
        "PUT", path, json=place("Neuve"), headers={"If-Match": '"1"'}
    )
    assert (status, changed["version"], headers["ETag"]) == (200, 2, '"2"')
    status, problem, _ = await registry.call("PUT", path, json=place("Tard"), headers={"If-Match": '"1"'})
    assert (status, problem["type"]) == (412, "urn:maillage:problem:stale")
    assert (await registry.get(path))["place"]["name"] == "Neuve"


async def test_unchanged_content_makes_no_event(registry: Registry) -> None:
    """A PUT and a PATCH that change nothing answer 200 at the same version, and the log does not grow."""
    made = await registry.add(name="Égal")
    path, match = f"/places/{made['id']}", {"If-Match": '"1"'}
    status, same, headers = await registry.call("PUT", path, json=made["place"], headers=match)
    assert (status, same["version"], headers["ETag"]) == (200, 1, '"1"')
    status, same, _ = await registry.call(
        "PATCH", path, data=b'{"name":" \\u00c9gal "}', headers=match | PATCH
    )
    assert (status, same["cursor"]) == (200, made["cursor"])
    assert len(await registry.feed()) == 1


async def test_a_patch_touches_only_what_it_names(registry: Registry) -> None:
    """A merge patch sets, removes and merges fields; all other fields keep their bytes."""
    made = await registry.add(name="Patch", summary="avant", address={"postcode": "35000", "city": "Rennes"})
    path, match = f"/places/{made['id']}", {"If-Match": '"1"'}
    patch = {"summary": None, "address": {"city": "RENNES"}, "families": ["fablab"]}
    status, _, _ = await registry.call("PATCH", path, data=json.dumps(patch), headers=match | PATCH)
    assert status == 200
    now = (await registry.get(path))["place"]
    assert now == {
        "name": "Patch",
        "status": "open",
        "address": {"postcode": "35000", "city": "RENNES"},
        "families": ["fablab"],
        "license": "etalab-2.0",
    }


EXTENSION = b'{"z" : 1.0,\n "a": [1,  2.50, 1e2], "z2":"\\u00e9/\xc3\xa9", "n": null, "o":{"b":1,"a":2}}'


async def test_extensions_travel_byte_for_byte(registry: Registry) -> None:
    """Numbers, spaces, key order and escapes of an extension are the sender's in every answer and event."""
    body = (
        b'{"name":"Octets","status":"open","address":{"postcode":"35000"},"extensions":{"bzh":%b}}'
        % EXTENSION
    )
    status, made, _ = await registry.call("POST", "/places", data=body, headers=JSON)
    assert status == 201, made
    path = f"/places/{made['id']}"
    headers = {"If-Match": '"1"', **PATCH}
    other = b'{"name":"Octets 2","extensions":{"autre":{"x":1.10}}}'
    assert (await registry.call("PATCH", path, data=other, headers=headers))[0] == 200
    async with registry.client.get(registry.url + path) as answer:
        assert EXTENSION in await answer.read()
    raws = [e for e in await raw_events(registry) if EXTENSION in e.encode()]
    assert len(raws) == 2
    assert '{"x":1.10}' in raws[-1]


async def raw_events(registry: Registry) -> list[str]:
    """The bytes of all events, as text."""
    lines = (await registry.get("/feed")).splitlines()
    return [msgspec.json.decode(line)["raw"] for line in lines[:-1]]


async def test_a_withdrawn_place_is_gone_and_says_why(registry: Registry) -> None:
    """DELETE leaves a tombstone: 410 with reason, since and successor for every way of asking or changing."""
    made, other = await registry.add(), await registry.add()
    path = f"/places/{made['id']}"
    body = {"reason": "duplicate", "successor": other["id"]}
    status, gone, _ = await registry.call("DELETE", path, json=body, headers={"If-Match": '"1"'})
    assert (status, gone["version"]) == (200, 2)
    for method, options in (
        ("GET", {}),
        ("PUT", {"json": place(), "headers": {"If-Match": '"2"'}}),
        ("PATCH", {"data": b"{}", "headers": {"If-Match": '"2"', **PATCH}}),
        ("DELETE", {"headers": {"If-Match": "*"}}),
    ):
        status, problem, _ = await registry.call(method, path, **options)
        assert (status, problem["reason"]) == (410, "duplicate"), method
        assert problem["successor"] == other["id"]
        assert problem["since"][:4].isdigit()
    assert [p["id"] for p in (await registry.get("/places"))["places"]] == [other["id"]]


async def test_a_reopened_place_keeps_its_id_and_history(registry: Registry) -> None:
    """Reopening brings the record back as it was; reopening one in force changes nothing."""
    made = await registry.add(name="Revient")
    path = f"/places/{made['id']}"
    await registry.withdraw(made["id"])
    status, back, _ = await registry.call("POST", path + "/reopen")
    assert (status, back["version"], back["place"]) == (200, 3, made["place"])
    status, same, _ = await registry.call("POST", path + "/reopen")
    assert (status, same["version"]) == (200, 3)
    versions = (await registry.get(path + "/history"))["versions"]
    assert [v["type"].split(".")[-2] for v in versions] == ["put", "withdraw", "put"]
    assert (await registry.call("POST", f"/places/{uuid7()}/reopen"))[0] == 404


async def test_history_tells_who_changed_what(registry: Registry) -> None:
    """Each version has its cursor, time, the role that wrote it, and every changed field before and after."""
    made = await registry.add(name="Avant", summary="s")
    editor = await registry.token_for("editor")
    path = f"/places/{made['id']}"
    headers = {"If-Match": '"1"', **PATCH}
    await registry.call(
        "PATCH", path, token=editor, data=b'{"name":"Apr\\u00e8s","summary":null}', headers=headers
    )
    first, second = (await registry.get(path + "/history"))["versions"]
    assert (first["version"], first["cursor"], first["role"]) == (1, "1.1", "admin")
    assert first["changed"]["name"] == {"before": None, "after": "Avant"}
    assert (second["version"], second["cursor"], second["role"]) == (2, "1.2", "editor")
    assert second["changed"] == {
        "name": {"before": "Avant", "after": "Après"},
        "summary": {"before": "s", "after": None},
    }
    assert second["time"].endswith("Z")
    assert (await registry.call("GET", f"/places/{uuid7()}/history"))[0] == 404


async def test_a_near_duplicate_is_refused_with_its_candidates(registry: Registry) -> None:
    """The same folded name within 200 m is 409 with the candidates; beyond, or accepted, it is another place."""
    here = {"position": {"lat": 48.1, "lon": -1.68}, "address": None}
    made = await registry.add(name="L'Atelier des Possibles", **here)
    close = place("ATELIER DES POSSIBLES l'", position={"lat": 48.1015, "lon": -1.68})
    assert (await registry.call("POST", "/places", json=close))[0] == 201
    close = place("l atelier des possibles", position={"lat": 48.1015, "lon": -1.68})
    status, problem, _ = await registry.call("POST", "/places", json=close)
    assert (status, problem["type"]) == (409, "urn:maillage:problem:near-duplicate")
    assert problem["candidates"] == [{"id": made["id"], "name": "L'Atelier des Possibles"}]
    far = place("L'atelier des possibles", position={"lat": 48.102, "lon": -1.68})
    assert (await registry.call("POST", "/places", json=far))[0] == 201
    assert (await registry.call("POST", "/places?duplicate=accept", json=close))[0] == 201


async def test_without_a_position_the_postcode_decides(registry: Registry) -> None:
    """Where one of the two has no position, the same name in the same postcode is a near duplicate."""
    await registry.add(name="Le Dix")
    there = place("le dix", position={"lat": 48.1, "lon": -1.68})
    assert (await registry.call("POST", "/places", json=there))[0] == 409
    elsewhere = place("le dix", address={"postcode": "56000"})
    status, made, _ = await registry.call("POST", "/places", json=elsewhere)
    assert status == 201
    await registry.withdraw(made["id"])
    assert (await registry.call("POST", "/places", json=elsewhere))[0] == 201


async def test_of_many_equal_wishes_at_once_one_is_written(registry: Registry) -> None:
    """Twenty people add the same place at the same moment: one gets it, nineteen get the candidate."""
    answers = await asyncio.gather(
        *(registry.call("POST", "/places", json=place("Au même instant")) for _ in range(20))
    )
    assert sorted(status for status, _, _ in answers) == [201] + [409] * 19
    assert len(await registry.feed()) == 1


async def test_a_repeated_request_gets_the_first_answer(registry: Registry) -> None:
    """Twenty concurrent repeats under one Idempotency-Key make one place and get one and the same answer."""
    key = {"Idempotency-Key": "saisie-42"}
    answers = await asyncio.gather(
        *(registry.call("POST", "/places", json=place("Une fois"), headers=key) for _ in range(20))
    )
    assert {status for status, _, _ in answers} == {201}
    assert len({msgspec.json.encode(body) for _, body, _ in answers}) == 1
    assert {headers["ETag"] for _, _, headers in answers} == {'"1"'}
    assert len(await registry.feed()) == 1
    await registry.change(answers[0][1]["id"], name="Changée")
    await registry.stop()
    await registry.start()
    status, again, _ = await registry.call("POST", "/places", json=place("Une fois"), headers=key)
    assert (status, again) == (201, answers[0][1])


async def test_a_key_stands_for_one_request_of_one_token(registry: Registry) -> None:
    """Another body under the same key is 422; the same key of another token is another key."""
    key = {"Idempotency-Key": "k" * 255}
    assert (await registry.call("POST", "/places", json=place("Un"), headers=key))[0] == 201
    assert (await registry.call("POST", "/places", json=place("Deux"), headers=key))[0] == 422
    editor = await registry.token_for("editor")
    answer = await registry.call("POST", "/places", token=editor, json=place("Trois"), headers=key)
    assert answer[0] == 201
    for bad in ("k" * 256, "\udcff", ""):
        status, _, _ = await registry.call(
            "POST", "/places", json=place("Quatre"), headers={"Idempotency-Key": bad}
        )
        assert status == 400, bad
    assert len(await registry.feed()) == 2


async def test_pages_neither_skip_nor_repeat_while_places_are_added(registry: Registry) -> None:
    """Whoever pages sees every place that was there at the start exactly once, whatever comes meanwhile."""
    before = {(await registry.add())["id"] for _ in range(23)}
    seen: list[str] = []
    path: str | None = "/places?limit=4"
    while path:
        await registry.add()
        _, page, headers = await registry.call("GET", path, token=None)
        assert len(page["places"]) <= 4
        seen += [p["id"] for p in page["places"]]
        assert (page["next"] is None) == ("Link" not in headers)
        path = f"/places?limit=4&page={page['next']}" if page["next"] else None
    assert len(seen) == len(set(seen))
    assert before <= set(seen)


async def test_lists_are_filtered(registry: Registry) -> None:
    """Status, landmark, INSEE code, box, words and time each select, also together and across the date line."""
    rennes = await registry.add(
        name="Élan 100 %_",
        families=["fablab", "coworking"],
        address={"postcode": "35000", "insee": "35238", "city": "Rennes"},
        position={"lat": 48.11, "lon": -1.68},
    )
    wallis = await registry.add(
        name="Fale", status="closed", address={"postcode": "98600"}, position={"lat": -13.3, "lon": -176.2}
    )
    fiji = await registry.add(name="Vale", address=None, position={"lat": -17.0, "lon": 178.0})

    async def ids(query: str) -> set[str]:
        return {p["id"] for p in (await registry.get("/places?" + query))["places"]}

    every = {rennes["id"], wallis["id"], fiji["id"]}
    assert await ids("status=closed") == {wallis["id"]}
    assert await ids("family=fablab") == {rennes["id"]}
    assert await ids("insee=35238") == {rennes["id"]}
    assert await ids("bbox=-2,48,-1,49") == {rennes["id"]}
    assert await ids("bbox=170,-20,-170,-10") == {wallis["id"], fiji["id"]}
    assert await ids("q=elan+RENNES") == {rennes["id"]}
    for wild in ("%25", "_", "%5C"):
        assert await ids(f"q={wild}") == every, wild
    assert await ids("q=le_a") == {wallis["id"], fiji["id"]}
    assert await ids("q=le%25f") == {wallis["id"]}
    assert await ids("q=%F0%9F%98%80_") == set()
    assert await ids("updated_since=2020-01-01") == every
    assert await ids("updated_since=2100-01-01T00:00:00Z") == set()
    assert await ids("status=open&bbox=170,-20,-170,-10") == {fiji["id"]}


async def test_lists_come_in_the_form_that_is_asked_for(registry: Registry) -> None:
    """Accept chooses JSON, GeoJSON, CSV or NDJSON; JSON where nothing is said; caches are told so."""
    body = (
        b'{"name":"Formes","status":"open","position":{"lat":48.1,"lon":-1.6},"extensions":{"x":{"a":\n1}}}'
    )
    assert (await registry.call("POST", "/places", data=body, headers=JSON))[0] == 201
    await registry.add(name="Virtuel", kind="virtual", address=None)

    async def ask(accept: str) -> tuple[str, bytes]:
        async with registry.client.get(registry.url + "/places", headers={"Accept": accept}) as answer:
            assert answer.status == 200
            assert "Accept" in answer.headers["Vary"]
            return answer.content_type, await answer.read()

    for accept in ("*/*", "application/json", "text/html, */*;q=0.1", "application/pdf"):
        media, text = await ask(accept)
        assert media == "application/json"
        assert len(json.loads(text)["places"]) == 2
    media, text = await ask("application/geo+json")
    features = json.loads(text)["features"]
    assert media == "application/geo+json"
    assert features[0]["geometry"] == {"type": "Point", "coordinates": [-1.6, 48.1]}
    assert features[1]["geometry"] is None
    media, text = await ask("application/json;q=0.5, text/csv")
    assert (media, text.count(b"\r\n")) == ("text/csv", 3)
    media, text = await ask("application/x-ndjson")
    assert media == "application/x-ndjson"
    assert [json.loads(line)["place"]["name"] for line in text.splitlines()] == ["Formes", "Virtuel"]


async def test_what_the_client_has_is_not_sent_again(registry: Registry) -> None:
    """If-None-Match with the ETag is 304 without a body; HEAD has the headers of GET and no body."""
    made = await registry.add(description="x" * 5000)
    path = f"/places/{made['id']}"
    status, body, headers = await registry.call("GET", path, headers={"If-None-Match": '"1"'})
    assert (status, body, headers["ETag"]) == (304, b"", '"1"')
    async with registry.client.head(registry.url + path) as answer:
        assert (answer.status, answer.headers["ETag"], await answer.read()) == (200, '"1"', b"")
    await registry.change(made["id"], name="Neuf")
    assert (await registry.call("GET", path, headers={"If-None-Match": '"1"'}))[0] == 200


async def test_large_answers_are_compressed(registry: Registry) -> None:
    """A list is sent as gzip to whom accepts it, and plain to whom does not."""
    for _ in range(5):
        await registry.add(description="à " * 2000)
    sizes = []
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        async with registry.client.get(registry.url + "/places", headers=headers) as answer:
            assert answer.headers.get("Content-Encoding", "identity") == encoding
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert len((await answer.json())["places"]) == 5
            sizes.append(int(answer.headers["Content-Length"]))
    assert sizes[0] * 5 < sizes[1]


async def test_all_that_a_place_can_say_is_kept(registry: Registry) -> None:
    """Every field of the record comes back as sent, tidied where the registry promises it."""
    full = place(
        "Tout",
        alternate_names=["Tutti"],
        kind="itinerant",
        opened_on="2019-05",
        closed_on="2024",
        verified_on="2024-01-31",
        verified_by="network",
        join="claims",
        position={"lat": 48.12345678, "lon": -1.5, "precision": "street"},
        families=["fablab"],
        types=["bzh:ti"],
        services=["wifi"],
        summary="s",
        description="d",
        website="www.exemple.fr",
        links=[{"rel": "mastodon", "url": "https://m.exemple.fr/@t"}],
        phone="02 97 00 00 00",
        email="contact@exemple.fr",
        opening_hours="Mo-Fr 09:00-18:00",
        opening_hours_text="le matin",
        accessibility={"wheelchair": "limited"},
        surface={"built_m2": 120.5},
        operator={"name": "Asso", "legal_forms": ["association"]},
        identifiers=[{"scheme": "siret", "value": "356 000 000 00048"}],
        labels=[{"code": "fabrique", "from": "2020", "until": "2023"}],
        photos=[{"url": "https://exemple.fr/p.jpg", "credit": "c", "license": "CC-BY-4.0"}],
        license="ODbL-1.0",
        origin={"system": "s", "id": "1"},
        extensions={"x": {"a": 1}},
    )
    status, made, _ = await registry.call("POST", "/places", json=full)
    assert status == 201, made
    tidied = {
        "position": {"lat": 48.1234568, "lon": -1.5, "precision": "street"},
        "website": "https://www.exemple.fr",
        "phone": "+33297000000",
        "identifiers": [{"scheme": "siret", "value": "35600000000048"}],
    }
    assert made["place"] == full | tidied


async def test_a_write_that_was_answered_survives_a_cut(federation: Federation) -> None:
    """Whoever got a 201 finds the place after the service was cut in the middle of writing."""
    registry = await federation.registry()
    written: list[str] = []

    async def write() -> None:
        while True:
            written.append((await registry.add())["id"])

    writers = [asyncio.create_task(write()) for _ in range(8)]
    await eventually(lambda: _true(len(written) > 30))
    await registry.cut()
    for task in writers:
        task.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await registry.start()
    events = await registry.feed()
    assert set(written) <= {e["subject"] for e in events}
    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))


async def _true(value: bool) -> bool:
    return value


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_any_version_is_meant_by_a_star(registry: Registry, method: str) -> None:
    """If-Match: * changes a record whatever its version, and only if there is one."""
    made = await registry.add()
    await registry.change(made["id"], name="Deux")
    options: dict[str, Any] = {"PUT": {"json": place("Trois")}, "PATCH": {"data": b'{"name":"Trois"}'}}.get(
        method, {}
    )
    headers = {"If-Match": "*", **(PATCH if method == "PATCH" else {})}
    status, now, _ = await registry.call(method, f"/places/{made['id']}", headers=headers, **options)
    assert (status, now["version"]) == (200, 3)
    assert (await registry.call(method, f"/places/{uuid7()}", headers=headers, **options))[0] == 404


async def test_a_record_cannot_take_its_own_place(registry: Registry) -> None:
    """A place that names itself as its successor is refused where it says so."""
    made = await registry.add()
    body = {"reason": "duplicate", "successor": made["id"]}
    status, problem, _ = await registry.call(
        "DELETE", f"/places/{made['id']}", json=body, headers={"If-Match": "*"}
    )
    assert (status, [e["pointer"] for e in problem["errors"]]) == (422, ["/successor"])
    assert len(await registry.feed()) == 1


async def test_only_places_have_a_history_of_places(registry: Registry) -> None:
    """The id of a claim is no place, whatever is asked of it."""
    a, b = await registry.add(), await registry.add()
    claim = await registry.claim(a["id"], b["id"], "distinct")
    for path in ("", "/history"):
        assert (await registry.call("GET", f"/places/{claim['id']}{path}"))[0] == 404


async def test_a_closed_place_keeps_no_name(registry: Registry) -> None:
    """A place of the same name and postcode may open where one has closed."""
    place = {"name": "La Ferme", "address": {"postcode": "35000"}}
    closed = await registry.add(**place)
    await registry.change(closed["id"], status="closed")
    await registry.add(**place)
    status, problem, _ = await registry.call("POST", "/places", json={**place, "status": "open"})
    assert (status, len(problem["candidates"])) == (409, 1)


async def test_a_long_history_is_told_whole(registry: Registry) -> None:
    """More versions than are read at once are all there, each with what it changed."""
    made = await registry.add()
    for n in range(120):
        await registry.change(made["id"], summary=f"Version {n}")
    told = (await registry.get(f"/places/{made['id']}/history"))["versions"]
    assert [one["version"] for one in told] == list(range(1, 122))
    assert told[-1]["changed"] == {"summary": {"before": "Version 118", "after": "Version 119"}}
