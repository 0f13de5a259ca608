"""The map of places as a page: what is asked in its address, and what a service hands over to be shown."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from yarl import URL

from schemas.place import Code, License, Status
from schemas.subscription import Departement
from services import pages
from services.canonical import fold
from services.communes import departement_name
from services.errors import Fault, Malformed
from services.landmarks import LICENSES, WORDS
from services.languages import Language

PAGE = 50
MOST_POINTS = 50_000
MOST_OPTIONS = 200
KILOMETRES = (5, 10, 20, 50, 100)
Named = Annotated[str, Meta(max_length=200)]
Colour = Annotated[str, Meta(pattern=r"^#?[0-9a-fA-F]{6}$(?!\n)")]
FACETS = ("family", "status", "departement", "network", "license", "type")
CHOSEN = tuple(name for name in FACETS if name != "type")
# What the form of the map asks for; an address can ask for more.
ASKED = frozenset(("q", "near", "area", *CHOSEN))


class Query(Struct, frozen=True):
    """Which places: words of name and city without regard to accents, shared landmarks, states, départements, licences.

    `near` is a latitude, a longitude and kilometres.
    """

    q: Annotated[str, Meta(max_length=200)] | None = None
    family: tuple[Code, ...] = ()
    status: tuple[Status, ...] = ()
    departement: tuple[Departement, ...] = ()
    license: tuple[License, ...] = ()
    near: tuple[float, float, float] | None = None


class Paged(Query, frozen=True):
    """Which places the map shows, and which page of their list. The view is in the fragment: `#zoom/lat/lon`."""

    page: str | None = None


class Framed(Paged, frozen=True):
    """Which places a framed map shows, under which name and in which colour (`#0b5d51`, with or without `#`)."""

    name: Named | None = None
    color: Colour | None = None


class Points(Struct, frozen=True):
    """Places that have a position, as lon, lat, id, name, status, families joined by `;`; in the order of the list.

    `matched` counts all places, `unplaced` those without position; at most 50,000 are told.
    """

    cursor: str
    matched: int
    unplaced: int
    points: list[tuple[float, float, str, str, str, str]]


class Option(Struct, frozen=True):
    """A value that places have, in the reader's language, and how many have it."""

    value: str
    label: str
    count: int


class Facets(Struct, frozen=True):
    """What the places can be chosen by. A facet is counted without its own choice, so that others can be added."""

    matched: int
    facets: dict[str, list[Option]]


class Listed(Struct, frozen=True):
    """A place in the list: where its page is, its name, and what is said beside it."""

    id: str
    href: str
    name: str
    status: str
    families: tuple[str, ...]
    city: str | None
    placed: bool


class Shown(Struct, frozen=True):
    """A page of the list with all that stands around it.

    `prefix` and an id are the address of a place's page; `networks`: how many are listened to, None on a registry.
    """

    title: str
    places: Sequence[Listed]
    matched: int
    unplaced: int
    next: str | None
    facets: Mapping[str, Sequence[Option]]
    prefix: str
    areas: Sequence[Option] = ()
    networks: int | None = None


class Tiles(Struct, frozen=True):
    """Where pictures of a background map are, and who made them."""

    url: str
    attribution: str

    @property
    def origin(self) -> str:
        """Scheme and host, as a policy of browsers names them."""
        found = urlsplit(self.url)
        return f"{found.scheme}://{found.netloc}"


def near(query: Query) -> tuple[float, float, float] | None:
    """Latitude, longitude and kilometres; Malformed where no place can be there."""
    if not query.near:
        return None
    lat, lon, km = query.near
    if not (-90 <= lat <= 90 and -180 <= lon <= 180 and 0 < km <= 20_000):
        fault = Fault("near", "near is latitude,longitude,kilometres.")
        raise Malformed("The query is not right.", faults=(fault,))
    return lat, lon, km


def options(
    facet: str, counts: Sequence[tuple[str, int]], language: Language, named: Mapping[str, str] = {}
) -> list[Option]:
    """The values of a facet in words; `named` are those that only the service knows."""
    return [Option(value=v, label=named.get(v) or label(facet, v, language), count=n) for v, n in counts]


def label(facet: str, value: str, language: Language) -> str:
    """A value in words; itself where there are none."""
    match facet:
        case "family" | "status":
            return WORDS[facet][language].get(value, value)
        case "departement":
            return f"{value} {departement_name(value) or ''}".strip()
        case "license":
            return LICENSES.get(value, value)
    return value


def show(request: web.Request, shown: Shown, query: Query, tiles: Tiles | None) -> web.Response:
    """The map and its list as a page of their own."""
    return pages.page(request, "map.html", images=_images(tiles), **_context(request, shown, query, tiles))


def show_framed(
    request: web.Request,
    shown: Shown,
    query: Query,
    tiles: Tiles | None,
    *,
    name: str | None,
    colour: str | None,
) -> web.Response:
    """The map as a frame in other sites, under a name and in a colour of theirs."""
    context = _context(request, shown, query, tiles)
    title, colour = name or shown.title, colour and "#" + colour.removeprefix("#").lower()
    full = URL("/").with_query({k: v for k, v in request.query.items() if k not in ("name", "color", "page")})
    context |= {"title": title, "colour": colour, "full": str(full)}
    return pages.page(request, "embed.html", framed=True, images=_images(tiles), **context)


def _images(tiles: Tiles | None) -> tuple[str, ...]:
    return () if tiles is None else (tiles.origin,)


def _context(request: web.Request, shown: Shown, query: Query, tiles: Tiles | None) -> dict[str, Any]:
    language = pages.spoken(request)
    chosen = {name: value for name, value in request.query.items() if value and name != "page"}
    following = request.rel_url.update_query(page=shown.next) if shown.next else None
    return {
        "shown": shown,
        "title": shown.title,
        "prefix": shown.prefix,
        "query": query,
        "chosen": chosen,
        "options": {
            name: _with_chosen(name, shown, chosen, language) for name in CHOSEN if name in shown.facets
        },
        "named": {option.value: option.label for option in shown.facets.get("type", ())},
        "others": {name: value for name, value in chosen.items() if name not in ASKED},
        "following": following and str(following),
        "first": str(request.rel_url.with_query(chosen)) if request.query.get("page") else None,
        "tiles": tiles and msgspec.to_builtins(tiles),
        "label": lambda facet, value: label(facet, value, language),
        "labels": {facet: words[language] for facet, words in WORDS.items()},
        "kilometres": KILOMETRES,
    }


def _with_chosen(facet: str, shown: Shown, chosen: Mapping[str, str], language: Language) -> list[Option]:
    """The options of a facet; what the address asks for is one of them, whatever it is."""
    known = list(shown.facets.get(facet, ()))
    said = chosen.get(facet)
    if said and all(option.value != said for option in known):
        words = ", ".join(label(facet, value, language) for value in re.split(",", said))
        known.insert(0, Option(value=said, label=words, count=0))
    # Which network says most is no reason to name it first.
    return sorted(known, key=lambda option: fold(option.label)) if facet == "network" else known
