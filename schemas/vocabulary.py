"""Words and areas: records of their own, so that renaming one is one event and not a thousand."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from schemas.place import AnyCode, Code, Text

# The shared landmarks ("repères communs"). They are one vocabulary among others, `commun:`.
LANDMARKS = (
    "espace-hybride",
    "coworking",
    "fablab",
    "atelier-artisanal",
    "culturel",
    "living-lab",
    "nourricier",
    "cuisine-partagee",
    "mediation-numerique",
    "telecentre",
    "centre-affaires",
    "ressourcerie",
)


class Term(Struct, frozen=True, omit_defaults=True):
    """A network's own word for a type or a service, and which words of others it is close to."""

    namespace: Code
    code: Annotated[str, Meta(min_length=1, max_length=127, pattern=r"^[^\s:]\S*$(?!\n)")]
    labels: dict[str, Text]
    of: Literal["types", "services"] = "types"
    close: tuple[AnyCode, ...] = ()
    retired: bool = False


class Vocabulary(Struct, frozen=True, omit_defaults=True):
    """All words of a network. A word left out of a later version is retired, never forgotten."""

    terms: tuple[Term, ...]


class Polygon(Struct, frozen=True):
    """A GeoJSON Polygon or MultiPolygon in WGS 84 degrees, longitude first."""

    type: Literal["Polygon", "MultiPolygon"]
    coordinates: list[Any]


class Area(Struct, frozen=True, omit_defaults=True):
    """A named area that a network publishes: a polygon, or a list of communes by INSEE code."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    summary: Annotated[str, Meta(max_length=280)] | None = None
    geometry: Polygon | None = None
    communes: tuple[
        Annotated[str, Meta(pattern=r"^([0-9]{5}|2[AB][0-9]{3})$(?!\n)", examples=["35238"])], ...
    ] = ()
