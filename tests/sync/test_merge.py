"""The pure merge: the same in every order, equal to an independent oracle, and never vacuously so."""

import functools
import json
import random
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from itertools import combinations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.claim import Claim
from schemas.event import CLAIM_PUT, PLACE_PUT, PLACE_WITHDRAW, Withdrawal
from schemas.place import Place
from schemas.view import View
from services.canonical import jcs
from services.sync import merge, pairing
from services.sync.clusters import Cluster, latest
from services.sync.merge import POLICY, Record, Said, Scores, merged, public, view_bytes
from services.sync.ties import Ties, connected
from tests.sync import oracle

A, B, C, D = (letter * 26 for letter in "abcd")
EARLY, LATE = "2026-03-01T09:00:00Z", "2026-03-02T09:00:00.5Z"
MINTED = 0x0190_0000_0000


def rid(node: str, n: int) -> str:
    """The id of a node's nth record; the nth of all nodes are of one age."""
    return f"{node}:01900000-{n:04x}-7000-8000-{ord(node[0]):012x}"


def place(**said: Any) -> Place:
    """A place as it comes through the door."""
    return msgspec.convert({"name": "Le Hub", "status": "open", **said}, Place)


def record(node: str, n: int, **said: Any) -> Record:
    """A record that is there."""
    return Record(rid(node, n), 1, sha256(rid(node, n).encode()).hexdigest(), EARLY, place(**said))


def gone(node: str, n: int, successor: str | None = None) -> Record:
    """A record that was taken back."""
    return msgspec.structs.replace(record(node, n), version=2, place=None, successor=successor)


def say(who: str, verdict: Any, one: Record, other: Record, statement: str | None = None) -> Said:
    """A claim."""
    return Said(who, one.id, other.id, verdict, statement)


def both(verdict: Any, one: Record, other: Record) -> list[Said]:
    """The same claim by both owners."""
    return [say(one.id[:26], verdict, one, other), say(other.id[:26], verdict, one, other)]


Points = dict[tuple[str, str], int | None]
RULES = {name: getattr(POLICY.matching, name) for name in ("join", "propose", "apart", "margin")}
# Of a pair of which nothing is said: neither alike nor too unlike.
NEITHER = (RULES["apart"] + min(RULES["propose"], RULES["join"] - RULES["margin"])) // 2


class Given(Scores):
    """Points as a test gives them."""

    def _scored(self, a: str, b: str) -> int | None:
        return NEITHER


def clusters(
    records: Sequence[Record], claims: Sequence[Said], points: Points | None = None
) -> list[Cluster]:
    """The clusters, with these points."""
    known = latest(records)
    return merge.clusters(known.values(), claims, Given(known, points or {}, POLICY)).clusters


def parts(records: list[Record], claims: list[Said], points: Points | None = None) -> set[frozenset[str]]:
    """The clusters as sets of ids."""
    return {frozenset(r.id for r in group) for group in clusters(records, claims, points)}


def one_view(members: list[Record], claims: list[Said] | None = None) -> View:
    """The view of records that are there."""
    view = merged(members, claims or [])
    assert view is not None
    return view


def everything(records: list[Record], claims: list[Said], points: Points | None = None) -> dict[str, bytes]:
    """All views, by common id."""
    views = [merged(group, claims) for group in clusters(records, claims, points)]
    return {view.id: view_bytes(view) for view in views if view is not None}


# --- drawn federations -----------------------------------------------------------------------------------

DRAWN: dict[str, list[Any]] = {
    "name": ["Le Hub", "HUB", "  "],
    "status": ["open", "paused", "closed"],
    "kind": ["physical", "itinerant", *["physical"] * 6, "undisclosed"],
    "verified_by": [None, "place", "network", "import"],
    "verified_on": [None, "2025-01-01", "2026-02-01", "2030-01-01"],
    "closed_on": [None, "2025", "2026-01"],
    "website": [None, "https://hub.example/", "hub.example"],
    "families": [[], ["fablab"], ["coworking", "fablab"]],
    "types": [[], ["bzh:ti-lec'h"], ["fr:tiers-lieu"]],
    "identifiers": [[], [{"scheme": "rna", "value": "W35"}], [{"scheme": "siret", "value": "1"}]],
    "position": [
        None,
        {"lat": 0, "lon": 0},
        {"lat": 48.1, "lon": -1.6},
        {"lat": 48.11, "lon": -1.61, "precision": "exact"},
    ],
    "address": [
        None,
        {"city": "Rennes"},
        {"street": "3 rue X", "postcode": "35000"},
        {"street": "rue X", "postcode": "00000"},
    ],
    "join": [None, None, None, "claims"],
    "operator": [None, {}, {"name": "Asso"}, {"name": "Asso", "legal_forms": ["association"]}],
    "surface": [None, {"built_m2": 120.5}],
}


def drawn_points(records: Sequence[dict[str, Any]]) -> Points:
    """Points of pairs of present records of two networks, most of them where the rules change their mind."""
    chance = random.Random("".join(r["id"] for r in records) + str(len(records)))
    join, propose, apart, margin = (RULES[name] for name in ("join", "propose", "apart", "margin"))
    edges = [join - margin, propose, apart, join, join + margin, join + 2 * margin]
    values = [None, *(at + by for at in edges for by in (-1, 0, 1)), *[join + n for n in range(5, 100, 8)]]
    there = sorted(r["id"] for r in records if r["place"] is not None)
    pairs = [(a, b) for a, b in combinations(there, 2) if a[:26] != b[:26]]
    return {pair: chance.choice(values) for pair in pairs if chance.random() < 0.6}


def alike_of(points: Points) -> dict[tuple[str, str], int]:
    """The points of pairs that are no veto."""
    return {pair: much for pair, much in points.items() if much is not None}


def federations(size: int = 8) -> st.SearchStrategy[Any]:
    """Records of four nodes with claims among them, as the oracle reads them.

    Drawn by a seed: what hypothesis draws piece by piece stays too small and too regular to meet the rare cases.
    """

    def drawn(seed: int) -> Any:
        chance = random.Random(seed)
        return federation(chance, chance.randint(2, size))

    return st.integers(0, 2**32).map(drawn)


def federation(chance: random.Random, size: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A random small federation, dense in claims."""
    ids = sorted({rid(chance.choice((A, B, C, D)), chance.randint(1, 4)) for _ in range(size)})
    records = []
    for record_id in ids:
        said = {k: v for k, v in ((k, chance.choice(v)) for k, v in DRAWN.items()) if v is not None}
        if chance.random() < 0.15:
            said["origin"] = {"system": "copie", "id": chance.choice(ids)}
        records.append(
            {
                "id": record_id,
                "version": 1,
                "leaf": sha256(record_id.encode()).hexdigest(),
                "time": chance.choice((EARLY, LATE)),
                "place": said if chance.random() < 0.75 else None,
                "successor": chance.choice([None, *ids]),
                "created": chance.choice((0, MINTED + (2 << 16))),
            }
        )
    claims: dict[tuple[str, frozenset[str]], dict[str, Any]] = {}
    for _ in range(chance.randint(0, 4 * len(ids))):
        a, b = chance.choice(ids), chance.choice(ids)
        verdict = chance.choices(("same", "distinct", "part-of", "contests"), (14, 1, 1, 1))[0]
        for who in {a[:26], b[:26]} if chance.random() < 0.7 else {chance.choice((A, B, C, D))}:
            claims[who, frozenset((a, b))] = {
                "claimant": who,
                "a": a,
                "b": b,
                "verdict": verdict,
                "statement": None,
            }
    return records, list(claims.values())


def read(drawn: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> tuple[list[Record], list[Said]]:
    """A drawn federation as the service reads it."""
    return msgspec.convert(drawn[0], list[Record]), msgspec.convert(drawn[1], list[Said])


@given(federations(size=12))
@settings(max_examples=600, deadline=None)
def test_records_are_joined_as_the_oracle_joins_them(drawn: Any) -> None:
    """What is one place, and under which id, is what an independent reading of the rules finds."""
    points = drawn_points(drawn[0])
    records, claims = read(drawn)
    found = clusters(records, claims, points)
    assert {frozenset(r.id for r in group) for group in found} == oracle.clusters(
        drawn[0], drawn[1], alike_of(points), lambda x, y: points.get((x, y), NEITHER), RULES
    )
    by_id = {r["id"]: r for r in drawn[0]}
    for group in found:
        assert merge.common_id(group) == group[0].id == oracle.elder([by_id[r.id] for r in group])


@given(federations(size=5))
@settings(max_examples=300, deadline=None)
def test_values_are_chosen_as_the_oracle_chooses_them(drawn: Any) -> None:
    """Of all records as one place, each shown value, its voice and the other values are the oracle's."""
    records, _ = read(drawn)
    view = merged(records, [])
    if view is None:
        assert all(r["place"] is None for r in drawn[0])
        return
    expected = oracle.merged(drawn[0])
    assert view.fields.keys() - {"disputed_status"} == expected.keys()
    for name, (value, said_by, others) in expected.items():
        field = view.fields[name]
        said = [a.value for a in field.alternatives]
        assert (field.value, field.record, said) == (value, said_by, others)


@given(federations(), st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_order_and_repeats_change_no_byte(drawn: Any, chance: random.Random) -> None:
    """Records and claims in any order, some twice and some in an older version, give the same bytes."""
    records, claims = read(drawn)
    points = drawn_points(drawn[0])
    expected = everything(records, claims, points)
    older = [msgspec.structs.replace(r, version=0, place=place(name="Avant")) for r in records[::2]]
    again = [*records, *older, *records[::3]]
    chance.shuffle(again)
    mixed = [*claims, *claims[::2]]
    chance.shuffle(mixed)
    assert everything(again, mixed, points) == expected


def tied(known: dict[str, Record], claims: list[Said], scores: Given) -> list[set[str]]:
    """The sets of ids that claims, successors, copies and likeness connect, as `store.neighbours` finds them."""
    ties, least = Ties(known, claims), pairing.least(POLICY.matching)
    alike = (pair for pair, points in scores.alike.items() if points >= least)
    lifted = (pair for pair in ties.wished if (scores.of(*pair) or 0) >= RULES["propose"])
    found = connected(
        p
        for p in (*ties.joined, *ties.copies, *ties.moved, *alike, *lifted)
        if p[0] in known and p[1] in known
    )
    return [*found, *({id} for id in known.keys() - set().union(*found))]


@given(federations(size=12))
@settings(max_examples=150, deadline=None)
def test_a_part_alone_gives_what_the_whole_gives(drawn: Any) -> None:
    """Recomputing only what claims, successors, copies and likeness connect is the same as computing everything."""
    records, claims = read(drawn)
    points = drawn_points(drawn[0])
    whole, piecewise = everything(records, claims, points), {}
    known = {r.id: r for r in records}
    for part in tied(known, claims, Given(known, points, POLICY)):
        mine = [r for r in records if r.id in part]
        inner = {p: much for p, much in points.items() if part.issuperset(p)}
        piecewise |= everything(mine, [s for s in claims if s.a in part or s.b in part], inner)
    assert piecewise == whole


@given(federations())
@settings(max_examples=150, deadline=None)
def test_view_bytes_are_canonical_json(drawn: Any) -> None:
    """The bytes of every view are the RFC 8785 form of what they say, without one float, and read back."""
    records, claims = read(drawn)
    for group in clusters(records, claims):
        if (view := merged(group, claims)) is not None:
            raw = view_bytes(view)
            assert jcs(json.loads(raw, parse_float=pytest.fail)) == raw
            assert msgspec.json.decode(raw, type=View) == view


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_has_one_form(name: str, city: str) -> None:
    """Controls, quotes, emoji and accents in a name or a city leave as RFC 8785 writes them."""
    view = one_view(
        [msgspec.structs.replace(record(A, 1), place=Place(name=name, status="open", summary=city))]
    )
    assert view_bytes(view) == jcs(msgspec.to_builtins(view))


def test_drawn_federations_are_not_empty_of_what_matters() -> None:
    """The federations drawn above hold joins, blocked joins, set-aside records, revived ids and disputes."""
    chance, seen = random.Random(7), Counter[str]()
    for _ in range(1000):
        drawn = federation(chance, 8)
        records, claims = read(drawn)
        found = parts(records, claims)
        by_id = {r["id"]: r for r in drawn[0]}
        for x, y in ((x, y) for x in by_id for y in by_id if x < y):
            together = any({x, y} <= group for group in found)
            accepted = oracle.accepted(by_id, drawn[1], x, y)
            seen["joined"] += accepted and together
            seen["kept apart"] += accepted and not together
            seen["joined through others"] += together and not accepted
        views = [view for group in clusters(records, claims) if (view := merged(group, claims)) is not None]
        seen["disputed"] += sum(bool(view.disputes) for view in views)
        seen["part of another"] += sum(bool(view.part_of) for view in views)
        seen["disputed status"] += sum("disputed_status" in view.fields for view in views)
        seen["id of a withdrawn record"] += sum(
            view.records[[v.record for v in view.records].index(view.id)].withdrawn for view in views
        )
        seen.update(f"rule {field.rule}" for view in views for field in view.fields.values())
    rules = {
        "only",
        "agreed",
        "union",
        "valid",
        "verified-by",
        "verified-on",
        "complete",
        "draw",
        "elder",
        "some-say-closed",
    }
    rare = {what: seen[what] for what in [*seen, *(f"rule {rule}" for rule in rules)] if seen[what] < 20}
    assert not rare


# --- who is one place ------------------------------------------------------------------------------------


def test_silence_is_not_consent() -> None:
    """One owner saying `same` joins nothing; both owners saying it do, whichever way round."""
    a, b = record(A, 1), record(B, 1)
    assert parts([a, b], [say(A, "same", a, b)]) == {frozenset({a.id}), frozenset({b.id})}
    assert parts([a, b], [say(A, "same", a, b), say(B, "same", b, a)]) == {frozenset({a.id, b.id})}


def test_a_third_network_joins_nobody() -> None:
    """A claim by a network that owns neither record counts for nothing, even twice."""
    a, b = record(A, 1), record(B, 1)
    assert len(parts([a, b], [say(A, "same", a, b), say(C, "same", a, b), say(C, "same", b, a)])) == 2


def test_a_network_joins_its_own_two_records_alone() -> None:
    """For two records of one network its own word suffices."""
    a, b = record(A, 1), record(A, 2)
    assert parts([a, b], [say(A, "same", a, b)]) == {frozenset({a.id, b.id})}


@pytest.mark.parametrize("verdict", ["distinct", "part-of"])
def test_owners_who_contradict_each_other_stay_apart(verdict: str) -> None:
    """`distinct` or `part-of` of one owner wins over `same` of the other; both places show both voices."""
    a, b = record(A, 1), record(B, 1)
    claims = [say(A, "same", a, b), say(B, verdict, b, a)]
    assert len(parts([a, b], claims)) == 2
    views = [one_view([a], claims), one_view([b], claims)]
    assert [[(d.network, d.verdict) for d in view.disputes] for view in views] == [
        [(A, "same"), (B, verdict)]
    ] * 2
    assert [view.part_of for view in views] == [(), (a.id,) if verdict == "part-of" else ()]


def test_an_owner_keeps_her_record_out_of_a_group() -> None:
    """`distinct` stands across groups: c does not join b while a's owner or c's says that it is not a."""
    a, b, c = record(A, 1), record(B, 1), record(C, 1)
    ties = both("same", a, b) + both("same", b, c)
    assert len(parts([a, b, c], ties)) == 1
    assert parts([a, b, c], [*ties, say(C, "distinct", a, c)]) == {frozenset({a.id, b.id}), frozenset({c.id})}
    assert parts([a, b, c], [*ties, say(A, "distinct", a, c)]) == {frozenset({b.id, c.id}), frozenset({a.id})}


def test_a_third_party_splits_nobody() -> None:
    """Two records that their owners joined stay joined, though a third one stood first between them."""
    first, a, b = record(A, 1), record(B, 2), record(C, 3)
    ties = both("same", first, b) + both("same", a, b)
    objecting = [*ties, say(A, "distinct", first, a)]
    assert parts([first, a, b], objecting) == {frozenset({a.id, b.id}), frozenset({first.id})}


def test_who_was_set_aside_keeps_her_other_ties() -> None:
    """A record that would have split two others still joins a fourth one that nothing keeps it from."""
    first, a, b, other = record(A, 1), record(B, 2), record(C, 3), record(D, 4)
    ties = both("same", first, a) + both("same", a, b) + both("same", first, other)
    objecting = [*ties, say(A, "distinct", first, b)]
    expected = {frozenset({a.id, b.id}), frozenset({first.id, other.id})}
    assert parts([first, a, b, other], objecting) == expected


def test_only_the_inner_place_says_that_it_lies_in_another() -> None:
    """`part-of` said by the network of the outer record keeps the two apart and links nothing."""
    a, b = record(A, 1), record(B, 1)
    claims = [*both("same", a, b)[:1], say(B, "part-of", a, b)]
    assert len(parts([a, b], claims)) == 2
    assert one_view([a], claims).part_of == ()
    assert one_view([a], [say(A, "part-of", a, b)]).part_of == (b.id,)


def test_two_records_of_a_network_are_not_joined_through_others() -> None:
    """Two records of one network stay two, unless that network itself says that they are one."""
    a, b, twin = record(A, 1), record(B, 2), record(A, 3)
    ties = both("same", a, b) + both("same", twin, b)
    assert parts([a, b, twin], ties) == {frozenset({a.id, b.id}), frozenset({twin.id})}
    assert one_view([twin], ties).disputes
    assert len(parts([a, b, twin], [*ties, say(A, "same", a, twin)])) == 1
    assert len(parts([gone(A, 1), b, twin], ties)) == 1


def test_a_withdrawn_record_keeps_its_id_alive() -> None:
    """A withdrawn elder stays the id of the place while `same` or its successor ties it in, voiceless."""
    old, kept, other = gone(A, 1), record(A, 2, name="Gardé"), record(B, 3, name="Autre")
    heir = gone(A, 1, successor=kept.id)
    for members, claims in (([old, other], both("same", old, other)), ([heir, kept], [])):
        (group,) = clusters(members, claims)
        view = one_view(list(group), claims)
        assert view.id == old.id
        assert view.networks == (members[1].id[:26],)
        assert [v.withdrawn for v in view.records] == [True, False]
        assert {f.record for f in view.fields.values()} <= {members[1].id, None}
    assert len(parts([old, kept], [])) == 2


def test_a_withdrawal_moves_no_other_record() -> None:
    """A record between two others holds them together under the same id after it was taken back."""
    a, b, c = record(A, 2), record(B, 1), record(C, 3)
    ties = both("same", a, b) + both("same", b, c)
    assert parts([a, b, c], ties) == parts([a, gone(B, 1), c], ties) == {frozenset({a.id, b.id, c.id})}
    assert one_view([a, gone(B, 1), c], ties).id == b.id


def test_a_successor_elsewhere_joins_no_two_places() -> None:
    """A withdrawn record may go to another network's place, but does not take a third one with it."""
    a, c = record(A, 1), record(C, 3)
    moved = gone(B, 2, successor=c.id)
    assert parts([moved, c], []) == {frozenset({moved.id, c.id})}
    assert parts([moved, c], [say(C, "distinct", c, moved)]) == {frozenset({moved.id}), frozenset({c.id})}
    ties = both("same", a, moved)
    assert parts([a, moved, c], ties) == {frozenset({a.id, moved.id}), frozenset({c.id})}


def test_only_withdrawn_records_make_no_place() -> None:
    """When all its records were taken back, a place is no longer in the view."""
    assert merged([gone(A, 1), gone(B, 2)], []) is None


def test_nobody_becomes_the_elder_by_an_invented_id() -> None:
    """An id older than its own node sorts last; otherwise the smaller UUID is the elder."""
    early, late = record(B, 1), record(A, 2)
    assert merge.common_id([late, early]) == early.id
    invented = msgspec.structs.replace(early, created=MINTED + (2 << 16))
    assert merge.common_id([late, invented]) == late.id


def test_a_place_answers_a_voice() -> None:
    """A `contests` of a record's own network is shown with its statement at both places; others' are not."""
    a, b = record(A, 1), record(B, 1)
    claims = [say(A, "contests", a, b, "Nous n'avons pas fermé."), say(C, "contests", a, b, "Si.")]
    assert [d.statement for d in one_view([b], claims).disputes] == ["Nous n'avons pas fermé."]
    assert one_view([b], [say(B, "contests", a, b, "Pas le mien.")]).disputes == ()
    assert one_view([a], claims).disputes == one_view([b], claims).disputes
    assert len(parts([a, b], claims)) == 2
    many = [say(A, "contests", record(A, n), b, f"Non, {n}.") for n in range(1, 50)]
    assert [d.statement for d in one_view([b], many).disputes] == ["Non, 1."]


# --- one value per field ---------------------------------------------------------------------------------


def winner(field: str, one: dict[str, Any], other: dict[str, Any]) -> tuple[Any, str]:
    """The value and the rule of a field, of two records of two networks."""
    shown = one_view([record(A, 1, **one), record(B, 2, **other)]).fields[field]
    return shown.value, shown.rule


def test_the_place_itself_goes_before_its_network_and_an_import() -> None:
    """Who checked goes before when; when goes before how completely."""
    by = [
        {"name": n, "verified_by": n, "verified_on": d}
        for n, d in (("place", "2020-01-01"), ("network", "2026-01-01"))
    ]
    assert winner("name", *by) == winner("name", *by[::-1]) == ("place", "verified-by")
    on = [{"name": d, "verified_by": "place", "verified_on": d} for d in ("2024-12-31", "2025-01-01")]
    assert winner("name", *on) == winner("name", *on[::-1]) == ("2025-01-01", "verified-on")


def test_a_date_ahead_of_its_event_counts_for_nothing() -> None:
    """Nobody wins by a check in the future, and it is not shown."""
    future = {"name": "demain", "verified_by": "place", "verified_on": "2030-01-01"}
    past = {"name": "hier", "verified_by": "place", "verified_on": "2020-01-01"}
    assert winner("name", future, past) == ("hier", "verified-on")
    assert "verified_on" not in one_view([record(A, 1, **future)]).fields


def test_address_and_position_come_from_one_record() -> None:
    """The more precise position wins and brings its address, though the other address has a house number."""
    precise = {"position": {"lat": 48.0, "lon": 2.0, "precision": "exact"}, "address": {"city": "Précise"}}
    vague = {"position": {"lat": 48.1, "lon": 2.1, "precision": "commune"}, "address": {"street": "3 rue X"}}
    for pair in ((precise, vague), (vague, precise)):
        view = one_view([record(A, 1, **pair[0]), record(B, 2, **pair[1])])
        assert view.fields["address"].value == {"city": "Précise"}
        assert view.fields["address"].record == view.fields["position"].record
        assert view.fields["position"].rule == "complete"


def test_a_house_number_decides_between_equal_positions() -> None:
    """Of two addresses the one with a house number is shown."""
    assert winner("address", {"address": {"street": "rue X"}}, {"address": {"street": "3 rue X"}}) == (
        {"street": "3 rue X"},
        "complete",
    )


def test_what_cannot_be_true_goes_last() -> None:
    """A website that is none and a postcode of zeros lose to any other; the point 0, 0 is no position."""
    assert winner("website", {"website": "hub"}, {"website": "https://hub.example"}) == (
        "https://hub.example",
        "valid",
    )
    zeros = {"address": {"postcode": "00000"}, "verified_by": "place"}
    assert winner("address", zeros, {"address": {"postcode": "35000"}}) == ({"postcode": "35000"}, "valid")
    assert "position" not in one_view([record(A, 1, position={"lat": 0, "lon": 0})]).fields


def test_the_draw_gives_equal_chances() -> None:
    """Where nothing else decides, two networks win about as often, and no field of a place is drawn apart."""
    wins = Counter[str]()
    for n in range(1, 1001):
        view = one_view([record(A, n, name="a", summary="a"), record(B, n, name="b", summary="b")])
        assert view.fields["name"].rule == "draw"
        assert view.fields["name"].value == view.fields["summary"].value
        wins[view.fields["name"].value] += 1
    assert 400 < wins["a"] < 600


def test_lists_are_unions_with_who_says_it() -> None:
    """Every item stands once, sorted by code point, with the networks that name it."""
    a = record(A, 1, families=["fablab", "coworking"], links=[{"rel": "z", "url": "a:b"}])
    b = record(B, 2, families=["fablab"], links=[{"rel": "a", "url": "a:b"}])
    fields = one_view([b, a]).fields
    assert fields["families"].items == (("coworking", (A,)), ("fablab", (A, B)))
    assert [link["rel"] for link in fields["links"].value] == ["a", "z"]


def test_a_place_is_closed_only_by_the_leading_voice_or_by_all() -> None:
    """Where another voice says closed, the place is open and marked, and shows no day of closing."""
    leading = {"verified_by": "place", "status": "open"}
    other = {"status": "closed", "closed_on": "2025"}
    view = one_view([record(A, 1, **leading), record(B, 2, **other)])
    assert public(view)["status"] == "open"
    assert public(view)["disputed_status"] is True
    assert view.fields["disputed_status"].items == (("closed", (B,)),)
    assert "closed_on" not in view.fields
    closed = one_view([record(A, 1, verified_by="place", **other), record(B, 2, status="open")])
    assert (public(closed)["status"], public(closed)["closed_on"]) == ("closed", "2025")
    assert "disputed_status" not in closed.fields


def test_one_undisclosed_record_hides_the_place_below_its_commune() -> None:
    """No voice of the cluster, alternatives included, tells street or point; the commune stays."""
    told = {
        "position": {"lat": 48.1, "lon": -1.6},
        "address": {"street": "3 rue Secrète", "extra": "bât. B", "city": "Rennes", "insee": "35238"},
        "identifiers": [{"scheme": "ban", "value": "35238_secret"}, {"scheme": "rna", "value": "W1"}],
    }
    view = one_view([record(A, 1, **told), record(B, 2, kind="undisclosed", address={"city": "Rennes"})])
    raw = view_bytes(view).decode()
    assert "position" not in view.fields
    assert not [secret for secret in ("Secrète", "bât. B", "35238_secret", "481") if secret in raw]
    assert public(view)["identifiers"] == [{"scheme": "rna", "value": "W1"}]
    assert merge.traits(view).departement == "35"
    assert merge.traits(view).lat is None


def test_no_licence_speaks_for_another() -> None:
    """A licence is shown where all agree; where they differ, or one is silent, there is none: each keeps its own."""
    assert winner("license", {"license": "CC0-1.0"}, {"license": "CC0-1.0"}) == ("CC0-1.0", "agreed")
    assert winner("license", {"license": "CC0-1.0"}, {}) == (None, "differs")
    two = [record(node, n, license="CC0-1.0") for n, node in enumerate((A, B))]
    assert one_view([*two, record(C, 3)]).fields["license"].rule == "differs"
    view = one_view([record(A, 1, license="CC0-1.0"), record(B, 2, license="ODbL-1.0")])
    assert view.fields["license"].value is None
    assert {a.value for a in view.fields["license"].alternatives} == {"CC0-1.0", "ODbL-1.0"}
    assert "license" not in public(view)


def test_the_time_of_a_view_is_the_greatest_of_its_members() -> None:
    """Times compare as moments, whatever their form; what is no time is left out."""
    times = [
        "2026-03-01T10:00:00Z",
        "2026-03-01T10:00:00.25Z",
        "2026-03-01T13:00:00+02:00",
        "zzz",
        "2026-13-99T00:00:00Z",
    ]
    members = [msgspec.structs.replace(record(A, n), time=time) for n, time in enumerate(times, 1)]
    assert one_view(members).updated == "2026-03-01T13:00:00+02:00"
    assert one_view(members[:2]).updated == "2026-03-01T10:00:00.25Z"
    assert one_view(members[3:]).updated == "1970-01-01T00:00:00Z"


def test_people_read_degrees_and_square_metres() -> None:
    """The shown place has the numbers its network wrote, and changes name what was before and after."""
    said = {
        "position": {"lat": 48.8566012, "lon": -2.0000001, "precision": "exact"},
        "surface": {"built_m2": 120.55},
    }
    before, after = one_view([record(A, 1, **said)]), one_view([record(A, 1, **said, summary="Ouvert !")])
    assert public(before)["position"] == said["position"]
    assert public(before)["surface"] == said["surface"]
    assert merge.changed(before, after, POLICY) == {"summary": {"before": None, "after": "Ouvert !"}}
    assert merge.changed(None, after, POLICY)["name"] == {"before": None, "after": "Le Hub"}
    assert merge.traits(after).lat == 48.8566012


# --- the digest ------------------------------------------------------------------------------------------


def test_the_digest_follows_every_input() -> None:
    """The root changes with the policy, the followed set and any entry, and not with the order of entries."""
    entries = [merge.entry(rid(A, n), b"{}") for n in range(3)]
    assert merge.bucket_hash([]) == sha256(b"").digest()
    assert (
        merge.bucket_hash(entries)
        == merge.bucket_hash(entries[::-1])
        == sha256(b"".join(sorted(entries))).digest()
    )
    assert all(merge.bucket(rid(A, n)) == entries[n][0] for n in range(3))
    buckets, followed = [merge.bucket_hash([])] * 256, merge.followed_hash([B, A], [rid(A, 1)])
    assert (
        followed
        == merge.followed_hash([A, B], [rid(A, 1)])
        == sha256(f"{A}\n{rid(A, 1)}\n{B}".encode()).hexdigest()
    )
    root = merge.view_root(merge.policy_id(), followed, buckets)
    assert root != merge.view_root(merge.policy_id(), merge.followed_hash([A], []), buckets)
    assert root != merge.view_root("00" * 32, followed, buckets)
    assert root != merge.view_root(merge.policy_id(), followed, [*buckets[:255], merge.bucket_hash(entries)])


# --- the policy ------------------------------------------------------------------------------------------


def without_descriptions(node: Any) -> Any:
    """A JSON Schema without its prose and its examples."""
    if isinstance(node, dict):
        return {
            k: without_descriptions(v)
            for k, v in node.items()
            if not (k == "description" and isinstance(v, str))
            and not (k == "examples" and isinstance(v, list))
        }
    return [without_descriptions(item) for item in node] if isinstance(node, list | tuple) else node


def test_the_policy_names_all_that_a_place_may_say() -> None:
    """A new field of the place cannot be forgotten by the merge, nor a changed schema by the policy."""
    named = [*POLICY.single, *POLICY.lists, *POLICY.common, *POLICY.left_out]
    assert sorted(named) == sorted(Place.__struct_fields__)
    schemas = {PLACE_PUT: Place, PLACE_WITHDRAW: Withdrawal, CLAIM_PUT: Claim}
    assert POLICY.schemas == {
        kind: sha256(
            msgspec.json.encode(without_descriptions(msgspec.json.schema(t)), order="sorted")
        ).hexdigest()
        for kind, t in schemas.items()
    }


def golden() -> dict[str, bytes]:
    """The views of two hundred fixed federations, under a key each."""
    chance = random.Random("maillage-1")
    found = {}
    for n in range(200):
        found |= {f"{n} {k}": v for k, v in everything(*read(federation(chance, 10))).items()}
    return found


def test_views_change_only_with_the_policy() -> None:
    """Equal policy ids mean equal bytes: who changes a rule raises `rules`, and then these two lines."""
    views = golden()
    assert len(views) > 500
    assert merge.policy_id() == "9ecc59378e0d15360682ee352df2e72f991d015f76fe3b3285814294e6f44752"
    digest = sha256(b"\n".join(views[key] for key in sorted(views))).hexdigest()
    assert digest == "583ccad047c218bc5715a507a5b39f3e727965b32532582839a07edf9aad3144"


def test_one_view_in_full() -> None:
    """The bytes of one small place, as another implementation must write them."""
    view = one_view([record(A, 1, position={"lat": 48.1, "lon": -1.6}, families=["fablab"])])
    bytes_ = (
        '{"aliases":["@R"],"disputes":[],"fields":{"families":{"alternatives":[],"items":[["fablab",["@A"'
        ']]],"network":null,"record":null,"rule":"union","value":["fablab"],"version":null},"kind":{"alte'
        'rnatives":[],"network":"@A","record":"@R","rule":"only","value":"physical","version":1},"name":{'
        '"alternatives":[],"network":"@A","record":"@R","rule":"only","value":"Le Hub","version":1},"posi'
        'tion":{"alternatives":[],"network":"@A","record":"@R","rule":"only","value":{"lat":481000000,"lo'
        'n":-16000000,"precision":"unknown"},"version":1},"status":{"alternatives":[],"network":"@A","rec'
        'ord":"@R","rule":"only","value":"open","version":1}},"id":"@R","networks":["@A"],"part_of":[],"r'
        'ecords":[{"leaf":"@L","network":"@A","record":"@R","version":1}],"updated":"2026-03-01T09:00:00Z'
        '"}'
    )
    known = {"@R": rid(A, 1), "@A": A, "@L": record(A, 1).leaf}
    expected = functools.reduce(lambda text, name: text.replace(name, known[name]), known, bytes_)
    assert view_bytes(view).decode() == expected
