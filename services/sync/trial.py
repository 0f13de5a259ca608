"""What a view would be under another policy: how many places and pairs left open, what joins, parts and moves. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from msgspec import Struct

from schemas.view import View
from services.sync import merge
from services.sync.merge import Policy, Record, Said
from services.sync.records import Pair, paired

EXAMPLES = 10


class Outcome(Struct, frozen=True):
    """A view as a policy makes it: places by common id, and how many pairs that are alike are left apart."""

    views: dict[str, View]
    open: int


class Trial(Struct, frozen=True):
    """How two outcomes differ: `joined` and `parted` are pairs of records that are one place in one of the two only
    (of each place as many as tell it), `moved` the records found under another id, `values` changes by field.
    """

    places: tuple[int, int]
    open: tuple[int, int]
    joined: list[Pair]
    parted: list[Pair]
    moved: list[str]
    values: dict[str, int]


def outcome(records: Sequence[Record], claims: Sequence[Said], policy: Policy) -> Outcome:
    """The view of records and claims under a policy, from scratch."""
    found = merge.batch(records, claims, policy)
    by_id = merge.views(found.clusters, claims, policy)
    homes = _homes(by_id.values())
    return Outcome(by_id, sum(homes[a] != homes[b] for a, b in found.left))


def trial(before: Outcome, after: Outcome, policy: Policy) -> Trial:
    """What another policy changes, which made the second outcome."""
    old, new = _homes(before.views.values()), _homes(after.views.values())
    both = before.views.keys() & after.views.keys()
    changed = (merge.changed(before.views[id], after.views[id], policy) for id in both)
    values = Counter(name for fields in changed for name in fields)
    return Trial(
        places=(len(before.views), len(after.views)),
        open=(before.open, after.open),
        joined=_crossing(after.views.values(), old),
        parted=_crossing(before.views.values(), new),
        moved=sorted(record for record in old.keys() & new.keys() if old[record] != new[record]),
        values=dict(sorted(values.items())),
    )


def _homes(views: Iterable[View]) -> dict[str, str]:
    return {record: view.id for view in views for record in view.aliases}


def _crossing(views: Iterable[View], homes: Mapping[str, str]) -> list[Pair]:
    """Pairs of one place whose records live in different ones elsewhere: one for each seam."""
    found = []
    for view in views:
        elsewhere = {homes[record]: record for record in view.aliases if record in homes}
        found += [paired(a, b) for a, b in pairwise(elsewhere.values())]
    return sorted(found)
