"""Clocks that are years off, and jump: what people said and what is shown of it stay what they are."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from time import time
from typing import Any

import msgspec
import pytest

from services import ledger
from services.registry import app as registry_app
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_hostile import all_stand, served
from tests.nodes import Registry, Service, Sync, eventually

Clock = Callable[[], datetime]
DECADE = timedelta(days=3653)


def right() -> datetime:
    """The time of this machine."""
    return datetime.now(UTC)


def ahead() -> datetime:
    """Ten years from now."""
    return right() + DECADE


def behind() -> datetime:
    """Ten years ago."""
    return right() - DECADE


def jumping() -> Clock:
    """A clock that nobody set: each look at it tells another year, forwards and backwards."""
    chance = random.Random(2019)
    return lambda: right() + chance.uniform(-1, 1) * DECADE


CLOCKS: list[tuple[Clock, Clock]] = [(ahead, behind)]
if os.environ.get("MAILLAGE_SOAK"):
    CLOCKS += [(behind, ahead), (jumping(), right), (ahead, jumping()), (jumping(), jumping())]
_CLOCK: ContextVar[Clock] = ContextVar("clock", default=right)


@pytest.fixture(autouse=True)
def clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every service has the clock that it was started with."""
    monkeypatch.setattr(ledger, "clock", lambda: _CLOCK.get()())


async def started(service: Service, clock: Clock) -> Any:
    """A service, running by this clock: its tasks and handlers inherit what it was started in."""
    token = _CLOCK.set(clock)
    try:
        return await service.start()
    finally:
        _CLOCK.reset(token)


async def put(registry: Registry, uuid: str, **place: Any) -> str:
    """A place under an id that is given."""
    body = {"status": "open", "address": {"postcode": "35000"}, **place}
    status, written, _ = await registry.call(
        "PUT", f"/places/{uuid}", json=body, headers={"If-None-Match": "*"}
    )
    assert status == 201, written
    return str(written["id"])


async def wishes(registries: Sequence[Registry], uuids: Sequence[str]) -> None:
    """Places are opened in both networks, changed, taken back and brought back, and joined by claims of both."""
    one, two = registries
    mine = [await put(one, uuid, name=f"Lieu {n}", summary="un") for n, uuid in enumerate(uuids[:6])]
    theirs = [await put(two, uuid, name=f"Place {n}", phone="0297000000") for n, uuid in enumerate(uuids[6:])]
    await one.change(mine[0], summary="deux", verified_on="2014-05-06", verified_by="place")
    await two.change(theirs[0], description="Une description", opening_hours="Mo-Fr 09:00-18:00")
    await two.change(theirs[1], status="closed")
    await one.withdraw(mine[4])
    await one.withdraw(mine[5])
    assert (await one.call("POST", f"/places/{mine[5]}/reopen"))[0] == 200
    for a, b in zip(mine[:4], theirs[:4], strict=True):
        await one.claim(a, b)
        await two.claim(b, a)
    await two.claim(theirs[4], mine[0], "distinct")


async def again(federation: Federation, founded: Registry, clock: Clock) -> Registry:
    """A registry that has said nothing yet, once more with the same keys and under this clock."""
    template = founded.settings.database_url.rpartition("/")[2]
    url = await federation.postgres.create_database(template=template)
    federation.databases.append(url)
    settings = msgspec.structs.replace(founded.settings, database_url=url)
    copy = Registry(
        founded.client, lambda port: registry_app.serving(msgspec.structs.replace(settings, port=port))
    )
    copy.settings, copy.node, copy.token = settings, founded.node, founded.token
    federation.services.append(copy)
    await started(copy, clock)
    return copy


async def view(sync: Sync) -> bytes:
    """All that is shown of all places, but for what the moment of an event leaves in it."""
    page = await sync.get("/collections/places/items?limit=1000")
    places = [await sync.get(f"/places/{item['id']}") for item in page["features"]]
    return msgspec.json.encode(timeless(places), order="sorted")


def timeless(value: Any) -> Any:
    """JSON without times and hashes of events."""
    match value:
        case dict():
            momentary = ("updated", "leaf", "freshness")
            return {k: timeless(v) for k, v in value.items() if k not in momentary}
        case list():
            return [timeless(each) for each in value]
    return value


async def hours(registry: Registry) -> list[datetime]:
    """When each event says that it was written."""
    return [datetime.fromisoformat(e["time"]) for e in await registry.feed()]


async def seen(
    federation: Federation, founded: Sequence[Registry], pair: Sequence[Clock], uuids: Sequence[str]
) -> bytes:
    """What is shown of the wishes of two networks with these clocks, to syncs whose clocks are all different."""
    registries = [await again(federation, *each) for each in zip(founded, pair, strict=True)]
    await wishes(registries, uuids)
    for clock, registry in zip(pair, registries, strict=True):
        off = [abs(at - right()) > timedelta(days=30) for at in await hours(registry)]
        assert any(off) == (clock is not right), "the clock was not what it was set to"
    looking = (right,) if pair == (right, right) else (right, ahead, jumping())
    syncs = [await federation.sync(registries, start=False, heartbeat_s=1) for _ in looking]
    for sync, clock in zip(syncs, looking, strict=True):
        await started(sync, clock)
    digests = [await sync.caught_up(registries) for sync in syncs]
    assert len({(d["view_root"], d["count"]) for d in digests}) == 1
    shown = await view(syncs[0])
    for service in (*syncs, *registries):
        await service.stop()
    return shown


async def test_the_view_does_not_depend_on_anybodys_clock(federation: Federation) -> None:
    """The same wishes where clocks are right, and where they are ten years off both ways: one view, byte for byte."""
    # Of tomorrow, so that no node is younger than its records.
    moment = f"{int(time() + 86_400) * 1000:012x}"
    uuids = [f"{moment[:8]}-{moment[8:]}-7000-8000-{n:012x}" for n in random.Random(1).sample(range(99), 12)]
    founded = [await federation.registry(start=False, heartbeat_s=1) for _ in range(2)]
    first = await seen(federation, founded, (right, right), uuids)
    assert len(first) > 5000
    for pair in CLOCKS:
        assert await seen(federation, founded, pair, uuids) == first


async def test_a_clock_that_jumps_stops_nothing(federation: Federation) -> None:
    """Heartbeats, waiting readers, repeated requests and lists of a registry go on though its clock does not."""
    registry = await federation.registry(start=False, heartbeat_s=2)
    await started(registry, jumping())
    sync = await federation.sync([registry], start=False, heartbeat_s=1)
    await started(sync, jumping())
    key, body = {"Idempotency-Key": "une fois"}, {"name": "Une fois", "status": "open", "kind": "virtual"}
    first = await registry.call("POST", "/places", json=body, headers=key)
    waiting = asyncio.create_task(registry.get("/feed?after=1.1&wait=20"))
    again = await registry.call("POST", "/places", json=body, headers=key)
    assert (first[0], again[0], first[1]["id"]) == (201, 201, again[1]["id"])
    await registry.add()
    async with asyncio.timeout(15):
        assert len((await waiting).splitlines()) == 2
    seen: set[str] = set()
    numbers: list[int] = []

    async def heartbeats() -> bool:
        seen.add((await sync.networks())[registry.node]["state"])
        checkpoint = msgspec.json.decode((await registry.get("/checkpoint"))["raw"])
        numbers.append(checkpoint["n"])
        return numbers[-1] >= numbers[0] + 3

    await sync.caught_up([registry])
    await eventually(heartbeats, 30)
    assert seen <= {"live", "lagging"}, seen
    assert numbers == sorted(numbers)
    assert (await sync.caught_up([registry]))["count"] == 2


async def test_a_sync_tells_silence_by_its_own_steady_clock(federation: Federation) -> None:
    """Whatever year a sync's clock shows, three heartbeats without news are three heartbeats."""
    async with served([Impostor("parle"), Impostor("se tait")]) as nodes:
        for node in nodes.values():
            node.say()
        everybody: list[Any] = list(nodes.values())
        sync = await federation.sync(everybody, start=False)
        await started(sync, jumping())
        await all_stand(sync, nodes, dict.fromkeys(nodes, ("live", "1.1")))
        last = nodes["se tait"].checkpoint()
        nodes["se tait"].says("/feed", lambda: msgspec.json.encode({"checkpoint": last}) + b"\n")
        await all_stand(sync, nodes, {"se tait": ("stale", "1.1"), "parle": ("live", "1.1")})
        nodes["se tait"].answers.clear()
        nodes["se tait"].say()
        await all_stand(sync, nodes, {"se tait": ("live", "1.2"), "parle": ("live", "1.1")})
