"""Which records of one place only repeat what another of them says: pure."""

from collections.abc import Iterable, Iterator, Mapping

from services.sync import fields
from services.sync.records import Pair, Record, copied, open_to_all, owner, undisclosed

PEOPLE = ("place", "network")
LONG_AGO = "0000-00-00"


def originals(members: Iterable[Record]) -> dict[str, str]:
    """The records of one place that are copies, each with the one of them that it was copied from.

    Records that name each other in a ring are none, as else nobody would speak.
    """
    found = dict(copying({record.id: record for record in members}))
    return {copy: original for copy, original in found.items() if not _in_a_ring(copy, found)}


def copying(known: Mapping[str, Record]) -> Iterator[Pair]:
    """Records, each with the one of another network that it was copied from, where both are there.

    A copy that people have verified since then is none any more: what it says is its own. Neither is undisclosed,
    and the original leaves it to others to join it.
    """
    for record in known.values():
        original = known.get(copied(record) or "")
        if original is None or owner(original.id) == owner(record.id) or original.place is None:
            continue
        if undisclosed(original) or undisclosed(record) or not open_to_all(original):
            continue
        if not _verified_since(record, original):
            yield record.id, original.id


def _verified_since(copy: Record, original: Record) -> bool:
    """Whether people checked a copy later than its original was checked, or else was written."""
    on = fields.verified_on(copy)
    if on is None or copy.place is None or copy.place.verified_by not in PEOPLE:
        return False
    known = fields.verified_on(original)
    return on > known if known is not None else on >= (fields.moment(original.time) or LONG_AGO)[:10]


def _in_a_ring(record: str, originals: Mapping[str, str]) -> bool:
    """Whether the originals of a record lead back to it."""
    seen, here = set[str](), originals.get(record)
    while here is not None and here not in seen and here != record:
        seen.add(here)
        here = originals.get(here)
    return here == record
