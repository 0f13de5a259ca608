"""The network's own map: its data, its list without any script, the page of a place, and the frame for other sites."""

import re
from typing import Any

import pytest

from tests.nodes import Registry

BROWSER = {"Accept": "text/html,application/json;q=0.5"}
HERE = {"lat": 48.11, "lon": -1.68}


def place(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "status": "open", "address": {"postcode": "35000", "city": "Rennes"}, **fields}


@pytest.fixture
async def mapped(registry: Registry) -> Registry:
    """A registry with five places, one of which has no position."""
    await registry.add(**place("Été", position=HERE, families=["fablab", "coworking"]))
    await registry.add(**place("Atelier <b>", position={"lat": 48.2, "lon": -1.68}, families=["fablab"]))
    await registry.add(
        **place("Zèbre", position={"lat": 43.6, "lon": 1.44}, status="closed", license="ODbL-1.0")
    )
    await registry.add(**place("Caché", kind="undisclosed", families=["culturel"]))
    await registry.add(**place("Ligne", position={"lat": 48.3, "lon": 179.0}, address={"postcode": "56000"}))
    return registry


async def html(registry: Registry, path: str, **headers: str) -> str:
    """A page as a browser gets it."""
    status, body, _ = await registry.call("GET", path, token=None, headers={**BROWSER, **headers})
    assert status == 200, body
    return bytes(body).decode()


def listed(page: str) -> list[str]:
    """The names in the list of a page."""
    return re.findall(r'<a href="/p/[^"]+">([^<]*)</a>', page)


async def test_the_map_and_the_list_say_the_same(mapped: Registry) -> None:
    """Points and list have the same places in the same order for any filter; without position: in the list alone."""
    for query, names in (
        ("", ["Atelier <b>", "Caché", "Été", "Ligne", "Zèbre"]),
        ("q=ETE", ["Été"]),
        ("family=fablab,culturel", ["Atelier <b>", "Caché", "Été"]),
        ("status=closed", ["Zèbre"]),
        ("departement=56", ["Ligne"]),
        ("license=ODbL-1.0", ["Zèbre"]),
        ("license=etalab-2.0&status=open&family=coworking", ["Été"]),
        ("near=48.11,-1.68,5", ["Été"]),
        ("near=48.11,-1.68,9", ["Été"]),
        ("near=48.11,-1.68,12", ["Atelier <b>", "Été"]),
        ("near=48.3,-179.0,200", ["Ligne"]),
        ("q=&family=&status=", ["Atelier <b>", "Caché", "Été", "Ligne", "Zèbre"]),
    ):
        told = await mapped.get(f"/points?{query}")
        unplaced = [name for name in names if name == "Caché"]
        assert [p[3] for p in told["points"]] == [name for name in names if name not in unplaced], query
        assert (told["matched"], told["unplaced"]) == (len(names), len(unplaced)), query
        page = await html(mapped, f"/?{query}")
        assert [name.replace("&lt;b&gt;", "<b>") for name in listed(page)] == names, query
    assert told["points"][1] == [-1.68, 48.11, told["points"][1][2], "Été", "open", "fablab;coworking"]


async def test_what_a_map_knows_is_not_told_twice(mapped: Registry) -> None:
    """Points that have not changed are not sent again, and those that have are."""
    status, _, headers = await mapped.call("GET", "/points?q=ete")
    known = {"If-None-Match": headers["ETag"]}
    assert status == 200
    assert (await mapped.call("GET", "/points?q=ete", headers=known))[0] == 304
    await mapped.add(**place("Été 2", position=HERE))
    status, told, _ = await mapped.call("GET", "/points?q=ete", headers=known)
    assert (status, told["matched"]) == (200, 2)


async def test_choices_are_counted_in_words(mapped: Registry) -> None:
    """Each choice says how many places it has beside the other choices, in the reader's language."""
    told = await mapped.get("/facets?family=coworking&status=open", headers={"Accept-Language": "fr"})
    assert told["matched"] == 1
    families = {o["value"]: (o["label"], o["count"]) for o in told["facets"]["family"]}
    assert families == {
        "fablab": ("Fablab", 2),
        "coworking": ("Coworking", 1),
        "culturel": ("Lieu culturel", 1),
    }
    assert told["facets"]["departement"] == [{"value": "35", "label": "35 Ille-et-Vilaine", "count": 1}]
    assert told["facets"]["license"][0]["label"] == "Licence Ouverte 2.0"


@pytest.mark.parametrize("near", ["91,0,5", "0,181,5", "0,0,0", "0,0,-1", "0,0", "a,b,c", "0,0,nan"])
async def test_nowhere_is_a_mistake(registry: Registry, near: str) -> None:
    """A point that is not on Earth is refused by data and page alike."""
    for path in ("/points", "/facets", "/", "/embed"):
        assert (await registry.call("GET", f"{path}?near={near}", headers=BROWSER))[0] == 400


async def test_the_list_is_turned_page_by_page(registry: Registry) -> None:
    """Without a script, links lead through all places, each once, and keep the filters."""
    lines = "".join(f"Lieu {n % 7} {n},35000,48.1,-1.6\n" for n in range(120))
    await registry.list_in(b"nom,code postal,latitude,longitude\n" + lines.encode())
    path, names = "/?q=lieu", []
    while path:
        page = await html(registry, path)
        names += listed(page)
        found = re.search(r'rel="next" href="([^"]+)"', page)
        path = found.group(1).replace("&amp;", "&") if found else ""
        assert not path or "q=lieu" in path
    told = await registry.get("/points")
    assert names == [p[3] for p in told["points"]]
    assert len(set(names)) == 120


async def test_a_form_without_scripts_finds_places(mapped: Registry) -> None:
    """What a browser sends for an untouched form is understood; choices that were made stay made."""
    page = await html(mapped, "/?q=&family=fablab&status=&departement=35&license=")
    assert '<option value="fablab" selected>' in page
    assert "<noscript>" in page
    assert listed(page) == ["Atelier &lt;b&gt;", "Été"]
    page = await html(mapped, "/?family=coworking,fablab")
    assert '<option value="coworking,fablab" selected>' in page


async def test_programs_are_led_to_the_description(mapped: Registry) -> None:
    """Who does not ask for a page is led to what can be asked, as ever."""
    status, _, headers = await mapped.call("GET", "/", headers={"Accept": "*/*"}, allow_redirects=False)
    assert (status, headers["Location"]) == (303, "/docs")


async def test_only_the_frame_may_stand_in_other_sites(mapped: Registry) -> None:
    """The map's page may not be framed, the frame may; neither sets a cookie or lets pictures in from elsewhere."""
    for path, framed in (("/", False), ("/embed", True)):
        _, _, headers = await mapped.call("GET", path, headers=BROWSER)
        policy = headers["Content-Security-Policy"]
        assert ("frame-ancestors" not in policy) is framed
        assert "img-src 'self' data:" in policy.split("; ")
        assert "Set-Cookie" not in headers
    page = await html(mapped, "/embed?family=fablab&name=Nos+lieux&color=%23AA0000")
    assert "<h1>Nos lieux</h1>" in page
    assert 'data-colour="#aa0000"' in page
    assert 'href="/?family=fablab"' in page
    assert (await mapped.call("GET", "/embed?color=red", headers=BROWSER))[0] == 400


async def test_a_place_has_a_page(mapped: Registry) -> None:
    """Name, what and where stand on it, and for machines the same in the words of schema.org; nothing is run."""
    added = await mapped.add(**place("</script><i>Fin", summary="Un lieu & un café", position=HERE))
    page = await html(mapped, f"/p/{added['id']}")
    assert "&lt;/script&gt;&lt;i&gt;Fin" in page
    assert "Un lieu &amp; un café" in page
    assert page.count("</script>") == page.count("<script ") == 2
    assert '"name": "\\u003c/script>\\u003ci>Fin"' in page
    assert (await mapped.call("GET", f"/p/{added['id'].partition(':')[2]}", headers=BROWSER))[0] == 200
    await mapped.withdraw(added["id"])
    assert (await mapped.call("GET", f"/p/{added['id']}", headers=BROWSER))[0] == 410


async def test_background_tiles_are_the_operators_choice(federation: Any) -> None:
    """Pictures may come from the origin that the operator named, and from no other."""
    registry = await federation.registry(
        tiles_url="https://tuiles.example:8443/x/{z}/{x}/{y}.png", tiles_attribution="© Les <auteurs>"
    )
    _, body, headers = await registry.call("GET", "/", headers=BROWSER)
    assert "img-src 'self' data: https://tuiles.example:8443;" in headers["Content-Security-Policy"]
    assert b"https://tuiles.example:8443/x/{z}/{x}/{y}.png" in body
    assert b"<auteurs>" not in body
