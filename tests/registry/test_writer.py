"""The one write path: numbers without holes in the order of commits, whoever writes at the same time."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest

from services.registry import app as registry_app
from tests.conftest import Federation
from tests.nodes import Registry, eventually

JSON = {"Content-Type": "application/json"}
PATCH = {"Content-Type": "application/merge-patch+json", "If-Match": "*"}


async def twin(registry: Registry) -> Registry:
    """A second process's worth of the same registry: another writer on the same database."""
    other = Registry(registry.client, lambda port: registry_app.serving(other.settings))
    other.settings, other.node, other.token = registry.settings, registry.node, registry.token
    return await other.start()


class Watcher:
    """Reads the feed all the time, from where it stood: what it saw, and whether it ever saw a hole."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.raws: dict[str, str] = {}
        self.polls = 0

    async def poll(self, registry: Registry) -> None:
        """Ask once for what comes next."""
        after = f"1.{len(self.events)}" if self.events else "0.0"
        lines = (await registry.get(f"/feed?after={after}&limit=1000")).splitlines()
        self.polls += 1
        for line in lines[:-1]:
            raw = msgspec.json.decode(line)["raw"]
            event = msgspec.json.decode(raw)
            assert int(event["sequence"]) == len(self.events) + 1, "a hole, or a number out of order"
            self.events.append(event)
            self.raws[event["id"]] = raw


@asynccontextmanager
async def watching(*registries: Registry) -> AsyncIterator[Watcher]:
    """A watcher that polls the feeds every 5 ms inside the `async with`, and once more at its end."""
    watcher = Watcher()

    async def watch() -> None:
        while True:
            await watcher.poll(random.choice(registries))
            await asyncio.sleep(0.005)

    task = asyncio.create_task(watch())
    try:
        yield watcher
    finally:
        task.cancel()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(ended, asyncio.CancelledError), ended
    await watcher.poll(registries[0])


async def one_writer(number: int, registries: tuple[Registry, ...], rounds: int, told: Counter[int]) -> None:
    """Adds, changes and withdraws, and in between asks for what must be refused."""
    chance = random.Random(number)
    for turn in range(rounds):
        here, there = chance.choice(registries), chance.choice(registries)
        made = await here.add(name=f"Écrivain {number} tour {turn}")
        path = f"/places/{made['id']}"
        wrong: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/places", {"json": {"name": "", "status": "open"}}),
            ("POST", "/places", {"json": made["place"]}),
            ("PUT", path, {"json": made["place"], "headers": {"If-Match": '"7"'}}),
            ("PUT", path, {"json": made["place"]}),
            ("POST", "/places", {"data": b"{", "headers": {"Content-Type": "application/json"}}),
        ]
        for method, where, options in chance.sample(wrong, 2):
            status, _, _ = await there.call(method, where, **options)
            told[status] += 1
            assert status in (400, 409, 412, 422, 428), (method, where, status)
        if turn % 2:
            status, _, _ = await there.call("PATCH", path, data=b'{"summary":"vu"}', headers=PATCH)
            assert status == 200
        if turn % 3 == 2:
            await here.withdraw(made["id"])


async def write_at_once(registries: tuple[Registry, ...], writers: int, rounds: int) -> Watcher:
    """Many writers at once under the eyes of a watcher; everything that must hold is asserted."""
    told: Counter[int] = Counter()
    async with watching(*registries) as watcher:
        await asyncio.gather(*(one_writer(n, registries, rounds, told) for n in range(writers)))
    size = writers * (rounds + rounds // 2 + rounds // 3)
    assert [int(e["sequence"]) for e in watcher.events] == list(range(1, size + 1))
    assert len(told) == 5
    assert watcher.polls > 10
    for registry in registries:
        assert await raws(registry) == watcher.raws
    return watcher


async def raws(registry: Registry) -> dict[str, str]:
    """The bytes of every event by its id, read again from the start."""
    found: dict[str, str] = {}
    while True:
        lines = (await registry.get(f"/feed?after=1.{len(found)}&limit=1000")).splitlines()
        if len(lines) == 1:
            return found
        for line in lines[:-1]:
            raw = msgspec.json.decode(line)["raw"]
            found[msgspec.json.decode(raw)["id"]] = raw


async def test_64_writers_leave_no_hole(registry: Registry) -> None:
    """64 writers with refusals in between: 1..n without holes, in the order in which readers see them."""
    await write_at_once((registry,), writers=64, rounds=6)


async def test_two_processes_share_one_log(registry: Registry) -> None:
    """Two registries on one database number their events together, and each serves the other's."""
    other = await twin(registry)
    try:
        watcher = await write_at_once((registry, other), writers=24, rounds=6)
        batches = [await r.metric("maillage_writer_batch_size_count") for r in (registry, other)]
        assert all(count > 5 for count in batches), batches
        versions: dict[str, list[int]] = {}
        for event in watcher.events:
            versions.setdefault(event["subject"], []).append(event["recordversion"])
        assert all(v == list(range(1, len(v) + 1)) for v in versions.values())
    finally:
        await other.stop()


async def test_of_two_processes_one_opens_a_place(registry: Registry) -> None:
    """The same new place sent to two processes at the same moment is one place; so is one Idempotency-Key."""
    other = await twin(registry)
    try:
        body = {"name": "Une seule", "status": "open", "address": {"postcode": "35000"}}
        both = (registry, other)
        answers = await asyncio.gather(*(both[n % 2].call("POST", "/places", json=body) for n in range(16)))
        assert sorted(status for status, _, _ in answers) == [201] + [409] * 15
        body["name"], key = "Une clef", {"Idempotency-Key": "k"}
        answers = await asyncio.gather(
            *(both[n % 2].call("POST", "/places", json=body, headers=key) for n in range(16))
        )
        assert {(status, made["id"]) for status, made, _ in answers} == {(201, answers[0][1]["id"])}
        assert len(await registry.feed()) == 2
    finally:
        await other.stop()


async def test_one_of_many_changes_from_one_version_wins(registry: Registry) -> None:
    """Thirty people change the same version of a place at once: one is accepted, the others read again."""
    made = await registry.add()
    path = f"/places/{made['id']}"
    bodies = [{**made["place"], "summary": f"n° {n}"} for n in range(30)]
    answers = await asyncio.gather(
        *(registry.call("PUT", path, json=body, headers={"If-Match": '"1"'}) for body in bodies)
    )
    assert sorted(status for status, _, _ in answers) == [200] + [412] * 29
    (won,) = (body for (status, _, _), body in zip(answers, bodies, strict=True) if status == 200)
    assert (await registry.get(path))["place"] == won


async def test_many_wishes_are_one_batch(registry: Registry) -> None:
    """While one batch commits the next gathers: 200 writes at once take far fewer transactions."""
    await asyncio.gather(*(registry.add() for _ in range(200)))
    batches = await registry.metric("maillage_writer_batch_size_count")
    wishes = await registry.metric("maillage_writer_batch_size_sum")
    assert wishes == 200
    assert batches < 100
    assert await registry.metric("maillage_writer_events_total") == 200


async def test_a_record_too_large_for_an_event_fails_alone(registry: Registry) -> None:
    """A word whose labels no event can hold is 422 at its pointer, and a list cannot make one either."""
    huge = {"namespace": "bzh", "code": "mot", "labels": {f"l{i}": "x" * 900 for i in range(60)}}
    fine = {"namespace": "bzh", "code": "autre", "labels": {"fr": "Autre"}}
    status, problem, _ = await registry.call("PUT", "/vocabulary", json={"terms": [huge, fine]})
    assert (status, [e["pointer"] for e in problem["errors"]]) == (422, ["/terms/0"])
    row = {"name": "Liste", "status": "open", "kind": "virtual", "origin": {"system": "s", "id": "1"}}
    names = [f"{n:0200}" for n in range(130)]
    first = await registry.list_in(line(row | {"description": "x"}), "application/x-ndjson", source="s")
    assert first["counts"]["new"] == 1
    (event,) = await registry.feed()
    await registry.change(event["subject"], alternate_names=names)
    grown = row | {"types": [f"b:{n:0120}" for n in range(200)]}
    fine = row | {"name": "À côté", "origin": {"system": "s", "id": "2"}}
    job = await registry.list_in(line(grown) + line(fine), "application/x-ndjson", source="s")
    assert (job["state"], job["counts"]["refused"], job["counts"]["new"]) == ("done", 1, 1)
    assert "bytes" in job["report"][0]["remarks"][0]["detail"]


def line(row: dict[str, Any]) -> bytes:
    """A line of a list."""
    return msgspec.json.encode(row) + b"\n"


async def test_a_place_as_large_as_it_may_be_is_one_event(registry: Registry) -> None:
    """The largest place that the checks let through fits into an event of 48 KiB."""
    body = {"name": "Grand", "status": "open", "address": {"postcode": "35000"}}
    sizes = []
    for count in range(215, 226):
        grown = body | {"alternate_names": [f"{i:0200}" for i in range(count)]}
        status, _, _ = await registry.call("POST", "/places?duplicate=accept", json=grown)
        sizes.append(status)
    assert set(sizes) == {201, 422}
    assert sizes == sorted(sizes)
    assert len(await registry.feed()) == sizes.count(201)


async def test_a_database_that_goes_away_costs_a_503(federation: Federation) -> None:
    """A write while the database cuts every connection is 503 with Retry-After or done; then all goes on."""
    registry = await federation.registry()
    await registry.add()

    async def cut() -> None:
        conn = await asyncpg.connect(federation.postgres.url())
        cuts = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1"
        name = registry.settings.database_url.rpartition("/")[2]
        assert await conn.fetchval(cuts, name) > 0
        await conn.close()

    statuses: Counter[int] = Counter()

    async def write(n: int) -> None:
        body = {"name": f"Coupé {n}", "status": "open", "address": {"postcode": "35000"}}
        status, _, headers = await registry.call("POST", "/places", json=body)
        statuses[status] += 1
        assert status in (201, 503)
        assert status == 201 or "Retry-After" in headers

    await asyncio.gather(*(write(n) for n in range(40)), cut(), *(write(n) for n in range(40, 80)))

    async def well() -> bool:
        body = {"name": f"Après {uuid4()}", "status": "open", "address": {"postcode": "35000"}}
        status, _, _ = await registry.call("POST", "/places", json=body)
        statuses[status] += 1
        return status == 201 and (await registry.call("GET", "/feed", token=None))[0] == 200

    await eventually(well)
    events = await registry.feed()
    assert [int(e["sequence"]) for e in events] == list(range(1, len(events) + 1))
    assert len(events) >= 1 + statuses[201]


Write = Callable[[Registry], Awaitable[tuple[int, Any, Any]]]


@pytest.mark.parametrize("seed", range(3))
async def test_no_place_can_stop_the_writer(registry: Registry, seed: int) -> None:
    """Hundreds of random bodies, half right and half strange, are 201 or refused; none is a fault of ours."""
    chance = random.Random(seed)
    bodies = [strange(chance) for _ in range(150)]
    answers = await asyncio.gather(
        *(
            registry.call(
                "POST",
                "/places?duplicate=accept",
                data=msgspec.json.encode(body),
                headers=JSON,
            )
            for body in bodies
        )
    )
    statuses = Counter(status for status, _, _ in answers)
    assert set(statuses) <= {201, 400, 422}, statuses
    assert statuses[201] > 10
    for (status, made, _), body in zip(answers, bodies, strict=True):
        if status == 201:
            path = f"/places/{made['id']}"
            same, headers = msgspec.json.encode(made["place"]), {"If-Match": '"1"', **JSON}
            again = await registry.call("PUT", path, data=same, headers=headers)
            assert (again[0], again[1]["version"]) == (200, 1), body
    assert len(await registry.feed()) == statuses[201]


async def test_what_tidying_makes_too_long_is_refused(registry: Registry) -> None:
    """An address that fits until it gets its scheme is a mistake of that place alone, in a list as well."""
    site = "exemple.fr/" + "a" * 1985
    status, problem, _ = await registry.call(
        "POST", "/places", json={"name": "Long", "status": "open", "kind": "virtual", "website": site}
    )
    assert (status, [e["pointer"] for e in problem["errors"]]) == (422, ["/website"])
    job = await registry.list_in(f"nom;cp;site\nLong;35000;{site}\nCourt;35000;court.fr\n".encode())
    assert job["counts"]["new"] == 2
    assert "site" in [remark["column"] for remark in job["report"][0]["remarks"]]


TEXTS = (
    "La Forge",
    "",
    " ",
    "é" * 200,
    "😀🏴‍☠️",
    "\u202e\u200b\ufeffx",
    "ﬃ" * 200,
    "a\nb\tc",
    "%_\\'\"; --",
    "{name}",
    "{0.__class__}",
    "=1+1",
    "\x7f\x80",
    "<script>",
    "null",
    "x" * 9000,
    "İıẞ",
    "ǆ",
)
FIELDS: dict[str, list[Any]] = {
    "alternate_names": [[], list(TEXTS), ["x", "x"]],
    "kind": ["virtual", "undisclosed", "other"],
    "opened_on": ["2020", "0000", "2020-13", "9999-12-31"],
    "position": [{"lat": 48.1, "lon": -1.6}, {"lat": -0.0, "lon": 180}, {"lat": 1e-320, "lon": 1e-7}, {}],
    "address": [{"postcode": "35000"}, {"insee": "2A004"}, {"postcode": "35000", "country": "ZZ"}, None],
    "families": [["fablab"], ["fablab", "fablab"], ["x"]],
    "types": [["bzh:ti"], ["bzh:" + "é" * 126], ["x"]],
    "services": [["wifi"], ["é", "😀"]],
    "summary": list(TEXTS),
    "description": list(TEXTS),
    # With its scheme this one is longer than a website may be.
    "website": [
        "exemple.fr/" + "a" * 1985,
        "exemple.fr",
        "https://exemple.fr",
        "//x.fr",
        "http://[::1",
        "https://é.fr",
        *TEXTS,
    ],
    "phone": ["0297000000", "+262 262 12 34 56", "٠٢٩٧", *TEXTS],
    "email": ["a@b.fr", "é@b.fr", "a@b", *TEXTS],
    "opening_hours": ["24/7", "Mo-Fr 09:00-18:00", *TEXTS],
    "identifiers": [[{"scheme": "siret", "value": "٣" * 14}], [{"scheme": "osm", "value": "n1"}]],
    "surface": [{"built_m2": 0.1}, {"built_m2": -1}, {"built_m2": 2**60}],
    "extensions": [{"": {}}, {"x": {}}, {"x": {"y": TEXTS}}, {"x": []}, {"{a}": {"b": 1}}],
    "origin": [{"system": "s", "id": "😀" * 500}, {"system": "s", "id": ""}],
    "license": ["etalab-2.0", "x y", None],
}


def strange(chance: random.Random) -> dict[str, Any]:
    """A place of fields drawn at random, mostly right."""
    body: dict[str, Any] = {
        "name": chance.choice(TEXTS) if chance.random() < 0.3 else "Lieu",
        "status": chance.choice(["open", "closed", "project", "paused"]),
        "address": {"postcode": "35000"},
    }
    for field in chance.sample(list(FIELDS), chance.choice((0, 1, 1, 2, 3))):
        body[field] = chance.choice(FIELDS[field])
    return body
