"""What the followed nodes last said of each record, as the merge reads it."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from schemas import event
from schemas.claim import Claim
from schemas.event import Event, Withdrawal
from schemas.place import Place
from services import foreign, merkle, strict
from services.errors import Corrupt, Untrue
from services.follow_store import Node
from services.postgres import Connection
from services.sync import fields, store
from services.sync.records import Record, Said, owner
from services.sync.store import Latest

REPAIR = "python -m services.sync repair --from URL"


async def latest_events(conn: Connection, records: Sequence[str]) -> list[Latest]:
    """The latest events of these records; Corrupt where one is not what its node signed."""
    found = await store.latest(conn, records)
    for one in found:
        # Of an erased one nothing is left to read.
        if one.raw and merkle.leaf(one.raw) != one.leaf:
            raise Corrupt(
                "Event {cursor} of node {node} is damaged in this database. Run: {command}",
                {"cursor": f"{one.epoch}.{one.seq}", "node": one.node, "command": REPAIR},
            )
    return found


async def read(conn: Connection, nodes: Mapping[str, Node], ids: Sequence[str]) -> dict[str, Record | str]:
    """Those of these records that are places, or why they cannot be read; all are of these nodes."""
    return places(await latest_events(conn, ids), nodes)


def places(latest: Sequence[Latest], nodes: Mapping[str, Node]) -> dict[str, Record | str]:
    """Those that are places, or why they cannot be read; all are of these nodes."""
    created = {node: founded(found) for node, found in nodes.items() if found.created}
    return {x.record: record(x, created.get(x.node, 0)) for x in latest if is_place(x)}


def reference(latest: Latest) -> str:
    """An event as the cause of a change: `<node>/<event id>`."""
    return f"{latest.node}/{latest.epoch}-{latest.seq:016d}"


def is_place(latest: Latest | None) -> bool:
    """Whether a record is one of a place, be it taken back or erased."""
    return latest is not None and latest.type in event.OF_PLACES


def said(latest: Latest) -> Said | None:
    """The claim in an event; None where it is none that its network may make."""
    if unread(latest) is not None:
        return None
    try:
        claim = foreign.decoded(bytes(foreign.decoded(latest.raw, Event).data), Claim)
    except Untrue:
        return None
    if owner(claim.a) != latest.node or claim.a == claim.b:
        return None
    return Said(latest.node, claim.a, claim.b, claim.verdict, claim.statement)


def unread(latest: Latest) -> str | None:
    """Why an event is left unread: every sync has to leave the same ones."""
    return (
        latest.opaque
        or foreign.flaw(latest.raw)
        or strict.ambiguity(latest.raw)
        or foreign.overlong(latest.raw, latest.type)
    )


def record(latest: Latest, created: int) -> Record | str:
    """A record as the merge sees it, or why it cannot be read."""
    if (why := unread(latest)) is not None:
        return why
    try:
        found = msgspec.json.decode(latest.raw, type=Event)
        if latest.type == event.PLACE_PUT:
            place, successor = msgspec.json.decode(found.data, type=Place), None
        elif latest.type == event.PLACE_WITHDRAW:
            place, successor = None, msgspec.json.decode(found.data, type=Withdrawal).successor
        else:
            place, successor = None, None
    except foreign.UNREADABLE as error:
        return str(error)
    return Record(
        id=latest.record,
        version=found.recordversion,
        leaf=latest.leaf.hex(),
        time=found.time,
        place=place,
        successor=successor,
        created=created,
    )


def founded(node: Node) -> int:
    """When a node says that it was founded, in Unix milliseconds; 0 where it says nothing that can be read."""
    since = fields.moment(node.created)
    return int(datetime.fromisoformat(since).timestamp() * 1000) if since else 0
