"""Where a place is, as integers and words: metres, house numbers, streets and communes. Pure."""

import re
from collections.abc import Sequence
from math import isqrt

from msgspec import Struct

from schemas.place import Address, Place, Position
from services.canonical import fold
from services.communes import commune
from services.places import departement
from services.sync.naming import numeric, spelled
from services.sync.policy import Tables

DEGREE = 10**7
# Of the mean sphere: metres in a degree of a great circle.
METRES = 111_195
HALF_TURN = 180 * DEGREE
POSTCODE = re.compile(r"[0-9]{5}")
NUMBER = re.compile(r"[0-9]{1,4}")
PRECISE = ("exact", "street")


class Site(Struct, frozen=True, gc=False):
    """Where a record says that its place is; what is not known is empty or None.

    `lat` and `lon` are integers of 1e-7 degrees. `coarse`: the point is that of a commune. `precise`: it is
    said to be that of a building or street. `house` is a number with its repeat (`12bis`), `street` its words
    without kind and articles. `insee` is the code of today's commune, `city` the words of its name.
    """

    lat: int | None
    lon: int | None
    precise: bool
    coarse: bool
    house: str
    street: tuple[str, ...]
    postcode: str
    insee: str
    city: tuple[str, ...]
    departement: str


def site(place: Place, tables: Tables) -> Site:
    """Where a place is; nothing below the commune for an undisclosed one."""
    address = place.address or Address()
    known = place.position if place.kind != "undisclosed" else None
    position = known if known is not None and (known.lat or known.lon) else None
    code = commune(address.insee) if address.insee else None
    city = _city(address.city or (code.name if code else ""), tables)
    house, street = ("", ()) if place.kind == "undisclosed" else _street(address, city, tables)
    return Site(
        lat=round(position.lat * DEGREE) if position else None,
        lon=round(position.lon * DEGREE) if position else None,
        precise=_of(position, *PRECISE),
        coarse=_of(position, "commune"),
        house=house,
        street=street,
        postcode=_postcode(address),
        insee=(code.current or code.code) if code else "",
        city=city,
        departement=departement(place) or "",
    )


def metres(a: Site, b: Site) -> int | None:
    """The distance of two sites, within half a per cent at the latitudes of France; None if one has no point.

    On a plane, with Bhaskara's rational cosine (7th century): integers give the same metres on every machine.
    """
    if a.lat is None or a.lon is None or b.lat is None or b.lon is None:
        return None
    east = abs(a.lon - b.lon)
    north, east = abs(a.lat - b.lat), min(east, 2 * HALF_TURN - east)
    middle = abs(a.lat + b.lat) // 2000
    square = middle * middle
    whole = 32400 * (DEGREE // 1000) ** 2
    east = east * (whole - 4 * square) // (whole + square)
    return isqrt(north * north + east * east) * METRES // DEGREE


def cells(point: Site) -> list[str]:
    """The four squares of 2 × 2 cells, of 0.01 by 0.015 degrees, around a point's own cell.

    Two points share one exactly where their cells are the same or touch.
    """
    if point.lat is None or point.lon is None:
        return []
    north, east = point.lat // (DEGREE // 100), point.lon // (DEGREE * 3 // 200)
    return [f"c:{north - n}:{east - e}" for n in (0, 1) for e in (0, 1)]


def _of(position: Position | None, *precisions: str) -> bool:
    return position is not None and position.precision in precisions


def _postcode(address: Address) -> str:
    code = address.postcode or ""
    if address.country != "FR":
        return address.country + code
    return code if POSTCODE.fullmatch(code) and code != "00000" else ""


def _city(text: str, tables: Tables) -> tuple[str, ...]:
    words = spelled(text, tables) if text else []
    return tuple(dict.fromkeys(w for w in words if not numeric(w) and w not in tables.fillers))


def _street(address: Address, city: Sequence[str], tables: Tables) -> tuple[str, tuple[str, ...]]:
    """House number and words of the street; those after the first kind of street, where one is named."""
    written = tables.abbreviations
    words = [written.get(word, word) for word in fold(address.street or "").split(" ") if word][:24]
    ways = [at for at, word in enumerate(words) if word in tables.ways]
    start = ways[0] + 1 if ways else 0
    house = _house(words[: ways[0]] if ways else words, tables)
    street = [word for word in words[start:] if len(word) > 1 and _telling(word, tables)]
    # What remains of `Lyon` in `7 place Colbert 69001 Lyon` says nothing of the street.
    own = [word for word in street if word not in city]
    return house, tuple(dict.fromkeys(own or street))


def _telling(word: str, tables: Tables) -> bool:
    """Whether a word of an address is part of the name of a street."""
    if numeric(word) or word in tables.articles:
        return False
    return word not in tables.fillers and word not in tables.ways


def _house(words: Sequence[str], tables: Tables) -> str:
    """The last number before the street, with its repeat: `12 bis` and `12b` are `12b`."""
    for at in range(len(words) - 1, -1, -1):
        if found := NUMBER.match(words[at]):
            rest = words[at][found.end() :] or (words[at + 1] if at + 1 < len(words) else "")
            return found[0] + (rest[0] if rest in tables.repeats else "")
    return ""
