"""What a network is told of its records in the view: who contradicts them, who they are one place with. Pure."""

from collections import defaultdict
from collections.abc import Mapping

from schemas.view import Noticed, View
from services.sync import merge
from services.sync.records import owner

# What a record says of itself, which nobody else can contradict.
OF_ITSELF = frozenset(("verified_by", "verified_on", "license", "origin"))


def notices(now: View, before: Mapping[str, View], placed: Mapping[str, str]) -> list[tuple[Noticed, ...]]:
    """What is new in a place for one network after the other, of those for whom anything is.

    `before`: the places in which its records were; `placed`: in which place each record that is there is now, of
    all that were in those.
    """
    found: dict[str, list[Noticed]] = defaultdict(list)
    for voice in now.records:
        if not voice.withdrawn:
            found[voice.network] += _of_record(voice.record, now, before.get(voice.record), placed)
    return [tuple(items) for _, items in sorted(found.items()) if items]


def _of_record(record: str, now: View, was: View | None, placed: Mapping[str, str]) -> list[Noticed]:
    known = _fellows(record, was) if was is not None else set()
    told = _contradicted(record, was) if was is not None else {}
    items = [one for field, one in _contradicted(record, now).items() if field not in told]
    if joined := _fellows(record, now) - known:
        items.append(Noticed("joined", record, tuple(sorted(joined))))
    if parted := {other for other in known if placed.get(other, now.id) != now.id}:
        items.append(Noticed("parted", record, tuple(sorted(parted))))
    return items


def _fellows(record: str, view: View) -> set[str]:
    """The records of other networks with which a record is one place, while none of them is withdrawn."""
    there = {voice.record for voice in view.records if not voice.withdrawn}
    return {other for other in there if owner(other) != owner(record)} if record in there else set()


def _contradicted(record: str, view: View) -> dict[str, Noticed]:
    """The fields of which another network's value is shown instead of this record's."""
    against = {
        name: field.record
        for name, field in sorted(view.fields.items())
        if field.record is not None and field.network != owner(record) and name not in OF_ITSELF
        if any(other.record == record for other in field.alternatives)
    }
    shown = merge.public(view) if against else {}
    return {name: Noticed("contradicted", record, (by,), name, shown[name]) for name, by in against.items()}
