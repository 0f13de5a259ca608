"""Lists of the view: by each parameter and property, in any order, page by page, while the view changes."""

import json
import random
from base64 import urlsafe_b64encode
from collections.abc import Callable
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from pyproj import Transformer

from schemas.vocabulary import Area
from services.sync import spoken
from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually, listen_to

ITEMS = "/collections/places/items"
OUTLINES = spoken._outlines
CITIES = ("Rennes", "Saint-Étienne", "L'Haÿ-les-Roses", "Brest", "Nantes")
FAMILIES = ("coworking", "fablab", "culturel", "nourricier")
NAMES = ("La Médiathèque", "Atelier du Tri", "Fabrique à Œuvres", "Le Hangar", "Café des Brodeuses")
POSTCODES = ("35000", "42000", "94240", "29200", "44000")


def drawn(chance: random.Random, number: int) -> dict[str, Any]:
    """A place like many."""
    spot = {
        "lat": round(chance.uniform(42, 51), 5),
        "lon": round(chance.uniform(-4, 8), 5),
        "precision": "exact",
    }
    city = chance.randrange(len(CITIES))
    return {
        "name": f"{chance.choice(NAMES)} {number}",
        "status": chance.choice(("open", "project", "paused", "closed")),
        "families": sorted(chance.sample(FAMILIES, chance.randrange(3))),
        "types": chance.choice(([], ["reseau:atelier"], ["reseau:jardin", "reseau:atelier"])),
        "services": chance.choice(([], ["wifi"])),
        "address": {"city": CITIES[city], "postcode": POSTCODES[city]},
        "summary": chance.choice((None, "On y brode des drapeaux", "Une forge ouverte")),
        "opened_on": chance.choice((None, "2019", "2021-05", "2021-05-03")),
        "position": chance.choice((spot, spot, spot, None)),
        "labels": chance.choice(([], [{"code": "qualite"}])),
        "license": chance.choice(("CC0-1.0", "ODbL-1.0")),
    }


class Stocked:
    """A sync over one network with many places, and what was put into it."""

    def __init__(self, registry: Registry, sync: Sync) -> None:
        self.registry, self.sync = registry, sync
        self.places: dict[str, dict[str, Any]] = {}

    async def fill(self, count: int) -> None:
        """Add so many places."""
        chance = random.Random(5)
        for number in range(count):
            place = {k: v for k, v in drawn(chance, number).items() if v is not None}
            self.places[(await self.registry.add(**place))["id"]] = place
        await self.sync.caught_up([self.registry])

    async def ids(self, query: str) -> list[str]:
        """The ids that a query finds, in order; `numberMatched` is right."""
        found = await self.sync.get(f"{ITEMS}?limit=1000&{query}")
        ids = [feature["id"] for feature in found["features"]]
        assert found["numberMatched"] == len(ids) == len(set(ids)), query
        return ids

    def truth(self, holds: Callable[[dict[str, Any]], bool]) -> list[str]:
        """The ids of the places for which this holds, by id."""
        return sorted(id for id, place in self.places.items() if holds(place))

    async def walked(self, query: str, between: Callable[[], Any] | None = None) -> list[str]:
        """All ids page by page."""
        found: list[str] = []
        path = f"{ITEMS}?{query}"
        while path:
            page = await self.sync.get(path)
            found += [feature["id"] for feature in page["features"]]
            following = [link["href"] for link in page["links"] if link["rel"] == "next"]
            path = following[0].removeprefix(self.sync.settings.url) if following else ""
            if between is not None:
                await between()
        return found


@pytest.fixture
async def stocked(federation: Federation) -> Stocked:
    """Sixty places in a view."""
    registry = await federation.registry()
    found = Stocked(registry, await federation.sync([registry]))
    await found.fill(60)
    return found


def lat_lon(place: dict[str, Any]) -> tuple[float, float] | None:
    spot = place.get("position")
    return (spot["lat"], spot["lon"]) if spot else None


def kilometres(place: dict[str, Any], lat: float, lon: float) -> float:
    spot = lat_lon(place)
    if spot is None:
        return float("inf")
    half = sin(radians(spot[0] - lat) / 2) ** 2
    half += cos(radians(lat)) * cos(radians(spot[0])) * sin(radians(spot[1] - lon) / 2) ** 2
    return 2 * 6371.0088 * asin(sqrt(half))


def within(place: dict[str, Any], west: float, south: float, east: float, north: float) -> bool:
    spot = lat_lon(place)
    return spot is not None and west <= spot[1] <= east and south <= spot[0] <= north


def city(place: dict[str, Any]) -> str:
    found: str = place["address"]["city"]
    return found


# A query, and of which places it is true: counted by another way than the service's.
CHOICES: tuple[tuple[str, Callable[[dict[str, Any]], bool]], ...] = (
    ("", lambda p: True),
    ("status=open,paused", lambda p: p["status"] in ("open", "paused")),
    ("family=fablab,culturel", lambda p: bool({"fablab", "culturel"} & set(p["families"]))),
    ("type=reseau:jardin", lambda p: "reseau:jardin" in p["types"]),
    ("type=commun:coworking", lambda p: "coworking" in p["families"]),
    ("label=qualite", lambda p: bool(p["labels"])),
    ("license=CC0-1.0", lambda p: p["license"] == "CC0-1.0"),
    ("licenses=CC0-1.0", lambda p: p["license"] == "CC0-1.0"),
    ("departement=35,29", lambda p: city(p) in ("Rennes", "Brest")),
    ("city=" + quote("L'Haÿ-les-Roses"), lambda p: city(p) == "L'Haÿ-les-Roses"),
    ("families=coworking;fablab", lambda p: p["families"] == ["coworking", "fablab"]),
    ("postcode=35000&services=wifi", lambda p: city(p) == "Rennes" and p["services"] == ["wifi"]),
    ("opened_year=2021", lambda p: (p.get("opened_on") or "").startswith("2021")),
    ("bbox=-2,44,3,49", lambda p: within(p, -2, 44, 3, 49)),
    ("bbox=-2,44,-50,3,49,90", lambda p: within(p, -2, 44, 3, 49)),
    ("near=47.2,-1.5,300", lambda p: kilometres(p, 47.2, -1.5) <= 300),
    ("near=48,2,150&status=open", lambda p: kilometres(p, 48, 2) <= 150 and p["status"] == "open"),
    ("q=mediatheque", lambda p: "Médiathèque" in p["name"]),
    ("q=M%C3%89DIAT", lambda p: "Médiathèque" in p["name"]),
    ("q=mediateque", lambda p: "Médiathèque" in p["name"]),
    ("q=oeuvre", lambda p: "Œuvres" in p["name"]),
    ("q=broder%20drapeau", lambda p: p.get("summary") == "On y brode des drapeaux"),
    ("q=saint%20etienne", lambda p: city(p) == "Saint-Étienne"),
    ("q=le%20hangar", lambda p: "Hangar" in p["name"]),
    ("q=hangra", lambda p: "Hangar" in p["name"]),
    ("q=introuvable", lambda p: False),
    ("q=%27%5C%26%7C%21%3A*", lambda p: True),
    ("filter=status%20%3D%20%27open%27", lambda p: p["status"] == "open"),
    (
        "filter-lang=cql2-text&filter="
        + quote("(city LIKE 'Saint-%' OR city = 'L''Haÿ-les-Roses') AND NOT status IN ('closed')"),
        lambda p: city(p) in ("Saint-Étienne", "L'Haÿ-les-Roses") and p["status"] != "closed",
    ),
    ("filter=" + quote("opened_year IS NULL"), lambda p: "opened_on" not in p),
    ("filter=" + quote("opened_year BETWEEN 2019 AND 2020"), lambda p: p.get("opened_on") == "2019"),
    ("filter=" + quote("NOT (2020 > opened_year)"), lambda p: (p.get("opened_on") or "")[:4] == "2021"),
    ("filter=" + quote("families LIKE '%fablab%'"), lambda p: "fablab" in p["families"]),
    ("filter=" + quote("families IS NULL"), lambda p: not p["families"]),
    ("filter=" + quote("S_INTERSECTS(geometry, BBOX(-2, 44, 3, 49))"), lambda p: within(p, -2, 44, 3, 49)),
    (
        "filter="
        + quote(
            "S_INTERSECTS(geometry, POLYGON((-2 44, 3 44, 3 49, -2 49, -2 44), (0 46, 1 46, 1 47, 0 46)))"
        ),
        lambda p: within(p, -2, 44, 3, 49) and not _in_hole(p),
    ),
    ("filter=" + quote("geometry IS NULL"), lambda p: lat_lon(p) is None),
    ("filter=" + quote("updated < DATE('2020-01-01') OR TRUE"), lambda p: True),
    ("datetime=2020-01-01T/..", lambda p: True),
    ("datetime=../2020-01-01", lambda p: False),
    ("datetime=2020-01-01/9999-12-31", lambda p: True),
    ("filter=" + quote("updated > DATE('9999-12-31')"), lambda p: False),
    ("sortby=+id", lambda p: True),
)


def _in_hole(place: dict[str, Any]) -> bool:
    lat, lon = lat_lon(place) or (0.0, 0.0)
    return 46 <= lat <= 46 + (lon - 0) and lon <= 1 and lat <= 47


async def test_every_choice_finds_what_is_true(stocked: Stocked) -> None:
    """Each parameter, property and operator of a filter chooses the places of which it is true, and no others."""

    async def searchable() -> bool:
        return await stocked.ids("q=hangra") != []

    await eventually(searchable)
    for query, holds in CHOICES:
        assert sorted(await stocked.ids(query)) == stocked.truth(holds), query
    found = [len(stocked.truth(holds)) for _, holds in CHOICES]
    assert sum(0 < each < 60 for each in found) > len(CHOICES) * 0.7


ORDERS = {
    "name": lambda p: p["name"].lower(),
    "opened_year": lambda p: int((p.get("opened_on") or "0000")[:4]),
    "city": city,
    "distance": lambda p: kilometres(p, 48, 2),
}


async def test_lists_come_in_the_order_that_is_asked_for(stocked: Stocked) -> None:
    """Upwards, downwards, by several keys; what was sought comes best first, what is near nearest first."""
    order = await stocked.ids("sortby=opened_year,-city")
    keys = [(ORDERS["opened_year"](stocked.places[id]), city(stocked.places[id])) for id in order]
    assert [year for year, _ in keys] == sorted(year for year, _ in keys)
    assert all(a[1] >= b[1] for a, b in pairwise(keys) if a[0] == b[0])
    near = [kilometres(stocked.places[id], 48, 2) for id in await stocked.ids("near=48,2,2000")]
    assert near == sorted(near)
    assert near
    assert await stocked.ids("near=48,2,2000&sortby=-distance") == (await stocked.ids("near=48,2,2000"))[::-1]
    names = [stocked.places[id]["name"] for id in await stocked.ids("sortby=-name")]
    assert names[0].startswith("Le Hangar")
    assert await stocked.ids("sortby=id") == sorted(stocked.places)
    assert await stocked.ids("q=forge%20hangar&sortby=name")


@pytest.mark.parametrize(
    "order", ["", "sortby=name", "sortby=-updated", "q=le&sortby=-relevance", "near=48,2,3000"]
)
async def test_pages_miss_and_repeat_nothing(stocked: Stocked, order: str) -> None:
    """Page by page the list is the same as at once."""
    assert await stocked.walked(f"limit=7&{order}") == await stocked.ids(order)


async def test_pages_miss_and_repeat_nothing_while_places_change(stocked: Stocked) -> None:
    """A tenth of the places is another after each page, some leave, some come: each id at most once, none missed."""
    chance = random.Random(7)
    there, left = set(stocked.places), set()

    async def change() -> None:
        for id in chance.sample(sorted(there - left), 6):
            await stocked.registry.change(
                id, name=f"{chance.choice(NAMES)} bis", summary=str(chance.random())
            )
        gone = chance.choice(sorted(there - left))
        await stocked.registry.withdraw(gone)
        left.add(gone)
        await stocked.registry.add(**{k: v for k, v in drawn(chance, 99).items() if v is not None})
        await stocked.sync.caught_up([stocked.registry])

    found = await stocked.walked("limit=12", change)
    assert len(found) == len(set(found))
    assert there - left <= set(found)
    assert len(left) >= 5


async def test_features_are_cut_to_what_is_asked_for(stocked: Stocked) -> None:
    """`properties` and `skipGeometry`, and a list of one place by any of its ids."""
    found = await stocked.sync.get(f"{ITEMS}?limit=60&properties=name,city&skipGeometry=true")
    assert {tuple(f["properties"]) for f in found["features"]} == {("name", "city")}
    assert {f["geometry"] for f in found["features"]} == {None}
    (one,) = (await stocked.sync.get(f"{ITEMS}?ids={next(iter(stocked.places))}"))["features"]
    assert one["geometry"] is None or one["geometry"]["type"] == "Point"


EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
# A reference system, a box in the order of its axes, and the same point by the projection library alone.
SYSTEMS = {
    f"{EPSG}4326": (44, -2, 49, 3),
    f"{EPSG}3857": (-222639, 5465442, 333958, 6274861),
    f"{EPSG}2154": (400_000, 6_300_000, 800_000, 6_800_000),
}


async def test_positions_in_other_reference_systems(stocked: Stocked) -> None:
    """Answers, boxes and shapes of filters in each system that is promised, as pyproj projects the places."""
    for system, (left, bottom, right, top) in SYSTEMS.items():
        project = Transformer.from_crs("OGC:CRS84", "EPSG:" + system.removeprefix(EPSG)).transform
        placed = {id: project(*spot[::-1]) for id, p in stocked.places.items() if (spot := lat_lon(p))}
        inside = sorted(id for id, (x, y) in placed.items() if left <= x <= right and bottom <= y <= top)
        numbers = f"{left},{bottom},{right},{top}"
        assert await stocked.ids(f"bbox-crs={system}&bbox={numbers}") == inside
        within_it = quote(f"S_INTERSECTS(geometry, BBOX({numbers}))")
        assert await stocked.ids(f"filter-crs={system}&filter={within_it}") == inside
        ring = f"{left} {bottom}, {right} {bottom}, {right} {top}, {left} {top}, {left} {bottom}"
        drawn_it = quote(f"S_INTERSECTS(geometry, POLYGON(({ring})))")
        if system != f"{EPSG}2154":
            # An edge between two points is straight in degrees.
            assert await stocked.ids(f"filter-crs={system}&filter={drawn_it}") == inside
        status, found, headers = await stocked.sync.call("GET", f"{ITEMS}?limit=60&crs={system}")
        assert (status, headers["Content-Crs"]) == (200, f"<{system}>")
        for feature in found["features"]:
            at = feature["geometry"] and feature["geometry"]["coordinates"]
            assert at == (
                pytest.approx(placed[feature["id"]], abs=0.006) if feature["id"] in placed else None
            )
        one = next(iter(placed))
        _, feature, headers = await stocked.sync.call("GET", f"{ITEMS}/{one}?crs={system}")
        assert feature["geometry"]["coordinates"] == pytest.approx(placed[one], abs=0.006)
        assert headers["Content-Crs"] == f"<{system}>"
        assert 0 < len(inside) < len(placed)


def forged(key: Any) -> str:
    """A page token that is well made, and that no answer ever gave."""
    keys = json.dumps([key, f"{'a' * 26}:{UUID(int=0)}"], separators=(",", ":"))
    return urlsafe_b64encode(keys.encode()).decode().rstrip("=")


# What the database cannot be asked about.
FORGED = (
    ("voices", 2**63), ("voices", 10**30), ("name", "a\0"), ("updated", "2026-01-31T12:00:00"),
    ("updated", "0001-01-01T00:00:00+14:00"), ("updated", "9999-12-31T23:59:59-14:00"),
)  # fmt: skip
REFUSED = (
    ("sortby=nom", "sortby"), ("sortby=distance", "sortby"), ("properties=nom", "properties"), ("near=91,0,1", "near"),
    ("near=1,2", "near"), ("datetime=hier", "datetime"), ("datetime=2021-01-02/2020-01-01", "datetime"),
    ("filter=" + quote("name ="), "filter"), ("filter=" + quote("nom = 'x'"), "filter"),
    ("filter=" + quote("name = 1"), "filter"), ("filter=" + "(" * 1990, "filter"),
    ("filter=" + quote("S_INTERSECTS(name, POINT(1 1))"), "filter"), ("filter=" + quote("name = city"), "filter"),
    ("filter-lang=cql-text", "filter-lang"), ("area=nulle-part", "area"), ("updated=x", "updated"),
    ("page=W10&sortby=name", "page"), ("crs=EPSG:2154", "crs"),
    (f"bbox-crs={EPSG}2154&bbox=0,0,1e12,1e12", "bbox"),
    ("page=WzEsMl0", "page"), ("opened_year=-1", "opened_year"), ("f=html", "f"),
    *((f"page={forged(key)}&sortby={by}", "page") for by, key in FORGED),
)  # fmt: skip


async def test_what_cannot_be_meant_is_told(federation: Federation) -> None:
    """One mistake, the parameter it is in, and what was expected; in French for who reads French."""
    sync = await federation.sync([])
    for query, where in REFUSED:
        status, problem, _ = await sync.call("GET", f"{ITEMS}?{query}", headers={"Accept-Language": "fr"})
        assert status == 400, (query, problem)
        assert (status, [error["parameter"] for error in problem["errors"]]) == (400, [where]), query
        assert "{" not in problem["errors"][0]["detail"], query


async def test_named_areas_and_words_of_networks(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drawn area with a hole, a list of communes, by id or name; a word with those said to be close to it."""
    here, there = await federation.registry(), await federation.registry()
    ids = {}
    for name, lat, lon, words in (
        ("Dedans", 48.1, -1.6, ["ici:atelier"]), ("Trou", 48.5, -1.5, ["la:fab"]), ("Dehors", 45.0, 3.0, []),
    ):  # fmt: skip
        spot = {"lat": lat, "lon": lon, "precision": "exact"}
        ids[name] = (await here.add(name=name, position=spot, types=words))["id"]
    ids["Commune"] = (await there.add(name="Commune", address={"insee": "35238"}, families=["fablab"]))["id"]
    ring = [[-2, 48], [-1, 48], [-1, 49], [-2, 49], [-2, 48]]
    hole = [[-1.6, 48.4], [-1.4, 48.4], [-1.4, 48.6], [-1.6, 48.6], [-1.6, 48.4]]
    drawn_area: dict[str, Any] = {
        "name": "Vallée",
        "geometry": {"type": "Polygon", "coordinates": [ring, hole]},
    }
    areas = {}
    listed_area: dict[str, Any] = {"name": "Métropole", "communes": ["35238"]}
    for area in (drawn_area, listed_area):
        _, said, _ = await here.call("POST", "/areas", json=area)
        areas[area["name"]] = said["id"]
    term = {"namespace": "ici", "code": "atelier", "labels": {"fr": "Atelier", "en": "Workshop"}}
    close = {
        "namespace": "la",
        "code": "fab",
        "labels": {"fr": "Fab"},
        "close": ["ici:atelier", "commun:fablab"],
    }
    for registry, one in ((here, term), (there, close)):
        status, said, _ = await registry.call("PUT", "/vocabulary", json={"terms": [one]})
        assert status == 200, said
    sync = await federation.sync([here, there])
    await sync.caught_up([here, there])

    async def names(query: str) -> list[str]:
        found = await sync.get(f"{ITEMS}?{query}")
        return sorted(feature["properties"]["name"] for feature in found["features"])

    drawn_for: list[str] = []

    def outlined(area: Area) -> Any:
        drawn_for.append(area.name)
        return OUTLINES(area)

    monkeypatch.setattr(spoken, "_outlines", outlined)
    assert await names(f"area={areas['Vallée']}") == ["Dedans"]
    assert await names("area=vallee") == ["Dedans"]
    # Of all that networks drew, that is what was read.
    assert drawn_for == ["Vallée", "Vallée"]
    assert await names("area=metropole") == ["Commune"]
    assert drawn_for == ["Vallée", "Vallée"]
    assert await names(f"area={areas['Métropole']}") == ["Commune"]
    assert await names("type=ici:atelier") == ["Dedans", "Trou"]
    assert await names("type=la:fab") == ["Trou"]
    assert await names("type=commun:fablab") == ["Commune", "Trou"]
    listed = {area["name"]: area for area in (await sync.get("/areas"))["areas"]}
    assert (listed["Vallée"]["bbox"], listed["Vallée"]["network"]) == ([-2, 48, -1, 49], here.node)
    assert (await sync.get(f"/areas/{areas['Vallée']}"))["geometry"]["coordinates"] == [ring, hole]
    said_words = {word["name"]: word for word in (await sync.get("/vocabulary"))["words"]}
    assert said_words["ici:atelier"]["labels"] == {"fr": "Atelier", "en": "Workshop"}
    assert (said_words["la:fab"]["network"], said_words["commun:fablab"]["network"]) == (there.node, None)
    facets = (await sync.get("/facets", headers={"Accept-Language": "en"}))["facets"]
    assert {each["label"]: each["count"] for each in facets["type"]} == {"Workshop": 1, "Fab": 1}
    points = await sync.get("/points?family=fablab,coworking")
    assert (points["matched"], points["unplaced"], points["points"]) == (1, 1, [])
    # What is taken back, and what a network says that is not listened to any more, is not said.
    await here.call("DELETE", f"/areas/{areas['Métropole'].partition(':')[2]}")
    await here.call("PUT", "/vocabulary", json={"terms": []})
    await sync.caught_up([here, there])
    assert [area["name"] for area in (await sync.get("/areas"))["areas"]] == ["Vallée"]
    assert "ici:atelier" not in {word["name"] for word in (await sync.get("/vocabulary"))["words"]}
    listen_to(Path(sync.settings.trust).parent, [there])

    async def alone() -> bool:
        return (await sync.get("/areas"))["areas"] == []

    await eventually(alone)
    assert await names("type=commun:fablab") == ["Commune"]
