"""How a reader asks to see places: a network's voice first, or only what is under some licences."""

import re
from collections.abc import Sequence

import msgspec

from schemas.view import View
from services import follow_store
from services.errors import Fault, Malformed
from services.postgres import Connection
from services.sync import rereading
from services.sync.merge import WHOLE, Reading
from services.sync.policy import Policy

NODE = re.compile(r"[a-z2-7]{26}")


async def asked_for(conn: Connection, voice: str | None, licenses: Sequence[str]) -> Reading:
    """What a query asks for; Malformed for the name of a network that we do not know."""
    known = {n.alias: n.node for n in await follow_store.nodes(conn)} if voice else {}
    node = known.get(voice, voice) if voice else None
    if node is not None and not NODE.fullmatch(node):
        fault = Fault("voice", "No network that this view knows has this id or name.")
        raise Malformed("The query is not right.", faults=(fault,))
    return Reading(voice=node, licenses=frozenset(licenses) or None)


async def as_asked(conn: Connection, bodies: Sequence[bytes], policy: Policy, reading: Reading) -> list[View]:
    """Stored places, read in this way, in their order; without those of which nothing may be shown."""
    views = [msgspec.json.decode(body, type=View) for body in bodies]
    if reading == WHOLE:
        return views
    if reading.licenses is not None:
        now = await rereading.reread(conn, views, policy, reading)
        return [now[view.id] for view in views if view.id in now]
    # Where the network says nothing, nothing is another.
    spoken = [view for view in views if reading.voice in view.networks]
    now = await rereading.reread(conn, spoken, policy, reading)
    return [now.get(view.id, view) for view in views]
