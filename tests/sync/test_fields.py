"""Whose word is shown: copies repeat only, a reader's network comes first, licences are kept apart."""

import random
from collections import Counter
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from schemas.view import View
from services.sync import changes, merge
from services.sync.fields import veiled_record
from services.sync.merge import POLICY, Reading, Record, merged, public
from tests.sync import oracle
from tests.sync.test_merge import (
    A,
    B,
    C,
    Points,
    both,
    clusters,
    federation,
    gone,
    one_view,
    read,
    record,
    rid,
    say,
)

# The day of the events of the records below.
DAY = "2026-03-01"
FREE, ODBL, ETALAB = "CC0-1.0", "ODbL-1.0", "etalab-2.0"


def copy(node: str, n: int, original: Record, **said: Any) -> Record:
    """A record that says that it was copied from another."""
    return record(node, n, origin={"system": "copie", "id": original.id}, **said)


def test_another_policy_hears_the_voices_in_another_order() -> None:
    """What decides first, is what the policy names first; what it hides of a secret place, no voice tells."""
    checked = record(A, 1, website="https://a.example/", verified_by="place", verified_on="2025-01-01")
    newer = record(B, 2, website="https://b.example/", verified_by="import", verified_on="2026-01-01")
    when_first = replace(POLICY, order=("valid", "verified-on", "verified-by", "complete", "draw", "elder"))
    shown = [merged([checked, newer], [], policy) for policy in (POLICY, when_first)]
    found = [(view.fields["website"].value, view.fields["website"].rule) for view in shown if view]
    assert found == [("https://a.example/", "verified-by"), ("https://b.example/", "verified-on")]
    said = Raw(
        msgspec.json.encode(
            {"identifiers": [{"scheme": "osm", "value": "1"}, {"scheme": "rna", "value": "2"}]}
        )
    )
    more = replace(POLICY, located_by=(*POLICY.located_by, "rna"))
    told = [msgspec.json.decode(veiled_record(said, policy))["identifiers"] for policy in (POLICY, more)]
    assert told == [[{"scheme": "rna", "value": "2"}], []]


def read_as(members: list[Record], **reading: Any) -> View | None:
    """One place as a reader asks to see it."""
    if "licenses" in reading:
        reading["licenses"] = frozenset(reading["licenses"])
    return merged(members, [], POLICY, Reading(**reading))


def speakers(view: View) -> set[str]:
    """The networks that say anything in a place, be it shown or not."""
    fields = view.fields.values()
    named = {f.network for f in fields} | {a.network for f in fields for a in f.alternatives}
    return {n for n in named if n} | {who for f in fields for _, names in f.items for who in names}


# --- copies ----------------------------------------------------------------------------------------------


def test_a_copy_gives_no_value() -> None:
    """What was copied is not heard a second time, not even what only the copy says; it is shown as what it is."""
    original = record(A, 1, name="Le Hub", families=["fablab"])
    copied = copy(
        B, 2, original, name="Hub", status="closed", website="https://b.example", families=["coworking"]
    )
    (cluster,) = clusters([original, copied], [])
    view = one_view(list(cluster))
    assert speakers(view) == {A}
    assert {"website", "origin", "disputed_status"}.isdisjoint(view.fields)
    assert public(view)["families"] == ["fablab"]
    assert {v.record: v.copy_of for v in view.records} == {original.id: None, copied.id: original.id}
    assert view.networks == (A, B)
    assert msgspec.json.decode(changes.feature(view))["properties"]["voices"] == 1


@pytest.mark.parametrize(
    ("said", "original", "heard"),
    [
        ({"verified_by": "place", "verified_on": "2025-02-02"}, {"verified_on": "2025-02-01"}, True),
        ({"verified_by": "network", "verified_on": "2025-02-02"}, {"verified_on": "2025-02-01"}, True),
        ({"verified_by": "import", "verified_on": "2025-02-02"}, {"verified_on": "2025-02-01"}, False),
        ({"verified_on": "2025-02-02"}, {"verified_on": "2025-02-01"}, False),
        ({"verified_by": "place"}, {"verified_on": "2025-02-01"}, False),
        ({"verified_by": "place", "verified_on": "2025-02-01"}, {"verified_on": "2025-02-01"}, False),
        ({"verified_by": "place", "verified_on": DAY}, {}, True),
        ({"verified_by": "place", "verified_on": "2026-02-28"}, {}, False),
        ({"verified_by": "place", "verified_on": "2030-01-01"}, {}, False),
        ({"verified_by": "place", "verified_on": DAY}, {"verified_on": "2030-01-01"}, True),
    ],
)
def test_a_copy_that_was_verified_since_speaks(
    said: dict[str, Any], original: dict[str, Any], heard: bool
) -> None:
    """People who checked it later than the original was, or was written, have a word of their own."""
    source = record(A, 1, **original)
    copied = copy(B, 2, source, name="Relu", **said)
    view = one_view([source, copied])
    assert (B in speakers(view)) is heard
    assert [v.copy_of for v in view.records if v.network == B] == [None if heard else source.id]


def test_copies_of_copies_and_rings() -> None:
    """A copy of a copy is one as well; records that name each other in a ring all speak; nothing is left silent."""
    first = record(A, 1)
    second = copy(B, 2, first)
    third = copy(C, 3, second)
    assert speakers(one_view([first, second, third])) == {A}
    ring = [copy(A, 1, record(B, 2)), copy(B, 2, record(A, 1))]
    assert speakers(one_view(ring)) == {A, B}
    assert speakers(one_view([*ring, copy(C, 3, ring[0])])) == {A, B}


def test_a_copy_without_its_original_speaks() -> None:
    """Where the original is taken back, elsewhere, undisclosed or not for all to join, nobody else says it."""
    original = record(A, 1)
    copied = copy(B, 2, original)
    assert speakers(one_view([copied])) == {B}
    assert speakers(one_view([gone(A, 1), copied])) == {B}
    for reserved in ({"kind": "undisclosed"}, {"join": "claims"}):
        assert B in speakers(one_view([record(A, 1, **reserved), copied]))
    hidden = copy(B, 2, original, kind="undisclosed")
    assert B in speakers(one_view([original, hidden]))
    apart = clusters([original, copied], [say(A, "distinct", original, copied)])
    assert [speakers(one_view(list(c))) for c in apart] == [{A}, {B}]


# --- drawn places ----------------------------------------------------------------------------------------


def drawn_place(seed: int) -> list[dict[str, Any]]:
    """Records of one place, dense in copies, licences and days of checking, as the oracle reads them."""
    chance = random.Random(seed)
    records, _ = federation(chance, chance.randint(2, 7))
    for one in records:
        if one["place"] is not None:
            one["place"]["license"] = chance.choice((FREE, ODBL, ETALAB))
            if chance.random() < 0.5:
                one["place"]["origin"] = {"system": "copie", "id": chance.choice(records)["id"]}
            if chance.random() < 0.5:
                one["place"]["verified_on"] = chance.choice(("2026-02-28", DAY, "2026-03-02"))
    return records


READINGS: tuple[dict[str, Any], ...] = (
    {},
    {"voice": A},
    {"voice": B},
    {"licenses": {FREE}},
    {"licenses": {FREE, ETALAB}},
    {"licenses": {ODBL}, "voice": C},
)


def as_oracle(view: View | None) -> dict[str, tuple[Any, str | None, list[Any]]]:
    """The fields of a place as the oracle tells them."""
    shown = {} if view is None else view.fields
    return {
        name: (field.value, field.record, [a.value for a in field.alternatives])
        for name, field in shown.items()
        if name not in ("disputed_status", "license")
    }


@given(st.integers(0, 2**32), st.sampled_from(READINGS))
@settings(max_examples=400, deadline=None)
def test_a_place_is_read_as_the_oracle_reads_it(seed: int, reading: dict[str, Any]) -> None:
    """Copies silent, a network first, only some licences: values, voices and alternatives are the oracle's."""
    drawn = drawn_place(seed)
    records, _ = read((drawn, []))
    found = read_as(records, **reading)
    expected = oracle.merged(drawn, first=reading.get("voice"), licenses=reading.get("licenses"))
    assert as_oracle(found) == expected


def test_drawn_places_hold_what_matters() -> None:
    """The places drawn above have copies, verified ones, rings, and readings that differ from the whole."""
    seen = Counter[str]()
    for seed in range(300):
        records, _ = read((drawn_place(seed), []))
        if (view := read_as(records)) is None:
            continue
        known = {r.id: r for r in records}
        silent = {v.record for v in view.records if v.copy_of}
        naming = {r.id for r in records if r.place and r.place.origin and r.place.origin.id in known}
        seen["copy"] += bool(silent)
        seen["not silent"] += bool(naming - silent)
        for reading in READINGS[1:]:
            other = read_as(records, **reading)
            seen[str(reading)] += as_oracle(other) != as_oracle(view)
            seen["not there"] += other is None
            seen["voice"] += other is not None and any(f.rule == "voice" for f in other.fields.values())
    rare = {what: n for what, n in seen.items() if n < 20}
    assert len(seen) == 3 + len(READINGS)
    assert not rare


# --- a voice first ---------------------------------------------------------------------------------------


def test_the_voice_that_is_asked_for_comes_first() -> None:
    """Its values are shown where it has one, with the rule that says so; elsewhere nothing changes."""
    best = record(A, 1, name="Du lieu", verified_by="place", website="https://a.example", status="open")
    other = record(B, 2, name="Du réseau", status="closed", closed_on="2025")
    whole, asked = one_view([best, other]), read_as([best, other], voice=B)
    assert asked is not None
    name = asked.fields["name"]
    assert (name.value, name.rule, [a.value for a in name.alternatives]) == (
        "Du réseau",
        "voice",
        ["Du lieu"],
    )
    assert (asked.fields["status"].value, asked.fields["closed_on"].value) == ("closed", "2025")
    assert "disputed_status" in whole.fields.keys() - asked.fields.keys()
    assert asked.fields["website"] == whole.fields["website"]
    assert read_as([best, other], voice=C) == whole
    assert (asked.id, asked.aliases, asked.records) == (whole.id, whole.aliases, whole.records)


def test_a_copy_that_is_asked_for_stays_silent() -> None:
    """Who only repeats another is not made a voice by asking for it."""
    original = record(A, 1, name="Le Hub")
    assert read_as([original, copy(B, 2, original, name="Hub")], voice=B) == one_view(
        [original, copy(B, 2, original, name="Hub")]
    )


# --- licences --------------------------------------------------------------------------------------------


def test_a_place_under_some_licences_only() -> None:
    """Nothing of other or unknown licence is left, the ids stay; a place of which nothing is left is not there."""
    free = record(A, 2, name="Libre", license=FREE, families=["fablab"])
    shared = record(B, 1, name="Partagé", license=ODBL, families=["coworking"], summary="ODbL")
    unknown = record(C, 3, name="Inconnu", website="https://c.example")
    members = [free, shared, unknown]
    assert merge.licenses(one_view(members)) == (merge.UNKNOWN, FREE, ODBL)
    view = read_as(members, licenses=[FREE, ETALAB])
    assert view is not None
    assert (view.id, view.aliases) == (shared.id, tuple(sorted(r.id for r in members)))
    assert [v.record for v in view.records] == [free.id]
    assert (speakers(view), view.networks) == ({A}, (A,))
    assert "Partagé" not in merge.view_bytes(view).decode()
    assert read_as(members, licenses=[ETALAB]) is None
    for members in permutations((free, shared, unknown)):
        assert read_as(list(members), licenses=[FREE, ETALAB]) == view


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_licences_are_those_of_all_voices(seed: int) -> None:
    """Each is told that a voice has, that one is without, and a licence is shown only where all have that one."""
    drawn = drawn_place(seed)
    for number, one in enumerate(drawn):
        if one["place"] is not None and (seed + number) % 3 == 0:
            del one["place"]["license"]
    records, _ = read((drawn, []))
    there = [one for one in drawn if one["place"] is not None]
    silent = oracle.repeating(there)
    expected = {one["place"].get("license", merge.UNKNOWN) for one in there if one["id"] not in silent}
    if (view := read_as(records)) is not None:
        assert merge.licenses(view) == tuple(sorted(expected))
        alone = next(iter(expected)) if len(expected) == 1 else merge.UNKNOWN
        assert public(view).get("license", merge.UNKNOWN) == alone


def test_no_copy_changes_the_licence_of_what_it_was_copied_from() -> None:
    """What was copied under one licence is not free because the copy says so."""
    original = record(A, 1, license=ODBL)
    washed = copy(B, 2, original, license=FREE)
    assert read_as([original, washed], licenses=[FREE]) is None
    assert merge.licenses(one_view([original, washed])) == (ODBL,)


def test_what_others_say_of_it_is_not_of_the_licence() -> None:
    """Of claims only those of the networks that are left are shown."""
    a, b, c = record(A, 1, license=FREE), record(B, 2, license=ODBL), record(C, 3)
    claims = [
        say(A, "part-of", a, c),
        say(B, "part-of", b, c),
        say(B, "contests", b, c, "Non."),
        say(A, "contests", a, c, "Si."),
    ]
    whole, free = (
        one_view([a, b], claims),
        merged([a, b], claims, POLICY, Reading(licenses=frozenset([FREE]))),
    )
    assert free is not None
    assert ({d.network for d in whole.disputes}, whole.part_of) == ({A, B}, (c.id,))
    assert [d.network for d in free.disputes] == [A]
    only_b = merged([a, b], [say(B, "part-of", b, c)], POLICY, Reading(licenses=frozenset([FREE])))
    assert only_b is not None
    assert only_b.part_of == ()


# --- undisclosed -----------------------------------------------------------------------------------------

TOLD = {
    "position": {"lat": 48.1, "lon": -1.6},
    "address": {"street": "3 rue Secrète", "city": "Rennes", "insee": "35238"},
    "identifiers": [{"scheme": "ban", "value": "35238_secret"}],
    "license": FREE,
}


def test_an_undisclosed_record_hides_however_the_place_is_read() -> None:
    """Neither the voice that tells it, nor a licence without the one that does not, shows where it is."""
    told, hidden = record(A, 1, **TOLD), record(B, 2, kind="undisclosed", license=ODBL)
    for reading in ({"voice": A}, {"licenses": [FREE]}, {"licenses": [FREE], "voice": A}):
        view = read_as([told, hidden], **reading)
        assert view is not None
        raw = merge.view_bytes(view).decode() + changes.feature(view).decode()
        assert not [secret for secret in ("Secrète", "35238_secret", "481", "48.1") if secret in raw]
        assert public(view)["address"] == {"city": "Rennes", "insee": "35238"}


def test_a_change_does_not_tell_where_a_hidden_place_was() -> None:
    """The event that hides a place says nothing of street or point as what was before; the others do."""
    told = record(A, 1, **TOLD)
    open_view, hidden_view = one_view([told]), one_view([told, record(B, 2, kind="undisclosed")])
    changed = merge.changed(open_view, hidden_view, POLICY)
    assert {"position", "identifiers", "address"}.isdisjoint(changed)
    put = changes.put(A, changes.shown(hidden_view), open_view, changed, {})
    said = msgspec.json.decode(put.data)
    assert not [s for s in ("Secrète", "35238_secret", "48.1") if s in str((said["changed"], said["after"]))]
    assert "Secrète" in str(merge.changed(hidden_view, open_view, POLICY))
    moved = one_view([record(A, 1, **{**TOLD, "position": {"lat": 48.2, "lon": -1.6}})])
    assert merge.changed(open_view, moved, POLICY)["position"]["before"]["lat"] == 48.1


# --- disputes with automatic joins -----------------------------------------------------------------------


def test_an_owner_parts_what_was_joined_automatically() -> None:
    """Her `distinct` keeps the two apart, and nobody is in dispute as long as nobody says `same`."""
    a, b = record(A, 1), record(B, 1)
    alike: Points = {(rid(A, 1), rid(B, 1)): POLICY.matching.join + POLICY.matching.margin}

    def disputes(claims: Any) -> list[list[str]]:
        views = [one_view(list(c), claims) for c in clusters([a, b], claims, alike)]
        return [[f"{d.network[0]} {d.verdict}" for d in view.disputes] for view in views]

    assert disputes([]) == [[]]
    assert disputes([say(B, "distinct", b, a)]) == [[], []]
    one_sided = [say(A, "same", a, b), say(B, "distinct", b, a)]
    assert disputes(one_sided) == [["a same", "b distinct"]] * 2
    assert disputes(both("same", a, b)) == [[]]


def test_a_place_closed_for_one_of_two_that_were_joined_automatically() -> None:
    """A join that nobody asked for shows both voices: the place is open, and some say that it is closed."""
    a, b = record(A, 1, verified_by="place"), record(B, 1, status="closed")
    alike: Points = {(rid(A, 1), rid(B, 1)): POLICY.matching.join + POLICY.matching.margin}
    (cluster,) = clusters([a, b], [], alike)
    assert public(one_view(list(cluster)))["disputed_status"] is True
