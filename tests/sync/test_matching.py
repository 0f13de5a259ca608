"""Whether two records are one place: known traps, the shape of the score, and real pairs where they are at hand."""

import csv
import os
import random
from hashlib import sha256
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.place import Place
from services.sync.matching import FEATURES, Score, score
from services.sync.policy import LADDERS, MISSING, POLICY, load, policy_id, scale
from services.sync.profiles import profile
from tests.sync.pairs import A, B, away, compared, joins, levels, place, seen

MATCHING = POLICY.matching
REAL = (
    Path(os.environ.get("MAILLAGE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "matching"
)
PORT = {"street": "3 rue du Port"}
HALLE = {"street": "18 place de la Halle"}


# --- places that are one ---------------------------------------------------------------------------------

ONE = {
    "words in one": (place("HumanLab", **PORT), place("Human Lab", **PORT)),
    "a slip of the pen": (place("Kelle Fabrik", **PORT), place("Kelle Fabrick", **PORT)),
    "moved or badly placed, two kilometres": (
        place("Ty Coz", website="https://tycoz.bzh", **PORT),
        place("Le Ty-Coz", website="http://www.tycoz.bzh/", position=away(2000), **HALLE),
    ),
    "two postcodes": (place("Ty Coz", **PORT), place("Ty Coz", postcode="35700", **PORT)),
    "a name within a name": (
        place("Millaulab", website="https://millaulab.fr"),
        place("Fablab Millaulab de Rennes", website="https://millaulab.fr", **PORT),
    ),
    "renamed by law": (
        place("MSAP de Rennes", phone="02 97 00 00 00", **PORT),
        place("France services Rennes", phone="+33297000000", **PORT),
    ),
    "another name of the place": (
        place("Tiers-lieu municipal", alternate_names=["Ty Coz"], **PORT),
        place("Ty Coz", **PORT),
    ),
}


@pytest.mark.parametrize("name", ONE)
def test_one_place_is_found(name: str) -> None:
    """Two networks that list one place are found to do so, however they write it."""
    assert joins(*ONE[name])


# --- places that are two ---------------------------------------------------------------------------------

TWO = {
    "a chain, 600 metres": (
        place("Cordage Opéra", website="https://cordage.fr", **PORT),
        place("Cordage Bastille", website="https://cordage.fr", position=away(600), **HALLE),
    ),
    "one building": (
        place("La Raffinerie", website="https://raffinerie.fr", **PORT),
        place("Nicéphore Labs", website="https://nicephore.fr", **PORT),
    ),
    "two trades of one town hall": (
        place("Médiathèque de Rennes", phone="0297000001", email="mediatheque@rennes.fr", **PORT),
        place("France services Rennes", phone="0297000002", email="fs@rennes.fr", **PORT),
    ),
    "a numbered sister": (place("Oasis", **PORT), place("Oasis 2", **PORT)),
    "one SIRET": (
        place("Mairie", identifiers=[{"scheme": "siret", "value": "21350238800019"}], **PORT),
        place(
            "Bibliothèque Vauban",
            identifiers=[{"scheme": "siret", "value": "21350238800019"}],
            position=away(400),
            **HALLE,
        ),
    ),
    "a platform": (
        place("Ty Coz", website="https://www.facebook.com/tycoz", **PORT),
        place("Bro Nevez", website="https://www.facebook.com/bronevez", **HALLE),
    ),
    "a provider": (
        place("Ty Coz", email="tycoz@orange.fr", **PORT),
        place("Bro Nevez", email="bronevez@orange.fr", **HALLE),
    ),
    "a commune in common": (place("Fablab de Rennes", **PORT), place("Cantine de Rennes", **HALLE)),
    "one brand in two cities": (
        place("Now Coworking", website="https://now.fr/rouen", **PORT),
        place(
            "Now Coworking",
            website="https://now.fr/lille",
            city="Lille",
            postcode="59000",
            position=away(300_000, 200_000),
            **HALLE,
        ),
    ),
}


@pytest.mark.parametrize("name", TWO)
def test_two_places_stay_two(name: str) -> None:
    """What two places have in common is no reason to join them without their networks."""
    assert not joins(*TWO[name])


# --- what a feature says ---------------------------------------------------------------------------------


def test_numbers_are_never_fuzzy() -> None:
    """A number that one name has and the other has not parts them; the number of the département parts nobody."""
    assert levels(place("Oasis 2"), place("Oasis"))["leftover"] == "number"
    assert levels(place("Oasis 12"), place("Oasis 13"))["leftover"] == "number"
    assert levels(place("Oasis 35"), place("Oasis"))["leftover"] == "none"


def test_branches_are_seen_by_what_both_have_left() -> None:
    """One name may say more than the other; where each says what the other does not, they are branches."""
    assert levels(place("Cordage"), place("Cordage Bastille"))["leftover"] == "one"
    assert levels(place("Cordage Opéra"), place("Cordage Bastille"))["leftover"] == "both"
    assert levels(place("Opéra"), place("Bastille"))["leftover"] == MISSING


def test_equal_names_of_dull_words_are_not_equal_names() -> None:
    """Two "Espace coworking" share no word that tells places apart."""
    assert levels(place("Espace coworking"), place("Espace Co-working"))["name"] == "dull"
    assert levels(place("Ty Coz"), place("Ty Coz"))["name"] == "same"


def test_words_may_be_written_in_one() -> None:
    """Two words here are one word there, also among others, in either record."""
    apart, one = place("Atelier du Fuv Arlab"), place("Fuvarlab Vauban")
    assert levels(apart, one)["leftover"] == levels(one, apart)["leftover"] == "one"
    assert levels(place("Human Lab"), place("HumanLab"))["glued"] == "same"


def test_points_of_communes_are_no_evidence() -> None:
    """Two records placed at the middle of their commune are not at one place; far apart they are far apart."""
    middle = place(position=away(precision="commune"))
    assert levels(middle, middle)["distance"] == MISSING
    assert levels(middle, place(position=away(5000)))["distance"] == MISSING
    assert levels(middle, place(position=away(50_000)))["distance"] == "far"
    brest = place(position=away(50_000), city="Brest", postcode="29200")
    assert levels(middle, brest)["distance"] == "elsewhere"
    assert levels(place(), place())["distance"] == "25"


@pytest.mark.parametrize(
    ("metres", "level"),
    [(25, "25"), (27, "100"), (250, "300"), (900, "1000"), (2900, "3000"), (9900, "10000"), (10_100, "far")],
)
def test_distance_has_seven_levels(metres: int, level: str) -> None:
    """Each bound belongs to its level."""
    assert levels(place(), place(position=away(metres)))["distance"] == level


def test_what_is_missing_is_a_level_of_its_own() -> None:
    """Nothing said is neither agreement nor difference, in any feature that can be silent."""
    bare = place("Ty", position=None, city=None, postcode="35000")
    silent = {feature for feature, level in levels(bare, bare).items() if level == MISSING}
    contacts = {"domain", "phone", "email", "account", "identifier", "body"}
    assert silent == contacts | {"distance", "house", "street", "commune", "trade"}


def test_houses_and_streets() -> None:
    """A repeat makes a house a near one; words of a street may be left out or mistyped."""
    at = levels(place(street="17 bd Pasteur"), place(street="17 bis boulevard Louis Pasteur"))
    assert (at["house"], at["street"]) == ("near", "same")
    at = levels(place(street="17 bd Pasteur"), place(street="18 rue Pastuer"))
    assert (at["house"], at["street"]) == ("differs", "same")
    assert levels(place(street="17 bd Pasteur"), place(street="17 rue Carnot"))["street"] == "differs"


def test_one_address_counts_with_one_name() -> None:
    """One address and two names are two places of a building."""
    assert levels(place("Ty Coz", **PORT), place("Ty Coz", **PORT))["together"] == "both"
    assert levels(place("Ty Coz", **PORT), place("Bro Nevez", **PORT))["together"] == "address"
    assert levels(place("Ty Coz", **PORT), place("Ty Coz", **HALLE))["together"] == "neither"


def test_a_domain_is_less_than_a_page() -> None:
    """Branches share the domain of their chain; a page is a place's own."""
    one, other = place(website="https://cordage.fr/opera"), place(website="https://cordage.fr/bastille")
    assert (levels(one, one)["domain"], levels(one, other)["domain"]) == ("page", "same")
    assert levels(one, place(website="https://autre.fr"))["domain"] == "differs"
    assert levels(one, place(website="https://facebook.com/x"))["domain"] == MISSING


def far(**said: Any) -> Score | None:
    """The score of two precise records of one name, 31 km apart, that both say this."""
    there = place("Ty Coz", position=away(31_000, precision="exact"), **said)
    return score(seen(place("Ty Coz", position=away(precision="street"), **said)), seen(there, B), POLICY)


def test_what_is_precisely_elsewhere_is_no_one_place() -> None:
    """More than 30 km apart, both precise, nothing but a shared identifier can join two records; a domain is none."""
    assert far() is None
    assert far(website="https://tycoz.bzh", identifiers=[{"scheme": "siren", "value": "812345678"}]) is None
    for said in (
        {"phone": "0297000000"},
        {"email": "contact@tycoz.bzh"},
        {"website": "https://facebook.com/tycoz"},
        {"identifiers": [{"scheme": "osm", "value": "n1"}]},
    ):
        assert far(**said) is not None, said
    assert score(seen(place("Ty Coz")), seen(place("Ty Coz", position=away(31_000)), B), POLICY) is not None


# --- the shape of the score ------------------------------------------------------------------------------


def test_the_explanation_is_the_score() -> None:
    """Every feature is listed once with its level and points, and nothing else makes up the points."""
    found = compared(*ONE["words in one"])
    assert [feature for feature, _, _ in found.features] == list(FEATURES)
    assert sum(points for _, _, points in found.features) == found.points
    assert all(MATCHING.weights[feature][level] == points for feature, level, points in found.features)


def wild(chance: random.Random) -> Place:
    """A place of few words, so that many have something in common."""
    words = [
        "espace",
        "coworking",
        "ty",
        "coz",
        "tycoz",
        "vauban",
        "vaubans",
        "vaubane",
        "2",
        "35",
        "rennes",
        "fablab",
    ]
    streets = [None, "3 rue du Port", "3 bis rue du port", "4 rue Pont", "Le Bourg"]
    sites = [None, "https://tycoz.bzh", "https://tycoz.bzh/a", "https://facebook.com/tycoz"]
    said = {
        "alternate_names": [" ".join(chance.choices(words, k=2)) for _ in range(chance.randrange(3))],
        "street": chance.choice(streets),
        "city": chance.choice(["Rennes", "Rennes CEDEX", "Brest", None]),
        "postcode": chance.choice(["35000", "35700", "29200", None]),
        "website": chance.choice(sites),
        "phone": chance.choice([None, "0297000000", "0297000001"]),
        "email": chance.choice([None, "a@tycoz.bzh", "a@orange.fr"]),
        "identifiers": chance.choice(
            [[], [{"scheme": "osm", "value": "n1"}], [{"scheme": "rna", "value": "w1"}]]
        ),
        "position": chance.choice(
            [
                None,
                away(chance.randrange(500), precision="exact"),
                away(40_000, precision="street"),
                away(chance.randrange(40_000), precision="commune"),
            ]
        ),
    }
    return place(" ".join(chance.choices(words, k=chance.randint(1, 4))), **said)


def test_scores_are_symmetric() -> None:
    """Who is compared with whom makes no difference, and every level that comes up has points."""
    chance = random.Random("symmetry")
    profiles = [seen(wild(chance), chance.choice((A, B)), n) for n in range(70)]
    scores = [(score(a, b, POLICY), score(b, a, POLICY)) for a, b in combinations(profiles, 2)]
    assert all(one == other for one, other in scores)
    assert sum(one is None for one, _ in scores) > 20
    levels = {(feature, level) for one, _ in scores if one for feature, level, _ in one.features}
    assert len(levels) > 50


def test_scores_change_only_with_the_policy() -> None:
    """Equal policy ids mean equal points: who changes what a level means raises `rules`, and then this line."""
    chance = random.Random("golden")
    profiles = [seen(wild(chance), chance.choice((A, B)), n) for n in range(60)]
    found = [score(a, b, POLICY) for a, b in combinations(profiles, 2)]
    digest = sha256(msgspec.json.encode([found, [p.keys for p in profiles]])).hexdigest()
    assert (policy_id(), digest) == (
        "9ecc59378e0d15360682ee352df2e72f991d015f76fe3b3285814294e6f44752",
        "99977e6c4295e73c71065bdd8c88b365e367e8ab58fae40ab7a5a181e5e80833",
    )


def test_better_levels_get_no_fewer_points() -> None:
    """A table that people can read: a better level is never worth less, and silence neither most nor least."""
    for feature, ladder in LADDERS.items():
        points = MATCHING.weights[feature]
        assert all(points[worse] <= points[better] for worse, better in pairwise(ladder)), feature
        assert points[ladder[0]] <= points[MISSING] <= points[ladder[-1]], feature
    assert MATCHING.apart < MATCHING.propose < MATCHING.join


def test_the_policy_has_points_for_exactly_what_may_be_seen() -> None:
    """No level lacks points, and no points are for what no pair can have."""
    table = [(feature, level) for feature, points in MATCHING.weights.items() for level in points]
    assert sorted(table) == sorted(scale(MATCHING))
    assert set(FEATURES) == set(LADDERS)


@pytest.mark.parametrize("harm", ["level", "feature", "bound", "member", "more"])
def test_a_policy_that_would_fail_is_refused(harm: str) -> None:
    """Whoever publishes a policy with a gap is told at the door, not by the first pair that falls into it."""
    weights = {feature: dict(points) for feature, points in MATCHING.weights.items()}
    matching = MATCHING
    if harm == "level":
        del weights["name"]["dull"]
    elif harm == "feature":
        del weights["phone"]
    elif harm == "more":
        weights["phone"]["louder"] = 1
    elif harm == "bound":
        matching = replace(MATCHING, metres=(25, 500))
    raw = msgspec.json.encode(replace(POLICY, matching=replace(matching, weights=weights)))
    if harm == "member":
        raw = raw.replace(b'"rules"', b'"rulez"')
    with pytest.raises(msgspec.ValidationError):
        load(raw)


@pytest.mark.parametrize(
    ("harm", "where"),
    [
        ({"rules": POLICY.rules + 1}, "rules"),
        ({"schemas": {}}, "schemas"),
        ({"order": POLICY.order[1:]}, "order"),
        ({"checked_by": ()}, "checked_by"),
        ({"precision": ("exact", "exact", "street", "commune")}, "precision"),
        ({"single": POLICY.single[1:]}, "single"),
        ({"lists": (*POLICY.lists, "name")}, "lists"),
        ({"with_field": {"status": "closed_on"}}, "with_field"),
        ({"matching": replace(MATCHING, propose=MATCHING.join + 1)}, "matching"),
        ({"matching": replace(MATCHING, tables=replace(MATCHING.tables, communes="0" * 64))}, "communes"),
    ],
)
def test_a_policy_of_which_this_version_makes_another_view_is_refused(
    harm: dict[str, Any], where: str
) -> None:
    """Equal ids mean equal bytes: what speaks of other rules, words or fields than this version's is told so."""
    with pytest.raises(msgspec.ValidationError, match=where):
        load(msgspec.json.encode(replace(POLICY, **harm)))


def test_a_policy_is_what_its_file_says() -> None:
    """Written and read again it is the same policy; one point more is another."""
    assert load(msgspec.json.encode(POLICY)) == POLICY
    weights = {**MATCHING.weights, "phone": {**MATCHING.weights["phone"], "same": 1}}
    other = load(msgspec.json.encode(replace(POLICY, matching=replace(MATCHING, weights=weights))))
    assert policy_id(other) != policy_id() == policy_id(POLICY)


# --- real pairs ------------------------------------------------------------------------------------------


def labelled() -> tuple[list[tuple[Place, Place]], list[tuple[Place, Place]]]:
    """Pairs of networks that are one place and two: real ones where they are at hand, else the invented ones."""
    if not REAL.exists():
        return list(ONE.values()), list(TWO.values())
    rows = map(msgspec.json.decode, (REAL / "records.jsonl").read_bytes().splitlines())
    places = {row["id"]: (row["source"], real(row)) for row in rows}
    found: dict[str, list[tuple[Place, Place]]] = {"match": [], "distinct": [], "unsure": []}
    with (REAL / "pairs.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            (network, a), (other, b) = places[row["id1"]], places[row["id2"]]
            if network != other:
                found[row["label"]].append((a, b))
    return found["match"], found["distinct"]


def real(row: dict[str, Any]) -> Place:
    """A row of a published list as a place, without its mailbox, links and identifiers."""
    address = {"street": row["address"], "city": row["commune"], "postcode": row["postcode"]}
    known = {field: value for field, value in address.items() if value and value != "0"}
    said = {field: row[field][:40] for field in ("phone",) if row[field]}
    website = {"website": row["website"].split()[0]} if row["website"].split() else {}
    point = {"position": {"lat": row["lat"], "lon": row["lon"]}} if row["lat"] not in ("", None) else {}
    return msgspec.convert(
        {"name": row["name"], "status": "open", "address": known} | said | website | point, Place
    )


def test_labelled_pairs_are_told_apart() -> None:
    """Of pairs that people read, nine matches in ten have the points of an edge, and of others one in a hundred."""
    matches, distinct = labelled()

    def edges(pairs: list[tuple[Place, Place]]) -> int:
        found = (score(seen(a), profile(f"{B}:1", b, POLICY), POLICY) for a, b in pairs)
        return sum(one is not None and one.points >= MATCHING.join for one in found)

    assert edges(matches) >= 0.9 * len(matches) > 0
    assert edges(distinct) <= 0.01 * len(distinct)
