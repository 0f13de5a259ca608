"""Lists are read as people have them, and a bad row stops no other."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import Malformed, TooLarge, Unsupported
from services.registry import reading
from services.registry.reading import BadRow, Format, Row

LISTS = Path(__file__).parents[3] / "shared" / "data" / "lists"
POINT = {
    "type": "Feature",
    "properties": {"name": "a, ]"},
    "geometry": {"type": "Point", "coordinates": [-2.7, 47.6]},
}


def read(data: bytes, format: Format = "csv") -> list[Row | BadRow]:
    """All rows of a list."""
    return list(reading.rows(io.BytesIO(data), format))


def cells(data: bytes, format: Format = "csv") -> list[dict[str, Any]]:
    """The cells of the rows that could be read."""
    return [row.cells for row in read(data, format) if isinstance(row, Row)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_csv_is_read_in_any_dialect(delimiter: str, encoding: str, ending: str) -> None:
    """Separators and encodings of spreadsheets are found out, and the words come out right."""
    rows = [["nom", "ville"], ["Café de l'œuvre", "Besançon"], [f"L'été{delimiter}ici", "Orléans"]]
    text = ending.join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    assert cells(text.encode(encoding)) == [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


@pytest.mark.parametrize("encoding", ["mac_roman", "cp850"])
def test_old_encodings_are_recognised_by_the_sense_they_make(encoding: str) -> None:
    """A list from an old Mac or from DOS keeps its accents, and the report says how it was read."""
    text = "nom,ville\nCafé à l'été,Orléans\nThéâtre où ça,Besançon\n"
    first, second = read(text.encode(encoding))
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.cells == {"nom": "Café à l'été", "ville": "Orléans"}
    assert [fault.args["encoding"] for fault in first.repairs] == [encoding]
    assert second.repairs == ()


def test_odd_rows_are_reported_with_their_line() -> None:
    """Too many cells refuse a row, too few are filled and said, empty ones are passed over."""
    data = b'sep=;\nnom;ville\n"L\'ate\nlier";Brest\n;\nx;y;z\nx;y;\nx\n'
    found = read(data)
    assert [(row.line, type(row)) for row in found] == [(3, Row), (6, BadRow), (7, Row), (8, Row)]
    assert cells(data) == [
        {"nom": "L'ate\nlier", "ville": "Brest"},
        {"nom": "x", "ville": "y"},
        {"nom": "x", "ville": ""},
    ]
    assert [len(row.repairs) for row in found if isinstance(row, Row)] == [0, 0, 1]


def test_headings_that_stand_twice_are_numbered() -> None:
    """The second INSEECOM of a real list is not lost, nor is a column without heading."""
    assert cells(b"INSEECOM,,INSEECOM\n1,2,3\n") == [{"INSEECOM": "1", "colonne 2": "2", "INSEECOM#2": "3"}]


def test_an_endless_line_is_left_out_and_said() -> None:
    """A line beyond all bounds costs no memory and no other row."""
    found = read(b"nom,ville\n" + b"x" * (3 * reading.LINE_BYTES) + b"\nLa Fabrique,Brest\n")
    assert sum(isinstance(row, BadRow) for row in found) == 1
    assert [row.cells["nom"] for row in found if isinstance(row, Row)] == ["La Fabrique"]


def test_a_quote_that_never_closes_ends_somewhere() -> None:
    """What a forgotten quote swallows is bounded; the rows after it are read."""
    good = b"La Fabrique,Brest\n" * 12_000
    found = read(b'nom,ville\n"oubli,Brest\n' + good)
    assert any(isinstance(row, BadRow) for row in found)
    assert isinstance(found[-1], Row)
    assert found[-1].cells == {"nom": "La Fabrique", "ville": "Brest"}


def test_a_list_of_too_many_columns_is_refused() -> None:
    """The number of columns is bounded."""
    (row,) = read(b",".join(b"c%d" % n for n in range(reading.CELLS + 1)) + b"\n1\n")
    assert isinstance(row, BadRow)


def test_the_apostrophe_against_formulas_is_taken_away() -> None:
    """A cell that our export kept from running is itself again; other apostrophes stay."""
    assert cells(b"nom,note\n'=1+1,'t Huis\n''@x,l'@telier\n") == [
        {"nom": "=1+1", "note": "'t Huis"},
        {"nom": "'@x", "note": "l'@telier"},
    ]


def test_json_lines_are_read_one_by_one() -> None:
    """Broken lines and lines that are no objects are reported with their number."""
    found = read(b'{"name": "a"}\n\n{"name": \n[1]\n{"name": "b"}', "jsonl")
    assert [(row.line, type(row)) for row in found] == [(1, Row), (3, BadRow), (4, BadRow), (5, Row)]
    assert isinstance(found[0], Row)
    assert found[0].raw == b'{"name": "a"}'


def test_geojson_gives_its_points_as_cells() -> None:
    """Points, missing geometries and larger shapes all give a row."""
    square = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 4], [0, 4], [0, 0]]]}
    features = [POINT, POINT | {"geometry": None, "id": 7}, POINT | {"geometry": square}]
    collection = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    assert cells(collection, "geojson") == [
        {"name": "a, ]", "_lon": -2.7, "_lat": 47.6},
        {"name": "a, ]", "id": 7},
        {"name": "a, ]", "_lon": 1.0, "_lat": 2.0},
    ]


def test_a_comma_too_many_is_left_out_and_said() -> None:
    """One file in twelve of a real history was no valid JSON; its places go in all the same."""
    text = json.dumps({"type": "FeatureCollection", "features": [POINT, POINT]})
    (first, second) = read(text.replace("}}]", "},},]").encode(), "geojson")
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert first.cells["name"] == "a, ]"
    assert (len(first.repairs), second.repairs) == (1, ())


def test_coordinates_of_another_system_are_converted() -> None:
    """A file that says it is in Lambert-93 gives degrees."""
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::2154"}}
    feature = POINT | {"geometry": {"type": "Point", "coordinates": [652381.0, 6862047.0]}}
    (found,) = cells(json.dumps({"crs": crs, "features": [feature]}).encode(), "geojson")
    assert (round(found["_lat"], 4), round(found["_lon"], 4)) == (48.8567, 2.351)


def test_a_plain_list_of_objects_is_read_too() -> None:
    """Many platforms publish a JSON array."""
    assert cells(b'[{"nom": "a"}, {"nom": "b"}]', "geojson") == [{"nom": "a"}, {"nom": "b"}]


def test_a_file_that_is_no_json_is_refused_whole() -> None:
    """Where nothing can be read the answer says so."""
    with pytest.raises(Malformed):
        read(b'{"features": [', "geojson")


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"nom;ville\n", "csv"),
        (b'\xef\xbb\xbf{"type": "FeatureCollection", "features": []}', "geojson"),
        (b'{\n "type": "FeatureCollection"}', "geojson"),
        (b'{"name": "a"}\n{"name": "b"}\n', "jsonl"),
        (b'{"name": "a"}', "jsonl"),
        (b'[{"nom": "a"}]', "geojson"),
        (b"", "csv"),
    ],
)
def test_the_format_is_found_out_by_content(data: bytes, format: str) -> None:
    """Nobody has to know what GeoJSON is."""
    file = io.BytesIO(data)
    assert reading.sniff(file) == format
    assert file.tell() == 0


def test_what_is_no_text_is_refused_with_advice() -> None:
    """A spreadsheet file is met by a sentence that says what to do."""
    with pytest.raises(Unsupported):
        reading.sniff(io.BytesIO(b"PK\x03\x04rest"))


def test_formats_have_the_names_that_people_use() -> None:
    """ndjson and jsonl are one, and an unknown word is refused."""
    assert [reading.checked(name) for name in ("tsv", "ndjson", "json")] == ["csv", "jsonl", "geojson"]
    with pytest.raises(Malformed):
        reading.checked("doc")


@pytest.mark.parametrize("format", ["csv", "jsonl"])
@given(data=st.binary(max_size=300))
def test_no_bytes_stop_the_reader(format: Format, data: bytes) -> None:
    """Whatever is uploaded is read or reported, never a crash."""
    assert all(isinstance(row, Row | BadRow) for row in read(data, format))


def test_the_real_lists_are_read_whole() -> None:
    """Where the real lists are at hand, not one of their rows is lost."""
    counts = {"cget-2019-04-27.csv": 1512, "cget-2019-03-21.csv": 1512, "bretagne-2020.geojson": 121}
    here = {name: count for name, count in counts.items() if (LISTS / name).exists()}
    for name, count in here.items():
        with (LISTS / name).open("rb") as file:
            found = list(reading.rows(file, reading.sniff(file, name)))
        assert [type(row) for row in found] == [Row] * count


@pytest.mark.parametrize("data", ["nom;cp\n".encode("utf-16"), b"nom;cp\rA;35000\r"])
def test_a_list_in_an_old_encoding_is_no_way_around_the_limit(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has to be read whole is refused above the size that is read whole, and not before."""
    monkeypatch.setattr(reading, "WHOLE_BYTES", len(data))
    read(data)
    monkeypatch.setattr(reading, "WHOLE_BYTES", len(data) - 1)
    with pytest.raises(TooLarge):
        read(data)


def test_a_quote_that_never_closes_costs_the_rest_of_a_list_and_says_so() -> None:
    """Lines swallowed by an open quotation mark are no name of a place: the row is refused, those before go in."""
    found = read(b'nom;ville\nA;Brest\n"B;Brest\nC;Brest\nD;Brest\n')
    assert [(row.line, type(row)) for row in found] == [(2, Row), (3, BadRow)]
    assert isinstance(found[1], BadRow)
    assert "never closed" in found[1].fault.what
    assert len(read(b'nom;ville\nA;Brest\n"B\nb";Brest')) == 2


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_without_its_mark(encoding: str) -> None:
    """A list in UTF-16 that does not say so comes out right, not as letters with zeros between them."""
    text = "nom;ville\nL’Œuf à l’été;Orléans\n"
    assert cells(text.encode(encoding)) == [{"nom": "L’Œuf à l’été", "ville": "Orléans"}]


def test_json_lines_with_commas_are_mended() -> None:
    """A comma behind a line, or before its last bracket, is left out and said."""
    found = read(b'{"nom":"A, }"},\n{"nom":"B",}\n{"nom":"C"}\n,\n', "jsonl")
    assert [row.cells["nom"] for row in found if isinstance(row, Row)] == ["A, }", "B", "C"]
    assert [len(row.repairs) for row in found if isinstance(row, Row)] == [1, 1, 0]
    assert isinstance(found[3], BadRow)


def test_a_file_of_bare_numbers_is_no_list_of_places() -> None:
    """What would take many times its size in memory is refused before it is read."""
    with pytest.raises(Malformed):
        read(b"[" + b"1," * 10_000 + b"1]", "geojson")
