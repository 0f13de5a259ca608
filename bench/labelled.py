"""Labelled pairs of records, and the candidate pairs that blocking finds among the records."""

import csv
import os
import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from bench import published
from schemas.claim import Verdict
from schemas.place import Place, Position
from services.sync.matching import comparable
from services.sync.policy import Policy
from services.sync.profiles import Profile, profile
from services.sync.records import Pair, owner, paired

Grid = tuple[int, int]

SHARED = (
    Path(os.environ.get("MAILLAGE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "matching"
)
# `contests` answers what a record says, and nothing of whether two are one place.
LABELS: Mapping[Verdict, str] = {"same": "match", "distinct": "distinct", "part-of": "distinct"}
FOLDS = 5
# Size and shift of map cells in hundredths of a degree: what a figure owes to one of them shows in the others.
GRIDS: tuple[Grid, ...] = tuple((size, shift) for size in (25, 10, 50) for shift in (0, 3, 7, 11))
POSTCODE = re.compile(r"[0-9A-Z][0-9A-Z \-]{1,11}")
INSEE = re.compile(r"[0-9]{5}|2[AB][0-9]{3}")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Labelled(Struct, frozen=True):
    """A pair that somebody read: `match`, `distinct` or `unsure`."""

    a: str
    b: str
    label: str

    @property
    def pair(self) -> Pair:
        """The smaller id first."""
        return paired(self.a, self.b)

    @property
    def across(self) -> bool:
        """Whether the two are records of different networks."""
        return owner(self.a) != owner(self.b)


def read_records(path: Path) -> dict[str, Place]:
    """Places by record id, from JSON Lines: `{id, place}`, rows of the published lists, or what networks publish."""
    lines = [line for line in path.read_bytes().splitlines() if line]
    rows = (row for line in lines if "id" in (row := msgspec.json.decode(line)))
    listed = {row["id"]: msgspec.convert(row.get("place") or _place(row), Place) for row in rows}
    return listed | published.places(lines)


def read_pairs(path: Path, places: Container[str]) -> list[Labelled]:
    """Labelled pairs of these records: a CSV `id1,id2,label`, or the claims in what networks publish."""
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            found = [Labelled(row["id1"], row["id2"], row["label"]) for row in csv.DictReader(file)]
    else:
        found = labels(published.claimed(path.read_bytes().splitlines()))
    return [pair for pair in found if pair.a in places and pair.b in places]


def labels(claimed: Mapping[Pair, Iterable[Verdict]]) -> list[Labelled]:
    """Pairs on which networks have spoken and none contradicts another, in order."""
    said = {pair: {LABELS[v] for v in verdicts if v in LABELS} for pair, verdicts in claimed.items()}
    return [Labelled(*pair, *found) for pair, found in sorted(said.items()) if len(found) == 1]


def profiles(places: Mapping[str, Place], policy: Policy) -> dict[str, Profile]:
    """The profile of each record."""
    return {record: profile(record, place, policy) for record, place in places.items()}


def blocked(known: Mapping[str, Profile]) -> set[Pair]:
    """Pairs of different networks that share a blocking key."""
    by_key: dict[str, list[str]] = defaultdict(list)
    for record, seen in known.items():
        for key in seen.keys:
            by_key[key].append(record)
    found = (paired(a, b) for records in by_key.values() for a, b in combinations(records, 2))
    return {pair for pair in found if owner(pair[0]) != owner(pair[1])}


def candidates(known: Mapping[str, Profile]) -> list[Pair]:
    """The blocked pairs that are worth scoring, in order."""
    return sorted((a, b) for a, b in blocked(known) if comparable(known[a], known[b]))


def folds(pairs: Iterable[Labelled], places: Mapping[str, Place], grid: Grid = GRIDS[0]) -> list[int]:
    """The fold of each pair, by the cell of a grid that it lies in, so that neighbours are in one fold."""
    return [_fold(places[p.pair[0]].position or places[p.pair[1]].position, grid) for p in pairs]


def _fold(point: Position | None, grid: Grid) -> int:
    if point is None:
        return 0
    size, shift = grid
    north, east = ((round(degrees * 100) + shift) // size for degrees in (point.lat, point.lon))
    return (north * 7919 + east * 104_729) % FOLDS


def _place(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a published list as a place."""
    websites = row["website"].split()
    place = {
        "name": row["name"][:200],
        "status": "open",
        "address": {
            "street": row["address"] or None,
            "postcode": row["postcode"] if POSTCODE.fullmatch(row["postcode"]) else None,
            "city": row["commune"] or None,
            "insee": row["insee"] if INSEE.fullmatch(row["insee"]) else None,
        },
        "website": websites[0] if websites else None,
        "links": list(_links(websites[1:] + row["social"].split())),
        "phone": row["phone"][:40] or None,
        "email": row["email"] if EMAIL.fullmatch(row["email"]) else None,
        "identifiers": [{"scheme": "siret", "value": row["siret"]}] if row["siret"] else [],
    }
    if row["lat"] not in ("", None) and row["lon"] not in ("", None):
        place["position"] = {"lat": row["lat"], "lon": row["lon"]}
    return {name: value for name, value in place.items() if value}


def _links(words: Iterable[str]) -> Iterator[dict[str, str]]:
    """Addresses as they are, `@name` as an account of Twitter, any other word as one of Facebook."""
    for word in words:
        if "://" in word or word.startswith("www."):
            url = word if "://" in word else f"https://{word}"
        elif word.startswith("@"):
            url = f"https://twitter.com/{word[1:]}"
        else:
            url = f"https://facebook.com/{word.strip('/')}"
        if re.fullmatch(r"[a-zA-Z][a-zA-Z0-9+.\-]*:\S+", url):
            yield {"rel": "web", "url": url}
