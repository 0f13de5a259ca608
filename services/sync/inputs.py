"""All that a view is made of, read at one moment from the stored events alone."""

from msgspec import Struct

from schemas import event
from schemas.view import Head
from services import follow_store
from services.postgres import Connection
from services.sync import digest, heard, store, upkeep
from services.sync.records import Pair, Record, Said, owner, paired


class Inputs(Struct, frozen=True):
    """The followed nodes as a hash, their heads, their records that can be read, and the claims in force."""

    followed: str
    heads: dict[str, Head]
    records: list[Record]
    claims: list[Said]


async def inputs(conn: Connection) -> Inputs:
    """What the followed nodes say now. Needs a transaction at one moment."""
    known = {n.node: n for n in await follow_store.nodes(conn) if n.mode == "follow"}
    nodes = {id: n for id, n in known.items() if n.epoch > 0}
    hidden = await store.hidden(conn)
    records: list[Record] = []
    claims: dict[tuple[str, Pair], tuple[int, Said]] = {}
    async for one in store.all_latest(conn, list(nodes)):
        if one.record in hidden or owner(one.record) not in nodes:
            continue
        if one.type == event.CLAIM_PUT and (said := heard.said(one)) is not None:
            key = said.claimant, paired(said.a, said.b)
            claims[key] = max(claims.get(key, (0, said)), (one.seq, said), key=lambda x: x[0])
        records += [r for r in heard.places([one], nodes).values() if isinstance(r, Record)]
    heads = {node: upkeep.head_of(n) for node, n in nodes.items()}
    return Inputs(digest.followed_hash(known, hidden), heads, records, [said for _, said in claims.values()])
