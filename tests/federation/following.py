"""Syncs without their faces: real followers, stepped one thing at a time, with or without a database and a merge.

What they ask of nodes goes through a session in memory; where a step is to be cut or held up, through connections
that count statements.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
from prometheus_client import CollectorRegistry

from schemas.event import CLAIM_PUT
from schemas.view import View
from services import follow, follow_store, postgres
from services.bell import Bell
from services.follow import Context, Follower
from services.follow_store import Source
from services.inbox import Inbox, Message
from services.ledger import Pen
from services.sync import heard, merge, policy, store, upkeep
from services.sync.merge import Record, Said
from services.sync.store import Latest
from services.sync.work import Gauges
from tests.federation import truth
from tests.federation.network import CONFLICT, GONE, Network
from tests.federation.shelf import Shelf

EVERYTHING = 1000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEATHER = follow.WEATHER
STAND = "SELECT node, epoch, size, descriptor, state FROM follow_node"


class Cut(BaseException):
    """The process ends here."""


class Done(BaseException):
    """A follower has done the one thing that it was to do."""


# --- connections that count --------------------------------------------------------------------------------


class Fused:
    """A pool whose connections count statements: at one of them something happens first."""

    COUNTED = frozenset({"execute", "executemany", "fetch", "fetchrow", "fetchval", "copy_records_to_table"})

    def __init__(self, pool: postgres.Pool) -> None:
        self.pool = pool
        self.left = -1
        self.happens: Callable[[], Awaitable[None]] | None = None

    def light(self, left: int, happens: Callable[[], Awaitable[None]]) -> None:
        """Let this happen before the statement after so many others."""
        self.left, self.happens = left, happens

    def out(self) -> bool:
        """Put it out; whether it had burnt down."""
        burnt, self.happens = self.happens is None, None
        return burnt

    async def count(self) -> None:
        """One more statement, or the end of a transaction."""
        if self.happens is not None:
            self.left -= 1
            if self.left < 0:
                happens, self.happens = self.happens, None
                await happens()

    @asynccontextmanager
    async def acquire(self, **options: Any) -> AsyncIterator[Any]:
        """A connection."""
        async with self.pool.acquire(**options) as conn:
            yield _Counted(conn, self)


class _Counted:
    def __init__(self, conn: Any, fused: Fused) -> None:
        self._conn, self._fused = conn, fused

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self._conn, name)
        if name not in Fused.COUNTED or self._fused.happens is None:
            return plain

        async def counted(*args: Any, **options: Any) -> Any:
            await self._fused.count()
            return await plain(*args, **options)

        return counted

    @asynccontextmanager
    async def transaction(self, **options: Any) -> AsyncIterator[None]:
        async with self._conn.transaction(**options):
            yield
        # Committed, and the process may end before it knows.
        await self._fused.count()


async def cut() -> None:
    """End the process."""
    raise Cut


# --- what a sync hears ---------------------------------------------------------------------------------------


class Wire:
    """The HTTP of one sync: each node is there, away, or an old copy of itself."""

    def __init__(self, nodes: Sequence[Network], seen: Counter[str]) -> None:
        self.nodes = {node.node: node for node in nodes}
        self.seen = seen
        self.away: set[str] = set()
        self.mirrors: dict[str, Network] = {}
        self.limit = EVERYTHING

    @asynccontextmanager
    async def get(self, url: str, *, raise_for_status: Any, **_: Any) -> AsyncIterator[Any]:
        """An answer, as aiohttp gives it."""
        node, slash, path = url.partition("/")
        if node in self.away:
            self.seen["away"] += 1
            raise aiohttp.ClientConnectionError(node)
        self.seen["old copy"] += node in self.mirrors
        status, body = self.mirrors.get(node, self.nodes[node]).answer(slash + path, self.limit)
        self.seen["snapshot"] += path == "snapshot"
        self.seen["cut off"] += status == CONFLICT
        self.seen["too old"] += status == GONE
        response = SimpleNamespace(
            status=status, reason="", request_info=None, history=(), content=_Body(body)
        )
        await raise_for_status(response)
        yield response


@dataclass
class _Body:
    body: bytes

    async def iter_any(self) -> AsyncIterator[bytes]:
        """The body, at once."""
        yield self.body


class Offered(Inbox):
    """An inbox that says so when it is empty, instead of waiting."""

    async def take(self, seconds: float) -> list[Message] | None:
        """What is there."""
        return await super().take(seconds) if self._something.is_set() else None


class Stepped(Follower):
    """A follower that does one thing at a time, within the loop that meets what goes wrong."""

    def __init__(self, context: Context, source: Source) -> None:
        super().__init__(context, source)
        self.inbox = self.receiver.inbox = Offered()
        self.pause = 0.0
        self.begun = False
        self.next: Callable[[], Awaitable[Any]] | None = None

    async def does(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Begin if need be, then do one thing; weather is met as `keep` meets it."""
        self.next, self.pause = act, 0.0
        try:
            await self._follow_through()
        except Done:
            pass
        except WEATHER:
            self.begun = False

    async def _follow(self) -> None:
        act, self.next = self.next, None
        if act is None:
            raise Done
        begun, self.begun = self.begun, False
        if begun or await self._begin():
            await act()
            self.begun = True

    async def reads(self) -> None:
        """Read a page of the feed."""
        await self.does(lambda: self._turn(0))

    async def hears(self, messages: Sequence[Any]) -> None:
        """Take what RabbitMQ brings."""

        async def act() -> None:
            self.inbox.listening = True
            for message in messages:
                self.receiver.take(message)
            await self._live()
            self.inbox.ring()

        await self.does(act)


class Listener:
    """What follows the nodes, on a pool of connections."""

    def __init__(self, pool: Any, wire: Wire) -> None:
        self.pool, self.wire = pool, wire
        self.modes = dict.fromkeys(wire.nodes, "follow")
        self.following = Fused(pool)
        self.counts = follow.Gauges(CollectorRegistry())
        self.followers: dict[str, Stepped] = {}
        self.start()

    def start(self) -> None:
        """Follow, knowing what the database knows."""
        self.followers = {node: self.follower(node) for node in self.wire.nodes}

    async def listens(self) -> None:
        """Note whom to follow, and how."""
        async with self.pool.acquire() as conn:
            for one in self.followers.values():
                # By the module that followers use, whichever that is.
                await follow.follow_store.follow(conn, one.source)  # type: ignore[attr-defined]

    def follower(self, node: str) -> Stepped:
        """A follower that knows nothing yet."""
        context = Context(
            pool=self.following,  # type: ignore[arg-type]
            client=self.wire,  # type: ignore[arg-type]
            effect=follow.no_effect,
            bell=Bell(),
            gauges=self.counts,
            now=lambda: NOON,
        )
        return Stepped(context, Source(node=node, url=node, alias=node[:6], mode=self.modes[node]))

    async def cursor(self, node: str) -> str:
        """Where a node is followed to, by the database."""
        async with self.pool.acquire() as conn:
            known = await follow.follow_store.node(conn, node)  # type: ignore[attr-defined]
        return known.position.cursor if known else "0.0"

    def refusals(self, node: str) -> float:
        """How often something that a node was to have said was refused as untrue."""
        metric = self.counts.refused.labels(self.followers[node].source.alias)
        return float(metric._value.get())

    async def turns(self, node: str, mode: str) -> None:
        """Listen otherwise to a node from now on, and start anew."""
        self.modes[node] = mode
        self.start()
        await self.listens()


class Sync(Listener):
    """A sync on a database, with its merge."""

    def __init__(self, pool: postgres.Pool, pen: Pen, wire: Wire, known: truth.Known) -> None:
        super().__init__(pool, wire)
        self.known = known
        self.pen, self.merging = pen, Fused(pool)
        self.gauges = Gauges(CollectorRegistry())
        self.log = truth.ViewLog()

    async def merges(self) -> bool:
        """One merge."""
        return await upkeep.merge_once(self.merging, self.pen, policy.adopted(), self.gauges)  # type: ignore[arg-type]

    async def held(self) -> dict[str, bytes]:
        """The view of what is held of the nodes that are followed now, from nothing."""
        async with self.pool.acquire() as conn:
            nodes = [n for n in await follow_store.nodes(conn) if n.mode == "follow" and n.epoch > 0]
            created = {n.node: heard.founded(n) for n in nodes}
            rows = await conn.fetch(
                "SELECT record FROM follow_record WHERE node = ANY($1::text[])", [*created]
            )
            latest = await store.latest(conn, [row["record"] for row in rows])
        records, said = Reading(self.known).inputs([(x, created[x.node]) for x in latest])
        last = {(s.claimant, frozenset((s.a, s.b))): s for _, _, s in sorted(said, key=lambda one: one[1])}
        views = truth.view_of(records, list(last.values()), self.known)
        return {id: merge.view_bytes(view) for id, view in views.items()}

    async def shown(self) -> dict[str, bytes]:
        """The view as it stands."""
        async with self.pool.acquire() as conn:
            return {row["id"]: row["body"] for row in await conn.fetch("SELECT id, body FROM view")}

    async def stands(self) -> set[tuple[Any, ...]]:
        """How far each node is followed: (id, epoch, size, descriptor, state)."""
        async with self.pool.acquire() as conn:
            return {tuple(row) for row in await conn.fetch(STAND)}

    async def agrees(self, nodes: Sequence[Network]) -> Any:
        """The rows of the view, which with the log of the view are as they should be."""
        expected = truth.views(nodes, self.known)
        async with self.pool.acquire() as conn:
            rows = await truth.stands_on(conn, nodes, expected)
            await self.log.proves(conn, expected)
        return rows

    async def words(self, nodes: Sequence[Network], expected: dict[str, View]) -> frozenset[str]:
        """All words of networks that are held anywhere; everything that is held is as it should be."""
        async with self.pool.acquire() as conn:
            for node in nodes:
                await truth.holds_what_it_followed(conn, node)
            await truth.finds_by_any_id(conn, expected)
            await self.log.is_whole(conn)
            return await truth.words(conn)


@dataclass
class Reading:
    """What is held, as the merge reads it; of each event once."""

    known: truth.Known

    def inputs(self, held: Sequence[tuple[Latest, int]]) -> tuple[list[Record], list[tuple[str, int, Said]]]:
        """Records by id, claims by record, of the latest events with the times at which their nodes were founded."""
        records = [r for x, created in held if isinstance(r := self._record(x, created), Record)]
        said = [(x.record, x.seq, one) for x, _ in held if (one := self._said(x)) is not None]
        return sorted(records, key=lambda r: r.id), sorted(said)

    def _record(self, x: Latest, created: int) -> Record | str | None:
        if x.leaf not in self.known.held:
            self.known.held[x.leaf] = heard.record(x, created) if heard.is_place(x) else None
        return self.known.held[x.leaf]

    def _said(self, x: Latest) -> Said | None:
        if x.leaf not in self.known.said:
            self.known.said[x.leaf] = heard.said(x) if x.type == CLAIM_PUT else None
        return self.known.said[x.leaf]


class Light(Listener):
    """A sync on a shelf, whose view would be made of nothing but what it holds."""

    def __init__(self, wire: Wire, known: truth.Known) -> None:
        self.shelf, self.known = Shelf(), known
        super().__init__(self.shelf, wire)

    async def merges(self) -> bool:
        """Nothing: there is no view to keep in step."""
        return False

    async def stands(self) -> set[tuple[Any, ...]]:
        """How far each node is followed: (id, epoch, size, descriptor, state)."""
        nodes = self.shelf.tables.nodes.values()
        return {(n.node, n.epoch, n.size, n.descriptor, n.state) for n in nodes}

    async def agrees(self, nodes: Sequence[Network]) -> Any:
        """What the view is made of, which is as it should be: records and claims in force, as the merge reads them."""
        for node in nodes:
            truth.shelves_what_it_followed(self.shelf.tables, node)
        created = {n.node: heard.founded(n) for n in self.shelf.tables.nodes.values()}
        held = [(latest, created[node]) for node in self.wire.nodes for latest in self._latest(node)]
        read = Reading(self.known).inputs(held)
        assert read == truth.inputs(nodes, self.known)
        return read

    def _latest(self, node: str) -> list[Latest]:
        t = self.shelf.tables
        return [
            Latest(record, node, e.epoch, e.seq, e.event.type, t.events[node][e.seq].raw, e.leaf, e.opaque)
            for record, e in t.latest.get(node, {}).items()
            if e.event is not None
        ]

    async def words(self, nodes: Sequence[Network], expected: dict[str, View]) -> frozenset[str]:
        """All words of networks that are held anywhere."""
        t = self.shelf.tables
        raws = [e.raw for some in t.events.values() for e in some.values()]
        raws += [e.raw for some in t.dropped.values() for e in some]
        return truth.words_in([*raws, *((e.a + e.b).encode() for some in t.evidence.values() for e in some)])
