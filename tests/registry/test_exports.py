"""The whole store as files: complete, resumable, and read again for nothing."""

import asyncio
import csv
import io
import json
from typing import Any

import pytest

from services import files
from services.registry import exporting
from tests.conftest import Federation
from tests.nodes import Registry
from tests.registry.test_imports import NDJSON, counts, dirty
from tests.registry.test_writer import twin

MEDIA = {
    "csv": "text/csv",
    "geojson": "application/geo+json",
    "ndjson": NDJSON,
    "jsonld": "application/ld+json",
}
FULL = {
    "name": '=Tout; "et" plus',
    "status": "paused",
    "alternate_names": ["a;b", "c\\d", "e|f"],
    "kind": "itinerant",
    "opened_on": "2019",
    "closed_on": "2024-02",
    "verified_on": "2024-01-31",
    "verified_by": "network",
    "join": "claims",
    "address": {
        "street": "1, rue du\nPort",
        "extra": "Bât. A",
        "postcode": "01000",
        "city": "Bourg",
        "insee": "01053",
    },
    "position": {"lat": 46.2, "lon": 5.25, "precision": "commune"},
    "families": ["fablab", "coworking"],
    "types": ["bzh:maison;commune"],
    "services": ["wifi", "bzh:x"],
    "summary": "-1 à l'heure",
    "description": "Deux\r\nlignes\t«\u00a0et\u00a0»",
    "website": "https://exemple.fr/?a=1;b=2",
    "links": [{"rel": "mastodon", "url": "https://m.fr/@a"}],
    "phone": "+33297000000",
    "email": "contact@exemple.fr",
    "opening_hours": "Mo-Fr 09:00-18:00; Sa off",
    "opening_hours_text": "'le matin",
    "accessibility": {"wheelchair": "limited"},
    "surface": {"built_m2": 120.5, "outdoor_m2": 30},
    "operator": {"name": "Asso", "legal_forms": ["association", "scic"], "governance": ["a; b"]},
    "identifiers": [{"scheme": "siret", "value": "35600000000048"}, {"scheme": "osm", "value": "node/1"}],
    "labels": [{"code": "fabrique", "from": "2020"}],
    "photos": [{"url": "https://exemple.fr/p.jpg", "credit": "c"}],
    "license": "ODbL-1.0",
    "origin": {"system": "s", "id": "1"},
}
BODIES = (
    json.dumps(FULL).encode(),
    b'{"name":"Virtuel","status":"open","kind":"virtual","extensions":{"x":{"a" : 1.0,\n\r "b":[ ]}}}',
    b'{"name":"Sans position","status":"project","address":{"insee":"35238"},"license":"CC0-1.0"}',
    b'{"name":"@formule","status":"closed","address":{"postcode":"1000","country":"CH"}}',
)


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a file is made again as soon as it is another."""
    monkeypatch.setattr(files, "REST", 0)


async def filled(registry: Registry) -> None:
    """Places with everything that an export could lose, and a withdrawn one that it must not hold."""
    for body in BODIES:
        status, made, _ = await registry.call(
            "POST", "/places", data=body, headers={"Content-Type": "application/json"}
        )
        assert status == 201, made
    await registry.withdraw((await registry.add())["id"])


async def exported(registry: Registry, ending: str, **headers: str) -> tuple[int, bytes, Any]:
    """Status, bytes and headers of an export."""
    path = f"{registry.url}/exports/places.{ending}"
    async with registry.client.get(path, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


def names(ending: str, data: bytes) -> list[str]:
    """The names of the places in an export, read by the standard library."""
    match ending:
        case "csv":
            return [
                row["nom"].removeprefix("'") for row in csv.DictReader(io.StringIO(data.decode(), newline=""))
            ]
        case "geojson":
            return [f["properties"]["name"] for f in json.loads(data)["features"]]
        case "ndjson":
            return [json.loads(line)["place"]["name"] for line in data.splitlines()]
    return [node["name"] for node in json.loads(data)["@graph"]]


async def test_an_export_holds_every_place_in_force(registry: Registry) -> None:
    """Each form holds all places in force in one order, says its media type and its place in the log."""
    await filled(registry)
    for ending, media in MEDIA.items():
        status, data, headers = await exported(registry, ending)
        assert status == 200
        assert headers["Content-Type"].startswith(media)
        assert headers["Cursor"] == "1.6"
        assert f"places.{ending}" in headers["Content-Disposition"]
        assert names(ending, data) == [json.loads(b)["name"] for b in BODIES], ending
    page = (await registry.get("/feed?after=1.6")).splitlines()
    assert len(page) == 1


@pytest.mark.parametrize("ending", ["csv", "geojson", "ndjson"])
async def test_an_export_read_again_makes_no_event(registry: Registry, ending: str) -> None:
    """CSV, GeoJSON and NDJSON of the store, imported unchanged, are all unchanged rows and no event."""
    await filled(registry)
    await registry.list_in(dirty(60), source="sale")
    _, data, _ = await exported(registry, ending)
    size = len(await registry.feed())
    foretold = {"unchanged": len(names(ending, data))}
    for source in ("import", "sale", "autre"):
        done = await registry.list_in(data, MEDIA[ending], source=source, missing="keep")
        assert counts(done) == foretold, (source, done["report"])
    assert len(await registry.feed()) == size


async def test_an_edited_export_changes_what_was_edited(registry: Registry) -> None:
    """One cell changed in a spreadsheet is one event, of that place and that field."""
    await filled(registry)
    _, data, _ = await exported(registry, "csv")
    changed = data.replace(b"Sans position", "Renommé".encode())
    done = await registry.list_in(changed)
    assert counts(done) == {"unchanged": 3, "changed": 1}
    last = (await registry.feed())[-1]
    assert (last["data"]["name"], last["recordversion"]) == ("Renommé", 2)


async def test_an_export_is_resumed_and_revalidated(registry: Registry) -> None:
    """Ranges put together are the file; the ETag holds until something changes, and says 304 until then."""
    await filled(registry)
    _, whole, headers = await exported(registry, "ndjson")
    tag = headers["ETag"]
    assert headers["Accept-Ranges"] == "bytes"
    middle = len(whole) // 2
    status, first, part = await exported(registry, "ndjson", Range=f"bytes=0-{middle - 1}")
    assert (status, part["Content-Range"]) == (206, f"bytes 0-{middle - 1}/{len(whole)}")
    status, second, part = await exported(
        registry, "ndjson", **{"Range": f"bytes={middle}-", "If-Range": tag}
    )
    assert (status, first + second, part["ETag"]) == (206, whole, tag)
    assert (await exported(registry, "ndjson", Range=f"bytes={len(whole)}-"))[0] == 416
    for strange in ("items=0-5", "bytes=0-4,10-14", "bytes=x"):
        status, all_of_it, _ = await exported(registry, "ndjson", Range=strange)
        assert (status, all_of_it) == (200, whole)
    assert (await exported(registry, "ndjson", **{"If-None-Match": tag}))[:2] == (304, b"")
    await registry.add()
    status, now, headers = await exported(registry, "ndjson", **{"If-None-Match": tag})
    assert (status, headers["ETag"] != tag, now.startswith(whole)) == (200, True, True)
    status, again, _ = await exported(registry, "ndjson", **{"Range": f"bytes={middle}-", "If-Range": tag})
    assert (status, again) == (200, now)


async def test_every_process_gives_an_export_the_same_name(registry: Registry) -> None:
    """The ETag of a store is the same after a restart, a heartbeat and from another process."""
    await filled(registry)
    _, _, headers = await exported(registry, "csv")
    other = await twin(registry)
    try:
        assert (await exported(other, "csv"))[2]["ETag"] == headers["ETag"]
    finally:
        await other.stop()
    await registry.stop()
    await registry.start()
    assert (await exported(registry, "csv"))[2]["ETag"] == headers["ETag"]


async def test_exports_under_writes_are_each_one_moment(registry: Registry) -> None:
    """Exports asked for while places come in hold exactly the places up to their cursor."""
    stop = asyncio.Event()
    order: list[str] = []

    async def write() -> None:
        while not stop.is_set():
            await registry.add()

    writers = [asyncio.create_task(write()) for _ in range(4)]
    found: list[Any] = []
    while len(found) < 18 or len({headers["Cursor"] for _, _, headers in found}) < 2:
        found += await asyncio.gather(*(exported(registry, "ndjson") for _ in range(3)))
    stop.set()
    await asyncio.gather(*writers)
    order = [e["subject"] for e in await registry.feed()]
    for status, data, headers in found:
        assert status == 200
        size = int(headers["Cursor"].partition(".")[2])
        assert {json.loads(line)["id"] for line in data.splitlines()} == set(order[:size])


async def test_an_empty_store_is_an_empty_file(registry: Registry) -> None:
    """A network that has no place yet exports headings, an empty collection, nothing, and an empty graph."""
    for ending in MEDIA:
        status, data, headers = await exported(registry, ending)
        assert (status, headers["Cursor"], names(ending, data)) == (200, "1.0", [])


async def test_a_store_moves_to_another_node(federation: Federation) -> None:
    """An export read by another registry gives the same places, but for their ids and who verified them."""
    one, two = await federation.registry(), await federation.registry()
    await filled(one)
    _, data, _ = await exported(one, "ndjson")
    assert counts(await two.list_in(data, NDJSON, source="ancien")) == {"new": 4}
    kept = [[p["place"] for p in (await r.get("/places"))["places"]] for r in (one, two)]
    assert [p[0].pop("verified_by") for p in kept] == ["network", "import"]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("ending", ["csv", "geojson", "ndjson"])
async def test_an_old_export_undoes_nothing_of_the_desk(registry: Registry, ending: str) -> None:
    """What was withdrawn or edited since the export stays so, and the report names what of a row was not taken."""
    kept, edited, both = [await registry.add(name=f"Lieu {n}", phone="0299000000") for n in range(3)]
    _, data, _ = await exported(registry, ending)
    await registry.withdraw(kept["id"])
    await registry.change(edited["id"], phone="+33299000001", description="Dit au bureau")
    await registry.change(both["id"], name="Nom du bureau", description="Dit au bureau")
    size = len(await registry.feed())
    done = await registry.list_in(data, MEDIA[ending], missing="keep")
    assert counts(done) == {"unchanged": 3}
    assert len(await registry.feed()) == size
    ((said,),) = [line["remarks"] for line in done["report"]]
    assert "stays withdrawn" in said["detail"]
    changed = data.replace(b"Lieu 1", b"Lieu un").replace(b"Lieu 2", b"Lieu deux")
    done = await registry.list_in(changed, MEDIA[ending], missing="keep")
    assert counts(done) == {"unchanged": 2, "changed": 1}
    now = (await registry.get(f"/places/{edited['id']}"))["place"]
    assert (now["name"], now["phone"], now["description"]) == ("Lieu un", "+33299000001", "Dit au bureau")
    assert (await registry.get(f"/places/{both['id']}"))["place"]["name"] == "Nom du bureau"
    assert [r["remarks"][0]["column"] for r in done["report"]] == ["", "name"]
    assert (await registry.call("GET", f"/places/{kept['id']}"))[0] == 410


async def test_a_version_that_never_was_is_refused(registry: Registry) -> None:
    """A row that claims to have read a version still to come changes nothing."""
    await registry.add(name="Un")
    _, data, _ = await exported(registry, "ndjson")
    future = data.replace(b'"version":1', b'"version":7').replace(b'"Un"', b'"Deux"')
    assert counts(await registry.list_in(future, NDJSON, missing="keep")) == {"refused": 1}
    assert len(await registry.feed()) == 1


async def test_who_verified_a_place_is_told_by_the_way_of_writing(registry: Registry) -> None:
    """No editor speaks for the place: the desk is the network, a list an import, and the same day stays the same."""
    made = await registry.add(name="Un", verified_on="2024-01-31", verified_by="place")
    assert made["place"]["verified_by"] == "network"
    row = b'{"name":"Deux","kind":"physical","status":"open","address":{"postcode":"35000"},'
    row += b'"verified_on":"2024-01-31","verified_by":"place"}\n'
    assert counts(await registry.list_in(row, NDJSON, source="l")) == {"new": 1}
    by_list = (await registry.get("/places?q=deux"))["places"][0]
    assert by_list["place"]["verified_by"] == "import"
    edited = await registry.change(by_list["id"], phone="+33299000001")
    assert edited["place"]["verified_by"] == "import"
    checked = await registry.change(by_list["id"], verified_on="2024-02-01")
    assert checked["place"]["verified_by"] == "network"
    assert counts(await registry.list_in(row, NDJSON, source="l")) == {"unchanged": 1}
    _, data, _ = await exported(registry, "ndjson")
    assert counts(await registry.list_in(data, NDJSON, missing="keep")) == {"unchanged": 2}
    later = data.replace(b"2024-01-31", b"2024-03-01")
    assert counts(await registry.list_in(later, NDJSON, missing="keep")) == {"unchanged": 1, "changed": 1}
    now = (await registry.get(f"/places/{made['id']}"))["place"]
    assert (now["verified_on"], now["verified_by"]) == ("2024-03-01", "import")


async def test_the_document_names_every_form(registry: Registry) -> None:
    """Whoever reads the OpenAPI document learns of each media type that lists and exports come in."""
    paths = (await registry.get("/openapi.json"))["paths"]
    listed = paths["/places"]["get"]["responses"]["200"]["content"]
    assert set(listed) == {"application/json", "application/geo+json", "text/csv", NDJSON}
    made = paths["/exports/places.{ending}"]["get"]["responses"]["200"]["content"]
    assert set(made) == set(MEDIA.values())


async def test_a_large_store_is_never_in_memory(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export is written some places at a time, and is the same file as if it were written at once."""
    await registry.list_in(dirty(60), source="sale")
    whole = [(await exported(registry, ending))[1] for ending in MEDIA]
    most: list[int] = []
    append = exporting._append

    def noted(file: Any, head: Any, rows: Any, *rest: Any, **more: Any) -> None:
        most.append(len(rows))
        append(file, head, rows, *rest, **more)

    monkeypatch.setattr(exporting, "ROWS", 7)
    monkeypatch.setattr(exporting, "_append", noted)
    other = await twin(registry)
    try:
        assert [(await exported(other, ending))[1] for ending in MEDIA] == whole
    finally:
        await other.stop()
    assert max(most) == 7


async def test_a_large_store_is_not_written_again_at_once(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing the store takes long, who asks again after a change gets the same file for a while."""
    monkeypatch.setattr(files, "CHEAP_S", 0.0)
    monkeypatch.setattr(files, "REST", 1_000_000)
    first = await exported(registry, "csv")
    await registry.add()
    again = await exported(registry, "csv")
    assert (again[1], again[2]["ETag"]) == (first[1], first[2]["ETag"])
    assert again[2]["Cursor"] == "1.0"
