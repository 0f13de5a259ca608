"""The national view as programs read it: pages, filters, voices, provenance, and whom it listens to."""

from typing import Any

import pytest

from tests.conftest import Federation
from tests.nodes import Registry, Sync

ITEMS = "/collections/places/items"
PLACES: dict[str, dict[str, Any]] = {
    "Café de l'Étape": {"position": {"lat": 48.11, "lon": -1.68}, "address": {"postcode": "35000"}},
    "Fabrique du Port": {"position": {"lat": 43.3, "lon": 5.37}, "address": {"postcode": "13001"}},
    "Kaz à Wallis": {"position": {"lat": -13.28, "lon": -176.18}, "address": {"insee": "98613"}},
    "Atelier de Nouméa": {"position": {"lat": -22.27, "lon": 166.44}, "address": {"insee": "98818"}},
    "Le Nulle Part": {"kind": "virtual", "address": None},
}


FOUND: tuple[tuple[str, list[str]], ...] = (
    ("bbox=-5,41,10,51", ["Café de l'Étape", "Fabrique du Port"]),
    ("bbox=-5,41,0,10,51,100", ["Café de l'Étape", "Fabrique du Port"]),
    ("bbox=160,-30,-170,0", ["Atelier de Nouméa", "Kaz à Wallis"]),
    ("q=etape", ["Café de l'Étape"]),
    ("q=ÉTAPE%20cafe", ["Café de l'Étape"]),
    ("q=100%25", []),
    ("network=reseau-1", ["Le Nulle Part"]),
    ("departement=13,35", ["Café de l'Étape", "Fabrique du Port"]),
    ("limit=1000000&offset=0&f=json", sorted(PLACES)),
    ("bbox=-180,-90,180,90", sorted(PLACES.keys() - {"Le Nulle Part"})),
)
REFUSED = (
    "page=!" + "a" * 84,
    "bbox=1,2,3",
    "bbox=1,2,3,nan",
    "bbox=0,10,1,0",
    "offset=10001",
    "nom=x",
    "q=a&q=b",
)


class Shown:
    """A sync over two networks, of which the first has all places but the last."""

    def __init__(self, here: Registry, there: Registry, sync: Sync, ids: dict[str, str]) -> None:
        self.here, self.there, self.sync, self.ids = here, there, sync, ids

    async def names(self, query: str) -> list[str]:
        """The names that a query finds."""
        found = await self.sync.get(f"{ITEMS}?{query}")
        assert found["numberMatched"] == len(found["features"])
        return sorted(f["properties"]["name"] for f in found["features"])


@pytest.fixture
async def shown(federation: Federation) -> Shown:
    """Five places of two networks in a common view."""
    here, there = await federation.registry(), await federation.registry()
    ids = {}
    for name, place in PLACES.items():
        owner = there if name == "Le Nulle Part" else here
        ids[name] = (await owner.add(name=name, **place))["id"]
    sync = await federation.sync([here, there])
    await sync.caught_up([here, there])
    return Shown(here, there, sync, ids)


async def test_pages_give_every_place_once(shown: Shown) -> None:
    """Following `next` to its end gives all places, each once, in the order of their ids, and says how many."""
    found: list[str] = []
    path = f"{ITEMS}?limit=2"
    pages = 0
    while path:
        page = await shown.sync.get(path)
        assert page["numberMatched"] == len(PLACES)
        assert page["numberReturned"] == len(page["features"])
        found += [f["id"] for f in page["features"]]
        path = next((x["href"] for x in page["links"] if x["rel"] == "next"), "")
        path = path[path.index(ITEMS) :] if path else ""
        pages += 1
    assert pages == 3
    assert found == sorted(shown.ids.values())


async def test_a_page_holds_while_places_come_and_go(shown: Shown) -> None:
    """A place withdrawn between two pages makes the next page neither skip nor repeat another."""
    first = await shown.sync.get(f"{ITEMS}?limit=2")
    gone = first["features"][0]["id"]
    await (shown.there if gone == shown.ids["Le Nulle Part"] else shown.here).withdraw(gone)
    await shown.sync.caught_up([shown.here, shown.there])
    link = next(x["href"] for x in first["links"] if x["rel"] == "next")
    rest = await shown.sync.get(link[link.index(ITEMS) :].replace("limit=2", "limit=100"))
    assert [f["id"] for f in rest["features"]] == sorted(shown.ids.values())[2:]


async def test_filters_find_what_they_say(shown: Shown) -> None:
    """Boxes, also across the antimeridian and with heights, words without accents, networks, départements."""
    assert {query: await shown.names(query) for query, _ in FOUND} == dict(FOUND)


async def test_networks_and_places_are_found_by_id(shown: Shown) -> None:
    """A network answers to its id as to our name for it; `ids` takes several."""
    assert await shown.names(f"network={shown.there.node}") == ["Le Nulle Part"]
    two = [shown.ids["Le Nulle Part"], shown.ids["Fabrique du Port"]]
    assert await shown.names("ids=" + ",".join(two)) == ["Fabrique du Port", "Le Nulle Part"]


async def test_what_cannot_be_meant_is_refused(federation: Federation) -> None:
    """A question that could be read in two ways is answered by what is wrong with it; a page is never too long."""
    sync = await federation.sync([])
    for query in REFUSED:
        status, problem, _ = await sync.call("GET", f"{ITEMS}?{query}")
        assert (status, len(problem["errors"])) == (400, 1), query


async def test_unchanged_answers_are_not_sent_again(shown: Shown) -> None:
    """Every answer says where the view stands; the same question at the same place is a 304, then no more."""
    _, _, first = await shown.sync.call("GET", f"{ITEMS}?limit=3")
    again = {"If-None-Match": first["ETag"]}
    status, body, headers = await shown.sync.call("GET", f"{ITEMS}?limit=3", headers=again)
    assert (status, body, headers["Merge-Cursor"]) == (304, b"", first["Merge-Cursor"])
    assert (await shown.sync.call("GET", f"{ITEMS}?limit=2", headers=again))[0] == 200
    # By what it varies is said again, as caches go by what they were told last.
    for path in ("/facets", f"{ITEMS}?limit=3"):
        _, _, known = await shown.sync.call("GET", path)
        status, _, headers = await shown.sync.call("GET", path, headers={"If-None-Match": known["ETag"]})
        assert (status, known["Vary"] in headers["Vary"]) == (304, True)
    await shown.here.change(shown.ids["Fabrique du Port"], summary="Neuf")
    await shown.sync.caught_up([shown.here])
    status, _, headers = await shown.sync.call("GET", f"{ITEMS}?limit=3", headers=again)
    assert status == 200
    assert headers["Merge-Cursor"] != first["Merge-Cursor"]


async def test_a_place_shows_every_voice_as_it_was_spoken(shown: Shown) -> None:
    """Any id finds the merged place, with where each value comes from and local fields byte for byte."""
    raw = b'{"cl\xc3\xa9":1.50, "\\u00e9t\xc3\xa9": [1e2, -0.0]}'
    body = (
        b'{"name":"Port Fabrique","status":"closed","address":{"postcode":"13001"},"extensions":{"mairie":'
        + raw
        + b"}}"
    )
    status, second, _ = await shown.there.call(
        "POST", "/places", data=body, headers={"Content-Type": "application/json"}
    )
    assert status == 201, second
    first = shown.ids["Fabrique du Port"]
    await shown.here.claim(first, second["id"])
    await shown.there.claim(second["id"], first)
    await shown.sync.caught_up([shown.here, shown.there])
    for id in (first, second["id"]):
        place = await shown.sync.get(f"/places/{id}")
        assert (place["id"], place["aliases"]) == (first, sorted([first, second["id"]]))
    name = place["fields"]["name"]
    voices = {v["record"]: v for v in place["records"]}
    said = {name["value"], *(a["value"] for a in name["alternatives"])}
    assert said == {"Fabrique du Port", "Port Fabrique"}
    assert voices[name["record"]]["place"]["name"] == name["value"] == place["place"]["name"]
    assert name["network"] == voices[name["record"]]["network"]
    assert name["version"] == 1
    async with shown.sync.client.get(f"{shown.sync.url}/places/{first}") as response:
        assert raw in await response.read()
        assert response.headers["Merge-Cursor"]
    assert set(place["freshness"]) == {shown.here.node, shown.there.node}
    status, item, headers = await shown.sync.call("GET", f"{ITEMS}/{second['id']}")
    assert (status, item["id"]) == (200, first)
    assert headers["Link"] == f'<{ITEMS}/{first}>; rel="canonical"'
    known = {"If-None-Match": headers["ETag"]}
    assert (await shown.sync.call("GET", f"{ITEMS}/{first}", headers=known))[0] == 304
    # Told in another system it is another answer.
    elsewhere = f"{ITEMS}/{first}?crs=http://www.opengis.net/def/crs/EPSG/0/2154"
    assert (await shown.sync.call("GET", elsewhere, headers=known))[0] == 200


async def test_whom_it_listens_to_is_public(shown: Shown) -> None:
    """The trust file is there for everybody, and every network with how it goes."""
    _, trust, headers = await shown.sync.call("GET", "/trust")
    nodes = trust["node"]
    assert headers["Merge-Cursor"]
    assert {(n["node"], n["alias"], n["mode"]) for n in nodes} == {
        (shown.here.node, "reseau-0", "follow"),
        (shown.there.node, "reseau-1", "follow"),
    }
    known = (await shown.sync.networks())[shown.here.node]
    assert (known["state"], known["cursor"], known["lag"], known["places"]) == ("live", "1.4", 0, 4)
