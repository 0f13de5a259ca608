"""Places as a reader asks to see them: worked out again from what their records say."""

from collections.abc import Sequence

from msgspec.structs import replace

from schemas.view import View
from services import follow_store
from services.postgres import Connection
from services.sync import heard, merge, store
from services.sync.merge import Reading
from services.sync.policy import Policy
from services.sync.records import Record, by_record, owner

CHUNK = 100


async def reread(
    conn: Connection, views: Sequence[View], policy: Policy, reading: Reading
) -> dict[str, View]:
    """Places of the view by their common id, each read in this way; without those that nobody may show."""
    nodes = {n.node: n for n in await follow_store.nodes(conn) if n.mode == "follow"}
    masked = await store.hidden(conn)
    found: dict[str, View] = {}
    # However many places there are, others get their turn between two chunks.
    for start in range(0, len(views), CHUNK):
        chunk = views[start : start + CHUNK]
        ids = [id for view in chunk for id in view.aliases if owner(id) in nodes and id not in masked]
        read = await heard.read(conn, nodes, ids)
        said = by_record(await store.claims_about(conn, ids))
        for view in chunk:
            members = [one for id in view.aliases if isinstance(one := read.get(id), Record)]
            claims = [claim for id in view.aliases for claim in said[id]]
            if members and (now := merge.merged(members, claims, policy, reading)) is not None:
                # What the networks said since the last merge may have another elder.
                found[view.id] = replace(now, id=view.id, aliases=view.aliases)
    return found
