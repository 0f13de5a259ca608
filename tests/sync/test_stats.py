"""How many places there are and were, and all of them as a file: now, and at every position of the log."""

import json
import random
from collections import Counter
from typing import Any

from tests.conftest import Federation
from tests.nodes import Sync
from tests.sync.test_api import ITEMS
from tests.sync.test_upkeep import Life, view_log

EXPORT = "/exports/places.geojsonl"
STEPS = 40


async def exported(sync: Sync, query: str = "") -> tuple[dict[str, Any], Any]:
    """The features of an export by id, which come in the order of their ids; and its headers."""
    status, body, headers = await sync.call("GET", EXPORT + query)
    assert status == 200, body
    features = [json.loads(line) for line in body.splitlines()]
    assert [f["id"] for f in features] == sorted({f["id"] for f in features})
    return {f["id"]: f for f in features}, headers


def counted(places: dict[str, Any]) -> dict[str, Any]:
    """What `/stats` should count of places as their last events told them."""
    traits = [place["traits"] for place in places.values()]
    departements = Counter(t["departement"] for t in traits if t["departement"])
    return {
        "places": len(places),
        "networks": Counter(n for place in places.values() for n in place["networks"]),
        "families": Counter(f for t in traits for f in t["families"]),
        "statuses": Counter(t["status"] for t in traits),
        "departements": departements,
        "without": {
            "family": sum(not t["families"] for t in traits),
            "departement": len(places) - departements.total(),
        },
        "erased": 0,
    }


def states(events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The places at each time of the log, as its events up to there leave them; with position and time."""
    places: dict[str, Any] = {}
    found = {}
    for event in events:
        data = event["data"]
        if event["type"].endswith("view.put.v1"):
            places[data["id"]] = {**data, "time": event["time"]}
        elif event["type"].endswith("view.remove.v1"):
            del places[data["id"]]
        cursor = f"{event['epoch']}.{int(event['sequence'])}"
        found[event["time"]] = {"cursor": cursor, "places": dict(places)}
    return found


async def test_the_past_is_what_the_log_told(federation: Federation) -> None:
    """At each time of a random life, counts and places are those that the events until then leave."""
    chance = random.Random(11)
    registries = [await federation.registry() for _ in range(2)]
    life, sync = Life(registries, chance), await federation.sync(registries)
    for number in range(STEPS):
        await life.step()
        registry, id = chance.choice(life.open)
        if number % 4 == 0:
            family = chance.choice(("coworking", "fablab"))
            await registry.change(id, families=[family], position={"lat": 48.1, "lon": -1.7})
        if number % 3 == 2:
            await sync.caught_up(registries)
    assert life.done.keys() >= {"withdraw", "say", "change"}
    await sync.caught_up(registries)
    events = await view_log(sync)
    assert any(e["type"].endswith("view.remove.v1") for e in events)
    for time, state in states(events).items():
        stats = await sync.get(f"/stats?as_of={time}")
        assert stats.pop("as_of") == {"cursor": state["cursor"], "time": time}
        assert stats == counted(state["places"]), time
        features, headers = await exported(sync, f"?as_of={time}")
        assert (headers["Merge-Cursor"], headers["As-Of"]) == (state["cursor"], time)
        assert features.keys() == state["places"].keys()
        for id, place in state["places"].items():
            properties = features[id]["properties"]
            assert properties["name"] == place["after"]["name"]
            assert properties["status"] == place["traits"]["status"]
            position = place["after"].get("position")
            geometry = features[id]["geometry"]
            assert (geometry and geometry["coordinates"]) == (position and [position["lon"], position["lat"]])


async def test_now_is_the_view_itself(federation: Federation) -> None:
    """Without a time, and at the time of the last event, the file has what the list has, and the counts count it."""
    registry = await federation.registry()
    for postcode in ("35000", "13001"):
        await registry.add(address={"postcode": postcode}, families=["fablab"])
    await registry.add(kind="virtual", address=None, status="project")
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    stats = await sync.get("/stats")
    now = stats["as_of"]
    assert (stats["places"], stats["networks"]) == (3, {registry.node: 3})
    assert (stats["statuses"], stats["families"]) == ({"open": 2, "project": 1}, {"fablab": 2})
    assert stats["departements"] == {"13": 1, "35": 1}
    assert stats["without"] == {"family": 1, "departement": 1}
    assert await sync.get(f"/stats?as_of={now['time']}") == stats
    listed = {f["id"]: f for f in (await sync.get(ITEMS))["features"]}
    features, headers = await exported(sync)
    assert (features, headers["Merge-Cursor"]) == (listed, now["cursor"])
    assert headers["Content-Type"] == "application/x-ndjson"
    assert (await exported(sync, f"?as_of={now['time']}"))[0] == listed
    status, body, _ = await sync.call("HEAD", EXPORT)
    assert (status, body) == (200, b"")
