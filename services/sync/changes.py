"""A change of the view as it is stored and as it is told."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, overload

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from schemas import event
from schemas.event import Erasure
from schemas.view import Notice, Noticed, RemoveReason, Traits, View, ViewPut, ViewRemove
from services.canonical import fold
from services.ledger import Draft
from services.sync import fields, items, merge, observing
from services.sync.records import owner
from services.sync.store import Saved

MOST_DATA = 240 * 1024
MOST_CAUSES = 100
# Another number as soon as `saved` makes other rows of a place, so that those that are stored are written again.
COLUMNS = 2
# How much of each kind of text is searched.
MOST_WORDS = 4000
# How many words of a kind an event tells, the more the better.
LIST_LENGTHS = (100_000, 1000, 100, 10)
# For each touched record, the events that touched it.
Why = dict[str, set[str]]


class Shown(Struct, frozen=True):
    """A place of the view with what is read off it, once."""

    view: View
    traits: Traits
    place: dict[str, Any]


def shown(view: View) -> Shown:
    """What is read off a place."""
    return Shown(view=view, traits=merge.traits(view), place=merge.public(view))


def saved(now: Shown) -> Saved:
    """A place as it is stored."""
    view, traits, place = now.view, now.traits, now.place
    body = merge.view_bytes(view)
    address = place.get("address") or {}
    return Saved(
        id=view.id,
        bucket=merge.bucket(view.id),
        entry=merge.entry(view.id, body),
        body=body,
        item=items.feature(view, place, traits, licenses := merge.licenses(view)),
        words=_words(place),
        name=place["name"],
        folded=fold(place["name"]),
        kind=place.get("kind"),
        networks=view.networks,
        families=traits.families,
        types=traits.types,
        services=tuple(place.get("services", ())),
        labels=traits.labels,
        status=traits.status,
        postcode=address.get("postcode"),
        city=address.get("city"),
        country=address.get("country"),
        departement=traits.departement,
        insee=traits.insee,
        lat=traits.lat,
        lon=traits.lon,
        precision=(place.get("position") or {}).get("precision"),
        opened_year=items.year(place.get("opened_on")),
        closed_year=items.year(place.get("closed_on")),
        opened_on=place.get("opened_on"),
        closed_on=place.get("closed_on"),
        verified_on=place.get("verified_on"),
        said=observing.said(place),
        licenses=licenses,
        voices=items.voices(view),
        updated=datetime.fromisoformat(fields.moment(view.updated) or merge.LONG_AGO),
        hidden=merge.hidden(view),
    )


def _words(place: Mapping[str, Any]) -> str:
    """What a text search finds, folded: a line each for the name, other names, the city and the summary."""
    city = (place.get("address") or {}).get("city") or ""
    lines = (place["name"], " ".join(place.get("alternate_names", ())), city, place.get("summary") or "")
    return "\n".join(fold(line)[:MOST_WORDS] for line in lines)


def feature(view: View) -> bytes:
    """A place as a flat feature."""
    now = shown(view)
    return items.feature(view, now.place, now.traits, merge.licenses(view))


def cause(view: View, why: Why) -> tuple[str, ...]:
    """The events behind a change of this place."""
    found = {reference for alias in view.aliases for reference in why.get(alias, ())}
    return tuple(sorted(found)[:MOST_CAUSES])


def put(sync: str, now: Shown, before: View | None, changed: dict[str, Any], why: Why) -> Draft:
    """The event of a place that is new or has changed, with what its values became (`merge.changed`)."""
    past = merge.traits(before) if before else None
    data = ViewPut(
        id=now.view.id,
        networks=now.view.networks,
        after=Raw(msgspec.json.encode(now.place)),
        traits=now.traits,
        before=past,
        changed=Raw(msgspec.json.encode(changed)),
        cause=cause(now.view, why),
    )
    if len(encoded := msgspec.json.encode(data)) > MOST_DATA:
        where = f"/places/{now.view.id}"
        data = replace(data, after=Raw(b"null"), changed=Raw(b"{}"), dataref=where)
        encoded = _fitting(lambda most: replace(data, traits=_cut(now.traits, most), before=_cut(past, most)))
    return _draft(sync, now.view.id, event.VIEW_PUT, encoded, now.traits, past)


def remove(sync: str, view: View, members: Mapping[str, str], why: Why, reason: RemoveReason) -> Draft:
    """The event of a place that left the view; `members` tells where its records are now."""
    moved = members.get(view.id) or next((members[a] for a in view.aliases if a in members), None)
    traits = merge.traits(view)
    data = ViewRemove(
        id=view.id,
        before=traits,
        reason=reason,
        moved_to=moved,
        cause=cause(view, why),
    )
    encoded = _fitting(lambda most: replace(data, before=_cut(traits, most)))
    return _draft(sync, view.id, event.VIEW_REMOVE, encoded, traits, None)


def notice(sync: str, view: View, items: tuple[Noticed, ...], why: Why) -> Draft:
    """The event that tells a network what has become of its records in a place."""
    network = owner(items[0].record)
    data = Notice(view.id, network, items, cause(view, why))
    encoded = msgspec.json.encode(data)
    if len(encoded) > MOST_DATA:
        short = tuple(replace(item, shown=None, by=item.by[:MOST_CAUSES]) for item in items)
        data = replace(data, dataref=f"/places/{view.id}")
        encoded = _fitting(lambda most: replace(data, items=short[:most]))
    routing = f"view.notice.{network}"
    return Draft(f"{sync}:{view.id}", event.VIEW_NOTICE, encoded, routing, "merge")


def erase(record: str, leaves: Sequence[bytes]) -> Draft:
    """The event by which earlier events of a place lose their content, as a network has erased it."""
    data = msgspec.json.encode(Erasure(leaves=tuple(leaf.hex() for leaf in leaves)))
    return Draft(record, event.RECORD_ERASE, data, "record.erase._", "merge")


def _fitting(data: Callable[[int], ViewPut | ViewRemove | Notice]) -> bytes:
    """Data as an event can hold it: networks may have any number of words for a place."""
    encoded = b""
    for most in LIST_LENGTHS:
        if len(encoded := msgspec.json.encode(data(most))) <= MOST_DATA:
            break
    return encoded


@overload
def _cut(traits: Traits, most: int) -> Traits: ...
@overload
def _cut(traits: None, most: int) -> None: ...
@overload
def _cut(traits: Traits | None, most: int) -> Traits | None: ...
def _cut(traits: Traits | None, most: int) -> Traits | None:
    """The traits with at most so many items in each list."""
    if traits is None:
        return None
    lists = {name: getattr(traits, name)[:most] for name in ("types", "labels", "families", "networks")}
    return replace(traits, **lists)


def _draft(sync: str, id: str, type: str, data: bytes, traits: Traits, before: Traits | None) -> Draft:
    verb = "put" if type == event.VIEW_PUT else "remove"
    here = f"view.{verb}.{traits.departement or '_'}"
    there = f"view.{verb}.{before.departement or '_'}" if before else here
    return Draft(
        record=f"{sync}:{id}",
        type=type,
        data=data,
        routing=here,
        author="merge",
        also=there if there != here else None,
    )
