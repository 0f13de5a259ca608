"""What a sync proposes to this network: records of others that may be the same places as its own."""

from collections.abc import Sequence

import aiohttp
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from schemas.place import RecordId
from schemas.view import Feature
from services import fetching, foreign
from services.errors import Unavailable, Untrue
from services.postgres import Pool
from services.registry import claims, decide, store

ANSWER = aiohttp.ClientTimeout(total=60, sock_connect=10)
# Nobody answers more than these in a day, and a sync may send without end.
PAGE, MOST_PAGES, MOST_BYTES = 100, 20, 1024 * 1024


class Side(Struct, frozen=True):
    """One of two records, as a sync shows it."""

    record: RecordId
    name: str
    city: str | None = None

    @property
    def owner(self) -> str:
        """The node that alone may write it."""
        return self.record.partition(":")[0]


class Word(Struct, frozen=True):
    """What the owner of one of two records says of the pair."""

    network: str
    verdict: str


class Proposal(Struct, frozen=True):
    """Two records that may be one place, and why they are not joined."""

    a: Side
    b: Side
    points: int | None
    why: str
    features: tuple[Feature, ...] = ()
    said: tuple[Word, ...] = ()


class Page(Struct, frozen=True):
    """Proposals, the names of the networks, the token of the next page."""

    proposals: tuple[Proposal, ...]
    networks: dict[str, str] = {}
    next: str | None = None


class Offer(Struct, frozen=True):
    """A proposal as this network sees it; `answer` is the verdict in force that it has given, if any."""

    mine: Side
    theirs: Side
    network: str
    proposal: Proposal
    answer: str | None = None


async def offers(pool: Pool, node: str, url: str) -> list[Offer]:
    """What the sync at a URL proposes to this network about places that it has, answered or not; best first."""
    async with fetching.client() as client:
        found = await _proposals(client, url, node)
    concerned = [o for page in found for p in page.proposals if (o := _offer(p, node, page.networks))]
    pairs = [(o.mine.record, o.theirs.record) for o in concerned]
    async with pool.acquire() as conn:
        said = await claims.in_force(conn, pairs)
        rows = await store.rows(conn, [o.mine.record.partition(":")[2] for o in concerned])
    present = {id for id, row in rows.items() if row.withdrawn is None}
    return [
        replace(o, answer=_answer(said, o)) for o in concerned if o.mine.record.partition(":")[2] in present
    ]


def _answer(said: claims.InForce, offer: Offer) -> str | None:
    claim = said.get(decide.pair(offer.mine.record, offer.theirs.record))
    # To contest what a record says is no answer to whether it is of the same place.
    return claim.verdict if claim is not None and claim.verdict != "contests" else None


def _offer(proposal: Proposal, node: str, names: dict[str, str]) -> Offer | None:
    """A proposal seen from one of its two networks; None where it is none of this one's."""
    for mine, theirs in ((proposal.a, proposal.b), (proposal.b, proposal.a)):
        if mine.owner == node != theirs.owner:
            return Offer(mine, theirs, names.get(theirs.owner, theirs.owner), proposal)
    return None


async def _proposals(client: aiohttp.ClientSession, url: str, node: str) -> Sequence[Page]:
    """All pages of a sync's proposals to a node; Unavailable where it does not answer as syncs do."""
    pages: list[Page] = []
    asked = {"network": node, "limit": str(PAGE)}
    try:
        while len(pages) < MOST_PAGES:
            where = str(URL(url.rstrip("/") + "/proposals").with_query(asked))
            async with fetching.opened(client, where, ANSWER) as response:
                body = await fetching.whole(response, MOST_BYTES)
            pages.append(foreign.decoded(body, Page))
            if pages[-1].next is None:
                break
            asked["page"] = pages[-1].next
    except Untrue as error:
        why = str(error.arguments.get("why", error.detail))
        raise Unavailable("{url} did not answer: {why}", {"url": url, "why": why}) from error
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise Unavailable("{url} did not answer: {why}", {"url": url, "why": why}) from error
    return pages
