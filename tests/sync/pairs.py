"""Invented places for the tests of the matcher, with short words for how two of them are compared."""

from typing import Any

import msgspec

from schemas.place import Place
from services.sync.matching import Score, score
from services.sync.policy import POLICY
from services.sync.profiles import Profile, profile

A, B = "a" * 26, "b" * 26
HERE = {"lat": 48.1000, "lon": -1.6800}
# Of `HERE`, in degrees.
METRE_NORTH, METRE_EAST = 1 / 111_195, 1 / 74_260


def place(name: str = "La Ruche", **said: Any) -> Place:
    """A place in Rennes; of `said`, `street`, `city` and `postcode` go into its address."""
    address = {"street": None, "city": "Rennes", "postcode": "35000"}
    address |= {field: said.pop(field) for field in list(said) if field in address}
    whole = {"name": name, "status": "open", "address": address, "position": HERE} | said
    return msgspec.convert({field: value for field, value in whole.items() if value is not None}, Place)


def away(north: int = 0, east: int = 0, precision: str = "unknown") -> dict[str, Any]:
    """A position so many metres from `HERE`."""
    lat, lon = HERE["lat"] + north * METRE_NORTH, HERE["lon"] + east * METRE_EAST
    return {"lat": round(lat, 7), "lon": round(lon, 7), "precision": precision}


def seen(said: Place, network: str = A, number: int = 1) -> Profile:
    """The profile of a place as the record of a network."""
    return profile(f"{network}:{number:032x}", said, POLICY)


def compared(one: Place, other: Place) -> Score:
    """The score of two places of two networks, which is not vetoed."""
    found = score(seen(one, A), seen(other, B), POLICY)
    assert found is not None
    return found


def levels(one: Place, other: Place) -> dict[str, str]:
    """The level of each feature of two places of two networks."""
    return {feature: level for feature, level, _ in compared(one, other).features}


def joins(one: Place, other: Place) -> bool:
    """Whether two places of two networks have points enough for an edge."""
    return compared(one, other).points >= POLICY.matching.join
