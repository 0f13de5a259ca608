"""`/proposals`: pairs of records that may be one place and are none, for the networks to answer by their claims."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from schemas.event import PLACE_PUT, Event
from schemas.place import RecordId
from schemas.view import Feature
from services import follow_store, foreign, http
from services.http import Route
from services.postgres import Connection
from services.sync import alike_store, store
from services.sync.alike_store import Open, Sought
from services.sync.api import selecting
from services.sync.api.links import Word
from services.sync.api.reading import moment
from services.sync.context import POLICY
from services.sync.records import RECORD_ID, owner


class Query(Struct, frozen=True):
    """Which proposals: those that a network, by id or alias, can answer; those of a record.

    `disputed`: instead of them, the pairs of which one owner says `same`, and the other that they are two.
    """

    network: str | None = None
    record: RecordId | None = None
    disputed: bool = False
    limit: Annotated[int, Meta(ge=1, le=100)] = 50
    page: str | None = None


class Side(Struct, frozen=True):
    """One of two records: whose, in which place of the view, and what its network says that it is."""

    record: str
    network: str
    view: str
    name: str
    city: str | None


class Proposal(Struct, frozen=True):
    """Two records that may be one place.

    `why` they are not joined: not alike enough (`close`), several fit (`several`), something stands between
    (`between`), it would split others (`aside`), one network alone says so (`claimed`), the other says that they are
    two (`disputed`). Of a record that others may not join unasked neither `points` nor `features` are told, nor of
    any record of a place of which one is undisclosed.
    """

    a: Side
    b: Side
    points: int | None
    why: Literal["close", "several", "between", "aside", "claimed", "disputed"]
    features: list[Feature]
    said: list[Word]


class Proposals(Struct, frozen=True):
    """A page of proposals, best first; `networks` are their names, `next` is the token of the next page."""

    proposals: list[Proposal]
    networks: dict[str, str]
    next: str | None


async def list_proposals(request: web.Request) -> web.Response:
    """Records that may be one place and are not joined, one pair for each two places, most points first.

    A network answers by a claim in its own registry; then, or once it says that they are two, they are not listed.
    With `disputed` all pairs are listed of which the two owners say the contrary.
    """
    query = http.asked(request, Query)
    after = _after(query.page)
    async with moment(request) as conn:
        network = selecting.networks(request, [query.network])[0] if query.network else None
        sought = Sought(request.app[POLICY].policy.matching.propose, network, query.record)
        pairs = alike_store.disputed_pairs if query.disputed else alike_store.open_pairs
        found = await pairs(conn, sought, after=after, limit=query.limit + 1)
        page = found[: query.limit]
        # Of a record that has changed since the merge, another proposal or none will be made.
        named = await _named(conn, [id for pair in page for id in (pair.a, pair.b)])
        nodes = {n.node: n.name or n.alias for n in await follow_store.nodes(conn)}
    concerned = {owner(id) for id in named}
    return http.reply(
        Proposals(
            proposals=[_proposal(p, named) for p in page if p.a in named and p.b in named],
            networks={node: name for node, name in nodes.items() if node in concerned},
            next=_token(page[-1]) if len(found) > query.limit else None,
        )
    )


class _Address(Struct):
    city: str | None = None


class _Named(Struct):
    name: str
    address: _Address | None = None


async def _named(conn: Connection, records: Sequence[str]) -> dict[str, _Named]:
    """Name and commune of those records that are there, as their networks have them."""
    found = {}
    for voiced in await store.voices(conn, sorted(set(records))):
        if voiced.type == PLACE_PUT:
            with suppress(*foreign.UNREADABLE):
                said = msgspec.json.decode(voiced.raw, type=Event)
                found[voiced.record] = msgspec.json.decode(said.data, type=_Named)
    return found


def _proposal(pair: Open, named: Mapping[str, _Named]) -> Proposal:
    features = alike_store.features(pair.features) if pair.features else ()
    said = ((pair.a, pair.said_a), (pair.b, pair.said_b))
    return Proposal(
        a=_side(pair.a, pair.view_a, named[pair.a]),
        b=_side(pair.b, pair.view_b, named[pair.b]),
        points=pair.points,
        why=pair.why,  # type: ignore[arg-type] # read from what the merge alone writes
        features=[Feature(*feature) for feature in features],
        said=[Word(owner(id), verdict) for id, verdict in said if verdict],  # type: ignore[arg-type] # as above
    )


def _side(record: str, view: str, named: _Named) -> Side:
    city = named.address.city if named.address else None
    return Side(record=record, network=owner(record), view=view, name=named.name, city=city)


def _token(pair: Open) -> str:
    return urlsafe_b64encode(f"{pair.rank} {pair.a} {pair.b}".encode()).rstrip(b"=").decode()


def _after(page: str | None) -> tuple[int, str, str] | None:
    """The rank and the records after which a page starts."""
    if page is None:
        return None
    try:
        rank, a, b = urlsafe_b64decode(page + "=" * (-len(page) % 4)).decode().split(" ")
        if RECORD_ID.fullmatch(a) and RECORD_ID.fullmatch(b) and -(2**31) <= int(rank) < 2**31:
            return int(rank), a, b
    except ValueError:
        pass
    raise selecting.mistake("page", "Use the token that the page before gave as `next`.")


ROUTES = (Route("GET", "/proposals", list_proposals, query=Query, replies={200: Proposals}),)
