"""The page of a place in the view: what it is, every voice, where each value comes from, what became of it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import structs

from schemas.place import Place
from schemas.view import Field, View
from services import follow_store, foreign, http, ledger, pages, portrait
from services.canonical import fold
from services.errors import NotFound, Untrue
from services.follow_store import Node
from services.http import Route
from services.ledger import stamp
from services.portrait import Fact, Network, Objection, Portrait, Step, Target
from services.postgres import Connection
from services.sync import history_store, merge, spoken
from services.sync.api import history, places
from services.sync.api.history import Change, Past
from services.sync.api.places import Found, Query, Rich, Voice
from services.sync.api.reading import moment
from services.sync.records import owner

# So many changes are listed; all are at `/places/{id}/history`.
MOST_STEPS = 100
KINDS = {"put": "changed", "remove": "removed", "erase": "erased"}


async def show_place(request: web.Request) -> web.Response:
    """A place with every voice and where each value comes from; any id that it has ever had finds it.

    With `as_of`, the place as this view showed it at that time. Browsers are shown a page.
    """
    if not pages.wanted(request):
        return await places.show_place(request)
    query = http.asked(request, Query)
    if query.as_of is not None:
        places.refuse_both(query)
        return await _show_past(request, query.as_of)
    async with moment(request) as conn:
        found = await places.read(request, conn, query)
        id = found.view.id
        if id != request.match_info["id"]:
            raise web.HTTPFound(request.rel_url.with_path(f"/places/{id}").with_query(request.query))
        told, whole = await _told(conn, id)
        words = await spoken.labels(conn, pages.spoken(request))
    networks = {node: network(each) for node, each in found.nodes.items()}
    return portrait.show(request, _portrait(found, networks, told, whole=whole, words=words), networks)


async def _show_past(request: web.Request, when: str) -> web.Response:
    """What the page said at a time: of the past only what was shown is known, not who else said what."""
    past = await history.past_of(request, when)
    async with moment(request) as conn:
        networks = {n.node: network(n) for n in await follow_store.nodes(conn)}
        words = await spoken.labels(conn, pages.spoken(request))
    place = msgspec.json.decode(past.place) if past.dataref is None else None
    if place is None:
        raise NotFound(
            "It was too long for an event: {dataref} says what it is now.", {"dataref": str(past.dataref)}
        )
    return portrait.show(request, _then(past, place, words), networks)


def _then(past: Past, place: dict[str, Any], words: Mapping[str, str]) -> Portrait:
    return Portrait(
        id=past.id,
        here=f"/places/{past.id}",
        place=place,
        facts=portrait.plain(place),
        updated=past.time,
        past=past.as_of.time,
        words=words,
    )


def network(node: Node) -> Network:
    """A followed network as pages name it."""
    heard = stamp(node.heard_at) if node.heard_at else None
    return Network(node.node, node.name or node.alias, node.url.rstrip("/"), node.contact, node.state, heard)


async def _told(conn: Connection, id: str) -> tuple[list[Step], bool]:
    """The first changes of a place, the latest first, and whether these are all."""
    head = await ledger.current(conn)
    rows, more = await history_store.history(
        conn, head.node, id, after=0, limit=MOST_STEPS, most=history.MOST
    )
    return [_step(history.change(row)) for row in reversed(rows)], not more


def _portrait(
    found: Found, networks: Mapping[str, Network], told: list[Step], *, whole: bool, words: Mapping[str, str]
) -> Portrait:
    view, rich = found.view, found.rich
    return Portrait(
        id=view.id,
        here=f"/places/{view.id}",
        place=rich.place,
        facts={name: _fact(name, field, rich.place) for name, field in view.fields.items() if _said(field)},
        voices=[_voice(voice, networks) for voice in rich.records if voice.network in networks],
        disputes=list(_objections(view)),
        part_of=rich.part_of,
        aliases=rich.aliases,
        steps=told,
        whole=whole,
        targets=sorted(_targets(rich, networks), key=lambda target: fold(target.name)),
        licenses=sorted({code for voice in rich.records if (code := _license(voice))}),
        updated=rich.updated,
        words=words,
    )


def _said(field: Field) -> bool:
    return field.rule != "some-say-closed" and (field.value is not None or bool(field.alternatives))


def _fact(name: str, field: Field, place: Mapping[str, Any]) -> Fact:
    return Fact(
        name=name,
        value=place.get(name),
        network=field.network,
        rule=field.rule,
        others=tuple((_readable(name, other.value), other.network) for other in field.alternatives),
        items=field.items,
    )


def _readable(name: str, value: Any) -> Any:
    """A stored value as people read it: degrees and square metres, which are integers where they are compared."""
    match name, value:
        case "position", {"lat": lat, "lon": lon}:
            return {**value, "lat": lat / merge.DEGREES, "lon": lon / merge.DEGREES}
        case "surface", dict():
            return {part: number / merge.SQUARE_METRES for part, number in value.items()}
    return value


def _voice(voice: Voice, networks: Mapping[str, Network]) -> portrait.Voice:
    copied = networks.get(owner(voice.copy_of)) if voice.copy_of else None
    return portrait.Voice(
        record=voice.record,
        network=networks[voice.network],
        status=voice.status,
        place=_record(voice),
        copy_of=copied.name if copied else None,
    )


def _record(voice: Voice) -> dict[str, Any] | None:
    """What a voice says, in the shape of a place; None where this version cannot read it."""
    if voice.place is None:
        return None
    try:
        return portrait.record(foreign.decoded(bytes(voice.place), Place))
    except Untrue:
        return None


def _license(voice: Voice) -> str | None:
    return (_record(voice) or {}).get("license")


def _objections(view: View) -> Iterator[Objection]:
    for dispute in view.disputes:
        others = [record for record in (dispute.a, dispute.b) if record not in view.aliases]
        yield Objection(dispute.network, dispute.verdict, dispute.statement, next(iter(others), None))


def _targets(rich: Rich, networks: Mapping[str, Network]) -> Iterator[Target]:
    """Whom a report concerns: every network that speaks here, with what is shown of its words."""
    for voice in rich.records:
        known = networks.get(voice.network)
        if known is None or voice.status != "present" or voice.copy_of:
            continue
        yield Target(
            name=known.name,
            url=f"{known.url}/reports",
            record=voice.record,
            contact=known.contact,
            fields=tuple(_fields_of(rich, voice.record, voice.network)),
        )


def _fields_of(rich: Rich, record: str, network: str) -> Iterable[str]:
    for name, field in rich.fields.items():
        if field.record == record or any(network in said for _, said in field.items):
            yield name


def _step(change: Change) -> Step:
    changed = msgspec.json.decode(change.changed) if change.changed is not None else {}
    differences = {name: (each["before"], each["after"]) for name, each in changed.items()}
    # Events are named `<node>/<event id>`.
    causes = (cause.partition("/")[0] for cause in change.cause)
    told = portrait.step(change.time, KINDS[change.kind], differences, causes)
    return structs.replace(told, reason=change.reason, moved_to=change.moved_to)


ROUTES = (
    Route(
        "GET",
        "/places/{id}",
        show_place,
        query=Query,
        replies={200: (Rich, Past, "text/html"), 302: None, 410: None},
    ),
)
