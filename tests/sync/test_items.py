"""A place as a flat feature, also as an event of the past told it."""

import json
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from schemas.view import Traits, ViewPut
from services.sync import changes, items, merge
from tests.sync.test_merge import POLICY, A, record

TIME = "2026-05-01T12:00:00.000Z"


def feature(item: bytes) -> dict[str, Any]:
    """A feature decoded."""
    decoded: dict[str, Any] = json.loads(item)
    return decoded


def put() -> tuple[ViewPut, bytes]:
    """The event of a place, and its feature while it stands."""
    said = {"families": ["fablab"], "address": {"insee": "35238", "city": "Rennes"}}
    one = record(A, 1, position={"lat": 48.11, "lon": -1.68}, **said)
    view = merge.merged((one,), (), POLICY)
    assert view is not None
    now = changes.shown(view)
    draft = changes.put(A, now, None, {}, {})
    return msgspec.json.decode(draft.data, type=ViewPut), changes.feature(view)


def test_an_event_tells_the_feature_that_stood() -> None:
    """All that a feature says but how many voices it has; it was updated when the event was written."""
    said, stood = put()
    then, now = feature(items.told(said, TIME)), feature(stood)
    known = {"voices": now["properties"]["voices"], "updated": now["properties"]["updated"]}
    assert (then["properties"]["voices"], then["properties"]["updated"]) == (None, TIME)
    assert {**then, "properties": {**then["properties"], **known}} == now
    assert list(then["properties"]) == list(now["properties"])


def test_a_place_too_long_for_an_event_is_told_by_its_traits() -> None:
    """Where it is and what kind of place it is are there, its words are not, and it says where they are."""
    said, stood = put()
    where = f"/places/{said.id}"
    then = feature(items.told(replace(said, after=Raw(b"null"), dataref=where), TIME))
    now = feature(stood)
    assert then["geometry"] == now["geometry"]
    assert then["properties"]["dataref"] == where
    same = ("status", "families", "insee", "departement", "networks")
    assert [then["properties"][name] for name in same] == [now["properties"][name] for name in same]
    assert (then["properties"]["name"], then["properties"]["city"]) == (None, None)
    nowhere = replace(said.traits, lat=None, lon=None)
    assert isinstance(nowhere, Traits)
    bare = replace(said, after=Raw(b"null"), dataref=where, traits=nowhere)
    assert feature(items.told(bare, TIME))["geometry"] is None
