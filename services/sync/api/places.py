"""`/places/{id}`: a merged place with every voice, and where each value comes from."""

from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Raw, Struct

from schemas import event
from schemas.event import Event
from schemas.place import License
from schemas.view import Dispute, Field, View
from services import follow_store, foreign, http
from services.errors import Fault, Malformed, NotFound
from services.follow_store import Node
from services.ledger import stamp
from services.parameters import Time
from services.postgres import Connection
from services.sync import fields, merge, store
from services.sync.api import history
from services.sync.api.links import Link, links
from services.sync.api.reading import etag, moment, why_not
from services.sync.api.seen import as_asked, asked_for
from services.sync.context import POLICY
from services.sync.policy import Policy
from services.sync.store import Voiced


class Query(Struct, frozen=True):
    """Which place to show, and how.

    `as_of`: as it was at an RFC 3339 time, or at the end of a date in UTC; without it, now. `voice`: with the values of
    this network first; `license`: only what records under some of these say. Of the past neither is known. `photos=1`
    shows its photos in its page, from the sites where they are.
    """

    as_of: Time | None = None
    voice: str | None = None
    license: tuple[License, ...] = ()
    photos: Literal["1"] | None = None


class Voice(Struct, frozen=True):
    """What one network says of the place: its record as it is in its own log, extensions and words included.

    `copy_of`: the record that it only repeats, so that it gives the place no value.
    """

    record: str
    network: str
    version: int
    cursor: str
    status: str
    place: Raw | None
    copy_of: str | None


class Freshness(Struct, frozen=True):
    """What we know of a network: our name for it, its own, how it goes, when it was last heard."""

    alias: str
    name: str
    state: str
    heard_at: str | None


class Rich(Struct, frozen=True):
    """A place of the common view. Any id in `aliases` finds it.

    `links` is what ties its records: outside of what syncs compare, as each sync keeps it for itself.
    """

    id: str
    aliases: tuple[str, ...]
    updated: str
    place: dict[str, Any]
    fields: dict[str, Field]
    records: list[Voice]
    links: list[Link]
    disputes: tuple[Dispute, ...]
    part_of: tuple[str, ...]
    freshness: dict[str, Freshness]


def refuse_both(query: Query) -> None:
    """The log tells what was shown, not who else said what."""
    what = "Of the past only what was shown is known: leave out `as_of`, or this."
    if faults := tuple(Fault(name, what) for name in ("voice", "license") if getattr(query, name)):
        raise Malformed("The query is not right.", faults=faults)


class Found(Struct, frozen=True):
    """A place as a query asks to see it, and the networks that this sync listens to, by id."""

    view: View
    rich: Rich
    nodes: dict[str, Node]


async def show_place(request: web.Request) -> web.Response:
    """A place, or what it was, as JSON."""
    query = http.asked(request, Query)
    if query.as_of is not None:
        refuse_both(query)
        return await history.show_past(request, query.as_of)
    async with moment(request) as conn:
        found = await read(request, conn, query)
    body = msgspec.json.encode(found.rich)
    headers = {
        "Link": f'</places/{found.view.id}>; rel="canonical"',
        "ETag": etag(body),
        "Vary": "Accept",
    }
    return http.reply(body, headers=headers)


async def read(request: web.Request, conn: Connection, query: Query) -> Found:
    """The place that the id in the path finds now; Gone or NotFound where there is none."""
    id, policy = request.match_info["id"], request.app[POLICY].policy
    found = await store.found(conn, id)
    if found is None:
        raise await why_not(conn, id)
    view = await seen(request, conn, found[1], query)
    voices = await store.voices(conn, view.aliases)
    nodes = {n.node: n for n in await follow_store.nodes(conn)}
    ties = await links(conn, view, policy.matching)
    return Found(view, rich(view, _voices(view, voices, policy), nodes, ties), nodes)


async def seen(request: web.Request, conn: Connection, body: bytes, query: Query) -> View:
    """A stored place as a query asks to see it; NotFound where nothing of it is under the licences asked for."""
    reading = await asked_for(conn, query.voice, query.license)
    for view in await as_asked(conn, [body], request.app[POLICY].policy, reading):
        return view
    raise NotFound("No record of this place is under the licences that were asked for.")


def _event(voiced: Voiced) -> Event:
    return msgspec.json.decode(voiced.raw, type=Event)


def rich(view: View, voices: list[Voice], nodes: dict[str, Node], ties: list[Link]) -> Rich:
    """A place as developers read it."""
    return Rich(
        id=view.id,
        aliases=view.aliases,
        updated=view.updated,
        place=merge.public(view),
        fields=view.fields,
        records=voices,
        links=ties,
        disputes=view.disputes,
        part_of=view.part_of,
        freshness={n: _freshness(nodes[n]) for n in view.networks if n in nodes},
    )


def _voices(view: View, voices: list[Voiced], policy: Policy) -> list[Voice]:
    """Every voice as it is in its own log; of a place that one of them does not disclose, nothing below the commune."""
    said = {v.record: _event(v).data for v in voices if v.type == event.PLACE_PUT}
    if any(_undisclosed(data) for data in said.values()):
        said = {record: fields.veiled_record(data, policy) for record, data in said.items()}
    shown = {record.record: record.copy_of for record in view.records}
    return [_voice(v, said.get(v.record), shown[v.record]) for v in voices if v.record in shown]


class _Kind(Struct):
    kind: str = "physical"


def _undisclosed(data: Raw) -> bool:
    try:
        return msgspec.json.decode(data, type=_Kind).kind == "undisclosed"
    except foreign.UNREADABLE:
        # Nothing that cannot be read is shown as a voice's own word.
        return True


def _voice(voiced: Voiced, place: Raw | None, copy_of: str | None) -> Voice:
    return Voice(
        record=voiced.record,
        network=voiced.node,
        version=voiced.version,
        cursor=f"{voiced.epoch}.{voiced.seq}",
        status=STATUS.get(voiced.type, "present"),
        place=place,
        copy_of=copy_of,
    )


STATUS = {event.PLACE_WITHDRAW: "withdrawn", event.RECORD_ERASE: "erased"}


def _freshness(node: Node) -> Freshness:
    heard = stamp(node.heard_at) if node.heard_at else None
    return Freshness(alias=node.alias, name=node.name, state=node.state, heard_at=heard)
