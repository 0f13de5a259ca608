"""Why the records of a place are one: what ties them, and how alike they are, as far as that may be told."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from services.sync import merge, trial
from services.sync.explaining import Alike, Tie, explained
from services.sync.merge import Record, Said
from services.sync.records import Pair
from services.sync.ties import connected
from tests.conftest import Federation
from tests.sync.proposing import BREST, RENNES, UNREACHED, networks
from tests.sync.test_joining import JOIN, PROPOSE, SURE
from tests.sync.test_merge import (
    POLICY,
    A,
    B,
    C,
    Given,
    Points,
    both,
    drawn_points,
    federation,
    gone,
    place,
    read,
    record,
    say,
)

a, b, c = (record(node, 1) for node in (A, B, C))
a2, b2 = record(A, 2), record(B, 2)
SEEN = (("name", "same", 100),)


def whys(
    records: Sequence[Record], claims: Sequence[Said], points: Points
) -> dict[frozenset[str], list[Tie]]:
    """What ties each place of some records, from what the merge keeps."""
    known = {r.id: r for r in records}
    found = merge.clusters(records, claims, Given(known, points, POLICY))
    kept = {p: Alike(much, SEEN, found.left.get(p)) for p, much in points.items() if much is not None}
    places = [(members, frozenset(r.id for r in members)) for members in found.clusters]
    return {
        ids: explained(members, claims, {p: k for p, k in kept.items() if ids.issuperset(p)}, POLICY.matching)
        for members, ids in places
    }


def ties(records: Sequence[Record], claims: Sequence[Said], points: Points) -> Mapping[Pair, Tie]:
    """What ties records that are one place, by pairs."""
    (found,) = whys(records, claims, points).values()
    return {tie.pair: tie for tie in found}


def test_what_ties_a_place_connects_its_records() -> None:
    """Of drawn federations each place is explained whole: its ties connect all of its records, and no other."""
    seen: Counter[str] = Counter()
    for seed in range(400):
        drawn = federation(random.Random(seed), 12)
        for ids, found in whys(*read(drawn), drawn_points(drawn[0])).items():
            assert connected(tie.pair for tie in found) == ([ids] if len(ids) > 1 else [])
            seen.update(tie.by for tie in found)
            seen["places"] += len(ids) > 1
    assert min(seen[by] for by in ("claim", "successor", "copy", "points", "lifted", "places")) > 10, seen


def test_each_tie_has_its_name() -> None:
    """Claims of the owners before copies, copies before likeness; one owner's word is named where it was needed."""
    pair, sure, near = (a.id, b.id), {(a.id, b.id): SURE}, {(a.id, b.id): PROPOSE}
    copy = replace(b, place=place(origin={"system": "copie", "id": a.id}))
    old = gone(A, 2, successor=a.id)
    moved = gone(C, 1, successor=a.id)
    assert ties([a, b], [], sure)[pair] == Tie(pair, "points", (), Alike(SURE, SEEN))
    assert ties([a, b], [say(A, "same", a, b)], near)[pair] == Tie(pair, "lifted", (A,), Alike(PROPOSE, SEEN))
    assert ties([a, b], [say(A, "same", a, b)], sure)[pair].by == "points"
    assert ties([a, b], both("same", a, b), sure)[pair] == Tie(pair, "claim", (A, B), Alike(SURE, SEEN))
    assert ties([a, b], both("same", a, b), {})[pair] == Tie(pair, "claim", (A, B), None)
    assert ties([a, copy], [], sure)[pair].by == "copy"
    assert ties([a, a2], [say(A, "same", a2, a)], {})[a.id, a2.id].said == (A,)
    assert ties([a, old], [], {})[a.id, old.id] == Tie((a.id, old.id), "successor", (), None)
    assert ties([a, moved], [], {})[a.id, moved.id].by == "successor"
    assert ties([a], [], {}) == {}


def test_what_was_not_sure_is_no_tie() -> None:
    """A pair of one place that others connect is no tie where it is not alike enough, or not the only one to fit."""
    through = {(a.id, c.id): SURE + 1, (b.id, c.id): SURE}
    assert ties([a, b, c], [], {**through, (a.id, b.id): JOIN - 1}).keys() == through.keys()
    assert ties([a, b, c], [], {**through, (a.id, b.id): JOIN}).keys() == {*through, (a.id, b.id)}
    several = {**through, (a.id, b.id): JOIN, (a.id, b2.id): JOIN}
    found = whys([a, b, c, b2], [], several)
    assert {tie.pair for tie in found[frozenset((a.id, b.id, c.id))]} == through.keys()


def test_what_may_not_be_told_is_not() -> None:
    """Of a record that asks first, no pair is told how alike it is; of a place with an undisclosed one, none at all."""
    points = {(a.id, b.id): SURE, (a.id, c.id): SURE, (b.id, c.id): SURE}
    claims = [*both("same", a, b), *both("same", b, c)]

    def shown(*records: Record) -> set[Pair]:
        found = ties(records, claims, points)
        assert found.keys() >= {(a.id, b.id), (b.id, c.id)}
        return {pair for pair, tie in found.items() if tie.alike is not None}

    assert shown(a, b, c) == points.keys()
    assert shown(a, b, replace(c, place=place(join="claims"))) == {(a.id, b.id)}
    assert shown(a, b, replace(c, place=place(kind="undisclosed"))) == set()


def test_pairs_of_one_place_are_not_left_open() -> None:
    """What a trial counts as open are pairs that are alike in two places; whatever ties them, is not open."""
    matching = replace(POLICY.matching, join=UNREACHED)
    alike = [replace(r, place=place(name="La Filature", address=RENNES)) for r in (a, b, c)]
    claims = [*both("same", a, b), *both("same", b, c)]
    cautious = replace(POLICY, matching=matching)
    assert [trial.outcome(alike, said, cautious).open for said in ([], claims[:2], claims)] == [3, 2, 0]


async def test_a_place_tells_what_made_it_one(federation: Federation) -> None:
    """Joined unasked, it tells by which features; a licence shows ties of its own records; the past knows of none."""
    here, there = await federation.registry(), await federation.registry()
    sync = await federation.sync([here, there])
    said = {"name": "La Filature du Pont Rouge", "address": RENNES, "phone": "+33299000001"}
    one = (await here.add(**said, license="CC0-1.0"))["id"]
    two = (await there.add(**said, license="ODbL-1.0"))["id"]
    alone = (await here.add(name="Maison des Arts", address=BREST))["id"]
    await sync.caught_up([here, there])
    digest = await sync.digest()
    whole = await sync.get(f"/places/{two}")
    (link,) = whole["links"]
    assert [link["a"], link["b"]] == sorted((one, two))
    assert (link["by"], link["said"]) == ("points", [])
    assert link["points"] == sum(f["points"] for f in link["features"]) >= JOIN
    assert {f["feature"]: f["level"] for f in link["features"]}["phone"] == "same"
    assert (await sync.get(f"/places/{alone}"))["links"] == []
    assert (await sync.get(f"/places/{one}?voice={here.node}"))["links"] == [link]
    assert (await sync.get(f"/places/{one}?license=CC0-1.0,ODbL-1.0"))["links"] == [link]
    assert (await sync.get(f"/places/{one}?license=CC0-1.0"))["links"] == []
    assert "links" not in await sync.get(f"/places/{one}?as_of=2099-01-01")
    assert (await sync.digest())["view_root"] == digest["view_root"]


async def test_whoever_does_not_disclose_is_not_given_away(federation: Federation, tmp_path: Path) -> None:
    """What a proposal told is told of the place as well, until a record is undisclosed; under every licence then."""
    three = await networks(federation, 3, tmp_path)
    here, there, third = three.registries
    said = {"name": "La Filature du Pont Rouge", "address": RENNES, "license": "CC0-1.0"}
    one, two = (await here.add(**said))["id"], (await there.add(**said))["id"]
    (asked,) = await three.proposals()
    await here.claim(one, two)
    assert await three.proposals() == []
    (link,) = (await three.sync.get(f"/places/{one}"))["links"]
    assert (link["by"], link["said"]) == ("lifted", [{"network": here.node, "verdict": "same"}])
    assert (link["points"], link["features"]) == (asked["points"], asked["features"])
    hidden = (await third.add(name="Filature", kind="undisclosed", address={"city": "Rennes"}))["id"]
    await third.claim(hidden, one)
    await here.claim(one, hidden)
    # Nobody is joined unasked with what is joined with a secret.
    await three.sync.caught_up(three.registries)
    assert [link["b"] for link in (await three.sync.get(f"/places/{two}"))["links"]] == []
    await there.claim(two, one)
    await three.sync.caught_up(three.registries)
    for query, count in (("", 2), ("?license=CC0-1.0", 1)):
        links = (await three.sync.get(f"/places/{one}{query}"))["links"]
        assert [link["by"] for link in links] == ["claim"] * count
        assert all(link["points"] is None and link["features"] == [] for link in links), query
