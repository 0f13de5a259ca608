"""Lists of the view: by each parameter and property, in any order, page by page, while the view changes."""

import random
from collections.abc import Callable
from math import asin, cos, radians, sin, sqrt
from typing import Any
from urllib.parse import quote

import pytest

from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually

ITEMS = "/collections/places/items"
CITIES = ("Rennes", "Saint-Étienne", "L'Haÿ-les-Roses", "Brest", "Nantes")
FAMILIES = ("coworking", "fablab", "culturel", "nourricier")
NAMES = ("La Médiathèque", "Atelier du Tri", "Fabrique à Œuvres", "Le Hangar", "Café des Brodeuses")
POSTCODES = ("35000", "42000", "94240", "29200", "44000")


def drawn(chance: random.Random, number: int) -> dict[str, Any]:
    """A place like many."""
    spot = {"lat": round(chance.uniform(42, 51), 5), "lon": round(chance.uniform(-4, 8), 5), "precision": "exact"}
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
        "filter=" + quote("S_INTERSECTS(geometry, POLYGON((-2 44, 3 44, 3 49, -2 49, -2 44), (0 46, 1 46, 1 47, 0 46)))"),
        lambda p: within(p, -2, 44, 3, 49) and not _in_hole(p),
    ),
    ("filter=" + quote("geometry IS NULL"), lambda p: lat_lon(p) is None),
    ("filter=" + quote("updated < DATE('2020-01-01') OR TRUE"), lambda p: True),
    ("datetime=2020-01-01T/..", lambda p: True),
    ("datetime=../2020-01-01", lambda p: False),
)


def _in_hole(place: dict[str, Any]) -> bool:
    lat, lon = lat_lon(place) or (0.0, 0.0)
    return 46 <= lat <= 46 + (lon - 0) and lon <= 1 and lat <= 47


async def test_every_choice_finds_what_is_true(stocked: Stocked) -> None:
    """Each parameter, each property and each operator of a filter chooses the places of which it is true, and no others."""

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
    assert all(a[1] >= b[1] for a, b in zip(keys, keys[1:], strict=False) if a[0] == b[0])
    near = [kilometres(stocked.places[id], 48, 2) for id in await stocked.ids("near=48,2,2000")]
    assert near == sorted(near)
    assert near
    assert await stocked.ids("near=48,2,2000&sortby=-distance") == (await stocked.ids("near=48,2,2000"))[::-1]
    names = [stocked.places[id]["name"] for id in await stocked.ids("sortby=-name")]
    assert names[0].startswith("Le Hangar")
    assert await stocked.ids("sortby=id") == sorted(stocked.places)
    assert await stocked.ids("q=forge%20hangar&sortby=name")


@pytest.mark.parametrize("order", ["", "sortby=name", "sortby=-updated", "q=le&sortby=-relevance", "near=48,2,3000"])
async def test_pages_miss_and_repeat_nothing(stocked: Stocked, order: str) -> None:
    """Page by page the list is the same as at once."""
    assert await stocked.walked(f"limit=7&{order}") == await stocked.ids(order)


async def test_features_are_cut_to_what_is_asked_for(stocked: Stocked) -> None:
    """`properties` and `skipGeometry`, and a list of one place by any of its ids."""
    found = await stocked.sync.get(f"{ITEMS}?limit=60&properties=name,city&skipGeometry=true")
    assert {tuple(f["properties"]) for f in found["features"]} == {("name", "city")}
    assert {f["geometry"] for f in found["features"]} == {None}
    (one,) = (await stocked.sync.get(f"{ITEMS}?ids={next(iter(stocked.places))}"))["features"]
    assert one["geometry"] is None or one["geometry"]["type"] == "Point"


REFUSED = (
    ("sortby=nom", "sortby"), ("sortby=distance", "sortby"), ("properties=nom", "properties"), ("near=91,0,1", "near"),
    ("near=1,2", "near"), ("datetime=hier", "datetime"), ("datetime=2021-01-02/2020-01-01", "datetime"),
    ("filter=" + quote("name ="), "filter"), ("filter=" + quote("nom = 'x'"), "filter"),
    ("filter=" + quote("name = 1"), "filter"), ("filter=" + "(" * 1990, "filter"),
    ("filter=" + quote("S_INTERSECTS(name, POINT(1 1))"), "filter"), ("filter=" + quote("name = city"), "filter"),
    ("filter-lang=cql-text", "filter-lang"), ("area=nulle-part", "area"), ("updated=x", "updated"),
    ("page=W10&sortby=name", "page"), ("page=WzEsMl0", "page"), ("opened_year=-1", "opened_year"), ("f=html", "f"),
)  # fmt: skip


async def test_what_cannot_be_meant_is_told(federation: Federation) -> None:
    """One mistake, the parameter it is in, and what was expected; in French for who reads French."""
    sync = await federation.sync([])
    for query, where in REFUSED:
        status, problem, _ = await sync.call("GET", f"{ITEMS}?{query}", headers={"Accept-Language": "fr"})
        assert (status, [error["parameter"] for error in problem["errors"]]) == (400, [where]), query
        assert "{" not in problem["errors"][0]["detail"], query
