"""How many places there are and were, and all of them as a file: now, and at every position of the log."""

import csv
import json
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg

from tests.conftest import Federation
from tests.nodes import Sync, eventually
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


COVERED = {
    *("alternate_names", "opened_on", "verified_on", "address", "position", "families", "types", "services"),
    *("summary", "description", "website", "links", "phone", "email", "opening_hours", "opening_hours_text"),
    *("accessibility", "surface", "operator", "identifiers", "labels", "photos"),
}
TODAY = datetime.now(UTC).date()
# Days that are far from where one class of ages ends and another begins.
CLASSES = {100: "under-6-months", 500: "1-to-2-years", 1000: "over-2-years"}


def ago(days: int) -> str:
    """A day so long ago."""
    return str(TODAY - timedelta(days=days))


def ages(days: Iterable[str | None]) -> dict[str, int]:
    """How many of these days are how long ago."""
    classes = {None: "unknown", str(TODAY): "under-6-months", **{ago(n): name for n, name in CLASSES.items()}}
    found = Counter(classes[day] for day in days)
    return {name: found[name] for name in (*classes.values(), "6-to-12-months")}


def dates(said: Iterable[str | None]) -> dict[str, Any]:
    """Partial dates by year and by month."""
    every = list(said)
    known = [day for day in every if day]
    return {
        "years": Counter(day[:4] for day in known),
        "months": Counter(day[:7] for day in known if len(day) > 4),
        "unknown": len(every) - len(known),
    }


def counted(places: dict[str, Any]) -> dict[str, Any]:
    """What `/stats` should count of places as their last events told them."""
    traits = [place["traits"] for place in places.values()]
    told = [place["after"] for place in places.values()]
    departements = Counter(t["departement"] for t in traits if t["departement"])
    return {
        "places": len(places),
        "networks": Counter(n for place in places.values() for n in place["networks"]),
        "families": Counter(f for t in traits for f in t["families"]),
        "types": Counter(f for t in traits for f in t["types"]),
        "labels": Counter(f for t in traits for f in t["labels"]),
        "statuses": Counter(t["status"] for t in traits),
        "departements": departements,
        "without": {
            "family": sum(not t["families"] for t in traits),
            "type": sum(not t["types"] for t in traits),
            "label": sum(not t["labels"] for t in traits),
            "departement": len(places) - departements.total(),
        },
        "erased": 0,
        "openings": dates(p.get("opened_on") for p in told if p["status"] != "project" or "opened_on" in p),
        "closings": dates(p.get("closed_on") for p in told if p["status"] == "closed" or "closed_on" in p),
        "coverage": {"fields": {f: sum(f in p for p in told) for f in COVERED}},
        "freshness": {
            "at": str(TODAY),
            "verified": ages(p.get("verified_on") for p in told),
            "updated": ages(place["time"][:10] for place in places.values()),
        },
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
            said = {
                "verified_on": ago(chance.choice(list(CLASSES))),
                "verified_by": "place",
            }
            said |= {"opened_on": chance.choice(("1999", "2019-04", "2019-05-01")), "types": ["ici:un"]}
            await registry.change(id, families=[family], position={"lat": 48.1, "lon": -1.7}, **said)
        if number % 3 == 2:
            await sync.caught_up(registries)
    assert life.done.keys() >= {"withdraw", "say", "change"}
    await sync.caught_up(registries)
    events = await view_log(sync)
    assert any(e["type"].endswith("view.remove.v1") for e in events)
    for time, state in states(events).items():
        stats = await sync.get(f"/stats?as_of={time}")
        assert stats.pop("as_of") == {"cursor": state["cursor"], "time": time}
        del stats["licenses"], stats["areas"], stats["coverage"]["networks"]
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
    assert stats["without"] == {"family": 1, "type": 3, "label": 3, "departement": 1}
    assert await sync.get(f"/stats?as_of={now['time']}") == stats
    listed = {f["id"]: f for f in (await sync.get(ITEMS))["features"]}
    features, headers = await exported(sync)
    assert (features, headers["Merge-Cursor"]) == (listed, now["cursor"])
    assert headers["Content-Type"] == "application/x-ndjson"
    assert (await exported(sync, f"?as_of={now['time']}"))[0] == listed
    status, body, _ = await sync.call("HEAD", EXPORT)
    assert (status, body) == (200, b"")


ICI = [
    {
        "name": "Neuf",
        "opened_on": "2024-03",
        "families": ["fablab"],
        "phone": "+33299000000",
        "types": ["ici:un"],
    },
    {
        "name": "Vieux",
        "opened_on": "1999",
        "verified_on": ago(100),
        "verified_by": "place",
        "license": "CC0-1.0",
    },
    {"name": "Ancien", "verified_on": ago(500), "verified_by": "network", "labels": [{"code": "fabrique"}]},
    {"name": "Clos", "status": "closed", "closed_on": "2025-12-24", "opened_on": "2024-01-05"},
    {
        "name": "Fini",
        "status": "closed",
        "verified_on": ago(1000),
        "verified_by": "place",
        "license": "CC0-1.0",
    },
    {"name": "=Promis", "status": "project", "position": {"lat": 48.1, "lon": -1.7}},
]
LA = [
    {"name": "Phare", "address": {"postcode": "29200"}, "phone": "+33298000000", "families": ["culturel"]},
    {"name": "Bateau", "address": None, "kind": "virtual", "summary": "Il va et vient."},
]  # fmt: skip
AREA = {
    "name": "Rennes",
    "geometry": {"type": "Polygon", "coordinates": [[[-2, 48], [-1, 48], [-1, 49], [-2, 48]]]},
}


async def rows(sync: Sync, table: str, query: str = "") -> list[list[str]]:
    """A table as CSV, without what each line says of the view."""
    status, body, headers = await sync.call(
        "GET", f"/stats/{table}.csv{query}", headers={"Accept-Language": "fr"}
    )
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/csv"), body
    lines = list(csv.reader(body.decode().splitlines()))
    assert lines[0][-3:] == ["computed_by", "position", "time"]
    assert {tuple(line[-3:-1]) for line in lines[1:]} <= {("Vue", headers["Merge-Cursor"])}
    return [line[:-3] for line in lines[1:]]


async def test_what_is_said_is_counted(federation: Federation) -> None:
    """Dates, fields, freshness, words, areas: as the places say them, of any choice of places, then and now."""
    ici, la = [
        await federation.registry(name=name, slug=slug) for name, slug in (("Ici", "ici"), ("Là", "la"))
    ]
    added = [await ici.add(**place) for place in ICI]
    for place in LA:
        await la.add(**place)
    _, area, _ = await ici.call("POST", "/areas", json=AREA)
    sync = await federation.sync([ici, la])
    await sync.caught_up([ici, la])
    then = await sync.get("/stats")
    assert then["openings"] == {
        "years": {"1999": 1, "2024": 2},
        "months": {"2024-01": 1, "2024-03": 1},
        "unknown": 4,
    }
    assert then["closings"] == {"years": {"2025": 1}, "months": {"2025-12": 1}, "unknown": 1}
    assert then["types"] == {"ici:un": 1}
    assert then["labels"] == {"fabrique": 1}
    assert then["licenses"] == {"etalab-2.0": 6, "CC0-1.0": 2}
    assert then["areas"] == {area["id"]: 1}
    assert then["freshness"]["at"] == str(TODAY)
    assert list(then["freshness"]["verified"].values()) == [1, 0, 1, 1, 5]
    assert list(then["freshness"]["updated"].values()) == [8, 0, 0, 0, 0]
    said, by = then["coverage"]["fields"], then["coverage"]["networks"]
    assert (said["phone"], said["opened_on"], said["position"], said["address"]) == (2, 3, 1, 7)
    assert (by[ici.node]["records"], by[la.node]["records"]) == (6, 2)
    assert [by[n]["fields"][f] for n in (ici.node, la.node) for f in ("phone", "summary")] == [1, 0, 1, 1]
    await _chosen_alike(sync, ici.node, area["id"])
    await _tabled(sync)
    # What happens now takes nothing from what was.
    await ici.change(added[0]["id"], opened_on=None, phone=None)
    await ici.withdraw(added[1]["id"])
    await ici.command("erase", added[3]["id"], "--yes")
    await sync.caught_up([ici, la])
    await _the_past(sync, then, ici.node)
    now = await sync.get("/stats")
    assert (now["places"], now["openings"]["years"], now["closings"]["years"]) == (6, {}, {})
    assert now["coverage"]["networks"][ici.node]["records"] == 4
    assert now["coverage"]["networks"][ici.node]["fields"]["phone"] == 0
    await _read_off(sync, now)


async def _read_off(sync: Sync, now: dict[str, Any]) -> None:
    """What a version before this one stored, which knew of no such columns, is read off once at the start."""
    await sync.stop()
    connection = await asyncpg.connect(sync.settings.database_url)
    await connection.execute("UPDATE merge SET columns = 1")
    await connection.execute("UPDATE view SET said = '{}', opened_on = NULL, verified_on = NULL")
    await connection.execute("DELETE FROM stated")
    await connection.close()
    await sync.start()

    async def read() -> bool:
        return bool(await sync.get("/stats") == now)

    await eventually(read)


async def _chosen_alike(sync: Sync, node: str, area: str) -> None:
    """Whatever is asked for, what is counted is what the list of it has."""
    asked = (
        f"network={node}",
        f"network={node}&status=closed",
        "family=fablab",
        "departement=29",
        f"area={area}",
        "q=phare",
    )
    asked += (
        "said=phone",
        "unsaid=opened_on&status=open,paused,closed",
        f"verified=../{ago(400)}",
        "opened_year=2024",
    )
    asked += (
        "unsaid=closed_on&status=closed",
        f"verified={ago(200)}/..",
        "said=phone,summary",
        "type=ici:un",
    )
    matched = {query: (await sync.get(f"{ITEMS}?{query}"))["numberMatched"] for query in asked}
    assert list(matched.values()) == [6, 2, 1, 1, 1, 1, 2, 4, 2, 2, 1, 1, 0, 1]
    for query, number in matched.items():
        assert (await sync.get(f"/stats?{query}"))["places"] == number, query
    heard = (await sync.get("/stats?said=phone"))["coverage"]["networks"]
    assert {network["records"] for network in heard.values()} == {1}


async def _tabled(sync: Sync) -> None:
    """Each table is a file for spreadsheets, in the reader's language."""
    assert await rows(sync, "openings-by-month") == [
        ["1999", "", "1"], ["2024", "01", "1"], ["2024", "03", "1"], ["", "", "4"]
    ]  # fmt: skip
    assert await rows(sync, "closings") == [["2025", "1"], ["", "1"]]
    assert [line[1:] for line in await rows(sync, "families")] == [["Fablab", "1"], ["Lieu culturel", "1"]]
    assert [line[1:] for line in await rows(sync, "networks")] == [["Ici", "6"], ["Là", "2"]]
    assert ["phone", "Téléphone", "2", "8"] in await rows(sync, "coverage")
    assert [line[2:] for line in await rows(sync, "coverage-by-network") if line[2] == "summary"] == [
        ["summary", "Résumé", "0", "6"], ["summary", "Résumé", "1", "2"]
    ]  # fmt: skip
    ages = await rows(sync, "verified")
    assert [line[-1] for line in ages] == ["1", "0", "1", "1", "5"]
    for since, until, number in (line[2:] for line in ages[:-1]):
        listed = await sync.get(f"{ITEMS}?verified={since or '..'}/{until or '..'}")
        assert listed["numberMatched"] == int(number), (since, until)
    assert (await sync.call("GET", "/stats/nothing.csv"))[0] == 404


async def _the_past(sync: Sync, then: dict[str, Any], node: str) -> None:
    """At a time before, what was counted is counted again, but for what is erased since and what no log tells."""
    time = then["as_of"]["time"]
    past = await sync.get(f"/stats?as_of={time}")
    assert (past["places"], past["erased"], past["as_of"]) == (then["places"] - 1, 1, then["as_of"])
    assert past["openings"]["years"] == {"1999": 1, "2024": 1}
    assert past["closings"] == {"years": {}, "months": {}, "unknown": 1}
    assert past["coverage"]["fields"]["phone"] == 2
    assert (past["licenses"], past["areas"], past["coverage"]["networks"]) == (None, None, None)
    for name in ("types", "labels", "families"):
        assert past[name] == then[name]
    assert (await sync.get(f"/stats?as_of={time}&network={node}&status=open"))["places"] == 3
    assert (await sync.get(f"/stats?as_of={time}&family=fablab"))["openings"]["years"] == {"2024": 1}
    status, problem, _ = await sync.call("GET", f"/stats?as_of={time}&q=phare")
    assert (status, problem["errors"][0]["parameter"]) == (400, "q")
    status, _, headers = await sync.call("GET", f"/stats/openings.csv?as_of={time}")
    assert (status, headers["Merge-Cursor"]) == (200, then["as_of"]["cursor"])
    later = await sync.get(f"/stats?as_of={TODAY.year + 3}-01-01")
    assert list(later["freshness"]["updated"].values()) == [0, 0, 0, 6, 0]
