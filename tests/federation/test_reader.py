"""An independent reader, written from the document alone, proves live nodes and refuses those that lie."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from demo import sample
from services import keyring, ledger_epochs, succession
from services.identity import Identity
from services.ledger_store import Head
from services.postgres import Connection
from services.registry import app as registry_app
from services.registry import erasing, keys
from services.succession import Change
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_hostile import BROKEN, UNUSABLE, bad_snapshots, served
from tests.nodes import Registry, Service

ROOT = Path(__file__).parents[2]
Json = dict[str, Any]
Node = Service | Impostor


async def read(node: Node, *options: str) -> tuple[int, Json, str]:
    """What the reader, a process of its own, makes of a node: exit code, what it proved, what it refused."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, ROOT / "tests" / "reader.py", node.url, *(("--node", node.node) if node.node else ()), *options,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, msgspec.json.decode(out or b"{}"), said.decode()


async def proven(node: Node, *options: str) -> Json:
    """What the reader proved of a node that it must believe."""
    code, found, said = await read(node, *options)
    assert code == 0, said
    return found


async def refused(node: Node, *options: str) -> str:
    """Why the reader refuses a node."""
    code, found, said = await read(node, *options)
    assert code == 1, found
    assert said.startswith("refused: "), said
    return said


async def test_a_live_federation_proves_itself(federation: Federation) -> None:
    """Logs of registries with places, claims and withdrawals, and a sync with its digest, are proven over HTTP."""
    registries = [await federation.registry(), await federation.registry()]
    for registry, network in zip(registries, sample.networks(2), strict=True):
        data = sample.lines(network).encode()
        await registry.list_in(data, media="application/x-ndjson", source="liste", format="jsonl")
    one, other = registries
    here, there = await one.add(name="L'Établi"), await other.add(name="L'Établi")
    await one.change(here["id"], summary="Établi à Rennes")
    await one.claim(here["id"], there["id"])
    await other.claim(there["id"], here["id"])
    await other.withdraw((await other.add(name="Fermé trop tôt"))["id"])
    sync = await federation.sync(registries)
    await sync.caught_up(registries)
    for registry in registries:
        found = await proven(registry)
        events = await registry.feed()
        assert found["node"] == registry.node
        assert found["cursor"] == f"1.{len(events)}"
        assert found["records"] == len({event["subject"] for event in events}) > 70
    digest = await sync.digest()
    told = await proven(sync, "--digest")
    assert told["view_root"] == digest["view_root"]
    assert told["records"] >= told["count"] > 140
    roots = {head["node"]: head["log_root"] for head in told["heads"]}
    assert roots == {r.node: (await proven(r))["log_root"] for r in registries}


def honest(name: str) -> Impostor:
    """An impostor that does not lie yet."""
    impostor = Impostor(name)
    for _ in range(3):
        impostor.say()
    impostor.says("/checkpoint", lambda: msgspec.json.encode(impostor.checkpoint()))
    return impostor


async def test_a_log_that_does_not_prove_is_refused() -> None:
    """Whatever nodes do to their logs, the reader refuses each, and believed it before."""
    async with served([honest(name) for name in BROKEN]) as impostors:
        for name, impostor in impostors.items():
            assert (await proven(impostor))["cursor"] == "1.3", name
            BROKEN[name](impostor)
            assert await refused(impostor), name


async def test_a_snapshot_that_does_not_prove_is_refused() -> None:
    """Whatever can be wrong with a snapshot or a first descriptor, the reader refuses it."""
    lies = bad_snapshots()
    async with served([honest(name) for name in lies]) as impostors:
        for name, impostor in impostors.items():
            lies[name](impostor)
            assert await refused(impostor), name


async def test_what_cannot_be_used_is_no_lie() -> None:
    """Well-signed events of unknown types, or that cannot be read, do not make the reader refuse a log."""
    known = {name: case for name, case in UNUSABLE.items() if name != "endless"}
    async with served([honest(name) for name in known]) as impostors:
        for name, impostor in impostors.items():
            impostor.say(known[name][0](impostor))
            impostor.say()
            assert (await proven(impostor))["cursor"] == "1.5", name


async def change(registry: Registry, plan: keys.Plan) -> None:
    """Let a new descriptor of a running registry be in force."""
    root = keyring.load(Path(registry.settings.key_dir).parent / "root.key")
    await keys._carry_out(registry.settings, plan, [root])


def another_key(registry: Registry) -> keys.Plan:
    """Sign by a new key from here on."""

    async def plan(conn: Connection, head: Head, whose: Identity) -> tuple[Change, ...]:
        here, made = (head.epoch, head.size), registry_app.pen_of(registry.settings).keyring.make()
        return succession.retired([head.kid], here), succession.rotated(made.public, here)

    return plan


async def without_the_last(conn: Connection, head: Head, whose: Identity) -> tuple[Change, ...]:
    """Open an epoch that cuts off the last event."""
    return (succession.opened(await ledger_epochs.range_at(conn, head, head.size - 1), "restored"),)


async def test_erasures_other_keys_and_epochs_are_proven(federation: Federation) -> None:
    """A log with erased events, two keys and a cut is proven from its beginning, or from its snapshot."""
    registry = await federation.registry()
    ids = [(await registry.add(name=f"Lieu {number}"))["id"] for number in range(4)]
    await registry.change(ids[0], summary="Nouveau")
    assert await erasing.erased(registry.settings, ids[0], "1") == 1
    assert await erasing.erased(registry.settings, ids[1], None) == 1
    await change(registry, another_key(registry))
    await registry.add(name="Sous l'autre clé")
    await registry.add(name="Coupé")
    await change(registry, without_the_last)
    await registry.add(name="Dans la deuxième époque")
    lines = [msgspec.json.decode(line) for line in (await registry.get("/feed?after=0.0")).splitlines()[:-1]]
    assert [line["seq"] for line in lines if "redacted" in line] == [1, 2]
    assert len({line["kid"] for line in lines if "kid" in line}) == 2
    found = await proven(registry)
    assert (found["cursor"], found["records"]) == (f"2.{len(lines)}", 6)
    async with registry_app.database(registry.settings) as pool, pool.acquire() as conn, conn.transaction():
        assert await ledger_epochs.let_go(conn, 2)
    assert (await registry.call("GET", "/feed?after=0.0", token=None))[0] == 410
    assert await proven(registry) == found


LEVELS = ("/digest", "/digest/buckets", "/digest/buckets/{}")


@pytest.mark.parametrize("level", range(3))
async def test_a_digest_that_does_not_prove_is_refused(federation: Federation, level: int) -> None:
    """A sync that tells another root, another bucket or another entry than its own is refused."""
    registry = await federation.registry()
    id = (await registry.add(name="L'Établi"))["id"]
    await registry.add(name="La Cuisine")
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    async with served([honest("sync")]) as impostors:
        impostor = impostors["sync"]
        answers: dict[str, Any] = {path: await sync.get(path) for path in ("/trust", *LEVELS[:2])}
        answers |= {path: await sync.get(path) for path in map(LEVELS[2].format, range(256))}
        for path, answer in answers.items():
            impostor.says(path, msgspec.json.encode(answer))
        assert (await proven(impostor, "--digest"))["count"] == 2
        number = next(n for n in range(256) for e in answers[LEVELS[2].format(n)]["entries"] if e["id"] == id)
        path, zeros = (LEVELS[0], LEVELS[1], LEVELS[2].format(number))[level], "0" * 64
        lies = (
            {**answers[path], "view_root": zeros},
            {"buckets": [zeros, *answers[LEVELS[1]]["buckets"][1:]]},
            {"entries": [{"id": id, "hash": zeros}]},
        )
        impostor.says(path, msgspec.json.encode(lies[level]))
        assert await refused(impostor, "--digest")
        if level == 2:
            impostor.says(path, b'{"entries":[]}')
            assert await refused(impostor, "--digest")
