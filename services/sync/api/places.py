"""`/places/{id}`: a merged place with every voice, and where each value comes from."""

from hashlib import sha256
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw, Struct

from schemas import event
from schemas.event import Event
from schemas.view import Dispute, Field, View
from services import follow_store, foreign, http
from services.follow_store import Node
from services.http import Route
from services.ledger import stamp
from services.sync import fields, merge, store
from services.sync.api import history
from services.sync.api.reading import moment, why_not
from services.sync.store import Voiced


class Query(Struct, frozen=True):
    """When: an RFC 3339 time, or a date for that whole day in UTC; without it, now."""

    as_of: str | None = None


class Voice(Struct, frozen=True):
    """What one network says of the place: its record as it is in its own log, extensions and words included."""

    record: str
    network: str
    version: int
    cursor: str
    status: str
    place: Raw | None


class Freshness(Struct, frozen=True):
    """What we know of a network: our name for it, its own, how it goes, when it was last heard."""

    alias: str
    name: str
    state: str
    heard_at: str | None


class Rich(Struct, frozen=True):
    """A place of the common view. Any id in `aliases` finds it."""

    id: str
    aliases: tuple[str, ...]
    updated: str
    place: dict[str, Any]
    fields: dict[str, Field]
    records: list[Voice]
    disputes: tuple[Dispute, ...]
    part_of: tuple[str, ...]
    freshness: dict[str, Freshness]


async def show_place(request: web.Request) -> web.Response:
    """A place with every voice and where each value comes from; any id that it has ever had finds it.

    With `as_of`, the place as this view showed it at that time.
    """
    when = http.asked(request, Query).as_of
    if when is not None:
        return await history.show_past(request, when)
    id = request.match_info["id"]
    async with moment(request) as conn:
        found = await store.found(conn, id)
        if found is None:
            raise await why_not(conn, id)
        view = msgspec.json.decode(found[1], type=View)
        voices = await store.voices(conn, view.aliases)
        nodes = {n.node: n for n in await follow_store.nodes(conn)}
    body = msgspec.json.encode(rich(view, voices, nodes))
    headers = {
        "Link": f'</places/{view.id}>; rel="canonical"',
        "ETag": f'"{sha256(body).hexdigest()[:32]}"',
    }
    return http.reply(body, headers=headers)


def _event(voiced: Voiced) -> Event:
    return msgspec.json.decode(voiced.raw, type=Event)


def rich(view: View, voices: list[Voiced], nodes: dict[str, Node]) -> Rich:
    """A place as developers read it."""
    return Rich(
        id=view.id,
        aliases=view.aliases,
        updated=view.updated,
        place=merge.public(view),
        fields=view.fields,
        records=_voices(voices),
        disputes=view.disputes,
        part_of=view.part_of,
        freshness={n: _freshness(nodes[n]) for n in view.networks if n in nodes},
    )


def _voices(voices: list[Voiced]) -> list[Voice]:
    """Every voice as it is in its own log; of a place that one of them does not disclose, nothing below the commune."""
    said = {v.record: _event(v).data for v in voices if v.type == event.PLACE_PUT}
    if any(_undisclosed(data) for data in said.values()):
        said = {record: fields.veiled_record(data) for record, data in said.items()}
    return [_voice(v, said.get(v.record)) for v in voices]


class _Kind(Struct):
    kind: str = "physical"


def _undisclosed(data: Raw) -> bool:
    try:
        return msgspec.json.decode(data, type=_Kind).kind == "undisclosed"
    except foreign.UNREADABLE:
        # Nothing that cannot be read is shown as a voice's own word.
        return True


def _voice(voiced: Voiced, place: Raw | None) -> Voice:
    return Voice(
        record=voiced.record,
        network=voiced.node,
        version=voiced.version,
        cursor=f"{voiced.epoch}.{voiced.seq}",
        status=STATUS.get(voiced.type, "present"),
        place=place,
    )


STATUS = {event.PLACE_WITHDRAW: "withdrawn", event.RECORD_ERASE: "erased"}


def _freshness(node: Node) -> Freshness:
    heard = stamp(node.heard_at) if node.heard_at else None
    return Freshness(alias=node.alias, name=node.name, state=node.state, heard_at=heard)


ROUTES = (
    Route("GET", "/places/{id}", show_place, query=Query, replies={200: (Rich, history.Past), 410: None}),
)
