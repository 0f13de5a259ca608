"""Random histories: five nodes that write, cut, erase and change keys, two syncs that follow them through all weather.

A history is a list of steps, each a verb and the seed of whatever it draws, so that any part of it can be played
again. A schedule is the steps up to the next `agrees`. Nodes are in memory (`network.py`); followers and merge are the
real ones (`following.py`), each step in transactions of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import msgspec

from schemas.event import CLAIM_PUT, CLAIM_WITHDRAW, PLACE_PUT, PLACE_WITHDRAW, SYNC_EMITS
from services import ledger, postgres
from services.identity import About
from services.keyring import Keyring
from services.ledger import Pen
from services.sync.app import SCRIPTS
from services.sync.merge import Said
from tests.federation import truth
from tests.federation.following import EVERYTHING, NOON, Cut, Light, Stepped, Sync, Wire, cut
from tests.federation.network import Draft, Entry, Network, record_id
from tests.sync.test_merge import DRAWN

Step = tuple[str, int]
NODES, RECORDS = 5, 5
# Steps of a schedule beyond two, on average.
MEAN = 5
ROUNDS = 40
CREATED = ("2024-01-01T00:00:00Z", "2024-06-10T02:35:55Z", "nul ne sait")


# What several networks say alike of one place, each of them some of it.
SITES: tuple[dict[str, Any], ...] = (
    {
        "alternate_names": ["Le Moulin Vert"],
        "phone": "+33299000001",
        "website": "https://moulin-vert.example",
        "address": {"street": "3 rue du Moulin", "postcode": "35600", "city": "Redon"},
    },
    {
        "alternate_names": ["La Ruche aux Copains"],
        "phone": "+33298000002",
        "website": "https://ruche-copains.example",
        "address": {"street": "12 quai du Port", "postcode": "29200", "city": "Brest"},
    },
)


# --- the world -----------------------------------------------------------------------------------------------


@dataclass
class World:
    """All that there is in a history; `seen` counts what has happened to it."""

    nodes: list[Network]
    syncs: list[Any]
    seen: Counter[str]
    pasts: list[Network] = field(default_factory=list)
    words: Iterator[str] = field(default_factory=lambda: (f"mot-{n:06}" for n in range(10**6)))
    known: truth.Known = field(default_factory=truth.Known)
    # At every how many schedules all that is held is looked at.
    deep: int = 10
    agreed: int = 0

    async def plays(self, steps: Sequence[Step]) -> None:
        """Do these steps one after another."""
        for verb, seed in steps:
            await STEPS[verb][1](self, Random(seed))
            self.seen[verb] += 1


def nothing_said() -> list[Network]:
    """Nodes that have said nothing yet."""
    chance = Random(2)
    return [Network(f"n{number}", chance.choice(CREATED), chance) for number in range(NODES)]


async def light(seen: Counter[str]) -> World:
    """A world without databases: two syncs on shelves."""
    w = World(nothing_said(), [], seen, deep=25)
    w.syncs = [Light(Wire(w.nodes, seen), w.known) for _ in range(2)]
    for sync in w.syncs:
        await sync.listens()
    return w


@asynccontextmanager
async def world(urls: Sequence[str], folder: Path, seen: Counter[str]) -> AsyncIterator[World]:
    """A world with a sync on each of two databases."""
    w = World(nothing_said(), [], seen)
    async with opened(urls) as pools:
        for number, pool in enumerate(pools):
            pen = Pen(Keyring(folder / f"keys-{number}"), lambda: NOON, Random(number).randbytes)
            await founded(pool, pen)
            w.syncs.append(Sync(pool, pen, Wire(w.nodes, seen), w.known))
            await w.syncs[-1].listens()
        yield w


@asynccontextmanager
async def opened(urls: Sequence[str]) -> AsyncIterator[list[postgres.Pool]]:
    """Pools on databases."""
    if not urls:
        yield []
        return
    async with postgres.pool(urls[0], size=4, migrations=SCRIPTS) as first, opened(urls[1:]) as others:
        yield [first, *others]


async def founded(pool: postgres.Pool, pen: Pen) -> None:
    """Give a sync its own log."""
    about = About(
        slug="s", name="s", license="", contact="", url="", amqp=None, heartbeat_s=60, emits=SYNC_EMITS
    )
    key = pen.keyring.make()
    async with pool.acquire() as conn, conn.transaction():
        await ledger.found(conn, about, roots=[key], online=key, pen=pen)


# --- nodes write ---------------------------------------------------------------------------------------------


def place(w: World, chance: Random) -> dict[str, Any]:
    """What is said of a place: something that nobody else says, and things that many say."""
    drawn = {k: v for k in chance.sample(sorted(DRAWN), 4) if (v := chance.choice(DRAWN[k])) is not None}
    if chance.random() < 0.5:
        site = chance.choice(SITES)
        drawn |= {k: site[k] for k in chance.sample(sorted(site), chance.randint(3, len(site)))}
    return {"status": "open", **drawn, "name": f"Lieu {next(w.words)}", "summary": f"Vu {next(w.words)}"}


def of_type(node: Network, kind: str) -> list[Entry]:
    """The latest events of a node that are of a type."""
    return [entry for entry in node.latest.values() if entry.type == kind]


def change(w: World, node: Network, chance: Random) -> Draft:
    """One more version of a place, or a new one."""
    here, gone = of_type(node, PLACE_PUT), of_type(node, PLACE_WITHDRAW)
    choice = chance.random()
    if gone and choice < 0.2:
        entry = chance.choice(gone)
        return (entry.subject, PLACE_PUT, place(w, chance))
    if len(here) < 2 or (len(here) < RECORDS and choice < 0.5):
        return (record_id(node.node, chance), PLACE_PUT, place(w, chance))
    entry = chance.choice(here)
    if choice < 0.75:
        return (entry.subject, PLACE_WITHDRAW, withdrawal(w, chance))
    kept = chance.choice(("name", "summary"))
    return (entry.subject, PLACE_PUT, {**place(w, chance), kept: entry.data[kept]})


def withdrawal(w: World, chance: Random) -> dict[str, Any]:
    """Why a place is taken back, and what may take its place."""
    heir = anywhere(w, chance)
    return {"reason": "other", **({"successor": heir} if heir and chance.random() < 0.4 else {})}


def anywhere(w: World, chance: Random) -> str | None:
    """A record of any node."""
    found = [entry.subject for node in w.nodes for entry in of_type(node, PLACE_PUT)]
    return chance.choice(found) if found else None


def claim(w: World, node: Network, a: str, b: str, verdict: str, chance: Random) -> Draft:
    """A claim, in the record where there was one of this pair already, mostly."""
    said = of_type(node, CLAIM_PUT)
    same = [e.subject for e in said if {e.data["a"], e.data["b"]} == {a, b}]
    if len(said) > RECORDS:
        same = same or [chance.choice(said).subject]
    subject = same[0] if same and chance.random() < 0.8 else record_id(node.node, chance)
    statement = {"statement": f"Non {next(w.words)}"} if verdict == "contests" else {}
    return (subject, CLAIM_PUT, {"a": a, "b": b, "verdict": verdict, **statement})


async def writes(w: World, chance: Random) -> None:
    """A node writes one to three things of its places."""
    node = chance.choice(w.nodes)
    for _ in range(chance.choice((1, 1, 2, 3))):
        node.write(change(w, node, chance))


async def claims(w: World, chance: Random) -> None:
    """Two owners, or one of them, say how two places relate."""
    a, b = anywhere(w, chance), anywhere(w, chance)
    if a is None or b is None or a == b:
        return
    verdict = chance.choices(("same", "distinct", "part-of", "contests"), (8, 1, 1, 1))[0]
    of = {node.node: node for node in w.nodes}
    sides = [(a, b), (b, a)][: chance.choice((1, 2, 2, 2))]
    for mine, other in sides:
        node = of[mine.partition(":")[0]]
        node.write(claim(w, node, mine, other, verdict, chance))


async def unclaims(w: World, chance: Random) -> None:
    """A node takes back what it said of two places."""
    node = chance.choice(w.nodes)
    if said := of_type(node, CLAIM_PUT):
        node.write((chance.choice(said).subject, CLAIM_WITHDRAW, {"reason": "other"}))


async def erases(w: World, chance: Random) -> None:
    """A node erases a record, or old versions of it, wherever they are."""
    node = chance.choice(w.nodes)
    known = sorted({e.subject for e in (*node.lines, *node.dropped) if node.erasable(e.subject)})
    if not known:
        return
    subject = chance.choice(known)
    gone = {e.leaf for e in node.erasable(subject)}
    if chance.random() < 0.6 and (last := node.latest.get(subject)) is not None:
        gone = {leaf for leaf in gone if leaf != last.leaf and chance.random() < 0.8}
    if gone:
        node.erase(subject, frozenset(gone))
        w.seen["erased"] += 1
        if node.stolen_at is None and chance.random() < 0.3:
            # Who has not heard of it now never will.
            node.let_go(node.size - chance.randint(0, 1))


async def opens(w: World, chance: Random) -> None:
    """A node goes on from an earlier event, mostly a late one."""
    node = chance.choice(w.nodes)
    deep = chance.choice((2, 5, 5, node.size))
    node.open_epoch(chance.randint(max(node.floor, node.size - deep), node.size))


async def rotates(w: World, chance: Random) -> None:
    """A node changes its key."""
    chance.choice(w.nodes).rotate()


async def lets_go(w: World, chance: Random) -> None:
    """A node keeps its last events only."""
    node = chance.choice(w.nodes)
    if node.stolen_at is None:
        node.let_go(max(0, node.size - chance.randint(0, 5)))


async def remembers(w: World, chance: Random) -> None:
    """Somebody copies a node as it is now."""
    w.pasts = [*w.pasts, chance.choice(w.nodes).past()][-8:]


# --- syncs follow --------------------------------------------------------------------------------------------


def follower(w: World, chance: Random) -> tuple[Any, Stepped, Network]:
    """One of the followers, and whom it follows."""
    sync, node = chance.choice(w.syncs), chance.choice(w.nodes)
    return sync, sync.followers[node.node], node


async def reads(w: World, chance: Random) -> None:
    """A sync reads a page of a node."""
    sync, one, _ = follower(w, chance)
    sync.wire.limit = chance.choice((1, 2, 3, 5, EVERYTHING))
    await moves(w, one, one.reads())
    sync.wire.limit = EVERYTHING


async def moves(w: World, one: Stepped, act: Awaitable[None]) -> None:
    """Let a follower act, and note where that brought it."""
    before = one.here
    await act
    w.seen["rewound"] += one.here.epoch > 0 and one.here.tree.size < before.tree.size


async def cut_reads(w: World, chance: Random) -> None:
    """A sync ends while it reads a page, and is started again."""
    sync, one, _ = follower(w, chance)
    sync.following.light(chance.randrange(20), cut)
    try:
        await one.reads()
    except Cut:
        w.seen["cut while reading"] += 1
    sync.following.out()
    sync.start()


def message(entry: Entry, **other: Any) -> Any:
    """An event as RabbitMQ brings it."""
    return SimpleNamespace(body=entry.raw, headers={"kid": entry.kid, "sig": entry.sig, **other})


async def hears(w: World, chance: Random) -> None:
    """A sync is brought messages: what comes next, repeats, replays, gaps, of old epochs, or badly signed."""
    sync, one, node = follower(w, chance)
    size, refused = one.here.tree.size, sync.refusals(node.node)
    start = max(0, size - chance.choice((0, 0, 1, 3)) + chance.choice((0, 0, 0, 1)))
    brought = list(node.lines[start : start + chance.randint(1, 6)])
    odd = chance.random()
    if brought and odd < 0.2:
        brought.insert(chance.randrange(len(brought)), chance.choice(brought))
    elif node.dropped and odd < 0.4:
        brought.insert(0, chance.choice(node.dropped[-10:]))
    elif odd < 0.5:
        chance.shuffle(brought)
    messages = [message(entry) for entry in brought]
    if brought and odd > 0.9:
        messages[-1] = message(brought[-1], sig=brought[0].sig if len(brought) > 1 else "A" * 86)
        w.seen["badly signed"] += 1
    await moves(w, one, one.hears(messages))
    # What comes too early, twice or late is no lie.
    lies = odd > 0.9 or node.stolen_at is not None or node.node in sync.wire.mirrors
    assert lies or sync.refusals(node.node) == refused
    w.seen["moved by a message"] += one.here.tree.size > size


async def steals(w: World, chance: Random) -> None:
    """Somebody with a node's key tells a sync of an event that the node never wrote."""
    _, one, node = follower(w, chance)
    if one.here.cursor != node.cursor or node.floor > node.size:
        return
    known = [entry.subject for entry in of_type(node, PLACE_PUT)]
    subject = chance.choice([record_id(node.node, chance), *known])
    forged = node.drawn((subject, PLACE_PUT, place(w, chance)), node.size + 1)
    await one.hears([message(forged)])
    if one.here.tree.size > node.size:
        node.stolen_at = min(node.size, node.size if node.stolen_at is None else node.stolen_at)
        w.seen["believed a thief"] += 1


async def haunts(w: World, chance: Random) -> None:
    """A process that has lost its place to another goes on for a moment, and changes nothing."""
    sync, ghost, node = follower(w, chance)
    await ghost.reads()
    one = sync.followers[node.node] = sync.follower(node.node)
    node.write(change(w, node, chance))
    await moves(w, one, one.reads())
    here, lost, refused = await sync.cursor(node.node), ghost.here.cursor, sync.refusals(node.node)
    later = [message(entry) for entry in node.lines[ghost.here.tree.size :]]
    await (ghost.reads() if chance.random() < 0.5 else ghost.hears(later))
    if lost != here:
        assert await sync.cursor(node.node) == here
        assert node.stolen_at is not None or sync.refusals(node.node) == refused
        w.seen["kept out"] += not ghost.begun


async def merges(w: World, chance: Random) -> None:
    """A sync merges."""
    await chance.choice(w.syncs).merges()


async def cut_merges(w: World, chance: Random) -> None:
    """A sync ends while it merges, and is started again."""
    sync = chance.choice(w.syncs)
    sync.merging.light(chance.randrange(45), cut)
    try:
        await sync.merges()
    except Cut:
        w.seen["cut while merging"] += 1
    sync.merging.out()
    sync.start()


async def overlaps(w: World, chance: Random) -> None:
    """A sync reads pages while it merges, which is of one moment all the same."""
    sync = chance.choice(w.syncs)
    some = chance.sample(w.nodes, 2)
    for node in some:
        node.write(change(w, node, chance))

    async def meanwhile() -> None:
        for node in some:
            await sync.followers[node.node].reads()

    held = await sync.held()
    # The moment is that of the first statement.
    sync.merging.light(chance.choice((1, 2, 4, 8, 16)), meanwhile)
    await sync.merges()
    assert await sync.shown() == held
    w.seen["read while merging"] += sync.merging.out()


async def restarts(w: World, chance: Random) -> None:
    """A sync is started again, and knows what its database knows."""
    chance.choice(w.syncs).start()


async def parts(w: World, chance: Random) -> None:
    """A node is away for a sync, from now on."""
    sync, _, node = follower(w, chance)
    sync.wire.away.add(node.node)


async def copies(w: World, chance: Random) -> None:
    """An old copy answers a sync in the place of a node, from now on."""
    if w.pasts:
        old = chance.choice(w.pasts)
        chance.choice(w.syncs).wire.mirrors[old.node] = old


async def heals(w: World, chance: Random) -> None:
    """All nodes are there again for a sync, as they are."""
    sync = chance.choice(w.syncs)
    sync.wire.away.clear()
    sync.wire.mirrors.clear()


async def mutes(w: World, chance: Random) -> None:
    """A sync keeps what a node says out of its view, from now on."""
    sync, _, node = follower(w, chance)
    await sync.turns(node.node, "muted")


# --- in the end ----------------------------------------------------------------------------------------------


async def catches_up(w: World, sync: Any) -> None:
    """Follow all nodes to their ends, and merge."""
    sync.wire.away.clear()
    sync.wire.mirrors.clear()
    for node, mode in sync.modes.items():
        if mode != "follow":
            await sync.turns(node, "follow")
    stands = await sync.stands()
    for node in w.nodes:
        if (node.node, node.epoch, node.size, node.whose.hash, "live") not in stands:
            await reaches(w, sync.followers[node.node], node)
    await sync.merges()


async def reaches(w: World, one: Stepped, node: Network) -> None:
    """Follow a node to its end."""
    for _ in range(ROUNDS):
        await moves(w, one, one.reads())
        whose = one.whose.hash if one.whose else ""
        if one.begun and not one.unsettled and (one.here.cursor, whose) == (node.cursor, node.whose.hash):
            return
    raise AssertionError(f"{node.name} is at {node.cursor}, a sync stays at {one.here.cursor}")


async def agrees(w: World, chance: Random) -> None:
    """All is well again: both syncs catch up, and are byte for byte what the nodes' logs make of them."""
    for node in w.nodes:
        if node.stolen_at is not None:
            node.revoke(max(node.floor, min(node.stolen_at, node.size)))
    for sync in w.syncs:
        await catches_up(w, sync)
    one, other = [await sync.agrees(w.nodes) for sync in w.syncs]
    assert one == other
    w.agreed += 1
    if w.agreed % w.deep == 0:
        await looks_closer(w)


async def looks_closer(w: World) -> None:
    """The view is the oracle's, all that is held is as it should be, and nothing of it was erased by its network."""
    expected = truth.views(w.nodes, w.known)
    truth.agrees_with_the_oracle(w.nodes, expected)
    said = {said.a for said in msgspec.convert(truth.claims(w.nodes), list[Said]) if said.verdict == "same"}
    shared = [view for view in expected.values() if len(view.networks) > 1]
    w.seen["joined"] += len(shared)
    w.seen["joined unasked"] += sum(said.isdisjoint(view.aliases) for view in shared)
    gone = frozenset(word for node in w.nodes for word in node.erased_words())
    for sync in w.syncs:
        left = sorted(gone & await sync.words(w.nodes, expected))
        assert not left, f"erased, and still there: {left}"
        if isinstance(sync, Sync):
            w.seen["events of the view erased"] += sync.log.hidden
    w.seen["words erased"] += len(gone)


# --- histories -----------------------------------------------------------------------------------------------


def drawn(seed: int, schedules: int, without: Collection[str] = ()) -> list[Step]:
    """A history of so many schedules."""
    chance = Random(seed)
    weights = {verb: weight for verb, (weight, _) in STEPS.items() if verb not in without}
    steps: list[Step] = []
    for _ in range(schedules):
        verbs = chance.choices([*weights], [*weights.values()], k=length(chance))
        steps += [(verb, chance.getrandbits(32)) for verb in verbs]
        steps.append(("agrees", 0))
    return steps


def length(chance: Random) -> int:
    """How many steps a schedule has: mostly few."""
    return min(40, 2 + int(chance.expovariate(1 / MEAN)))


# What needs a merge.
OF_THE_MERGE = ("merges", "cut_merges", "overlaps")
# How often each happens.
STEPS: dict[str, tuple[int, Callable[[World, Random], Awaitable[None]]]] = {
    "writes": (24, writes),
    "claims": (12, claims),
    "unclaims": (2, unclaims),
    "erases": (5, erases),
    "opens": (4, opens),
    "rotates": (1, rotates),
    "lets_go": (2, lets_go),
    "remembers": (3, remembers),
    "reads": (16, reads),
    "cut_reads": (4, cut_reads),
    "hears": (16, hears),
    "steals": (1, steals),
    "haunts": (2, haunts),
    "merges": (5, merges),
    "cut_merges": (3, cut_merges),
    "overlaps": (2, overlaps),
    "restarts": (2, restarts),
    "parts": (2, parts),
    "copies": (3, copies),
    "heals": (2, heals),
    "mutes": (1, mutes),
    "agrees": (0, agrees),
}
