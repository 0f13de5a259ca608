"""The files of all places by licence: what may be combined whole, the rest as a link; what is free by itself."""

import json
from typing import Any

import pytest

from services.sync import changes
from services.sync.api import exports
from tests.conftest import Federation
from tests.nodes import Registry, Sync
from tests.sync.test_api import ITEMS

PLACES, FREE = "/exports/places.geojsonl", "/exports/places-etalab.geojsonl"
SHARED, CLOSED, ETALAB = "ODbL-1.0", "CC-BY-SA-4.0", "etalab-2.0"


class Kept:
    """A sync over three networks, of which the last gives no licence; places by name."""

    def __init__(self, here: Registry, there: Registry, silent: Registry, sync: Sync) -> None:
        self.all = [here, there, silent]
        self.here, self.there, self.silent, self.sync = here, there, silent, sync
        self.ids: dict[str, str] = {}

    async def begin(self) -> None:
        """Write places down: alone under each licence, and one of ours with each other's."""
        for name, license in (("Libre", ETALAB), ("Partagé", SHARED), ("Fermé", CLOSED)):
            self.ids[name] = (await self.here.add(name=name, license=license))["id"]
        self.ids["Sans"] = (await self.silent.add(name="Sans"))["id"]
        for name, other, license in (
            ("Avec partagé", self.there, SHARED),
            ("Avec fermé", self.there, CLOSED),
            ("Avec sans", self.silent, None),
        ):
            mine = await self.here.add(
                name=name, license=ETALAB, verified_by="place", verified_on="2025-01-01"
            )
            said = {"license": license} if license else {}
            theirs = await other.add(name=f"{name} bis", summary=f"secret de {license}", **said)
            await self.here.claim(mine["id"], theirs["id"])
            await other.claim(theirs["id"], mine["id"])
            self.ids[name] = mine["id"]
        await self.sync.caught_up(self.all)

    async def file(self, path: str, query: str = "") -> dict[str, Any]:
        """The features of a file by id, which stand in the order of their ids."""
        status, body, headers = await self.sync.call("GET", path + query)
        assert status == 200, body
        assert headers["Content-Disposition"] == f'attachment; filename="{path.rpartition("/")[2]}"'
        features = [json.loads(line) for line in body.splitlines()]
        assert [f["id"] for f in features] == sorted({f["id"] for f in features})
        return {f["id"]: f for f in features}

    def named(self, features: dict[str, Any]) -> dict[str, Any]:
        """The features by the names that we gave the places."""
        return {name: features[id] for name, id in self.ids.items() if id in features}

    def link(self, name: str, *networks: Registry) -> dict[str, Any]:
        """A place as it is where it may not be passed on."""
        where = f"{self.sync.settings.url.rstrip('/')}/places/{self.ids[name]}"
        of = ";".join(sorted(network.node for network in networks))
        properties = {"networks": of, "link": where}
        return {"type": "Feature", "id": self.ids[name], "geometry": None, "properties": properties}


@pytest.fixture
async def kept(federation: Federation) -> Kept:
    """Places of three networks under several licences."""
    here, there = await federation.registry(), await federation.registry()
    silent = await federation.registry(license="")
    found = Kept(
        here, there, silent, await federation.sync([here, there, silent], url="https://vue.example/")
    )
    await found.begin()
    return found


async def test_what_may_not_be_combined_is_a_link(kept: Kept) -> None:
    """Of a place with one value under another licence, or under none, the file has whose it is and where it is read."""
    here, there, silent = kept.all
    features, listed = await kept.file(PLACES), {f["id"]: f for f in (await kept.sync.get(ITEMS))["features"]}
    assert features.keys() == listed.keys() == set(kept.ids.values())
    found = kept.named(features)
    for name in ("Libre", "Partagé", "Avec partagé"):
        assert found.pop(name) == listed[kept.ids[name]]
    assert found == {
        "Fermé": kept.link("Fermé", here),
        "Sans": kept.link("Sans", silent),
        "Avec fermé": kept.link("Avec fermé", here, there),
        "Avec sans": kept.link("Avec sans", here, silent),
    }
    assert listed[kept.ids["Avec sans"]]["properties"]["licenses"] == "?;etalab-2.0"


async def test_what_is_free_stands_alone(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other file has what free records alone say, as `license=` shows it, however many are read at once."""
    read = await kept.sync.get(f"{ITEMS}?license={ETALAB},CC0-1.0")
    for chunk in (1, 3, 100):
        monkeypatch.setattr(exports, "CHUNK", chunk)
        features = await kept.file(FREE)
        assert kept.named(features).keys() == {"Libre", "Avec partagé", "Avec fermé", "Avec sans"}
        assert features == {f["id"]: f for f in read["features"]}
    assert "secret" not in json.dumps(features)


async def test_the_past_of_files_is_what_events_tell(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that has changed since is whole where an event says one licence for all of it; others are as they are."""
    monkeypatch.setattr(changes, "MOST_DATA", 3000)
    kept.ids["Long"] = (await kept.here.add(name="Long", description="long " * 800, license=ETALAB))["id"]
    await kept.sync.caught_up(kept.all)
    before = (await kept.sync.get("/stats"))["as_of"]["time"]
    was, free_was = [kept.named(await kept.file(path)) for path in (PLACES, FREE)]
    for name, id in kept.ids.items():
        if name not in ("Avec partagé", "Sans"):
            network = next(n for n in kept.all if n.node == id.partition(":")[0])
            await network.change(id, summary="Tout neuf", license="CC0-1.0")
    await kept.there.add(name="Après")
    await kept.sync.caught_up(kept.all)
    assert len(await kept.file(PLACES)) == len(kept.ids) + 1
    past, free = [kept.named(await kept.file(path, f"?as_of={before}")) for path in (PLACES, FREE)]
    assert past.keys() == kept.ids.keys()
    for name in ("Libre", "Partagé"):
        told, shown = past[name]["properties"], was[name]["properties"]
        assert (told["name"], told["summary"], told["licenses"]) == (name, None, shown["licenses"])
    for name in ("Avec partagé", "Fermé", "Sans", "Avec fermé", "Avec sans"):
        assert past[name] == was[name]
    # What no event could hold says no licence.
    assert past["Long"] == kept.link("Long", kept.here)
    assert free == {"Libre": past["Libre"], "Avec partagé": free_was["Avec partagé"]}
    assert "Tout neuf" not in json.dumps([past, free])
