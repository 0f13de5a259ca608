"""Follow a log without a gap: the feed is the truth, RabbitMQ rings and brings the next event early.

Per node two loops: `listen` puts what RabbitMQ brings into an inbox, `pull` applies what comes next and reads
the feed whenever the inbox cannot be the whole story.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from time import monotonic
from typing import BinaryIO

import aiohttp
import msgspec
import structlog
from asyncpg import UniqueViolationError
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from schemas.event import MAX_PAGE, RECORD_ERASE, Checkpoint, Event, Line, SignedText, SnapshotHead
from schemas.node import Signed
from services import (
    broker,
    contradictions,
    evidence,
    fetching,
    follow_store,
    foreign,
    identity,
    postgres,
    proofs,
    rewinding,
)
from services.bell import Bell
from services.errors import Forked, Untrue
from services.follow_store import Source
from services.identity import Identity
from services.inbox import Inbox, Message, unrepeated
from services.postgres import Connection, Pool
from services.proofs import Erased, Followed, Heard, Position, State
from services.receiving import Receiver
from services.rewinding import Rewound, nothing_rewound
from services.run import calm, keep

SHORTEST_WAIT = 0.9
CONFLICT, GONE = 409, 410
MOST_LINE = 1024 * 1024
MOST_SNAPSHOT = 4 * 1024**3
# However many nodes are followed, their events are written by so few at a time: the others may use the pool.
# Whole snapshots take long: they have turns of their own, and hold up nobody's events.
WRITERS, SNAPSHOTS = 4, 2
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STALE_AFTER = 3

# What a node that is away or busy looks like from here.
WEATHER: tuple[type[BaseException], ...] = (aiohttp.ClientError, *broker.WEATHER, *postgres.WEATHER)

Effect = Callable[[Connection, str, Sequence[Followed]], Awaitable[None]]
log = structlog.get_logger()


async def no_effect(conn: Connection, node: str, events: Sequence[Followed]) -> None:
    """For followers that only keep events."""


class Gauges:
    """What operators see of following."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.applied = Counter(
            "maillage_follow_events_total",
            "Events applied, by node and by the way they came (amqp, feed, snapshot)",
            ["node", "via"],
            registry=registry,
        )
        self.refused = Counter(
            "maillage_follow_refused_total", "Integrity errors, by node", ["node"], registry=registry
        )
        self.opaque = Counter(
            "maillage_follow_opaque_total",
            "Events that this version cannot read",
            ["node"],
            registry=registry,
        )
        self.listening = Gauge(
            "maillage_follow_listening",
            "1 while RabbitMQ brings a node's events",
            ["node"],
            registry=registry,
        )


class Context(Struct, frozen=True):
    """What following needs: own database, HTTP client, what to do with events, whom to wake, the clock."""

    pool: Pool
    client: aiohttp.ClientSession
    effect: Effect
    bell: Bell
    gauges: Gauges
    now: Callable[[], datetime]
    rewound: Rewound = nothing_rewound
    turns: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(WRITERS))
    snapshots: asyncio.Semaphore = msgspec.field(default_factory=lambda: asyncio.Semaphore(SNAPSHOTS))

    @asynccontextmanager
    async def writing(self, turns: asyncio.Semaphore) -> AsyncIterator[Connection]:
        """A transaction in which events are stored, when it is our turn."""
        async with turns, self.pool.acquire() as conn, conn.transaction():
            yield conn


class Follower:
    """One followed node: where we are in its log, and how it goes."""

    def __init__(self, context: Context, source: Source) -> None:
        self.context, self.source = context, source
        self.inbox = Inbox()
        self.here = Position()
        self.whose: Identity | None = None
        self.receiver = Receiver(source.alias, self.inbox, context.gauges.listening)
        self.fresh_at = monotonic()
        self.highest: Heard | None = None
        self.pause = FIRST_PAUSE
        self.alone = False
        self.unsettled = True

    @property
    def heartbeat_s(self) -> int:
        """How often the node says that it lives."""
        said = self.whose.descriptor.heartbeat_s if self.whose else 60
        return min(said, follow_store.LONGEST_HEARTBEAT)

    async def run(self) -> None:
        """Follow for ever; only a bug ends it."""
        name = self.source.alias
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep(f"follow {name}", self.pull, WEATHER))
            tasks.create_task(keep(f"listen {name}", self.receiver.listen, WEATHER))
            tasks.create_task(keep(f"watch {name}", self.watch, WEATHER))

    async def pull(self) -> None:
        """Apply what comes next, alone among all processes; an integrity error stops this node only."""
        # Known anew at each attempt: where another process follows, this one says nothing of the node's state.
        self.alone = False
        async with postgres.locked(self.context.pool, f"follow {self.source.node}"):
            self.alone = True
            await self._follow_through()

    async def _follow_through(self) -> None:
        while True:
            try:
                await self._follow()
            except Untrue as untrue:
                await self._broken(untrue)
                await asyncio.sleep(self.pause)
                self.pause = min(LONGEST_PAUSE, self.pause * 2)
            except aiohttp.ClientResponseError as error:
                if error.status == GONE:
                    await self._start_over()
                elif error.status == CONFLICT:
                    await self._set_state("lagging")
                raise

    async def _start_over(self) -> None:
        """What comes next is no longer to be had: begin with the snapshot."""
        async with self.context.writing(self.context.turns) as conn:
            await self.context.rewound(conn, self.source.node, 0)
            await follow_store.start_over(conn, self.source.node)

    async def _broken(self, untrue: Untrue) -> None:
        said = untrue.detail.format(**untrue.arguments).replace("\0", "")[:500]
        kind, state = ("forked", "forked") if isinstance(untrue, Forked) else ("untrue", "broken")
        log.error(kind, node=self.source.alias, cursor=self.here.cursor, detail=said, **untrue.extra)
        self.context.gauges.refused.labels(self.source.alias).inc()
        if "signed" in untrue.extra:
            await self._keep_evidence(untrue)
        await self._set_state(state, said)

    async def _keep_evidence(self, untrue: Untrue) -> None:
        """Two contradicting signatures prove it to anybody, whatever the node says later."""
        a, b = (msgspec.json.encode(one).decode() for one in untrue.extra["signed"])  # type: ignore[attr-defined]
        kind, now = str(untrue.extra["kind"]), self.context.now()
        async with self.context.pool.acquire() as conn:
            await follow_store.add_evidence(conn, self.source.node, kind, a, b, now)

    async def _set_state(self, state: str, trouble: str | None = None) -> None:
        self.unsettled = state != "live"
        async with self.context.pool.acquire() as conn:
            await follow_store.set_state(conn, self.source.node, state, trouble)

    async def _follow(self) -> None:
        while not await self._begin():
            await asyncio.sleep(self.pause)
            self.pause = min(LONGEST_PAUSE, self.pause * 2)
        while True:
            await self.catch_up()
            calm()
            if self.inbox.listening:
                await self._live()
            else:
                await self._wait()

    async def _wait(self) -> None:
        """Wait at the feed for what comes next; a node that does not let us wait is not asked at once again."""
        started = monotonic()
        if not await self._turn(min(fetching.LONGEST_WAIT, float(self.heartbeat_s))):
            await asyncio.sleep(max(0.0, SHORTEST_WAIT - (monotonic() - started)))

    async def _begin(self) -> bool:
        """Know the node, and stand where its present log can be read on; False while it stays forked."""
        async with self.context.pool.acquire() as conn:
            known = await follow_store.node(conn, self.source.node)
            highest = await follow_store.highest(conn, self.source.node)
        position = known.position if known else Position()
        if position != self.here:
            # Another process has followed meanwhile: this one's silence was not the node's.
            self.here, self.fresh_at = position, monotonic()
        self.highest = _heard_before(highest) if highest else None
        whose = await self._identify()
        if known and known.state == "forked" and not self._ends_fork(whose):
            calm()
            return False
        await self._rewind(whose)
        if self.here.epoch == 0:
            await self._start_from_snapshot()
        return True

    def _ends_fork(self, whose: Identity) -> bool:
        """Only an epoch that is based at or below the last good position does; or the operator, who starts over."""
        last = whose.last_of(self.here.epoch)
        return last is not None and last <= self.here.tree.size

    async def _rewind(self, whose: Identity) -> None:
        """Drop what a newer epoch of the node has cut off."""
        if whose.last_of(self.here.epoch) is None or self.here.epoch == 0:
            return
        async with self.context.writing(self.context.turns) as conn:
            known = await follow_store.node(conn, self.source.node)
            if known is None or known.position.cursor != self.here.cursor:
                raise ConnectionError("another process moved this node's cursor")
            there = await rewinding.rewind(conn, known, whose, self.context.rewound)
        if there != self.here:
            log.warning("rewound", node=self.source.alias, cursor=self.here.cursor, to=there.cursor)
            self.here, self.fresh_at = there, monotonic()
            self.context.bell.ring()

    async def _identify(self) -> Identity:
        """The chain of the node's descriptors, verified and kept."""
        body = await self._get("/descriptors", fetching.MOST_DESCRIPTORS)
        served = [foreign.decoded(line, Signed) for line in body.splitlines()]
        async with self.context.pool.acquire() as conn:
            known = await follow_store.descriptors(conn, self.source.node)
        chain = proofs.longer(identity.chain(known), served)
        whose = identity.verified(chain)
        if whose.node != self.source.node:
            raise Untrue(
                "At {url} answers node {node}, not the one that is followed.",
                {"url": self.source.url, "node": whose.node},
            )
        async with self.context.pool.acquire() as conn, conn.transaction():
            for version, one in enumerate(chain[len(known) :], start=len(known) + 1):
                signatures = msgspec.json.encode(one.signatures)
                await follow_store.add_descriptor(conn, whose.node, version, one.raw, signatures)
            await follow_store.set_identity(conn, whose)
        self.whose = whose
        self.receiver.tell(whose.descriptor.amqp)
        return whose

    async def _owner(self, descriptor: str) -> Identity:
        """The identity in force, fetched anew where a checkpoint names another descriptor."""
        whose = self.whose
        if whose is None or descriptor not in whose.heads:
            whose = await self._identify()
            await self._rewind(whose)
        if descriptor not in whose.heads:
            raise Untrue("The checkpoint names a descriptor that the node does not serve.")
        return whose

    async def catch_up(self) -> None:
        """Read the feed to its end."""
        while await self._turn(0):
            pass

    async def _turn(self, wait: float) -> bool:
        """Read and apply one page, waiting for it; whether there is more."""
        path = f"/feed?after={self.here.cursor}&limit={MAX_PAGE}&wait={wait:g}"
        body = await self._get(path, fetching.MOST_PAGE)
        page = proofs.page(body)
        asked_from = self.here
        whose = await self._owner(_peek(page.checkpoint))
        if self.here != asked_from:
            return True
        if proofs.said(page.checkpoint).epoch < self.here.epoch:
            # An old copy, and nothing more.
            return False
        events, after, close = proofs.proven(page, self.here, whose, self.highest)
        behind = close.size > after.tree.size
        if events or self.here.epoch != after.epoch:
            await self._apply(events, after, "feed", behind=behind)
        elif not behind:
            await self._check_erasures()
        await self._heard(Heard(page.checkpoint, close))
        return bool(events)

    async def _check_erasures(self) -> None:
        """At the end of the log, every erase event by which another was hidden has been seen."""
        async with self.context.pool.acquire() as conn:
            node, size = self.source.node, self.here.tree.size
            seq = await follow_store.unproven_erasure(conn, node, size=size)
        if seq is not None:
            raise Untrue("Event {seq} is hidden, and no erase event says why.", {"seq": seq})

    async def _live(self) -> None:
        """Apply what RabbitMQ brings as long as it is exactly what comes next."""
        assert self.whose is not None  # noqa: S101 - set by _begin
        until = monotonic() + self.heartbeat_s
        while (left := until - monotonic()) > 0 and self.inbox.listening:
            messages = await self.inbox.take(left)
            if messages is None:
                return
            if any(m.epoch != self.here.epoch for m in messages):
                return
            size = self.here.tree.size
            new = unrepeated(messages, size)
            if [m.seq for m in new] != list(range(size + 1, size + 1 + len(new))):
                return
            if new and not await self._believed([m.text for m in new], self.whose):
                return
            if len(new) < len(messages):
                await self._look_at_repeats([m for m in messages if m not in new], self.whose)

    async def _look_at_repeats(self, messages: Sequence[Message], whose: Identity) -> None:
        """Forked where the node has signed other bytes under a number that we hold."""
        async with self.context.pool.acquire() as conn:
            both = await contradictions.told_twice(conn, whose, {m.seq: m.text for m in messages})
        if both is not None:
            _, epoch, seq = evidence.named(both[0].raw.encode())
            raise Forked(
                "The node signed two events of the number {cursor}.",
                {"cursor": f"{epoch}.{seq}"},
                extra={"kind": "event", "signed": [msgspec.to_builtins(one) for one in both]},
            )

    async def _believed(self, texts: Sequence[SignedText], whose: Identity) -> bool:
        """Apply messages that are true. Who put an untrue one there is unknown: the feed tells what is so."""
        if any(text.kid not in whose.keys for text in texts):
            # The node has a new key; the feed names the descriptor that says so.
            return False
        try:
            events, after = proofs.live(texts, self.here, whose)
            await self._apply(events, after, "amqp", behind=False)
        except Untrue as untrue:
            said = untrue.detail.format(**untrue.arguments)
            log.warning("untrue message", node=self.source.alias, cursor=self.here.cursor, detail=said)
            self.context.gauges.refused.labels(self.source.alias).inc()
            return False
        return True

    async def _apply(self, events: Sequence[Followed], after: Position, via: str, *, behind: bool) -> None:
        state = "lagging" if behind else "live"
        async with self.context.writing(self.context.turns) as conn:
            # First, so that a process that has lost its lock stops here, before it writes an event twice.
            if not await self._moved(conn, after, state):
                raise ConnectionError("another process moved this node's cursor")
            await self._check_versions(conn, events)
            await self._store(conn, events)
        self.here = after
        self.pause, self.fresh_at = FIRST_PAUSE, monotonic()
        self._count(events, via)
        self.context.bell.ring()

    async def _moved(self, conn: Connection, after: Position, state: str) -> bool:
        now = self.context.now()
        return await follow_store.move(conn, self.source.node, self.here, after, state=state, at=now)

    async def _check_versions(self, conn: Connection, events: Sequence[Followed]) -> None:
        """Versions of a record follow each other, except across events whose record cannot be read."""
        node = self.source.node
        known = await follow_store.versions(conn, [e.event.subject for e in events if e.event])
        blind, erased = False, {e.erased.record for e in events if e.erased}
        for event in events:
            if event.event is None:
                blind = blind or event.erased is None
                continue
            record = event.event.subject
            before = known.get(record)
            try:
                proofs.next_version(event, before)
            except Untrue:
                blind = blind or await follow_store.has_unreadable(conn, node)
                jump = blind or record in erased or await follow_store.has_erased(conn, node, record)
                if not jump or event.event.recordversion <= (before or 0):
                    raise
            known[record] = event.event.recordversion

    async def _store(self, conn: Connection, events: Sequence[Followed]) -> None:
        node = self.source.node
        await follow_store.add_events(conn, node, events)
        await follow_store.set_records(conn, node, events)
        if opaque := sum(e.opaque is not None for e in events):
            await follow_store.count_opaque(conn, node, opaque)
        for e in events:
            if e.event is not None and e.event.type == RECORD_ERASE and e.opaque is None:
                await forget(conn, node, e, e.event)
        await self.context.effect(conn, node, events)

    def _count(self, events: Sequence[Followed], via: str) -> None:
        alias = self.source.alias
        self.context.gauges.applied.labels(alias, via).inc(len(events))
        self.context.gauges.opaque.labels(alias).inc(sum(e.opaque is not None for e in events))

    async def _heard(self, heard: Heard) -> None:
        """A higher checkpoint is a sign of life; an old copy is nothing."""
        if self.highest is not None and _order(heard) <= _order(self.highest):
            if self.unsettled and _order(heard) == _order(self.highest):
                # It proves again what it proved before its trouble.
                await self._set_state("live" if heard.said.size == self.here.tree.size else "lagging")
            return
        self.highest, self.fresh_at = heard, monotonic()
        close, kept = heard.said, msgspec.json.encode(heard.signed).decode()
        async with self.context.pool.acquire() as conn:
            node = self.source.node
            await follow_store.heard(conn, node, told=close.size, highest=kept, at=self.context.now())
            await follow_store.keep_checkpoint(conn, close, kept)
            if close.size == self.here.tree.size:
                await follow_store.set_state(conn, node, "live")
                self.unsettled = False

    async def _start_from_snapshot(self) -> None:
        """Fetch a snapshot whole, then apply it: a slow node holds up nobody else's transactions."""
        await self._set_state("snapshotting")
        with tempfile.TemporaryFile() as file:
            async with self._opened("/snapshot", fetching.STREAMED) as response:
                async for chunk in response.content.iter_any():
                    file.write(chunk)
                    if file.tell() > MOST_SNAPSHOT:
                        raise Untrue("The answer is larger than any page may be.")
            file.seek(0)
            await self._read_snapshot(file)

    async def _read_snapshot(self, file: BinaryIO) -> None:
        lines = _lines(file)
        head = foreign.decoded(next(lines, b""), SnapshotHead)
        whose = await self._owner(_peek(head.checkpoint))
        there, close = proofs.snapshot(head, whose)
        state = proofs.State(close)
        async with self.context.writing(self.context.snapshots) as conn:
            if not await follow_store.stands(conn, self.source.node, self.here):
                raise ConnectionError("another process moved this node's cursor")
            await self._store_snapshot(conn, lines, there, state, whose)
            await follow_store.begin_at(conn, self.source.node, there.tree)
            await self._moved(conn, there, "live")
        self.here = there
        self.context.gauges.applied.labels(self.source.alias, "snapshot").inc(state.count)
        self.context.bell.ring()
        await self._heard(Heard(head.checkpoint, close))

    async def _store_snapshot(
        self, conn: Connection, lines: Iterator[bytes], there: Position, state: State, whose: Identity
    ) -> None:
        """Store the latest event of every record."""
        for chunk in _chunked(lines):
            events = [proofs.snapshot_line(foreign.decoded(x, Line), there, whose) for x in chunk]
            state.add(events)
            try:
                await self._store(conn, events)
            except UniqueViolationError as error:
                raise Untrue("The snapshot has two events of one number.") from error
        state.agree()

    async def watch(self) -> None:
        """Say so when nothing fresh has come for three heartbeats."""
        while True:
            await asyncio.sleep(1.0)
            if not self.alone or monotonic() - self.fresh_at <= STALE_AFTER * self.heartbeat_s:
                continue
            async with self.context.pool.acquire() as conn:
                known = await follow_store.node(conn, self.source.node)
                if known and known.state in ("new", "snapshotting", "live", "lagging"):
                    await follow_store.set_state(conn, self.source.node, "stale", known.trouble)

    def _opened(self, path: str, timeout: aiohttp.ClientTimeout) -> "aiohttp.client._RequestContextManager":
        url = self.source.url.rstrip("/") + path
        return fetching.opened(self.context.client, url, timeout)

    async def _get(self, path: str, most: int) -> bytes:
        async with self._opened(path, fetching.ANSWER) as response:
            return await fetching.whole(response, most)


async def forget(conn: Connection, node: str, by: Followed, event: Event) -> None:
    """Forget what an erase event of a node names, wherever it is kept."""
    leaves = proofs.erased_leaves(event)
    erased = Erased(record=event.subject, leaf=by.leaf, seq=by.seq)
    await follow_store.erase(conn, node, event.subject, list(leaves), erased)
    known = await follow_store.evidence(conn, node)
    await follow_store.drop_evidence(conn, [e.id for e in known if proofs.shows(e.kind, (e.a, e.b), leaves)])


def _peek(signed: SignedText) -> str:
    """The descriptor that a checkpoint names; the checkpoint itself is verified with it afterwards."""
    return proofs.said(signed).descriptor


def _heard_before(kept: str) -> Heard:
    """The highest checkpoint, from where it was kept once it was believed."""
    signed = msgspec.json.decode(kept, type=SignedText)
    return Heard(signed, msgspec.json.decode(signed.raw, type=Checkpoint))


def _order(heard: Heard) -> tuple[int, int]:
    return heard.said.epoch, heard.said.n


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(MOST_LINE):
        if not line.endswith(b"\n"):
            raise Untrue("The snapshot is cut.")
        yield line


def _chunked(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(lines, MAX_PAGE)):
        yield chunk
