"""What a query says: spans of time, filters, boxes, words; without a service."""

from datetime import UTC, datetime
from itertools import product

import pytest

from services.errors import Malformed
from services.sync import cql, crs, searching
from services.sync.cql import Between, Compare, Either, Every, In, IsNull, Like, Not
from services.sync.items_store import Near, near_box
from services.sync.outlines import around, outlines
from services.sync.spans import span

MIDNIGHT = datetime(2026, 1, 31, tzinfo=UTC)
EVENING = datetime(2026, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
SPANS = (
    ("2026-01-31", (MIDNIGHT, EVENING)),
    ("2026-01-31T12:00:00Z", (NOON, NOON)),
    ("2026-01-31t13:00:00+01:00", (NOON, NOON)),
    ("2026-01-31T13:00:00 01:00", (NOON, NOON)),
    ("2026-01-31T12:00:00", (NOON, NOON)),
    ("2026-01-31T12:00:00.123456789Z", (NOON.replace(microsecond=123456),) * 2),
    ("2026-01-31T/..", (MIDNIGHT, None)),
    ("2026-01-31/", (MIDNIGHT, None)),
    ("../2026-01-31", (None, EVENING)),
    ("/2026-01-31T12:00:00Z", (None, NOON)),
    ("../..", (None, None)),
    ("2026-01-31/2026-01-31", (MIDNIGHT, EVENING)),
)
NO_SPANS = (
    "",
    "..",
    "hier",
    "2026",
    "2026-02-30",
    "2026-01-31/2026-01-30",
    "a/b/c",
    "2026-01-31T25:00:00Z",
    "0000-00-00",
)


def test_spans_of_time_are_read_as_clients_send_them() -> None:
    """A moment, a day, open ends in both spellings, the `T` that GDAL leaves behind; nothing else."""
    assert [span(text) for text, _ in SPANS] == [found for _, found in SPANS]
    assert [span(text) for text in NO_SPANS] == [None] * len(NO_SPANS)


FILTERS = (
    ("name = 'L''atelier'", Compare("name", "=", "L'atelier")),
    ('"name"=\'x\'', Compare("name", "=", "x")),
    ("3 <= voices", Compare("voices", ">=", 3.0)),
    ("voices = -1.5e1", Compare("voices", "=", -15.0)),
    ("NOT city IS NULL", Not(IsNull("city"))),
    ("city IS NOT NULL", Not(IsNull("city"))),
    ("((voices=1))", Compare("voices", "=", 1.0)),
    ("voices=1 OR voices=2 AND NOT voices=3", Either((
        Compare("voices", "=", 1.0), Every((Compare("voices", "=", 2.0), Not(Compare("voices", "=", 3.0)))),
    ))),
    ("city in ('a','b')", In("city", ("a", "b"))),
    ("city NOT LIKE 'a\\%%'", Not(Like("city", "a\\%%"))),
    ("voices between 1 and 2 and TRUE", Every((Between("voices", 1.0, 2.0), cql.Constant(True)))),
    ("updated <= DATE('2026-01-31')", Compare("updated", "<=", EVENING)),
    ("updated > DATE('2026-01-31')", Compare("updated", ">", EVENING)),
    ("updated > DATE('9999-12-31')", Compare("updated", ">", datetime.max.replace(tzinfo=UTC))),
    ("updated < DATE('2026-01-31')", Compare("updated", "<", MIDNIGHT)),
    ("updated <> DATE('2026-01-31')", Not(Between("updated", MIDNIGHT, EVENING))),
    ("updated IN (DATE('2026-01-31'))", Either((Between("updated", MIDNIGHT, EVENING),))),
    ("TIMESTAMP('2026-01-31T13:00:00+01:00') = updated", Compare("updated", "=", NOON)),
    ("city = 'L\\'Haÿ' OR city = 'L''Haÿ'", Either((Compare("city", "=", "L'Haÿ"),) * 2)),
    ("city LIKE 'L\\'%'", Like("city", "L'%")),
    ("S_INTERSECTS(geometry, POINT Z(1 2 3))", cql.Touches(boxes=((1.0, 2.0, 1.0, 2.0),))),
    ("S_INTERSECTS(geometry, POINT(1 2))", cql.Touches(boxes=((1.0, 2.0, 1.0, 2.0),))),
    ("s_intersects(BBOX(1,2,3,4), geometry)", cql.Touches(boxes=((1.0, 2.0, 3.0, 4.0),))),
)  # fmt: skip
NO_FILTERS = (
    "", "name", "name =", "name = 'x' AND", "'a' = 'b'", "name = city", "nom = 'x'", "name = 1", "voices = '1'",
    "name LIKE 1", "voices LIKE 'a'", "name LIKE 'a\\'", "updated = '2026-01-31'", "updated = DATE('2026-13-01')",
    "updated = TIMESTAMP('hier')", "S_INTERSECTS(name, POINT(1 2))", "S_INTERSECTS(geometry, POINT(1))",
    "S_INTERSECTS(geometry, BBOX(1,2,3))", "S_INTERSECTS(geometry, BBOX(1,9,3,2))", "nom IS NULL", "voices = 1e999",
    "S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 0 0)))", "S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 400 0, 0 0)))",
    "name = 'x'; DROP TABLE view", "(" * 1000, "voices IN (" * 100, "a" * 2001,
)  # fmt: skip


def test_filters_are_read_or_refused_with_what_is_wrong() -> None:
    """Each operator as its own condition; anything else, also what is made to be slow, is one mistake of `filter`."""
    assert [cql.parse(text) for text, _ in FILTERS] == [found for _, found in FILTERS]
    for text in NO_FILTERS:
        with pytest.raises(Malformed) as wrong:
            cql.parse(text)
        assert [fault.where for fault in wrong.value.faults] == ["filter"], text


def test_deep_filters_cost_no_more_than_long_ones() -> None:
    """Brackets within brackets, as many as a filter may have characters for, are one comparison."""
    assert cql.parse("(" * 990 + "voices=1" + ")" * 990) == Compare("voices", "=", 1.0)


@pytest.mark.parametrize(
    "geometry",
    [
        None, [], {}, {"type": "Point", "coordinates": [1, 2]}, {"type": "Polygon", "coordinates": []},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0]]]}, {"type": "Polygon", "coordinates": "x"},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1]]]},
        {"type": "MultiPolygon", "coordinates": [[]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [True, 1], [1, 0], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 91], [1, 0], [0, 0]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1e400, 1], [1, 0], [0, 0]]]},
    ],
)  # fmt: skip
def test_what_is_no_polygon_is_none(geometry: object) -> None:
    """Whatever a neighbour publishes as an area is drawn as polygons, or not at all."""
    assert outlines(geometry) is None


def test_polygons_keep_their_holes() -> None:
    """Several polygons, heights left out, and the box around all of them."""
    ring = [[0, 0, 5], [2, 0, 5], [2, 2, 5], [0, 0, 5]]
    found = outlines(
        {"type": "MultiPolygon", "coordinates": [[ring, ring], [[[9, 9], [10, 9], [10, 10], [9, 9]]]]}
    )
    assert found is not None
    assert [len(polygon) for polygon in found] == [2, 1]
    assert around(found) == (0, 0, 10, 10)


def test_what_is_near_lies_in_the_box_around_it() -> None:
    """Also across the antimeridian, where west is beyond east, and around a pole, where all longitudes are near."""
    west, south, east, north = near_box(Near(-17.7, 179.9, 50))
    assert (west > east, south < -17.7 < north) == (True, True)
    assert near_box(Near(89.9, 0, 100))[::2] == (-180.0, 180.0)
    west, south, east, north = near_box(Near(60, 10, 111))
    assert east - west == pytest.approx(4, abs=0.05)
    assert north - south == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize(
    "box",
    [
        (100_000, 6_000_000, 1_200_000, 7_100_000),
        (350_000, 6_780_000, 351_000, 6_781_000),
        (0, 5_000_000, 1, 8_000_000),
    ],
)  # fmt: skip
def test_most_of_a_drawn_box_is_a_box_of_degrees(box: tuple[float, float, float, float]) -> None:
    """Its corners lie in the drawn one, which is not much larger; one that is drawn inside out has none."""
    system = crs.PROJECTED[1]
    outline = crs.drawn(system, box)
    assert outline is not None
    for west, south, east, north in crs.inside(outline):
        for lon, lat in product((west, east), (south, north)):
            x, y = crs.projected(system)(lon, lat) or (0, 0)
            assert box[0] - 0.5 <= x <= box[2] + 0.5
            assert box[1] - 0.5 <= y <= box[3] + 0.5
    assert len(crs.inside(outline)) == (box[2] - box[0] > 1)
    turned = crs.drawn(system, (box[2], box[3], box[0], box[1]))
    assert turned is not None
    assert crs.inside(turned) == ()


def test_maps_of_the_whole_world_may_ask_for_more() -> None:
    """A box of Web Mercator beyond the world is the world; one that no projection has is none."""
    found = crs.drawn(crs.MERCATOR, (-1e9, -1e9, 1e9, 1e9))
    assert found is not None
    assert around((found,)) == pytest.approx((-180, -85.0511, 180, 85.0511), abs=0.001)
    assert crs.drawn(crs.SYSTEMS[3], (0, 0, 1e12, 1e12)) is None


def test_letters_of_a_word() -> None:
    """Pairs and triples, its beginning and end marked; a mistake leaves most of them."""
    assert searching.grams("ab") == ["<a", "<ab", "ab", "ab>", "b>"]
    shared = set(searching.grams("mediatheque")) & set(searching.grams("mediateque"))
    assert len(shared) >= len(searching.grams("mediateque")) - 6
    assert searching.quoted("l'a\\b") == "'l''a\\\\b'"
