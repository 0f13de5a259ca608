"""What ties the records of a place, and how two records compare, as answers tell it."""

from msgspec import Struct

from schemas.claim import Verdict
from schemas.view import Feature, View
from services import follow_store
from services.postgres import Connection
from services.sync import alike_store, explaining, heard, store
from services.sync.explaining import By, Tie
from services.sync.policy import Matching
from services.sync.records import Record, owner

# Of a place of very many records not all that is alike is told.
MOST = 1000


class Word(Struct, frozen=True):
    """What the owner of one of two records says of the pair."""

    network: str
    verdict: Verdict


class Link(Struct, frozen=True):
    """What makes one place of two of its records, and how alike they are.

    `by`: their owners say so (`claim`); one was withdrawn and names the other (`successor`); one was copied from the
    other (`copy`); they are alike enough to be joined unasked (`points`), or because one owner says `same` (`lifted`).
    Without points where nothing is known of that, or where it may not be told.
    """

    a: str
    b: str
    by: By
    points: int | None
    features: list[Feature]
    said: list[Word]


async def links(conn: Connection, view: View, matching: Matching) -> list[Link]:
    """What ties the records that are shown of a place; ties to others of it are left out."""
    shown = {voice.record for voice in view.records}
    # A record that is not shown may forbid to tell what the others are like.
    members = await _members(conn, view) if len(shown) > 1 else []
    ids = [record.id for record in members]
    alike = await alike_store.best(conn, ids, MOST)
    ties = explaining.explained(members, await store.claims_about(conn, ids), alike, matching)
    return [_link(tie) for tie in ties if shown.issuperset(tie.pair)]


async def _members(conn: Connection, view: View) -> list[Record]:
    nodes = {n.node: n for n in await follow_store.nodes(conn) if n.mode == "follow"}
    masked = await store.hidden(conn)
    ids = [id for id in view.aliases if owner(id) in nodes and id not in masked]
    return [found for found in (await heard.read(conn, nodes, ids)).values() if isinstance(found, Record)]


def _link(tie: Tie) -> Link:
    return Link(
        *tie.pair,
        by=tie.by,
        points=tie.alike.points if tie.alike else None,
        features=[Feature(*feature) for feature in tie.alike.features] if tie.alike else [],
        said=[Word(network, "same") for network in tie.said],
    )
