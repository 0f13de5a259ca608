"""A place as a page shows it, on the node of one network or in a view of several: every value with who says it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from aiohttp import web
from markupsafe import Markup
from msgspec import Struct, structs

from schemas.place import Place
from services import atlas, hours, pages, schema_org
from services.communes import departement_name
from services.licenses import licence

# What stands at the head of the page, what people come for, and the rest; in the order of the page.
HEAD = ("name", "status", "families", "summary", "description")
PRACTICAL = (
    "address", "opening_hours_text", "opening_hours", "phone", "email", "website", "links", "accessibility",
)  # fmt: skip
ABOUT = (
    "kind", "types", "services", "labels", "operator", "surface", "opened_on", "closed_on", "verified_on",
    "verified_by", "alternate_names", "position", "identifiers", "license", "origin",
)  # fmt: skip

# The policy of the page lists where they are.
MOST_PHOTOS = 30


class Network(Struct, frozen=True):
    """Who says something: by name, where its registry answers, where people can write to it, and how it is heard.

    `state` and `heard_at` are those of a followed node; None on the network's own node.
    """

    node: str
    name: str
    url: str
    contact: str
    state: str | None = None
    heard_at: str | None = None


class Fact(Struct, frozen=True):
    """A value of a place: what is shown, who says it and by which rule it is shown.

    `others` are other values with who says them; `items` are those of a list, each with who says it.
    """

    name: str
    value: Any
    network: str | None = None
    rule: str | None = None
    others: tuple[tuple[Any, str], ...] = ()
    items: tuple[tuple[Any, tuple[str, ...]], ...] = ()


class Voice(Struct, frozen=True):
    """What one network says in its record: all of it, None where it took it back or it cannot be read here.

    `copy_of`: the network whose record it only repeats.
    """

    record: str
    network: Network
    status: str
    place: Mapping[str, Any] | None
    copy_of: str | None = None


class Objection(Struct, frozen=True):
    """What a network says of two records where voices contradict each other; `other` is the record of another place."""

    network: str
    verdict: str
    statement: str | None
    other: str | None


class Step(Struct, frozen=True):
    """What became of the place at a time: `opened`, `changed`, `removed` or `erased`; fields with before and after."""

    time: str
    kind: str
    networks: tuple[str, ...] = ()
    changed: Mapping[str, tuple[Any, Any]] = {}
    reason: str | None = None
    moved_to: str | None = None


class Target(Struct, frozen=True):
    """A network to which a report goes: where it is sent, on which record, and the fields whose value it says."""

    name: str
    url: str
    record: str
    contact: str
    fields: tuple[str, ...]


class Portrait(Struct, frozen=True):
    """A place with all that its page says. `here` is the address of the page without what is asked of it.

    `past` is the time as of which it is shown; `whole`: whether `steps` are all there are.
    """

    id: str
    here: str
    place: Mapping[str, Any]
    facts: Mapping[str, Fact]
    voices: Sequence[Voice] = ()
    disputes: Sequence[Objection] = ()
    part_of: Sequence[str] = ()
    aliases: Sequence[str] = ()
    steps: Sequence[Step] = ()
    whole: bool = True
    targets: Sequence[Target] = ()
    licenses: Sequence[str] = ()
    updated: str = ""
    past: str | None = None
    words: Mapping[str, str] = {}
    prefix: str = "/places/"


def plain(place: Mapping[str, Any]) -> dict[str, Fact]:
    """The values of a place that one network says, as facts."""
    return {name: Fact(name, value) for name, value in place.items() if value not in (None, (), [], {}, "")}


def record(place: Place) -> dict[str, Any]:
    """What a record says, as JSON has it; its extensions as the texts that they are."""
    found: dict[str, Any] = msgspec.to_builtins(structs.replace(place, extensions={}))
    return found | {"extensions": {name: bytes(raw).decode() for name, raw in place.extensions.items()}}


def step(time: str, kind: str, changed: Mapping[str, tuple[Any, Any]], networks: Iterable[str] = ()) -> Step:
    """What became of a place; where none of its fields was there before, it is `opened`."""
    if kind == "changed" and all(before is None for before, _ in changed.values()):
        kind = "opened"
    return Step(time, kind, tuple(dict.fromkeys(networks)), changed)


def show(request: web.Request, portrait: Portrait, networks: Mapping[str, Network]) -> web.Response:
    """The page of a place; photos of other sites are in it only if `photos=1` asks for them."""
    opened = request.query.get("photos") == "1"
    photos = [photo for photo in portrait.place.get("photos") or () if pages.origin(photo["url"])][
        :MOST_PHOTOS
    ]
    origins = [origin for photo in photos if (origin := pages.origin(photo["url"]))]
    asked = [origin for target in portrait.targets if (origin := pages.origin(target.url))]
    language = pages.spoken(request)
    response = pages.page(
        request,
        "place.html",
        images=origins if opened else (),
        asks=asked,
        portrait=portrait,
        place={**dict.fromkeys(Place.__struct_fields__), **portrait.place},
        facts=portrait.facts,
        networks=networks,
        photos=photos,
        origins=list(dict.fromkeys(origins)),
        opened=opened,
        graph=None if portrait.past else graph(portrait),
        label=lambda facet, value: portrait.words.get(value) or atlas.label(facet, value, language),
        departement=departement_name,
        hours=hours.lines,
        licence=licence,
        groups={"head": HEAD, "practical": PRACTICAL, "about": ABOUT},
    )
    response.headers["Link"] = f'<{portrait.here}>; rel="canonical"'
    return response


def graph(portrait: Portrait) -> Markup:
    """The place in the words of schema.org, for the script element of the page."""
    said = {"@context": schema_org.CONTEXT, **schema_org.node(portrait.id, portrait.place)}
    # Inside of a script element, no text may end it.
    text = json.dumps(said, ensure_ascii=False).replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - escaped above
