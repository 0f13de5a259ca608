"""A place is tidied, every mistake in it is named, and what is only doubtful is said."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.place import Place
from services import communes, places
from services.places import Checked, check

TODAY = date(2026, 6, 1)
HOURS = Path(__file__).parents[2] / "shared" / "data" / "opening-hours.json"


def place(**fields: Any) -> Place:
    """A valid place in Vannes, with these fields besides or instead."""
    tree = {"name": "La Fabrique", "status": "open", "address": {"postcode": "56000"}} | fields
    return msgspec.json.decode(json.dumps(tree), type=Place)


def checked(**fields: Any) -> Checked:
    """What the checks say of such a place."""
    return check(place(**fields), today=TODAY)


def faults(**fields: Any) -> list[str]:
    """Pointers to the mistakes in such a place."""
    return [fault.where for fault in checked(**fields).faults]


def warnings(**fields: Any) -> list[str]:
    """Pointers to the doubts about such a place."""
    return [fault.where for fault in checked(**fields).warnings]


def test_a_place_is_tidied() -> None:
    """Blanks, schemes, phone numbers, decimals and repeats are put in order before anything is kept."""
    found = checked(
        name=" La Fabrique ",
        summary="  ",
        position={"lat": 47.123456789, "lon": -0.00000001},
        website="www.fabrique.fr",
        phone="02 97 00 00 00",
        alternate_names=["La Fab", "La Fab "],
        operator={"name": " "},
        identifiers=[{"scheme": "siret", "value": "356 000 000 00048"}],
    )
    assert found.faults == ()
    assert json.loads(msgspec.json.encode(found.place)) == {
        "name": "La Fabrique",
        "status": "open",
        "address": {"postcode": "56000"},
        "position": {"lat": 47.1234568, "lon": 0.0},
        "alternate_names": ["La Fab"],
        "website": "https://www.fabrique.fr",
        "phone": "+33297000000",
        "identifiers": [{"scheme": "siret", "value": "35600000000048"}],
    }


def test_a_tidy_place_stays_as_it_is() -> None:
    """Checking twice changes nothing, and the tidied place is still a place."""
    once = checked(name=" x ", website="a.fr", phone="0297000000", alternate_names=["b ", "b"]).place
    assert check(once, today=TODAY).place == once
    assert msgspec.json.decode(msgspec.json.encode(once), type=Place) == once


def test_one_place_has_one_writing() -> None:
    """Spelling out what goes without saying gives the same bytes."""
    spelled = checked(kind="physical", address={"postcode": "56000", "country": "FR"}, summary="")
    assert msgspec.json.encode(spelled.place) == msgspec.json.encode(checked().place)


def test_a_place_without_a_licence_gets_that_of_its_network() -> None:
    """The network's licence fills the gap and never replaces what the record says."""
    assert check(place(), today=TODAY, home_license="ODbL-1.0").place.license == "ODbL-1.0"
    stated = check(place(license="CC0-1.0"), today=TODAY, home_license="ODbL-1.0")
    assert stated.place.license == "CC0-1.0"


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"name": " - "}, "/name"),
        ({"address": None}, ""),
        ({"address": {"city": "Vannes"}}, ""),
        ({"position": {"lat": 0, "lon": 0}}, "/position"),
        ({"kind": "undisclosed", "position": {"lat": 47, "lon": -2}}, "/position"),
        ({"kind": "undisclosed", "address": {"street": "1 rue X"}}, "/address/street"),
        ({"address": {"insee": "00000"}}, "/address/insee"),
        ({"address": {"postcode": "00000"}}, "/address/postcode"),
        ({"address": {"postcode": "5600"}}, "/address/postcode"),
        ({"families": ["fablab", "fab-lab"]}, "/families/1"),
        ({"website": "ftp://fabrique.fr"}, "/website"),
        ({"website": "n/a"}, "/website"),
        ({"website": "https://"}, "/website"),
        ({"website": "https://x@fabrique.fr/"}, "/website"),
        ({"website": "javascript:alert(1)"}, "/website"),
        ({"links": [{"rel": "x", "url": "JavaScript:alert(1)"}]}, "/links/0/url"),
        ({"phone": "12"}, "/phone"),
        ({"opening_hours": "9h-18h"}, "/opening_hours"),
        ({"identifiers": [{"scheme": "siret", "value": "0" * 14}]}, "/identifiers/0/value"),
        ({"identifiers": [{"scheme": "siret", "value": "73282932000075"}]}, "/identifiers/0/value"),
        ({"identifiers": [{"scheme": "osm", "value": " "}]}, "/identifiers/0/value"),
        ({"opened_on": "2020-02-30"}, "/opened_on"),
        ({"opened_on": "2020-05", "closed_on": "2020-04-30"}, "/closed_on"),
        ({"verified_on": "2026-06-02"}, "/verified_on"),
        ({"labels": [{"code": "x", "from": "2020-02-30"}]}, "/labels/0/from"),
        ({"labels": [{"code": "x", "from": "2021", "until": "2020"}]}, "/labels/0/until"),
        ({"extensions": {"a/b": [1]}}, "/extensions/a~1b"),
        ({"extensions": {"a": {"x": "y" * 17_000}}}, "/extensions"),
        ({"summary": "a\0b"}, ""),
    ],
)
def test_a_mistake_is_named_by_its_pointer(fields: dict[str, Any], pointer: str) -> None:
    """Each rule of the record refuses what breaks it, and says where."""
    assert faults(**fields) == [pointer]


def test_all_mistakes_are_named_at_once() -> None:
    """Nobody has to send a form five times to learn of five mistakes."""
    assert faults(name=" ", phone="1", opening_hours="?", families=["x"]) == [
        "/name",
        "/families/0",
        "/phone",
        "/opening_hours",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"address": None, "position": {"lat": 47.0, "lon": -2.0}},
        {"address": {"insee": "56260"}},
        {"address": None, "kind": "virtual"},
        {"address": None, "kind": "undisclosed"},
        {"address": {"postcode": "1000", "country": "BE"}},
        {"opened_on": "2020", "closed_on": "2020-03"},
        {"verified_on": "2026-06-01"},
        {"website": "http://café.bzh:8080/x?y#z"},
        {"identifiers": [{"scheme": "siret", "value": "35600000000048"}]},
    ],
)
def test_what_a_network_can_truthfully_give_is_enough(fields: dict[str, Any]) -> None:
    """Any one way to locate a place will do, and honest values pass."""
    assert faults(**fields) == []


def test_a_place_that_no_node_could_carry_is_refused() -> None:
    """The whole record stays within what an event holds."""
    names = [f"{n:03}" + "é" * 190 for n in range(120)]
    assert faults(alternate_names=names) == [""]


def test_the_closest_landmarks_are_suggested() -> None:
    """Who mistypes a landmark is told which one was meant."""
    (fault,) = checked(families=["co-working"]).faults
    assert str(fault.args["close"]).startswith("coworking")


@pytest.mark.parametrize(
    ("phone", "number"),
    [
        ("02 97 00 00 00", "+33297000000"),
        ("+33 (0)2.97.00.00.00", "+33297000000"),
        ("297000000", "+33297000000"),
        ("0262 20 00 00", "+262262200000"),
        ("+33 262 20 00 00", "+262262200000"),
        ("0269 61 00 00", "+262269610000"),
        ("0590 82 00 00", "+590590820000"),
        ("0596 63 00 00", "+596596630000"),
        ("0594 30 00 00", "+594594300000"),
        ("+32 2 555 12 12", "+3225551212"),
        ("3949", None),
        ("non", None),
    ],
)
def test_phone_numbers_become_international(phone: str, number: str | None) -> None:
    """French numbers, overseas ones with their own country codes, and foreign ones are told apart."""
    assert places.e164(phone) == number


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ({"postcode": "56000"}, "56"),
        ({"postcode": "01000"}, "01"),
        ({"postcode": "20000"}, "2A"),
        ({"postcode": "20600"}, "2B"),
        ({"postcode": "97410"}, "974"),
        ({"postcode": "97150"}, "978"),
        ({"postcode": "98800"}, "988"),
        ({"postcode": "99999"}, None),
        ({"insee": "2A004", "postcode": "56000"}, "2A"),
        ({"insee": "02285"}, "59"),
        ({"postcode": "1000", "country": "BE"}, None),
        (None, None),
    ],
)
def test_a_place_lies_in_a_departement(address: dict[str, str] | None, code: str | None) -> None:
    """The INSEE code says it, else the postcode, in Corsica and overseas too."""
    assert places.departement(place(address=address, position={"lat": 1.5, "lon": 1.5})) == code


@pytest.mark.parametrize(
    ("address", "pointers"),
    [
        ({"insee": "56260", "postcode": "56000"}, []),
        ({"insee": "75110", "postcode": "75010"}, []),
        ({"insee": "75056", "postcode": "75010"}, []),
        ({"insee": "56999"}, ["/address/insee"]),
        ({"insee": "56260", "postcode": "35000"}, ["/address/postcode"]),
        ({"insee": "56260", "postcode": "56019"}, []),
        ({"insee": "56260", "postcode": "75380"}, ["/address/postcode"]),
        ({"postcode": "99999"}, ["/address/postcode"]),
        ({"insee": "01340"}, []),
    ],
)
def test_doubts_are_said_and_refuse_nothing(address: dict[str, str], pointers: list[str]) -> None:
    """An unknown commune or a postcode of elsewhere is a warning; CEDEX fit their département."""
    assert warnings(address=address) == pointers
    assert faults(address=address) == []


def test_the_code_knows_communes_their_parts_and_what_they_became() -> None:
    """Communes, arrondissements, déléguées, associées and former codes all name a place of today."""
    vannes = communes.commune("56260")
    assert vannes is not None
    assert (vannes.name, vannes.departement, vannes.region, vannes.current) == ("Vannes", "56", "53", None)
    for code, current in (("75110", "75056"), ("02285", "59545"), ("01340", "01015")):
        part = communes.commune(code)
        assert part is not None
        assert part.current == current
        assert part.postcodes
    assert [communes.commune(code) for code in ("00000", "56", "5626", "é6260", "56260\t")] == [None] * 5
    assert communes.departement_name("2A") == "Corse-du-Sud"
    assert communes.departement_name("56260") is None


def test_the_list_of_communes_is_packed_from_its_source() -> None:
    """What the yearly command writes is what the lookups read."""
    here: list[dict[str, Any]] = [
        {"code": "01015", "nom": "Arboys", "departement": "01", "type": "commune-actuelle", "codesPostaux": ["01300"],
         "anciensCodes": ["01340"]},
        {"code": "01015", "nom": "Arbignieu", "departement": "01", "type": "commune-deleguee", "chefLieu": "01015"},
        {"code": "01016", "nom": "Partie", "departement": "01", "type": "commune-associee", "chefLieu": "01015"},
    ]  # fmt: skip
    packed = communes.pack(here, [{"code": "01", "nom": "Ain", "region": "84"}])
    assert communes.unpacked(packed) == [
        b"01\tAin\t84\t\t",
        b"01015\tArboys\t01\t01300\t",
        b"01016\tPartie\t01\t01300\t01015",
        b"01340\tArboys\t01\t01300\t01015",
    ]


@pytest.mark.parametrize(
    "text", ["Mo-Fr 09:00-18:00", "24/7", "Sa 13:30-17:30; PH off", "08:00-12:00,14:00-18:00"]
)
def test_hours_in_openstreetmap_syntax_pass(text: str) -> None:
    """What OpenStreetMap takes, a place takes."""
    assert places.are_hours(text)


def test_real_hours_are_told_apart() -> None:
    """Of the real strings at hand every valid one passes and every other is refused."""
    real = json.loads(HOURS.read_bytes()) if HOURS.exists() else {"valid": ["24/7"], "refused": ["lundi 9h"]}
    valid, refused = real.values()
    assert [text for text in valid if not places.are_hours(text)] == []
    assert [text for text in refused if places.are_hours(text)] == []
