"""A node that tells two stories is caught by syncs that are each other's witnesses; nobody else is harmed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from demo.rabbitmq import Vhost
from services import signing
from services.languages import ROOT
from services.sync import worker
from tests.conftest import Federation
from tests.federation.impostor import Impostor
from tests.federation.test_follow import heard
from tests.federation.test_hostile import all_stand
from tests.nodes import Sync, eventually


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Witnesses are asked all the time."""
    monkeypatch.setattr(worker, "ASK_SOON", 0.0)
    monkeypatch.setattr(worker, "ASK_EVERY", 0.3)


@asynccontextmanager
async def double() -> AsyncIterator[tuple[Impostor, Impostor]]:
    """One node with two mouths, as far as they have said nothing."""
    one, other = Impostor("double"), Impostor("double")
    other.root, other.online, other.chain, other.node = one.root, one.online, one.chain, one.node
    async with AsyncExitStack() as stack:
        for mouth in (one, other):
            await stack.enter_async_context(mouth.serving())
        yield one, other


async def witnessed(sync: Sync, witnesses: Sequence[str]) -> None:
    """Have a sync compare with these witnesses."""
    await sync.stop()
    file = Path(sync.settings.trust)
    text = file.read_text()
    file.write_text(f"witnesses = {msgspec.json.encode(witnesses).decode()}\n{text}")
    await sync.start()


async def two_witnesses(federation: Federation, one: Impostor, other: Impostor) -> tuple[Sync, Sync]:
    """Two syncs, each the other's witness; each hears another mouth, and one honest node."""
    honest = await federation.registry()
    left, right = await federation.sync([one, honest]), await federation.sync([other, honest])  # type: ignore[list-item]
    for sync in (left, right):
        await all_stand(sync, {"double": one}, {"double": ("live", "1.0")})
    await witnessed(left, [right.url])
    await witnessed(right, [left.url])
    return left, right


async def evidence(sync: Sync, node: str) -> list[Any]:
    """The evidence that a sync holds against a node."""
    return [e for e in (await sync.get("/evidence"))["evidence"] if e["node"] == node]


async def verify(file: Path) -> tuple[int, str]:
    """What the command says of a file, on a machine with nothing else: exit code and text."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "services.sync", "verify", str(file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        check=False,
    )
    return done.returncode, done.stdout


async def caught(sync: Sync, node: Impostor, folder: Path, kind: str) -> None:
    """The node is forked here, and what is held against it proves it offline."""

    async def forked() -> bool:
        return (await sync.networks())[node.node]["state"] == "forked" and bool(
            await evidence(sync, node.node)
        )

    await eventually(forked)
    shown = await evidence(sync, node.node)
    assert kind in {e["kind"] for e in shown}
    file = folder / f"{sync.port}.json"
    file.write_bytes(msgspec.json.encode(await sync.get("/evidence")))
    code, said = await verify(file)
    assert (code, said.count(f"Proven against node {node.node}")) == (0, len(shown))
    shown[0]["a"]["raw"] = shown[0]["a"]["raw"].replace(" ", "").replace("1", "2", 1)
    file.write_bytes(msgspec.json.encode(shown[0]))
    assert (await verify(file))[0] == 1


async def test_two_logs_of_one_size_are_caught(federation: Federation, tmp_path: Path) -> None:
    """Two checkpoints of one size: both syncs are told, stop, and hold proof; a third one goes on."""
    async with double() as (one, other):
        left, right = await two_witnesses(federation, one, other)
        third = await federation.sync([one])  # type: ignore[list-item]
        one.say()
        other.say()
        for sync in (left, right):
            await caught(sync, one, tmp_path, "checkpoint")
        await all_stand(third, {"double": one}, {"double": ("live", "1.1")})
        assert await evidence(third, one.node) == []
        (honest,) = (await left.networks()).keys() - {one.node}
        await left.hears(honest)
        assert await left.metric("maillage_witness_checkpoints_total", outcome="contradicts") >= 0
        assert (await left.networks())[one.node]["trouble"]
        await stays_forked(left, one)


async def stays_forked(sync: Sync, node: Impostor) -> None:
    """Neither time, nor more of the same story, nor a restart makes it good."""
    asked = len(node.asked)
    node.say()
    await sync.stop()
    await sync.start()

    async def asked_again() -> bool:
        return len(node.asked) > asked + 2

    await eventually(asked_again)
    assert (await sync.networks())[node.node]["state"] == "forked"


async def test_a_longer_story_is_caught_at_the_event_where_it_parts(
    federation: Federation, tmp_path: Path
) -> None:
    """No two checkpoints contradict each other: the first event that differs is found, and is the proof."""
    async with double() as (one, other):
        left, right = await two_witnesses(federation, one, other)
        # Of two checkpoints the one of the higher number always has more events.
        one.n, other.n = 1000, 100_000
        first = one.say()
        other.lines.append(first)
        other.subjects[first["raw"]] = one.subjects[first["raw"]]
        for _ in range(2):
            one.say()
        for _ in range(4):
            other.say()
        for sync in (left, right):
            await caught(sync, one, tmp_path, "event")
        for sync in (left, right):
            (shown,) = [e for e in await evidence(sync, one.node) if e["kind"] == "event"]
            ids = {msgspec.json.decode(shown[side]["raw"])["id"] for side in ("a", "b")}
            assert ids == {f"1-{2:016d}"}


async def test_a_witness_that_lags_or_lies_changes_nothing(federation: Federation) -> None:
    """An old copy is none, and what no key of the node signed is a line in the log."""
    node, liar = Impostor("juste"), Impostor("menteur")
    async with AsyncExitStack() as stack:
        for each in (node, liar):
            await stack.enter_async_context(each.serving())
        sync = await federation.sync([node])  # type: ignore[list-item]
        await all_stand(sync, {"juste": node}, {"juste": ("live", "1.0")})
        node.say()
        old = node.checkpoint()
        node.say()
        node.say()
        await all_stand(sync, {"juste": node}, {"juste": ("live", "1.3")})
        forged = liar.checkpoint(
            node=node.node, size=2, descriptor=msgspec.json.decode(old["raw"])["descriptor"]
        )
        seen: list[dict[str, Any]] = [{"checkpoint": old, "n": 1, "size": 1}]

        def observed() -> bytes:
            return msgspec.json.encode({"observed": [{"node": node.node, "epoch": 1, **one} for one in seen]})

        pair = {"a": node.signed(node.event(), signing.EVENT), "b": liar.signed(node.event(), signing.EVENT)}
        told = {"node": node.node, "kind": "event", "found_at": "", "descriptors": node.chain, **pair}
        liar.says("/observed", observed)
        liar.says("/evidence", msgspec.json.encode({"evidence": [told]}))
        await witnessed(sync, [liar.url])

        async def compared(outcome: str) -> bool:
            return await sync.metric("maillage_witness_checkpoints_total", outcome=outcome) > 0

        await eventually(lambda: compared("agrees"))
        seen[0] = {"checkpoint": forged, "n": 2, "size": 2}
        await eventually(lambda: compared("untrue"))
        asked = liar.asked.count("/evidence")

        async def adopted() -> bool:
            return liar.asked.count("/evidence") > asked + 1

        await eventually(adopted)
        await sync.hears(node.node)
        assert await evidence(sync, node.node) == []
        # What nobody signed is looked into no further.
        assert not [path for path in liar.asked if path.startswith(f"/observed/{node.node}")]
        node.say()
        await all_stand(sync, {"juste": node}, {"juste": ("live", "1.4")})


async def test_another_event_of_a_known_number_is_proof(
    federation: Federation, vhost: Vhost, tmp_path: Path
) -> None:
    """A live message with the number of an event that is held, and other bytes: proof where the node signed it."""
    async with heard(federation, vhost, 2) as it:
        node = it.node
        raw = node.lines[0]["raw"].replace("Lieu", "Mieu")
        stranger = Impostor("autre").signed(raw.encode(), signing.EVENT)
        await it.publish({**stranger, "kid": node.online.kid})
        await it.publish(node.say())
        await it.stands(len(node.lines))
        assert await evidence(it.sync, node.node) == []
        await it.publish(node.signed(raw.encode(), signing.EVENT))
        await caught(it.sync, node, tmp_path, "event")
