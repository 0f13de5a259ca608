"""`/vocabulary` and `/areas`: words and named areas that the networks publish."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Struct

from schemas.place import AnyCode
from services.errors import NotFound
from services.http import Route
from services.landmarks import WORDS
from services.postgres import Connection
from services.sync import spoken, spoken_store
from services.sync.api.items import GEOJSON
from services.sync.api.reading import Form, kept
from services.sync.outlines import Box
from services.sync.records import owner
from services.sync.spoken import COMMON, Named, Word


class Said(Struct, frozen=True):
    """A word: its name, what it is called by language, for what it is, what it is close to, and who says it.

    `network` is null for the shared landmarks ("repères communs"), which are one vocabulary among others.
    """

    name: str
    labels: Mapping[str, str]
    of: Literal["types", "services"]
    close: tuple[AnyCode, ...]
    network: str | None


class Spoken(Struct, frozen=True):
    """The words of all networks in use, by name, after the shared landmarks."""

    words: list[Said]


class Drawn(Struct, frozen=True):
    """A named area: whose it is, and the box around it in degrees, null where it is a list of communes."""

    id: str
    name: str
    network: str
    bbox: Box | None
    communes: int
    summary: str | None


class Areas(Struct, frozen=True):
    """The named areas of all networks, by name; `area=<id>` chooses the places in one."""

    areas: list[Drawn]


async def show_vocabulary(request: web.Request) -> web.Response:
    """The words of all networks, and the shared landmarks, in French and English where they are said so."""

    async def answer(conn: Connection) -> bytes:
        words = [_said(word) for word in await spoken.words(conn)]
        return msgspec.json.encode(Spoken(words=[*_landmarks(), *words]))

    return await kept(request, answer)


def _landmarks() -> list[Said]:
    french, english = WORDS["family"]["fr"], WORDS["family"]["en"]
    return [
        Said(COMMON + code, {"fr": french[code], "en": english[code]}, "types", (), None)
        for code in sorted(french)
    ]


def _said(word: Word) -> Said:
    return Said(word.name, word.term.labels, word.term.of, word.term.close, owner(word.record))


async def list_areas(request: web.Request) -> web.Response:
    """The named areas that networks publish."""

    async def answer(conn: Connection) -> bytes:
        return msgspec.json.encode(Areas(areas=[_drawn(named) for named in await spoken.areas(conn)]))

    return await kept(request, answer)


def _drawn(named: Named) -> Drawn:
    area = named.area
    return Drawn(named.record, area.name, owner(named.record), named.box, len(area.communes), area.summary)


async def show_area(request: web.Request) -> web.Response:
    """A named area as a GeoJSON feature; without a geometry where it is a list of communes."""
    id = request.match_info["id"]

    async def answer(conn: Connection) -> bytes:
        body = await spoken_store.area(conn, id)
        if body is None:
            raise NotFound("No network that this view listens to publishes this area.")
        named = spoken.named(id, body)
        properties: dict[str, Any] = {
            "name": named.area.name,
            "network": owner(id),
            "summary": named.area.summary,
            "communes": ";".join(named.area.communes) or None,
        }
        geometry = named.area.geometry
        return msgspec.json.encode(
            {"type": "Feature", "id": id, "geometry": geometry, "properties": properties}
        )

    return await kept(request, answer, Form(media=GEOJSON))


ROUTES = (
    Route("GET", "/vocabulary", show_vocabulary, replies={200: Spoken}),
    Route("GET", "/areas", list_areas, replies={200: Areas}),
    Route("GET", "/areas/{id}", show_area, replies={200: GEOJSON}),
)
