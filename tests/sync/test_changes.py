"""A change as an event: it fits, whatever networks say of a place."""

import msgspec

from schemas.event import MAX_VIEW_EVENT
from schemas.place import Address, Label, Place
from schemas.view import ViewPut, ViewRemove
from services.sync import changes, merge
from services.sync.merge import Record

NODE = "a2b3c4d5e6f7a2b3c4d5e6f7a2"
ID = f"{NODE}:01890a5d-ac96-774b-bcce-b302099a8057"


def record(words: int) -> Record:
    """A record with so many words of its own, as long as words may be."""
    types = tuple(f"reseau:{'x' * 110}{n}" for n in range(words))
    labels = tuple(Label(code="\x01" * 180 + str(n)) for n in range(words))
    place = Place(name="Lieu", status="open", types=types, labels=labels, address=Address(postcode="35000"))
    return Record(id=ID, version=1, leaf="00" * 32, time="2026-01-01T00:00:00Z", place=place)


def test_a_place_of_countless_words_fits_in_an_event() -> None:
    """The event of a place with thousands of words says where to read it, and keeps what filters need most."""
    view = merge.merged([record(4000)], [])
    assert view is not None
    draft = changes.put(NODE, changes.shown(view), view, {}, {ID: {"cause"}})
    assert len(draft.data) < MAX_VIEW_EVENT
    data = msgspec.json.decode(draft.data, type=ViewPut)
    assert data.dataref == f"/places/{ID}"
    assert (data.traits.departement, data.traits.status) == ("35", "open")
    assert data.traits.types
    gone = changes.remove(NODE, view, {}, {}, "withdrawn")
    assert len(gone.data) < MAX_VIEW_EVENT
    assert msgspec.json.decode(gone.data, type=ViewRemove).before.types


def test_an_ordinary_place_is_told_whole() -> None:
    """A place of the usual size travels with all that it says, before and after."""
    view = merge.merged([record(3)], [])
    assert view is not None
    changed = merge.changed(None, view, merge.POLICY)
    data = msgspec.json.decode(changes.put(NODE, changes.shown(view), None, changed, {}).data, type=ViewPut)
    assert msgspec.json.decode(data.changed).keys() >= {"name", "status", "types"}
    assert data.dataref is None
    assert len(msgspec.json.decode(data.after)["types"]) == 3
    assert data.before is None
