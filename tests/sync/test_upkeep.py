"""The view is kept in step: whatever came in whatever order, it is what a fresh look would give."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from schemas.event import CLAIM_PUT, VIEW_PUT, VIEW_REMOVE, Checkpoint
from schemas.node import Signed
from services import foreign, identity, merkle, signing
from services.merkle import Range
from services.sync import digest
from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually, listen_to

STEPS = 68


class Life:
    """What networks do with their places, drawn by lot."""

    def __init__(self, registries: list[Registry], chance: random.Random) -> None:
        self.registries, self.chance = registries, chance
        self.open: list[tuple[Registry, str]] = []
        self.withdrawn: list[tuple[Registry, str]] = []
        self.claims: list[tuple[Registry, str]] = []
        self.done: dict[str, int] = {}

    async def step(self) -> None:
        """One thing happens."""
        choices: dict[str, int] = {"add": 4}
        if len(self.open) > 4:
            choices |= {"change": 4, "withdraw": 2, "say": 6}
        if self.withdrawn:
            choices["reopen"] = 2
        if self.claims:
            choices["unsay"] = 2
        (verb,) = self.chance.choices(list(choices), list(choices.values()))
        await getattr(self, verb)()
        self.done[verb] = self.done.get(verb, 0) + 1

    async def add(self) -> None:
        """A network opens a place."""
        registry = self.chance.choice(self.registries)
        postcode = f"{self.chance.choice((13, 35, 44))}000"
        added = await registry.add(address={"postcode": postcode})
        self.open.append((registry, added["id"]))

    async def change(self) -> None:
        """A network changes a place."""
        registry, id = self.chance.choice(self.open)
        await registry.change(id, summary=f"Vu {self.chance.random()}")

    async def withdraw(self) -> None:
        """A network takes a place back."""
        self.withdrawn.append(self.open.pop(self.chance.randrange(len(self.open))))
        registry, id = self.withdrawn[-1]
        await registry.withdraw(id)

    async def reopen(self) -> None:
        """A network brings a place back."""
        registry, id = self.withdrawn.pop(self.chance.randrange(len(self.withdrawn)))
        status, _, _ = await registry.call("POST", f"/places/{id}/reopen")
        assert status == 200
        self.open.append((registry, id))

    async def say(self) -> None:
        """Two owners, or one of them, say how two places relate; mostly that they are the same."""
        (mine, a), (theirs, b) = self.chance.sample(self.open, 2)
        verdict = self.chance.choices(("same", "distinct", "part-of"), (8, 1, 1))[0]
        sides = [(mine, a, b), (theirs, b, a)][: self.chance.choice((1, 2, 2, 2))]
        for registry, own, other in sides:
            body = {"a": own, "b": other, "verdict": verdict}
            status, said, _ = await registry.call("POST", "/claims", json=body)
            if status in (200, 201):
                self.claims.append((registry, said["id"]))

    async def unsay(self) -> None:
        """A network withdraws what it said."""
        registry, id = self.claims.pop(self.chance.randrange(len(self.claims)))
        status, _, _ = await registry.call("DELETE", f"/claims/{id}", headers={"If-Match": "*"})
        assert status in (200, 204, 410)


async def test_step_by_step_is_the_same_as_at_once(federation: Federation) -> None:
    """After dozens of random steps with cuts in between, a sync that saw them all agrees with one that saw the end."""
    chance = random.Random(7)
    registries = [await federation.registry() for _ in range(3)]
    life = Life(registries, chance)
    followed = await federation.sync(registries)
    cuts = 0
    for number in range(STEPS):
        await life.step()
        if number % 17 == 16:
            await followed.cut()
            cuts += 1
            await followed.start()
        elif number % 5 == 4:
            await followed.caught_up(registries)
    assert cuts == STEPS // 17
    assert {"add", "change", "withdraw", "reopen", "say", "unsay"} == life.done.keys()
    fresh = await federation.sync(list(reversed(registries)))
    seen, at_once = await followed.caught_up(registries), await fresh.caught_up(registries)
    assert seen["view_root"] == at_once["view_root"]
    assert 0 < seen["count"] < len(life.open)
    counted = [{n["node"]: n["places"] for n in (await s.networks()).values()} for s in (followed, fresh)]
    assert counted[0] == counted[1] == Counter(registry.node for registry, _ in life.open)


async def view_log(sync: Sync) -> list[dict[str, Any]]:
    """The sync's own log from its first event, every line proven by signature, order and root."""
    lines = (await sync.get("/feed?after=0.0&limit=1000")).splitlines()
    chain = [msgspec.json.decode(x, type=Signed) for x in (await sync.get("/descriptors")).splitlines()]
    whose = identity.verified(chain)
    close = msgspec.json.decode(lines[-1])["checkpoint"]
    events, leaves = [], []
    for seq, line in enumerate(map(msgspec.json.decode, lines[:-1]), start=1):
        raw = line["raw"].encode()
        key = identity.key_at(whose, line["kid"], (1, seq))
        assert signing.verifies(key, signing.EVENT, raw, foreign.unpacked(line["sig"]))
        events.append(msgspec.json.decode(raw))
        assert int(events[-1]["sequence"]) == seq
        leaves.append(merkle.leaf(raw))
    checkpoint = msgspec.json.decode(close["raw"], type=Checkpoint)
    assert merkle.root(merkle.extended(Range(), leaves)).hex() == checkpoint.log_root
    return events


async def test_the_log_of_the_view_tells_what_happened_and_why(federation: Federation) -> None:
    """Each change is an event that names its causes; a place that joined another says where it went."""
    here, there = await federation.registry(), await federation.registry()
    sync = await federation.sync([here, there])
    first, second = (await here.add())["id"], (await there.add())["id"]
    await sync.caught_up([here, there])
    await here.claim(first, second)
    await there.claim(second, first)
    await sync.caught_up([here, there])
    await here.withdraw(first)
    await there.withdraw(second)
    await sync.caught_up([here, there])
    events = await view_log(sync)
    causes = {f"{r.node}/{e['id']}": e["type"] for r in (here, there) for e in await r.feed()}
    assert all(e["data"]["cause"] and causes.keys() >= set(e["data"]["cause"]) for e in events)
    elder, younger = sorted([first, second], key=lambda id: id.partition(":")[2])
    joined = [e["data"] for e in events if e["type"] == VIEW_REMOVE and e["data"]["id"] == younger]
    assert (joined[0]["reason"], joined[0]["moved_to"]) == ("merged", elder)
    puts = [e["data"] for e in events if e["type"] == VIEW_PUT and e["data"]["id"] == elder]
    assert puts[0]["before"] is None
    assert puts[1]["networks"] == sorted([here.node, there.node])
    assert {causes[cause] for cause in puts[1]["cause"]} == {CLAIM_PUT}
    last = events[-1]
    assert (last["type"], last["data"]["reason"], last["data"]["moved_to"]) == (
        VIEW_REMOVE,
        "withdrawn",
        None,
    )


async def test_muted_and_forgotten_networks_leave_the_view(federation: Federation) -> None:
    """A network that is muted, or no longer listened to, is not in the view; its claims no longer count either."""
    here, there = await federation.registry(), await federation.registry()
    mine, theirs = (await here.add())["id"], (await there.add())["id"]
    await here.claim(mine, theirs)
    await there.claim(theirs, mine)
    sync = await federation.sync([here, there])
    both = await sync.caught_up([here, there])
    assert both["count"] == 1
    folder = Path(sync.settings.trust).parent

    async def listens(registries: list[Registry], muted: tuple[str, ...], followed: str) -> Any:
        await sync.stop()
        listen_to(folder, registries, muted)
        await sync.start()

        async def moved() -> Any:
            digest = await sync.digest()
            return digest if digest["followed"] != followed else None

        return await eventually(moved)

    muted = await listens([here, there], (there.node,), both["followed"])
    assert [h["node"] for h in muted["heads"]] == [here.node]
    assert (await sync.get(f"/places/{mine}"))["aliases"] == [mine]
    assert (await sync.networks())[there.node]["state"] == "muted"
    alone = await federation.sync([here])
    assert (await alone.caught_up([here]))["view_root"] == muted["view_root"]
    again = await listens([here, there], (), muted["followed"])
    assert again["view_root"] == both["view_root"]
    left = await listens([there], (), both["followed"])
    assert left["count"] == 1
    assert (await sync.get(f"/places/{theirs}"))["aliases"] == [theirs]
    assert here.node not in await sync.networks()


async def test_another_policy_makes_another_view(federation: Federation) -> None:
    """What another policy made of the same logs is made anew, and told, before the digest names this policy."""
    registry = await federation.registry()
    added = [await registry.add() for _ in range(3)]
    sync = await federation.sync([registry])
    right = await sync.caught_up([registry])
    await sync.stop()
    connection = await asyncpg.connect(sync.settings.database_url)
    try:
        await connection.execute("UPDATE merge SET policy = repeat('0', 64)")
        body = await connection.fetchval("SELECT body FROM view WHERE id = $1", added[0]["id"])
        other = body.replace(b'"open"', b'"paused"')
        assert other != body
        entry = digest.entry(added[0]["id"], other)
        await connection.execute(
            "UPDATE view SET body = $2, entry = $3 WHERE id = $1", added[0]["id"], other, entry
        )
    finally:
        await connection.close()
    await sync.start()

    async def anew() -> bool:
        return bool(await sync.digest() == right)

    await eventually(anew)
    place = await sync.get(f"/places/{added[0]['id']}")
    assert place["fields"]["status"]["value"] == "open"
    told = [e["subject"].rpartition(":")[2] for e in await view_log(sync)]
    assert [added[0]["id"].rpartition(":")[2]] == told[3:]


async def test_an_id_says_why_it_is_gone(federation: Federation) -> None:
    """Withdrawn, of a network no longer followed, merged: each id that was published answers with its own reason."""
    here, there = await federation.registry(), await federation.registry()
    a, b, lone = await here.add(), await there.add(), await here.add()
    await here.claim(a["id"], b["id"])
    await there.claim(b["id"], a["id"])
    sync = await federation.sync([here])
    await sync.caught_up([here])
    await sync.stop()
    # All that the second network says comes in at once, so that its place never was one of its own.
    listen_to(Path(sync.settings.trust).parent, [here, there])
    await sync.start()
    await sync.caught_up([here, there])
    assert (await sync.get(f"/places/{b['id']}"))["aliases"] == sorted((a["id"], b["id"]))
    await here.withdraw(lone["id"])
    await sync.caught_up([here, there])
    status, problem, headers = await sync.call("GET", f"/places/{lone['id']}")
    assert (status, problem["reason"]) == (410, "other")
    assert headers["Merge-Cursor"]
    await sync.stop()
    listen_to(Path(sync.settings.trust).parent, [])
    await sync.start()

    async def empty() -> bool:
        return bool((await sync.digest())["count"] == 0)

    await eventually(empty)
    for each in (a, b):
        status, problem, _ = await sync.call("GET", f"/places/{each['id']}")
        assert (status, problem["reason"]) == (410, "no-longer-followed"), problem
    reasons = {e["data"]["id"]: e["data"]["reason"] for e in await view_log(sync) if e["type"] == VIEW_REMOVE}
    assert reasons == {lone["id"]: "withdrawn", a["id"]: "no-longer-followed"}
    status, _, _ = await sync.call("GET", f"/places/{here.node}:{'0' * 8}-0000-7000-8000-{'0' * 12}")
    assert status == 404


async def test_a_muted_network_is_followed_to_its_end(federation: Federation) -> None:
    """What a muted network says is proven and kept, shown as such without a lag, and in no view."""
    registry = await federation.registry()
    await registry.add()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    await sync.stop()
    listen_to(Path(sync.settings.trust).parent, [registry], muted=[registry.node])
    await sync.start()
    await registry.add()

    async def heard() -> bool:
        known = (await sync.networks())[registry.node]
        return (known["state"], known["cursor"], known["lag"]) == ("muted", "1.2", 0)

    async def left() -> bool:
        return bool((await sync.digest())["count"] == 0)

    await eventually(heard)
    # It is followed and merged by two loops: which is first is nobody's promise.
    await eventually(left)
