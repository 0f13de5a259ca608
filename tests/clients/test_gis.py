"""What people open maps with reads all places and no others: counted against what was written, by their ids."""

import asyncio
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from owslib.ogcapi.features import Features

from tests.clients.programs import node
from tests.clients.published import RENNES, TIMES, Published, Truth, Written, within
from tests.clients.running import aside, said

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parent.parent.parent
FRANCE = (-5.0, 41.0, 10.0, 51.5)

LATER = TIMES[1].isoformat()
# Conditions as people write them in a GIS, and what they mean.
CONDITIONS: dict[str, Truth] = {
    "status = 'open'": lambda each: each.place["status"] == "open",
    "status = 'closed' AND insee = '35238'": lambda each: (
        each.place["status"] == "closed" and each.insee == "35238"
    ),
    "status <> 'open'": lambda each: each.place["status"] != "open",
    "departement = '2A'": lambda each: each.insee == "2A004",
    "departement = '974' AND status IN ('open', 'project')": lambda each: (
        each.insee == "97411" and each.place["status"] != "closed"
    ),
    "families = 'coworking;fablab'": lambda each: each.place["families"] == ["coworking", "fablab"],
    "name LIKE '%« 1%'": lambda each: "« 1" in each.place["name"],
    "opened_year = 2015": lambda each: each.place.get("opened_on") == "2015",
    "opened_year IS NULL": lambda each: "opened_on" not in each.place,
    "opened_year < 2013 OR city = 'Ajaccio'": lambda each: (
        int(each.place.get("opened_on", 9999)) < 2013 or each.insee == "2A004"
    ),
    "updated >= '2026-01-01T00:00:00Z'": lambda each: each.updated == TIMES[1],
    "updated < '2026-01-01T00:00:00Z'": lambda each: each.updated == TIMES[0],
    f"updated = '{LATER}' AND status = 'open'": lambda each: (
        each.updated == TIMES[1] and each.place["status"] == "open"
    ),
}
BOXES = (FRANCE, RENNES, (170.0, -20.0, 180.0, -10.0), (-180.0, -90.0, 180.0, 90.0))


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV text."""
    return list(csv.DictReader(io.StringIO(text)))


async def test_ogr2ogr_finds_what_is_asked_for(published: Published) -> None:
    """Each condition gives the places of which it is true, whether it is sent to us or looked at by GDAL itself."""
    source = f"OAPIF:{published.url}"
    turns = asyncio.Semaphore(3)

    async def check(truth: Truth, *words: str) -> None:
        async with turns:
            text = await said(
                ["ogr2ogr", "-f", "CSV", "/vsistdout/", "-select", "id", source, "places", *words]
            )
        found = [row["id"] for row in rows(text)]
        assert published.ids(truth) == set(found), words
        assert 0 < len(found) == len(set(found)) < len(published.places), words

    box = [str(each) for each in RENNES]
    async with asyncio.TaskGroup() as tasks:
        for where, truth in CONDITIONS.items():
            tasks.create_task(check(truth, "-where", where))
        for other in BOXES:
            tasks.create_task(check(within(*other), "-spat", *map(str, other)))
        tasks.create_task(check(open_in_rennes, "-spat", *box, "-where", "status = 'open'"))


def open_in_rennes(each: Written) -> bool:
    """Whether a place is open and lies around Rennes."""
    return each.place["status"] == "open" and within(*RENNES)(each)


async def test_ogrinfo_says_what_there_is(published: Published) -> None:
    """The layer, its title, how many places there are and what they cover, with one date among the columns."""
    text = await said(["ogrinfo", "-so", f"OAPIF:{published.url}", "places"])
    assert f"Feature Count: {len(published.places)}\n" in text
    assert "Geometry: Point\n" in text
    longitudes, latitudes = zip(*(each.at for each in published.places if each.at), strict=True)
    extent = (min(longitudes), min(latitudes), max(longitudes), max(latitudes))
    assert "Extent: ({:.6f}, {:.6f}) - ({:.6f}, {:.6f})\n".format(*extent) in text
    assert "updated: DateTime" in text
    assert text.count("DateTime") == 1


async def test_all_places_become_files(published: Published, tmp_path: Path) -> None:
    """GeoPackage, CSV and FlatGeobuf hold every place with its name, and where it is."""
    for driver, options in (("GPKG", []), ("FlatGeobuf", []), ("CSV", ["-lco", "GEOMETRY=AS_XY"])):
        file = str(tmp_path / f"places.{driver.lower()}")
        command = ["ogr2ogr", "-f", driver, file, f"OAPIF:{published.url}", "places", *options]
        assert "ERROR" not in await said(command)
    (found,) = await with_pyogrio(str(tmp_path / "places.gpkg"), [{}])
    told(found, published.places)
    # An indexed FlatGeobuf keeps what has a place in its index.
    (found,) = await with_pyogrio(str(tmp_path / "places.flatgeobuf"), [{}])
    told(found, [each for each in published.places if each.at])
    listed = rows((tmp_path / "places.csv").read_text())
    told([(row["id"], row["name"], place(row)) for row in listed], published.places)


def place(row: dict[str, str]) -> tuple[float, float] | None:
    """Where a row of CSV says that a place is."""
    return (float(row["X"]), float(row["Y"])) if row["X"] else None


def told(found: Sequence[Any], places: Sequence[Written]) -> None:
    """Each of these places is there once, with the name and the position that were written."""
    known = {each.id: each for each in places}
    assert sorted(id for id, _, _ in found) == sorted(known)
    for id, name, at in found:
        assert (name, at and pytest.approx(at, abs=1e-6)) == (known[id].place["name"], known[id].at)


async def with_pyogrio(source: str, asked: Sequence[dict[str, Any]]) -> Any:
    """What pyogrio reads for each of these questions."""
    command = [sys.executable, "-m", "tests.clients.with_pyogrio", source, json.dumps(asked)]
    return json.loads(await said(command, ROOT))


async def test_pyogrio_finds_what_is_asked_for(published: Published) -> None:
    """A newer GDAL, within Python, which knows reference systems: the same places, where they were written to be."""
    asked = dict(questions())
    found = await with_pyogrio(f"OAPIF:{published.url}", [{}, *map(json.loads, asked)])
    told(found[0], published.places)
    for question, truth, answer in zip(asked, asked.values(), found[1:], strict=True):
        assert {id for id, _, _ in answer} == published.ids(truth), question


def questions() -> Iterator[tuple[str, Truth]]:
    """Conditions and boxes as pyogrio takes them."""
    for where, truth in CONDITIONS.items():
        yield json.dumps({"where": where}), truth
    for box in BOXES:
        yield json.dumps({"bbox": box}), within(*box)


async def test_owslib_finds_its_way(published: Published) -> None:
    """From the landing page to the places, by the links and classes that OWSLib looks for."""
    features = await aside(Features, published.url)
    assert await aside(features.feature_collections) == ["places"]
    assert any(each.endswith("/cql2-text") for each in (await aside(features.conformance))["conformsTo"])
    assert (await aside(features.api))["openapi"].startswith("3.0")
    names = (await aside(features.collection_queryables, "places"))["properties"]
    assert {"status", "updated", "geometry"} <= names.keys()

    async def found(**asked: Any) -> set[str]:
        page = await aside(features.collection_items, "places", limit=1000, **asked)
        assert page["numberMatched"] == page["numberReturned"] == len(page["features"])
        return {each["id"] for each in page["features"]}

    assert await found() == published.ids()
    assert await found(bbox=list(RENNES)) == published.ids(within(*RENNES))
    assert await found(bbox=[179.0, -20.0, -179.0, -10.0]) == published.ids(
        lambda each: each.at is not None and abs(each.at[0]) > 179
    )
    later = published.ids(lambda each: each.updated == TIMES[1])
    assert await found(datetime_="2026-01-01/..") == later
    assert await found(filter="status = 'open'") == published.ids(CONDITIONS["status = 'open'"])
    one = sorted(later)[0]
    assert (await aside(features.collection_item, "places", one))["id"] == one


async def test_ogc_client_finds_its_way(published: Published) -> None:
    """From the landing page to the places as web maps go it, in Node, with its own pages and formats."""
    asked = [
        {"limit": 1000},
        {"limit": 1000, "extent": RENNES},
        {"limit": 1000, "query": "status=open"},
        {"limit": 1000, "since": "2026-01-01T00:00:00Z"},
        {"limit": 1000, "skipGeometry": True, "properties": ["name"], "sortBy": ["-name"], "asJson": True},
    ]
    found = json.loads(await said(node("ogc_client.mjs", published.url, json.dumps(asked))))
    assert found["collections"] == ["places"]
    assert "application/geo+json" in found["formats"]
    assert len(found["page"]) == 5
    assert {"status", "updated"} <= set(found["queryables"])
    truths: list[Truth] = [
        lambda each: True,
        within(*RENNES),
        CONDITIONS["status = 'open'"],
        lambda each: each.updated == TIMES[1],
        lambda each: True,
    ]
    for ids, truth in zip(found["found"], truths, strict=True):
        assert sorted(ids) == sorted(published.ids(truth))


async def test_answers_are_geojson(published: Published, tmp_path: Path) -> None:
    """A checker of RFC 7946 has nothing to say against a page of places."""
    page = tmp_path / "places.geojson"
    page.write_text(json.dumps(await published.sync.get("/collections/places/items?limit=1000")))
    assert await said(node("check_geojson.mjs", str(page))) == f"{len(published.places)}\n"
