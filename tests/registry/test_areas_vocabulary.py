"""Named areas and the network's own words: records of their own, with events of their own."""

import asyncio
import io
import json
from typing import Any

from tests.nodes import Registry

SQUARE = [[-1.7, 48.0], [-1.5, 48.0], [-1.5, 48.2], [-1.7, 48.2], [-1.7, 48.0]]


async def name_area(registry: Registry, **area: Any) -> tuple[int, Any, Any]:
    """What POST /areas answers."""
    return await registry.call("POST", "/areas", json=area)


async def put_terms(registry: Registry, *terms: dict[str, Any]) -> tuple[int, Any, Any]:
    """What PUT /vocabulary answers."""
    return await registry.call("PUT", "/vocabulary", json={"terms": list(terms)})


def term(code: str, label: str = "Mot", **fields: Any) -> dict[str, Any]:
    """A word of the network."""
    return {"namespace": "bzh", "code": code, "labels": {"fr": label}, **fields}


async def test_an_area_is_a_polygon_or_communes(registry: Registry) -> None:
    """Both forms are published, listed, shown and replaced under the same name; the same again is no event."""
    status, first, headers = await name_area(
        registry, name="Vallée de la Vilaine", communes=["35238", "35047"]
    )
    assert (status, headers["ETag"], headers["Location"]) == (201, '"1"', f"/areas/{first['id'][27:]}")
    shape = {"type": "Polygon", "coordinates": [SQUARE]}
    status, second, _ = await name_area(registry, name="Bassin", geometry=shape)
    assert (status, second["area"]["geometry"]) == (201, shape)
    status, again, _ = await name_area(registry, name="VALLEE de la Vilaine", communes=["35238"])
    assert (status, again["id"], again["version"]) == (200, first["id"], 2)
    status, same, _ = await name_area(registry, name="VALLEE de la Vilaine", communes=["35238"])
    assert (status, same) == (200, again)
    assert await registry.get(f"/areas/{first['id']}") == again
    page = await registry.get("/areas?limit=1")
    rest = await registry.get(f"/areas?limit=1&page={page['next']}")
    assert [a["id"] for a in page["areas"] + rest["areas"]] == [first["id"], second["id"]]
    assert rest["next"] is None
    assert len(await registry.feed()) == 3


async def test_an_area_has_seven_decimals(registry: Registry) -> None:
    """Points are rounded as all coordinates are; a height may stand behind them."""
    ring = [[0.12345678912, 48.0], [1, 48.0, 35], [1, 49.00000004], [0.12345678912, 48.0]]
    status, made, _ = await name_area(
        registry, name="Net", geometry={"type": "Polygon", "coordinates": [ring]}
    )
    assert status == 201
    shown = made["area"]["geometry"]["coordinates"]
    assert shown == [[[0.1234568, 48.0], [1, 48.0, 35], [1, 49.0], [0.1234568, 48.0]]]


async def test_an_area_is_taken_back(registry: Registry) -> None:
    """DELETE leaves a tombstone; naming the area again brings it back under its id."""
    _, made, _ = await name_area(registry, name="Pays", communes=["35238"])
    path = f"/areas/{made['id']}"
    assert (await registry.call("DELETE", path, json={"reason": "error"}))[0] == 200
    for method in ("GET", "DELETE"):
        assert (await registry.call(method, path))[0] == 410
    assert (await registry.get("/areas"))["areas"] == []
    status, back, _ = await name_area(registry, name="Pays", communes=["35238"])
    assert (status, back["id"], back["version"]) == (200, made["id"], 3)
    events = await registry.feed()
    assert [e["type"].split(".", 2)[2] for e in events] == ["area.put.v1", "area.withdraw.v1", "area.put.v1"]


async def test_an_area_that_is_nowhere_is_refused(registry: Registry) -> None:
    """Neither form, both forms, unknown communes and shapes that are none are 422 with their pointer."""
    polygon = {"type": "Polygon"}
    shapes: list[Any] = [
        [],
        [[]],
        [SQUARE[:-1]],
        [SQUARE[:3]],
        [[[-200, 48], *SQUARE, [-200, 48]]],
        [["abca"]],
        [[{"a": 1}] * 4],
        [[[0, 0, {"x": "y"}]] * 4],
        [[[0, 0, 1, 2]] * 4],
        [[[1, "2"]] * 4],
        [[[True, False]] * 4],
        [1, 2],
        [SQUARE, "abca"],
    ]
    for area, pointer in (
        ({"name": "x"}, ""),
        ({"name": "!!", "communes": ["35238"]}, "/name"),
        ({"name": "x", "communes": ["35238"], "geometry": {**polygon, "coordinates": [SQUARE]}}, ""),
        ({"name": "x", "communes": ["35238", "99999"]}, "/communes/1"),
        ({"name": "x", "communes": ["1"]}, "/communes/0"),
        ({"name": "x", "geometry": {"type": "Point", "coordinates": [1, 2]}}, "/geometry/type"),
        ({"name": "x", "geometry": {**polygon, "coordinates": [SQUARE * 800]}}, ""),
        *(({"name": "x", "geometry": {**polygon, "coordinates": s}}, "/geometry") for s in shapes),
        ({"name": "x", "geometry": {"type": "MultiPolygon", "coordinates": [SQUARE]}}, "/geometry"),
    ):
        status, problem, _ = await name_area(registry, **area)
        assert status == 422, area
        assert pointer in [e["pointer"] for e in problem["errors"]], (area, problem)
    assert await registry.feed() == []


async def test_a_vocabulary_is_one_event_a_word(registry: Registry) -> None:
    """New words, a renamed word and a word left out are one event each; what stays makes none."""
    assert (await registry.get("/vocabulary")) == {"terms": []}
    status, said, _ = await put_terms(registry, term("ti", "Maison"), term("fab", of="services"), term("lab"))
    assert status == 200
    assert [t["code"] for t in said["terms"]] == ["fab", "lab", "ti"]
    assert await registry.get("/vocabulary") == said
    await put_terms(registry, *said["terms"])
    assert len(await registry.feed()) == 3
    renamed = term("ti", "Maison commune", close=["commun:espace-hybride"])
    _, said, _ = await put_terms(registry, renamed, term("lab"))
    events = await registry.feed()
    assert [(e["data"]["code"], e["recordversion"]) for e in events[3:]] == [("ti", 2), ("fab", 2)]
    assert [t for t in said["terms"] if t.get("retired")] == [term("fab", of="services", retired=True)]
    _, said, _ = await put_terms(registry, renamed, term("lab"))
    assert len(await registry.feed()) == 5
    _, said, _ = await put_terms(registry, term("fab"))
    assert {t["code"]: t.get("retired", False) for t in said["terms"]} == {
        "fab": False,
        "lab": True,
        "ti": True,
    }


async def test_a_vocabulary_that_says_nothing_is_refused(registry: Registry) -> None:
    """Words given twice, without label, in the shared namespace or misspelt are 422, and none is written."""
    for terms, pointer in (
        ([term("a"), term("a")], "/terms/1"),
        ([term("a"), {**term("b"), "labels": {}}], "/terms/1/labels"),
        ([{**term("b"), "labels": {"fr": " "}}], "/terms/0/labels"),
        ([{**term("b"), "namespace": "commun"}], "/terms/0/namespace"),
        ([{**term("b"), "namespace": "Bzh"}], "/terms/0/namespace"),
        ([{**term("b"), "label": "x"}], "/terms/0/label"),
        ([{**term("a b")}], "/terms/0/code"),
        ([term("b", of="places")], "/terms/0/of"),
        ([term(f"mot-{n}") for n in range(5001)], "/terms"),
    ):
        status, problem, _ = await put_terms(registry, *terms)
        assert status == 422, terms[:2]
        assert pointer in [e["pointer"] for e in problem["errors"]], problem
    assert (await registry.call("PUT", "/vocabulary", json=[]))[0] == 422
    body = io.BytesIO(json.dumps({"terms": [term(f"m{n}", "x" * 900) for n in range(1200)]}).encode())
    headers = {"Content-Type": "application/json"}
    assert (await registry.call("PUT", "/vocabulary", data=body, headers=headers))[0] == 413
    assert await registry.feed() == []


async def test_a_large_vocabulary_is_written_at_once(registry: Registry) -> None:
    """A thousand words go in by one request, each with a number of its own and none missing."""
    status, said, _ = await put_terms(registry, *(term(f"mot-{n:04}") for n in range(1000)))
    assert (status, len(said["terms"])) == (200, 1000)
    events = await registry.feed()
    assert [int(e["sequence"]) for e in events] == list(range(1, 1001))


async def test_two_vocabularies_at_once_are_one_after_the_other(registry: Registry) -> None:
    """Of vocabularies put at the same moment one is whole and last: all words of the others are retired."""
    sets = [[term(f"{name}-{n}") for n in range(300)] for name in "abcd"]
    for status, _, _ in await asyncio.gather(*(put_terms(registry, *each) for each in sets)):
        assert status == 200
    said = (await registry.get("/vocabulary"))["terms"]
    assert len(said) == 1200
    assert len({t["code"][0] for t in said if not t.get("retired")}) == 1
    assert sum(not t.get("retired") for t in said) == 300


async def test_words_are_for_who_leads_the_network(registry: Registry) -> None:
    """An editor changes places and areas, not the vocabulary."""
    editor = await registry.token_for("editor")
    body = {"terms": [term("a")]}
    assert (await registry.call("PUT", "/vocabulary", token=editor, json=body))[0] == 403
    area = {"name": "x", "communes": ["35238"]}
    assert (await registry.call("POST", "/areas", token=editor, json=area))[0] == 201
