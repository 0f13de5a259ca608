"""Every part is killed while people write, and the end is the same as if nobody had been."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import msgspec
import pytest
from yarl import URL

from demo.postgres import Postgres
from schemas.event import CLAIM_PUT, PLACE_PUT
from tests.federation import wishes
from tests.federation.house import House, Victim, killed, not_ours
from tests.federation.wishes import AWAY, Accepted, Door, Person
from tests.nodes import Registry, Sync, eventually, new_registry, new_sync
from tests.processes import Part

KILLS = 200 if os.environ.get("MAILLAGE_SOAK") else 12
PEOPLE = 4
ROWS = 200


@dataclass
class Watcher:
    """Reads a feed without end, and compares whatever it sees with what it has seen under that number."""

    session: aiohttp.ClientSession
    url: str
    seen: dict[int, bytes] = field(default_factory=dict)
    again: int = 0

    async def run(self) -> None:
        """Read on, and from the start again after each outage."""
        after = 0
        while True:
            try:
                found = await self.read(after)
                after = max(self.seen, default=0) if found else after
            except AWAY:
                after = 0
                await asyncio.sleep(0.05)

    async def whole(self) -> int:
        """Read everything once more; how many events there are."""
        after = 0
        while await self.read(after, wait=0):
            after = max(self.seen)
        return len(self.seen)

    async def read(self, after: int, wait: int = 1) -> int:
        """How many events came after this number; all of them are what they were."""
        cursor = f"1.{after}" if after else "0.0"
        query = f"{self.url}/feed?after={cursor}&limit=1000&wait={wait}"
        async with self.session.get(query, raise_for_status=True) as answer:
            lines = (await answer.read()).splitlines()[:-1]
        for line in lines:
            number = int(msgspec.json.decode(msgspec.json.decode(line)["raw"])["sequence"])
            hash = sha256(line).digest()
            self.again += number in self.seen
            assert self.seen.setdefault(number, hash) == hash, f"{self.url} has changed its event {number}"
        return len(lines)


@dataclass
class Subscriber:
    """Polls a notify from her cursor on, and keeps what she is told."""

    session: aiohttp.ClientSession
    url: str
    cursor: str
    told: list[tuple[str, str]] = field(default_factory=list)

    async def run(self) -> None:
        """Poll for ever."""
        while True:
            try:
                await self.poll(1)
            except AWAY:
                await asyncio.sleep(0.05)

    async def poll(self, wait: float) -> str:
        """What is new to her; where she stands then."""
        query = f"{self.url}/changes?since={self.cursor}&limit=1000&wait={wait}"
        async with self.session.get(query, raise_for_status=True) as answer:
            page = msgspec.json.decode(await answer.read())
        self.told += [(change["cursor"], change["id"]) for change in page["changes"]]
        self.cursor = page["cursor"]
        return self.cursor


@asynccontextmanager
async def going_on(*loops: Awaitable[None]) -> AsyncIterator[None]:
    """Loops that run inside the `async with`; one that fails fails it."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(loop) for loop in loops]
        yield
        for task in running:
            task.cancel()


async def write(people: Sequence[Person], over: asyncio.Event) -> int:
    """Everybody writes at the same time until it is over, and somebody hands in lists; how many."""

    async def wishes(person: Person) -> None:
        while not over.is_set():
            await person.wish()

    async with asyncio.TaskGroup() as tasks:
        for person in people:
            tasks.create_task(wishes(person))
        return await tasks.create_task(lists(people[0].door, over))


async def lists(door: Door, over: asyncio.Event) -> int:
    """Hand in a list after each outage, so that the next may find it half read; how many there were."""
    number = 0
    while not over.is_set():
        lost = door.lost
        await hand_in(door, number)
        number += 1

        async def again(lost: int = lost) -> bool:
            return over.is_set() or door.lost > lost

        await eventually(again, 300)
    return number


async def hand_in(door: Door, number: int) -> None:
    """Have a list read. One whose acceptance was lost is handed in again, for nothing."""
    rows = [f"Adresse {number}-{row};35600;Redon" for row in range(ROWS)]
    status, job, _ = await door.until_answered(
        "POST",
        f"/imports?mode=apply&source=liste-{number}",
        data="\n".join(["nom;code postal;commune", *rows]).encode(),
        headers={"Content-Type": "text/csv"},
    )
    assert status == 202, job

    async def done() -> bool:
        _, now, _ = await door.until_answered("GET", f"/imports/{job['id']}")
        assert now["state"] != "failed", now
        return bool(now["state"] == "done")

    await eventually(done, 90)


def standing(events: Sequence[dict[str, Any]]) -> dict[Any, tuple[int, str, Any]]:
    """Version, type and content of every record of a log by the name of its place, or the names of its two."""
    names: dict[str, Any] = {}
    stand: dict[Any, tuple[int, str, Any]] = {}
    for event in events:
        data, subject = dict(event["data"]), event["subject"]
        if event["type"] == PLACE_PUT:
            assert names.setdefault(subject, data["name"]) == data["name"]
        elif event["type"] == CLAIM_PUT:
            data["a"], data["b"] = names[data["a"]], names[data["b"]]
            names.setdefault(subject, (data["a"], data["b"]))
        assert event["recordversion"] == stand.get(names[subject], (0,))[0] + 1
        stand[names[subject]] = (event["recordversion"], event["type"], data)
    assert len(set(names.values())) == len(names), "something is there twice"
    return stand


async def shown(sync: Sync) -> Counter[Any]:
    """What a view shows, whatever its ids: the fields of each place, or of how many records it is one."""
    items: list[dict[str, Any]] = []
    path: str | None = "/collections/places/items?limit=1000"
    while path:
        page = await sync.get(path)
        items += (item["properties"] for item in page["features"])
        path = next((str(URL(x["href"]).relative()) for x in page["links"] if x["rel"] == "next"), None)
    assert page["numberMatched"] == len(items)
    # Which record gives a joined place its fields depends on ids and moments.
    return Counter(item["voices"] if item["voices"] > 1 else tuple(said(item)) for item in items)


def said(properties: dict[str, Any]) -> list[tuple[str, Any]]:
    """The fields of a place but for those that differ from run to run."""
    return sorted((name, value) for name, value in properties.items() if name not in ("updated", "networks"))


async def undisturbed(
    house: House, wished: Sequence[int], lists: int, seed: int
) -> tuple[list[dict[str, Any]], Counter[Any]]:
    """The same wishes of the same people where nobody kills anything: the events of it, and what is shown."""
    urls = [await house.postgres.create_database() for _ in range(2)]
    registry = await new_registry(house.session, urls[0], house.folder / "calm")
    await registry.start()
    sync = await new_sync(house.session, urls[1], house.folder / "calm-sync", [registry]).start()
    door = Door(house.session, registry.url, registry.token)

    async def live(person: Person, times: int) -> None:
        while person.wishes < times:
            await person.wish()

    async with asyncio.TaskGroup() as tasks:
        for number, times in enumerate(wished):
            tasks.create_task(live(Person(number, seed, door), times))
        for number in range(lists):
            await hand_in(door, number)
    assert door.lost == 0
    await sync.caught_up([registry])
    result = await registry.feed(), await shown(sync)
    await sync.stop()
    await registry.stop()
    return result


def every_answer_is_kept(events: Sequence[dict[str, Any]], accepted: Sequence[Accepted]) -> None:
    """What a registry said that it has done stands in its log where it said."""
    assert [e["sequence"] for e in events] == [f"{n:016d}" for n in range(1, len(events) + 1)]
    for answer in accepted:
        event = events[int(answer.cursor.partition(".")[2]) - 1]
        assert (event["subject"], event["recordversion"]) == (answer.id, answer.version)
        if event["type"] == PLACE_PUT:
            assert event["data"] == answer.body


async def every_change_is_told(view: list[dict[str, Any]], subscriber: Subscriber) -> None:
    """She who polled all the time was told each change once and in order, and so is who asks only now."""
    changes = [(f"{e['epoch']}.{int(e['sequence'])}", e["data"]["id"]) for e in view if ".view." in e["type"]]
    assert len(changes) == len(view)
    late = Subscriber(subscriber.session, subscriber.url, "0.0")
    for each in (subscriber, late):

        async def there(each: Subscriber = each) -> bool:
            return await each.poll(0) == changes[-1][0]

        await eventually(there)
        assert each.told == changes


async def a_fresh_sync_agrees(house: House) -> Counter[Any]:
    """A sync that starts now comes to the same bytes; what they show."""
    registry, sync = house.seen_registry(), house.seen_sync()
    mine = await sync.caught_up([registry])
    url = await house.postgres.create_database()
    fresh = await new_sync(house.session, url, house.folder / "fresh", [registry]).start()
    theirs = await fresh.caught_up([registry])
    await fresh.stop()
    assert (mine["view_root"], mine["count"]) == (theirs["view_root"], theirs["count"])
    return await shown(sync)


@pytest.fixture
def seed() -> int:
    """What all chance of a test begins with; a run is told what an earlier one printed."""
    seed = int(os.environ.get("MAILLAGE_SEED") or random.randrange(10**9))
    print(f"MAILLAGE_SEED={seed}")
    return seed


@pytest.fixture
async def house(private_postgres: Postgres, tmp_path: Path, seed: int) -> AsyncIterator[House]:
    """A house at work."""
    async with wishes.session() as session:
        house = House(private_postgres, tmp_path, session, Random(seed))
        await house.open()
        yield house
        await house.close()


async def crashing(people: Sequence[Person], victims: Sequence[Victim], seed: int) -> int:
    """People write while every part is killed, each at random moments of its own; how many lists they wrote."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(write(people, over))
        async with asyncio.TaskGroup() as killing:
            for victim in victims:
                chance, times = Random(f"{seed}-{victim.name}"), KILLS // len(victims)
                killing.create_task(victim.suffer(chance, times, victims))
        over.set()
    return writing.result()


async def test_kills_at_random_points_change_nothing(house: House, seed: int) -> None:
    """Registry, sync, notify and PostgreSQL are killed at work, over and over, and no wish is lost or doubled."""
    watchers = [Watcher(house.session, part.url) for part in (house.registry, house.sync)]
    subscriber = Subscriber(house.session, house.notify.url, str(await house.notify_at()))
    people = [Person(number, seed, house.door) for number in range(PEOPLE)]
    victims = house.victims()
    async with going_on(*(w.run() for w in watchers), subscriber.run()):
        lists = await crashing(people, victims, seed)
        view = await a_fresh_sync_agrees(house)
    print(
        {v.name: v.kills for v in victims},
        house.door.lost,
        "answers lost,",
        lists,
        "lists,",
        people[0].wishes,
    )
    assert {v.kills for v in victims} == {KILLS // len(victims)}
    assert house.recoveries() >= len(house.sessions) > 0
    assert house.door.lost >= KILLS // len(victims), "the kills hit nobody who wrote"

    events = await house.seen_registry().feed()
    every_answer_is_kept(events, house.door.accepted)
    log = await Registry.feed(house.seen_sync())  # type: ignore[arg-type]
    for watcher, number in zip(watchers, (len(events), len(log)), strict=True):
        assert (await watcher.whole(), watcher.again > 0) == (number, True)
    await every_change_is_told(log, subscriber)
    calm, calm_view = await undisturbed(house, [p.wishes for p in people], lists, seed)
    assert standing(events) == standing(calm)
    assert view == calm_view


async def test_an_answer_that_was_lost_is_given_again(database_url: str, tmp_path: Path) -> None:
    """Killed between its word in the log and its answer, a registry answers the repeated request as the first."""
    part = Part("registry", tmp_path / "registry", database_url=database_url, key_dir=tmp_path / "keys")
    await part.command("key", "init", "--root-key", str(tmp_path / "root.key"))
    token = await part.command("token", "add", "--role", "editor", "--name", "test")
    await part.start()
    place = b'{"name":"Le Moulin","status":"open","address":{"postcode":"35600"}}'
    headers = {"Idempotency-Key": "once", "Authorization": f"Bearer {token}"}
    async with wishes.session() as session:
        seen = Registry(session, not_ours)
        seen.port = part.port
        async with unheard(part.port, place, headers):
            (written,) = await eventually(seen.feed)
            killed(part)
        await part.start()
        headers["Content-Type"] = "application/json"
        async with session.post(part.url + "/places", data=place, headers=headers) as answer:
            assert answer.status == 201, await answer.text()
            again = msgspec.json.decode(await answer.read())
        assert (again["id"], again["version"], again["cursor"]) == (written["subject"], 1, "1.1")
        assert await seen.feed() == [written]
    await part.stop()


@asynccontextmanager
async def unheard(port: int, body: bytes, headers: dict[str, str]) -> AsyncIterator[None]:
    """A request whose answer nobody reads."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = ["POST /places HTTP/1.1", "Host: localhost", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    try:
        yield
    finally:
        writer.close()
