"""Being told: a network hears what has become of its records in the view, once, and in one event for each place."""

from typing import Any

import msgspec

from schemas.event import MAX_VIEW_EVENT
from schemas.view import Notice, View
from services.sync import changes, noticing
from services.sync.merge import Record
from tests.sync.test_fields import copy
from tests.sync.test_merge import A, B, C, gone, one_view, record


def told(
    now: View, *others: View, before: tuple[View, ...] = ()
) -> list[tuple[str, str, str | None, set[str]]]:
    """What networks are told in a place, as letters: whom, what, which field, by whom."""
    was = {voice.record: view for view in before for voice in view.records}
    placed = {r.record: view.id for view in (now, *others) for r in view.records if not r.withdrawn}
    items = [item for notice in noticing.notices(now, was, placed) for item in notice]
    return [(i.record[0], i.kind, i.field, {record[0] for record in i.by}) for i in items]


def named(node: str, n: int, **said: Any) -> Record:
    """A record under the name of its network."""
    return record(node, n, **{"name": node[0], "verified_by": "network" if node == A else "import", **said})


A1, B1, C1 = named(A, 1), named(B, 2), named(C, 3)


def test_networks_are_told_that_their_records_were_joined() -> None:
    """Both are, also where one of the two is new; and who is contradicted on a field is told by whom."""
    expected = [
        ("a", "joined", None, {"b"}),
        ("b", "contradicted", "name", {"a"}),
        ("b", "joined", None, {"a"}),
    ]
    together = one_view([A1, B1])
    assert told(together) == expected
    assert told(together, before=(one_view([A1]),)) == expected
    assert told(together, before=(one_view([A1]), one_view([B1]))) == expected
    assert told(one_view([A1])) == []


def test_what_stays_so_is_not_told_again() -> None:
    """Neither another value on either side nor another place beside it is news; a new field and a new fellow are."""
    before = one_view([A1, B1])
    assert told(before, before=(before,)) == []
    assert told(one_view([named(A, 1, name="a bis"), B1]), before=(before,)) == []
    assert told(one_view([A1, named(B, 2, name="b bis")]), before=(before,)) == []
    closed = one_view([named(A, 1, status="closed"), B1])
    assert told(closed, before=(before,)) == [("b", "contradicted", "status", {"a"})]
    three = one_view([A1, B1, C1])
    assert told(three, before=(before,)) == [
        ("a", "joined", None, {"c"}),
        ("b", "joined", None, {"c"}),
        ("c", "contradicted", "name", {"a"}),
        ("c", "joined", None, {"a", "b"}),
    ]
    assert told(one_view([A1, named(B, 2, name="a")]), before=(before,)) == []
    assert ("b", "contradicted", "name", {"a"}) in told(
        before, before=(one_view([A1, named(B, 2, name="a")]),)
    )


def test_networks_are_told_that_their_records_were_parted() -> None:
    """Each in its own place; who is withdrawn or no longer listened to has parted from nobody."""
    before = one_view([A1, B1])
    alone = one_view([A1]), one_view([B1])
    assert told(alone[0], alone[1], before=(before,)) == [("a", "parted", None, {"b"})]
    assert told(alone[1], alone[0], before=(before,)) == [("b", "parted", None, {"a"})]
    assert told(alone[0], before=(before,)) == []
    assert told(one_view([A1, gone(B, 2)]), before=(before,)) == []
    successor = one_view([C1, gone(B, 2)])
    assert told(alone[0], successor, before=(before,)) == []
    assert told(one_view([gone(A, 1), B1]), before=(before,)) == []


def test_what_a_record_says_of_itself_contradicts_nobody() -> None:
    """Who checked, when, under which licence, whence: each record has its own; so has a network two of one place."""
    said = {"verified_on": "2025-01-01", "license": "CC0-1.0", "origin": {"system": "a", "id": "1"}}
    other = {"verified_on": "2025-01-02", "license": "ODbL-1.0", "origin": {"system": "b", "id": "2"}}
    view = one_view([named(A, 1, name="x", **said), named(B, 2, name="x", **other)])
    assert {"verified_by", "verified_on", "origin", "license"} <= view.fields.keys()
    assert [kind for _, kind, _, _ in told(view)] == ["joined", "joined"]
    assert told(one_view([named(A, 1), named(A, 2, name="bis")])) == []


def test_a_copy_is_contradicted_by_nobody() -> None:
    """It repeats only; that it is one place with its original is told to both."""
    view = one_view([A1, copy(B, 2, A1, name="Ailleurs")])
    assert told(view) == [("a", "joined", None, {"b"}), ("b", "joined", None, {"a"})]


def test_a_notice_is_one_event_with_what_is_shown() -> None:
    """It is addressed to the network, is of the place, and tells values as people read them."""
    at = {"position": {"lat": 48.1, "lon": -1.6}}
    view = one_view([named(A, 1, **at), named(B, 2, position={"lat": 48.2, "lon": -1.6})])
    (_, items) = noticing.notices(view, {}, {})
    draft = changes.notice(A, view, items, {view.id: {"cause"}})
    assert (draft.record, draft.routing) == (f"{A}:{view.id}", f"view.notice.{B}")
    notice = msgspec.json.decode(draft.data, type=Notice)
    assert (notice.id, notice.network, notice.cause, notice.dataref) == (view.id, B, ("cause",), None)
    shown = {item.field: item.shown for item in notice.items if item.kind == "contradicted"}
    assert shown == {"name": "a", "position": {"lat": 48.1, "lon": -1.6, "precision": "unknown"}}


def test_a_notice_fits_into_an_event() -> None:
    """Where a place has very much to tell a network, it says where to read the rest."""
    long = {"description": "é" * 10_000, "summary": "a"}
    other = {"description": "b", "summary": "b"}
    view = one_view([named(A, 1, **long), *(named(B, n, **other) for n in range(2, 40))])
    (_, items) = noticing.notices(view, {}, {})
    assert len(msgspec.json.encode(items)) > MAX_VIEW_EVENT
    draft = changes.notice(A, view, items, {})
    assert len(draft.data) < MAX_VIEW_EVENT
    notice = msgspec.json.decode(draft.data, type=Notice)
    assert notice.dataref == f"/places/{view.id}"
    assert notice.items
