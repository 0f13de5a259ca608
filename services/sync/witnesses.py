"""Compare with witnesses, other syncs, what was seen of followed nodes: who tells two stories is caught.

Only what a node signed counts: a witness that lags changes nothing, one that lies gives a line in the log.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

import aiohttp
import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, Counter

from schemas.event import Checkpoint, Line, SignedText
from schemas.evidence import AllEvidence, Evidence, Kind, Observation, Observed, ObservedCheckpoints
from schemas.node import Signed
from services import (
    contradictions,
    evidence,
    fetching,
    follow_store,
    foreign,
    identity,
    merkle,
    observed_store,
    proofs,
)
from services.errors import Forked, Untrue
from services.follow_store import Node
from services.identity import Identity
from services.merkle import Range
from services.postgres import Pool

ANSWER = aiohttp.ClientTimeout(total=10)
MOST = 1024 * 1024
# How many leaves are hashed for one comparison: where the log is longer, the next one goes on.
MOST_LEAVES = 200_000
LEAVES_AT_ONCE = 5000
# How many pages of a witness are read to find where two stories part.
MOST_PAGES = 50
AWAY = (aiohttp.ClientError, TimeoutError, OSError)

T = TypeVar("T")
Pair = tuple[SignedText, SignedText]
log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Gauges:
    """What operators see of witnesses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.compared = Counter(
            "maillage_witness_checkpoints_total",
            "Checkpoints of witnesses by outcome (agrees, later, untrue, unproven, contradicts)",
            ["outcome"],
            registry=registry,
        )


def about(seconds: float) -> float:
    """So many seconds, a little more or less: many syncs must not ask one at the same moment."""
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311 - spreads, guards nothing


class Away(Exception):
    """A witness did not answer, or not with what was asked."""

    def __init__(self, why: str, floor: int | None = None) -> None:
        super().__init__(why)
        self.floor = floor


class Ours(Struct, frozen=True):
    """What we hold of a node, and who it is."""

    held: Node
    chain: tuple[Signed, ...]
    whose: Identity

    @property
    def id(self) -> str:
        """Whose log it is."""
        return self.held.node


class Grown(Struct, frozen=True):
    """The Merkle range over some of the events that we hold, and which state of them it is of."""

    state: tuple[int, int]
    tree: Range


class Watch:
    """Compares, round by round; remembers roots that it worked out, what was compared, who was away."""

    def __init__(
        self, pool: Pool, client: aiohttp.ClientSession, gauges: Gauges, now: Callable[[], datetime]
    ) -> None:
        self.pool, self.client, self.gauges, self.now = pool, client, gauges, now
        self._grown: dict[str, Grown] = {}
        self._known: dict[str, Identity] = {}
        self._done: dict[tuple[str, str], SignedText] = {}
        self._below: dict[tuple[str, str], tuple[int, int]] = {}
        self._away: set[str] = set()

    async def round(self, witnesses: Sequence[str]) -> None:
        """Compare with each of these witnesses once."""
        for witness in witnesses:
            try:
                await self._ask(witness)
            except Untrue as untrue:
                self._lies(witness, untrue)
            except Away as away:
                if witness not in self._away:
                    log.warning("witness away", witness=witness, error=str(away))
                self._away.add(witness)
            else:
                self._away.discard(witness)

    async def _ask(self, witness: str) -> None:
        seen = foreign.decoded(await self._read(witness, "/observed"), Observed)
        for one in seen.observed:
            await self._compare(witness, one)
        told = foreign.decoded(await self._read(witness, "/evidence"), AllEvidence)
        for shown in told.evidence:
            await self._adopt(shown)

    def _lies(self, witness: str, untrue: Untrue, node: str = "") -> None:
        said = untrue.detail.format(**untrue.arguments)
        log.warning("untrue witness", witness=witness, node=node, detail=said)

    async def _read(self, witness: str, path: str) -> bytes:
        url = witness.rstrip("/") + path
        try:
            async with self.client.get(url, timeout=ANSWER, allow_redirects=False) as response:
                body = await fetching.whole(response, MOST)
        except AWAY as error:
            raise Away(f"{type(error).__name__}: {error}") from error
        if response.status != 200:
            raise Away(f"{path} answered {response.status}", floor=_floor(body))
        return body

    async def _ours(self, node: str) -> Ours | None:
        """What we hold of a node; None where we do not listen to it, or have not yet."""
        async with self.pool.acquire() as conn:
            held = await contradictions.held_of(conn, node)
            chain = await contradictions.chain_of(conn, node)
        if held is None or held.epoch == 0 or not chain:
            return None
        known = self._known.get(node)
        if known is None or known.heads[-1] != held.descriptor:
            self._known[node] = known = identity.verified(chain)
        return Ours(held, tuple(chain), known)

    async def _compare(self, witness: str, seen: Observation) -> None:
        """Compare the highest checkpoint that a witness believed, or what it has below, with what we hold."""
        about = (witness, seen.node)
        ours = None if self._done.get(about) == seen.checkpoint else await self._ours(seen.node)
        if ours is None:
            return
        outcome = "later"
        try:
            outcome = await self._outcome(witness, ours, seen.checkpoint)
            if outcome == "later" and seen.size > ours.held.size:
                await self._compare_below(witness, ours)
        except Untrue as untrue:
            outcome = "untrue"
            self._lies(witness, untrue, seen.node)
        self.gauges.compared.labels(outcome).inc()
        if outcome != "later":
            self._done[about] = seen.checkpoint

    async def _compare_below(self, witness: str, ours: Ours) -> None:
        """The witness is further than we are: compare its earlier checkpoints, those that we have not compared."""
        about = (witness, ours.id)
        after = self._below.get(about, (ours.held.epoch, 0))
        path = f"/observed/{ours.id}?after={after[0]}.{after[1]}"
        listed = foreign.decoded(await self._read(witness, path), ObservedCheckpoints)
        for signed in listed.checkpoints:
            said = proofs.said(signed)
            if said.epoch != ours.held.epoch or said.size > ours.held.size:
                return
            if await self._outcome(witness, ours, signed) == "later":
                return
            self._below[about] = (said.epoch, said.n)

    async def _outcome(self, witness: str, ours: Ours, signed: SignedText) -> str:
        """How a checkpoint of a witness compares with what we hold; Untrue where its node did not sign it."""
        said = proofs.said(signed)
        if said.descriptor not in ours.whose.heads:
            return await self._compare_descriptors(witness, ours)
        if said.epoch != ours.held.epoch:
            # One of us lags: the root keys say which log the later epoch goes on from.
            return "later"
        theirs = proofs.checkpoint(signed, ours.whose)
        if (pair := await self._beside(ours, signed, theirs)) is not None:
            return await self._found(ours, "checkpoint", pair)
        root = await self._root(ours.held, theirs.size)
        if root is None or root.hex() == theirs.log_root:
            return "agrees" if root else "later"
        if (pair := await self._parting(witness, ours, theirs)) is not None:
            return await self._found(ours, "event", pair)
        log.warning("contradicted", witness=witness, node=ours.id, size=theirs.size)
        return "unproven"

    async def _compare_descriptors(self, witness: str, ours: Ours) -> str:
        """A checkpoint names a descriptor that we do not have: a later one, or one of another chain."""
        body = await self._read(witness, f"/observed/{ours.id}/descriptors")
        served = [foreign.decoded(line, Signed) for line in body.splitlines()]
        try:
            proofs.longer(ours.chain, served)
        except Forked as forked:
            both = msgspec.convert(forked.extra["signed"], tuple[Signed, Signed])
            one = contradictions.of_descriptors(ours.id, ours.chain, both, self.now())
            return await self._keep(one)
        return "later"

    async def _beside(self, ours: Ours, signed: SignedText, theirs: Checkpoint) -> Pair | None:
        """A checkpoint of ours, and this one, where they contradict each other."""
        async with self.pool.acquire() as conn:
            near = await observed_store.near(conn, ours.id, epoch=theirs.epoch, n=theirs.n, size=theirs.size)
        for text in near:
            mine = msgspec.json.decode(text, type=SignedText)
            try:
                evidence.two_checkpoints(mine, signed, ours.whose)
            except Untrue:
                continue
            return mine, signed
        return None

    async def _root(self, held: Node, size: int) -> bytes | None:
        """The root of the first events that we hold, so many of them; None where we cannot tell, or not yet."""
        state, start = (held.epoch, held.rewinds), Range(held.start_size, held.start_peaks)
        known = self._grown.get(held.node)
        if known is not None and known.state == state and start.size <= known.tree.size <= size:
            start = known.tree
        if not start.size <= size <= held.size:
            return None
        tree = await self._extended(held.node, start, min(size, start.size + MOST_LEAVES))
        self._grown[held.node] = Grown(state, tree)
        return merkle.root(tree) if tree.size == size else None

    async def _extended(self, node: str, tree: Range, size: int) -> Range:
        while tree.size < size:
            until = min(size, tree.size + LEAVES_AT_ONCE)
            async with self.pool.acquire() as conn:
                leaves = await follow_store.leaves(conn, node, after=tree.size, until=until)
            if len(leaves) != until - tree.size:
                # It was rewound at this very moment.
                return tree
            tree = merkle.extended(tree, leaves)
            await asyncio.sleep(0)
        return tree

    async def _parting(self, witness: str, ours: Ours, theirs: Checkpoint) -> Pair | None:
        """Where two stories part: an event of ours and one of the witness that bear one number."""
        after = await self._agreed(witness, ours, theirs.size)
        for _ in range(MOST_PAGES):
            path = f"/observed/{ours.id}/feed?after={ours.held.epoch}.{after}"
            try:
                page = proofs.page(await self._read(witness, path))
            except Away as away:
                if away.floor is None or away.floor <= after:
                    raise
                after = away.floor
                continue
            if (pair := await self._differing(ours, after, page.lines)) is not None:
                return pair
            after += len(page.lines)
            if not page.lines or after >= theirs.size:
                return None
        return None

    async def _agreed(self, witness: str, ours: Ours, size: int) -> int:
        """The largest size below this one at which a witness says the root that we have: where to begin to look."""
        start = Range(ours.held.start_size, ours.held.start_peaks)
        agreed, after = start.size, f"{ours.held.epoch}.0"
        for _ in range(MOST_PAGES):
            path = f"/observed/{ours.id}?after={after}"
            listed = foreign.decoded(await self._read(witness, path), ObservedCheckpoints).checkpoints
            for said in map(proofs.said, listed):
                if not start.size <= said.size < size or said.epoch != ours.held.epoch:
                    return agreed
                start = await self._extended(ours.id, start, said.size)
                if merkle.root(start).hex() != said.log_root:
                    return agreed
                agreed, after = said.size, f"{said.epoch}.{said.n}"
            if not listed:
                break
        return agreed

    async def _differing(self, ours: Ours, after: int, lines: Sequence[Line]) -> Pair | None:
        """The first event of these lines that the node signed otherwise to us; erased ones prove nothing."""
        numbered = {
            seq: SignedText(raw=line.raw, kid=line.kid, sig=line.sig)
            for seq, line in enumerate(lines, start=after + 1)
            if line.raw is not None and line.kid is not None and line.sig is not None
        }
        async with self.pool.acquire() as conn:
            return await contradictions.told_twice(conn, ours.whose, numbered)

    async def _found(self, ours: Ours, kind: Kind, both: Pair) -> str:
        return await self._keep(contradictions.pair(kind, ours.chain, both, ours.id, self.now()))

    async def _keep(self, one: Evidence) -> str:
        """Keep evidence; Untrue unless it proves."""
        said = evidence.contradiction(one)
        async with self.pool.acquire() as conn, conn.transaction():
            await contradictions.keep(conn, one, said, self.now())
        return "contradicts"

    async def _adopt(self, shown: Evidence) -> None:
        """Believe what a witness proves of a node that we follow, by the keys that we know."""
        ours = await self._ours(shown.node)
        if ours is None:
            return
        try:
            await self._keep(replace(shown, descriptors=ours.chain))
        except Untrue:
            # By a key that is not valid there, as far as we know; or by one that we do not know yet.
            return


def _floor(body: bytes) -> int | None:
    """From where on a witness holds events, where it says so in its refusal."""
    try:
        cursor = msgspec.json.decode(body, type=_Floor).floor
        return identity.cursor(cursor)[1] if cursor else None
    except (msgspec.DecodeError, ValueError):
        return None


class _Floor(Struct):
    floor: str | None = None
