"""Exports lose nothing: imported again unchanged they give the same places."""

import csv
import io
import json
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.place import Place
from schemas.vocabulary import LANDMARKS
from services.places import check
from services.registry import decide, mapping, reading, rendering
from services.registry.headings import HEADINGS
from services.registry.mapping import Source
from services.registry.reading import Row
from services.registry.rendering import Stored

TODAY = date(2026, 6, 1)
NODE = "a" * 26
RECORD = f"{NODE}:018f0000-0000-7000-8000-000000000000"
ROUND = {"csv": rendering.csv, "geojson": rendering.geojson, "jsonl": rendering.ndjson}


def stored(place: Place) -> Stored:
    """A place as the registry has it."""
    return Stored(RECORD, 3, "2026-01-02T03:04:05.678901Z", place)


def place(**fields: Any) -> Place:
    """A checked place in Vannes with these fields."""
    tree = {"name": "La Fabrique", "status": "open", "address": {"postcode": "56000"}} | fields
    found = check(msgspec.json.decode(json.dumps(tree), type=Place), today=TODAY)
    assert found.faults == ()
    return found.place


def back(data: bytes, format: reading.Format) -> mapping.Drafted:
    """The first row of an export, imported again."""
    rows = [row for row in reading.rows(io.BytesIO(data), format) if isinstance(row, Row)]
    fields = mapping.guess(list(rows[0].cells), [row.cells for row in rows])
    return mapping.drafted(rows[0], fields, Source("export", None, TODAY, "bzh"))


# Text that spreadsheets, separators and readers of lists stumble over.
TEXT = st.text(
    st.one_of(
        st.sampled_from("=+-@'\"\\;|,:\n\r\t éÉœ<>&#%{}[]0123456789"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=20,
)
NAME = TEXT.map(lambda text: "a" + text) | TEXT.map(lambda text: text + "z")
WORD = st.from_regex(r"[a-z0-9][a-z0-9.\-]{0,5}:[^\s:\x00][^\s\x00]{0,8}", fullmatch=True)
WEB = st.sampled_from(["https://a.fr/x;y", "http://b.bzh", "https://c.fr/?q='=1|2"])
DAY = st.dates(date(1900, 1, 1), TODAY).map(date.isoformat)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


EXTENSIONS = st.dictionaries(
    st.sampled_from(["bzh", "été", 'a"b']),
    st.dictionaries(TEXT, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, max_size=3),
    max_size=2,
)
PLACES = st.fixed_dictionaries(
    {
        "name": NAME,
        "status": st.sampled_from(["project", "open", "paused", "closed"]),
        "address": st.fixed_dictionaries(
            {"postcode": st.sampled_from(["56000", "01500", "97410"])},
            optional={"street": TEXT, "extra": TEXT, "city": TEXT, "insee": st.just("56260")},
        ),
    },
    optional={
        "kind": st.sampled_from(["physical", "itinerant", "virtual"]),
        "position": st.fixed_dictionaries(
            {"lat": st.floats(-90, 90), "lon": st.floats(1, 180)},
            optional={"precision": st.sampled_from(["exact", "street", "commune", "unknown"])},
        ),
        "alternate_names": st.lists(NAME, max_size=3),
        "opened_on": st.sampled_from(["2001", "2001-02", "1970-01-01"]),
        "closed_on": st.sampled_from(["2020", "2020-12-31"]),
        "verified_on": DAY,
        "verified_by": st.sampled_from(["place", "network", "import"]),
        "join": st.sampled_from(["auto", "claims"]),
        "families": st.lists(st.sampled_from(LANDMARKS), max_size=3),
        "types": st.lists(WORD, max_size=3),
        "services": st.lists(st.sampled_from(["wifi", "a;b", "x|y:z", "+q", "bzh:é\\"]), max_size=3),
        "summary": TEXT,
        "description": TEXT,
        "website": WEB,
        "links": st.lists(st.fixed_dictionaries({"rel": NAME, "url": WEB}), max_size=2),
        "phone": st.sampled_from(["02 97 00 00 00", "+262262200000", "+3225551212", "+33296630000"]),
        "email": st.sampled_from(["a@b.fr", "=1@b.fr"]),
        "opening_hours": st.sampled_from(["24/7", 'Mo-Fr 09:00-18:00; PH off "sur rdv"']),
        "opening_hours_text": TEXT,
        "accessibility": some(wheelchair=st.sampled_from(["yes", "limited", "no"]), acceslibre=WEB),
        "surface": some(built_m2=st.floats(0, 1e7), outdoor_m2=st.floats(0, 1e9)),
        "operator": some(name=TEXT, legal_forms=st.lists(TEXT, max_size=2), governance=st.lists(NAME, max_size=2)),
        "identifiers": st.lists(
            st.sampled_from([
                {"scheme": "siret", "value": "35600000000048"},
                {"scheme": "osm", "value": "node:1;2"},
            ]),
            max_size=2,
        ),
        "labels": st.lists(st.fixed_dictionaries({"code": WORD}, optional={"from": DAY, "issuer": TEXT}), max_size=2),
        "photos": st.lists(st.fixed_dictionaries({"url": WEB}, optional={"credit": TEXT}), max_size=2),
        "license": st.sampled_from(["etalab-2.0", "ODbL-1.0"]),
        "origin": st.fixed_dictionaries({"system": NAME, "id": NAME}, optional={"url": WEB}),
        "extensions": EXTENSIONS,
    },
)  # fmt: skip


@pytest.mark.parametrize("format", ["csv", "geojson", "jsonl"])
@settings(
    max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], deadline=None
)
@given(tree=PLACES)
def test_an_export_imported_again_gives_the_same_bytes(format: reading.Format, tree: dict[str, Any]) -> None:
    """Whatever a place holds, no export and no import of it changes a byte, and none makes an event."""
    if "verified_on" not in tree:
        tree.pop("verified_by", None)
    checked = check(msgspec.json.decode(json.dumps(tree), type=Place), today=TODAY)
    if checked.faults:
        return
    data = b"".join(ROUND[format]([stored(checked.place)]))
    found = back(data, format)
    assert found.place is not None, found.faults
    # Who verified it is not told by a cell; the record knows.
    there, here = (replace(each, verified_by=None) for each in (found.place, checked.place))
    assert msgspec.json.encode(there) == msgspec.json.encode(here)
    row = decide.Row("", 1, 1, 1, datetime.now(UTC), msgspec.json.encode(checked.place))
    wish = decide.Import("", msgspec.json.encode(found.place), exported=True, version=1)
    assert decide.decide(row, wish) == decide.Unchanged()
    assert found.record == RECORD
    assert found.repairs == ()


@pytest.mark.parametrize("format", ["csv", "geojson", "jsonl"])
def test_the_bytes_of_an_extension_survive_every_export(format: reading.Format) -> None:
    """How a neighbour wrote its own fields is not ours to change."""
    raw = b'{ "b":1e2,\n "a" : "\\u00e9" }'
    body = b'{"name":"x","status":"open","address":{"postcode":"56000"},"extensions":{"n":' + raw + b"}}"
    original = check(msgspec.json.decode(body, type=Place), today=TODAY).place
    data = b"".join(ROUND[format]([stored(original)]))
    if format == "jsonl":
        data = data.replace(b"\n ", b"  ")
        raw = raw.replace(b"\n ", b"  ")
    found = back(data, format).place
    assert found is not None
    assert bytes(found.extensions["n"]) == raw


@given(text=TEXT)
def test_no_cell_of_an_export_runs_in_a_spreadsheet(text: str) -> None:
    """A name like =HYPERLINK(…) stays a name; plain numbers stay numbers."""
    (row,) = csv.DictReader(
        io.StringIO(b"".join(rendering.csv([stored(place(name="=" + text + "x", city="@b"))])).decode())
    )
    assert not [cell for cell in row.values() if cell[:1] in set("=+-@\t\r")]


def test_a_csv_speaks_french() -> None:
    """Headings and states are those of a coordinator, phone numbers those of a poster."""
    data = b"".join(
        rendering.csv([stored(place(phone="+33297000000", position={"lat": 47.5, "lon": -2.0}))], bom=True)
    )
    assert data.startswith(rendering.BOM)
    (row,) = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert tuple(row) == HEADINGS
    picked = ("identifiant", "version", "nom", "statut", "code postal", "latitude", "longitude", "téléphone")
    assert [row[name] for name in picked] == [
        RECORD, "3", "La Fabrique", "ouvert", "56000", "47.5", "-2", "02 97 00 00 00",
    ]  # fmt: skip


def test_a_changed_export_goes_in_with_repairs() -> None:
    """A spreadsheet that ate a zero, and a hand that typed a word, do not cost the row."""
    data = b"".join(rendering.csv([stored(place(address={"postcode": "01500"}))])).decode()
    found = back(data.replace("01500", "1500").replace("ouvert,", "Fermé,", 1).encode(), "csv")
    assert found.place is not None
    assert found.place.address is not None
    assert (found.place.status, found.place.address.postcode, found.record) == ("closed", "01500", RECORD)


def test_an_export_with_a_column_more_is_still_known_by_its_ids() -> None:
    """Who adds a column to an export changes places; nobody gets them twice."""
    data = b"".join(rendering.csv([stored(place())])).decode().splitlines()
    found = back(f"{data[0]},jardin\n{data[1]},oui\n".encode(), "csv")
    assert found.record == RECORD
    assert found.place is not None
    assert {name: bytes(raw) for name, raw in found.place.extensions.items()} == {"bzh": b'{"jardin":"oui"}'}
    assert found.place.origin is None


def test_geojson_is_flat_and_valid() -> None:
    """GIS programs get one feature a place, its properties without lists."""
    places = [place(types=["a:b", "a:c"], position={"lat": 47.5, "lon": -2}), place(name="Sans point")]
    found = json.loads(b"".join(rendering.geojson(map(stored, places))))
    assert [feature["geometry"] for feature in found["features"]] == [
        {"type": "Point", "coordinates": [-2.0, 47.5]},
        None,
    ]
    assert found["features"][0]["properties"]["types"] == "a:b;a:c"
    assert not [v for f in found["features"] for v in f["properties"].values() if isinstance(v, list | dict)]


def test_an_export_of_no_place_is_an_export() -> None:
    """An empty registry gives headings, an empty collection, nothing."""
    assert b"".join(rendering.csv([])).count(b"\n") == 1
    assert json.loads(b"".join(rendering.geojson([])))["features"] == []
    assert b"".join(rendering.ndjson([])) == b""
    assert json.loads(b"".join(rendering.jsonld([])))["@graph"] == []


def test_search_engines_get_the_words_they_know() -> None:
    """Name, address, point and telephone stand where schema.org wants them, and nothing empty."""
    node = rendering.node(stored(place(phone="+33297000000", position={"lat": 47.5, "lon": -2})))
    assert node == {
        "@type": "LocalBusiness",
        "@id": f"urn:maillage:{RECORD}",
        "name": "La Fabrique",
        "address": {"@type": "PostalAddress", "postalCode": "56000", "addressCountry": "FR"},
        "geo": {"@type": "GeoCoordinates", "latitude": 47.5, "longitude": -2.0},
        "telephone": "+33297000000",
    }
