"""Whom a change concerns: a truth table made by hand, and a plain second reading."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.subscription import Filter
from schemas.view import Traits
from services.notify.match import matches, view_of

RENNES, FIDJI = (48.11, -1.68), (-17.7, 178.1)
HERE = {
    "networks": ("a", "b"),
    "families": ("fablab",),
    "departement": "35",
    "lat": RENNES[0],
    "lon": RENNES[1],
}


def traits(**said: Any) -> Traits:
    """The traits of a place in Rennes, known to networks a and b, a fablab."""
    rest = {"types": (), "labels": (), "status": "open", "insee": None}
    return Traits(**{**rest, **HERE, **said})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"network": ("a",)}, True),
        ({"network": ("c", "b")}, True),
        ({"network": ("c",)}, False),
        ({"departement": ("35",)}, True),
        ({"departement": ("2A", "56")}, False),
        ({"family": ("fablab", "coworking")}, True),
        ({"family": ("coworking",)}, False),
        ({"network": ("a",), "family": ("coworking",)}, False),
        ({"network": ("a",), "family": ("fablab",), "departement": ("35",)}, True),
        ({"bbox": (-2.0, 48.0, -1.0, 49.0)}, True),
        ({"bbox": (-1.68, 48.11, -1.68, 48.11)}, True),
        ({"bbox": (-1.0, 48.0, 0.0, 49.0)}, False),
        ({"bbox": (-2.0, 48.2, -1.0, 49.0)}, False),
        ({"bbox": (170.0, 40.0, -170.0, 50.0)}, False),
        ({"bbox": (-1.0, 40.0, -2.0, 50.0)}, False),
        ({"bbox": (170.0, 40.0, -1.0, 50.0)}, True),
        ({"bbox": (-2.0, 40.0, -170.0, 50.0)}, True),
    ],
)
def test_a_place_is_selected_where_every_kind_of_wish_is_met(wanted: dict[str, Any], expected: bool) -> None:
    """Within one kind any value does, kinds add up, the borders of a box belong to it."""
    assert matches(Filter(**wanted), traits()) is expected


def test_a_box_across_the_antimeridian_holds_both_sides() -> None:
    """West greater than east is Fiji, not the rest of the world."""
    fiji = Filter(bbox=(177.0, -20.0, -178.0, -15.0))
    assert matches(fiji, traits(lat=FIDJI[0], lon=FIDJI[1]))
    assert matches(fiji, traits(lat=-17.0, lon=-179.5))
    assert not matches(fiji, traits(lat=-17.0, lon=0.0))


def test_a_place_without_position_is_in_no_box() -> None:
    """A box of the whole world leaves out what has no position; an empty filter does not."""
    nowhere = traits(lat=None, lon=None)
    assert not matches(Filter(bbox=(-180.0, -90.0, 180.0, 90.0)), nowhere)
    assert matches(Filter(), nowhere)


IN, OUT = traits(), traits(departement="56")


@pytest.mark.parametrize(
    ("before", "after", "erased", "expected"),
    [
        (None, IN, False, "entered"),
        (OUT, IN, False, "entered"),
        (IN, IN, False, "updated"),
        (IN, OUT, False, "left"),
        (IN, None, False, "left"),
        (None, OUT, False, None),
        (OUT, OUT, False, None),
        (OUT, None, False, None),
        (None, None, False, None),
        (IN, None, True, "erased"),
        (IN, OUT, True, "erased"),
        (OUT, None, True, None),
        (None, None, True, None),
    ],
)
def test_a_change_is_told_as_what_it_does_to_the_selection(
    before: Traits | None, after: Traits | None, erased: bool, expected: str | None
) -> None:
    """A place matches if it did before or after; what is told follows from both."""
    assert view_of(Filter(departement=("35",)), before, after, erased=erased) == expected


def selected(wanted: Filter, place: Traits | None) -> bool:
    """The same, read slowly."""
    if place is None:
        return False
    if wanted.network and not [n for n in wanted.network if n in place.networks]:
        return False
    if wanted.family and not [f for f in wanted.family if f in place.families]:
        return False
    if wanted.departement and place.departement not in wanted.departement:
        return False
    if wanted.bbox is None:
        return True
    if place.lat is None or place.lon is None:
        return False
    west, south, east, north = wanted.bbox
    # Walk eastwards from the western border, degree by half degree, until the eastern one.
    at, walked = west, [west]
    while at != east:
        at = at + 0.5 if at < 180 else -180.0
        walked.append(at)
    return south <= place.lat <= north and place.lon in walked


SOME = st.sampled_from([(), ("a",), ("b",), ("a", "b"), ("c",)])
LAT, LON = (
    st.sampled_from([-50.0, 0.0, 50.0]),
    st.sampled_from([-180.0, -170.0, -1.5, 0.0, 90.0, 170.0, 180.0]),
)
PLACES = st.builds(
    traits,
    networks=SOME,
    families=SOME,
    departement=st.sampled_from([None, "35", "2A"]),
    lat=st.sampled_from([-50.0, 0.0, 10.0, None]),
    lon=LON | st.none(),
)
FILTERS = st.builds(
    Filter,
    network=st.just(()) | SOME,
    family=st.just(()) | SOME,
    departement=st.sampled_from([(), (), ("35",), ("35", "2A")]),
    bbox=st.none() | st.tuples(LON, st.just(-50.0), LON, LAT),
)


@given(FILTERS, st.none() | PLACES, st.none() | PLACES, st.booleans())
@settings(max_examples=500, deadline=None)
def test_every_change_is_told_as_a_second_reading_tells_it(
    wanted: Filter, before: Traits | None, after: Traits | None, erased: bool
) -> None:
    """Entered, updated, left, erased or nothing: as the plain reading says, for any filter and places."""
    table = {(True, True): "updated", (True, False): "left", (False, True): "entered", (False, False): None}
    was, now = selected(wanted, before), selected(wanted, after)
    expected = ("erased" if was or now else None) if erased else table[was, now]
    assert view_of(wanted, before, after, erased=erased) == expected


def test_the_second_reading_sees_all_outcomes() -> None:
    """Drawn at random, the property above meets each outcome often, boxes across the antimeridian included."""
    seen = Counter[Any]()

    @given(FILTERS, st.none() | PLACES, st.none() | PLACES)
    @settings(max_examples=1500, deadline=None, database=None, derandomize=True)
    def draw(wanted: Filter, before: Traits | None, after: Traits | None) -> None:
        seen[view_of(wanted, before, after)] += 1
        seen["across"] += (
            wanted.bbox is not None and wanted.bbox[0] > wanted.bbox[2] and selected(wanted, after)
        )

    draw()
    assert min(seen[outcome] for outcome in ("entered", "updated", "left", None, "across")) >= 10, seen
