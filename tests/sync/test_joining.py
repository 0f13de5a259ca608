"""What joins two records, and what keeps them apart: rule by rule, and on the real lists of eleven networks."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import permutations
from typing import Any

import msgspec
from msgspec.structs import replace

from demo import sample
from schemas.view import View
from services.sync import merge
from services.sync.clusters import Clustering
from services.sync.merge import Record, Said
from services.sync.records import owner
from tests.federation.test_agreement import REAL
from tests.sync.test_merge import (
    EARLY,
    NEITHER,
    POLICY,
    RULES,
    A,
    B,
    C,
    D,
    Given,
    Points,
    both,
    gone,
    parts,
    place,
    record,
    say,
)

JOIN, PROPOSE, MARGIN, APART = RULES["join"], RULES["propose"], RULES["margin"], RULES["apart"]
SURE = JOIN + 5 * MARGIN


def groups(*found: Sequence[Record]) -> set[frozenset[str]]:
    """Clusters as sets of ids."""
    return {frozenset(r.id for r in members) for members in found}


def clustering(records: Sequence[Record], claims: Sequence[Said], points: Points) -> Clustering:
    """Clusters, and why pairs are left."""
    known = {r.id: r for r in records}
    return merge.clusters(records, claims, Given(known, points, POLICY))


a, b, c, d = (record(node, 1) for node in (A, B, C, D))
a2, b2, c2 = (record(node, 2) for node in (A, B, C))


def test_the_threshold_joins_and_one_point_less_proposes() -> None:
    """From the threshold on two records are one place without a word; below it they are asked about."""
    assert parts([a, b], [], {(a.id, b.id): JOIN}) == groups([a, b])
    left = clustering([a, b], [], {(a.id, b.id): JOIN - 1})
    assert (len(left.clusters), left.left) == (2, {(a.id, b.id): "close"})
    assert clustering([a, b], [], {(a.id, b.id): PROPOSE - 1}).left == {}


def test_two_records_of_one_network_are_never_joined_unasked() -> None:
    """However alike: the network knows its own places."""
    assert parts([a, a2], [], {(a.id, a2.id): SURE}) == groups([a], [a2])


def test_an_umbrella_that_fits_several_is_left_to_people() -> None:
    """Where two of a network fit within the margin neither is joined; one point further the better one is."""
    near = {(a.id, b.id): SURE, (a.id, b2.id): SURE - MARGIN + 1}
    found = clustering([a, b, b2], [], near)
    assert len(found.clusters) == 3
    assert set(found.left.values()) == {"several"}
    clear = {(a.id, b.id): SURE, (a.id, b2.id): SURE - MARGIN}
    assert parts([a, b, b2], [], clear) == groups([a, b], [b2])


def test_what_owners_joined_counts_as_one() -> None:
    """Two records that their network says are one are no rivals."""
    points = {(a.id, b.id): SURE, (a.id, b2.id): SURE}
    assert parts([a, b, b2], [say(B, "same", b, b2)], points) == groups([a, b, b2])


def test_who_says_distinct_ends_the_rivalry() -> None:
    """An owner who keeps one of two apart leaves the other as the best."""
    points = {(a.id, b.id): SURE, (a.id, b2.id): SURE}
    distinct = say(A, "distinct", a, b2)
    assert parts([a, b, b2], [distinct], points) == groups([a, b], [b2])
    assert parts([a, b, b2], [distinct, say(B, "same", b2, a)], points) == groups([a, b], [b2])


def test_one_word_lifts_what_is_alike_and_nothing_else() -> None:
    """One owner's `same` joins a pair from the lower threshold on; silence is not consent below it."""
    said = [say(A, "same", a, b)]
    assert parts([a, b], said, {(a.id, b.id): PROPOSE}) == groups([a, b])
    assert parts([a, b], said, {(a.id, b.id): PROPOSE - 1}) == groups([a], [b])
    assert parts([a, b], said, {(a.id, b.id): None}) == groups([a], [b])
    assert parts([a, b], [say(C, "same", a, b)], {(a.id, b.id): PROPOSE}) == groups([a], [b])
    assert parts([a, b], [*said, say(B, "distinct", b, a)], {(a.id, b.id): PROPOSE}) == groups([a], [b])


def test_who_wants_to_be_asked_is_asked() -> None:
    """`join: claims` waits for the word of its own network; the other network's alone changes nothing."""
    asks = replace(a, place=place(join="claims"))
    points = {(a.id, b.id): SURE}
    assert parts([asks, b], [], points) == groups([asks], [b])
    assert parts([asks, b], [say(B, "same", b, asks)], points) == groups([asks], [b])
    assert parts([asks, b], [say(A, "same", asks, b)], points) == groups([asks, b])


def test_a_secret_place_is_joined_by_both_owners_only() -> None:
    """An undisclosed place is never joined by likeness, by one word, or as what somebody copied."""
    secret = replace(a, place=place(kind="undisclosed"))
    copy = replace(b, place=place(origin={"system": "copie", "id": secret.id}))
    points = {(a.id, b.id): SURE}
    for claims in ([], [say(A, "same", secret, copy)], [say(B, "same", copy, secret)]):
        assert parts([secret, copy], claims, points) == groups([secret], [copy])
    assert parts([secret, copy], both("same", secret, copy), points) == groups([secret, copy])


def test_a_copy_joins_what_it_was_copied_from() -> None:
    """`origin` joins without a score, as far as no owner objects and the original is there and open to it."""
    copy = replace(b, place=place(origin={"system": "annuaire", "id": a.id}))
    assert parts([a, copy], [], {}) == groups([a, copy])
    assert parts([a, copy], [say(A, "distinct", a, copy)], {}) == groups([a], [copy])
    asks = replace(a, place=place(join="claims"))
    assert parts([asks, copy], [], {}) == groups([asks], [copy])
    assert parts([gone(A, 1), copy], [], {}) == groups([gone(A, 1)], [copy])


def test_a_copy_with_words_of_its_own_is_compared_like_any_other() -> None:
    """Who says that people checked it speaks for itself, and nobody is joined unscored with what speaks."""
    origin = {"system": "annuaire", "id": a.id}
    checked = replace(b, place=place(origin=origin, verified_by="place", verified_on="2026-03-01"))
    assert parts([a, checked], [], {}) == groups([a], [checked])
    assert parts([a, checked], [], {(a.id, b.id): SURE}) == groups([a, checked])


def test_a_secret_brought_along_joins_nobody() -> None:
    """Who joins her open record with an undisclosed one hides no other network's place by it."""
    secret = replace(record(B, 2), place=place(kind="undisclosed"))
    mine, points = both("same", b, secret), {(a.id, b.id): SURE}
    assert parts([a, b, secret], [], points) == groups([a, b], [secret])
    assert parts([a, b, secret], mine, points) == groups([a], [b, secret])
    copy = replace(b, place=place(origin={"system": "annuaire", "id": a.id}))
    assert parts([a, copy, secret], mine, {}) == groups([a], [copy, secret])
    wish = [*mine, say(B, "same", b, a)]
    assert parts([a, b, secret], wish, points) == groups([a], [b, secret])
    assert parts([a, b, secret], [*mine, *both("same", a, b)], points) == groups([a, b, secret])


def test_too_unlike_to_stand_together() -> None:
    """Two that fit a third are not joined through it where they are too unlike each other; their owners may."""
    points = {(a.id, b.id): SURE + 1, (b.id, c.id): SURE, (a.id, c.id): APART - 1}
    found = clustering([a, b, c], [], points)
    # Of the two, who has no say in the pair that comes last steps aside.
    assert (groups(*found.clusters), found.left) == (groups([a], [b, c]), {(a.id, b.id): "aside"})
    assert parts([a, b, c], [], {**points, (a.id, c.id): APART}) == groups([a, b, c])
    assert parts([a, b, c], [], {**points, (a.id, c.id): None}) != groups([a, b, c])
    claims = [*both("same", a, b), *both("same", b, c)]
    assert parts([a, b, c], claims, points) == groups([a, b, c])


def test_third_parties_split_nobody() -> None:
    """Records of a network that owns neither end cannot keep a pair apart: they step aside."""
    first, second = record(C, 1), record(C, 2)
    points = {
        (a.id, first.id): SURE + 20,
        (b.id, second.id): SURE + 20,
        (a.id, b.id): SURE,
        (a.id, second.id): SURE - MARGIN,
        (b.id, first.id): SURE - MARGIN,
    }
    found = clustering([a, b, first, second], [], points)
    assert groups(*found.clusters) == groups([a, b], [first], [second])
    assert found.left[a.id, first.id] == "aside"


def test_whom_owners_joined_is_no_third_party() -> None:
    """What nobody asked for sets aside no record that owners joined with either end: claims come first."""
    mutual = both("same", a, b)
    unlike: Points = {(a.id, c.id): SURE, (b.id, c.id): APART - 1}
    assert parts([a, b, c], mutual, unlike) == groups([a, b], [c])
    # Else another would take the place of the one that is set aside: be it a record of its own network,
    better: Points = {**unlike, (a.id, b2.id): SURE + 1}
    assert parts([a, b, b2, c], mutual, better) == groups([a, b], [b2], [c])
    # or one whose network wants it out.
    other: Points = {**unlike, (a.id, d.id): SURE + 1}
    assert parts([a, b, c, d], [*mutual, say(D, "distinct", d, b)], other) == groups([a, b], [c], [d])
    copy = replace(c, place=place(origin={"system": "annuaire", "id": a.id}))
    assert parts([a, b, copy], [*mutual, say(B, "distinct", b, copy)], {}) == groups([a, b], [copy])


def test_points_decide_before_ids() -> None:
    """Of two of one network that reach a pair through others, the better pair is joined first."""
    points = {(a.id, b.id): SURE, (b.id, c.id): SURE + 1, (a.id, c.id): NEITHER, (a2.id, c.id): SURE + 2}
    assert parts([a, a2, b, c], [], points) == groups([a2, b, c], [a])
    swapped = {**points, (a2.id, c.id): SURE - 1}
    assert frozenset({a.id, b.id, c.id}) in parts([a, a2, b, c], [], swapped)


def test_all_orders_of_two_networks_and_a_hostile_third() -> None:
    """One-sided, mutual, distinct, withdrawn, in all 24 orders: the same end, and nobody else's place moves."""
    steps: dict[str, tuple[list[Said], list[Said]]] = {
        "one-sided": ([say(A, "same", a, b)], []),
        "mutual": ([say(B, "same", b, a)], []),
        "distinct": ([say(A, "distinct", a2, b)], []),
        "withdrawn": ([], [say(A, "same", a, b2)]),
    }
    hostile = [
        say(C, "distinct", c, a),
        say(C, "distinct", c, b),
        say(C, "distinct", a, b),
        say(C, "same", c2, d),
    ]
    points = {(a.id, b.id): PROPOSE, (a.id, c.id): SURE, (c2.id, d.id): PROPOSE - 1, (b2.id, d.id): SURE}
    bystanders = frozenset({b2.id, d.id})
    ends = set()
    for order in permutations(steps):
        said = {say(A, "same", a, b2), *hostile}
        for step in order:
            more, less = steps[step]
            said = (said | set(more)) - set(less)
            now = parts([a, a2, b, b2, c, c2, d], sorted(said, key=repr), points)
            assert bystanders in now
        ends.add(frozenset(now))
    assert len(ends) == 1
    assert frozenset({a.id, b.id}) in next(iter(ends))


def test_a_tie_leads_no_network_systematically() -> None:
    """Among ten thousand places of three equal voices each network leads a third: chi-square with two degrees."""
    chance, led = random.Random(11), Counter[str]()
    for _ in range(10_000):
        uuid = f"01900000-{chance.randrange(1 << 16):04x}-7000-8000-{chance.randrange(1 << 48):012x}"
        members = [
            Record(f"{node}:{uuid[:-1]}{n}", 1, "00" * 32, EARLY, place(name=f"Hub {node[0]}"))
            for n, node in enumerate(chance.sample((A, B, C), 3))
        ]
        view = merge.merged(members, [])
        assert view is not None
        assert view.fields["name"].rule == "draw"
        led[str(view.fields["name"].network)] += 1
    expected = 10_000 / 3
    # One in a thousand fair draws is further off.
    assert sum((n - expected) ** 2 / expected for n in led.values()) < 13.8


# --- the real lists --------------------------------------------------------------------------------------


def real_records() -> list[Record]:
    """The places of the eleven networks, each list under a node of its own; without them, the demo's."""
    if not REAL.exists():
        return [
            found for number, network in enumerate(sample.networks(11)) for found in _made(number, network)
        ]
    return [
        found
        for number, file in enumerate(sorted(REAL.glob("*.jsonl")))
        for found in _read(number, file.read_text())
    ]


def enough(real: int, invented: int) -> int:
    """How many there have to be, so that the test shows something: of the lists that are read."""
    return real if REAL.exists() else invented


def _made(number: int, network: sample.Network) -> Iterator[Record]:
    node = chr(ord("a") + number) * 26
    for line, said in enumerate(sample.places(network)):
        digest = sha256(f"{node} {line}".encode()).hexdigest()
        id = f"{node}:01900000-{line:04x}-7000-8000-{digest[:12]}"
        yield Record(id, 1, digest, EARLY, msgspec.convert(said, type(place())))


def _read(number: int, text: str) -> Iterator[Record]:
    node = chr(ord("a") + number) * 26
    for line, row in enumerate(map(json.loads, text.splitlines())):
        address = {
            "street": row["street"],
            "postcode": row["postcode"],
            "city": row["city"],
            "insee": row["insee"],
        }
        said: dict[str, Any] = {
            "name": (row["name"] or "")[:200],
            "status": "open",
            "address": {k: v for k, v in address.items() if v},
            "website": row["website"],
            "phone": row["phone"],
        }
        if row["lat"] is not None:
            said["position"] = {"lat": row["lat"], "lon": row["lon"]}
        try:
            found = msgspec.convert(said, type(place()), strict=False)
        except msgspec.ValidationError:
            continue
        digest = sha256(f"{node} {row['id']}".encode()).hexdigest()
        id = f"{node}:01900000-{line:04x}-7000-8000-{digest[:12]}"
        yield Record(id, 1, digest, EARLY, found)


def view_of(records: Sequence[Record]) -> dict[str, bytes]:
    """The view from scratch."""
    return {id: merge.view_bytes(view) for id, view in places_of(records).items()}


def places_of(records: Sequence[Record]) -> dict[str, View]:
    """The places of the view from scratch, by common id."""
    return merge.views(merge.batch(records, []).clusters, [])


def test_the_tests_that_rivals_fail_on_real_lists() -> None:
    """Shuffled, half a year later: not one byte differs but the times, and a good many are one place with others."""
    records = real_records()
    assert len(records) > enough(2300, 800)
    view = view_of(records)
    together = Counter(len(msgspec.json.decode(body, type=View).networks) for body in view.values())
    assert together[2] > enough(100, 50)
    shuffled = random.Random(3).sample(records, len(records))
    assert view_of(shuffled) == view
    later = [replace(r, time=r.time.replace("-03-", "-09-")) for r in records]
    moved = {id: msgspec.json.decode(body)["fields"] for id, body in view_of(later).items()}
    assert moved == {id: msgspec.json.decode(body)["fields"] for id, body in view.items()}


def test_a_network_that_leaves_moves_its_own_only() -> None:
    """Whichever leaves: others' places keep every byte, those it shared their other members and their elder's id."""
    records = real_records()
    view, known, seen = places_of(records), {r.id: r for r in records}, Counter[str]()
    for node in sorted({owner(r.id) for r in records}):
        left = places_of([r for r in records if owner(r.id) != node])
        home = {alias: place.id for place in left.values() for alias in place.aliases}
        expected: dict[str, str] = {}
        for whole in view.values():
            stay = tuple(alias for alias in whole.aliases if owner(alias) != node)
            if stay == whole.aliases:
                assert left.get(whole.id) == whole
            if not stay:
                assert whole.id not in home
                continue
            # The elder of those that stay: no other id than one that was an alias already.
            expected |= dict.fromkeys(stay, merge.common_id([known[alias] for alias in stay]))
            seen["of three networks"] += len(whole.networks) == 3 and len(stay) > 1 and node in whole.networks
            seen["elder stays"] += stay != whole.aliases and whole.id in stay
            seen["elder leaves"] += whole.id not in stay
            assert (expected[stay[0]] == whole.id) is (whole.id in stay)
        assert home == expected
    assert seen["of three networks"] >= enough(11, 0)
    assert min(seen["elder stays"], seen["elder leaves"]) > enough(300, 50), seen


def test_a_network_that_takes_its_list_back_moves_no_more_than_one_that_leaves() -> None:
    """Without successors its records tie nothing; where it names who takes its place, not even an id moves."""
    records = real_records()
    view = places_of(records)
    elders = Counter(owner(place.id) for place in view.values() if len(place.networks) > 1)
    ((node, most),) = elders.most_common(1)
    assert most > enough(100, 10)
    stay = {id: [a for a in place.aliases if owner(a) != node] for id, place in view.items()}
    heirs = {a: stay[id][0] for id, place in view.items() for a in place.aliases if stay[id]}
    others = [r for r in records if owner(r.id) != node]
    mine = [replace(r, version=2, place=None) for r in records if owner(r.id) == node]
    assert places_of([*others, *mine]) == places_of(others)
    told = places_of([*others, *(replace(r, successor=heirs.get(r.id)) for r in mine)])
    assert {id: place.aliases for id, place in told.items()} == {
        id: view[id].aliases for id, aliases in stay.items() if aliases
    }
    assert not any(node in place.networks for place in told.values())
