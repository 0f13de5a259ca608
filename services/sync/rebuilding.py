"""Places computed again from the stored events, whatever the view says."""

from collections.abc import Sequence

from schemas.view import View
from services import follow_repair_store, follow_store
from services.postgres import Connection
from services.sync import changes, heard, merge, placing, store
from services.sync.policy import stored
from services.sync.records import Record, owner
from services.sync.store import Saved


async def recomputed(conn: Connection, id: str) -> View | None:
    """The place of this id as the events that are merged make it; None where they make none."""
    policy = stored(await store.policy_document(conn) or b"")
    nodes = {n.node: n for n in await follow_store.nodes(conn) if n.mode == "follow"}
    touched, hidden = sorted(await placing.closure(conn, {id}, policy)), await store.hidden(conn)
    mine = [record for record in touched if owner(record) in nodes and record not in hidden]
    read = await heard.read(conn, nodes, mine)
    claims = await store.claims_about(conn, touched)
    records = [record for record in read.values() if isinstance(record, Record)]
    found = await placing.clustered(conn, records, claims, policy)
    return merge.views(found.clusters, claims, policy).get(id)


async def rebuild(conn: Connection, ids: Sequence[str]) -> None:
    """Put places right as the events make them; those of which the rows do not tell that much are merged again."""
    whole = [saved for id in ids if (saved := await _as_it_was(conn, id)) is not None]
    await store.remove_views(conn, ids)
    if whole:
        await store.save_views(conn, whole)
    if len(whole) < len(ids):
        for node in await follow_store.nodes(conn):
            await follow_repair_store.replaced(conn, node.node)


async def _as_it_was(conn: Connection, id: str) -> Saved | None:
    """A damaged place where it is what the events make now; else the merge has more to say of it than its bytes."""
    view, before = await recomputed(conn, id), (await store.stored_views(conn, [id])).get(id)
    if view is None or before is None:
        return None
    now = changes.saved(changes.shown(view))
    return now if now.entry == before[0] or now.body == before[1] else None
