"""Which records of one place only repeat what another of them says: pure."""

from collections.abc import Iterable, Mapping

from services.sync import fields
from services.sync.records import Record
from services.sync.ties import copying

PEOPLE = ("place", "network")
LONG_AGO = "0000-00-00"


def originals(members: Iterable[Record]) -> dict[str, str]:
    """The records of one place that are copies, each with the one of them that it was copied from.

    A copy that people have verified since then is none any more; nor are records that name each other in a ring,
    as else nobody would speak.
    """
    known = {record.id: record for record in members}
    found = {
        copy: original
        for copy, original in copying(known)
        if not _verified_since(known[copy], known[original])
    }
    return {copy: original for copy, original in found.items() if not _in_a_ring(copy, found)}


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
