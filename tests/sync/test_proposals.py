"""Proposals: what may be one place and is none is offered to the networks, and ends when they have answered."""

from pathlib import Path
from typing import Any

import pytest
from uuid_utils import uuid7

from services.sync import policy
from tests.conftest import Federation
from tests.nodes import Registry
from tests.sync.proposing import BREST, RENNES, Networks, networks


@pytest.fixture
async def three(federation: Federation, tmp_path: Path) -> Networks:
    """Three networks without places."""
    return await networks(federation, 3, tmp_path)


async def mill(registry: Registry, **said: object) -> str:
    """A record of one and the same place."""
    record = await registry.add(**{"name": "La Filature du Pont Rouge", "address": RENNES, **said})
    return str(record["id"])


async def test_what_is_alike_is_proposed_with_why(three: Networks) -> None:
    """A proposal names both records, their networks and places, the points of each feature, and who said what."""
    here, there, _ = three.registries
    one, two = await mill(here), await mill(there, name="Filature du Pont-Rouge")
    await there.add(name="Maison des Arts", address=BREST)
    (found,) = await three.proposals()
    assert [found["a"]["record"], found["b"]["record"]] == sorted((one, two))
    for side in (found["a"], found["b"]):
        assert side["view"] == side["record"]
        assert side["network"] == side["record"][:26]
        assert side["city"] == "Rennes"
    assert {found["a"]["name"], found["b"]["name"]} == {"La Filature du Pont Rouge", "Filature du Pont-Rouge"}
    assert (found["why"], found["said"]) == ("close", [])
    assert found["points"] == sum(f["points"] for f in found["features"]) >= policy.POLICY.matching.propose
    assert {f["feature"]: f["level"] for f in found["features"]}["commune"] == "same"
    status, answer, headers = await three.sync.call("GET", "/proposals")
    assert (status, answer["networks"].keys(), answer["next"]) == (200, {here.node, there.node}, None)
    assert headers["Merge-Cursor"]


async def test_an_owner_who_says_two_ends_it(three: Networks) -> None:
    """`distinct` and `part-of` of either owner end a proposal, whose withdrawal brings it back; `contests` does not."""
    here, there, _ = three.registries
    one, two = await mill(here), await mill(there)
    for who, a, b in ((here, one, two), (there, two, one)):
        for verdict in ("distinct", "part-of"):
            said = await who.claim(a, b, verdict)
            assert await three.proposals() == [], verdict
            status, _, _ = await who.call("DELETE", f"/claims/{said['id']}")
            assert status == 200
            assert len(await three.proposals()) == 1
    contest = {"a": one, "b": two, "verdict": "contests", "statement": "Nous n'avons pas fermé."}
    assert (await here.call("POST", "/claims", json=contest))[0] in (200, 201)
    (found,) = await three.proposals()
    assert found["said"] == [{"network": here.node, "verdict": "contests"}]


async def test_what_one_owner_says_is_proposed_to_the_other(three: Networks) -> None:
    """`same` of one owner of what is not alike is a proposal without points, until the other says so or not."""
    here, there, other = three.registries
    one = await mill(here)
    two = (await there.add(name="Maison des Arts", address=BREST))["id"]
    assert await three.proposals() == []
    await here.claim(one, two)
    (found,) = await three.proposals()
    assert (found["why"], found["points"], found["features"]) == ("claimed", None, [])
    assert found["said"] == [{"network": here.node, "verdict": "same"}]
    assert await three.proposals(f"network={other.node}") == []
    await there.claim(two, one)
    assert await three.proposals() == []
    assert (await three.sync.get(f"/places/{one}"))["aliases"] == sorted((one, two))


async def test_who_says_it_of_several_is_asked_which(three: Networks) -> None:
    """One word joins what is alike, at once; of two that fit as well none is joined, and both are proposed."""
    here, there, _ = three.registries
    one, first = await mill(here), await mill(there)
    said = await here.claim(one, first)
    assert await three.proposals() == []
    assert (await three.sync.get(f"/places/{one}"))["aliases"] == sorted((one, first))
    assert (await here.call("DELETE", f"/claims/{said['id']}"))[0] == 200
    second = (await there.add(name="Filature du Pont Rouge", address=RENNES, summary="L'autre"))["id"]
    for other in (first, second):
        await here.claim(one, other)
    found = await three.proposals()
    assert [p["why"] for p in found] == ["several", "several"]
    assert {p["a"]["record"] for p in found} | {p["b"]["record"] for p in found} == {one, first, second}
    assert all(p["said"] == [{"network": here.node, "verdict": "same"}] for p in found)


async def test_a_claim_about_what_is_not_there_is_no_proposal(three: Networks) -> None:
    """Neither a record that nobody has heard of, nor one that was taken back, can be answered for."""
    here, there, _ = three.registries
    one, two = await mill(here), await mill(there)
    await here.claim(one, f"{there.node}:{uuid7()}")
    assert await three.pairs() == [{one, two}]
    await there.withdraw(two)
    assert await three.proposals() == []


async def test_who_has_joined_another_has_answered(three: Networks) -> None:
    """Once both owners joined one of the two with another record of the same network, the pair is settled."""
    here, there, _ = three.registries
    one, first = await mill(here), await mill(there)
    second = (await there.add(name="Filature Pont Rouge atelier", address=RENNES))["id"]
    assert sorted(map(sorted, await three.pairs())) == sorted((sorted((one, first)), sorted((one, second))))
    await there.claim(second, one)
    assert {one, first} in await three.pairs()
    await here.claim(one, second)
    assert await three.proposals() == []
    await there.withdraw(second)
    assert await three.pairs() == [{one, first}]


async def test_two_places_are_proposed_once(three: Networks) -> None:
    """Of all pairs across two places the best is proposed; who asks as one network gets her own best."""
    here, there, third = three.registries
    one, two = await mill(here), await mill(there)
    await here.claim(one, two)
    await there.claim(two, one)
    another = await mill(third, name="Filature du Pont Rouge", email="contact@filature.example")
    await there.change(two, email="contact@filature.example")
    assert await three.pairs() == [{two, another}]
    assert await three.pairs(f"network={here.node}") == [{one, another}]
    assert await three.pairs("network=reseau-0") == [{one, another}]
    assert await three.pairs(f"record={one}") == [{one, another}]
    assert await three.pairs(f"network={'a' * 26}") == []


async def test_pages_give_every_proposal_once(three: Networks) -> None:
    """Most points first, those without last; following `next` gives each once, and no other page is taken."""
    here, there, _ = three.registries
    for i, name in enumerate(("Filature Rouge", "Moulin Bleu", "Forge Verte", "Halle Ocre")):
        where = {"street": f"{i + 1} rue {name}", "postcode": f"3{i}000", "city": f"Ville {name}"}
        await here.add(name=name, address=where)
        vague = {"postcode": where["postcode"], "city": where["city"]}
        await there.add(name=name, address=where if i % 2 else vague)
    one = (await here.add(name="Ici", address=BREST))["id"]
    two = (await there.add(name="Ailleurs", address=RENNES))["id"]
    await there.claim(two, one)
    every = await three.proposals()
    points = [p["points"] for p in every]
    assert len(points) == 5
    assert points[-1] is None
    assert points[:-1] == sorted(points[:-1], reverse=True)
    found, page = [], ""
    for _ in every:
        answer = await three.sync.get(f"/proposals?limit=1{page}")
        found += answer["proposals"]
        page = f"&page={answer['next']}"
    assert (found, answer["next"]) == (every, None)
    for query in ("page=x", "page=MSBhIGI", "limit=0", "limit=101", "record=x", "who=me"):
        status, problem, _ = await three.sync.call("GET", f"/proposals?{query}")
        assert (status, len(problem["errors"])) == (400, 1), query


async def test_where_a_secret_place_is_is_not_told_by_points(three: Networks) -> None:
    """A place that is not disclosed is proposed only where an owner says so, and then without points."""
    here, there, _ = three.registries
    one = await mill(here, position={"lat": 48.11, "lon": -1.68})
    two = await mill(there, kind="undisclosed", address={"city": "Rennes"})
    assert await three.proposals() == []
    await here.claim(one, two)
    (found,) = await three.proposals()
    assert {found["a"]["record"], found["b"]["record"]} == {one, two}
    assert (found["points"], found["features"], found["why"]) == (None, [], "claimed")


async def test_what_owners_contradict_each_other_on_is_listed(three: Networks) -> None:
    """Of one owner `same` and of the other `distinct` or `part-of`: disputed, with both words, until one gives in."""
    here, there, third = three.registries
    one, two = await mill(here), await mill(there)
    far = (await there.add(name="Maison des Arts", address=BREST))["id"]
    other = await mill(third, name="Filature")

    async def disputed(query: str = "") -> list[Any]:
        return await three.proposals(f"disputed=true{query}")

    await here.claim(one, two)
    await third.claim(other, two, "distinct")
    assert await disputed() == []
    for verdict in ("part-of", "distinct"):
        await there.claim(two, one, verdict)
        (found,) = await disputed()
        assert {found["a"]["record"], found["b"]["record"]} == {one, two}
        assert (found["why"], found["points"]) == ("disputed", sum(f["points"] for f in found["features"]))
        assert {w["network"]: w["verdict"] for w in found["said"]} == {here.node: "same", there.node: verdict}
    assert {one, two} not in await three.pairs()
    await there.claim(far, one)
    await here.claim(one, far, "contests", statement="Ce n'est pas nous.")
    assert len(await disputed()) == 1
    await here.claim(one, far, "distinct")
    assert [p["points"] is None for p in await disputed()] == [False, True]
    assert await disputed(f"&network={third.node}") == []
    assert len(await disputed(f"&network={here.node}")) == len(await disputed(f"&record={one}")) == 2
    page = await three.sync.get("/proposals?disputed=true&limit=1")
    rest = await three.sync.get(f"/proposals?disputed=true&limit=1&page={page['next']}")
    assert ([*page["proposals"], *rest["proposals"]], rest["next"]) == (await disputed(), None)
    await here.claim(one, two, "contests", statement="Nous sommes chez nous.")
    assert {far, one} == {record for p in await disputed() for record in (p["a"]["record"], p["b"]["record"])}
    await there.change(two, kind="undisclosed", address={"street": None, "city": "Rennes"})
    await here.claim(one, two)
    assert [(p["points"], p["features"]) for p in await disputed()] == [(None, [])] * 2


async def test_what_another_record_keeps_secret_is_not_told_by_points(three: Networks) -> None:
    """Of a place of which one record is undisclosed, no proposal tells what the others are like."""
    here, there, third = three.registries
    one, two = await mill(here), await mill(there)
    (before,) = await three.proposals()
    assert before["features"]
    secret = (await third.add(name="Filature", kind="undisclosed", address={"city": "Rennes"}))["id"]
    await third.claim(secret, one)
    await here.claim(one, secret)
    (after,) = await three.proposals()
    assert {after["a"]["record"], after["b"]["record"]} == {one, two}
    assert (after["points"], after["features"], after["why"]) == (None, [], "close")
