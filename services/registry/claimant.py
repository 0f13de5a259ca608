"""Claims that commands make, on the same way as the API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry
from uuid_utils import uuid7

from schemas.claim import Claim
from schemas.event import WithdrawReason
from services.bell import Bell
from services.errors import NotFound
from services.postgres import Pool
from services.registry import app, claims, decide, store
from services.registry.decide import Row, State, Withdraw, gone
from services.registry.settings import Settings
from services.registry.writer import Answer, Asked, Gauges, Writer, writing
from services.strict import decode_strict

AUTHOR = "admin:command line"


class Claimant(Struct, frozen=True):
    """This network as it makes claims: its node, its database, its writer."""

    node: str
    pool: Pool
    writer: Writer

    def written(self, a: str, verdict: str, b: str, statement: str | None) -> Claim:
        """A claim as somebody typed it; own records go by their UUID as well. Invalid where it is none."""
        a, b = (text if ":" in text else f"{self.node}:{text}" for text in (a, b))
        said = {"a": a, "verdict": verdict, "b": b, **({"statement": statement} if statement else {})}
        return decode_strict(msgspec.json.encode(said), Claim)

    async def say(self, claim: Claim) -> Answer:
        """Say how two records relate, in place of what was said of them before."""
        async with self.pool.acquire() as conn:
            await claims.check(conn, self.node, claim)
        wish = State(id=str(uuid7()), body=msgspec.json.encode(claim))
        key = decide.pair(claim.a, claim.b)
        return await self.writer.write(Asked(kind="claim", wish=wish, author=AUTHOR, key=key))

    async def withdraw(self, text: str, reason: WithdrawReason) -> Answer:
        """Take a claim back, by its id; NotFound or Gone where there is none."""
        id = decide.own_id(self.node, text)
        async with self.pool.acquire() as conn:
            row = await store.other(conn, "claim", id)
        if row is None:
            raise NotFound("This network has no such record.")
        if row.withdrawn is not None:
            raise gone(row)
        wish = Withdraw(id=id, reason=reason, successor=None, version=None)
        return await self.writer.write(Asked(kind="claim", wish=wish, author=AUTHOR))

    async def listed(self, record: str | None) -> AsyncIterator[Row]:
        """Claims in force, all or those that name this record."""
        about = record if record is None or ":" in record else f"{self.node}:{record}"
        after = None
        while True:
            async with self.pool.acquire() as conn:
                rows = await store.listed_others(conn, "claim", after=after, limit=1000, about=about)
            for row in rows:
                yield row
            if not rows:
                return
            after = rows[-1].id


@asynccontextmanager
async def claimant(s: Settings) -> AsyncIterator[Claimant]:
    """This network, for one command; the registry may be running."""
    async with app.database(s) as pool:
        node = await app.identity(pool)
        async with writing(Writer(pool, app.pen_of(s), Bell(), Gauges(CollectorRegistry()))) as writer:
            yield Claimant(node, pool, writer)
