"""Claims ("avis"): what a network says of how its records and others' relate."""

import asyncio
from typing import Any

from uuid_utils import uuid7

from tests.nodes import Registry

STRANGER = "b" * 26


def foreign() -> str:
    """The id of a record of another network."""
    return f"{STRANGER}:{uuid7()}"


async def say(registry: Registry, **claim: Any) -> tuple[int, Any, Any]:
    """What POST /claims answers."""
    return await registry.call("POST", "/claims", json=claim)


async def test_a_claim_is_a_record_of_its_own(registry: Registry) -> None:
    """A claim has an id, a version, an address and an event; it may be about a record nobody here knows."""
    place = await registry.add()
    claim = {"a": place["id"], "b": foreign(), "verdict": "same"}
    status, said, headers = await say(registry, **claim)
    assert (status, said["claim"], said["version"], headers["ETag"]) == (201, claim, 1, '"1"')
    assert headers["Location"] == f"/claims/{said['id'][27:]}"
    shown = await registry.get(headers["Location"])
    assert shown == said
    assert (await registry.get(f"/claims/{said['id']}")) == said
    event = (await registry.feed())[-1]
    assert (event["type"], event["subject"], event["data"]) == (
        "org.maillage.claim.put.v1",
        said["id"],
        claim,
    )


async def test_the_latest_word_on_a_pair_counts(registry: Registry) -> None:
    """Saying another verdict of the same pair, in either order, is the next version; the same is no event."""
    one, two = await registry.add(), await registry.add()
    _, first, _ = await say(registry, a=one["id"], b=two["id"], verdict="same")
    status, again, _ = await say(registry, a=one["id"], b=two["id"], verdict="same")
    assert (status, again) == (200, first)
    status, other, headers = await say(registry, a=two["id"], b=one["id"], verdict="part-of")
    assert (status, other["id"], other["version"], headers["ETag"]) == (200, first["id"], 2, '"2"')
    assert len(await registry.feed()) == 4
    answers = await asyncio.gather(
        *(say(registry, a=one["id"], b=foreign(), verdict="distinct") for _ in range(5)),
        *(say(registry, a=one["id"], b=f"{STRANGER}:{first['id'][27:]}", verdict="same") for _ in range(9)),
    )
    assert sorted(status for status, _, _ in answers) == [200] * 8 + [201] * 6


async def test_a_claim_is_taken_back_and_said_again(registry: Registry) -> None:
    """DELETE leaves a tombstone, 410 from then on; the same pair later comes back under the same id."""
    place = await registry.add()
    b = foreign()
    _, said, _ = await say(registry, a=place["id"], b=b, verdict="same")
    path = f"/claims/{said['id']}"
    assert (await registry.call("DELETE", path, headers={"If-Match": '"2"'}))[0] == 412
    body = {"reason": "error"}
    status, gone, _ = await registry.call("DELETE", path, json=body, headers={"If-Match": '"1"'})
    assert (status, gone["version"]) == (200, 2)
    for method in ("GET", "DELETE"):
        status, problem, _ = await registry.call(method, path)
        assert (status, problem["reason"]) == (410, "error")
    assert (await registry.get("/claims"))["claims"] == []
    status, back, _ = await say(registry, a=place["id"], b=b, verdict="same")
    assert (status, back["id"], back["version"]) == (200, said["id"], 3)
    assert [e["type"].split(".")[-2] for e in (await registry.feed())[1:]] == ["put", "withdraw", "put"]


async def test_claims_are_listed_by_pages_and_by_record(registry: Registry) -> None:
    """All claims in pages, or those that name one record, on whichever side."""
    one, two = await registry.add(), await registry.add()
    ids = {(await say(registry, a=one["id"], b=foreign(), verdict="same"))[1]["id"] for _ in range(5)}
    third = foreign()
    _, other, _ = await say(registry, a=two["id"], b=third, verdict="distinct")
    seen: list[str] = []
    page = await registry.get("/claims?limit=2")
    while True:
        seen += [c["id"] for c in page["claims"]]
        if page["next"] is None:
            break
        page = await registry.get(f"/claims?limit=2&page={page['next']}")
    assert len(seen) == 6
    assert set(seen) == ids | {other["id"]}
    assert [c["id"] for c in (await registry.get(f"/claims?record={third}"))["claims"]] == [other["id"]]
    assert {c["id"] for c in (await registry.get(f"/claims?record={one['id']}"))["claims"]} == ids
    assert (await registry.get(f"/claims?record={foreign()}"))["claims"] == []


async def test_a_claim_starts_from_an_own_place(registry: Registry) -> None:
    """About somebody else's records, an unknown place, itself, or nothing in particular, nothing is said."""
    place = await registry.add()
    a = place["id"]
    unknown = f"{registry.node}:{uuid7()}"
    for claim, pointers in (
        ({"a": foreign(), "b": foreign(), "verdict": "same"}, ["/a"]),
        ({"a": unknown, "b": foreign(), "verdict": "same"}, ["/a"]),
        ({"a": a, "b": a, "verdict": "same"}, ["/b"]),
        ({"a": a, "b": unknown, "verdict": "same"}, ["/b"]),
        ({"a": a, "b": foreign(), "verdict": "contests"}, ["/statement"]),
        ({"a": a, "b": foreign(), "verdict": "perhaps"}, ["/verdict"]),
        ({"a": a[27:], "b": foreign(), "verdict": "same"}, ["/a"]),
        ({"a": a, "b": foreign(), "verdict": "same", "statement": "x" * 281}, ["/statement"]),
        ({"a": a, "b": foreign(), "verdict": "same", "why": "x"}, ["/why"]),
        ({"a": foreign(), "verdict": "contests"}, ["/b"]),
    ):
        status, problem, _ = await say(registry, **claim)
        assert (status, [e["pointer"] for e in problem["errors"]]) == (422, pointers), claim
    status, _, _ = await say(registry, a=a, b=foreign(), verdict="contests", statement="Nous sommes ouverts.")
    assert status == 201
    assert len(await registry.feed()) == 2


async def test_a_claim_is_found_only_where_claims_are(registry: Registry) -> None:
    """The id of a claim is no place and no area, and the other way round."""
    place = await registry.add()
    _, said, _ = await say(registry, a=place["id"], b=foreign(), verdict="same")
    for path in (f"/places/{said['id']}", f"/areas/{said['id']}", f"/claims/{place['id']}"):
        assert (await registry.call("GET", path))[0] == 404
        assert (await registry.call("DELETE", path, headers={"If-Match": "*"}))[0] == 404
    assert len(await registry.feed()) == 2
