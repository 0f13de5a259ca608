"""Two syncs of the same networks hold the same bytes, whatever happened to each on the way."""

import asyncio
import os
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from demo import sample
from services.follow import Context, Follower
from services.follow_store import Source
from tests.conftest import Federation
from tests.engines import Broker
from tests.nodes import Registry, Sync, eventually

REAL = (
    Path(os.environ.get("MAILLAGE_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "federation"
)
CUTS = 6


def lists() -> list[tuple[str, bytes]]:
    """The lists of the networks: eleven real ones where they are at hand, else the demo's sample."""
    found = [(file.stem, file.read_bytes()) for file in sorted(REAL.glob("*.jsonl"))]
    return found or [(network.alias, sample.lines(network).encode()) for network in sample.networks(4)]


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Databases of syncs that no broker can be reached from: their followers never listen."""
    urls: set[str] = set()
    begin = Follower.__init__

    def without_ears(self: Follower, context: Context, source: Source) -> None:
        begin(self, context, source)
        if context.pool._url in urls:
            self.receiver.tell = lambda amqp: None  # type: ignore[method-assign]

    monkeypatch.setattr(Follower, "__init__", without_ears)
    return urls


async def listed(registry: Registry, data: bytes) -> int:
    """Import a list; how many places it gave."""
    job = await registry.list_in(data, media="application/x-ndjson", source="liste", format="jsonl")
    assert job["state"] == "done", job
    return int(job["counts"]["new"])


async def tie(registries: Sequence[Registry], chance: random.Random) -> None:
    """Some places of each network and the next are said to be the same by both."""
    for one, other in pairwise(registries):
        mine = (await one.get("/places?limit=20"))["places"]
        theirs = (await other.get("/places?limit=20"))["places"]
        for a, b in zip(chance.sample(mine, 4), chance.sample(theirs, 4), strict=True):
            await one.claim(a["id"], b["id"])
            await other.claim(b["id"], a["id"])


async def heard_by_rabbitmq(sync: Sync, registry: Registry) -> None:
    """Change a place until a change has come to the sync by RabbitMQ."""
    place = (await registry.get("/places?limit=1"))["places"][0]["id"]

    async def heard() -> bool:
        await registry.change(place, summary=f"Vu le {random.random()}")
        return await sync.metric("maillage_follow_events_total", via="amqp") > 0

    await eventually(heard, 60)


async def harried(sync: Sync, done: asyncio.Event, chance: random.Random) -> int:
    """Cut a sync at random points and start it again, until the others are done; how often."""
    cuts = 0
    while cuts < CUTS or not done.is_set():
        await asyncio.sleep(chance.uniform(0.02, 0.6))
        await sync.cut()
        cuts += 1
        await sync.start()
    return cuts


async def bytes_of(sync: Sync) -> dict[str, str]:
    """The hash of every place of the view, by common id."""
    buckets = [await sync.get(f"/digest/buckets/{b}") for b in range(256)]
    return {entry["id"]: entry["hash"] for bucket in buckets for entry in bucket["entries"]}


async def test_the_eleven_networks_give_one_view(
    federation: Federation, rabbitmq: Broker, deaf: set[str]
) -> None:
    """An undisturbed sync, one cut at random points, one without any broker, and a late one hold the same bytes."""
    chance = random.Random(20190427)
    data = lists()
    assert len(data) >= 4
    registries: list[Registry] = []
    for _ in data:
        corner = rabbitmq.vhost()
        registries.append(await federation.registry(amqp_url=corner.url, amqp_public_url=corner.reader_url))
    calm, restless, unheard = [await federation.sync(registries, start=False) for _ in range(3)]
    deaf.add(unheard.settings.database_url)
    for sync in (calm, restless, unheard):
        await sync.start()
    done = asyncio.Event()
    cutting = asyncio.create_task(harried(restless, done, chance))
    counts = [await listed(r, places) for r, (_, places) in zip(registries, data, strict=True)]
    await tie(registries, chance)
    await heard_by_rabbitmq(calm, registries[0])
    done.set()
    assert await cutting >= CUTS
    digests = [await sync.caught_up(registries, 300) for sync in (calm, restless, unheard)]
    late = await federation.sync(list(reversed(registries)))
    digests.append(await late.caught_up(registries, 300))
    assert len({d["view_root"] for d in digests}) == 1, digests
    # One list overlaps all others, and what is alike is joined unasked.
    assert 0.5 * sum(counts) < digests[0]["count"] < 0.7 * sum(counts)
    assert await bytes_of(calm) == await bytes_of(restless) == await bytes_of(unheard) == await bytes_of(late)
    assert await calm.metric("maillage_follow_events_total", via="amqp") > 0
    assert await unheard.metric("maillage_follow_events_total", via="amqp") == 0
    if REAL.exists():
        assert len(data) == 11
        assert sum(counts) >= 2600


async def test_a_different_view_is_found_in_three_requests(federation: Federation) -> None:
    """Where two syncs hear other networks, root, buckets and entries lead to the very place."""
    here, there = await federation.registry(), await federation.registry()
    await asyncio.gather(*(here.add() for _ in range(20)))
    only = await there.add(name="Le seul")
    one, other = await federation.sync([here]), await federation.sync([here, there])
    first, second = await one.caught_up([here]), await other.caught_up([here, there])
    assert first["view_root"] != second["view_root"]
    assert first["followed"] != second["followed"]
    left = (await one.get("/digest/buckets"))["buckets"]
    right: list[Any] = (await other.get("/digest/buckets"))["buckets"]
    (bucket,) = [b for b in range(256) if left[b] != right[b]]
    mine = {e["id"] for e in (await one.get(f"/digest/buckets/{bucket}"))["entries"]}
    theirs = {e["id"] for e in (await other.get(f"/digest/buckets/{bucket}"))["entries"]}
    assert theirs - mine == {only["id"]}
