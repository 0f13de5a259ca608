"""How others tell that two records are one place: their public rules, written anew from what they do.

- Mednum CLI of the Agence nationale de la cohésion des territoires: the steps `find-duplicates` and
  `duplication-comparisons`, of one postcode and two sources, and its threshold for lists of others.
- GoGoCarto: `ElementDuplicatesService`, what it merges by itself: a perfect match near by.
"""

from collections.abc import Mapping, Sequence
from math import dist, trunc

from rapidfuzz.fuzz import ratio
from rapidfuzz.utils import default_process

from bench.labelled import Labelled
from schemas.place import Address, Place
from services.canonical import fold
from services.sync.locating import metres, site
from services.sync.policy import load
from services.sync.records import Pair

Places = Mapping[str, Place]

SAME = 0.0004
# Of 100: where lists of others are compared, and within one's own.
LISTS, OWN = 60, 90
NEAR = 1000


def mednum(places: Places, pairs: Sequence[Labelled]) -> set[Pair]:
    """Pairs that mednum-cli merges across lists."""
    return {p.pair for p in pairs if _mednum_score(places[p.a], places[p.b]) > LISTS}


def mednum_own(places: Places, pairs: Sequence[Labelled]) -> set[Pair]:
    """Pairs that mednum-cli merges where it is told to merge within a list too."""
    return {p.pair for p in pairs if _mednum_score(places[p.a], places[p.b]) > OWN}


def _mednum_score(a: Place, b: Place) -> int:
    mine, theirs = a.address or Address(), b.address or Address()
    if not mine.postcode or mine.postcode != theirs.postcode or a.position is None or b.position is None:
        return 0
    apart = dist((a.position.lat, a.position.lon), (b.position.lat, b.position.lon))
    near = 100 if apart < SAME else trunc(100 / (apart * 1000 + 1))
    street = round(ratio(mine.street or "", theirs.street or "", processor=default_process))
    name = round(ratio(a.name, b.name, processor=default_process))
    return trunc((street + name + near) / 3)


def gogocarto(places: Places, pairs: Sequence[Labelled]) -> set[Pair]:
    """Pairs that GoGoCarto merges by itself: near, and the same name as it stands in an address of the web."""
    return {p.pair for p in pairs if _perfect(places[p.a], places[p.b])}


def _perfect(a: Place, b: Place) -> bool:
    tables = load().matching.tables
    apart = metres(site(a, tables), site(b, tables))
    return apart is not None and apart <= NEAR and fold(a.name) == fold(b.name)
