"""The signed log as a stranger proves it: with nothing of ours but the protocol's text, hashlib and PyNaCl."""

import asyncio
import base64
import hashlib
import io
import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
from nacl.signing import VerifyKey

from services import answers, ledger_http
from tests.conftest import Federation
from tests.nodes import Registry, eventually

TYPES = {kind: f"application/vnd.maillage.{kind}+json" for kind in ("event", "checkpoint", "descriptor")}


def sha(data: bytes) -> bytes:
    """SHA-256."""
    return hashlib.sha256(data).digest()


def unsigned(text: str) -> bytes:
    """The bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def proven(key: str, kind: str, raw: str, sig: str) -> Any:
    """The JSON of a signed text; fails where the signature does not fit."""
    payload, name = raw.encode(), TYPES[kind].encode()
    encoding = b" ".join([b"DSSEv1", str(len(name)).encode(), name, str(len(payload)).encode(), payload])
    VerifyKey(unsigned(key)).verify(encoding, unsigned(sig))
    return json.loads(raw)


def merkle_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word: split at the largest power of two below n."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\x01" + merkle_root(leaves[:k]) + merkle_root(leaves[k:]))


def peaks(leaves: list[bytes]) -> list[bytes]:
    """The roots of the perfect subtrees, left to right."""
    found, start = [], 0
    for bit in reversed(range(len(leaves).bit_length())):
        if len(leaves) >> bit & 1:
            found.append(merkle_root(leaves[start : start + 2**bit]))
            start += 2**bit
    return found


def state_root(latest: dict[str, bytes]) -> bytes:
    """Protocol, section 4: 256 buckets by the first byte of the id's hash."""
    buckets: list[list[str]] = [[] for _ in range(256)]
    for id in latest:
        buckets[sha(id.encode())[0]].append(id)
    hashes = [
        sha(b"".join(sha(id.encode()) + latest[id] for id in sorted(bucket, key=str.encode)))
        for bucket in buckets
    ]
    return sha(b"".join(hashes))


class Log:
    """A registry's log as a stranger has read and proven it."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.keys: dict[str, str] = {}
        self.descriptor: dict[str, Any] = {}
        self.leaves: list[bytes] = []
        self.events: list[dict[str, Any]] = []
        self.versions: dict[str, int] = {}
        self.checkpoints: dict[int, tuple[str, dict[str, Any]]] = {}

    async def meet(self) -> "Log":
        """Read and prove who the node is."""
        lines = (await self.registry.get("/descriptors")).splitlines()
        chain = [json.loads(line) for line in lines]
        genesis = chain[0]["raw"].encode()
        node = base64.b32encode(sha(genesis)).decode().lower()[:26]
        assert node == self.registry.node
        self.descriptor = json.loads(chain[-1]["raw"])
        (root,) = self.descriptor["root_keys"]
        (signature,) = chain[0]["signatures"]
        assert signature["kid"] == hashlib.sha256(unsigned(root)).hexdigest()[:16]
        proven(root, "descriptor", chain[0]["raw"], signature["sig"])
        self.hash = hashlib.sha256(chain[-1]["raw"].encode()).hexdigest()
        for key in self.descriptor["signing_keys"]:
            assert key["kid"] == hashlib.sha256(unsigned(key["key"])).hexdigest()[:16]
            self.keys[key["kid"]] = key["key"]
        assert await self.registry.get("/.well-known/maillage") == chain[-1]
        return self

    def checkpoint(self, signed: dict[str, str]) -> dict[str, Any]:
        """A checkpoint, proven as far as we have read."""
        found: dict[str, Any] = proven(self.keys[signed["kid"]], "checkpoint", signed["raw"], signed["sig"])
        assert (found["v"], found["node"], found["epoch"]) == (1, self.registry.node, 1)
        assert found["descriptor"] == self.hash
        if found["size"] <= len(self.leaves):
            assert found["log_root"] == merkle_root(self.leaves[: found["size"]]).hex()
        known = self.checkpoints.setdefault(found["n"], (signed["raw"], found))
        assert known[0] == signed["raw"], "two checkpoints under one n"
        return found

    def event(self, line: dict[str, str]) -> dict[str, Any]:
        """An event proven by its own signature, and made the way the protocol says."""
        event: dict[str, Any] = proven(self.keys[line["kid"]], "event", line["raw"], line["sig"])
        seq = int(event["sequence"])
        assert len(line["raw"].encode()) <= 48 * 1024
        assert event["id"] == f"1-{seq:016d}"
        assert (event["specversion"], event["datacontenttype"]) == ("1.0", "application/json")
        assert event["source"] == f"urn:maillage:{self.registry.node}"
        assert event["subject"].startswith(self.registry.node + ":")
        assert event["epoch"] == 1
        assert len(unsigned(event["salt"])) == 16
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", event["time"])
        return event

    async def page(self, limit: int = 1000) -> dict[str, Any]:
        """Read on by one page; its checkpoint."""
        text = await self.registry.get(f"/feed?after={self.cursor}&limit={limit}")
        assert text.endswith(b"\n")
        lines = [json.loads(line) for line in text.splitlines()]
        assert len(lines) - 1 <= limit
        for line in lines[:-1]:
            event = self.event(line)
            assert int(event["sequence"]) == len(self.events) + 1
            assert event["recordversion"] == self.versions.get(event["subject"], 0) + 1
            self.versions[event["subject"]] = event["recordversion"]
            self.events.append(event)
            self.leaves.append(sha(b"\x00" + line["raw"].encode()))
        return self.checkpoint(lines[-1]["checkpoint"])

    async def read(self, limit: int = 1000) -> dict[str, Any]:
        """Read on to the end; the last checkpoint."""
        while True:
            before = len(self.events)
            checkpoint = await self.page(limit)
            if len(self.events) == before:
                assert checkpoint["size"] == before
                return checkpoint

    @property
    def cursor(self) -> str:
        """Where we stand."""
        return f"1.{len(self.events)}" if self.events else "0.0"

    def latest(self) -> dict[str, bytes]:
        """The leaf of the latest event of each record."""
        return {e["subject"]: leaf for e, leaf in zip(self.events, self.leaves, strict=True)}


async def busy(registry: Registry, count: int = 40) -> None:
    """Places, changes, withdrawals, claims, words and an area."""
    made = await asyncio.gather(*(registry.add() for _ in range(count)))
    for number, one in enumerate(made[: count // 2]):
        await registry.change(one["id"], summary=f"n° {number}")
    for one in made[:5]:
        await registry.withdraw(one["id"])
    await registry.call("POST", f"/places/{made[0]['id']}/reopen")
    await registry.claim(made[6]["id"], made[7]["id"], "distinct")
    said = await registry.claim(made[8]["id"], made[9]["id"])
    assert (await registry.call("DELETE", f"/claims/{said['id'][27:]}"))[0] == 200
    terms = [{"namespace": "bzh", "code": "ti", "labels": {"fr": "Maison"}}]
    assert (await registry.call("PUT", "/vocabulary", json={"terms": terms}))[0] == 200
    area = {"name": "Vallée", "communes": ["35238"]}
    assert (await registry.call("POST", "/areas", json=area))[0] == 201


async def test_a_stranger_proves_the_whole_log(registry: Registry) -> None:
    """Identity, every event, every version, every root and every checkpoint verify by the protocol alone."""
    await busy(registry)
    log = await Log(registry).meet()
    close = await log.read()
    assert close["size"] == len(log.events) == 40 + 20 + 5 + 1 + 2 + 1 + 1 + 1
    assert {e["type"] for e in log.events} <= set(log.descriptor["emits"])
    assert {e["type"].split(".", 2)[2] for e in log.events} == {
        "place.put.v1",
        "place.withdraw.v1",
        "claim.put.v1",
        "claim.withdraw.v1",
        "vocabulary.put.v1",
        "area.put.v1",
    }


async def test_the_genesis_has_every_field_for_ever(registry: Registry) -> None:
    """The first descriptor has all fields of the protocol, since its hash is the identity."""
    descriptor = json.loads((await registry.get("/.well-known/maillage"))["raw"])
    assert set(descriptor) == {
        "v",
        "version",
        "prev",
        "created",
        "slug",
        "name",
        "license",
        "contact",
        "url",
        "amqp",
        "root_keys",
        "threshold",
        "signing_keys",
        "epochs",
        "heartbeat_s",
        "emits",
        "peers",
    }
    assert (descriptor["v"], descriptor["version"], descriptor["prev"], descriptor["threshold"]) == (
        1,
        1,
        None,
        1,
    )
    assert descriptor["epochs"] == [{"epoch": 1, "base": None, "reason": "genesis"}]
    (key,) = descriptor["signing_keys"]
    assert set(key) == {"kid", "key", "from", "to"}
    assert (key["from"], key["to"]) == ("1.0", None)


async def test_a_page_ends_at_a_checkpoint(registry: Registry) -> None:
    """Whatever the limit, a page that can end at a kept checkpoint does, so that one signature proves it."""
    for _ in range(3):
        await asyncio.gather(*(registry.add() for _ in range(7)))
    log = await Log(registry).meet()
    sizes = set()
    while len(log.events) < 21:
        close = await log.page(limit=8)
        sizes.add(close["size"])
        assert close["size"] == len(log.events)
    assert len(sizes) >= 3
    one = await Log(registry).meet()
    while len(one.events) < 21:
        await one.page(limit=1)
    assert one.leaves == log.leaves


async def test_every_signature_has_the_next_number(registry: Registry) -> None:
    """n goes up by one at every signature, written or idle; full checkpoints have the true state root."""
    log = await Log(registry).meet()
    full: dict[int, dict[str, Any]] = {}

    async def seen() -> bool:
        await log.read()
        found = log.checkpoint(await registry.get("/checkpoint"))
        assert found["state_root"] is not None
        full[found["n"]] = found
        if found["size"] == len(log.events):
            assert found["state_root"] == state_root(log.latest()).hex()
            assert found["count"] == len(log.latest())
        return len(full) >= 3

    await seen()
    assert full[1]["state_root"] == state_root({}).hex()
    await busy(registry, 12)
    await eventually(seen)
    numbers = sorted(log.checkpoints)
    assert max(numbers) < 200
    sizes = [log.checkpoints[n][1]["size"] for n in numbers]
    assert sizes == sorted(sizes)


async def test_an_idle_log_is_signed_each_heartbeat(federation: Federation) -> None:
    """While nothing happens a full checkpoint comes each heartbeat, and n shows that none was left out."""
    registry = await federation.registry(heartbeat_s=1)
    log = await Log(registry).meet()
    seen: list[int] = []

    async def beats() -> bool:
        found = log.checkpoint(await registry.get("/checkpoint"))
        if not seen or seen[-1] != found["n"]:
            seen.append(found["n"])
        return len(seen) >= 3

    started = monotonic()
    await eventually(beats)
    assert seen == list(range(seen[0], seen[0] + 3))
    assert monotonic() - started > 1


async def test_who_waits_is_told_at_once(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long poll returns with the write, not at a glance some time later, and empty when its time is up."""
    monkeypatch.setattr(ledger_http, "GLANCE", 600)
    await registry.add()

    tasks = [asyncio.create_task(registry.get("/feed?after=1.1&wait=20")) for _ in range(10)]
    made = await registry.add()
    async with asyncio.timeout(15):
        for body in await asyncio.gather(*tasks):
            assert json.loads(json.loads(body.splitlines()[0])["raw"])["subject"] == made["id"]
    started = monotonic()
    lines = (await registry.get("/feed?after=1.2&wait=0.3")).splitlines()
    assert len(lines) == 1
    assert 0.3 <= monotonic() - started < 15


def blocks(text: str) -> Iterator[dict[str, str]]:
    """The complete blocks of a server-sent stream; comments under an empty name."""
    for block in text.split("\n\n")[:-1]:
        yield dict(line.split(": ", 1) if line[0] != ":" else ("", line[1:]) for line in block.split("\n"))


async def listened(registry: Registry, count: int, **headers: str) -> list[dict[str, str]]:
    """The first `count` blocks of the live stream."""
    text = ""
    async with (
        asyncio.timeout(60),
        registry.client.get(registry.url + "/feed/live", headers=headers) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        async for chunk in answer.content.iter_any():
            text += chunk.decode()
            found = list(blocks(text))
            if len(found) >= count:
                return found
    raise AssertionError(text)


async def test_the_live_stream_resumes_where_it_broke(registry: Registry) -> None:
    """Events come as they are written, each with its cursor; Last-Event-ID goes on after it without a gap."""
    for _ in range(3):
        await registry.add()
    found = await listened(registry, 4, **{"Last-Event-ID": "0.0"})
    assert list(found[0]) == [""]
    assert [b["id"] for b in found[1:]] == ["1.1", "1.2", "1.3"]
    log = await Log(registry).meet()
    assert [int(log.event(json.loads(b["data"]))["sequence"]) for b in found[1:]] == [1, 2, 3]
    listening = asyncio.create_task(listened(registry, 4, **{"Last-Event-ID": "1.2"}))
    await registry.add()
    found = await listening if (await registry.add()) else []
    assert [b["id"] for b in found[1:4]] == ["1.3", "1.4", "1.5"]
    async with registry.client.get(registry.url + "/feed/live?after=1.4") as answer:
        await answer.content.readuntil(b"\n\n")
        assert b"id: 1.5\n" in await answer.content.readuntil(b"\n\n")


async def test_a_silent_stream_says_that_it_lives(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing is written a comment comes at each interval, which no reader takes for an event."""
    monkeypatch.setattr(ledger_http, "SILENCE", 0.1)
    found = await listened(registry, 4)
    assert [list(block) for block in found] == [[""]] * 4


async def test_the_live_stream_begins_now(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a position the stream holds what is written from then on, as it is written."""
    monkeypatch.setattr(ledger_http, "GLANCE", 600)
    await registry.add()
    async with registry.client.get(registry.url + "/feed/live") as answer:
        assert (await answer.content.readuntil(b"\n\n")).startswith(b":")
        made = await registry.add()
        block = await asyncio.wait_for(answer.content.readuntil(b"\n\n"), 10)
        assert made["id"].encode() in block


async def snapshot(log: Log) -> tuple[dict[str, Any], dict[str, bytes], dict[str, str]]:
    """The head of a snapshot, the leaf of each of its records, and their types; all proven."""
    lines = [json.loads(line) for line in (await log.registry.get("/snapshot")).splitlines()]
    head, latest, types = lines[0], dict[str, bytes](), dict[str, str]()
    for line in lines[1:]:
        event = log.event(line)
        assert event["subject"] not in latest
        latest[event["subject"]] = sha(b"\x00" + line["raw"].encode())
        types[event["subject"]] = event["type"]
    assert list(latest) == sorted(latest, key=str.encode)
    return head, latest, types


async def test_a_snapshot_is_the_latest_of_every_record(registry: Registry) -> None:
    """Tombstones and claims included; its peaks, log root, state root and count are those of its moment."""
    await busy(registry, 20)
    log = await Log(registry).meet()
    await log.read()
    head, latest, types = await snapshot(log)
    assert latest == log.latest()
    assert {t.split(".", 2)[2] for t in types.values()} >= {"place.withdraw.v1", "claim.withdraw.v1"}
    assert [bytes.fromhex(p) for p in head["peaks"]] == peaks(log.leaves)
    assert head["log_root"] == merkle_root(log.leaves).hex()
    close = log.checkpoint(head["checkpoint"])
    assert (close["size"], close["count"]) == (head["size"], len(latest)) == (len(log.events), len(latest))
    assert close["state_root"] == state_root(latest).hex()


async def test_an_empty_log_has_a_snapshot(registry: Registry) -> None:
    """A node that has said nothing yet proves that: no lines, the root of nothing."""
    log = await Log(registry).meet()
    head, latest, _ = await snapshot(log)
    close = log.checkpoint(head["checkpoint"])
    assert (head["size"], head["peaks"], latest) == (0, [], {})
    assert head["log_root"] == close["log_root"] == sha(b"").hex()
    assert close["state_root"] == state_root({}).hex()


async def test_a_snapshot_under_writes_is_one_moment(registry: Registry) -> None:
    """Snapshots taken while many write are each exactly the log up to their size, and the feed goes on there."""
    made = await asyncio.gather(*(registry.add() for _ in range(60)))
    stop = asyncio.Event()

    async def write(number: int) -> None:
        turn = 0
        while not stop.is_set():
            turn += 1
            await registry.change(made[(number * 7 + turn) % 60]["id"], summary=f"{number} {turn}")

    async def one() -> tuple[dict[str, Any], dict[str, bytes]]:
        log = await Log(registry).meet()
        head, latest, _ = await snapshot(log)
        return head, latest

    writers = [asyncio.create_task(write(n)) for n in range(7)]
    found = [shot for _ in range(3) for shot in await asyncio.gather(one(), one())]
    stop.set()
    await asyncio.gather(*writers, return_exceptions=True)
    log = await Log(registry).meet()
    await log.read()
    assert len({head["size"] for head, _ in found}) > 1
    for head, latest in found:
        size = head["size"]
        close = log.checkpoint(head["checkpoint"])
        then = {e["subject"]: leaf for e, leaf in zip(log.events[:size], log.leaves[:size], strict=True)}
        assert latest == then
        assert (close["size"], close["state_root"]) == (size, state_root(then).hex())
        assert head["log_root"] == merkle_root(log.leaves[:size]).hex()


async def test_slow_readers_do_not_hold_a_snapshot_for_ever(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While as many as may read snapshots without taking them, another is 503; who writes feels nothing."""
    monkeypatch.setattr(ledger_http, "PATIENCE", 0.2)
    monkeypatch.setattr(answers, "SLOWEST", 20.0)
    names = [f"{n:0200}" for n in range(190)]
    row = {"status": "open", "kind": "virtual", "alternate_names": names}
    lines = (json.dumps({"name": f"Grand {n}", **row}).encode() + b"\n" for n in range(200))
    status, job, _ = await registry.call(
        "POST",
        "/imports?mode=apply",
        data=io.BytesIO(b"".join(lines)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert status == 202

    async def done() -> bool:
        return (await registry.call("GET", f"/imports/{job['id']}"))[1]["state"] == "done"

    await eventually(done)
    with ExitStack() as unread:
        for _ in range(2):
            sock = unread.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            await asyncio.to_thread(sock.connect, ("127.0.0.1", registry.port))
            sock.send(b"GET /snapshot HTTP/1.1\r\nHost: x\r\n\r\n")

        async def refused() -> bool:
            status, _, headers = await registry.call("GET", "/snapshot", token=None)
            assert status == 200 or headers["Retry-After"] == "30"
            return status == 503

        await eventually(refused, 18)
        await registry.add()

        async def served() -> bool:
            return (await registry.call("GET", "/snapshot", token=None))[0] == 200

        await eventually(served)


async def test_a_cursor_that_means_nothing_is_told(registry: Registry) -> None:
    """Malformed cursors are 400 cursor-malformed, those beyond the head 409 cursor-in-future with the head."""
    await registry.add()
    malformed = (
        "1",
        "1.",
        ".1",
        "1.1.1",
        "a.b",
        "-1.0",
        "1.-1",
        "1.01",
        "01.1",
        "1.1e3",
        "0.5",
        "%20",
        "²².1",
        "1.9" + "9" * 16,
    )
    for cursor in malformed:
        for path in (f"/feed?after={cursor}", f"/feed/live?after={cursor}"):
            status, problem, _ = await registry.call("GET", path, token=None)
            assert (status, problem["type"]) == (400, "urn:maillage:problem:cursor-malformed"), path
    for cursor in ("1.2", "2.0", "2.1", "1.999999999999999", "9999999999999999.1"):
        for path in (f"/feed?after={cursor}", f"/feed/live?after={cursor}"):
            status, problem, _ = await registry.call("GET", path, token=None)
            assert (status, problem["type"]) == (409, "urn:maillage:problem:cursor-in-future"), path
            assert problem["head"] == "1.1"
    headers = {"Last-Event-ID": "x"}
    assert (await registry.call("GET", "/feed/live", token=None, headers=headers))[0] == 400


async def test_the_log_survives_a_restart(registry: Registry) -> None:
    """After a restart the log goes on at the next number under the same key, and proves as a whole."""
    await busy(registry, 10)
    await registry.stop()
    await registry.start()
    await registry.add()
    log = await Log(registry).meet()
    await log.read(limit=7)
    head, latest, _ = await snapshot(log)
    assert latest == log.latest()
    assert head["size"] == len(log.events)


async def test_heads_of_streams_have_no_body(registry: Registry) -> None:
    """HEAD of the feed, the stream and the snapshot answers at once, with headers only."""
    await registry.add()
    for path in ("/feed", "/feed/live", "/snapshot", "/checkpoint"):
        async with asyncio.timeout(30), registry.client.head(registry.url + path) as answer:
            assert (answer.status, await answer.read()) == (200, b""), path
