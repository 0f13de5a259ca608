"""The rows of anybody's list become places; what is put right is said, what cannot be is refused."""

import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.registry import mapping, reading
from services.registry.mapping import OWN, Drafted, Mapping, Source
from services.registry.reading import Row

DATA = Path(__file__).parents[3] / "shared" / "data"
SOURCE = Source(system="liste", license=None, today=date(2026, 6, 1), namespace="bzh")
CGET = (
    "ID,NOM_TL,ADRESSE,CP,COMINIT,INSEECOM,NOMCOM,WEB,TWITTER,FACEBOOK,TYPO,LAT,LONG,GEOCOD,PRECISION,METRO,INSEECOM\n"
    "1,ADE Coworking,9 Rue du Petit,44300,Nantes,44109,Nantes,www.ade.net,@ade,,Tiers lieux à dominante coworking,"
    '"47,245935","-1,505602",x,0.94,1,44109\n'
)


def draft(data: str | bytes, format: reading.Format = "csv", source: Source = SOURCE) -> list[Drafted]:
    """What becomes of a whole list, as an import does it."""
    file = io.BytesIO(data if isinstance(data, bytes) else data.encode())
    rows = [row for row in reading.rows(file, format) if isinstance(row, Row)]
    columns = list(dict.fromkeys(column for row in rows for column in row.cells))
    one = mapping.compiled(mapping.guess(columns, [row.cells for row in rows]), source)
    return [one(row) for row in rows]


def row(source: Source = SOURCE, /, **cells: Any) -> Drafted:
    """What becomes of one row that has a name and a postcode besides these cells."""
    cells = {"nom": "La Fabrique", "statut": "ouvert", "code postal": "56000"} | cells
    return mapping.drafted(Row(2, cells), mapping.guess(list(cells), [cells]), source)


def record(found: Drafted) -> dict[str, Any]:
    """The place as JSON, without what every row of these tests has."""
    assert found.faults == ()
    assert found.place is not None
    tree: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found.place))
    return {name: value for name, value in tree.items() if name not in ("name", "status")}


def test_a_list_of_the_agency_of_territories_is_understood() -> None:
    """The headings of 2019, French decimals, its words and its second INSEECOM all find their place."""
    (found,) = draft(CGET)
    assert found.key == "liste 1"
    assert record(found) == {
        "address": {"street": "9 Rue du Petit", "postcode": "44300", "city": "Nantes", "insee": "44109"},
        "position": {"lat": 47.245935, "lon": -1.505602},
        "types": ["bzh:tiers-lieux-a-dominante-coworking"],
        "website": "https://www.ade.net",
        "links": [{"rel": "twitter", "url": "https://twitter.com/ade"}],
        "origin": {"system": "liste", "id": "1"},
        "extensions": {
            "bzh": {
                "NOMCOM": "Nantes",
                "GEOCOD": "x",
                "PRECISION": "0.94",
                "METRO": "1",
                "INSEECOM#2": "44109",
            }
        },
    }
    assert mapping.NO_STATUS in found.repairs


def test_the_mediation_standard_is_understood() -> None:
    """The columns of the national standard of digital mediation fill the record, its fourteen zeros do not."""
    heading = (
        "id;pivot;nom;commune;code_postal;code_insee;adresse;complement_adresse;latitude;longitude;typologie;telephone;"
        "courriels;site_web;horaires;presentation_resume;source;itinerance;structure_parente;date_maj;services;"
        "fiche_acces_libre;prise_rdv"
    )
    line = (
        "s1;00000000000000;La Fab;Vannes;56000;56260;1 rue X;Bât. B;47.65;-2.76;ASSO|TIERS_LIEUX;0297000000;"
        "a@b.fr|c@d.fr;https://fab.fr;Mo-Fr 09:00-12:00;Un lieu;hubik;Non;Le Réseau;2025-03-04;Wifi, Aide;"
        "https://acceslibre.beta.gouv.fr/x;https://rdv.fr/x"
    )
    (found,) = draft(f"{heading}\n{line}\n")
    assert record(found) == {
        "verified_on": "2025-03-04",
        "verified_by": "import",
        "address": {
            "street": "1 rue X", "extra": "Bât. B", "postcode": "56000", "city": "Vannes", "insee": "56260",
        },
        "position": {"lat": 47.65, "lon": -2.76},
        "types": ["bzh:asso", "bzh:tiers-lieux"],
        "services": ["bzh:wifi", "bzh:aide"],
        "summary": "Un lieu",
        "website": "https://fab.fr",
        "links": [{"rel": "booking", "url": "https://rdv.fr/x"}],
        "phone": "+33297000000",
        "email": "a@b.fr",
        "opening_hours": "Mo-Fr 09:00-12:00",
        "accessibility": {"acceslibre": "https://acceslibre.beta.gouv.fr/x"},
        "operator": {"name": "Le Réseau"},
        "origin": {"system": "hubik", "id": "s1"},
    }  # fmt: skip
    assert [fault.where for fault in found.repairs if fault.where] == ["pivot"]


def test_a_map_of_a_region_is_understood() -> None:
    """The properties of the Breton map: markup in addresses, handles of platforms, its own words."""
    feature = {
        "type": "Feature",
        "properties": {
            "id": "3", "name": "CréaTech", "organisation": "Asso", "structure": "fablabMIT",
            "adresse": "Espace<br />Place d&#039;Armorique", "cp": 1500, "ville": "X", "web": "http//a.fr",
            "facebook": "AnDa", "mastodon": "@a@b.social", "tel": "02 97 00 00 00 / 06 00 00 00 00", "rss": "",
        },
        "geometry": {"type": "Point", "coordinates": [-2.7, 47.6]},
    }  # fmt: skip
    (found,) = draft(json.dumps({"type": "FeatureCollection", "features": [feature]}), "geojson")
    assert record(found) == {
        "address": {"street": "Espace, Place d'Armorique", "postcode": "01500", "city": "X"},
        "position": {"lat": 47.6, "lon": -2.7},
        "types": ["bzh:fablabmit"],
        "website": "http://a.fr",
        "links": [
            {"rel": "facebook", "url": "https://www.facebook.com/AnDa"},
            {"rel": "mastodon", "url": "https://b.social/@a"},
        ],
        "phone": "+33297000000",
        "operator": {"name": "Asso"},
        "origin": {"system": "liste", "id": "3"},
    }


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"code postal": "1500"}, {"address": {"postcode": "01500"}}),
        ({"code postal": 1500}, {"address": {"postcode": "01500"}}),
        ({"code postal": "00000", "insee": "56260"}, {"address": {"insee": "56260"}}),
        ({"insee": "0null"}, {}),
        ({"insee": "1053"}, {"address": {"postcode": "56000", "insee": "01053"}}),
        ({"siret": "00000000000000"}, {}),
        ({"siret": "12345678901234"}, {}),
        ({"siret": "356 000 000 00048"}, {"identifiers": [{"scheme": "siret", "value": "35600000000048"}]}),
        ({"email": "pas d'adresse @"}, {}),
        ({"tel": "39 49"}, {}),
        ({"horaires": "du lundi au vendredi"}, {"opening_hours_text": "du lundi au vendredi"}),
        ({"date_maj": "01/01/1970"}, {}),
        ({"date_maj": "04/03/2025"}, {"verified_on": "2025-03-04", "verified_by": "import"}),
        ({"date_maj": "2030-01-01"}, {}),
        ({"date d'ouverture": "05/2019"}, {"opened_on": "2019-05"}),
        ({"site": "www.a.fr ; www.b.fr"}, {"website": "https://www.a.fr"}),
        ({"latitude": "-2,76", "longitude": "47,65"}, {"position": {"lat": 47.65, "lon": -2.76}}),
        ({"lat": "0", "lon": "0"}, {}),
        ({"lat": "47.6", "lon": ""}, {}),
        ({"lat": "147.6", "lon": "2"}, {}),
        ({"résumé": "x" * 281}, {"description": "x" * 281}),
        ({"repères communs": "Fablab;Boulangerie"}, {"families": ["fablab"], "types": ["bzh:boulangerie"]}),
        ({"surface": "1 250,5 m²"}, {"surface": {"built_m2": 1250.5}}),
        ({"pays": "Wakanda"}, {}),
        ({"licence": "Licence Ouverte 2.0"}, {"license": "etalab-2.0"}),
        ({"licence": "?"}, {}),
        ({"pmr": "Oui"}, {"accessibility": {"wheelchair": "yes"}}),
        ({"nombre de postes": "12"}, {"extensions": {"bzh": {"nombre de postes": "12"}}}),
        ({"photo": "a.fr/x.jpg"}, {"photos": [{"url": "https://a.fr/x.jpg"}]}),
    ],
)
def test_what_real_lists_get_wrong_is_put_right(cells: dict[str, Any], expected: dict[str, Any]) -> None:
    """Each mistake counted in real lists is repaired or left out, and the row goes in."""
    assert record(row(**cells)) == {"address": {"postcode": "56000"}} | expected


@pytest.mark.parametrize("column", ["insee", "siret", "tel", "date_maj", "pays", "horaires", "lat"])
def test_what_is_left_out_is_reported_with_its_column(column: str) -> None:
    """The report names the column of the list, not a field that the reader has never seen."""
    found = row(**{column: "x", "lon": "2"} if column == "lat" else {column: "lundi"})
    fields = {column: mapping.guess([column]).fields[column], "nom": "name", "cp": "address.postcode"}
    cells = {column: "lundi", "nom": "La Fabrique", "cp": "56000"}
    found = mapping.drafted(Row(2, cells), Mapping(fields), SOURCE)
    assert found.place is not None
    assert column in [fault.where for fault in found.repairs]


def test_latitude_in_the_column_named_x_is_noticed() -> None:
    """Columns exchanged in a whole list are turned by their values."""
    samples = [{"X": "48.1", "Y": "-1.6"}, {"X": "47.2", "Y": "-1.5"}]
    assert mapping.guess(["X", "Y"], samples).fields == {"X": "position.lat", "Y": "position.lon"}
    assert mapping.guess(["X", "Y"], []).fields == {"X": "position.lon", "Y": "position.lat"}


def test_metres_of_lambert_93_become_degrees() -> None:
    """Metres with decimal commas are converted, and the report says so."""
    found = row(x="652381,5", y="6862047,25")
    position = record(found)["position"]
    assert (round(position["lat"], 4), round(position["lon"], 4)) == (48.8567, 2.351)
    assert any("Lambert" in fault.what for fault in found.repairs)


def test_of_two_columns_for_one_field_the_better_known_wins() -> None:
    """The other one is kept as a field of the network's own, and numbers are no precision."""
    samples = [{"COMINIT": "Brest", "NOMCOM": "Brest", "PRECISION": "0.9", "X": ""}]
    assert mapping.guess(["COMINIT", "NOMCOM", "PRECISION"], samples).fields == {
        "COMINIT": "address.city",
        "NOMCOM": OWN,
        "PRECISION": OWN,
    }


def test_a_column_can_be_left_out_or_kept_under_another_name() -> None:
    """What the coordinator chooses is what happens."""
    fields = {"a": "name", "b": "", "c": "extensions.autre", "cp": "address.postcode"}
    found = mapping.drafted(Row(2, {"a": "x", "b": "y", "c": [1], "cp": "56000"}), Mapping(fields), SOURCE)
    assert record(found) == {"address": {"postcode": "56000"}, "extensions": {"autre": {"c": [1]}}}


def test_a_column_that_comes_late_is_not_lost() -> None:
    """What the rows at the top of a list do not have is kept from the rows below."""
    late = {"nom": "x", "cp": "56000", "jardin": "oui", "_lat": 47.5, "_lon": -2.0}
    fields = mapping.guess(["nom", "cp"], [{"nom": "y", "cp": "56000"}])
    assert record(mapping.drafted(Row(2, late), fields, SOURCE)) == {
        "address": {"postcode": "56000"},
        "position": {"lat": 47.5, "lon": -2.0},
        "extensions": {"bzh": {"jardin": "oui"}},
    }


@pytest.mark.parametrize(
    ("target", "known"),
    [
        ("name", True), ("address.insee", True), ("", True), (OWN, True), ("position", True), ("extensions.a", True),
        ("identifiers.siret", True), ("links.blog", True), ("address", False), ("nom", False), ("links.A B", False),
    ],
)  # fmt: skip
def test_a_column_goes_nowhere_that_does_not_exist(target: str, known: bool) -> None:
    """A field that no record has is told apart, and a column sent there is kept as one's own."""
    assert mapping.is_target(target) == known
    cells = {"a": "x", "nom": "y", "cp": "56000"}
    found = mapping.drafted(
        Row(2, cells), Mapping({"nom": "name", "cp": "address.postcode", "a": target}), SOURCE
    )
    assert found.place is not None
    assert known or record(found)["extensions"] == {"bzh": {"a": "x"}}


def test_a_row_that_cannot_be_repaired_is_refused_with_reasons() -> None:
    """No name, or nowhere to be: the row stays out and keeps its key, so that nobody takes it for gone."""
    nameless, nowhere = draft("id;nom;cp\n1;;56000\n2;La Fab;0\n")
    assert [(nameless.place, nameless.key), (nowhere.place, nowhere.key)] == [
        (None, "liste 1"),
        (None, "liste 2"),
    ]
    assert [fault.where for fault in nameless.faults] == ["nom"]
    assert "postcode" in nowhere.faults[0].what


def test_a_row_without_id_is_known_by_name_postcode_and_street() -> None:
    """Capitals and accents do not make another place; another street does."""
    keys = [
        row(nom=nom, rue=rue).key
        for nom, rue in (("Été", "1 Rue X"), ("ETE ", "1, rue x"), ("Été", "2 rue X"))
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_licence_of_the_list_holds_for_its_rows() -> None:
    """The licence that the import was told goes into every record that states none."""
    source = Source("liste", "ODbL-1.0", date(2026, 6, 1), "bzh")
    assert record(row(source))["license"] == "ODbL-1.0"
    assert record(row(source, licence="CC0-1.0"))["license"] == "CC0-1.0"


def test_records_are_taken_as_they_are() -> None:
    """A line that is a record already keeps every field, and its extensions byte for byte."""
    raw = '{"name":"a","status":"paused","address":{"insee":"56260"},"extensions":{"x":{"b" : 1e2}}}'
    bare, exported = draft(raw + '\n{"id":"r","version":3,"place":' + raw + "}\n", "jsonl")
    assert bare.place == exported.place
    assert bare.place is not None
    assert bytes(bare.place.extensions["x"]) == b'{"b" : 1e2}'
    assert (bare.record, exported.record) == (None, "r")


def test_a_record_with_an_unknown_field_is_refused() -> None:
    """Who sends records is told of a misspelled field instead of losing it."""
    (found,) = draft('{"name":"a","status":"open","adress":{},"address":{"insee":"56260"}}\n', "jsonl")
    assert [fault.where for fault in found.faults] == ["/adress"]


@pytest.mark.parametrize("value", ["x" * 300, ["a", {"b": 1}], {"a": 1}, 1e400, True, -3, "\ud7ff<b>"])
@pytest.mark.parametrize(
    "column", ["nom", "cp", "lat", "types", "liens", "photos", "siret", "champs propres", "tel"]
)
def test_no_value_stops_an_import(column: str, value: Any) -> None:
    """Whatever stands in a cell, the row is taken or refused, never a crash."""
    found = row(**{column: value, "lon": "2"})
    assert (found.place is None) == bool(found.faults)


def test_a_namespace_is_made_of_any_name() -> None:
    """A source called anything gives words that a record takes."""
    assert [mapping.slug(text) for text in ("Liste 2019 (CGET)", "été", "…")] == [
        "liste-2019-cget",
        "ete",
        "import",
    ]


def test_every_row_of_the_real_lists_is_taken_or_refused_with_a_reason() -> None:
    """Where the real lists are at hand: only the rows without a name stay out."""
    lists = [
        *sorted(DATA.glob("lists/cget*")),
        *DATA.glob("lists/bretagne-2020*"),
        *DATA.glob("federation/*"),
    ]
    files = [(path, path.read_bytes()) for path in lists]
    found = [each for path, data in files for each in draft(data, reading.sniff(io.BytesIO(data), path.name))]
    refused = [each for each in found if each.place is None]
    assert len(found) == (4657 + 2681 if lists else 0)
    assert len(refused) == (12 if lists else 0)
    assert {fault.where for each in refused for fault in each.faults} <= {"name"}
