"""A record that the operator hides: gone from the view as if its network had not listed it, and openly so."""

from itertools import pairwise
from typing import Any

from schemas.event import VIEW_REMOVE
from tests.conftest import Federation
from tests.nodes import Registry, Sync
from tests.sync.test_upkeep import view_log
from tests.sync.trusting import command, hidden, stands, table, write


async def same(*records: tuple[Registry, str]) -> None:
    """All owners of these records say that each is the same place as the one before."""
    for (mine, a), (theirs, b) in pairwise(records):
        await mine.claim(a, b)
        await theirs.claim(b, a)


async def gone(sync: Sync, record: str, **headers: str) -> Any:
    """What is said of an id that is gone, on both faces the same."""
    status, problem, _ = await sync.call("GET", f"/places/{record}", headers=headers)
    assert status == 410, problem
    other, item, _ = await sync.call("GET", f"/collections/places/items/{record}", headers=headers)
    assert (other, item) == (status, problem)
    return problem


async def removed(sync: Sync) -> list[tuple[str, str, str | None]]:
    """Ids that left the view, why, and where to."""
    told = [e["data"] for e in await view_log(sync) if e["type"] == VIEW_REMOVE]
    return [(data["id"], data["reason"], data["moved_to"]) for data in told]


async def test_a_hidden_record_is_gone_and_says_why(federation: Federation) -> None:
    """Hidden while the sync runs: out of lists and counts, 410 with reason, network and contact, in French too."""
    here = await federation.registry(name="Réseau d'ici", contact="ici@exemple.fr")
    one, other = (await here.add())["id"], (await here.add())["id"]
    sync = await federation.sync([here])
    whole = await sync.caught_up([here])
    assert await command(sync, "hide", one, "--reason", "on-request") == (
        0,
        f"{one} is hidden (on-request).\n",
    )
    masked = await stands(sync, [here.node, one], 1)
    listed = await sync.get("/collections/places/items")
    assert [f["id"] for f in listed["features"]] == [other]
    known = (await sync.networks())[here.node]
    assert (known["places"], known["hidden"]) == (1, 1)
    problem = await gone(sync, one)
    assert {k: problem[k] for k in ("reason", "why", "network", "name", "contact", "moved_to")} == {
        "reason": "hidden",
        "why": "on-request",
        "network": here.node,
        "name": "Réseau d'ici",
        "contact": "ici@exemple.fr",
        "moved_to": None,
    }
    assert problem["since"] == (await sync.get("/trust"))["hidden"][0]["since"]
    french = await gone(sync, one, **{"Accept-Language": "fr"})
    assert french["detail"].startswith("Masqué par cette vue\N{NO-BREAK SPACE}: on-request")
    assert await removed(sync) == [(one, "hidden", None)]
    await sync.stop()
    await sync.start()
    assert await sync.digest() == masked
    await here.change(one, summary="Toujours là")
    await sync.caught_up([here])
    assert (await sync.digest())["count"] == 1
    assert await command(sync, "unhide", one) == (0, f"{one} is shown again.\n")
    shown = await stands(sync, [here.node], 2)
    assert (await sync.get(f"/places/{one}"))["place"]["summary"] == "Toujours là"
    assert shown["view_root"] != whole["view_root"]
    fresh = await federation.sync([here])
    assert (await fresh.caught_up([here]))["view_root"] == shown["view_root"]


async def test_hiding_is_another_view_openly(federation: Federation) -> None:
    """Two syncs that hide the same agree, whenever they began to; one that hides nothing says that it differs."""
    here = await federation.registry()
    one = (await here.add())["id"]
    await here.add()
    sync, always, open_ = (
        await federation.sync([here]),
        await federation.sync([]),
        await federation.sync([here]),
    )
    await sync.caught_up([here])
    file = (table(here, "ici"), hidden(one))
    write(sync, *file)
    write(always, *file)
    late, early = await stands(sync, [here.node, one], 1), await stands(always, [here.node, one], 1)
    assert late == early
    other = await open_.caught_up([here])
    assert (other["followed"] != late["followed"], other["view_root"] != late["view_root"]) == (True, True)
    # Never shown here, and the answer is the same.
    assert (await gone(always, one))["reason"] == "hidden"


async def test_a_shared_place_stays_without_the_voice(federation: Federation) -> None:
    """When the elder of two records is hidden, the place goes on under the other's id, which the hidden one names."""
    here, there = await federation.registry(), await federation.registry()
    elder = (await here.add(summary="Ne pas montrer"))["id"]
    younger = (await there.add())["id"]
    await same((here, elder), (there, younger))
    sync = await federation.sync([here, there])
    both = await sync.caught_up([here, there])
    assert (await sync.get(f"/places/{younger}"))["id"] == elder
    nodes = (table(here, "ici"), table(there, "la"))
    write(sync, *nodes, hidden(elder))
    await stands(sync, [here.node, there.node, elder], 1)
    place = await sync.get(f"/places/{younger}")
    assert (place["id"], place["aliases"], list(place["freshness"])) == (younger, [younger], [there.node])
    assert "Ne pas montrer" not in str(place)
    problem = await gone(sync, elder)
    assert (problem["reason"], problem["moved_to"]) == ("hidden", younger)
    assert (elder, "hidden", younger) in await removed(sync)
    known = await sync.networks()
    assert (known[here.node]["places"], known[there.node]["places"]) == (0, 1)
    write(sync, *nodes)
    again = await stands(sync, [here.node, there.node], 1)
    assert again["view_root"] == both["view_root"]
    assert (await sync.get(f"/places/{younger}"))["id"] == elder
    write(sync, *nodes, hidden(younger))
    await stands(sync, [here.node, there.node, younger], 1)
    assert (await sync.get(f"/places/{elder}"))["aliases"] == [elder]
    assert (await gone(sync, younger))["reason"] == "hidden"


async def test_a_hidden_record_joins_nothing(federation: Federation) -> None:
    """Two records that were one place by a third are two when it is hidden; nobody's id stops answering."""
    registries = [await federation.registry() for _ in range(3)]
    ids = [(await r.add())["id"] for r in registries]
    await same(*zip(registries, ids, strict=True))
    sync = await federation.sync(registries)
    assert (await sync.caught_up(registries))["count"] == 1
    nodes = [r.node for r in registries]
    write(sync, *(table(r, f"reseau-{i}") for i, r in enumerate(registries)), hidden(ids[1]))
    digest = await stands(sync, [*nodes, ids[1]], 2)
    for id in (ids[0], ids[2]):
        assert (await sync.get(f"/places/{id}"))["aliases"] == [id]
    assert (await gone(sync, ids[1]))["reason"] == "hidden"
    fresh = await federation.sync([])
    write(fresh, *(table(r, f"reseau-{i}") for i, r in enumerate(registries)), hidden(ids[1]))
    await stands(fresh, [*nodes, ids[1]], 2)
    assert (await fresh.caught_up(registries))["view_root"] == digest["view_root"]


async def test_a_hidden_claim_does_not_count(federation: Federation) -> None:
    """A claim is a record too: hidden, it joins no places; shown again, it does."""
    here, there = await federation.registry(), await federation.registry()
    mine, theirs = (await here.add())["id"], (await there.add())["id"]
    claim = (await here.claim(mine, theirs))["id"]
    await there.claim(theirs, mine)
    sync = await federation.sync([here, there])
    joined = await sync.caught_up([here, there])
    assert joined["count"] == 1
    nodes = (table(here, "ici"), table(there, "la"))
    write(sync, *nodes, hidden(claim, "other"))
    await stands(sync, [here.node, there.node, claim], 2)
    write(sync, *nodes)
    assert (await stands(sync, [here.node, there.node], 1))["view_root"] == joined["view_root"]
